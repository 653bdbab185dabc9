//! Providers, tested against an upstream that runs here.

use crate::harness::{Answer, Api};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

const SECRET: &str = "sk-upstream-secret-0123456789";

/// What the upstream was asked.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(Uri, HeaderMap)>>>, Arc<Gate>);

/// Where a slow answer waits.
#[derive(Default)]
struct Gate {
    arrived: Notify,
    open: Notify,
}

impl Seen {
    fn last(&self) -> (Uri, HeaderMap) {
        self.0.lock().unwrap().last().cloned().unwrap()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

async fn upstream(State(seen): State<Seen>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    seen.0.lock().unwrap().push((request.uri.clone(), request.headers.clone()));
    let header = |name: &str| request.headers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let known = header("authorization") == format!("Bearer {SECRET}")
        || header("x-api-key") == SECRET
        || header("x-goog-api-key") == SECRET;
    match request.uri.path() {
        "/slow/models" => {
            seen.1.arrived.notify_one();
            seen.1.open.notified().await;
            axum::Json(json!({"data": []})).into_response()
        }
        "/html/models" => "<html>".into_response(),
        "/down/models" => StatusCode::BAD_GATEWAY.into_response(),
        "/free/models" => axum::Json(json!({"data": [{"id": "tiny"}]})).into_response(),
        _ if !known && !header("x-goog-api-key").is_empty() => {
            (StatusCode::BAD_REQUEST, r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#).into_response()
        }
        _ if !known => (StatusCode::UNAUTHORIZED, format!("no such key: {SECRET}")).into_response(),
        "/v1beta/models" => axum::Json(json!({"models": [{"name": "models/gemini-x"}]})).into_response(),
        _ => axum::Json(json!({"data": [{"id": "gpt-x"}, {"id": "gpt-4o-mini"}]})).into_response(),
    }
}

async fn start() -> (Api, Seen, String) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(upstream).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Api::start().await, seen, url)
}

fn body(name: &str, kind: &str, url: &str) -> Value {
    json!({"name": name, "kind": kind, "base_url": url, "api_key": SECRET, "allow_private_network": true})
}

fn hides_the_secret(answer: &Answer) {
    assert!(!answer.text().contains(SECRET), "{}", answer.text());
}

#[tokio::test]
async fn a_provider_is_asked_in_its_own_dialect_when_added() {
    let (api, seen, url) = start().await;
    for (kind, base, path, header, value) in [
        ("openai", format!("{url}/v1"), "/v1/models", "authorization", format!("Bearer {SECRET}")),
        ("anthropic", url.clone(), "/v1/models?limit=1000", "x-api-key", SECRET.to_owned()),
        ("gemini", url.clone(), "/v1beta/models?pageSize=1000", "x-goog-api-key", SECRET.to_owned()),
    ] {
        let answer = api.post("/providers", body(kind, kind, &base)).await;
        hides_the_secret(&answer);
        assert_eq!(answer.header("etag"), format!("\"{}\"", answer.json()["version"]));
        let provider = answer.is(201);
        let (uri, headers) = seen.last();
        assert_eq!(uri.to_string(), path);
        assert_eq!(headers[header], value);
        assert_eq!(headers.contains_key("anthropic-version"), kind == "anthropic");
        assert_eq!(provider["test"]["ok"], true);
        assert!(provider["test"]["models"].as_u64().unwrap() > 0 && provider["test"]["latency_ms"].is_u64());
        for (field, value) in [
            ("name", json!(kind)),
            ("kind", json!(kind)),
            ("dialect", json!(kind)),
            ("base_url", json!(base)),
            ("credential", json!("set")),
            ("allow_private_network", json!(true)),
            ("origin", json!("api")),
            ("disabled", json!(false)),
            ("test_error", json!(null)),
        ] {
            assert_eq!(provider[field], value, "{field}");
        }
        assert!(provider["tested_at"].is_string());
    }
    let list = api.get("/providers").await;
    hides_the_secret(&list);
    let names: Vec<Value> = list.is(200)["data"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["anthropic", "gemini", "openai", "sim"]);
    let models = api.get("/models?provider=openai").await.is(200);
    let ids: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, ["openai/gpt-4o-mini", "openai/gpt-x"]);
    assert_eq!((&models["data"][0]["priced"], &models["data"][1]["priced"]), (&json!(true), &json!(false)));
    assert_eq!(models["data"][1]["prices"], json!({}));
    api.post("/aliases", json!({"name": "a", "target": "gpt-x"})).await.is(201);
    api.post("/aliases", json!({"name": "openai/mine", "target": "openai/gpt-x"}))
        .await
        .refused(400, "invalid_parameter");
}

