//! The audit log through the API: every route that changes something is in it, and it can be read and checked.

use crate::harness::Api;
use crate::prices::dearer;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The entries since `seq`, oldest first.
async fn since(api: &Api, seq: i64) -> Vec<Value> {
    let list = api.get("/audit?limit=200").await.is(200);
    let mut entries = list["data"].as_array().unwrap().clone();
    entries.retain(|entry| entry["seq"].as_i64().unwrap() > seq);
    entries.reverse();
    entries
}

async fn newest(api: &Api) -> i64 {
    api.get("/audit?limit=1").await.is(200)["data"][0]["seq"].as_i64().unwrap()
}

/// Something new that a route of organisations, projects and those in them can change, and what to send.
async fn tenancy(api: &Api, method: &Method, path: &str) -> Option<(String, Value)> {
    let made = async |path: &str, body: Value| -> String {
        api.post(path, body).await.is(201)["id"].as_str().unwrap().to_owned()
    };
    // A name that nothing has yet.
    let n = newest(api).await;
    let email = format!("ada{n}@example.com");
    let organisation = json!({"name": format!("Acme {n}")});
    let project = json!({"organisation": "default", "name": format!("Search {n}")});
    let person = json!({"email": email, "name": "Ada"});
    let member = json!({"organisation": "default", "email": email, "name": "Ada"});
    let account = json!({"organisation": "default", "name": format!("deploy {n}")});
    let kind = path.strip_prefix("/admin/v1/")?.split('/').next()?;
    let new = match kind {
        "organisations" => organisation,
        "projects" => project,
        "people" => person,
        "members" => member,
        "service-accounts" => account,
        _ => return None,
    };
    let path = path.strip_prefix("/admin/v1")?;
    if path == format!("/{kind}") {
        return Some((path.to_owned(), new));
    }
    let concrete = path.replace("{id}", &made(&format!("/{kind}"), new).await);
    let enables = concrete.strip_suffix("/enable");
    if let Some(subject) = enables {
        api.post(&format!("{subject}/disable"), Value::Null).await.is(200);
    }
    if !path.contains("/owners") {
        let renamed = json!({"name": format!("Renamed {n}")});
        let change = if kind == "members" { json!({"role": "viewer"}) } else { renamed };
        return Some((concrete, if *method == Method::PATCH { change } else { Value::Null }));
    }
    let member = json!({"organisation": "default", "email": email, "name": "Ada"});
    let member = api.post("/members", member).await.is(201);
    let owner = json!({"person_id": member["person_id"]});
    if *method == Method::DELETE {
        let owners = concrete.split("/{person}").next().unwrap();
        api.post(owners, owner).await.is(200);
        return Some((concrete.replace("{person}", member["person_id"].as_str().unwrap()), Value::Null));
    }
    Some((concrete, owner))
}

