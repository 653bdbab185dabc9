//! What is on disk: one process at a time, the right pepper or none, and nothing forgotten between starts.

use crate::support::{Dialect, World, assert_refusal, setup};
use anykey_testkit::{Request, Storage, TestGateway, TestSim, until};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

fn second_process_is_refused(storage: Storage) {
    let sim = TestSim::start();
    let Some(gateway) = setup().sim(&sim).start_on(storage) else { return };
    let key = gateway.key("journey");
    let exit = gateway.try_second();
    assert_eq!(exit.status.code(), Some(75), "{}", exit.log);
    assert!(exit.log.contains("another process is using"), "{}", exit.log);
    let reply = gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(&key.secret));
    assert_eq!(reply.status, 200, "the first goes on");
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    second_process_is_refused(Storage::Sqlite);
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_on_postgres() {
    second_process_is_refused(Storage::Postgres);
}

fn history_is_kept(storage: Storage) {
    let sim = TestSim::start();
    let Some(mut gateway) = setup().sim(&sim).start_on(storage) else { return };
    let key = gateway.key("journey");
    let call = |gateway: &TestGateway| gateway.call(&Dialect::Anthropic.chat().at("echo").bearer(&key.secret));
    let first = call(&gateway);
    let shown = |gateway: &TestGateway| {
        let mut key = gateway.get(&format!("/keys/{}", key.id));
        // When a key was last used is written coarsely and late.
        for field in ["last_used_at", "secrets", "updated_at"] {
            key.as_object_mut().unwrap().remove(field);
        }
        (key, gateway.get("/usage"), gateway.record(first.id()))
    };
    let before = shown(&gateway);
    for killed in [false, true] {
        if killed {
            gateway.kill();
            gateway.start();
        } else {
            gateway.restart();
        }
        assert_eq!(shown(&gateway), before, "killed: {killed}");
    }
    assert_eq!(call(&gateway).status, 200);
    assert_eq!(gateway.records_of(&key).len(), 2);
}

#[test]
fn a_restart_keeps_keys_and_history() {
    history_is_kept(Storage::Sqlite);
}

#[test]
fn a_restart_keeps_keys_and_history_on_postgres() {
    history_is_kept(Storage::Postgres);
}

#[test]
fn a_pepper_that_cannot_be_right_stops_the_start() {
    let mut world = World::start();
    let file = world.gateway.data_dir().join("pepper");
    let good = std::fs::read_to_string(&file).unwrap();
    assert_eq!(world.gateway.stop(), Some(0));
    let other = "5".repeat(63) + "6";
    let (wrong, placeholder) = (format!("{other}\n"), format!("{}\n", "0".repeat(64)));
    let cases: [(&str, Option<&str>, u32); 6] = [
        ("another pepper", Some(&wrong), 0o600),
        ("world-readable", Some(&good), 0o644),
        ("empty", Some(""), 0o600),
        ("a placeholder", Some(&placeholder), 0o600),
        ("noise", Some("changeme\n"), 0o600),
        ("missing", None, 0o600),
    ];
    for (what, content, mode) in cases {
        match content {
            Some(content) => {
                std::fs::write(&file, content).unwrap();
                std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            }
            None => std::fs::remove_file(&file).unwrap(),
        }
        let exit = world.gateway.try_start().expect_err(what);
        assert_eq!(exit.status.code(), Some(78), "{what}: {}", exit.log);
        assert!(
            !exit.log.contains(good.trim()) && !exit.log.contains(&other),
            "{what}: the value is told: {}",
            exit.log
        );
        assert!(exit.log.contains("pepper"), "{what}: {}", exit.log);
    }
    std::fs::write(&file, &good).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    world.gateway.start();
    assert_eq!(world.call(&Dialect::OpenAi.chat().at("echo")).status, 200);
}

#[test]
fn secrets_on_disk_are_for_their_owner_alone() {
    let world = World::start();
    for name in ["admin.key", "pepper", "kek", "anykey.db"] {
        let mode = std::fs::metadata(world.gateway.data_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    let folder = std::fs::metadata(world.gateway.data_dir()).unwrap().permissions().mode();
    assert_eq!(folder & 0o077, 0, "{folder:o}");
}

/// E3: 401 is said only when the database has said that there is no such key.
#[test]
fn while_the_database_is_away_nobody_is_called_a_stranger_on_postgres() {
    let sim = TestSim::start();
    let Some(mut gateway) = setup().sim(&sim).start_on(Storage::Postgres) else { return };
    let (known, unused) = (gateway.key("known"), gateway.key("unused"));
    // A start forgets which keys it had in memory.
    gateway.restart();
    let call = |secret: &str| gateway.call(&Dialect::Anthropic.chat().at("echo").bearer(secret));
    assert_eq!(call(&known.secret).status, 200);
    gateway.database().cut_off();
    let first = call(&known.secret);
    assert_eq!(first.status, 200, "a key in memory goes on working: {}", first.text());
    let mark = sim.requests();
    let unjudged = call(&unused.secret);
    assert_refusal(&unjudged, Dialect::Anthropic, 503, "auth_unavailable");
    assert!(unjudged.header("retry-after").is_some());
    // What is malformed is known to be no key without asking anybody.
    assert_refusal(&call("ak-live-x"), Dialect::Anthropic, 401, "invalid_api_key");
    assert_eq!(sim.requests(), mark);
    assert_eq!(gateway.call(&Request::get("/readyz")).status, 503);
    assert_eq!(gateway.call(&Request::get("/healthz")).status, 200);
    gateway.database().bring_back();
    until("the key can be judged again", || call(&unused.secret).status == 200);
    until("it is ready again", || gateway.call(&Request::get("/readyz")).status == 200);
    assert_eq!(gateway.record(first.id())["outcome"], "completed", "what was served meanwhile is recorded");
}

#[test]
fn a_strict_journal_waits_for_the_disk_and_loses_nothing() {
    let sim = TestSim::start();
    let mut gateway = setup().sim(&sim).setting("journal = \"strict\"").start();
    let key = gateway.key("journey");
    let plain = gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(&key.secret));
    let stream = Dialect::OpenAi.chat().with("echo", &serde_json::json!({"stream": true}));
    let streamed = gateway.call(&stream.bearer(&key.secret));
    assert_eq!((plain.status, streamed.status), (200, 200));
    assert!(streamed.text().ends_with("data: [DONE]\n\n"), "{}", streamed.text());
    gateway.kill();
    gateway.start();
    assert_eq!(gateway.records_of(&key).len(), 2);
}
