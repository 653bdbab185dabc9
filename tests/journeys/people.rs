//! Somebody comes in through the real door: their bodies are read although they have no key, and a stranger's are not.

use crate::support::World;
use anykey_testkit::Request;
use serde_json::json;

#[test]
fn the_first_owner_comes_in_and_manages_with_a_cookie() {
    let world = World::start();
    let token = world.gateway.cli(&["owner-link"]).stdout.trim().to_owned();
    let owner = json!({"token": token, "password": "a horse, a battery", "email": "ada@example.com", "name": "Ada"});
    let came = world.gateway.call(&Request::new("POST", "/admin/v1/auth/links/use").json(&owner));
    assert_eq!(came.status, 200, "{}", came.text());
    let cookie = came.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let csrf = came.json()["csrf_token"].as_str().unwrap().to_owned();
    let ask =
        |cookie: &str| Request::new("POST", "/admin/v1/keys").header("cookie", cookie).header("x-csrf-token", &csrf);
    // Larger than what a stranger may send where strangers come in.
    let large =
        json!({"name": "by hand", "tags": {"a": "x"}, "note": "n".repeat(1_900), "description": "d".repeat(1_900)});
    let made = world.gateway.call(&ask(&cookie).json(&large));
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(world.gateway.call(&ask("anykey=0").json(&large)).status, 401);
    assert_eq!(world.gateway.call(&Request::new("POST", "/admin/v1/keys").json(&large)).status, 401);
    let again = world.gateway.cli(&["owner-link"]);
    assert_eq!(again.status, 6, "there is an owner: {}", again.stderr);
    let log = world.gateway.cli(&["audit", "list", "--verb", "link.use,session.begin,key.create", "--json"]).json();
    let by: Vec<&str> = log.as_array().unwrap().iter().take(3).map(|e| e["actor"]["kind"].as_str().unwrap()).collect();
    assert_eq!(by, ["person", "person", "stranger"]);
}