#[tokio::test]
async fn a_refused_credential_is_not_kept_unless_forced() {
    let (api, seen, url) = start().await;
    for (kind, base) in [("openai", format!("{url}/v1")), ("gemini", url.clone())] {
        let mut body = body("p", kind, &base);
        body["api_key"] = json!("sk-wrong");
        let refused = api.post("/providers", body.clone()).await;
        hides_the_secret(&refused);
        assert!(!refused.text().contains("sk-wrong"));
        refused.refused(422, "provider_test_failed");
        api.get("/providers/p").await.refused(404, "not_found");
        let kept = api.post("/providers?force=true", body).await.is(201);
        assert_eq!(kept["test"]["ok"], false);
        assert!(kept["test"]["error"].is_string() && kept["test_error"].is_string());
        api.delete("/providers/p").await.is(204);
    }
    assert_eq!(seen.count(), 4);
    assert_eq!(api.post("/providers?force=yes", body("p", "openai", &url)).await.faults(), ["force"]);
}

#[tokio::test]
async fn one_that_does_not_answer_is_kept_with_the_reason() {
    let (api, _, url) = start().await;
    for (name, base) in
        [("html", format!("{url}/html")), ("down", format!("{url}/down")), ("gone", "http://127.0.0.1:1".into())]
    {
        let provider = api.post("/providers", body(name, "openai", &base)).await.is(201);
        assert_eq!(provider["test"]["ok"], false, "{name}");
        assert_eq!(provider["test"]["error"], provider["test_error"]);
    }
    let local = json!({"name": "local", "kind": "compatible", "base_url": format!("{url}/free"), "allow_private_network": true});
    let provider = api.post("/providers", local).await.is(201);
    assert_eq!((&provider["credential"], &provider["test"]["models"]), (&json!("none"), &json!(1)));
    // A kind without a list is not called.
    let provider = api.post("/providers", body("pplx", "perplexity", &url)).await.is(201);
    assert!(provider["test"]["note"].is_string() && provider["tested_at"].is_null());
}

#[tokio::test]
async fn settings_are_checked_and_the_inside_is_not_reached() {
    let (api, seen, url) = start().await;
    for (body, fields) in [
        (json!({}), vec!["kind", "name"]),
        (json!({"name": "sim", "kind": "openai", "api_key": "k"}), vec!["name"]),
        (json!({"name": "Open AI", "kind": "nonesuch", "api_key": "a b"}), vec!["api_key", "kind", "name"]),
        (json!({"name": "a", "kind": "openai"}), vec!["api_key"]),
        (json!({"name": "a", "kind": "openai", "api_key": ""}), vec!["api_key"]),
        (json!({"name": "a", "kind": "openai", "api_key": "k\r\nx-evil: 1"}), vec!["api_key"]),
        (json!({"name": "a", "kind": "compatible"}), vec!["base_url"]),
        (json!({"name": "a", "kind": "openai", "api_key": "k", "disabled": 1, "secret": 2}), vec!["secret"]),
    ] {
        assert_eq!(api.post("/providers", body.clone()).await.faults(), fields, "{body}");
    }
    for base in
        [url.as_str(), "http://localhost:1", "http://169.254.169.254", "https://a@b", "gopher://x", "https://x?y"]
    {
        let mut body = body("a", "openai", base);
        body["allow_private_network"] = json!(false);
        let problem = api.post("/providers", body).await.refused(400, "destination_forbidden");
        assert_eq!(problem["errors"][0]["field"], "base_url");
    }
    assert_eq!(seen.count(), 0, "nothing was called");
}

#[tokio::test]
async fn a_name_is_used_once() {
    let (api, seen, url) = start().await;
    let send = |key: &'static str| {
        api.ask(Method::POST, "/providers").header("idempotency-key", key).json(body("a", "openai", &url)).send()
    };
    let first = send("1").await;
    let again = send("1").await;
    assert_eq!(first.is(201), again.is(201));
    assert_eq!(seen.count(), 1);
    send("2").await.refused(409, "conflict");
    assert_eq!(seen.count(), 1, "the credential was sent nowhere for a name that is taken");
}