/// The same of where notices go to, what became of them, and requests for more than a key has.
async fn notices(api: &Api, method: &Method, path: &str) -> Option<(String, Value)> {
    let path = path.strip_prefix("/admin/v1")?;
    let destination = json!({"name": "hook", "url": "http://127.0.0.1:1/"});
    let bounded = json!({"name": "bounded", "controls": {"limits": {"rpm": 1}}});
    let made = async |path: &str, body: Value| -> String {
        api.post(path, body).await.is(201)["id"].as_str().unwrap().to_owned()
    };
    if path == "/destinations" {
        return Some((path.to_owned(), destination));
    }
    if path.starts_with("/destinations/") {
        let body = if *method == Method::PATCH { json!({"name": "renamed"}) } else { Value::Null };
        return Some((path.replace("{id}", &made("/destinations", destination).await), body));
    }
    let key = made("/keys", bounded).await;
    if path.starts_with("/deliveries/") {
        made("/destinations", destination).await;
        api.post(&format!("/keys/{key}/disable"), Value::Null).await.is(200);
        let sent = api.store.take_delivery(&[], 60_000).await.unwrap().unwrap();
        let outcome = anykey_store::Attempt::Sent { status: None };
        api.store.delivery_tried(sent.delivery, sent.attempt, outcome).await.unwrap();
        return Some((path.replace("{id}", &sent.delivery.to_string()), Value::Null));
    }
    let ask = json!({"key": key, "reason": "r", "limits": {"rpm": 2}});
    match path.strip_prefix("/approvals")? {
        "" => Some((path.to_owned(), ask)),
        "/{id}/withdraw" => Some((path.replace("{id}", &made("/approvals", ask).await), Value::Null)),
        "/{id}/collect" => {
            Some((path.replace("{id}", &granted(api, &made("/approvals", ask).await).await), Value::Null))
        }
        _ => {
            let limits = anykey_core::controls::Limits { rpm: Some(2), ..Default::default() };
            let new = anykey_store::NewApproval {
                about: anykey_store::About::Key(anykey_core::KeyId::parse(&key).unwrap()),
                wish: anykey_core::wish::Wish { limits, ..Default::default() },
                reason: "r".into(),
                asked_by: anykey_store::Asker { id: "somebody".into(), name: "somebody".into() },
                lapses_at: i64::MAX,
            };
            let asked = api.store.ask_approval(new).await.unwrap();
            let body = if path.ends_with("/refuse") { json!({"reason": "no"}) } else { Value::Null };
            Some((path.replace("{id}", &asked.id.to_string()), body))
        }
    }
}

/// A key that was asked for by whoever asked this, and granted by somebody else; the request's id.
async fn granted(api: &Api, asked: &str) -> String {
    let asked = api.store.approval(anykey_core::ApprovalId::parse(asked).unwrap()).await.unwrap();
    let email = format!("wants{}@example.com", newest(api).await);
    let member = api.post("/members", json!({"organisation": "default", "email": email, "name": "N"})).await.is(201);
    let member = anykey_core::MemberId::parse(member["id"].as_str().unwrap()).unwrap();
    let placement = anykey_core::Placement {
        owner: Some(anykey_core::OwnerId::Member(member)),
        ..anykey_core::Placement::default()
    };
    let wished = anykey_store::KeyWish { name: "wanted".into(), ..anykey_store::KeyWish::default() };
    let new = anykey_store::NewApproval {
        about: anykey_store::About::New(placement, wished),
        wish: anykey_core::wish::Wish::default(),
        reason: "r".into(),
        asked_by: asked.asked_by,
        lapses_at: i64::MAX,
    };
    let wanted = api.store.ask_approval(new).await.unwrap().id;
    let by = anykey_store::Asker { id: "somebody".into(), name: "somebody".into() };
    let decision = anykey_store::Decision::Approve { until: None, answer: None };
    api.store.decide_approval(wanted, None, by, decision).await.unwrap();
    wanted.to_string()
}

/// A service account that can own a key of the default project.
async fn owner(api: &Api) -> String {
    let new = json!({"organisation": "default", "name": format!("owner {}", newest(api).await)});
    api.post("/service-accounts", new).await.is(201)["id"].as_str().unwrap().to_owned()
}

