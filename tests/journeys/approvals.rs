//! More for a key, asked and granted for a time through the real binary: in force for calls at once, and over to the moment,
//! also when nobody was there at that moment.

use crate::support::{Dialect, World};
use anykey_testkit::{Request, until};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The status of a call, and the code of a refusal.
fn call(world: &World, secret: &str, model: &str) -> (u16, Value) {
    let reply = world.gateway.call(&Dialect::OpenAi.chat().at(model).bearer(secret));
    let code = if reply.status == 200 { Value::Null } else { reply.json()["error"]["code"].clone() };
    (reply.status, code)
}

/// The gateway's clock and the test's are one.
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

#[test]
fn a_grant_for_a_time_is_over_before_the_first_call_after_its_end() {
    let mut world = World::start();
    let key = world.gateway.key_with("ci", json!({"controls": {"models": {"allow": ["openai/echo"]}}}));
    let boss = world.gateway.key_with("boss", json!({"kind": "admin"}));
    let refused = (403, json!("model_not_allowed"));
    let served = (200, Value::Null);
    assert_eq!(
        (call(&world, &key.secret, "echo"), call(&world, &key.secret, "lorem")),
        (served.clone(), refused.clone())
    );

    let ask = ["approval", "ask", "ci", "--model", "openai/lorem", "--reason", "a launch", "--json"];
    let asked = world.gateway.cli(&ask).json();
    assert_eq!(asked["wants"], "the model openai/lorem");
    let path = format!("/approvals/{}/approve", asked["id"].as_str().unwrap());
    assert_eq!(call(&world, &key.secret, "lorem"), refused, "asking changes nothing");
    let own = world.gateway.admin_reply("POST", &path, Some(&json!({})));
    assert_eq!((own.status, own.json()["code"].clone()), (409, json!("conflict")), "{}", own.text());

    let before = now_ms();
    let request = Request::post(format!("/admin/v1{path}")).bearer(&boss.secret).json(&json!({"lasts": "5s"}));
    let granted = world.gateway.call(&request);
    assert_eq!(granted.status, 200, "{}", granted.text());
    assert_eq!(call(&world, &key.secret, "lorem"), served, "in force when it is answered");
    world.gateway.kill();
    until("the moment has passed", || now_ms() > before + 5_500);
    world.gateway.start();
    assert_eq!(call(&world, &key.secret, "lorem"), refused, "over before the first call");
    assert_eq!(call(&world, &key.secret, "echo"), served, "and what was before is as it was");
    let row = world.gateway.get(&format!("/approvals/{}", asked["id"].as_str().unwrap()));
    assert_eq!(row["state"], "ended");
}

#[test]
fn a_running_server_ends_a_grant_by_itself_and_leaves_later_changes() {
    let world = World::start();
    let key = world.gateway.key_with("ci", json!({"controls": {"models": {"allow": ["openai/echo"]}}}));
    let boss = world.gateway.key_with("boss", json!({"kind": "admin"}));
    let cli = |arguments: &[&str]| world.gateway.cli(&[arguments, &["--json"]].concat()).json();
    let asked = cli(&["approval", "ask", "ci", "--model", "openai/lorem", "--reason", "a launch"]);
    let path = format!("/admin/v1/approvals/{}/approve", asked["id"].as_str().unwrap());
    let request = Request::post(path).bearer(&boss.secret).json(&json!({"lasts": "2s"}));
    assert_eq!(world.gateway.call(&request).status, 200);
    // Somebody allows another model meanwhile.
    let key_path = format!("/keys/{}", key.id);
    let allow = json!({"controls": {"models": {"allow": ["openai/echo", "openai/lorem", "openai/json"]}}});
    world.gateway.admin("PATCH", &key_path, Some(&allow));
    until("the grant is over", || call(&world, &key.secret, "lorem").0 == 403);
    let models = world.gateway.get(&key_path)["controls"]["models"]["allow"].clone();
    assert_eq!(models, json!(["openai/echo", "openai/json"]));
    let entries = cli(&["audit", "list", "--limit", "50"]);
    let verbs: Vec<&str> = entries.as_array().unwrap().iter().filter_map(|entry| entry["verb"].as_str()).collect();
    for verb in ["approval.ask", "approval.grant", "approval.end"] {
        assert!(verbs.contains(&verb), "{verb}: {verbs:?}");
    }
}