#[tokio::test]
async fn what_has_begun_outlives_a_caller_who_hangs_up() {
    let (api, seen, url) = start().await;
    let call = || {
        let body = body("a", "openai", &format!("{url}/slow"));
        api.ask(Method::POST, "/providers").header("idempotency-key", "k").json(body)
    };
    {
        let hung_up = call().open();
        tokio::select! {
            _ = hung_up => panic!("the upstream has not answered yet"),
            () = seen.1.arrived.notified() => {}
        }
    }
    call().send().await.refused(409, "idempotency_in_progress");
    seen.1.open.notify_one();
    let mut answer = call().send().await;
    while answer.status == 409 {
        tokio::task::yield_now().await;
        answer = call().send().await;
    }
    answer.is(201);
    assert_eq!(answer.header("idempotency-replayed"), "true");
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn a_change_is_tested_and_versioned() {
    let (api, seen, url) = start().await;
    let made = api.post("/providers", body("a", "openai", &format!("{url}/v1"))).await.is(201);
    let version = format!("\"{}\"", made["version"]);
    let update = async |version: &str, body: Value| {
        api.ask(Method::PATCH, "/providers/a").header("if-match", version).json(body).send().await
    };
    let changed = update(&version, json!({"disabled": true})).await;
    assert_ne!(changed.header("etag"), version);
    assert_eq!(changed.is(200)["disabled"], true);
    assert_eq!(seen.count(), 1, "no call for a change that needs none");
    assert_eq!(api.get("/models?provider=a").await.is(200)["data"], json!([]), "a disabled provider offers nothing");
    update(&version, json!({"disabled": false})).await.refused(412, "version_mismatch");
    let refused = api.patch("/providers/a", json!({"api_key": "sk-wrong"})).await;
    refused.refused(422, "provider_test_failed");
    assert_eq!(api.get("/providers/a").await.is(200)["test_error"], Value::Null);
    let moved = api.patch("/providers/a", json!({"base_url": format!("{url}/other"), "disabled": false})).await.is(200);
    assert_eq!(moved["base_url"], format!("{url}/other"));
    assert_eq!(seen.last().0.path(), "/other/models");
    let down = api.patch("/providers/a", json!({"base_url": format!("{url}/down")})).await.is(200);
    assert!(down["test_error"].is_string());
    for (body, fields) in [
        (json!({"kind": null, "disabled": null, "version": "1"}), vec!["disabled", "kind", "version"]),
        (json!({"api_key": null}), vec!["api_key"]),
        (json!({"name": "b"}), vec!["name"]),
    ] {
        assert_eq!(api.patch("/providers/a", body).await.faults(), fields);
    }
    api.patch("/providers/a", json!({"allow_private_network": false})).await.refused(400, "destination_forbidden");
    api.patch("/providers/b", json!({"disabled": true})).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_stored_credential_is_not_sent_to_another_host() {
    let (api, _, url) = start().await;
    let (_, elsewhere, other) = start().await;
    api.post("/providers", body("a", "openai", &url)).await.is(201);
    assert_eq!(api.patch("/providers/a", json!({"base_url": other})).await.faults(), ["api_key"]);
    assert_eq!(api.patch("/providers/a", json!({"base_url": null})).await.faults(), ["api_key"]);
    assert_eq!(elsewhere.count(), 0);
    api.patch("/providers/a", json!({"base_url": other, "api_key": SECRET})).await.is(200);
    assert_eq!(elsewhere.count(), 1);
}

#[tokio::test]
async fn a_test_uses_the_stored_credential() {
    let (api, seen, url) = start().await;
    api.post("/providers", body("a", "openai", &url)).await.is(201);
    let tested = api.ask(Method::POST, "/providers/a/test").send().await;
    hides_the_secret(&tested);
    let tested = tested.is(200);
    assert_eq!(
        (&tested["test"]["ok"], &tested["test"]["models"], &tested["models_count"]),
        (&json!(true), &json!(2), &json!(2))
    );
    assert_eq!(seen.count(), 2);
    api.ask(Method::POST, "/providers/b/test").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn the_practice_provider_is_part_of_the_server() {
    let (api, _, _) = start().await;
    let sim = api.get("/providers/sim").await.is(200);
    assert_eq!((&sim["origin"], &sim["credential"]), (&json!("builtin"), &json!("none")));
    api.patch("/providers/sim", json!({"disabled": true})).await.refused(409, "conflict");
    api.delete("/providers/sim").await.refused(409, "conflict");
    // Nothing listens where this test says that it is.
    let tested = api.ask(Method::POST, "/providers/sim/test").send().await.is(200);
    assert_eq!(tested["test"]["ok"], false);
}

#[tokio::test]
async fn what_the_settings_file_declares_is_changed_there() {
    let (api, seen, url) = start().await;
    let declared = anykey_store::NewProvider {
        name: "filed".into(),
        kind: "openai".into(),
        base_url: Some(url),
        credential: Some(SECRET.to_owned().into()),
        allow_private: true,
        disabled: false,
    };
    let declared =
        anykey_store::Declared { providers: vec![declared], aliases: vec![("house".into(), "filed/gpt-x".into())] };
    api.store.set_declared(declared).await.unwrap();
    assert_eq!(api.get("/providers/filed").await.is(200)["origin"], "config");
    assert_eq!(api.get("/aliases").await.is(200)["data"][0]["origin"], "config");
    api.patch("/providers/filed", json!({"allow_private_network": true})).await.refused(409, "conflict");
    assert_eq!(seen.count(), 0);
    api.delete("/providers/filed").await.refused(409, "conflict");
    api.delete("/aliases/house").await.refused(409, "conflict");
    let tested = api.ask(Method::POST, "/providers/filed/test").send().await;
    hides_the_secret(&tested);
    assert_eq!(tested.is(200)["test"]["ok"], true);
}

#[tokio::test]
async fn removing_is_for_the_version_that_was_seen() {
    let (api, _, url) = start().await;
    api.post("/providers", body("a", "openai", &url)).await.is(201);
    api.ask(Method::DELETE, "/providers/a").header("if-match", "\"999\"").send().await.refused(412, "version_mismatch");
    api.delete("/providers/a").await.is(204);
    api.delete("/providers/a").await.refused(404, "not_found");
}
