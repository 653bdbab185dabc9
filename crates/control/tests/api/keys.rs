//! Keys: made, shown, changed, given new secrets, ended.

use crate::harness::Api;
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

async fn make(api: &Api, body: Value) -> Value {
    api.post("/keys", body).await.is(201)
}

fn path(key: &Value) -> String {
    format!("/keys/{}", key["id"].as_str().unwrap())
}

fn secret(key: &Value) -> String {
    key["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_has_what_it_was_made_with() {
    let api = Api::start().await;
    api.post("/projects", json!({"organisation": "default", "name": "Search"})).await.is(201);
    let made = make(
        &api,
        json!({
            "name": "search-prod", "description": "for search", "kind": "test", "tags": {"team": "search", "tier": "1"},
            "owner": "svc-search", "project": "search", "environment": "production",
            "scopes": ["completions:write", "models:read"], "browser_allowed": true,
            "spend_limits": [{"window": "total", "usd": "$5.25"}], "expires_in": "90d", "note": "vault: a/b",
            "rotation_interval_days": 90, "review_at": "2030-01-01",
        }),
    )
    .await;
    let secret = secret(&made);
    assert!(secret.starts_with("ak-test-"));
    assert!(api.works(&secret).await);
    assert_eq!(made["masked"], format!("{}…", &secret[..16]));
    let shown = api.get(&path(&made)).await;
    assert_eq!(shown.header("etag"), format!("\"{}\"", made["version"]));
    assert!(!shown.text().contains(&secret[16..]));
    let shown = shown.is(200);
    for (field, value) in [
        ("name", json!("search-prod")),
        ("description", json!("for search")),
        ("kind", json!("test")),
        ("status", json!("active")),
        ("tags", json!({"team": "search", "tier": "1"})),
        ("owner", json!("svc-search")),
        ("creator", json!(api.admin_key.id.to_string())),
        ("project", json!("search")),
        ("environment", json!("production")),
        ("scopes", json!(["completions:write", "models:read"])),
        ("browser_allowed", json!(true)),
        ("spend_limits", json!([{"window": "total", "usd": "5.25"}])),
        ("spent_usd", json!("0")),
        ("note", json!("vault: a/b")),
        ("rotation_interval_days", json!(90)),
        ("review_at", json!("2030-01-01T00:00:00Z")),
        ("last_used_at", json!(null)),
        ("exposed_at", json!(null)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert!(shown["expires_at"].as_str().unwrap() > shown["created_at"].as_str().unwrap());
    assert_eq!(shown["secrets"][0]["state"], "live");
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 1);
    assert!(shown.get("secret").is_none());
    assert!(api.books.flushes.load(Ordering::Relaxed) > 0, "what was spent is brought up to date first");
}

#[tokio::test]
async fn the_least_that_makes_a_key() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "plain"})).await;
    assert_eq!(key["kind"], "live");
    assert_eq!(key["scopes"], json!(["completions:write", "embeddings:write", "models:read", "usage:read"]));
    assert_eq!(key["spend_limits"], json!([]));
    let admin = make(&api, json!({"name": "ops", "kind": "admin"})).await;
    assert_eq!(admin["scopes"], json!(["admin:*"]));
    let call = api.stranger(Method::GET, "/status").header("x-api-key", &secret(&admin));
    call.send().await.is(200);
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let api = Api::start().await;
    let answer = api.post("/keys", json!({
        "name": " ", "kind": "plan", "tags": {"a=b": "c"}, "owner": 5, "scopes": ["root"], "browser_allowed": "yes",
        "spend_limits": [{"window": "total", "usd": "-1"}], "expires_at": "2001-01-01", "note": "x".repeat(5000),
        "rotation_interval_days": 0, "review_at": "soon",
    })).await;
    assert_eq!(
        answer.faults(),
        [
            "browser_allowed",
            "expires_at",
            "kind",
            "name",
            "note",
            "owner",
            "review_at",
            "rotation_interval_days",
            "scopes",
            "spend_limits",
            "tags",
        ]
    );
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (json!({"name": null}), vec!["name"]),
        (json!({"name": "a", "colour": 1, "size": 2}), vec!["colour", "size"]),
        (json!({"name": "a\nb"}), vec!["name"]),
        (json!({"name": "a", "scopes": []}), vec!["scopes"]),
        (json!({"name": "a", "scopes": ["admin:*"]}), vec!["scopes"]),
        (json!({"name": "a", "kind": "admin", "scopes": ["models:read"]}), vec!["scopes"]),
        (json!({"name": "a", "kind": "admin", "scopes": ["admin:*", "models:read"]}), vec!["scopes"]),
        (json!({"name": "a", "expires_in": "1y"}), vec!["expires_in"]),
        (json!({"name": "a", "expires_in": "9999999w"}), vec!["expires_in"]),
        (json!({"name": "a", "expires_in": "1d", "expires_at": "2099-01-01"}), vec!["expires_in"]),
        (json!({"name": "a", "spend_limits": [{"window": "yearly", "usd": "1"}]}), vec!["spend_limits"]),
        (
            json!({"name": "a", "spend_limits": [{"window": "daily", "usd": "1"}], "controls": {"spend": {"day": "2"}}}),
            vec!["spend_limits"],
        ),
        (
            json!({"name": "a", "spend_limits": [{"window": "total", "usd": "1"}, {"window": "total", "usd": "2"}]}),
            vec!["spend_limits"],
        ),
        (json!({"name": "a", "spend_limits": [{"window": "total", "usd": "1", "soft": true}]}), vec!["spend_limits"]),
        (json!({"name": "a", "spend_limits": [{"window": "total", "usd": 1.5}]}), vec!["spend_limits"]),
    ] {
        assert_eq!(api.post("/keys", body.clone()).await.faults(), fields, "{body}");
    }
    assert_eq!(api.store.counts().await.unwrap().keys, 1);
}

