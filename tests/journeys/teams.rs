//! Two teams on one gateway: keys below an organisation, a project and an owner, made and ended through the command line.

use crate::support::{Dialect, World};
use anykey_testkit::{Reply, TestGateway};
use serde_json::json;

fn call(gateway: &TestGateway, secret: &str) -> Reply {
    gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(secret))
}

/// 200, or what the refusal says.
fn verdict(gateway: &TestGateway, secret: &str) -> String {
    let reply = call(gateway, secret);
    match reply.status {
        200 => "200".to_owned(),
        status => {
            let error = &reply.json()["error"];
            format!("{status} {}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
        }
    }
}

#[test]
fn what_is_above_a_key_ends_it_and_says_so() {
    let mut world = World::start();
    let cli = |arguments: &[&str]| world.gateway.cli(&[arguments, &["--json"]].concat()).json();
    cli(&["org", "create", "Acme & Sons"]);
    cli(&["org", "create", "Other"]);
    cli(&["project", "create", "Search", "--org", "acme-sons"]);
    cli(&["project", "create", "Search", "--org", "other"]);
    let ada = cli(&["member", "create", "ada@example.com", "--org", "acme-sons", "--name", "Ada"]);
    cli(&["service-account", "create", "deploy", "--project", "acme-sons/search"]);
    let owner = ada["id"].as_str().unwrap();
    let ci = cli(&["key", "create", "ci", "--project", "acme-sons/search", "--owner-id", owner]);
    let theirs = cli(&["key", "create", "theirs", "--project", "other/search"]);
    let (ci, theirs) = (ci["secret"].as_str().unwrap().to_owned(), theirs["secret"].as_str().unwrap().to_owned());
    assert_eq!((verdict(&world.gateway, &ci), verdict(&world.gateway, &theirs)), ("200".into(), "200".into()));

    for (above, told) in [
        (["org", "acme-sons"], "organisation `Acme & Sons`"),
        (["project", "acme-sons/search"], "project `Search`"),
        (["member", "ada@example.com"], "member that owns it, `Ada`"),
    ] {
        cli(&[above[0], "disable", above[1]]);
        let refused = verdict(&world.gateway, &ci);
        assert!(refused.starts_with("401 key_disabled:") && refused.contains(told), "{refused}");
        assert_eq!(verdict(&world.gateway, &theirs), "200", "the other team's goes on");
        cli(&[above[0], "enable", above[1]]);
        assert_eq!(verdict(&world.gateway, &ci), "200");
    }

    // Ada leaves; the key that she owned is given to a service account.
    cli(&["member", "delete", "ada@example.com", "--yes"]);
    assert!(verdict(&world.gateway, &ci).starts_with("401 key_disabled"));
    let given = cli(&["key", "transfer", "ci", "--to", "deploy"]);
    assert!(given["rotation_asked_at"].is_string() && given["owner_label"] == "deploy");
    assert_eq!(verdict(&world.gateway, &ci), "200");

    let job = cli(&["key", "bulk", "disable", "--org", "acme-sons", "--yes"]);
    assert_eq!((&job["status"], &job["done"]), (&json!("done"), &json!(1)));
    assert!(verdict(&world.gateway, &ci).contains("`ci` is disabled"));
    assert_eq!(verdict(&world.gateway, &theirs), "200");
    cli(&["key", "bulk", "enable", "ci", "--yes"]);
    cli(&["project", "disable", "acme-sons/search"]);
    world.gateway.restart();
    assert!(verdict(&world.gateway, &ci).contains("project `Search`"), "also after a restart");
}

#[test]
fn nobody_can_lock_the_operator_out() {
    let world = World::start();
    for arguments in [["org", "disable", "default"], ["project", "disable", "default"]] {
        assert_eq!(world.gateway.cli(&arguments).status, 6, "a conflict");
    }
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200");
}
