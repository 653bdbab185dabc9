//! Usage, requests, and the stream of them.

use crate::harness::Api;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{Dialect, Endpoint, KeyId, KeyKind, Nanos, RequestId, Unit, Usage};
use anykey_store::NewKey;
use axum::http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// 2026-11-20T12:00:00Z
const NOON: i64 = 1_795_176_000_000;
const DAY: i64 = 86_400_000;

async fn key(api: &Api, name: &str) -> KeyId {
    api.store.create_key(NewKey::new(KeyKind::Live, name)).await.unwrap().0.id
}

fn record(key: KeyId, n: u8, at: i64) -> AttemptRecord {
    AttemptRecord {
        request: RequestId::new(at, [n; 10]),
        attempt: 1,
        key,
        secret: *b"AbCd1234",
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        stream: true,
        provider: "sim".into(),
        model_asked: "house".into(),
        model_sent: "echo".into(),
        model_served: "echo-1".into(),
        status: 200,
        outcome: Outcome::Completed,
        code: "",
        usage: Usage::default().with(Unit::Input, 10).with(Unit::Output, 5).with(Unit::CacheRead, 2),
        usage_source: UsageSource::Reported,
        cost: Some(Nanos(1500)),
        hold: Nanos(9000),
        price_id: 77,
        started_at: at,
        first_byte_us: 1_250,
        total_us: 20_000,
        bytes_in: 100,
        bytes_out: 200,
        upstream_id: "up-1".into(),
        client: Some("192.0.2.1".parse().unwrap()),
    }
}

fn refusal(key: KeyId, n: u8, at: i64) -> AttemptRecord {
    AttemptRecord {
        attempt: 0,
        provider: "".into(),
        model_sent: "".into(),
        model_served: "".into(),
        status: 404,
        outcome: Outcome::Refused,
        code: "model_not_found",
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost: Some(Nanos::ZERO),
        hold: Nanos::ZERO,
        price_id: 0,
        first_byte_us: 0,
        upstream_id: "".into(),
        client: None,
        ..record(key, n, at)
    }
}

async fn filled() -> (Api, KeyId, KeyId) {
    let api = Api::start().await;
    let (a, b) = (key(&api, "alpha").await, key(&api, "=beta").await);
    let batch =
        vec![record(a, 1, NOON), record(a, 2, NOON + 1), record(b, 3, NOON + DAY), refusal(b, 4, NOON + DAY + 1)];
    api.store.apply(batch).await.unwrap();
    (api, a, b)
}

