//! The books: each attempt counted exactly once, whatever comes twice, late or out of order.

use crate::home::*;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{KeyId, Nanos, Unit, Usage};
use anykey_store::{Page, RequestFilter, Store, StoreError, UsageQuery, UsageSums};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;

on_both!(
    a_record_is_kept_as_it_was,
    a_batch_that_comes_again_changes_nothing,
    an_unresolved_attempt_is_replaced_once,
    large_batches_count_every_row,
    a_hostile_record_does_not_block_the_books,
    batches_at_once_lose_nothing,
    records_of_a_deleted_or_foreign_key_are_kept,
    sums_are_the_sums_of_the_rows,
);

async fn totals(store: &Store) -> UsageSums {
    store.usage(&UsageQuery::default()).await.unwrap()[0].sums
}

/// All stored attempts, read page by page.
async fn all(store: &Store) -> Vec<AttemptRecord> {
    let mut records = Vec::new();
    let mut page = Page { after: None, limit: 200 };
    loop {
        let part = store.requests(&RequestFilter::default(), page).await.unwrap();
        records.extend(part.data.into_iter().map(|row| row.record));
        let Some(next) = part.next else { return records };
        page.after = Some(next);
    }
}

async fn a_record_is_kept_as_it_was(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let full = call(key.id, public_id(&key), START);
    let mut bare = call(key.id, public_id(&key), START + 1);
    bare.attempt = 0;
    bare.outcome = Outcome::Refused;
    bare.code = "rate_limited";
    bare.status = 429;
    bare.usage = Usage::default();
    bare.usage_source = UsageSource::None;
    (bare.cost, bare.client) = (None, None);
    (bare.provider, bare.model_sent, bare.upstream_id) = ("".into(), "".into(), "".into());
    store.apply(vec![full.clone(), bare.clone()]).await.unwrap();

    let row = store.request(full.request).await.unwrap().remove(0);
    assert_eq!((row.record, row.key_name.as_deref()), (full.clone(), Some("k")));
    assert_eq!(store.request(bare.request).await.unwrap()[0].record, bare);
    assert_eq!(store.spent(key.id).await.unwrap(), Nanos(1_000));
    assert_eq!(
        totals(&store).await,
        UsageSums { requests: 2, errors: 1, input: 100, output: 20, cost: Nanos(1_000), ..UsageSums::default() }
    );
    let shown = store.key(key.id).await.unwrap();
    assert_eq!((shown.spent, shown.last_used_at), (Nanos(1_000), Some(START + 1)));
    let other = call(key.id, [0; 8], START).request;
    assert_eq!(store.request(other).await, Err(StoreError::NotFound("request")));
}

async fn a_batch_that_comes_again_changes_nothing(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let batch: Vec<_> = (0..300).map(|i| call(key.id, public_id(&key), START + i)).collect();
    store.apply(batch[..200].to_vec()).await.unwrap();
    let before = totals(&store).await;
    store.apply(batch[..200].to_vec()).await.unwrap();
    assert_eq!(totals(&store).await, before);
    // Half of it new, and that half twice.
    let mut again = batch[100..].to_vec();
    again.extend_from_slice(&batch[250..]);
    store.apply(again).await.unwrap();
    assert_eq!(totals(&store).await.requests, 300);
    assert_eq!(store.spent(key.id).await.unwrap(), Nanos(300_000));
    assert_eq!(all(&store).await.len(), 300);
}

async fn an_unresolved_attempt_is_replaced_once(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let truth = call(key.id, public_id(&key), START);
    let mut unresolved = truth.clone();
    unresolved.outcome = Outcome::Unresolved;
    unresolved.usage = Usage::default();
    unresolved.usage_source = UsageSource::Estimated;
    unresolved.cost = Some(unresolved.hold);
    let mut later = truth.clone();
    later.cost = Some(Nanos(7_777));
    let other = call(key.id, public_id(&key), START);

    store.apply(vec![unresolved.clone(), other.clone()]).await.unwrap();
    assert_eq!(store.spent(key.id).await.unwrap(), Nanos(6_000));
    assert_eq!((totals(&store).await.estimated, totals(&store).await.errors), (1, 1));
    for batch in [vec![truth.clone()], vec![later.clone()], vec![unresolved.clone()], vec![other, truth.clone()]] {
        store.apply(batch).await.unwrap();
        assert_eq!(store.spent(key.id).await.unwrap(), Nanos(2_000));
        assert_eq!((totals(&store).await.estimated, totals(&store).await.errors), (0, 0));
        assert_eq!(store.request(truth.request).await.unwrap()[0].record, truth);
    }
    // Both in one batch, in either order.
    for reverse in [false, true] {
        let truth = call(key.id, public_id(&key), START);
        let mut unresolved = truth.clone();
        unresolved.outcome = Outcome::Unresolved;
        let mut batch = vec![unresolved, truth.clone()];
        if reverse {
            batch.reverse();
        }
        store.apply(batch).await.unwrap();
        assert_eq!(store.request(truth.request).await.unwrap()[0].record, truth);
    }
    assert_eq!(totals(&store).await.requests, 4);
}

