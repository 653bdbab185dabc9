//! `anykey run`: a program with a key of its own.

use crate::OK;
use crate::house::{Done, House, bare};
use anykey_testkit::{Canned, CannedUpstream, until};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Calls the gateway as the SDKs would find it, writes down with what, and ends with 7.
const PROGRAM: &str = r#"
import json, os, sys, urllib.request
def call():
    body = json.dumps({"model": "sim/echo", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).encode()
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, {
        "authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
names = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "ANYKEY_API_KEY", "ANTHROPIC_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL", "ANYKEY_ADMIN_KEY", "GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN"]
seen = {name: os.environ.get(name) for name in names}
seen["statuses"] = [call() for _ in range(int(sys.argv[1]))]
print(json.dumps(seen), flush=True)
if len(sys.argv) > 2:
    import signal
    def told(number, frame):
        print("told", number, flush=True)
        sys.exit(9)
    for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]:
        signal.signal(number, told)
    print("ready", os.getpid(), flush=True)
    while True:
        signal.pause()
sys.exit(7)
"#;

struct Scene {
    house: House,
    folder: TempDir,
    parent: String,
}

impl Scene {
    fn set() -> Scene {
        let house = House::open();
        let parent = house.run(&["key", "create", "parent"]).out.trim().to_owned();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("program.py"), PROGRAM).unwrap();
        Scene { house, folder, parent }
    }

    fn command(&self, flags: &[&str], arguments: &[&str]) -> Command {
        let program = self.folder.path().join("program.py");
        let program = program.to_str().unwrap();
        let words = [&["run"], flags, &["--", "python3", program], arguments].concat();
        let mut command = self.house.command(&words);
        command.env("ANYKEY_API_KEY", &self.parent).env("GOOGLE_API_KEY", "other");
        command
    }

    fn run(&self, flags: &[&str], arguments: &[&str]) -> Done {
        self.command(flags, arguments).output().unwrap().into()
    }

    /// Starts a program that waits to be told to end; gives what it saw.
    fn start(&self, flags: &[&str]) -> (Child, BufReader<std::process::ChildStdout>, Value, u32) {
        let mut child =
            self.command(flags, &["1", "wait"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let seen: Value = serde_json::from_str(&line).unwrap();
        line.clear();
        out.read_line(&mut line).unwrap();
        let pid = line.strip_prefix("ready ").unwrap().trim().parse().unwrap();
        (child, out, seen, pid)
    }
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

#[test]
fn a_program_gets_a_key_of_its_own_that_ends_with_it() {
    let scene = Scene::set();
    let ran = scene.run(&["--budget", "1", "--ttl", "5m"], &["2"]);
    assert_eq!(ran.code, 7, "the program's own exit code: {}", ran.err);
    let seen: Value = serde_json::from_str(&ran.out).unwrap();
    let secret = seen["OPENAI_API_KEY"].as_str().unwrap();
    assert!(secret.starts_with("ak-temp-") && secret != scene.parent);
    for name in ["ANTHROPIC_API_KEY", "GEMINI_API_KEY", "ANYKEY_API_KEY"] {
        assert_eq!(seen[name], secret, "{name}");
    }
    let url = scene.house.url();
    assert_eq!((&seen["ANTHROPIC_BASE_URL"], &seen["GOOGLE_GEMINI_BASE_URL"]), (&url.clone().into(), &url.into()));
    for name in ["GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANYKEY_ADMIN_KEY"] {
        assert!(seen[name].is_null(), "{name} would win over the others, or manage the installation");
    }
    assert_eq!(seen["statuses"], serde_json::json!([200, 200]));
    assert!(ran.err.starts_with("python3 cost $0.0000"), "{}", ran.err);
    assert_eq!(crate::ask(&scene.house, secret), crate::AUTH, "the key is dead");
    assert_eq!(crate::ask(&scene.house, &scene.parent), OK);
    let usage = scene.house.run(&["usage", "--key", "parent", "--json"]).json();
    assert_eq!(usage["data"][0]["requests"], 3, "its calls are its parent's: {usage}");
    assert_eq!(usage["totals"]["errors"], 1, "so is the one after its end: {usage}");
}

#[test]
fn a_budget_stops_the_program_and_not_its_parent() {
    let scene = Scene::set();
    let ran = scene.run(&["--budget", "0.000001"], &["1"]);
    let seen: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(seen["statuses"], serde_json::json!([402]));
    let few = scene.run(&["--max-requests", "2"], &["3"]);
    let seen: Value = serde_json::from_str(&few.out).unwrap();
    assert_eq!(seen["statuses"], serde_json::json!([200, 200, 402]));
    let other = scene.run(&["--model", "openai/*"], &["1"]);
    let seen: Value = serde_json::from_str(&other.out).unwrap();
    assert_eq!(seen["statuses"], serde_json::json!([403]));
    assert_eq!(crate::ask(&scene.house, &scene.parent), OK);
}

#[test]
fn signals_reach_the_program_and_the_key_ends_all_the_same() {
    let scene = Scene::set();
    for (name, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1), ("-QUIT", 3)] {
        let (mut child, mut out, seen, _) = scene.start(&[]);
        let secret = seen["OPENAI_API_KEY"].as_str().unwrap().to_owned();
        assert_eq!(crate::ask(&scene.house, &secret), OK);
        signal(child.id(), name);
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, format!("told {number}\n"));
        assert_eq!(child.wait().unwrap().code(), Some(9), "the program's own exit code");
        assert_eq!(crate::ask(&scene.house, &secret), crate::AUTH);
    }
    // What ends the program itself: the code is a shell's.
    let (mut child, _out, seen, program) = scene.start(&[]);
    signal(program, "-KILL");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
    assert_eq!(crate::ask(&scene.house, seen["OPENAI_API_KEY"].as_str().unwrap()), crate::AUTH);
}

