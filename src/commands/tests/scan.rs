//! `anykey scan`: what it finds, how it tells, how it ends.

use super::*;
use anykey_core::{KeyKind, Token};
use std::fs;
use std::path::Path;
use std::process::Command;

fn key() -> String {
    Token::mint("ak", KeyKind::Live).unwrap().expose().to_owned()
}

fn masked(key: &str) -> String {
    format!("{}…", &key[..16])
}

fn git(repository: &Path, args: &[&str]) {
    let done = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn commit(repository: &Path, file: &str, text: &str, message: &str) {
    fs::write(repository.join(file), text).unwrap();
    git(repository, &["add", "--all"]);
    git(repository, &["commit", "-q", "-m", message]);
}

async fn scan(args: &[&str]) -> Ran {
    Bench::offline().run(&[&["scan"], args].concat()).await
}

#[tokio::test]
async fn a_folder_is_looked_through_and_nothing_secret_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (a, b) = (key(), key());
    fs::create_dir_all(at("src/deep")).unwrap();
    fs::create_dir_all(at(".git/objects")).unwrap();
    fs::write(at(".env"), format!("X=1\nKEY={a}\n")).unwrap();
    fs::write(at(".gitignore"), ".env\n").unwrap();
    fs::write(at("src/deep/b.py"), format!("\"{b}\"")).unwrap();
    fs::write(at("logo.bin"), format!("\0{a}")).unwrap();
    fs::write(at(".git/config"), format!("url = https://u:{b}@h\n")).unwrap();
    fs::write(at(".git/objects/loose"), &a).unwrap();
    fs::write(at("clean"), "ak-live-nothing").unwrap();
    let root = dir.path().to_str().unwrap();
    let ran = scan(&[root]).await;
    assert_eq!(ran.exit, Exit::Failed);
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split('\t').collect()).collect();
    let expected = [
        vec![masked(&a), format!("{root}/.env:2:5"), String::new()],
        vec![masked(&b), format!("{root}/.git/config:1:17"), String::new()],
        vec![masked(&b), format!("{root}/src/deep/b.py:1:2"), String::new()],
    ];
    assert_eq!(
        lines,
        expected.map(|row| row).iter().map(|r| r.iter().map(String::as_str).collect()).collect::<Vec<Vec<_>>>()
    );
    assert!(ran.err.starts_with("2 keys of the brand ak in 3 places."), "{}", ran.err);
    assert!(ran.err.contains("passed over 1 binary"), "{}", ran.err);
    for secret in [&a, &b] {
        assert!(!ran.out.contains(secret.as_str()) && !ran.err.contains(&secret[20..]));
    }
    // The same on one thread as on many.
    assert_eq!(scan(&[root, "--threads", "1"]).await.out, ran.out);
    assert_eq!(scan(&[root, "--threads", "16"]).await.out, ran.out);
    assert_eq!(scan(&[root, "--binary"]).await.out.lines().count(), 4);
    assert_eq!(scan(&[root, "--ignore", &a[8..16], "--ignore", &b[8..16]]).await.exit, Exit::Ok);
    assert_eq!(scan(&[root, "--max-size", "10"]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn links_are_not_followed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), key()).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("folder")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("file")).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
    let ran = scan(&[dir.path().to_str().unwrap()]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""), "{}", ran.err);
    assert!(ran.err.starts_with("No keys of the brand ak in 0 files"), "{}", ran.err);
    let named = scan(&[dir.path().join("folder").to_str().unwrap()]).await;
    assert_eq!(named.exit, Exit::Failed, "what is named is meant");
    assert_eq!(scan(&["/nowhere/at/all"]).await.exit, Exit::Failed);
}

