//! Keys that leaked: found in a repository, refused in a commit, told to the server by a scanner.

use crate::house::{Done, House, bare};
use crate::{FAILED, OK};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

fn in_folder(folder: &Path, mut command: Command) -> Done {
    let program = Path::new(env!("CARGO_BIN_EXE_anykey")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    command.current_dir(folder).env("PATH", path).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap().into()
}

fn git(folder: &Path, args: &[&str]) -> Done {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(args);
    in_folder(folder, command)
}

#[test]
fn a_commit_that_holds_a_key_is_refused() {
    let house = House::open();
    let secret = house.run(&["key", "create", "leaky"]).out.trim().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path();
    assert_eq!(git(repository, &["init", "-q"]).code, OK);
    let install = || in_folder(repository, bare(&["scan", "--install-hook"]));
    let installed = install();
    assert_eq!(installed.code, OK, "{}", installed.err);
    assert!(install().err.contains("there already"));

    fs::write(repository.join("fine"), "nothing here").unwrap();
    git(repository, &["add", "fine"]);
    let fine = git(repository, &["commit", "-qm", "fine"]);
    assert_eq!(fine.code, OK, "{}", fine.err);

    fs::create_dir(repository.join("deep")).unwrap();
    fs::write(repository.join("deep/.env"), format!("A=1\nKEY={secret}\n")).unwrap();
    git(repository, &["add", "--all"]);
    // What counts is what would be committed, not what lies in the folder.
    fs::write(repository.join("deep/.env"), "clean again").unwrap();
    let refused = git(&repository.join("deep"), &["commit", "-qm", "leak"]);
    assert_ne!(refused.code, OK);
    let said = format!("{}{}", refused.out, refused.err);
    assert!(said.contains("deep/.env:2:5"), "{said}");
    assert!(!said.contains(&secret));
    git(repository, &["add", "--all"]);
    let fixed = git(repository, &["commit", "-qm", "fixed"]);
    assert_eq!(fixed.code, OK, "{}", fixed.err);
    assert_eq!(in_folder(repository, bare(&["scan", "--git"])).code, OK, "the key is in no commit");

    let hook = repository.join(".git/hooks/pre-commit");
    fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let other = install();
    assert_ne!(other.code, OK);
    assert!(other.err.contains("scan --staged || exit 1"), "{}", other.err);
    assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\nexit 0\n", "another's hook stays");
}

#[test]
fn a_found_key_is_disabled_on_request() {
    let house = House::open();
    let secret = house.run(&["key", "create", "leaky"]).out.trim().to_owned();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.md"), format!("use {secret}")).unwrap();
    let path = dir.path().to_str().unwrap();
    let asked = house.run(&["scan", path, "--report", "--json"]);
    assert_eq!(asked.code, FAILED);
    let found: serde_json::Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!((&found[0]["server"]["state"], &found[0]["server"]["name"]), (&"active".into(), &"leaky".into()));
    assert_eq!(crate::ask(&house, &secret), OK);
    assert_eq!(house.run(&["scan", path, "--disable"]).code, FAILED);
    assert_eq!(crate::ask(&house, &secret), crate::AUTH);
    let shown = house.run(&["key", "show", "leaky", "--json"]).json();
    assert!(shown["exposed_at"].is_string(), "{shown}");
    let id = shown["id"].as_str().unwrap();
    let seen = house.run(&["api", "GET", &format!("/keys/{id}/exposures")]);
    assert!(seen.out.contains("notes.md:1:5"), "{}{}", seen.out, seen.err);
}

fn hmac(secret: &str, text: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret, "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this journey signs with the program openssl");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

/// Through the real listener, with no key: the whole body is read, and the signature decides.
#[test]
fn a_scanner_that_signs_is_heard() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let house = House::with_settings(&format!("[secret_scanning]\nsecret = \"{SECRET}\"\n"));
    let secret = house.run(&["key", "create", "leaky"]).out.trim().to_owned();
    let body = serde_json::json!({"source": "ci", "found": [{"token": secret, "place": "build.log:7"}]}).to_string();
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let send = |signature: &str| {
        let address = house.url().replace("http://", "");
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /admin/v1/secret-scanning/report HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\nanykey-timestamp: {time}\r\nanykey-signature: v1={signature}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let forged = send(&hmac("not the secret", &format!("{time}.{body}")));
    assert!(forged.starts_with("HTTP/1.1 400 "), "{forged}");
    assert_eq!(crate::ask(&house, &secret), OK);
    let heard = send(&hmac(SECRET, &format!("{time}.{body}")));
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("true_positive"), "{heard}");
    assert!(!heard.contains("leaky"), "whose key it is is not for the scanner");
    assert_eq!(crate::ask(&house, &secret), crate::AUTH);
}

/// The rules that other tools get, as those tools read them: keys of every kind match, and what is nearly one does not.
#[test]
fn the_rules_for_other_tools_match_keys() {
    use anykey_core::{KeyKind, Token};
    let read = |name: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/scan").join(name)).unwrap()
    };
    let gitleaks: toml::Table = read("gitleaks.toml").parse().unwrap();
    let rule = &gitleaks["rules"][0];
    let keywords: Vec<&str> = rule["keywords"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
    let trufflehog = read("trufflehog.yaml");
    let lines: Vec<&str> = trufflehog.lines().map(str::trim).collect();
    let pattern = lines.iter().find_map(|l| l.strip_prefix("key: '")?.strip_suffix('\'')).unwrap();
    let listed: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("- ak-").map(|_| &line[2..])).collect();
    assert_eq!(listed, keywords);
    // What trufflehog takes: a list of detectors, each with a name, keywords none of which is empty, and named patterns; a
    // field that it does not know is an error there. With one pattern it tells each match once.
    let shape: Vec<&str> = trufflehog
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty() && !line.starts_with("      "))
        .collect();
    assert_eq!(shape, ["detectors:", "  - name: anykey", "    keywords:", "    regex:"]);
    let entries = trufflehog.lines().filter(|line| line.starts_with("      ")).count();
    assert_eq!(entries, keywords.len() + 1, "the keywords, and one pattern");
    for pattern in [rule["regex"].as_str().unwrap(), pattern] {
        let pattern = regex::Regex::new(pattern).unwrap();
        for kind in KeyKind::ALL {
            let key = Token::mint("ak", kind).unwrap();
            let text = format!("x={};", key.expose());
            assert_eq!(pattern.find(&text).map(|m| m.as_str()), Some(key.expose()), "{kind:?}");
            assert!(keywords.iter().any(|word| text.contains(word)), "{kind:?}");
        }
        assert!(
            !pattern.is_match("ak-live-AbCd1234…")
                && !pattern.is_match("ak-dead-")
                && !pattern.is_match("task-live-update")
        );
    }
}
