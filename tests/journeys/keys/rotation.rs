//! Rotation with an overlap: both secrets live, and the clock starts when the new one is first used.

use super::verdict;
use crate::support::{World, setup};
use anykey_testkit::{Storage, TestGateway, TestSim, until, until_some};
use serde_json::{Value, json};

fn secrets(gateway: &TestGateway, id: &str) -> Vec<Value> {
    gateway.get(&format!("/keys/{id}"))["secrets"].as_array().unwrap().clone()
}

fn seconds_between(from: &Value, to: &Value) -> i64 {
    let millis = |time: &Value| {
        let text = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
        let clock = &text[11..];
        let part = |at: usize| clock[at..at + 2].parse::<i64>().unwrap();
        let day: i64 = text[8..10].parse().unwrap();
        ((day * 24 + part(0)) * 60 + part(3)) * 60 + part(6)
    };
    millis(to) - millis(from)
}

fn overlap(storage: Storage) {
    let sim = TestSim::start();
    let Some(mut gateway) = setup().sim(&sim).start_on(storage) else { return };
    let key = gateway.key("journey");
    assert_eq!(verdict(&gateway, &key.secret), "200");
    let rotated = gateway.post(&format!("/keys/{}/rotate", key.id), &json!({ "overlap": "15m" }));
    assert_eq!(rotated["id"], key.id);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, key.secret);

    // As long as nobody has used the new secret, nothing runs out, also not across a restart.
    gateway.restart();
    assert_eq!(verdict(&gateway, &key.secret), "200");
    let shown = secrets(&gateway, &key.id);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0]["first_used_at"].is_null(), "{shown:?}");
    assert!(shown[1]["expires_at"].is_null(), "the clock of the old secret has not started: {shown:?}");
    let lapses = seconds_between(&shown[0]["created_at"], &shown[0]["expires_at"]).rem_euclid(24 * 3600);
    assert!(lapses <= 1 || lapses >= 24 * 3600 - 1, "an unused secret lapses after whole days: {shown:?}");

    // The first use of the new one starts it; until it has run out, both live.
    assert_eq!(verdict(&gateway, &new), "200");
    let shown = until_some("the first use is shown", || {
        let shown = secrets(&gateway, &key.id);
        (shown[0]["first_used_at"].is_string() && shown[1]["expires_at"].is_string()).then_some(shown)
    });
    let left = seconds_between(&shown[0]["first_used_at"], &shown[1]["expires_at"]);
    assert!((899..=901).contains(&left), "15 minutes from the first use: {shown:?}");
    assert!(shown[0]["expires_at"].is_null(), "a used secret does not lapse: {shown:?}");
    for _ in 0..2 {
        assert_eq!((verdict(&gateway, &key.secret), verdict(&gateway, &new)), ("200".into(), "200".into()));
        gateway.kill();
        gateway.start();
    }
    let again = secrets(&gateway, &key.id);
    assert_eq!(again[1]["expires_at"], shown[1]["expires_at"], "a restart does not move the end");
}

#[test]
fn both_secrets_live_and_the_clock_starts_at_the_first_use() {
    overlap(Storage::Sqlite);
}

#[test]
fn both_secrets_live_and_the_clock_starts_at_the_first_use_on_postgres() {
    overlap(Storage::Postgres);
}

#[test]
fn the_old_secret_ends_when_the_overlap_has_run_out() {
    let world = World::start();
    let rotated = world.gateway.post(&format!("/keys/{}/rotate", world.key.id), &json!({ "overlap": "2s" }));
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200");
    assert_eq!(verdict(&world.gateway, new), "200");
    until("the overlap runs out", || verdict(&world.gateway, &world.key.secret) == "key_revoked");
    assert_eq!(verdict(&world.gateway, new), "200");
}

#[test]
fn without_an_overlap_the_first_use_of_the_new_secret_ends_the_old() {
    let world = World::start();
    let rotated = world.gateway.post(&format!("/keys/{}/rotate", world.key.id), &json!({ "overlap": "none" }));
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200", "a lost answer breaks nothing");
    assert_eq!(verdict(&world.gateway, rotated["secret"].as_str().unwrap()), "200");
    until("the old secret has ended", || verdict(&world.gateway, &world.key.secret) == "key_revoked");
}

#[test]
fn a_leaked_secret_ends_at_once() {
    let world = World::start();
    let rotated = world.gateway.cli(&["key", "rotate", &world.key.id, "--leaked", "--json"]).json();
    assert_eq!(verdict(&world.gateway, &world.key.secret), "key_revoked");
    assert_eq!(verdict(&world.gateway, rotated["secret"].as_str().unwrap()), "200");
}

#[test]
fn the_last_use_of_each_secret_is_shown() {
    let mut world = World::start();
    let rotated = world.gateway.post(&format!("/keys/{}/rotate", world.key.id), &json!({}));
    assert_eq!(verdict(&world.gateway, &world.key.secret), "200");
    assert_eq!(verdict(&world.gateway, rotated["secret"].as_str().unwrap()), "200");
    // Uses are written late; a clean stop writes them all.
    world.gateway.restart();
    for secret in secrets(&world.gateway, &world.key.id) {
        assert!(secret["last_used_at"].is_string(), "{secret}");
        assert_eq!(secret["last_ip"], "127.0.0.1", "{secret}");
    }
}
