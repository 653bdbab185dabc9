//! Journeys of the command line: the real binary against a real server of its own, as a person or a script would use it.

#![allow(clippy::unwrap_used, reason = "a journey that cannot go on has failed")]

mod house;
mod run;
mod scan;

use house::{Done, House, Sim};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

const OK: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const AUTH: i32 = 4;
const NOT_FOUND: i32 = 5;
const CONFLICT: i32 = 6;
const UNREACHABLE: i32 = 8;

/// Asks the practice provider with a key and gives the exit code.
fn ask(house: &House, secret: &str) -> i32 {
    house.command(&["ask", "hello"]).env("ANYKEY_API_KEY", secret).output().map(Done::from).unwrap().code
}

#[test]
fn a_key_is_made_and_used_without_any_setting_up() {
    let house = House::open();
    let made = house.run(&["key", "create", "laptop", "--json"]);
    assert_eq!(made.code, OK, "{}", made.err);
    let key = made.json();
    assert!(key["id"].as_str().unwrap().starts_with("key_"));
    let secret = key["secret"].as_str().unwrap();
    for dialect in ["openai", "anthropic", "gemini"] {
        let mut command = house.command(&["ask", "good morning", "--as", dialect]);
        let answer = Done::from(command.env("ANYKEY_API_KEY", secret).output().unwrap());
        assert_eq!((answer.code, answer.out.as_str()), (OK, "good morning\n"), "{dialect}: {}", answer.err);
    }
    let shown = house.run(&["key", "show", "laptop", "--json"]);
    assert!(!shown.out.contains(secret), "a secret is shown once");
    assert!(shown.json()["last_used_at"].is_string(), "{}", shown.out);
}

#[test]
fn each_call_is_in_the_list_once_and_in_the_sums() {
    let house = House::open();
    let secret = house.run(&["key", "create", "counted"]).out.trim().to_string();
    for _ in 0..3 {
        assert_eq!(ask(&house, &secret), OK);
    }
    let calls = house.run(&["request", "list", "--key", "counted", "--json"]).json();
    let ids: std::collections::BTreeSet<&str> =
        calls.as_array().unwrap().iter().map(|call| call["request_id"].as_str().unwrap()).collect();
    assert_eq!((calls.as_array().unwrap().len(), ids.len()), (3, 3), "{calls}");
    let one = house.run(&["request", "show", ids.first().unwrap(), "--json"]).json();
    assert_eq!(one[0]["model_asked"], "sim/echo");
    let usage = house.run(&["usage", "--by", "key,model", "--key", "counted", "--json"]).json();
    assert_eq!(usage["totals"]["requests"], 3, "{usage}");
    let csv = house.run(&["usage", "--by", "key", "--csv"]);
    assert!(csv.out.lines().any(|line| line.contains(",counted,3,")), "{}", csv.out);
}

#[test]
fn rotation_keeps_both_secrets_and_regeneration_only_the_new_one() {
    let house = House::open();
    let first = house.run(&["key", "create", "ci"]).out.trim().to_string();
    let second = house.run(&["key", "rotate", "ci"]).out.trim().to_string();
    assert_ne!(first, second);
    assert_eq!((ask(&house, &first), ask(&house, &second), ask(&house, &first)), (OK, OK, OK));
    let secrets = house.run(&["key", "show", "ci", "--json"]).json()["secrets"].clone();
    let used = |secret: &serde_json::Value| secret["last_used_at"].is_string();
    assert_eq!(secrets.as_array().unwrap().iter().filter(|secret| used(secret)).count(), 2, "{secrets}");

    let third = house.run(&["key", "regenerate", "ci"]).out.trim().to_string();
    assert_eq!((ask(&house, &first), ask(&house, &second), ask(&house, &third)), (AUTH, AUTH, OK));
    let leaked = house.run(&["key", "rotate", "ci", "--leaked"]).out.trim().to_string();
    assert_eq!((ask(&house, &third), ask(&house, &leaked)), (AUTH, OK));
}

#[test]
fn a_key_is_disabled_enabled_and_deleted() {
    let house = House::open();
    let secret = house.run(&["key", "create", "temp"]).out.trim().to_string();
    let whois = house.run_with_input(&["key", "whois", "--json"], &secret).json();
    assert_eq!(whois["name"], "temp");
    assert_eq!(house.run(&["key", "disable", "temp"]).code, OK);
    assert_eq!(ask(&house, &secret), AUTH);
    assert_eq!(house.run(&["key", "enable", whois["masked"].as_str().unwrap()]).code, OK);
    assert_eq!(ask(&house, &secret), OK);
    assert_eq!(house.run(&["key", "delete", "temp"]).code, USAGE, "nobody is there to say yes");
    assert_eq!(house.run(&["key", "delete", "temp", "--yes"]).code, OK);
    assert_eq!(ask(&house, &secret), AUTH);
    assert_eq!(house.run(&["key", "show", "temp"]).code, NOT_FOUND);
    let calls = house.run(&["request", "list", "--json"]).json();
    assert!(calls.as_array().unwrap().iter().any(|call| call["key_name"] == "temp"), "its history keeps its name");
}

#[test]
fn an_edit_of_a_key_keeps_what_it_does_not_name() {
    let house = House::open();
    house.run(&["key", "create", "a", "--tag", "team=search", "--tag", "tier=1", "--owner", "kai", "--expires", "90d"]);
    let done =
        house.run(&["key", "edit", "a", "--name", "b", "--tag", "tier=2", "--untag", "team", "--expires", "never"]);
    assert_eq!(done.code, OK, "{}", done.err);
    let key = house.run(&["key", "show", "b", "--json"]).json();
    assert_eq!(key["tags"], serde_json::json!({"tier": "2"}));
    assert_eq!((&key["owner"], &key["expires_at"]), (&"kai".into(), &serde_json::Value::Null));
}