/// Calls one route that changes something, so that it does.
async fn call(api: &Api, method: &Method, path: &str, key: &str) {
    let tenancy = match tenancy(api, method, path).await {
        None => notices(api, method, path).await,
        found => found,
    };
    let concrete = path.strip_prefix("/admin/v1").unwrap().replace("{id}", key);
    let provider = json!({"name": "house", "kind": "openai", "base_url": "http://127.0.0.1:1", "api_key": "sk-canary-1",
        "allow_private_network": true});
    let (path, body) = match (method.as_str(), concrete.as_str()) {
        _ if tenancy.is_some() => tenancy.unwrap_or_default(),
        ("POST", "/keys/bulk") => (concrete, json!({"action": "tag", "keys": [key], "tags": {"a": "b"}})),
        ("POST", path) if path.ends_with("/transfer") => (concrete, json!({"owner_id": owner(api).await})),
        ("POST", "/keys") => (concrete, json!({"name": "made"})),
        ("POST", "/keys/import") => (concrete, json!({"name": "foreign", "sha256": "ab".repeat(32)})),
        ("POST", "/providers") => ("/providers?force=true".into(), provider),
        ("PATCH", "/providers/{name}") => ("/providers/house?force=true".into(), json!({"api_key": "sk-canary-2"})),
        ("POST" | "DELETE", path) if path.starts_with("/providers/{name}") => {
            (path.replace("{name}", "house"), Value::Null)
        }
        ("POST", "/keys/exposed") => {
            let leaked = api.ask(Method::POST, "/keys").header("user-agent", "anykey-cli/9.9.9");
            let leaked = leaked.json(json!({"name": "leaked"})).send().await.is(201);
            (concrete, json!({"found": [{"key": leaked["secret"], "place": "a:1:1"}]}))
        }
        ("POST", "/aliases") => (concrete, json!({"name": "fast", "target": "house/x"})),
        ("DELETE", "/aliases/{name}") => ("/aliases/fast".into(), Value::Null),
        ("POST", "/prices/update") => (concrete, dearer().1),
        ("PATCH", _) => (concrete, json!({"name": "renamed"})),
        _ => (concrete, Value::Null),
    };
    let ask = api.ask(method.clone(), &path).header("user-agent", "anykey-cli/9.9.9");
    let answer = if body.is_null() { ask.send().await } else { ask.json(body).send().await };
    assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
}

/// Walks the document: what a route says that it leaves in the log is what it leaves.
#[tokio::test]
async fn every_route_that_changes_something_leaves_the_entry_that_it_declares() {
    let notices = anykey_notices::Options { allow_private: true, ..anykey_notices::Options::default() };
    let api = Api::notifying(notices).await;
    let document = serde_json::to_value(anykey_control::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // What strangers and people leave has tests of its own: those ask with a key.
            let with_key =
                operation["security"].is_array() && !operation["x-permission"].as_str().unwrap().starts_with("self:");
            if let Some(verb) = operation["x-audit"].as_str().filter(|_| with_key) {
                let method: Method = method.to_uppercase().parse().unwrap();
                routes.push((method, path.clone(), verb.to_owned()));
            }
        }
    }
    // What ends a thing comes after what changes it, and what makes it first.
    let turn = |verb: &str| match verb.split('.').next_back().unwrap() {
        "add" => 0,
        "create" | "import" | "set" | "load" => 1,
        "delete" | "remove" => 3,
        _ => 2,
    };
    routes.sort_by_key(|(_, path, verb)| (turn(verb), !path.contains("aliases")));
    let key = api.post("/keys", json!({"name": "subject"})).await.is(201)["id"].as_str().unwrap().to_owned();
    let mut verbs = BTreeSet::new();
    for (method, path, verb) in &routes {
        let before = newest(&api).await;
        call(&api, method, path, &key).await;
        let mut entries = since(&api, before).await;
        // What had to be made first was asked for without the name of a client.
        entries.retain(|entry| entry["client"].is_string());
        let found: Vec<&str> = entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
        assert!(found.contains(&verb.as_str()), "{method} {path} left {found:?}, not {verb}");
        for entry in &entries {
            assert_eq!(entry["actor"]["id"], api.admin_key.id.to_string(), "{method} {path}");
            assert_eq!(entry["actor"]["name"], format!("boss {}", api.admin_key.masked));
            assert_eq!((&entry["surface"], &entry["ip"]), (&json!("cli"), &json!("203.0.113.9")));
            assert_eq!(entry["client"], "anykey-cli/9.9.9");
            assert!(entry["request_id"].as_str().unwrap().starts_with("req_"));
            assert!(entry["object"]["kind"].is_string() && entry["object"]["id"].is_string());
        }
        verbs.insert(verb.clone());
    }
    assert_eq!(verbs.len(), 54, "{verbs:?}");
    let log = api.get("/audit/export").await;
    for secret in ["sk-canary-1", "sk-canary-2", &api.admin.expose()[20..]] {
        assert!(!log.text().contains(secret), "{secret} is in the log");
    }
    let verified = api.get("/audit/verify").await.is(200);
    assert_eq!((&verified["ok"], &verified["broken"]), (&json!(true), &Value::Null));
    assert_eq!(verified["count"], newest(&api).await);
}

