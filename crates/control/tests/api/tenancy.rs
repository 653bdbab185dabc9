//! Organisations, projects, people and service accounts through the API, and what they mean for keys.

use crate::harness::Api;
use axum::http::Method;
use serde_json::{Value, json};

async fn make(api: &Api, path: &str, body: Value) -> Value {
    api.post(path, body).await.is(201)
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

struct Acme {
    organisation: Value,
    project: Value,
    member: Value,
    account: Value,
}

impl Acme {
    async fn new(api: &Api) -> Acme {
        let organisation = make(api, "/organisations", json!({"name": "Acme & Sons"})).await;
        let project = make(api, "/projects", json!({"organisation": "acme-sons", "name": "Search"})).await;
        let member = json!({"organisation": id(&organisation), "email": "Ada@example.com", "name": "Ada"});
        let member = make(api, "/members", member).await;
        let account = make(api, "/service-accounts", json!({"project": "search", "name": "deploy"})).await;
        Acme { organisation, project, member, account }
    }

    async fn key(&self, api: &Api, owner: &Value) -> Value {
        make(api, "/keys", json!({"name": "k", "project": "acme-sons/search", "owner_id": id(owner)})).await
    }
}

#[tokio::test]
async fn what_is_made_is_shown_listed_and_changed_by_version() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    assert_eq!((&acme.organisation["slug"], &acme.organisation["status"]), (&json!("acme-sons"), &json!("active")));
    assert_eq!(acme.project["organisation_id"], acme.organisation["id"]);
    assert_eq!((&acme.member["role"], &acme.member["email"]), (&json!("member"), &json!("Ada@example.com")));
    assert_eq!(acme.account["project_id"], acme.project["id"]);
    for (path, object) in [
        ("organisations", &acme.organisation),
        ("projects", &acme.project),
        ("members", &acme.member),
        ("service-accounts", &acme.account),
    ] {
        let shown = api.get(&format!("/{path}/{}", id(object))).await;
        assert_eq!(shown.header("etag"), "\"1\"", "{path}");
        assert_eq!(&shown.is(200), object, "{path}");
        let change = if path == "members" { json!({"role": "auditor"}) } else { json!({"name": "New"}) };
        let ask =
            |version: &str| api.ask(Method::PATCH, &format!("/{path}/{}", id(object))).header("if-match", version);
        ask("\"1\"").json(change.clone()).send().await.is(200);
        ask("\"1\"").json(change).send().await.refused(412, "version_mismatch");
        let fault = api.patch(&format!("/{path}/{}", id(object)), json!({"controls": {"limits": {"rpm": -1}}})).await;
        assert_eq!(fault.faults(), ["controls"], "{path}");
        api.get(&format!("/{path}/nonsense")).await.refused(404, "not_found");
    }
    let ids = async |path: &str| -> Vec<String> {
        let list = api.get(path).await.is(200);
        list["data"].as_array().unwrap().iter().map(|object| id(object).to_owned()).collect()
    };
    assert_eq!(ids("/organisations?q=NEW").await, [id(&acme.organisation)]);
    assert_eq!(ids("/projects?organisation=acme-sons").await, [id(&acme.project)]);
    assert_eq!(ids("/members?organisation=acme-sons&role=auditor").await, [id(&acme.member)]);
    assert_eq!(ids("/service-accounts?organisation=acme-sons").await, [id(&acme.account)]);
    assert_eq!(ids("/people?q=ada").await, [acme.member["person_id"].as_str().unwrap()]);
    assert_eq!(api.get("/organisations/acme-sons").await.is(200)["id"], acme.organisation["id"]);
    assert_eq!(api.get("/projects?organisation=nobody").await.faults(), ["organisation"]);
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let api = Api::start().await;
    let answer = api
        .post(
            "/organisations",
            json!({"name": " ", "slug": "A b", "controls": {"colour": 1}, "key_rules": {"required": ["luck"]}}),
        )
        .await;
    assert_eq!(answer.faults(), ["controls", "key_rules", "name", "slug"]);
    for (path, body, fields) in [
        ("/projects", json!({}), vec!["name", "organisation"]),
        ("/projects", json!({"name": "p", "organisation": "nobody"}), vec!["organisation"]),
        ("/members", json!({"organisation": "default", "email": "new@example.com"}), vec!["name"]),
        (
            "/members",
            json!({"organisation": "default", "email": "x@y.z", "name": "X", "role": "operator"}),
            vec!["role"],
        ),
        ("/people", json!({"email": "nobody", "name": "N"}), vec!["email"]),
        ("/service-accounts", json!({"name": "s"}), vec!["organisation"]),
        ("/keys", json!({"name": "k", "project": "nowhere", "owner_id": "ada"}), vec!["owner_id", "project"]),
        ("/organisations", json!({"name": "o", "key_rules": {"max_expiry_days": 0}}), vec!["key_rules"]),
    ] {
        assert_eq!(api.post(path, body.clone()).await.faults(), fields, "{path} {body}");
    }
    let twice = json!({"name": "Acme"});
    make(&api, "/organisations", twice.clone()).await;
    api.post("/organisations", twice).await.refused(409, "conflict");
    api.post("/organisations/default/disable", Value::Null).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_key_shows_where_it_belongs_and_falls_with_what_is_above_it() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let key = acme.key(&api, &acme.member).await;
    let secret = key["secret"].as_str().unwrap();
    for (field, value) in [
        ("organisation", json!("acme-sons")),
        ("project", json!("search")),
        ("organisation_id", acme.organisation["id"].clone()),
        ("project_id", acme.project["id"].clone()),
        ("owner_id", acme.member["id"].clone()),
        ("owner_label", json!("Ada@example.com")),
        ("controls", json!({})),
        ("closed_by", Value::Null),
    ] {
        assert_eq!(key[field], value, "{field}");
    }
    for path in [
        format!("/organisations/{}", id(&acme.organisation)),
        format!("/projects/{}", id(&acme.project)),
        format!("/members/{}", id(&acme.member)),
    ] {
        assert!(api.works(secret).await, "{path}");
        api.post(&format!("{path}/disable"), Value::Null).await.is(200);
        assert!(!api.works(secret).await, "{path}");
        assert!(api.get(&format!("/keys/{}", id(&key))).await.is(200)["closed_by"].is_string());
        api.post(&format!("{path}/enable"), Value::Null).await.is(200);
    }
    api.delete(&format!("/members/{}", id(&acme.member))).await.is(200);
    assert!(!api.works(secret).await, "its owner has left");
    let path = format!("/keys/{}/transfer", id(&key));
    let given = api.post(&path, json!({"owner_id": id(&acme.account)})).await.is(200);
    assert!(api.works(secret).await);
    assert_eq!((&given["owner_label"], given["rotation_asked_at"].is_string()), (&json!("deploy"), true));
    assert_eq!(api.post(&path, json!({"owner_id": id(&acme.member)})).await.faults(), ["owner_id"]);
    let names = async |query: &str| api.get(&format!("/keys?{query}")).await.is(200)["data"].as_array().unwrap().len();
    assert_eq!(names(&format!("owner={}", id(&acme.account))).await, 1);
    assert_eq!(names("organisation=acme-sons").await, 1);
    assert_eq!(names("project=acme-sons/search&unused=1d").await, 0);
}

