//! Prices and models.

use crate::harness::Api;
use anykey_core::catalogue::Catalogue;
use axum::http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_catalogue_in_force_is_shown() {
    let api = Api::start().await;
    let shown = api.get("/prices").await.is(200);
    let bundled = Catalogue::bundled();
    assert_eq!(shown["version"], bundled.version());
    assert_eq!(shown["models"], bundled.entries().len());
    let model = api.get("/prices/models/openai/gpt-4o-mini").await.is(200);
    assert_eq!(model["kind"], "openai");
    assert_eq!(model["price"]["rates"]["input"], "0.00000015");
    assert!(model["history"].as_array().is_some_and(|all| !all.is_empty()));
    // Names with slashes, in either spelling.
    let kinds = anykey_core::provider::kinds();
    let (kind, slashed) = kinds
        .iter()
        .find_map(|kind| Some((kind.name, bundled.models(kind.name).iter().find(|entry| entry.id.contains('/'))?)))
        .unwrap();
    for id in [slashed.id.to_string(), slashed.id.replace('/', "%2F")] {
        assert_eq!(api.get(&format!("/prices/models/{kind}/{id}")).await.is(200)["model"], *slashed.id);
    }
    for path in ["/prices/models/openai/no-such-model", "/prices/models/nobody/gpt-4o", "/prices/models/openai/%ff"] {
        api.get(path).await.refused(404, "not_found");
    }
}

/// The bundled list with one model dearer.
pub fn dearer() -> (String, Value) {
    let mut file: Value = serde_json::from_str(&Catalogue::bundled().to_json()).unwrap();
    let openai = file["providers"].as_array_mut().unwrap().iter_mut().find(|p| p["id"] == "openai").unwrap();
    let model = openai["models"].as_array_mut().unwrap().iter_mut().find(|m| m["id"] == "gpt-4o-mini").unwrap();
    model["prices"] = json!([{"rates": {"input": 1_000_000, "output": 2_000_000}}]);
    (file.to_string(), file)
}

#[tokio::test]
async fn a_newer_list_is_checked_stored_and_put_in_force() {
    let api = Api::start().await;
    let before = Catalogue::bundled().version().to_owned();
    let (text, mut file) = dearer();
    let send = async |body: String| {
        api.ask(Method::POST, "/prices/update").header("content-type", "application/json").body(body).send().await
    };
    let update = send(text.clone()).await.is(200);
    assert_eq!((&update["before"], &update["changed"]), (&json!(before), &json!(1)));
    assert_eq!(update["after"], api.get("/prices").await.is(200)["version"]);
    assert_ne!(update["after"], update["before"]);
    assert_eq!(api.get("/prices/models/openai/gpt-4o-mini").await.is(200)["price"]["rates"]["input"], "0.000001");
    let stored = api.store.catalogue().await.unwrap().unwrap();
    assert_eq!((stored.source.as_str(), stored.bytes), ("upload", text.clone().into_bytes()));
    // The same list again changes nothing and stores nothing.
    assert_eq!(send(text).await.is(200)["changed"], 0);
    assert_eq!(api.store.catalogue().await.unwrap().unwrap().id, stored.id);
    // A list with a flaw is refused whole.
    file["providers"][0]["models"][0]["prices"] = json!([{"rates": {"input": -1}}]);
    for body in [file.to_string(), "{".into(), "[]".into(), "{}".into(), String::new(), "\"x\"".into()] {
        send(body).await.refused(422, "catalogue_invalid");
    }
    assert_eq!(api.get("/prices").await.is(200)["version"], update["after"]);
    assert_eq!(api.catalogue.load().version(), update["after"]);
}

#[tokio::test]
async fn a_list_is_never_read_from_inside() {
    let api = Api::start().await;
    for url in [
        "http://127.0.0.1:9/x",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "http://u@h/",
        "",
        "https://localhost/",
    ] {
        let problem = api.post("/prices/update", json!({"url": url})).await.refused(400, "destination_forbidden");
        assert_eq!(problem["errors"][0]["field"], "url");
    }
    let large = api.ask(Method::POST, "/prices/update").body(vec![b' '; (16 << 20) + 2048]);
    large.send().await.refused(413, "body_too_large");
}

#[tokio::test]
async fn models_that_can_be_called_are_listed_with_prices() {
    let api = Api::start().await;
    let list = api.get("/models?limit=200").await.is(200);
    let models = list["data"].as_array().unwrap();
    assert_eq!(models.len(), Catalogue::bundled().models("sim").len());
    for model in models {
        assert_eq!(model["provider"], "sim");
        assert_eq!(model["id"], format!("sim/{}", model["model"].as_str().unwrap()));
        assert_eq!(model["priced"], true);
    }
    assert_eq!(api.get("/models?provider=nobody").await.is(200)["data"], json!([]));
    assert_eq!(api.get("/models?colour=red").await.faults(), ["colour"]);
    let status = api.get("/status").await.is(200);
    assert_eq!(
        (&status["version"], &status["database"], &status["keys"]),
        (&json!("9.9.9"), &json!("sqlite"), &json!(1))
    );
}
