//! What bounds keys: set, shown, told as a whole, and held against admin keys.

use crate::harness::Api;
use anykey_core::limit::{Demand, Target};
use anykey_core::{Bound, Controls, Level};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

async fn make(api: &Api, body: Value) -> Value {
    api.post("/keys", body).await.is(201)
}

fn path(key: &Value) -> String {
    format!("/keys/{}", key["id"].as_str().unwrap())
}

fn control<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["controls"].as_array().unwrap();
    all.iter().find(|c| c["control"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

#[tokio::test]
async fn controls_are_kept_changed_as_a_whole_and_taken_away() {
    let api = Api::start().await;
    let controls = json!({
        "endpoints": ["chat_completions"], "models": {"block": ["gpt-5*"]}, "routing": ["house-*"],
        "ips": ["10.0.0.0/8"], "limits": {"rpm": 5, "concurrency": 2}, "model_limits": {"openai/*": {"tpm": 9}},
    });
    let made = make(&api, json!({"name": "k", "controls": controls})).await;
    assert_eq!(made["controls"], controls);
    let version = made["version"].as_i64().unwrap();
    let change = json!({"controls": {"limits": {"rph": 7}}});
    let patch = api.ask(Method::PATCH, &path(&made)).header("if-match", &format!("\"{version}\""));
    assert_eq!(patch.json(change.clone()).send().await.is(200)["controls"], change["controls"]);
    let stale = api.ask(Method::PATCH, &path(&made)).header("if-match", &format!("\"{version}\""));
    stale.json(change.clone()).send().await.refused(412, "version_mismatch");
    assert_eq!(api.patch(&path(&made), json!({"name": "other"})).await.is(200)["controls"], change["controls"]);
    assert_eq!(api.patch(&path(&made), json!({"controls": null})).await.is(200)["controls"], json!({}));
    let faults = api.post("/keys", json!({"name": "", "controls": {"limits": {"rps": 1}}})).await.faults();
    assert_eq!(faults, ["controls", "name"]);
}

#[tokio::test]
async fn what_applies_is_told_with_its_use() {
    let api = Api::start().await;
    let made = make(
        &api,
        json!({
            "name": "ci", "expires_in": "90d", "environment": "prod", "spend_limits": [{"window": "total", "usd": "5"}],
            "controls": {"limits": {"rpm": 2}, "models": {"allow": ["sim/*"]}},
        }),
    )
    .await;
    let limits = format!("{}/limits", path(&made));
    let report = api.get(&limits).await.is(200);
    assert_eq!((&report["allowed"], &report["refused_by"]), (&json!(true), &Value::Null), "{report}");
    assert_eq!(control(&report, "models")["value"], "allow sim/*");
    assert_eq!(control(&report, "environment")["value"], "prod");
    assert_eq!(control(&report, "spend_limit")["remaining"], "5");
    assert_eq!(control(&report, "rpm")["remaining"], 2);

    // The data plane takes of the same counters.
    let key = api.store.key(anykey_core::KeyId::parse(made["id"].as_str().unwrap()).unwrap()).await.unwrap();
    let bounds = api.store.bounds_of(&key).await.unwrap();
    for _ in 0..2 {
        let target = Target { provider: "sim", model: "echo" };
        let taken = api.limiter.take(&bounds, target, &Demand::default(), api.limiter.now());
        taken.unwrap().settle(None, api.limiter.now());
    }
    let report = api.get(&limits).await.is(200);
    let by = &report["refused_by"];
    assert_eq!((&by["control"], &by["level"], &by["code"]), (&json!("rpm"), &json!("key"), &json!("rate_limited")));
    assert!(report["verdict"].as_str().unwrap().contains("2 requests per minute"), "{report}");
    assert_eq!(control(&report, "rpm")["used"], 2);

    api.post(&format!("{}/disable", path(&made)), json!({})).await.is(200);
    assert_eq!(api.get(&limits).await.is(200)["refused_by"]["code"], "key_disabled");
    api.delete(&path(&made)).await.is(200);
    assert_eq!(api.get(&limits).await.is(200)["refused_by"]["code"], "key_revoked");
    api.get("/keys/key_00000000000000000000000000/limits").await.refused(404, "not_found");
}

#[tokio::test]
async fn an_admin_key_is_held_to_its_addresses_and_limits() {
    let api = Api::start().await;
    let admin = |name: &str, controls: Value| json!({"name": name, "kind": "admin", "controls": controls});
    let ask =
        |secret: &str| api.stranger(Method::GET, "/status").header("authorization", &format!("Bearer {secret}")).send();
    let away = make(&api, admin("away", json!({"ips": ["198.51.100.0/24"]}))).await;
    let refused = ask(away["secret"].as_str().unwrap()).await;
    assert!(refused.refused(403, "ip_not_allowed")["detail"].as_str().unwrap().contains("203.0.113.9"));
    let here = make(&api, admin("here", json!({"ips": ["203.0.113.0/24"], "limits": {"rpm": 1, "tpm": 1}}))).await;
    ask(here["secret"].as_str().unwrap()).await.is(200);
    let full = ask(here["secret"].as_str().unwrap()).await;
    full.refused(429, "rate_limited");
    assert!(full.header("retry-after").parse::<u32>().unwrap() >= 1);
}

/// What the store says of a key's chain is what the path of a call is given.
#[tokio::test]
async fn the_chain_that_is_shown_is_the_chain_that_is_checked() {
    let api = Api::start().await;
    let made = make(&api, json!({"name": "k", "controls": {"limits": {"rpm": 1}}})).await;
    let digest = api.store.pepper().digest(made["secret"].as_str().unwrap().as_bytes());
    let anykey_store::Lookup::Live(live) = api.store.look_up(digest, None).await.unwrap() else { panic!("unknown") };
    let key = api.store.key(live.info.id).await.unwrap();
    assert_eq!(api.store.bounds_of(&key).await.unwrap(), live.bounds);
    let expected = Bound {
        level: Level::Key,
        id: live.info.id.0,
        name: "k".into(),
        controls: Arc::new(Controls::from_json(r#"{"limits":{"rpm":1}}"#).unwrap()),
    };
    assert_eq!(*live.bounds, [expected]);
}

/// A limit that only warns is none for whoever asks that there be one.
#[tokio::test]
async fn a_limit_that_only_warns_keeps_no_rule() {
    let api = Api::start().await;
    for rules in [json!({"max_spend_usd": "50"}), json!({"required": ["spend_limits"]})] {
        api.patch("/organisations/default", json!({"key_rules": rules})).await.is(200);
        let key = |spend: Value| json!({"name": "k", "controls": {"spend": spend}});
        let soft = api.post("/keys", key(json!({"total": "5", "warn_only": ["total"]}))).await;
        assert_eq!(soft.faults(), ["spend_limits"], "{rules}");
        let made = make(&api, key(json!({"total": "5"}))).await;
        let change = json!({"controls": {"spend": {"total": "5", "warn_only": ["total"]}}});
        assert_eq!(api.patch(&path(&made), change).await.faults(), ["spend_limits"], "{rules}");
    }
}