#[tokio::test]
async fn rules_bind_the_keys_that_are_made_and_what_a_change_touches() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let old = make(&api, "/keys", json!({"name": "old", "project": "search"})).await;
    let rules = json!({"key_rules": {"required": ["owner_id", "description"], "required_tags": ["team"],
        "max_expiry_days": 90, "max_spend_usd": "5", "no_browser": true}});
    let changed = api.patch(&format!("/organisations/{}", id(&acme.organisation)), rules.clone()).await.is(200);
    assert_eq!(changed["key_rules"]["required"], json!(["description", "owner_id"]));
    let bare = json!({"name": "new", "project": "search", "browser_allowed": true});
    let broken = ["browser_allowed", "description", "expires_at", "owner_id", "spend_limits", "tags"];
    assert_eq!(api.post("/keys", bare).await.faults(), broken);
    let good = json!({"name": "new", "project": "search", "owner_id": id(&acme.account), "description": "d",
        "tags": {"team": "a"}, "expires_in": "90d", "spend_limits": [{"window": "total", "usd": "5"}]});
    let new = make(&api, "/keys", good).await;
    let path = format!("/keys/{}", id(&new));
    assert_eq!(api.patch(&path, json!({"expires_in": "91d"})).await.faults(), ["expires_at"]);
    assert_eq!(api.patch(&path, json!({"owner_id": null, "tags": {}})).await.faults(), ["owner_id", "tags"]);
    // A key that is older than the rules can still be renamed, but not be made worse.
    let path = format!("/keys/{}", id(&old));
    api.patch(&path, json!({"name": "renamed"})).await.is(200);
    assert_eq!(api.patch(&path, json!({"expires_at": null})).await.faults(), ["expires_at"]);
    // Another organisation has no such rules.
    make(&api, "/keys", json!({"name": "free"})).await;
    api.patch(&format!("/organisations/{}", id(&acme.organisation)), json!({"key_rules": null})).await.is(200);
    make(&api, "/keys", json!({"name": "free", "project": "search"})).await;
}