#[tokio::test]
async fn input_is_looked_through_whatever_it_is() {
    let key = key();
    let ran = Bench::offline().input(&format!("\0\0\nlog: {key}\n")).run(&["scan", "-", "--json"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let id = &key[8..16];
    assert_eq!(
        found,
        json!([{"key": masked(&key), "brand": "ak", "kind": "live", "public_id": id, "path": "-", "line": 2, "column": 6,
            "commit": null}])
    );
    let clean = Bench::offline().input("nothing").run(&["scan", "-", "--json"]).await;
    assert_eq!((clean.exit, clean.out.as_str()), (Exit::Ok, "[]\n"));
    assert_eq!(scan(&["-", "."]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn other_brands_are_found_when_asked_for() {
    let sk = Token::mint("sk", KeyKind::Plan).unwrap().expose().to_owned();
    let run = |args: &'static [&'static str]| {
        let bench = Bench::offline().input(&sk);
        async move { bench.run(&[&["scan", "-"], args].concat()).await.exit }
    };
    assert_eq!(run(&[]).await, Exit::Ok);
    assert_eq!(run(&["--brand", "sk"]).await, Exit::Failed);
    assert_eq!(run(&["--brand", "ak", "--brand", "sk"]).await, Exit::Failed);
    assert_eq!(run(&["--any-brand"]).await, Exit::Failed);
    let env = Bench::offline().env("ANYKEY_BRAND", "sk").input(&sk).run(&["scan", "-"]).await;
    assert_eq!(env.exit, Exit::Failed);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("server.json"), r#"{"url":"http://127.0.0.1:9","pid":1,"brand":"sk"}"#).unwrap();
    let folder = Bench::offline().env("ANYKEY_DATA_DIR", dir.path().to_str().unwrap()).input(&sk);
    assert_eq!(folder.run(&["scan", "-"]).await.exit, Exit::Failed);
}

/// On a branch, in a merge, in a message, in a tag, deleted long ago: each once, with the commit that brought it.
#[tokio::test]
async fn all_of_a_history_is_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let keys: Vec<String> = (0..6).map(|_| key()).collect();
    git(root, &["init", "-q", "-b", "main"]);
    commit(root, "a b.txt", &format!("\n{}\n", keys[0]), "first");
    commit(root, "a b.txt", &format!("\n{}\nmore\n", keys[0]), "the same key again");
    git(root, &["rm", "-q", "a b.txt"]);
    git(root, &["commit", "-q", "-m", &format!("gone, but {} is here", keys[1])]);
    git(root, &["checkout", "-q", "-b", "side"]);
    commit(root, "side.txt", &keys[2], "on a branch");
    git(root, &["checkout", "-q", "main"]);
    commit(root, "main.txt", "x", "main goes on");
    git(root, &["merge", "-q", "--no-commit", "side"]);
    commit(root, "evil.txt", &keys[3], "only in the merge");
    git(root, &["tag", "-a", "v1", "-m", &keys[4]]);
    commit(root, "big.bin", &format!("\0{}", keys[5]), "binary");
    let repository = root.to_str().unwrap();
    let ran = scan(&["--git", repository, "--json"]).await;
    assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
    let found: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    let place = |n: usize| {
        let of: Vec<_> = found.iter().filter(|f| f["key"] == masked(&keys[n])).collect();
        assert_eq!(of.len(), 1, "key {n}: {found:?}");
        (of[0]["path"].as_str().unwrap().to_owned(), of[0]["line"].as_u64().unwrap(), of[0]["commit"].clone())
    };
    let first = Command::new("git").arg("-C").arg(root).args(["rev-list", "--max-parents=0", "HEAD"]).output().unwrap();
    let first = String::from_utf8(first.stdout).unwrap();
    assert_eq!(place(0), ("a b.txt".into(), 2, json!(first.trim())));
    assert_eq!(place(1).0, "(commit message)");
    assert_eq!(place(2).0, "side.txt");
    assert_eq!(place(3).0, "evil.txt");
    assert_eq!(place(4), ("refs/tags/v1".into(), 6, json!(null)));
    assert_eq!(found.len(), 5, "without the binary file");
    assert_eq!(scan(&["--git", repository, "--binary"]).await.out.lines().count(), 6);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_is_not_called_clean() {
    let dir = tempfile::tempdir().unwrap();
    let ran = scan(&["--git", dir.path().to_str().unwrap()]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.starts_with("error: git: not a git repository"), "{}", ran.err);
    git(dir.path(), &["init", "-q", "-b", "main"]);
    let empty = scan(&["--git", dir.path().to_str().unwrap()]).await;
    assert_eq!(empty.exit, Exit::Ok, "{}", empty.err);
}

#[tokio::test]
async fn sarif_names_the_place_and_not_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    fs::write(dir.path().join("a b.txt"), format!("\n{key}")).unwrap();
    let ran = scan(&[dir.path().to_str().unwrap(), "--sarif"]).await;
    let sarif: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    let place = &result["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("/a%20b.txt"), "{place}");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&json!(2), &json!(1)));
    assert!(!ran.out.contains(&key[20..]));
}

#[tokio::test]
async fn the_server_is_asked_about_each_key_once() {
    let verdicts = format!(
        r#"{{"data":[{{"state":"active","id":"{KEY_ID}","name":"ci","owner":"kai"}},{{"state":"unknown","id":null,"name":null,"owner":null}}]}}"#
    );
    let rotated = with_secret(KEY);
    let rotate = format!("POST /admin/v1/keys/{KEY_ID}/rotate");
    let fake = Fake::start(&[("POST /admin/v1/keys/exposed", 200, &verdicts), (&rotate, 200, &rotated)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (key(), key());
    fs::write(dir.path().join("1"), format!("{a} {a}")).unwrap();
    fs::write(dir.path().join("2"), &b).unwrap();
    let root = dir.path().to_str().unwrap();
    let ran = Bench::with(&fake).run(&["scan", root, "--disable"]).await;
    assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
    let states: Vec<&str> = ran.out.lines().map(|line| line.split('\t').nth(1).unwrap()).collect();
    assert_eq!(states, ["active", "active", "unknown"]);
    let asked = fake.seen()[0].json();
    assert_eq!(asked["action"], "disable");
    assert_eq!(
        asked["found"],
        json!([{"key": a, "place": format!("{root}/1:1:1")}, {"key": b, "place": format!("{root}/2:1:1")}])
    );

    let secrets = dir.path().join("new");
    let ran = Bench::with(&fake).run(&["scan", root, "--rotate", secrets.to_str().unwrap()]).await;
    assert_eq!(ran.out.lines().filter(|line| line.contains("\trotated\t")).count(), 2, "{}{}", ran.out, ran.err);
    assert_eq!(fake.lines().iter().filter(|line| **line == rotate).count(), 1, "one key, one rotation");
    assert_eq!(fake.seen().last().unwrap().json(), json!({"leaked": true}));
    assert_eq!(fs::read_to_string(&secrets).unwrap(), format!("{KEY_ID}\tci\tak-live-AbCd1234SECRET\n"));
    assert!(!ran.out.contains("SECRET") && !ran.err.contains("SECRET"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Bench::with(&fake).run(&["scan", root, "--rotate", secrets.to_str().unwrap()]).await;
    assert!(again.err.contains("nothing was rotated"), "{}", again.err);
}