#[tokio::test]
async fn bodies_are_json_objects() {
    let api = Api::start().await;
    let send = async |content_type: &str, body: &str| {
        let call = api.ask(Method::POST, "/keys").body(body.to_owned());
        if content_type.is_empty() { call.send().await } else { call.header("content-type", content_type).send().await }
    };
    send("application/json", "{").await.refused(400, "invalid_json");
    send("application/json", "[]").await.refused(400, "invalid_json");
    send("application/json", r#"{"name":"a","name":"b"}"#).await.refused(400, "duplicate_json_key");
    send("", r#"{"name":"a"}"#).await.refused(415, "unsupported_media_type");
    send("text/plain", r#"{"name":"a"}"#).await.refused(415, "unsupported_media_type");
    send("application/x-www-form-urlencoded", "name=a").await.refused(415, "unsupported_media_type");
    send("application/json", &"x".repeat(3 << 20)).await.refused(413, "body_too_large");
    send("application/json; charset=utf-8", r#"{"name":"a"}"#).await.is(201);
    send("application/merge-patch+json", r#"{"name":"b"}"#).await.is(201);
}

#[tokio::test]
async fn listing_filters_and_pages() {
    let api = Api::start().await;
    api.post("/projects", json!({"organisation": "default", "name": "p"})).await.is(201);
    for i in 0..5 {
        make(&api, json!({"name": format!("job-{i}"), "owner": "ci", "project": "p", "tags": {"n": i.to_string()}}))
            .await;
    }
    make(&api, json!({"name": "t", "kind": "test"})).await;
    let names = async |query: &str| -> Vec<String> {
        let list = api.get(&format!("/keys?{query}")).await.is(200);
        list["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("owner=ci").await, ["job-4", "job-3", "job-2", "job-1", "job-0"]);
    assert_eq!(names("project=p&tag=n%3D3").await, ["job-3"]);
    assert_eq!(names("kind=test").await, ["t"]);
    assert_eq!(names("name=job-2").await, ["job-2"]);
    assert_eq!(names("q=JOB-1").await, ["job-1"]);
    assert_eq!(names("status=disabled").await, [""; 0]);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let list = api.get(&format!("/keys?limit=2{after}")).await.is(200);
        seen.extend(list["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()));
        match list["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["t", "job-4", "job-3", "job-2", "job-1", "job-0", "boss"]);
    for (query, fields) in [
        ("limit=0", vec!["limit"]),
        ("limit=201", vec!["limit"]),
        ("limit=x&after=y", vec!["after", "limit"]),
        ("status=odd&kind=odd", vec!["kind", "status"]),
        ("colour=red", vec!["colour"]),
        ("q=a&q=b", vec!["q"]),
    ] {
        assert_eq!(api.get(&format!("/keys?{query}")).await.faults(), fields, "{query}");
    }
}

#[tokio::test]
async fn a_change_is_made_to_the_version_that_was_seen() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a", "owner": "x", "expires_in": "1d"})).await;
    let update = async |version: &str, body: Value| {
        api.ask(Method::PATCH, &path(&key)).header("if-match", version).json(body).send().await
    };
    let changed = update(
        &format!("\"{}\"", key["version"]),
        json!({"name": "b", "owner": null, "expires_at": null, "tags": {"k": "v"}}),
    )
    .await;
    let tag = changed.header("etag").to_owned();
    let changed = changed.is(200);
    assert_eq!(
        (&changed["name"], &changed["owner"], &changed["expires_at"]),
        (&json!("b"), &json!(null), &json!(null))
    );
    assert_ne!(changed["version"], key["version"]);
    update(&format!("\"{}\"", key["version"]), json!({"name": "c"})).await.refused(412, "version_mismatch");
    api.patch(&path(&key), json!({"name": "c", "version": key["version"]})).await.refused(412, "version_mismatch");
    assert_eq!(update(&tag, json!({"name": "c"})).await.is(200)["name"], "c");
    assert_eq!(update("*", json!({"name": "d"})).await.is(200)["name"], "d");
    assert_eq!(api.patch(&path(&key), json!({"name": "e"})).await.is(200)["name"], "e");
    for bad in ["3", "\"x\"", "\"1\", \"2\"", ""] {
        assert_eq!(update(bad, json!({"name": "z"})).await.faults(), ["If-Match"], "{bad}");
    }
    assert_eq!(
        api.patch(&path(&key), json!({"name": null, "scopes": null, "browser_allowed": null})).await.faults(),
        ["browser_allowed", "name", "scopes"]
    );
    assert_eq!(api.get(&path(&key)).await.is(200)["tags"], json!({"k": "v"}), "what is not named stays");
    for call in ["disable", "enable"] {
        let stale = api.ask(Method::POST, &format!("{}/{call}", path(&key))).header("if-match", "\"1\"").send().await;
        stale.refused(412, "version_mismatch");
    }
}

#[tokio::test]
async fn a_changed_limit_reaches_the_books() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a"})).await;
    api.patch(&path(&key), json!({"description": "no limit named"})).await.is(200);
    assert!(api.books.limits.lock().unwrap().is_empty());
    api.patch(&path(&key), json!({"spend_limits": [{"window": "total", "usd": "2"}]})).await.is(200);
    let cleared = api.patch(&path(&key), json!({"spend_limits": []})).await.is(200);
    assert_eq!(cleared["spend_limits"], json!([]));
    let limits: Vec<_> = api.books.limits.lock().unwrap().iter().map(|(_, limit)| *limit).collect();
    assert_eq!(limits, [Some(anykey_core::Nanos::dollars(2)), None]);
}

#[tokio::test]
async fn disabled_and_deleted_keys_are_dead_when_the_answer_comes() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a"})).await;
    let secret = secret(&key);
    assert!(api.works(&secret).await);
    let disabled = api.post(&format!("{}/disable", path(&key)), json!({})).await.is(200);
    assert_eq!(disabled["status"], "disabled");
    assert!(!api.works(&secret).await);
    assert_eq!(api.post(&format!("{}/enable", path(&key)), json!({})).await.is(200)["status"], "active");
    assert!(api.works(&secret).await);
    assert_eq!(api.delete(&path(&key)).await.is(200)["status"], "revoked");
    assert!(!api.works(&secret).await);
    assert_eq!(api.get(&path(&key)).await.is(200)["status"], "revoked", "what is left says who it was");
    assert_eq!(api.get("/keys?name=a").await.is(200)["data"], json!([]));
    assert_eq!(api.get("/keys?status=revoked").await.is(200)["data"][0]["name"], "a");
}

#[tokio::test]
async fn what_is_no_key_is_not_found() {
    let api = Api::start().await;
    for id in
        ["key_00000000000000000000000000", "a", "key_", "req_00000000000000000000000000", "%00", "%ff", "'%20OR%201=1"]
    {
        api.get(&format!("/keys/{id}")).await.refused(404, "not_found");
        api.patch(&format!("/keys/{id}"), json!({})).await.refused(404, "not_found");
        api.delete(&format!("/keys/{id}")).await.refused(404, "not_found");
        for verb in ["disable", "enable", "regenerate", "rotate"] {
            api.post(&format!("/keys/{id}/{verb}"), json!({})).await.refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn regenerating_ends_the_old_secret() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a"})).await;
    let new = api.ask(Method::POST, &format!("{}/regenerate", path(&key))).send().await.is(200);
    assert_eq!(new["id"], key["id"]);
    assert!(!api.works(&secret(&key)).await);
    assert!(api.works(&secret(&new)).await);
}

#[tokio::test]
async fn rotating_lets_both_live() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a"})).await;
    let rotate = format!("{}/rotate", path(&key));
    let new = api.ask(Method::POST, &rotate).send().await.is(200);
    assert_eq!((&new["id"], &new["status"]), (&key["id"], &json!("rotating")));
    assert!(new["rotation_id"].as_str().is_some_and(|id| !id.is_empty()));
    assert!(api.works(&secret(&key)).await && api.works(&secret(&new)).await);
    let leaked = api.post(&rotate, json!({"leaked": true})).await.is(200);
    assert!(!api.works(&secret(&key)).await && !api.works(&secret(&new)).await && api.works(&secret(&leaked)).await);
    for overlap in ["15m", "1h", "24h", "7d", "none", "36h"] {
        api.post(&rotate, json!({"overlap": overlap})).await.is(200);
    }
    for body in [json!({"overlap": "8d"}), json!({"overlap": "soon"}), json!({"overlap": 5}), json!({"overlap": "-1h"})]
    {
        assert_eq!(api.post(&rotate, body).await.faults(), ["overlap"]);
    }
}

#[tokio::test]
async fn a_request_sent_again_gets_the_same_answer() {
    let api = Api::start().await;
    let send = async |path: &str, key: &str, body: Value| {
        api.ask(Method::POST, path).header("idempotency-key", key).json(body).send().await
    };
    let first = send("/keys", "k1", json!({"name": "a"})).await;
    let again = send("/keys", "k1", json!({"name": "a"})).await;
    assert_eq!(first.is(201)["secret"], again.is(201)["secret"]);
    assert_eq!(first.bytes, again.bytes);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(api.get("/keys?name=a").await.is(200)["data"].as_array().unwrap().len(), 1);
    send("/keys", "k1", json!({"name": "b"})).await.refused(409, "idempotency_conflict");
    // Another operation, or another caller, has keys of its own.
    let made = first.json();
    let rotate = format!("{}/rotate", path(&made));
    let rotated = send(&rotate, "k1", json!({})).await.is(200);
    assert_eq!(rotated["secret"], send(&rotate, "k1", json!({})).await.is(200)["secret"]);
    let regenerate = format!("{}/regenerate", path(&made));
    let fresh = api.ask(Method::POST, &regenerate).header("idempotency-key", "r").send().await;
    let replayed = api.ask(Method::POST, &regenerate).header("idempotency-key", "r").send().await;
    assert_eq!(fresh.is(200)["secret"], replayed.is(200)["secret"]);
    assert!(!fresh.header("etag").is_empty());
    assert_eq!(fresh.header("etag"), replayed.header("etag"));
    let other = make(&api, json!({"name": "ops", "kind": "admin"})).await;
    let theirs =
        api.stranger(Method::POST, "/keys").header("x-api-key", &secret(&other)).header("idempotency-key", "k1");
    assert_ne!(theirs.json(json!({"name": "a"})).send().await.is(201)["id"], made["id"]);
    // What was refused was not done, so the same key may be tried again.
    send("/keys/key_00000000000000000000000000/rotate", "k2", json!({})).await.refused(404, "not_found");
    assert_eq!(send("/keys", "k3", json!({"name": ""})).await.faults(), ["name"]);
    send("/keys", "k3", json!({"name": "c"})).await.is(201);
    for bad in ["", &"x".repeat(256)] {
        assert_eq!(send("/keys", bad, json!({"name": "a"})).await.faults(), ["Idempotency-Key"]);
    }
}

#[tokio::test]
async fn keys_of_other_systems_are_taken_over() {
    let api = Api::start().await;
    let old = "sk-old-system-0123456789abcdefghijklmnop";
    let hash: String = anykey_core::token::plain_sha256(old.as_bytes()).0.iter().map(|b| format!("{b:02x}")).collect();
    let key = api.post("/keys/import", json!({"name": "old", "sha256": hash, "tags": {"from": "old"}})).await.is(201);
    assert!(key.get("secret").is_none());
    api.post("/keys/import", json!({"name": "again", "sha256": hash})).await.refused(409, "conflict");
    assert!(api.works(old).await);
    assert_eq!(api.post("/keys/whois", json!({"key": old})).await.is(200)["id"], key["id"]);
    assert_eq!(api.post("/keys/whois", json!({"key": key["masked"]})).await.is(200)["id"], key["id"]);
    assert_eq!(api.post("/keys/import", json!({"name": "x", "sha256": "00"})).await.faults(), ["sha256"]);
    assert_eq!(api.post("/keys/import", json!({"kind": "admin"})).await.faults(), ["kind", "name", "sha256"]);
}

#[tokio::test]
async fn a_found_key_is_told_to_its_owner() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a"})).await;
    let new = api.post(&format!("{}/regenerate", path(&key)), json!({})).await.is(200);
    for text in [secret(&new), secret(&key), new["masked"].as_str().unwrap().to_owned(), secret(&new)[..16].to_owned()]
    {
        assert_eq!(api.post("/keys/whois", json!({"key": text})).await.is(200)["id"], key["id"], "{text}");
    }
    for text in ["", "ak-live-AbCd1234", "nonsense", "ak-live-%"] {
        let answer = api.post("/keys/whois", json!({"key": text})).await;
        answer.refused(404, "not_found");
    }
    assert_eq!(api.post("/keys/whois", json!({})).await.faults(), ["key"]);
}

#[tokio::test]
async fn refusals_never_repeat_a_secret() {
    let api = Api::start().await;
    let key = make(&api, json!({"name": "a"})).await;
    let text = secret(&key);
    for answer in [
        api.post("/keys", json!({"name": {"secret": text}, "scopes": [text], "kind": text})).await,
        api.post("/keys/whois", json!({"key": [text]})).await,
        api.get(&format!("/keys/{text}")).await,
        api.get(&format!("/keys?after={text}&status={text}")).await,
    ] {
        assert!(answer.status.is_client_error());
        assert!(!answer.text().contains(&text[16..]), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_temporary_key_is_minted_from_a_key_and_dies_with_it() {
    let api = Api::start().await;
    let parent =
        api.post("/keys", json!({"name": "parent", "spend_limits": [{"window": "total", "usd": "5"}]})).await.is(201);
    let id = parent["id"].as_str().unwrap();
    let path = format!("/keys/{id}/temp");
    let minted = api.ask(Method::POST, &path).send().await.is(201);
    let secret = minted["secret"].as_str().unwrap();
    assert!(secret.starts_with("ak-temp-") && api.works(secret).await);
    assert_eq!((&minted["kind"], &minted["status"]), (&json!("temp"), &json!("active")));
    let asked = json!({"name": "agent", "expires_in": "4h", "spend_limit_usd": "2.5", "scopes": ["completions:write"]});
    let narrow = api.post(&path, asked).await.is(201);
    assert_eq!((&narrow["name"], &narrow["scopes"]), (&json!("agent"), &json!(["completions:write"])));
    assert_eq!(narrow["spend_limits"], json!([{"window": "total", "usd": "2.5"}]));

    assert_eq!(api.post(&path, json!({"spend_limit_usd": "5.01"})).await.faults(), ["spend_limit"]);
    assert_eq!(api.post(&path, json!({"scopes": ["admin:*"]})).await.faults(), ["scopes"]);
    assert_eq!(api.post(&path, json!({"expires_in": "25h"})).await.faults(), ["expires_in"]);
    let temp = minted["id"].as_str().unwrap();
    assert_eq!((&minted["parent_id"], &minted["max_requests"]), (&json!(id), &json!(null)));
    let few = api.post(&path, json!({"max_requests": 3, "max_concurrent": 1, "ip": "10.0.0.1"})).await.is(201);
    assert_eq!(few["max_requests"], 3);
    assert_eq!(few["controls"], json!({"ips": ["10.0.0.1"], "limits": {"concurrency": 1}}));
    api.post("/keys", json!({"name": "other"})).await.is(201);
    let listed = api.get(&format!("/keys?parent={id}")).await.is(200);
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|key| key["name"].clone()).collect();
    assert_eq!(names, ["temporary", "agent", "temporary"]);
    assert_eq!(api.get("/keys?parent=parent").await.faults(), ["parent"]);
    let limits = api.get(&format!("/keys/{temp}/limits")).await.is(200);
    let purses = limits["controls"].as_array().unwrap().iter().filter(|c| c["control"] == "spend_limit");
    assert_eq!(purses.map(|purse| &purse["name"]).collect::<Vec<_>>(), ["parent"], "{limits}");
    api.ask(Method::PATCH, &format!("/keys/{temp}"))
        .json(json!({"scopes": ["models:read"]}))
        .send()
        .await
        .refused(409, "conflict");
    api.post(&format!("/keys/{temp}/temp"), json!({})).await.refused(409, "conflict");
    api.post(&format!("/keys/{}/temp", api.admin_key.id), json!({})).await.refused(409, "conflict");

    api.ask(Method::POST, &format!("/keys/{id}/disable")).send().await.is(200);
    assert!(!api.works(secret).await && !api.works(narrow["secret"].as_str().unwrap()).await);
    api.post(&path, json!({})).await.refused(409, "conflict");
}
