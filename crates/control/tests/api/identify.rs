//! Who may use the admin API.

use crate::harness::{Api, PEER};
use anykey_core::{KeyKind, Scopes};
use anykey_store::{KeyPatch, NewKey, Rotation};
use axum::http::Method;

async fn with(api: &Api, headers: &[(&'static str, &str)]) -> crate::harness::Answer {
    let call = api.stranger(Method::GET, "/status");
    headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

#[tokio::test]
async fn an_admin_key_in_any_carrier_passes() {
    let api = Api::start().await;
    let key = api.admin.expose();
    let bearer = format!("Bearer {key}");
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("authorization", &*format!("bearer  {key} "))],
        vec![("x-api-key", key)],
        vec![("x-goog-api-key", key)],
        vec![("api-key", key)],
        vec![("authorization", bearer.as_str()), ("x-api-key", key)],
        vec![("x-api-key", key), ("sec-fetch-site", "none")],
        vec![("x-api-key", key), ("origin", "http://localhost"), ("sec-fetch-site", "same-origin")],
    ] {
        with(&api, &headers).await.is(200);
    }
}

#[tokio::test]
async fn strangers_are_refused_with_their_cause() {
    let api = Api::start().await;
    let key = api.admin.expose();
    let mistyped = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let unknown = anykey_core::Token::mint("ak", KeyKind::Admin).unwrap();
    with(&api, &[]).await.refused(401, "missing_api_key");
    with(&api, &[("authorization", "Bearer ")]).await.refused(401, "missing_api_key");
    with(&api, &[("x-api-key", "")]).await.refused(401, "missing_api_key");
    for headers in [
        ("authorization", "Basic YTpi"),
        ("authorization", key),
        ("x-api-key", "nonsense"),
        ("x-api-key", mistyped.as_str()),
        ("x-api-key", unknown.expose()),
    ] {
        with(&api, &[headers]).await.refused(401, "invalid_api_key");
    }
    let both = [("authorization", &*format!("Bearer {}", unknown.expose())), ("x-api-key", key)];
    with(&api, &both).await.refused(400, "conflicting_credentials");
    with(&api, &[("x-api-key", key), ("x-api-key", unknown.expose())]).await.refused(400, "conflicting_credentials");
}

#[tokio::test]
async fn keys_that_call_models_cannot_manage() {
    let api = Api::start().await;
    let (_, caller) = api.store.create_key(NewKey::new(KeyKind::Live, "caller")).await.unwrap();
    with(&api, &[("x-api-key", caller.expose())]).await.refused(403, "scope_missing");
    // The scope decides, not the word in the key's text.
    let weak = NewKey { scopes: Scopes::DEFAULT, ..NewKey::new(KeyKind::Admin, "weak") };
    if let Ok((_, weak)) = api.store.create_key(weak).await {
        with(&api, &[("x-api-key", weak.expose())]).await.refused(403, "scope_missing");
    }
}

#[tokio::test]
async fn pages_are_kept_out_unless_the_key_allows_them() {
    let api = Api::start().await;
    let key = api.admin.expose();
    for mark in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        with(&api, &[("x-api-key", key), mark]).await.refused(403, "browser_use_forbidden");
    }
    let patch = KeyPatch { browser_allowed: Some(true), ..KeyPatch::default() };
    api.store.update_key(api.admin_key.id, None, patch).await.unwrap();
    with(&api, &[("x-api-key", key), ("origin", "https://fine.example")]).await.is(200);
}

#[tokio::test]
async fn dead_keys_say_why() {
    let api = Api::start().await;
    let id = api.admin_key.id;
    let key = api.admin.expose();
    api.store.disable_key(id, None).await.unwrap();
    with(&api, &[("x-api-key", key)]).await.refused(401, "key_disabled");
    api.store.enable_key(id, None).await.unwrap();
    with(&api, &[("x-api-key", key)]).await.is(200);
    let rotated = api.store.rotate_key(id, None, Rotation { overlap_ms: 0, leaked: true }).await.unwrap();
    assert_eq!(with(&api, &[("x-api-key", key)]).await.status, 401);
    with(&api, &[("x-api-key", rotated.token.expose())]).await.is(200);
    api.store.delete_key(id, None).await.unwrap();
    assert_eq!(with(&api, &[("x-api-key", rotated.token.expose())]).await.status, 401);
}

#[tokio::test]
async fn a_use_is_noted_with_its_address() {
    let api = Api::start().await;
    api.get("/status").await.is(200);
    let id = api.admin_key.id;
    // Uses are written in the background, at the latest when the store closes.
    let (store, _folder) = api.reopened().await;
    let key = store.key(id).await.unwrap();
    assert!(key.last_used_at.is_some());
    assert_eq!(key.secrets[0].last_ip, Some(PEER.parse().unwrap()));
}