#[tokio::test]
async fn a_project_asks_more_of_its_keys_and_never_less() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let above = json!({"key_rules": {"max_expiry_days": 90}});
    api.patch(&format!("/organisations/{}", id(&acme.organisation)), above).await.is(200);
    let path = format!("/projects/{}", id(&acme.project));
    let wrong = json!({"key_rules": {"required": ["luck"]}});
    assert_eq!(api.patch(&path, wrong).await.faults(), ["key_rules"]);
    let wider = json!({"key_rules": {"required": ["description"], "max_expiry_days": 365, "no_browser": true}});
    let changed = api.patch(&path, wider).await.is(200);
    assert_eq!(changed["key_rules"]["required"], json!(["description"]));
    let new =
        |days: u32| json!({"name": "k", "project": "search", "description": "d", "expires_in": format!("{days}d")});
    assert_eq!(api.post("/keys", new(91)).await.faults(), ["expires_at"], "the organisation's bound is not widened");
    let key = make(&api, "/keys", new(90)).await;
    let bare = json!({"name": "k", "project": "search", "expires_in": "9d", "browser_allowed": true});
    let answer = api.post("/keys", bare).await;
    assert!(answer.text().contains("by the project's rules for keys"), "{}", answer.text());
    assert_eq!(answer.faults(), ["browser_allowed", "description"]);
    // Nor by way of a temporary key, or of another project.
    let minted = api.post(&format!("/keys/{}/temp", id(&key)), json!({"browser_allowed": true})).await;
    assert!(minted.is(400).to_string().contains("project's rules"), "{}", minted.text());
    make(&api, "/projects", json!({"name": "Lab", "organisation": "acme-sons", "key_rules": {"required": ["note"]}}))
        .await;
    let key = format!("/keys/{}", id(&key));
    assert_eq!(api.patch(&key, json!({"project": "acme-sons/lab"})).await.faults(), ["note"]);
    api.patch(&key, json!({"project": "acme-sons/lab", "note": "vault"})).await.is(200);
    assert_eq!(api.patch(&key, json!({"note": ""})).await.faults(), ["note"]);
    // What is asked for is held to them as well as what is made.
    api.patch(&path, json!({"key_rules": null})).await.is(200);
    make(&api, "/keys", json!({"name": "k", "project": "search", "expires_in": "9d", "browser_allowed": true})).await;
}

#[tokio::test]
async fn a_project_is_inside_its_organisation() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let bounds = json!({"controls": {"limits": {"rpm": 100}, "models": {"allow": ["openai/*"]}}});
    api.patch(&format!("/organisations/{}", id(&acme.organisation)), bounds.clone()).await.is(200);
    let path = format!("/projects/{}", id(&acme.project));
    assert_eq!(api.patch(&path, json!({"controls": {"limits": {"rpm": 101}}})).await.faults(), ["controls"]);
    let wider = json!({"organisation": "acme-sons", "name": "x", "controls": {"limits": {"rpm": 101}}});
    assert_eq!(api.post("/projects", wider).await.faults(), ["controls"]);
    let inside = json!({"controls": {"limits": {"rpm": 100, "tpm": 7}}});
    assert_eq!(api.patch(&path, inside.clone()).await.is(200)["controls"], inside["controls"]);
    api.patch(&path, json!({"controls": null})).await.is(200);
    let key = acme.key(&api, &acme.member).await;
    let own = json!({"controls": {"limits": {"rpm": 5}}});
    assert_eq!(api.patch(&format!("/keys/{}", id(&key)), own.clone()).await.is(200)["controls"], own["controls"]);
}