#[test]
fn a_run_whose_parent_is_disabled_ends_without_a_warning() {
    let scene = Scene::set();
    let (mut child, _out, seen, program) = scene.start(&[]);
    assert_eq!(scene.house.run(&["key", "disable", "parent"]).code, OK);
    assert_eq!(crate::ask(&scene.house, seen["OPENAI_API_KEY"].as_str().unwrap()), crate::AUTH);
    signal(program, "-TERM");
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(9), ""));
}

#[test]
fn temporary_keys_are_minted_listed_and_shown() {
    let scene = Scene::set();
    let house = &scene.house;
    let flags = ["--budget", "2", "--ttl", "30m", "--max-requests", "1", "--max-concurrent", "1", "--ip", "127.0.0.1"];
    let minted = house.run(&[&["key", "temp", "parent", "--name", "agent", "--json"][..], &flags].concat()).json();
    assert_eq!((&minted["name"], &minted["kind"]), (&"agent".into(), &"temp".into()));
    assert_eq!(minted["controls"]["limits"]["concurrency"], 1, "{minted}");
    let parent = house.run(&["key", "show", "parent", "--json"]).json();
    assert_eq!((&minted["parent_id"], &minted["max_requests"]), (&parent["id"], &1.into()));
    house.run(&["key", "create", "other"]);
    house.run(&["key", "temp", "other"]);
    let listed = house.run(&["key", "list", "--parent", "parent", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let limits = house.run(&["key", "limits", "agent", "--json"]).json();
    assert_eq!(limits["allowed"], true, "{limits}");
    assert_eq!(crate::ask(house, minted["secret"].as_str().unwrap()), OK);
    assert_ne!(crate::ask(house, minted["secret"].as_str().unwrap()), OK, "it had one request");
    assert_eq!(house.run(&["key", "temp", "agent"]).code, crate::CONFLICT, "a temporary key mints no other");
}

#[test]
fn what_kills_this_process_leaves_a_key_whose_time_runs_out() {
    let scene = Scene::set();
    let (mut child, _out, seen, program) = scene.start(&["--ttl", "2h"]);
    signal(child.id(), "-KILL");
    child.wait().unwrap();
    let list = scene.house.run(&["key", "list", "--json"]).json();
    let left: Vec<&Value> = list.as_array().unwrap().iter().filter(|key| key["kind"] == "temp").collect();
    assert_eq!(left.len(), 1, "{list}");
    assert!(left[0]["expires_at"].is_string(), "{list}");
    // The program itself is still there and would go on; it is ended as one that lost its terminal would be.
    let secret = seen["OPENAI_API_KEY"].as_str().unwrap();
    signal(program, "-TERM");
    assert_eq!(crate::ask(&scene.house, secret), OK, "until its time runs out");
}

#[test]
fn a_program_that_cannot_be_started_leaves_no_key() {
    let scene = Scene::set();
    let mut command = scene.house.command(&["run", "--", "/no/such/program"]);
    let ran = Done::from(command.env("ANYKEY_API_KEY", &scene.parent).output().unwrap());
    assert_eq!(ran.code, crate::FAILED);
    assert!(ran.err.contains("could not be started"), "{}", ran.err);
    let list = scene.house.run(&["key", "list", "--json", "--status", "active"]).json();
    assert!(list.as_array().unwrap().iter().all(|key| key["kind"] != "temp"), "{list}");
}

#[test]
fn whoever_manages_the_installation_mints_from_any_key() {
    let scene = Scene::set();
    let none = scene.house.run(&["run", "--", "true"]);
    assert_eq!(none.code, crate::USAGE, "{}", none.err);
    let ran = scene.house.run(&[
        "run",
        "--from",
        "parent",
        "--",
        "python3",
        "-c",
        "import os; print(os.environ['OPENAI_API_KEY'])",
    ]);
    assert_eq!(ran.code, OK, "{}", ran.err);
    assert!(ran.out.starts_with("ak-temp-"));
    assert_eq!(crate::ask(&scene.house, ran.out.trim()), crate::AUTH);
}

/// Whatever comes before the program is started keeps it from being started, and no key stays.
#[test]
fn who_stops_it_before_the_program_starts_gets_no_program_and_leaves_no_key() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let server = CannedUpstream::start();
        server.answer(Canned::json(r#"{"secret":"ak-temp-x"}"#));
        let gate = server.gate();
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("started");
        let mut command = bare(&["run", "--", "touch", marker.to_str().unwrap()]);
        command.env("ANYKEY_URL", server.url()).env("ANYKEY_API_KEY", "ak-live-x").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        until("the key is asked for", || server.seen().len() == 1);
        signal(child.id(), name);
        gate.open();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        assert!(!marker.exists(), "the program was started all the same");
        let asked: Vec<String> =
            server.seen().iter().map(|seen| seen.head.lines().next().unwrap().to_owned()).collect();
        let ended = "POST /v1/key/temp/end HTTP/1.1";
        assert_eq!(asked, ["POST /v1/key/temp HTTP/1.1", "GET /v1/key HTTP/1.1", ended], "{name}");
    }
}

#[test]
fn a_key_that_could_not_be_ended_is_told_of_unless_it_has_ended() {
    for (status, code, told) in [
        (401, "key_expired", false),
        (401, "key_revoked", false),
        (401, "key_disabled", true),
        (401, "invalid_api_key", true),
        (403, "ip_not_allowed", true),
        (429, "rate_limited", true),
        (503, "auth_unavailable", true),
    ] {
        let server = CannedUpstream::start();
        server.answer(Canned::json(r#"{"secret":"ak-temp-x"}"#));
        let mut command = bare(&["run", "--", "sh", "-c", "echo started; read line; exit 7"]);
        command.env("ANYKEY_URL", server.url()).env("ANYKEY_API_KEY", "ak-live-x");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let body = format!(r#"{{"error":{{"message":"No.","type":"invalid_request_error","code":"{code}"}}}}"#);
        server.answer(Canned::whole(status, &[("content-type", "application/json")], body.as_bytes()));
        drop(child.stdin.take());
        let ran = Done::from(child.wait_with_output().unwrap());
        assert_eq!((line.as_str(), ran.code), ("started\n", 7), "{code}: {}", ran.err);
        assert_eq!(ran.err.contains("could not be ended"), told, "{code}: {}", ran.err);
    }
}