#[test]
fn a_provider_is_tested_added_called_and_removed() {
    let house = House::open();
    let upstream = Sim::start("sk-upstream");
    let base = format!("http://{}/v1", upstream.address);
    let add = |key: &str, extra: &[&str]| {
        let mut args = vec!["provider", "add", "openai", "--name", "up", "--base-url", &base, "--key-env", "UPSTREAM"];
        args.extend(extra);
        Done::from(house.command(&args).env("UPSTREAM", key).output().unwrap())
    };
    let private = add("sk-upstream", &[]);
    assert_eq!(private.code, FAILED, "loopback needs to be allowed: {}", private.err);
    let wrong = add("sk-wrong", &["--allow-private-network"]);
    assert_eq!(wrong.code, FAILED);
    assert!(wrong.err.contains("--force") && !wrong.err.contains("sk-wrong"), "{}", wrong.err);
    assert_eq!(house.run(&["provider", "show", "up"]).code, NOT_FOUND);

    let added = add("sk-upstream", &["--allow-private-network"]);
    assert_eq!(added.code, OK, "{}", added.err);
    assert_eq!(house.run(&["provider", "test", "up"]).code, OK);
    let shown = house.run(&["provider", "show", "up", "--json"]);
    assert!(!shown.out.contains("sk-upstream"), "{}", shown.out);
    assert!(
        house
            .run(&["model", "list", "--provider", "up", "--all"])
            .out
            .lines()
            .any(|line| line.starts_with("up/echo\t"))
    );
    assert_eq!(house.run(&["alias", "add", "house-model", "up/echo"]).code, OK);
    let answer = house.run(&["ask", "through", "-m", "house-model"]);
    assert_eq!((answer.code, answer.out.as_str()), (OK, "through\n"), "{}", answer.err);
    let last = house.run(&["request", "list", "--provider", "up", "--limit", "1", "--json"]).json();
    assert_eq!((&last[0]["model_asked"], &last[0]["model_sent"]), (&"house-model".into(), &"echo".into()), "{last}");

    assert_eq!(house.run(&["alias", "remove", "house-model"]).code, OK);
    assert_eq!(house.run(&["provider", "remove", "up", "--yes"]).code, OK);
    assert_eq!(house.run(&["ask", "gone", "-m", "up/echo"]).code, NOT_FOUND);
}

#[test]
fn tail_shows_a_call_as_it_ends() {
    let house = House::open();
    let secret = house.run(&["key", "create", "watched"]).out.trim().to_string();
    let mut tail =
        house.command(&["request", "tail", "--key", "watched", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let (sender, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(lines.next()));
    // A call may end before the tail has begun, so calls go on until one was seen.
    let line = loop {
        assert_eq!(ask(&house, &secret), OK);
        if let Ok(line) = received.try_recv() {
            break line.unwrap().unwrap();
        }
    };
    tail.kill().unwrap();
    tail.wait().unwrap();
    let call: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&call["key_name"], &call["status"]), (&"watched".into(), &200.into()), "{call}");
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let house = House::open();
    let mut list = house.command(&["key", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(list.stdout.take());
    let done = Done::from(list.wait_with_output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (OK, ""));
}

#[test]
fn credentials_of_the_wrong_kind_end_in_auth() {
    let house = House::open();
    let caller = house.run(&["key", "create", "caller"]).out.trim().to_string();
    let admin = house.run(&["key", "create", "ops", "--kind", "admin"]).out.trim().to_string();
    let url = house.url();
    let list = |key: &str| {
        let mut command = house::bare(&["key", "list", "--json"]);
        Done::from(command.env("ANYKEY_URL", &url).env("ANYKEY_ADMIN_KEY", key).output().unwrap())
    };
    assert_eq!(list(&admin).code, OK);
    for wrong in [caller.as_str(), "ak-admin-nonsense"] {
        let done = list(wrong);
        assert_eq!((done.code, done.out.as_str()), (AUTH, ""), "{}", done.err);
        assert!(!done.err.contains(wrong), "{}", done.err);
    }
    let none = Done::from(house::bare(&["key", "list"]).env("ANYKEY_URL", &url).output().unwrap());
    assert_eq!(none.code, AUTH);
}

#[test]
fn a_server_that_is_gone_is_unreachable_whether_it_said_goodbye_or_not() {
    let mut house = House::open();
    house.terminate();
    assert_eq!(house.run(&["status"]).code, UNREACHABLE);
    let mut house = House::open();
    house.kill();
    let done = house.run(&["status", "--json"]);
    assert_eq!((done.code, done.out.as_str()), (UNREACHABLE, ""));
    assert!(done.err.contains("try:   anykey serve"), "{}", done.err);
}

#[test]
fn the_prices_in_force_are_shown() {
    let house = House::open();
    let list = house.run(&["price", "show", "--json"]).json();
    assert!(list["models"].as_u64().unwrap() > 1000, "{list}");
    let model = house.run(&["price", "show", "openai/gpt-4o-mini"]);
    assert!(model.out.contains("input_usd\t0.00000015\n"), "{}", model.out);
    let flawed = house.run_with_input(&["price", "update", "-"], "{\"models\": 7}");
    assert_eq!(flawed.code, FAILED);
    assert_eq!(house.run(&["price", "show", "--json"]).json(), list, "a flawed list changes nothing");
}
