//! What the table cannot say: what may come of a change that is let in, and what is watched while roles end.

use super::rows::{Kind, Who};
use super::world::{FAR, World, id, record};
use crate::harness::Api;
use anykey_core::KeyId;
use axum::http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::Arc;

async fn world() -> World {
    World::new(Api::start().await).await
}

/// A member has keys in their own name, and widens none of them.
#[tokio::test]
async fn a_member_makes_keys_of_their_own_and_only_narrows_them() {
    let world = world().await;
    let body = json!({"name": "new", "project": "near/next", "expires_in": "30d",
        "spend_limits": [{"window": "total", "usd": "5"}], "scopes": ["models:read", "usage:read"]});
    let key = world.post(Who::Member, "/keys", body).await.is(201);
    assert_eq!(key["owner_id"], world.members["member"], "nobody else was named, so it is theirs");
    let path = format!("/keys/{}", id(&key));
    let change = async |body: Value| world.patch(Who::Member, &path, body).await;
    for (field, wider) in [
        ("spend_limits", json!([{"window": "total", "usd": "5.01"}])),
        ("spend_limits", json!([])),
        ("expires_at", Value::Null),
        ("expires_at", json!("2099-01-01")),
        ("scopes", json!(["models:read", "completions:write"])),
        ("browser_allowed", json!(true)),
    ] {
        assert_eq!(change(json!({field: wider})).await.faults(), [field], "{wider}");
    }
    let more = json!({"window": "total", "usd": "1", "until": "2099-01-01T00:00:00Z"});
    let more = json!({"controls": {"spend": {"total": "5", "increases": [more]}}});
    assert_eq!(change(more.clone()).await.faults(), ["spend_limits"], "nobody grants themselves more for a while");
    for narrower in [
        json!({"spend_limits": [{"window": "total", "usd": "4"}]}),
        json!({"expires_in": "1d"}),
        json!({"scopes": ["models:read"]}),
        json!({"controls": {"limits": {"rpm": 10}}}),
        json!({"controls": {"limits": {"rpm": 9}}, "name": "renamed", "tags": {"a": "b"}}),
    ] {
        change(narrower.clone()).await.is(200);
    }
    assert_eq!(change(json!({"controls": {"limits": {"rpm": 10}}})).await.faults(), ["controls"]);
    assert_eq!(change(json!({"controls": null})).await.faults(), ["controls", "spend_limits"]);
    for away in [json!({"owner_id": null}), json!({"owner_id": world.members["viewer"]})] {
        change(away).await.refused(403, "role_forbidden");
    }
    // Who owns the project may do all of it.
    let ours = world.thing(Kind::Project, "ours").id.clone();
    change(json!({"project": ours})).await.is(200);
    let granted = world.patch(Who::Owner, &path, more).await.is(200);
    assert!(granted["controls"]["spend"]["increases"][0]["granted_by"].as_str().is_some_and(|by| !by.is_empty()));
    let wide = json!({"controls": null, "expires_at": null, "spend_limits": [], "owner_id": world.members["viewer"]});
    world.patch(Who::Owner, &path, wide).await.is(200);
    world.get(Who::Member, &path).await.refused(404, "not_found");
}

#[tokio::test]
async fn who_disabled_a_key_enables_it_and_its_owner_does_not_undo_another() {
    let world = world().await;
    let path = format!("/keys/{}", world.thing(Kind::Key, "mine").id);
    let say = async |who: Who, verb: &str| world.post(who, &format!("{path}/{verb}"), json!({})).await;
    say(Who::Member, "enable").await.is(200);
    say(Who::Owner, "disable").await.is(200);
    say(Who::Member, "enable").await.refused(403, "role_forbidden");
    // That its owner disables it again changes nothing about that.
    say(Who::Member, "disable").await.is(200);
    say(Who::Member, "enable").await.refused(403, "role_forbidden");
    say(Who::Admin, "enable").await.is(200);
    say(Who::Member, "disable").await.is(200);
    say(Who::Member, "enable").await.is(200);
    // The same where it is one of many.
    let many = async |who: Who, action: &str| {
        let body = json!({"action": action, "keys": [world.thing(Kind::Key, "mine").id]});
        let job = id(&world.post(who, "/keys/bulk", body).await.is(202));
        while world.get(who, &format!("/jobs/{job}")).await.is(200)["status"] != "done" {
            tokio::task::yield_now().await;
        }
    };
    many(Who::Owner, "disable").await;
    say(Who::Member, "enable").await.refused(403, "role_forbidden");
    many(Who::Member, "disable").await;
    say(Who::Member, "enable").await.refused(403, "role_forbidden");
    many(Who::Admin, "enable").await;
    many(Who::Member, "disable").await;
    say(Who::Member, "enable").await.is(200);
    // Disabled by themselves one by one, enabled by another as one of many, and disabled so again.
    say(Who::Member, "disable").await.is(200);
    many(Who::Admin, "enable").await;
    many(Who::Owner, "disable").await;
    say(Who::Member, "enable").await.refused(403, "role_forbidden");
    say(Who::Owner, "enable").await.is(200);
    let found = json!({"found": [{"key": world.secrets["mine"], "place": "a:1"}], "action": "disable"});
    world.post(Who::Admin, "/keys/exposed", found).await.is(200);
    say(Who::Member, "enable").await.refused(403, "role_forbidden");
}