async fn large_batches_count_every_row(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    for size in [1usize, 7, 8, 255, 256, 257, 1111] {
        let before = totals(&store).await.requests;
        store.apply((0..size).map(|_| call(key.id, public_id(&key), START)).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(totals(&store).await.requests - before, size as i64, "{size}");
    }
    store.apply(Vec::new()).await.unwrap();
}

async fn a_hostile_record_does_not_block_the_books(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let mut hostile = call(key.id, public_id(&key), START);
    hostile.model_asked = "a\0b\u{202e}'; DROP TABLE usage; --".into();
    hostile.upstream_id = "\u{0}\u{0}".into();
    hostile.usage = Unit::ALL.into_iter().map(|unit| (unit, u64::MAX)).collect();
    (hostile.cost, hostile.hold) = (Some(Nanos(i64::MAX)), Nanos(i64::MAX));
    (hostile.bytes_in, hostile.bytes_out, hostile.total_us) = (u64::MAX, u64::MAX, u64::MAX);
    hostile.secret = [0xff; 8];
    let mut second = hostile.clone();
    second.request = call(key.id, [0; 8], START).request;
    let good = call(key.id, public_id(&key), START);
    store.apply(vec![hostile.clone(), second, good.clone()]).await.unwrap();
    assert_eq!(store.spent(key.id).await.unwrap(), Nanos(i64::MAX), "a sum sticks at its end");
    assert_eq!(all(&store).await.len(), 3);
    assert_eq!(
        &*store.request(hostile.request).await.unwrap()[0].record.model_asked,
        "a\u{fffd}b\u{202e}'; DROP TABLE usage; --"
    );
    assert_eq!(store.request(good.request).await.unwrap()[0].record, good);
}

async fn batches_at_once_lose_nothing(home: &Home) {
    let store = home.open().await;
    let mut keys = Vec::new();
    for i in 0..6 {
        keys.push(make(&store, &format!("k{i}")).await.0);
    }
    let keys = Arc::new(keys);
    let tasks: Vec<_> = (0..8)
        .map(|n: usize| {
            let (store, keys) = (Arc::clone(&store), Arc::clone(&keys));
            tokio::spawn(async move {
                for round in 0..5 {
                    let mut batch: Vec<_> = (0..40)
                        .map(|i| {
                            let key = &keys[(i + n) % keys.len()];
                            call(key.id, public_id(key), START + round)
                        })
                        .collect();
                    if n % 2 == 1 {
                        batch.reverse();
                    }
                    store.apply(batch.clone()).await.unwrap();
                    store.update_key(keys[n % keys.len()].id, None, Default::default()).await.unwrap();
                    store.apply(batch).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(totals(&store).await.requests, 8 * 5 * 40);
    let mut spent = 0;
    for key in keys.iter() {
        spent += store.spent(key.id).await.unwrap().0;
    }
    assert_eq!(spent, 8 * 5 * 40 * 1_000);
}

async fn records_of_a_deleted_or_foreign_key_are_kept(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "gone").await;
    store.delete_key(key.id, None).await.unwrap();
    let late = call(key.id, public_id(&key), START);
    let foreign = call(KeyId([7; 16]), *b"AbCd1234", START);
    store.apply(vec![late.clone(), foreign.clone()]).await.unwrap();
    assert_eq!(store.request(late.request).await.unwrap()[0].key_name.as_deref(), Some("gone"));
    assert_eq!(store.request(foreign.request).await.unwrap()[0].key_name, None);
    assert_eq!(store.spent(key.id).await.unwrap(), Nanos(1_000));
    assert_eq!(store.spent(KeyId([7; 16])).await, Err(StoreError::NotFound("key")));
}

/// Batches of new, repeated, unresolved and settled attempts in any order: the daily sums and each key's spend are those
/// of the rows that are stored.
async fn sums_are_the_sums_of_the_rows(home: &Home) {
    let store = home.open().await;
    let mut keys = Vec::new();
    for name in ["a", "b"] {
        keys.push(make(&store, name).await.0);
    }
    let pool: Vec<AttemptRecord> =
        (0..12).map(|i| call(keys[i % 2].id, public_id(&keys[i % 2]), START + i as i64 * 20 * HOUR)).collect();
    let step = (0..pool.len(), any::<bool>(), 0i64..5_000, 0u64..1_000);
    let batches = proptest::collection::vec(proptest::collection::vec(step, 1..20), 1..6);
    let mut runner = TestRunner::new(Config { cases: 1, failure_persistence: None, ..Config::default() });
    for _ in 0..25 {
        let batches = batches.new_tree(&mut runner).unwrap().current();
        for batch in batches {
            let batch: Vec<_> = batch
                .into_iter()
                .map(|(i, unresolved, cost, tokens)| {
                    let mut record = pool[i].clone();
                    record.cost = (cost % 7 != 0).then_some(Nanos(cost));
                    record.usage = Usage::default().with(Unit::CacheRead, tokens).with(Unit::Reasoning, tokens / 2);
                    if unresolved {
                        record.outcome = Outcome::Unresolved;
                    }
                    record
                })
                .collect();
            store.apply(batch).await.unwrap();
        }
        let rows = all(&store).await;
        let sum = |of: fn(&AttemptRecord) -> i64| rows.iter().map(of).sum::<i64>();
        let totals = totals(&store).await;
        assert_eq!(totals.requests, rows.len() as i64);
        assert_eq!(totals.errors, sum(|r| i64::from(r.outcome == Outcome::Unresolved)));
        assert_eq!(totals.cache_read, sum(|r| r.usage.get(Unit::CacheRead) as i64));
        assert_eq!(totals.reasoning, sum(|r| r.usage.get(Unit::Reasoning) as i64));
        assert_eq!(totals.cost.0, sum(|r| r.cost.map_or(0, |n| n.0)));
        assert_eq!(totals.unpriced, sum(|r| i64::from(r.cost.is_none())));
        for key in &keys {
            let own: i64 = rows.iter().filter(|r| r.key == key.id).map(|r| r.cost.map_or(0, |n| n.0)).sum();
            assert_eq!(store.spent(key.id).await.unwrap().0, own);
        }
    }
}