#[tokio::test]
async fn usage_is_summed_by_what_is_asked() {
    let (api, a, b) = filled().await;
    let all = api.get("/usage").await.is(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
    for (field, value) in [
        ("requests", json!(4)),
        ("errors", json!(1)),
        ("input_tokens", json!(30)),
        ("cache_read_tokens", json!(6)),
        ("cache_write_tokens", json!(0)),
        ("output_tokens", json!(15)),
        ("reasoning_tokens", json!(0)),
        ("cost_usd", json!("0.0000045")),
        ("unpriced", json!(0)),
        ("estimated", json!(0)),
    ] {
        assert_eq!((&all["totals"][field], &all["data"][0][field]), (&value, &value), "{field}");
    }
    assert!(all["data"][0].get("key").is_none());
    let by_key = api.get("/usage?group_by=key").await.is(200);
    let find =
        |id: KeyId| by_key["data"].as_array().unwrap().iter().find(|row| row["key"] == id.to_string()).unwrap().clone();
    assert_eq!((&find(a)["key_name"], &find(a)["requests"]), (&json!("alpha"), &json!(2)));
    assert_eq!((&find(b)["key_name"], &find(b)["errors"]), (&json!("=beta"), &json!(1)));
    let by_day = api.get("/usage?group_by=day,provider&provider=sim").await.is(200);
    let days: Vec<(&Value, &Value)> =
        by_day["data"].as_array().unwrap().iter().map(|r| (&r["day"], &r["requests"])).collect();
    assert_eq!(days.len(), 2);
    assert!(days.contains(&(&json!("2026-11-20"), &json!(2))) && days.contains(&(&json!("2026-11-21"), &json!(1))));
    for (query, requests) in [
        ("from=2026-11-21".to_owned(), 2),
        ("to=2026-11-21".to_owned(), 2),
        ("from=2026-11-20&to=2026-11-22".to_owned(), 4),
        (format!("key={a}"), 2),
        ("from=2027-01-01".to_owned(), 0),
    ] {
        assert_eq!(api.get(&format!("/usage?{query}")).await.is(200)["totals"]["requests"], requests, "{query}");
    }
    assert!(api.books.flushes.load(Ordering::Relaxed) >= 8, "the books are brought up to date before each report");
    assert_eq!(
        api.get("/usage?group_by=colour&from=x&to=y&key=z&format=xml").await.faults(),
        ["format", "from", "group_by", "key", "to"]
    );
    assert_eq!(api.get("/usage?from=2026-11-22&to=2026-11-21").await.faults(), ["to"]);
}

#[tokio::test]
async fn usage_comes_as_csv_that_no_spreadsheet_runs() {
    let (api, ..) = filled().await;
    let answer = api.get("/usage?group_by=key,day&format=csv").await;
    answer.is(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let mut reader = csv::Reader::from_reader(answer.text().as_bytes());
    assert_eq!(&reader.headers().unwrap().iter().take(4).collect::<Vec<_>>(), &["key", "key_name", "day", "requests"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().any(|row| &row[1] == "'=beta" && &row[2] == "2026-11-21" && &row[3] == "2"));
    assert!(rows.iter().any(|row| &row[1] == "alpha"));
}

#[tokio::test]
async fn nothing_is_reported_while_the_books_are_away() {
    let (api, a, _) = filled().await;
    api.books.away.store(true, Ordering::Relaxed);
    for path in ["/usage", "/requests", "/requests/req_00000000000000000000000000"] {
        let answer = api.get(path).await;
        answer.refused(503, "ledger_unavailable");
        assert_eq!(answer.header("retry-after"), "2");
    }
    api.get(&format!("/keys/{a}")).await.is(200);
}

#[tokio::test]
async fn requests_are_listed_newest_first_and_filtered() {
    let (api, a, _) = filled().await;
    let list = async |query: &str| -> Vec<String> {
        let list = api.get(&format!("/requests?{query}")).await.is(200);
        list["data"].as_array().unwrap().iter().map(|r| r["request_id"].as_str().unwrap().to_owned()).collect()
    };
    let id = |n: u8, at: i64| RequestId::new(at, [n; 10]).to_string();
    let all = [id(4, NOON + DAY + 1), id(3, NOON + DAY), id(2, NOON + 1), id(1, NOON)];
    assert_eq!(list("").await, all);
    assert_eq!(list(&format!("key={a}")).await, all[2..]);
    for (query, expected) in [
        ("status=404", &all[..1]),
        ("status=4xx", &all[..1]),
        ("status=200", &all[1..]),
        ("outcome=refused", &all[..1]),
        ("model=echo", &all[1..]),
        ("model=house", &all[..]),
        ("provider=sim", &all[1..]),
        ("since=2026-11-21", &all[..2]),
        ("until=2026-11-21", &all[2..]),
        ("provider=nobody", &all[..0]),
    ] {
        assert_eq!(list(query).await, expected, "{query}");
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let part = api.get(&format!("/requests?limit=1{after}")).await.is(200);
        seen.extend(part["data"].as_array().unwrap().iter().map(|r| r["request_id"].as_str().unwrap().to_owned()));
        match part["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    assert_eq!(
        api.get("/requests?status=9xx&outcome=odd&since=x&until=y&key=z&after=q&limit=0").await.faults(),
        ["after", "key", "limit", "outcome", "since", "status", "until"]
    );
}

#[tokio::test]
async fn a_request_is_shown_with_each_attempt() {
    let (api, a, _) = filled().await;
    let first = RequestId::new(NOON, [1; 10]);
    api.store.apply(vec![AttemptRecord { attempt: 2, cost: None, ..record(a, 1, NOON) }]).await.unwrap();
    let shown = api.get(&format!("/requests/{first}")).await.is(200);
    assert_eq!(
        shown["data"][0],
        json!({
            "request_id": first.to_string(), "attempt": 1, "key_id": a.to_string(), "key_name": "alpha",
            "endpoint": "chat_completions", "dialect": "openai", "stream": true, "provider": "sim", "model_asked": "house",
            "model_sent": "echo", "model_served": "echo-1", "status": 200, "outcome": "completed", "code": null,
            "usage": {"input": 10, "output": 5, "cache_read": 2}, "usage_source": "reported", "cost_usd": "0.0000015",
            "hold_usd": "0.000009", "price_id": 77, "started_at": "2026-11-20T12:00:00Z", "first_byte_ms": 1.25,
            "total_ms": 20.0, "bytes_in": 100, "bytes_out": 200, "upstream_id": "up-1", "client": "192.0.2.1",
        })
    );
    assert_eq!((&shown["data"][1]["attempt"], &shown["data"][1]["cost_usd"]), (&json!(2), &json!(null)));
    let refused = api.get(&format!("/requests/{}", RequestId::new(NOON + DAY + 1, [4; 10]))).await.is(200);
    for field in ["provider", "model_sent", "model_served", "price_id", "first_byte_ms", "upstream_id", "client"] {
        assert_eq!(refused["data"][0][field], Value::Null, "{field}");
    }
    for id in ["req_00000000000000000000000000", "x", "key_00000000000000000000000000"] {
        api.get(&format!("/requests/{id}")).await.refused(404, "not_found");
    }
}

/// The next event's lines.
async fn event(body: &mut axum::body::Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn attempts_are_watched_as_they_finish() {
    let (api, a, b) = filled().await;
    let response = api.ask(Method::GET, &format!("/requests/tail?key={a}&status=2xx")).open().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut body = response.into_body();
    let send = |record: AttemptRecord| api.books.records.send(Arc::new(record)).unwrap();
    send(record(b, 7, NOON));
    send(refusal(a, 8, NOON));
    send(record(a, 9, NOON));
    let text = event(&mut body).await.unwrap();
    let shown: Value = serde_json::from_str(text.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(
        (&shown["request_id"], &shown["key_name"]),
        (&json!(RequestId::new(NOON, [9; 10]).to_string()), &json!("alpha"))
    );
    // A reader who falls behind is told how much was lost.
    for n in 10..16 {
        send(record(a, n, NOON));
    }
    let missed = event(&mut body).await.unwrap();
    assert_eq!(missed, "event: missed\ndata: 2\n\n");
    for _ in 12..16 {
        assert!(event(&mut body).await.unwrap().starts_with("data: {"));
    }
    api.stop.send_replace(true);
    assert_eq!(event(&mut body).await, None, "the stream ends when the process stops");
    assert_eq!(api.get("/requests/tail?status=odd").await.faults(), ["status"]);
}