/// A policy above bounds what is set below, whoever sets it that does not run the installation.
#[tokio::test]
async fn nothing_below_is_set_wider_than_what_is_above() {
    let world = world().await;
    let policy = json!({"controls": {"limits": {"rpm": 100}, "models": {"allow": ["openai/*"]},
        "scopes": ["models:read", "completions:write"]}});
    let near = world.thing(Kind::Organisation, "near").id.clone();
    world.patch(Who::Admin, &format!("/organisations/{near}"), policy).await.is(200);
    let member = format!("/members/{}", world.members["member"]);
    world.patch(Who::Admin, &member, json!({"controls": {"limits": {"rpm": 50}}})).await.is(200);
    let make = async |who: Who, more: Value| {
        let mut body = json!({"name": "k", "project": "near/search"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post(who, "/keys", body).await
    };
    make(Who::Member, json!({})).await.is(201);
    make(Who::Member, json!({"controls": {"limits": {"rpm": 50}}})).await.is(201);
    for (who, field, body) in [
        (Who::Member, "controls", json!({"controls": {"limits": {"rpm": 51}}})),
        (Who::Owner, "controls", json!({"controls": {"limits": {"rpm": 101}}})),
        (Who::Admin, "controls", json!({"controls": {"models": {"allow": ["*"]}}})),
        (Who::Owner, "scopes", json!({"scopes": ["usage:read"]})),
    ] {
        assert_eq!(make(who, body.clone()).await.faults(), [field], "{who:?} {body}");
    }
    let rules = json!({"key_rules": {"required": ["description"], "max_expiry_days": 90}});
    world.patch(Who::AdminKey, &format!("/organisations/{near}"), rules).await.is(200);
    assert_eq!(make(Who::Member, json!({})).await.faults(), ["description", "expires_at"]);
    // Where the project is not one that they see, the rules of no organisation are told.
    let elsewhere = json!({"name": "k", "project": "faraway/search"});
    assert_eq!(world.post(Who::Member, "/keys", elsewhere).await.faults(), ["project"]);
}

/// An admin does not become anybody else, and learns nothing of who is known elsewhere but that they are.
#[tokio::test]
async fn an_admin_adds_people_without_learning_of_others() {
    let world = world().await;
    let add = async |email: &str, name: Option<&str>| {
        let mut body = json!({"organisation": "near", "email": email});
        if let Some(name) = name {
            body["name"] = json!(name);
        }
        world.post(Who::Admin, "/members", body).await
    };
    for email in ["far@faraway.example", "unknown@example.com"] {
        assert_eq!(add(email, None).await.faults(), ["name"], "{email}");
    }
    for email in ["far@faraway.example", "FAR@faraway.example", "operator@example.com", "nobody@example.com"] {
        let refused = add(email, Some("Somebody")).await;
        refused.refused(403, "role_forbidden");
        for told in ["person_", "mem_", "@", "faraway"] {
            assert!(!refused.text().contains(told), "{}", refused.text());
        }
    }
    let members = world.get(Who::Admin, "/members?limit=200").await.is(200);
    assert!(members["data"].as_array().unwrap().iter().all(|member| member["email"] != "far@faraway.example"));
    // Whom an admin knows, they take in again.
    let viewer = format!("/members/{}", world.members["viewer"]);
    world.ask(Who::Admin, &Method::DELETE, &viewer).send().await.is(200);
    assert_eq!(add("viewer@near.example", Some("Other")).await.is(201)["id"], world.members["viewer"]);
    let body = json!({"organisation": "near", "email": "far@faraway.example", "role": "viewer"});
    world.post(Who::Operator, "/members", body).await.is(201);
}

/// A person is not somebody's before they are something: what one admin could come in as, another could make more of.
#[tokio::test]
async fn an_admin_owns_nobody_before_they_become_more() {
    let world = world().await;
    let person = json!({"organisation": "near", "email": "new@example.com", "name": "New"});
    world.post(Who::Admin, "/members", person).await.is(201);
    let link = json!({"email": "new@example.com"});
    for who in [Who::Admin, Who::AdminKey, Who::Owner, Who::FarAdmin] {
        world.post(who, "/auth/links", link.clone()).await.refused(403, "role_forbidden");
        world.post(who, "/auth/links", json!({})).await.refused(403, "role_forbidden");
    }
    world.post(Who::Operator, "/auth/links", link).await.is(201);
}

/// Every change inside an organisation is in its log, and nothing else.
#[tokio::test]
async fn the_log_of_an_organisation_is_its_own() {
    let world = world().await;
    let near = world.thing(Kind::Organisation, "near").id.clone();
    let entries = async |who: Who, query: &str| -> Vec<Value> {
        world.get(who, &format!("/audit?limit=200{query}")).await.is(200)["data"].as_array().unwrap().clone()
    };
    let new = json!({"organisation": "near", "email": "new@example.com", "name": "New"});
    for (who, path, body, told) in [
        (Who::Owner, format!("/keys/{}/rotate", world.thing(Kind::Key, "ours").id), json!({}), 1),
        (Who::Admin, "/projects".to_owned(), json!({"organisation": "near", "name": "third"}), 1),
        // The person, who is in no organisation, and the member.
        (Who::Admin, "/members".to_owned(), new, 2),
    ] {
        let seen = entries(Who::Auditor, "").await.len();
        assert!(world.post(who, &path, body).await.status.is_success(), "{path}");
        let now = entries(Who::Auditor, "").await;
        assert_eq!(now.len(), seen + told, "{path}");
        assert_eq!(now[0]["organisation"], near, "{path}");
    }
    let own = entries(Who::Auditor, "").await;
    assert!(own.iter().all(|entry| entry["organisation"] == near));
    for verb in [
        "organisation.create",
        "project.create",
        "project.owner_add",
        "member.add",
        "service_account.create",
        "key.create",
        "key.disable",
        "key.bulk",
    ] {
        assert!(own.iter().any(|entry| entry["verb"] == verb), "{verb}");
    }
    assert_eq!(entries(Who::Operator, "&organisation=near").await, own);
    assert_eq!(entries(Who::Auditor, "&organisation=near").await, own);
    assert_eq!(world.get(Who::Auditor, &format!("/audit?organisation={FAR}")).await.faults(), ["organisation"]);
    let theirs = world.thing(Kind::Key, "far").id.clone();
    assert_eq!(entries(Who::Auditor, &format!("&object={theirs}")).await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_is_watched_is_what_is_reached() {
    let world = world().await;
    let response = world.ask(Who::Owner, &Method::GET, "/requests/tail").open().await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for (n, name) in ["far", "next", "ours"].into_iter().enumerate() {
        let key = KeyId::parse(&world.thing(Kind::Key, name).id).unwrap();
        world.api.books.records.send(Arc::new(record(key, 100 + n as u8, name))).unwrap();
    }
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = std::str::from_utf8(&frame).unwrap();
    let shown: Value = serde_json::from_str(text.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(shown["key_id"], world.thing(Kind::Key, "ours").id);
}

/// An answer that was kept for a day is not given to somebody who may not have it any more.
#[tokio::test]
async fn who_lost_a_role_does_not_get_a_secret_by_asking_again() {
    let mut world = world().await;
    let ask = |world: &World| {
        let body = json!({"name": "once", "project": "near/search", "owner_id": world.members["viewer"]});
        world.ask(Who::Owner, &Method::POST, "/keys").header("idempotency-key", "again").json(body)
    };
    let first = ask(&world).send().await.is(201);
    assert_eq!(ask(&world).send().await.is(201)["secret"], first["secret"]);
    let project = world.thing(Kind::Project, "ours").id.clone();
    world.api.delete(&format!("/projects/{project}/owners/{}", world.persons["owner"])).await.is(200);
    ask(&world).send().await.refused(401, "session_over");
    world.wake(Who::Owner).await;
    ask(&world).send().await.refused(403, "role_forbidden");
}
