//! A key from its making to its tombstone, through the command line and the admin API.

use super::{call, verdict};
use crate::support::World;
use anykey_testkit::until;
use serde_json::json;

#[test]
fn a_secret_is_shown_once_and_masked_everywhere_else() {
    let world = World::start();
    let made = world.gateway.cli(&["key", "create", "from the shell", "--json", "--tag", "team=a"]).json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.starts_with("ak-live-") && secret.len() == 54, "the form of the contract");
    assert_eq!(verdict(&world.gateway, secret), "200");
    let masked = format!("{}…", &secret[..16]);
    let hidden = &secret[16..];
    let views = [
        world.gateway.cli(&["key", "list"]).stdout,
        world.gateway.cli(&["key", "list", "--json"]).stdout,
        world.gateway.cli(&["key", "show", "from the shell"]).stdout,
        world.gateway.cli(&["key", "show", id, "--json"]).stdout,
        world.gateway.get("/keys").to_string(),
        world.gateway.get(&format!("/keys/{id}")).to_string(),
    ];
    for view in views {
        assert!(!view.contains(hidden), "{view}");
        assert!(view.contains(&masked), "{view}");
    }
    let reply = world.gateway.admin_reply("POST", "/keys", Some(&json!({ "name": "no-store" })));
    assert_eq!((reply.status, reply.header("cache-control")), (201, Some("no-store")));
}

#[test]
fn regenerating_kills_the_old_secret_before_it_returns() {
    let world = World::start();
    let before = call(&world.gateway, &world.key.secret);
    assert_eq!(before.status, 200);
    let mut old = world.key.secret.clone();
    for through_cli in [false, true, false, true] {
        let made = if through_cli {
            world.gateway.cli(&["key", "regenerate", &world.key.id, "--yes", "--json"]).json()
        } else {
            world.gateway.post(&format!("/keys/{}/regenerate", world.key.id), &json!({}))
        };
        assert_eq!(verdict(&world.gateway, &old), "key_revoked");
        assert_eq!(made["id"], world.key.id, "it is the same key");
        let new = made["secret"].as_str().unwrap().to_owned();
        assert_eq!(verdict(&world.gateway, &new), "200");
        old = new;
    }
    let of_key = world.gateway.records_of(&world.key);
    assert!(of_key.iter().any(|record| record["request_id"] == before.id()), "its history stays");
}

#[test]
fn disabling_enabling_and_deleting_are_in_force_when_they_return() {
    let mut world = World::start();
    let key = world.key.clone();
    let path = |action: &str| format!("/keys/{}{action}", key.id);
    assert_eq!(verdict(&world.gateway, &key.secret), "200");
    for _ in 0..3 {
        world.gateway.post(&path("/disable"), &json!({}));
        assert_eq!(verdict(&world.gateway, &key.secret), "key_disabled");
        assert_eq!(world.gateway.get(&path(""))["status"], "disabled");
        assert_eq!(world.gateway.cli(&["key", "enable", &key.id]).status, 0);
        assert_eq!(verdict(&world.gateway, &key.secret), "200");
    }
    world.gateway.post(&path("/disable"), &json!({}));
    world.gateway.restart();
    assert_eq!(verdict(&world.gateway, &key.secret), "key_disabled", "also after a restart");
    world.gateway.post(&path("/enable"), &json!({}));
    assert_eq!(verdict(&world.gateway, &key.secret), "200");

    assert_eq!(world.gateway.cli(&["key", "delete", &key.id, "--yes"]).status, 0);
    assert_eq!(verdict(&world.gateway, &key.secret), "key_revoked");
    let listed = world.gateway.get("/keys").to_string();
    assert!(!listed.contains(&key.id), "{listed}");
    let dead = world.gateway.get("/keys?status=revoked");
    assert_eq!(dead["data"][0]["id"], key.id, "a tombstone stays: {dead}");
    let records = world.gateway.records_of(&key);
    assert!(
        records.len() >= 5 && records.iter().all(|record| record["key_name"] == "journey"),
        "and its records keep a name"
    );
    let again = world.gateway.admin_reply("POST", &path("/enable"), Some(&json!({})));
    assert!((400..500).contains(&again.status), "what is deleted stays so: {}", again.text());
    world.gateway.restart();
    assert_eq!(verdict(&world.gateway, &key.secret), "key_revoked");
}

#[test]
fn an_expiry_ends_a_key_without_anybodys_doing() {
    let world = World::start();
    let key = world.gateway.key_with("brief", json!({ "expires_in": "2s" }));
    assert_eq!(verdict(&world.gateway, &key.secret), "200");
    until("the key expires", || verdict(&world.gateway, &key.secret) == "key_expired");
    assert_eq!(world.gateway.get(&format!("/keys/{}", key.id))["status"], "expired");
    // A longer life brings it back.
    world.gateway.admin("PATCH", &format!("/keys/{}", key.id), Some(&json!({ "expires_in": "1h" })));
    assert_eq!(verdict(&world.gateway, &key.secret), "200");
}

#[test]
fn a_change_of_what_a_key_may_do_is_in_force_when_it_returns() {
    let world = World::start();
    let path = format!("/keys/{}", world.key.id);
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200");
    world.gateway.admin("PATCH", &path, Some(&json!({ "scopes": ["models:read"] })));
    assert_eq!(verdict(&world.gateway, &world.key.secret), "scope_missing");
    world.gateway.admin("PATCH", &path, Some(&json!({ "scopes": ["completions:write"] })));
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200");
    world.gateway.admin(
        "PATCH",
        &path,
        Some(&json!({ "spend_limits": [{ "window": "total", "usd": "0.000000001" }] })),
    );
    assert_eq!(verdict(&world.gateway, &world.key.secret), "spend_limit_reached");
    world.gateway.admin("PATCH", &path, Some(&json!({ "spend_limits": [] })));
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200");
}

#[test]
fn an_idempotency_key_makes_one_key_and_shows_the_same_secret() {
    let world = World::start();
    let create = |name: &str| {
        let request = anykey_testkit::Request::post("/admin/v1/keys").bearer(&world.gateway.admin_key());
        world.gateway.call(&request.header("idempotency-key", "once").json(&json!({ "name": name })))
    };
    let (first, second) = (create("one"), create("one"));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(world.gateway.get("/keys?name=one")["data"].as_array().unwrap().len(), 1);
    let other = create("two");
    assert!((400..500).contains(&other.status), "the same key for another body: {}", other.text());
}
