//! Aliases.

use crate::harness::Api;
use axum::http::Method;
use serde_json::json;

#[tokio::test]
async fn an_alias_is_made_moved_listed_and_removed() {
    let api = Api::start().await;
    let alias = api.post("/aliases", json!({"name": "house", "target": "sim/echo"})).await.is(201);
    assert_eq!(alias, json!({"name": "house", "target": "sim/echo", "origin": "api"}));
    assert_eq!(
        api.post("/aliases", json!({"name": "house", "target": "sim/other"})).await.is(200)["target"],
        "sim/other"
    );
    api.post("/aliases", json!({"name": "team/fast", "target": "sim/echo"})).await.is(201);
    let list = api.get("/aliases").await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    let part = api.get("/aliases?limit=1").await.is(200);
    assert_eq!(part["next"], "house");
    assert_eq!(api.get("/aliases?limit=1&after=house").await.is(200)["data"][0]["name"], "team/fast");
    for path in ["/aliases/team/fast", "/aliases/house"] {
        let gone = api.delete(path).await;
        assert_eq!((gone.status.as_u16(), gone.text()), (204, ""));
        api.delete(path).await.refused(404, "not_found");
    }
    assert_eq!(api.get("/aliases").await.is(200), json!({"data": [], "next": null}));
}

#[tokio::test]
async fn an_alias_leads_somewhere() {
    let api = Api::start().await;
    for (body, fields) in [
        (json!({}), vec!["name", "target"]),
        (json!({"name": "", "target": "sim/echo"}), vec!["name"]),
        (json!({"name": "a b", "target": "nobody/x"}), vec!["name", "target"]),
        (json!({"name": "a", "target": "a"}), vec!["target"]),
        (json!({"name": "sim/echo", "target": "sim/other"}), vec!["name"]),
        (json!({"name": "a", "target": "openai/gpt-4o"}), vec!["target"]),
        (json!({"name": "a", "target": ""}), vec!["target"]),
        (json!({"name": "x".repeat(300), "target": 5}), vec!["name", "target"]),
    ] {
        assert_eq!(api.post("/aliases", body.clone()).await.faults(), fields, "{body}");
    }
}

#[tokio::test]
async fn making_an_alias_twice_with_one_key_is_one() {
    let api = Api::start().await;
    let send = || {
        api.ask(Method::POST, "/aliases")
            .header("idempotency-key", "k")
            .json(json!({"name": "a", "target": "sim/echo"}))
            .send()
    };
    send().await.is(201);
    let again = send().await;
    again.is(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
}
