//! The audit log of a running gateway: what stands in it, that it survives a crash, and that its export can be checked by
//! the recipe of its page, without this program.

use crate::support::World;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn a_change_is_in_the_log_when_it_returns_also_after_a_crash() {
    let mut world = World::start();
    let made = world.gateway.cli(&["key", "create", "kai", "--json"]).json();
    world.gateway.kill();
    let verified = world.gateway.cli(&["audit", "verify", "--offline", "--json"]);
    assert_eq!(verified.json()["ok"], true, "{}", verified.stderr);
    world.gateway.start();
    let listed = world.gateway.cli(&["audit", "list", "--key", "kai", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let entry = &listed[0];
    assert_eq!(
        (&entry["verb"], &entry["object"]["id"], &entry["surface"]),
        (&"key.create".into(), &made["id"], &"cli".into())
    );
    assert_eq!((&entry["actor"]["kind"], &entry["ip"]), (&"key".into(), &"127.0.0.1".into()));
    assert!(entry["actor"]["name"].as_str().unwrap().starts_with("local-admin ak-admin-"), "{entry}");
    let first = &world.gateway.all("/audit").pop().unwrap();
    assert_eq!((&first["seq"], &first["verb"]), (&1.into(), &"audit.begin".into()));
    let declared = world.gateway.cli(&["audit", "list", "--kind", "settings", "--json"]).json();
    assert_eq!(declared.as_array().unwrap().len(), 1, "the settings file is told once, not at each start: {declared}");
    assert_eq!(declared[0]["surface"], "settings_file");
}

/// Runs the recipe over an export. `None` where there is no Python to run it.
fn recipe(export: &str) -> Option<(bool, String)> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/AUDIT.md")).unwrap();
    let script = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let python = Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        eprintln!("skipped: there is no python3");
        return None;
    };
    python.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    Some((output.status.success(), String::from_utf8(output.stdout).unwrap()))
}

#[test]
fn an_export_can_be_checked_without_this_program() {
    let world = World::start();
    let name = "ünï \"=1\" \\ /";
    let made = world.gateway.cli(&["key", "create", name, "--tag", "note=a\u{2028}😀", "--json"]).json();
    let id = made["id"].as_str().unwrap();
    world.gateway.cli(&["key", "edit", id, "--description", "two\nlines\tand a tab"]);
    world.gateway.post(&format!("/keys/{id}/rotate"), &json!({}));
    let export = world.gateway.cli(&["audit", "export"]).stdout;
    assert!(export.contains("two\\nlines\\tand a tab"), "{export}");
    let head = world.gateway.get("/audit/verify")["head_hash"].as_str().unwrap().to_owned();
    let Some(checked) = recipe(&export) else { return };
    assert_eq!(checked, (true, format!("ok {head}\n")));
    let altered = export.replacen("key.create", "key.delete", 1);
    assert!(!recipe(&altered).unwrap().0);
    let shorter: Vec<&str> = export.lines().skip(1).collect();
    assert!(!recipe(&shorter.join("\n")).unwrap().0);
}
