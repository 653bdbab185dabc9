//! Asking for more than a key has, and deciding on it, over the API.

use crate::harness::{Answer, Api};
use anykey_core::KeyKind;
use anykey_store::{NewKey, NewPerson};
use axum::http::Method;
use serde_json::{Value, json};

struct World {
    api: Api,
    /// Another admin key, which nobody who is known here made.
    other: String,
    key: String,
}

impl World {
    async fn start() -> World {
        let api = Api::start().await;
        let (_, other) = api.store.create_key(NewKey::new(KeyKind::Admin, "other")).await.unwrap();
        let body = json!({"name": "ci", "controls": {"models": {"allow": ["sim/echo"]}, "limits": {"rpm": 10}},
            "spend_limits": [{"window": "total", "usd": "5"}]});
        let key = api.post("/keys", body).await.is(201)["id"].as_str().unwrap().to_owned();
        World { other: other.expose().to_owned(), api, key }
    }

    async fn ask(&self, mut body: Value) -> Answer {
        body["key"] = self.key.clone().into();
        body["reason"] = "a launch".into();
        self.api.post("/approvals", body).await
    }

    /// As somebody else than who asked.
    async fn other(&self, path: &str, body: Value) -> Answer {
        self.api.stranger(Method::POST, path).header("x-api-key", &self.other).json(body).send().await
    }

    async fn rpm(&self) -> Value {
        self.api.get(&format!("/keys/{}", self.key)).await.is(200)["controls"]["limits"]["rpm"].clone()
    }
}

#[tokio::test]
async fn what_is_asked_for_is_granted_by_somebody_else() {
    let world = World::start().await;
    let body =
        json!({"models": ["openai/gpt-4o*"], "limits": {"rpm": 600}, "spend_limit_usd": "50", "lapses_in": "1d"});
    let asked = world.ask(body).await.is(201);
    assert_eq!(asked["wants"], "the model openai/gpt-4o*, 600 requests per minute, a spend limit of 50 dollars");
    assert_eq!((&asked["state"], &asked["ends_at"]), (&json!("waiting"), &Value::Null));
    let path = format!("/approvals/{}", asked["id"].as_str().unwrap());
    let own = world.api.post(&format!("{path}/approve"), json!({})).await.refused(409, "conflict");
    assert!(own["detail"].as_str().unwrap().contains("themselves"), "{own}");
    let granted =
        world.other(&format!("{path}/approve"), json!({"lasts": "7d", "answer": "until Friday"})).await.is(200);
    assert_eq!((&granted["state"], &granted["answer"]), (&json!("approved"), &json!("until Friday")));
    assert!(granted["ends_at"].is_string() && granted["decided_by"]["name"].as_str().unwrap().starts_with("other "));
    assert_eq!(world.rpm().await, 600);
    let limits = world.api.books.limits.lock().unwrap().clone();
    assert_eq!(limits.last().map(|(_, limit)| limit.unwrap().0), Some(50_000_000_000), "the money is told at once");
    world.other(&format!("{path}/refuse"), json!({"reason": "no"})).await.refused(409, "conflict");
    assert_eq!(world.api.get(&path).await.is(200), granted);
}

#[tokio::test]
async fn a_refusal_needs_a_reason_and_a_withdrawal_the_asker() {
    let world = World::start().await;
    let asked = world.ask(json!({"limits": {"rpm": 20}})).await.is(201);
    let path = format!("/approvals/{}", asked["id"].as_str().unwrap());
    assert_eq!(world.other(&format!("{path}/refuse"), json!({})).await.faults(), ["reason", "reason"]);
    world.other(&format!("{path}/withdraw"), json!({})).await.refused(409, "conflict");
    let stale = world.api.stranger(Method::POST, &format!("{path}/approve")).header("x-api-key", &world.other);
    stale.header("if-match", "\"9\"").json(json!({})).send().await.refused(412, "version_mismatch");
    let refused = world.other(&format!("{path}/refuse"), json!({"reason": "not now"})).await.is(200);
    assert_eq!((&refused["state"], &refused["answer"]), (&json!("refused"), &json!("not now")));
    let again = world.ask(json!({"limits": {"rpm": 20}})).await.is(201);
    let path = format!("/approvals/{}", again["id"].as_str().unwrap());
    assert_eq!(world.api.post(&format!("{path}/withdraw"), json!({})).await.is(200)["state"], "withdrawn");
    assert_eq!(world.rpm().await, 10);
}