#[tokio::test]
async fn many_keys_are_changed_by_a_job() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let mut secrets = Vec::new();
    for _ in 0..3 {
        secrets.push(acme.key(&api, &acme.account).await["secret"].as_str().unwrap().to_owned());
    }
    let body = json!({"action": "disable", "filter": {"project": "acme-sons/search"}});
    let ask = || api.ask(Method::POST, "/keys/bulk").header("idempotency-key", "once").json(body.clone());
    let job = ask().send().await.is(202);
    assert_eq!((&job["action"], &job["total"]), (&json!("disable"), &json!(3)));
    assert_eq!(ask().send().await.is(202), job, "sent again, it is the same job");
    let path = format!("/jobs/{}", id(&job));
    let report = loop {
        let report = api.get(&path).await.is(200);
        if report["status"] == "done" {
            break report;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&report["done"], &report["skipped"]), (&json!(3), &json!(0)));
    for secret in &secrets {
        assert!(!api.works(secret).await);
    }
    assert_eq!(api.get("/jobs").await.is(200)["data"].as_array().unwrap().len(), 1);
    for (body, fields) in [
        (json!({}), vec!["action", "keys"]),
        (json!({"action": "burn", "keys": ["key_x"]}), vec!["action", "keys"]),
        (json!({"action": "disable", "keys": [], "filter": {}}), vec!["filter"]),
        (json!({"action": "extend", "filter": {}}), vec!["expires_at"]),
        (json!({"action": "tag", "filter": {}}), vec!["tags"]),
        (json!({"action": "disable", "filter": {"colour": "red"}}), vec!["filter"]),
        (json!({"action": "disable", "filter": {"limit": "1"}}), vec!["filter"]),
        (json!({"action": "disable", "filter": {"project": "nowhere"}}), vec!["project"]),
    ] {
        assert_eq!(api.post("/keys/bulk", body.clone()).await.faults(), fields, "{body}");
    }
    api.get("/jobs/job_00000000000000000000000000").await.refused(404, "not_found");
}

#[tokio::test]
async fn people_own_projects_and_leave() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let path = format!("/projects/{}/owners", id(&acme.project));
    let person = acme.member["person_id"].as_str().unwrap();
    api.post(&path, json!({"person_id": person})).await.is(200);
    let owners = api.get(&path).await.is(200);
    assert_eq!(owners["data"][0]["email"], "Ada@example.com");
    let own = api.get(&format!("/projects?owner={person}")).await.is(200);
    assert_eq!(own["data"][0]["id"], acme.project["id"]);
    api.delete(&format!("{path}/{person}")).await.is(200);
    api.delete(&format!("{path}/{person}")).await.refused(404, "not_found");
    let stranger = make(&api, "/people", json!({"email": "bob@example.com", "name": "Bob"})).await;
    assert_eq!(api.post(&path, json!({"person_id": id(&stranger)})).await.faults(), ["person"]);
    // The e-mail of somebody who is here needs no name.
    let again = json!({"organisation": "default", "email": "BOB@example.com", "role": "admin"});
    assert_eq!(make(&api, "/members", again).await["person_id"], stranger["id"]);
    let key = acme.key(&api, &acme.member).await;
    api.patch(&format!("/people/{person}"), json!({"disabled": true})).await.is(200);
    assert!(!api.works(key["secret"].as_str().unwrap()).await);
    assert_eq!(api.get(&format!("/members/{}", id(&acme.member))).await.is(200)["status"], "disabled");
}

#[tokio::test]
async fn who_is_in_a_project_is_listed_with_what_they_have_there() {
    let api = Api::start().await;
    let acme = Acme::new(&api).await;
    let members = format!("/projects/{}/members", id(&acme.project));
    let listed = async |query: &str| {
        let list = api.get(&format!("{members}{query}")).await.is(200);
        let who = |one: &Value| {
            let (name, owner, keys) = (one["name"].as_str().unwrap(), &one["owner"], &one["keys"]);
            format!("{} {name} {owner} {keys} {}", one["kind"].as_str().unwrap(), one["status"].as_str().unwrap())
        };
        let all: Vec<String> = list["data"].as_array().unwrap().iter().map(who).collect();
        (all, list["next"].as_str().map(str::to_owned))
    };
    let account = "service_account deploy false 0 active";
    assert_eq!(listed("").await.0, [account], "who has nothing in it is not in it");
    acme.key(&api, &acme.member).await;
    let owners = format!("/projects/{}/owners", id(&acme.project));
    api.post(&owners, json!({"person_id": acme.member["person_id"]})).await.is(200);
    api.post(&format!("/members/{}/disable", id(&acme.member)), Value::Null).await.is(200);
    let ada = "member Ada true 1 disabled";
    assert_eq!(listed("").await.0, [account, ada], "the newest first");
    let (first, next) = listed("?limit=1").await;
    let (second, end) = listed(&format!("?limit=1&after={}", next.unwrap())).await;
    assert_eq!(([first, second].concat(), end), (vec![account.to_owned(), ada.to_owned()], None));
    assert_eq!(api.get(&format!("{members}?after=x")).await.faults(), ["after"]);
    let row = api.get(&members).await.is(200)["data"][1].clone();
    assert_eq!(
        (&row["id"], &row["person_id"], &row["email"], &row["role"]),
        (&acme.member["id"], &acme.member["person_id"], &acme.member["email"], &acme.member["role"])
    );
    api.get("/projects/proj_01zzzzzzzzzzzzzzzzzzzzzzzz/members").await.refused(404, "not_found");
}
