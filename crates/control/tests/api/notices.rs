//! Destinations of notices and what became of notices, over the API.

use crate::harness::Api;
use axum::http::Method;
use serde_json::{Value, json};

async fn create(api: &Api, body: Value) -> Value {
    api.post("/destinations", body).await.is(201)
}

#[tokio::test]
async fn a_webhook_is_made_with_a_secret_that_is_shown_once() {
    let api = Api::start().await;
    let body = json!({"name": "hook", "url": "https://example.com/a?b=c", "events": ["key.expiring", "key.expired"]});
    let ask = || api.ask(Method::POST, "/destinations").header("idempotency-key", "one").json(body.clone()).send();
    let made = ask().await.is(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() > 40);
    assert_eq!(ask().await.is(201), made, "the same answer for the same request");
    let id = made["id"].as_str().unwrap();
    let shown = api.get(&format!("/destinations/{id}")).await.is(200);
    assert_eq!((&shown["address"], &shown["channel"]), (&json!("https://example.com/a?b=c"), &json!("webhook")));
    assert_eq!(shown["events"], json!(["key.expiring", "key.expired"]));
    assert!(shown.get("secret").is_none());
    assert_eq!(api.get("/destinations").await.is(200)["data"].as_array().unwrap().len(), 1);
    let rotated = api.post(&format!("/destinations/{id}/rotate"), json!({"overlap": "1h"})).await.is(200);
    assert!(rotated["secret"].as_str().unwrap() != secret && rotated["old_secret_until"].is_string());
    assert_eq!(api.post(&format!("/destinations/{id}/rotate"), json!({"overlap": "8d"})).await.faults(), ["overlap"]);
    let gone = api.post(&format!("/destinations/{id}/rotate"), json!({"overlap": "none"})).await.is(200);
    assert_eq!(gone["old_secret_until"], Value::Null);
}

#[tokio::test]
async fn a_destination_is_changed_by_version_and_deleted() {
    let api = Api::start().await;
    let made = create(&api, json!({"name": "hook", "url": "https://example.com/a"})).await;
    let path = format!("/destinations/{}", made["id"].as_str().unwrap());
    let changed = api.patch(&path, json!({"events": ["key.exposed"], "disabled": true, "version": 1})).await.is(200);
    assert_eq!((&changed["events"], &changed["status"]), (&json!(["key.exposed"]), &json!("disabled")));
    api.patch(&path, json!({"name": "x", "version": 1})).await.refused(412, "version_mismatch");
    let all = api.patch(&path, json!({"events": null, "disabled": false})).await.is(200);
    assert_eq!((&all["events"], &all["status"]), (&json!([]), &json!("active")));
    assert_eq!(api.patch(&path, json!({"email": "a@example.com"})).await.faults(), ["email"]);
    api.patch(&path, json!({"url": "https://127.0.0.1/"})).await.refused(400, "destination_forbidden");
    api.delete(&path).await.is(200);
    for answer in [api.get(&path).await, api.delete(&path).await, api.post(&format!("{path}/test"), json!({})).await] {
        answer.refused(404, "not_found");
    }
    api.get("/destinations/nonsense").await.refused(404, "not_found");
}

#[tokio::test]
async fn what_leads_inside_or_is_no_address_is_refused() {
    let api = Api::start().await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/x",
        "https://localhost/",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/",
        "https://u:p@example.com/",
        "ftp://example.com/",
        "https://example.com:22/",
        "https://example.com/\r\nx-evil: 1",
    ] {
        let answer = api.post("/destinations", json!({"name": "n", "url": url})).await;
        assert_eq!(answer.status.as_u16(), 400, "{url}: {}", answer.text());
    }
    let refused = api.post("/destinations", json!({"name": "n", "email": "a@example.com"})).await;
    assert!(refused.is(400)["detail"].as_str().unwrap().contains("no mail server"));
    let faults = |body: Value| api.post("/destinations", body);
    assert_eq!(
        faults(json!({"url": "https://example.com", "events": ["key.made"]})).await.faults(),
        ["events", "name"]
    );
    let both = json!({"name": "n", "url": "https://example.com", "email": "a@example.com"});
    assert_eq!(faults(both).await.faults(), ["url"]);
    let stray = json!({"name": "n", "url": "https://example.com", "organisation": "nobody"});
    assert_eq!(faults(stray).await.faults(), ["organisation"]);
}

#[tokio::test]
async fn what_became_of_a_notice_is_listed_and_sent_again() {
    let api = Api::start().await;
    let made = create(&api, json!({"name": "hook", "url": "https://example.com/secret-path"})).await;
    let key = api.post("/keys", json!({"name": "k"})).await.is(201);
    let key = key["id"].as_str().unwrap();
    api.post(&format!("/keys/{key}/disable"), json!({})).await.is(200);
    let list = api.get(&format!("/deliveries?key={key}&state=waiting&event=key.disabled")).await.is(200);
    let row = &list["data"][0];
    assert_eq!((&row["address"], &row["attempts"]), (&json!("https://example.com"), &json!(0)));
    assert_eq!((&row["destination_id"], &row["key_id"]), (&made["id"], &json!(key)));
    let path = format!("/deliveries/{}", row["id"].as_str().unwrap());
    assert_eq!(&api.get(&path).await.is(200), row);
    api.post(&format!("{path}/replay"), json!({})).await.refused(409, "conflict");
    for (query, fault) in
        [("state=lost", "state"), ("event=x", "event"), ("key=x", "key"), ("destination=x", "destination")]
    {
        assert_eq!(api.get(&format!("/deliveries?{query}")).await.faults(), [fault]);
    }
    let none = api.get("/deliveries?state=failed").await.is(200);
    assert_eq!(none["data"], json!([]));
    api.get("/deliveries/nonsense").await.refused(404, "not_found");
}

#[tokio::test]
async fn keys_to_be_rotated_are_listed() {
    let api = Api::start().await;
    api.post("/keys", json!({"name": "k", "rotation_interval_days": 5})).await.is(201);
    for (query, count) in [("rotation=4d", 0), ("rotation=6d", 1)] {
        let found = api.get(&format!("/keys?{query}")).await.is(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(api.get("/keys?rotation=6d&review=6d").await.faults(), ["expiring"]);
}