#[tokio::test]
async fn an_admin_key_is_whoever_made_it() {
    let world = World::start().await;
    let new = NewPerson { email: "ada@example.com".into(), name: "Ada".into(), operator: true };
    let ada = world.api.store.create_person(new).await.unwrap();
    let made = |name: &str| NewKey { creator: Some(ada.id.to_string()), ..NewKey::new(KeyKind::Admin, name) };
    let (_, one) = world.api.store.create_key(made("one")).await.unwrap();
    let (_, two) = world.api.store.create_key(made("two")).await.unwrap();
    let body = json!({"key": world.key, "reason": "r", "limits": {"rpm": 20}});
    let ask = world.api.stranger(Method::POST, "/approvals").header("x-api-key", one.expose()).json(body);
    let asked = ask.send().await.is(201);
    assert_eq!(asked["asked_by"]["id"], ada.id.to_string());
    let path = format!("/approvals/{}/approve", asked["id"].as_str().unwrap());
    let own = world.api.stranger(Method::POST, &path).header("x-api-key", two.expose()).json(json!({}));
    own.send().await.refused(409, "conflict");
    world.other(&path, json!({})).await.is(200);
}

#[tokio::test]
async fn what_makes_no_sense_is_told_at_once() {
    let world = World::start().await;
    let faults = |body: Value| world.ask(body);
    assert_eq!(faults(json!({})).await.faults(), ["models"]);
    assert_eq!(faults(json!({"models": ["open ai/"]})).await.faults(), ["models", "models"]);
    assert_eq!(faults(json!({"limits": {"rpm": 0}})).await.faults(), ["limits", "models"]);
    assert_eq!(faults(json!({"limits": {"rps": 1}})).await.faults(), ["limits", "models"]);
    assert_eq!(faults(json!({"limits": {"rpm": 20}, "lapses_in": "91d"})).await.faults(), ["lapses_in"]);
    assert_eq!(
        faults(json!({"limits": {"rpm": 20}, "expires_in": "1d", "expires_at": "2030-01-01"})).await.faults(),
        ["expires_in"]
    );
    assert_eq!(faults(json!({"limits": {"rpm": 5}})).await.faults(), ["wish"], "the key has more");
    let missing = json!({"key": "key_00000000000000000000000000", "reason": "r", "limits": {"rpm": 20}});
    world.api.post("/approvals", missing).await.refused(404, "not_found");
    let asked = world.ask(json!({"limits": {"rpm": 20}})).await.is(201);
    let path = format!("/approvals/{}/approve", asked["id"].as_str().unwrap());
    assert_eq!(world.other(&path, json!({"lasts": "1d", "until": "2030-01-01"})).await.faults(), ["lasts"]);
    assert_eq!(world.other(&path, json!({"until": "2020-01-01"})).await.faults(), ["until"]);
    for path in ["/approvals/nonsense", "/approvals/apr_00000000000000000000000000"] {
        world.api.get(path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn requests_are_listed_by_state_and_key() {
    let world = World::start().await;
    let asked = world.ask(json!({"limits": {"rpm": 20}})).await.is(201);
    let by = asked["asked_by"]["id"].as_str().unwrap();
    for (query, count) in [
        ("state=waiting".to_owned(), 1),
        ("state=approved".to_owned(), 0),
        (format!("key={}", world.key), 1),
        (format!("asked_by={by}&organisation=default&project=default"), 1),
        ("asked_by=person_x".to_owned(), 0),
    ] {
        let list = world.api.get(&format!("/approvals?{query}")).await.is(200);
        assert_eq!(list["data"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(world.api.get("/approvals?state=open").await.faults(), ["state"]);
    assert_eq!(world.api.get("/approvals?key=ci").await.faults(), ["key"]);
}

#[tokio::test]
async fn who_may_not_make_a_key_asks_for_one_and_collects_its_secret() {
    let world = World::start().await;
    let api = &world.api;
    let member = json!({"organisation": "default", "email": "vi@example.com", "name": "Vi", "role": "viewer"});
    let member = api.post("/members", member).await.is(201);
    let person = anykey_core::PersonId::parse(member["person_id"].as_str().unwrap()).unwrap();
    let (session, token) = api.store.begin_session(person, "test", None, None).await.unwrap();
    let csrf = api.store.csrf_token(&session);
    let cookie = format!("anykey={}", token.expose());
    let vi = async |method: Method, path: &str, body: Value| {
        let call = api.stranger(method, path).header("cookie", &cookie).header("x-csrf-token", &csrf);
        if body.is_null() { call.send().await } else { call.json(body).send().await }
    };
    vi(Method::POST, "/keys", json!({"name": "mine"})).await.refused(403, "role_forbidden");
    // What is asked of keys there is asked of this one as well.
    let rules = json!({"key_rules": {"required": ["review_at"], "max_rotation_days": 30}});
    api.patch("/projects/default", rules).await.is(200);
    let body = |more: Value| {
        let mut body = json!({"name": "dash", "project": "default", "reason": "it has none", "limits": {"rpm": 5}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let bare = vi(Method::POST, "/approvals", body(json!({}))).await;
    assert!(bare.text().contains("by the project's rules for keys"), "{}", bare.text());
    let wrong = json!({"review_at": "soon", "rotation_interval_days": 0});
    assert_eq!(vi(Method::POST, "/approvals", body(wrong)).await.faults(), ["review_at", "rotation_interval_days"]);
    let dates = json!({"review_at": "2099-01-02T00:00:00Z", "rotation_interval_days": 30});
    let asked = vi(Method::POST, "/approvals", body(dates)).await.is(201);
    assert_eq!((&asked["key_id"], &asked["new_key"]["name"]), (&Value::Null, &json!("dash")));
    assert_eq!(asked["new_key"]["review_at"], "2099-01-02T00:00:00Z");
    assert_eq!(asked["new_key"]["rotation_interval_days"], 30);
    let path = format!("/approvals/{}", asked["id"].as_str().unwrap());
    for (verb, body) in [("approve", json!({})), ("refuse", json!({"reason": "no"}))] {
        vi(Method::POST, &format!("{path}/{verb}"), body).await.refused(403, "role_forbidden");
    }
    vi(Method::POST, &format!("{path}/collect"), Value::Null).await.refused(409, "conflict");
    let granted = api.post(&format!("{path}/approve"), json!({})).await.is(200);
    let key = granted["key_id"].as_str().unwrap().to_owned();
    assert!(!granted.to_string().contains("\"secret\""));
    let made = api.get(&format!("/keys/{key}")).await.is(200);
    assert_eq!(made["owner_id"], member["id"]);
    assert_eq!((&made["review_at"], &made["rotation_interval_days"]), (&json!("2099-01-02T00:00:00Z"), &json!(30)));
    api.post(&format!("{path}/collect"), Value::Null).await.refused(409, "conflict");
    let collected = vi(Method::POST, &format!("{path}/collect"), Value::Null).await.is(200);
    assert_eq!(collected["id"], json!(key));
    let token = collected["secret"].as_str().unwrap();
    assert!(token.starts_with("ak-live-") && token.len() > 40);
    vi(Method::POST, &format!("{path}/collect"), Value::Null).await.refused(409, "conflict");
    let row = vi(Method::GET, &path, Value::Null).await.is(200);
    assert!(row["collected_at"].is_string() && row["key_id"] == json!(key));
}

#[tokio::test]
async fn a_request_is_about_one_key() {
    let world = World::start().await;
    let ask = async |body: Value| world.api.post("/approvals", body).await.faults();
    assert_eq!(ask(json!({"reason": "r", "limits": {"rpm": 20}})).await, ["key"]);
    assert_eq!(ask(json!({"reason": "r", "key": world.key, "name": "n", "limits": {"rpm": 20}})).await, ["key"]);
    let other = json!({"reason": "r", "key": world.key, "project": "default", "limits": {"rpm": 20}});
    assert_eq!(ask(other).await, ["key"]);
    // A key that manages is no member, so there is nobody to own what it asks for.
    assert_eq!(ask(json!({"reason": "r", "name": "n"})).await, ["name"]);
    assert_eq!(ask(json!({"reason": "r", "name": "", "project": "nowhere"})).await, ["name", "project"]);
}