#[tokio::test]
async fn what_is_sent_again_is_done_and_recorded_once() {
    let api = Api::start().await;
    let send = async || {
        let ask = api.ask(Method::POST, "/keys").header("idempotency-key", "one");
        ask.json(json!({"name": "once"})).send().await.is(201)
    };
    let first = send().await;
    let again = send().await;
    assert_eq!(first, again);
    let made = api.get("/audit?verb=key.create").await.is(200);
    let names: Vec<&str> =
        made["data"].as_array().unwrap().iter().map(|e| e["object"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["once", "boss"]);
    assert_eq!(made["data"][0]["actor"]["kind"], "key", "it is done in a task of its own, on behalf of the caller");
    assert_eq!(made["data"][0]["surface"], "api");
    assert_eq!(made["data"][1]["actor"]["kind"], "system");
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let api = Api::start().await;
    let key = api.post("/keys", json!({"name": "k"})).await.is(201)["id"].as_str().unwrap().to_owned();
    api.post(&format!("/keys/{key}/disable"), Value::Null).await.is(200);
    let seqs = async |query: &str| -> Vec<i64> {
        let list = api.get(&format!("/audit?{query}")).await.is(200);
        list["data"].as_array().unwrap().iter().map(|entry| entry["seq"].as_i64().unwrap()).collect()
    };
    assert_eq!(seqs("").await, [4, 3, 2, 1]);
    assert_eq!(seqs(&format!("object={key}")).await, [4, 3]);
    assert_eq!(seqs("verb=key.disable,audit.begin").await, [4, 1]);
    assert_eq!(seqs("kind=key").await, [4, 3, 2]);
    assert_eq!(seqs(&format!("actor={}", api.admin_key.id)).await, [4, 3]);
    assert!(seqs("from=2999-01-01").await.is_empty());
    let first = api.get("/audit?limit=3").await.is(200);
    assert_eq!(first["next"], "2");
    assert_eq!(seqs("limit=3&after=2").await, [1]);
    let entry = &first["data"][0];
    assert_eq!((&entry["before"], &entry["after"]), (&json!({"disabled": false}), &json!({"disabled": true})));
    for (query, field) in [
        ("verb=key.burn", "verb"),
        ("kind=sword", "kind"),
        ("from=soon", "from"),
        ("limit=0", "limit"),
        ("after=x", "after"),
        ("after=-1", "after"),
    ] {
        assert_eq!(api.get(&format!("/audit?{query}")).await.faults(), [field], "{query}");
    }
    assert_eq!(api.get("/audit/export?format=xml").await.faults(), ["format"]);
}

#[tokio::test]
async fn an_export_is_whole_and_its_chain_can_be_followed() {
    let api = Api::start().await;
    api.post("/keys", json!({"name": "=1+1", "note": "é\n\"x\""})).await.is(201);
    let answer = api.get("/audit/export").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"audit.ndjson\"");
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<i64> = lines.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let csv = api.get("/audit/export?format=csv&verb=key.create").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let rows: Vec<&str> =
        csv.text().split("\r\n").filter(|row| row.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(rows.len(), 2, "{}", csv.text());
    assert!(rows[1].contains(",'=1+1,"), "{}", rows[1]);

    let head = lines[2]["hash"].as_str().unwrap();
    let noted = api.get(&format!("/audit/verify?seq=3&hash={head}")).await.is(200);
    assert_eq!((&noted["ok"], &noted["head_hash"]), (&json!(true), &json!(head)));
    let other = api.get(&format!("/audit/verify?seq=2&hash={head}")).await.is(200);
    assert_eq!(
        (&other["ok"], &other["broken"]["kind"], &other["broken"]["seq"]),
        (&json!(false), &json!("not_noted"), &json!(2))
    );
    assert_eq!(api.get("/audit/verify?seq=2").await.faults(), ["hash"]);
    assert_eq!(api.get(&format!("/audit/verify?seq=x&hash={}", &head[1..])).await.faults(), ["hash", "seq"]);
}
