//! Reports and lists of attempts.

use crate::home::*;
use anykey_core::Nanos;
use anykey_core::record::Outcome;
use anykey_store::{GroupBy, Page, RequestFilter, StatusFilter, UsageQuery};
use std::sync::Arc;

on_both!(reports_group_as_asked, lists_of_attempts_page_and_filter);

async fn reports_group_as_asked(home: &Home) {
    let store = home.open().await;
    let (a, _) = make(&store, "a").await;
    let (b, _) = make(&store, "b").await;
    let midnight = START.div_euclid(DAY) * DAY;
    let mut batch = Vec::new();
    for (key, at, provider, model) in [
        (&a, midnight, "openai", "gpt"),
        (&a, midnight + DAY - 1, "openai", "gpt"),
        (&a, midnight + DAY, "openai", "gpt"),
        (&a, midnight + DAY, "anthropic", "claude"),
        (&b, midnight + DAY, "openai", "gpt"),
    ] {
        let mut record = call(key.id, public_id(key), at);
        (record.provider, record.model_sent) = (Arc::from(provider), Arc::from(model));
        batch.push(record);
    }
    store.apply(batch).await.unwrap();

    let all = GroupBy { key: true, model: true, provider: true, day: true };
    let rows = store.usage(&UsageQuery { group_by: all, ..UsageQuery::default() }).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows.last().unwrap().day, Some(midnight), "newest day first");
    assert_eq!(rows.last().unwrap().sums.requests, 2);
    assert_eq!(rows.iter().map(|r| r.sums.cost.0).sum::<i64>(), 5_000);

    let by_key = GroupBy { key: true, ..GroupBy::default() };
    let rows = store.usage(&UsageQuery { group_by: by_key, ..UsageQuery::default() }).await.unwrap();
    let shown: Vec<_> = rows.iter().map(|r| (r.key, r.key_name.as_deref(), r.sums.requests)).collect();
    assert_eq!(shown, [(Some(a.id), Some("a"), 4), (Some(b.id), Some("b"), 1)], "the dearest first");
    assert!(rows.iter().all(|r| r.model.is_none() && r.provider.is_none() && r.day.is_none()));

    let count = async |query: UsageQuery| store.usage(&query).await.unwrap()[0].sums.requests;
    let none = UsageQuery::default;
    assert_eq!(count(UsageQuery { from: Some(midnight + DAY), ..none() }).await, 3);
    assert_eq!(count(UsageQuery { to: Some(midnight + DAY), ..none() }).await, 2);
    assert_eq!(count(UsageQuery { from: Some(midnight + 5), to: Some(midnight + 6), ..none() }).await, 2, "whole days");
    assert_eq!(count(UsageQuery { key: Some(b.id), ..none() }).await, 1);
    assert_eq!(
        count(UsageQuery { provider: Some("anthropic".into()), model: Some("claude".into()), ..none() }).await,
        1
    );
    assert_eq!(count(UsageQuery { model: Some("other".into()), ..none() }).await, 0);
    assert_eq!(store.usage(&none()).await.unwrap()[0].sums.cost, Nanos(5_000));
}

async fn lists_of_attempts_page_and_filter(home: &Home) {
    let store = home.open().await;
    let (a, _) = make(&store, "a").await;
    let (b, _) = make(&store, "b").await;
    let mut batch = Vec::new();
    for i in 0..50 {
        let key = if i % 5 == 0 { &b } else { &a };
        let mut record = call(key.id, public_id(key), START + i * 1_000);
        if i == 10 {
            (record.status, record.outcome, record.provider) = (503, Outcome::UpstreamError, "anthropic".into());
            let mut retry = record.clone();
            retry.attempt = 2;
            (retry.status, retry.outcome, retry.provider) = (200, Outcome::Completed, "openai".into());
            batch.push(retry);
        }
        batch.push(record);
    }
    store.apply(batch).await.unwrap();

    let (mut seen, mut page) = (Vec::new(), Page { after: None, limit: 7 });
    loop {
        let part = store.requests(&RequestFilter::default(), page).await.unwrap();
        seen.extend(part.data.iter().map(|r| (r.record.request, r.record.attempt)));
        let Some(next) = part.next else { break };
        assert_eq!(next.to_string().parse(), Ok(next));
        page.after = Some(next);
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (51, &sorted), "newest first, each once");

    let count = async |filter: RequestFilter| {
        store.requests(&filter, Page { after: None, limit: 200 }).await.unwrap().data.len()
    };
    let none = RequestFilter::default;
    assert_eq!(count(RequestFilter { key: Some(b.id), ..none() }).await, 11);
    assert_eq!(count(RequestFilter { status: Some(StatusFilter::Exactly(503)), ..none() }).await, 1);
    assert_eq!(count(RequestFilter { status: Some(StatusFilter::Class(2)), ..none() }).await, 50);
    assert_eq!(count(RequestFilter { provider: Some("anthropic".into()), ..none() }).await, 1);
    assert_eq!(count(RequestFilter { outcome: Some(Outcome::UpstreamError), ..none() }).await, 1);
    assert_eq!(count(RequestFilter { model: Some("fast".into()), ..none() }).await, 51);
    assert_eq!(count(RequestFilter { model: Some("gpt-4o-mini".into()), ..none() }).await, 51);
    assert_eq!(count(RequestFilter { model: Some("x".into()), ..none() }).await, 0);
    assert_eq!(count(RequestFilter { since: Some(START + 40_000), ..none() }).await, 10);
    assert_eq!(count(RequestFilter { until: Some(START + 10_000), ..none() }).await, 10);
    let attempts = store.requests(&RequestFilter { key: Some(b.id), ..none() }, Page::default()).await.unwrap().data;
    let retried = attempts.iter().find(|r| r.record.attempt == 2).unwrap().record.request;
    let attempts: Vec<_> = store.request(retried).await.unwrap().into_iter().map(|r| r.record.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}
