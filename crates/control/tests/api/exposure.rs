//! Reports of exposed keys. Signatures are made by openssl, the key list comes from a server of the test's own.

use crate::harness::{Answer, Api};
use anykey_control::{ExposedAnd, Exposure};
use anykey_core::{KeyKind, Token};
use anykey_net::guard::Destination;
use anykey_store::{NewKey, Rotation};
use axum::http::Method;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const GITHUB: &str = "/secret-scanning/github";
const SIGNED: &str = "/secret-scanning/report";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests sign with the program openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}");
    output.stdout
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

fn sha256(token: &str) -> String {
    text(openssl(&["dgst", "-sha256", "-r"], token.as_bytes()))[..64].to_owned()
}

/// Somebody who signs, as GitHub does.
struct Signer(tempfile::TempDir);

impl Signer {
    fn new(curve: &str) -> Signer {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pem");
        openssl(&["ecparam", "-name", curve, "-genkey", "-noout", "-out", file.to_str().unwrap()], b"");
        Signer(dir)
    }

    fn file(&self) -> std::path::PathBuf {
        Path::new(self.0.path()).join("key.pem")
    }

    fn public(&self) -> String {
        text(openssl(&["ec", "-in", self.file().to_str().unwrap(), "-pubout"], b"")) + "\n"
    }

    fn sign(&self, body: &str) -> String {
        let raw = openssl(&["dgst", "-sha256", "-sign", self.file().to_str().unwrap()], body.as_bytes());
        text(openssl(&["base64", "-A"], &raw))
    }
}

/// Serves a key list, and counts how often.
struct KeyList {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl KeyList {
    fn serve(status: &'static str, list: Value) -> KeyList {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (body, count) = (list.to_string(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                assert!(head.starts_with(b"GET /meta/public_keys/secret_scanning HTTP/1.1\r\n"));
                count.fetch_add(1, Ordering::SeqCst);
                let length = body.len();
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            }
        });
        KeyList { address, asked }
    }

    fn settings(&self) -> Exposure {
        let url = format!("http://{}/meta/public_keys/secret_scanning", self.address);
        Exposure { github_keys: Some(Destination::parse(&url, true).unwrap()), ..Exposure::default() }
    }
}

fn entry(name: &str, key: &str, current: bool) -> Value {
    json!({"key_identifier": name, "key": key, "is_current": current})
}

async fn github(api: &Api, signer: &Signer, name: &str, body: &str) -> Answer {
    api.stranger(Method::POST, GITHUB)
        .header("github-public-key-identifier", name)
        .header("github-public-key-signature", &signer.sign(body))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
}

fn matches(tokens: &[&str]) -> String {
    let found = tokens.iter().map(|token| {
        json!({"token": token, "type": "anykey_api_key", "url": "https://github.com/o/r/blob/c/.env", "source": "content"})
    });
    Value::Array(found.collect()).to_string()
}

async fn make(api: &Api, name: &str) -> (anykey_store::KeyRow, Token) {
    let mut new = NewKey::new(KeyKind::Live, name);
    new.owner = Some("kai".into());
    api.store.create_key(new).await.unwrap()
}

/// GitHub with one current key, and the api that believes it.
async fn believed(and: ExposedAnd) -> (Api, Signer, KeyList) {
    let signer = Signer::new("prime256v1");
    let list = KeyList::serve("200 OK", json!({"public_keys": [entry("now", &signer.public(), true)]}));
    let api = Api::taking(Exposure { and, ..list.settings() }).await;
    (api, signer, list)
}

#[tokio::test]
async fn a_key_that_github_found_is_disabled_and_its_owner_can_read_why() {
    let (api, signer, _list) = believed(ExposedAnd::Disable).await;
    let (key, token) = make(&api, "ci").await;
    let other = Token::mint("ak", KeyKind::Live).unwrap();
    let body = matches(&[token.expose(), other.expose(), "noise"]);
    let answer = github(&api, &signer, "now", &body).await.is(200);
    assert_eq!(
        answer,
        json!([
            {"token_hash": sha256(token.expose()), "token_type": "anykey_api_key", "label": "true_positive"},
            {"token_hash": sha256(other.expose()), "token_type": "anykey_api_key", "label": "false_positive"},
            {"token_hash": sha256("noise"), "token_type": "anykey_api_key", "label": "false_positive"},
        ])
    );
    assert!(!api.works(token.expose()).await);
    let log = api.get("/audit").await.is(200);
    let entry = log["data"].as_array().unwrap().iter().find(|entry| entry["verb"] == "key.expose").unwrap();
    assert_eq!((&entry["actor"]["name"], &entry["ip"]), (&json!("scanner github"), &json!("203.0.113.9")));
    assert_eq!((&entry["after"]["disabled"], &entry["object"]["id"]), (&json!(true), &json!(key.id.to_string())));
    let shown = api.get(&format!("/keys/{}", key.id)).await.is(200);
    assert_eq!(shown["status"], "disabled");
    assert!(shown["exposed_at"].is_string(), "{shown}");
    let seen = api.get(&format!("/keys/{}/exposures", key.id)).await.is(200)["data"][0].clone();
    assert_eq!(
        (seen["source"].as_str(), seen["place"].as_str()),
        (Some("github"), Some("https://github.com/o/r/blob/c/.env"))
    );
    assert!(token.expose().contains(seen["public_id"].as_str().unwrap()));
}

#[tokio::test]
async fn a_key_is_only_marked_where_the_settings_say_so() {
    let (api, signer, _list) = believed(ExposedAnd::Flag).await;
    let (key, token) = make(&api, "ci").await;
    github(&api, &signer, "now", &matches(&[token.expose()])).await.is(200);
    assert!(api.works(token.expose()).await);
    assert!(api.store.key(key.id).await.unwrap().exposed_at.is_some());
}

/// Each with everything else right, so that only what the line says can be the cause.
#[tokio::test]
async fn what_github_did_not_sign_changes_nothing() {
    let (now, old, stranger) = (Signer::new("prime256v1"), Signer::new("prime256v1"), Signer::new("prime256v1"));
    let wide = Signer::new("secp384r1");
    let list = json!({"public_keys": [
        entry("now", &now.public(), true), entry("old", &old.public(), false), entry("wide", &wide.public(), true),
        entry("junk", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", true),
    ]});
    let list = KeyList::serve("200 OK", list);
    let api = Api::taking(list.settings()).await;
    let (_, token) = make(&api, "ci").await;
    let body = matches(&[token.expose()]);
    for (why, signer, name) in [
        ("another's signature", &stranger, "now"),
        ("a key that is not current", &old, "old"),
        ("a key that is not in the list", &now, "unknown"),
        ("a key of another curve", &wide, "wide"),
        ("a key that is none", &now, "junk"),
    ] {
        let answer = github(&api, signer, name, &body).await;
        answer.refused(400, "invalid_parameter");
        assert!(answer.text().contains("signature does not belong"), "{why}: {}", answer.text());
    }
    let send = |body: String, headers: Vec<(&'static str, String)>| {
        let call = api.stranger(Method::POST, GITHUB).body(body);
        headers.into_iter().fold(call, |call, (name, value)| call.header(name, &value)).send()
    };
    let (key, signature) = ("github-public-key-identifier", "github-public-key-signature");
    let good = now.sign(&body);
    for headers in [
        vec![],
        vec![(key, "now".to_owned())],
        vec![(signature, good.clone())],
        vec![(key, "now".into()), (signature, "???".into())],
        vec![(key, "now".into()), (signature, String::new())],
        vec![(key, "now".into()), (signature, good.clone()), (signature, good.clone())],
    ] {
        send(body.clone(), headers).await.refused(400, "invalid_parameter");
    }
    send(body.replace("content", "context"), vec![(key, "now".into()), (signature, good)])
        .await
        .refused(400, "invalid_parameter");
    assert!(api.works(token.expose()).await);
    assert_eq!(list.asked.load(Ordering::SeqCst), 1, "names that do not exist do not make us ask again and again");
}

#[tokio::test]
async fn a_report_counts_once() {
    let (api, signer, _list) = believed(ExposedAnd::Disable).await;
    let (key, token) = make(&api, "ci").await;
    let body = matches(&[token.expose()]);
    github(&api, &signer, "now", &body).await.is(200);
    api.store.enable_key(key.id, None).await.unwrap();
    // Signed anew, so the signature is another: ECDSA has one of them for each throw of the dice.
    github(&api, &signer, "now", &body).await.refused(400, "invalid_parameter");
    assert!(api.works(token.expose()).await, "who enabled it knows of the report");
}

#[tokio::test]
async fn a_report_that_is_too_long_or_no_report_ends_nothing() {
    let (api, signer, _list) = believed(ExposedAnd::Disable).await;
    let (_, token) = make(&api, "ci").await;
    for body in [matches(&vec![token.expose(); 10_000]), "[]".into()] {
        github(&api, &signer, "now", &body).await.refused(400, "invalid_parameter");
    }
    for body in ["", "{}", "[{\"token\":1,\"type\":\"t\"}]", "[{\"type\":\"t\"}]", "nonsense"] {
        github(&api, &signer, "now", body).await.refused(400, "invalid_json");
    }
    assert!(api.works(token.expose()).await);
}

#[tokio::test]
async fn without_the_key_list_nothing_is_believed() {
    let signer = Signer::new("prime256v1");
    let list = KeyList::serve("500 Oops", json!({}));
    let api = Api::taking(list.settings()).await;
    let (_, token) = make(&api, "ci").await;
    for _ in 0..3 {
        github(&api, &signer, "now", &matches(&[token.expose()])).await.refused(503, "upstream_unavailable");
    }
    assert_eq!(list.asked.load(Ordering::SeqCst), 1, "not asked again within a minute");
    assert!(api.works(token.expose()).await);
}

#[tokio::test]
async fn nothing_is_taken_until_it_is_configured() {
    let signer = Signer::new("prime256v1");
    let api = Api::start().await;
    github(&api, &signer, "now", &matches(&["x"])).await.refused(404, "not_found");
    signed(&api, SECRET, now(), &found(&["x"])).await.refused(404, "not_found");
}

/// A known key whose secret was rotated away: the report is right, and nobody is cut off.
#[tokio::test]
async fn a_dead_secret_takes_nothing_with_it() {
    let (api, signer, _list) = believed(ExposedAnd::Disable).await;
    let (key, old) = make(&api, "ci").await;
    let new = api.store.rotate_key(key.id, None, Rotation { overlap_ms: 0, leaked: true }).await.unwrap().token;
    let answer = github(&api, &signer, "now", &matches(&[old.expose()])).await.is(200);
    assert_eq!(answer[0]["label"], "true_positive");
    assert!(api.works(new.expose()).await);
    assert!(api.store.key(key.id).await.unwrap().exposed_at.is_some());
}

/// The public id of a key is shown everywhere. A key made up around it has a right checksum and is not the key.
#[tokio::test]
async fn a_secret_that_was_made_up_around_a_public_id_ends_nothing() {
    let (api, signer, _list) = believed(ExposedAnd::Disable).await;
    let (key, token) = make(&api, "ci").await;
    let real = token.expose();
    let stem = format!("{}{}", &real[..real.len() - 38], "0".repeat(32));
    let made_up = with_checksum(&stem);
    assert!(anykey_core::token::read(&made_up, "ak").is_some(), "it reads as one of ours");
    let answer = github(&api, &signer, "now", &matches(&[&made_up])).await.is(200);
    assert_eq!(answer[0]["label"], "false_positive");
    let told = api.post("/keys/exposed", json!({"found": [{"key": made_up}], "action": "disable"})).await.is(200);
    assert_eq!(told["data"][0]["state"], "unknown");
    assert!(api.works(real).await);
    assert!(api.store.key(key.id).await.unwrap().exposed_at.is_none());
}

/// Written anew from the contract: CRC32 as six digits of base62.
fn with_checksum(stem: &str) -> String {
    let digits: Vec<char> = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
    let mut crc = !0u32;
    for byte in stem.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut n = !crc;
    let mut sum = Vec::new();
    for _ in 0..6 {
        sum.insert(0, digits[(n % 62) as usize]);
        n /= 62;
    }
    format!("{stem}{}", sum.into_iter().collect::<String>())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn found(tokens: &[&str]) -> String {
    let found: Vec<Value> = tokens.iter().map(|token| json!({"token": token, "place": "repo/.env:3"})).collect();
    json!({"source": "gitleaks", "found": found}).to_string()
}

fn hmac(secret: &str, time: i64, body: &str) -> String {
    let said = format!("{time}.{body}");
    let out = text(openssl(&["dgst", "-sha256", "-hmac", secret, "-r"], said.as_bytes()));
    format!("v1={}", &out[..64])
}

async fn send_signed(api: &Api, time: i64, signature: &str, body: &str) -> Answer {
    api.stranger(Method::POST, SIGNED)
        .header("anykey-timestamp", &time.to_string())
        .header("anykey-signature", signature)
        .body(body.to_owned())
        .send()
        .await
}

async fn signed(api: &Api, secret: &str, time: i64, body: &str) -> Answer {
    send_signed(api, time, &hmac(secret, time, body), body).await
}

async fn with_secret() -> Api {
    Api::taking(Exposure { secret: Some(SECRET.to_owned().into()), ..Exposure::default() }).await
}

#[tokio::test]
async fn a_scanner_with_the_secret_is_believed() {
    let api = with_secret().await;
    let (key, token) = make(&api, "ci").await;
    let answer = signed(&api, SECRET, now(), &found(&[token.expose(), "noise"])).await.is(200);
    assert_eq!(
        answer,
        json!({"data": [
            {"token_hash": sha256(token.expose()), "label": "true_positive"},
            {"token_hash": sha256("noise"), "label": "false_positive"},
        ]})
    );
    assert!(!api.works(token.expose()).await);
    let seen = api.store.exposures(key.id).await.unwrap();
    assert_eq!((seen[0].source.as_str(), seen[0].place.as_str()), ("gitleaks", "repo/.env:3"));
}

#[tokio::test]
async fn a_scanner_without_it_or_too_late_or_again_is_not() {
    let api = with_secret().await;
    let (key, token) = make(&api, "ci").await;
    let body = found(&[token.expose()]);
    let time = now();
    let good = hmac(SECRET, time, &body);
    signed(&api, "another secret of some length 0123", time, &body).await.refused(400, "invalid_parameter");
    signed(&api, SECRET, time - 301, &body).await.refused(400, "invalid_parameter");
    signed(&api, SECRET, time + 310, &body).await.refused(400, "invalid_parameter");
    for (time, signature, body) in [
        (time + 1, good.as_str(), body.clone()),
        (time, &good, body.replace(".env:3", ".env:4")),
        (time, &good[3..], body.clone()),
        (time, &good[..60], body.clone()),
        (time, "v1=", body.clone()),
        (time, "v1=zz", body.clone()),
    ] {
        send_signed(&api, time, signature, &body).await.refused(400, "invalid_parameter");
    }
    assert!(api.works(token.expose()).await);
    send_signed(&api, time, &good, &body).await.is(200);
    api.store.enable_key(key.id, None).await.unwrap();
    send_signed(&api, time, &good, &body).await.refused(400, "invalid_parameter");
    assert!(api.works(token.expose()).await, "the same report a second time");
}

#[tokio::test]
async fn a_scanners_report_is_read_strictly() {
    let api = with_secret().await;
    let (_, token) = make(&api, "ci").await;
    for (body, code) in [
        (found(&vec![token.expose(); 1001]), "invalid_parameter"),
        (found(&[]), "invalid_parameter"),
        (found(&[token.expose()]).replace("gitleaks", "git leaks"), "invalid_parameter"),
        (found(&[token.expose()]).replace("gitleaks", ""), "invalid_parameter"),
        (found(&[token.expose()]).replace("place", "plaice"), "invalid_json"),
        ("{".to_owned(), "invalid_json"),
    ] {
        signed(&api, SECRET, now(), &body).await.refused(400, code);
    }
    assert!(api.works(token.expose()).await);
}

#[tokio::test]
async fn whoever_manages_asks_about_keys_and_ends_them() {
    let api = Api::start().await;
    let (live, token) = make(&api, "live").await;
    let (gone, deleted) = make(&api, "gone").await;
    api.store.delete_key(gone.id, None).await.unwrap();
    let ask = |action: &str| {
        let found =
            [token.expose(), deleted.expose(), "ak-live-AbCd1234"].map(|key| json!({"key": key, "place": "a:1:1"}));
        json!({"found": found, "action": action})
    };
    let states = |answer: Value| -> Vec<String> {
        answer["data"].as_array().unwrap().iter().map(|v| v["state"].as_str().unwrap().to_owned()).collect()
    };
    let answer = api.post("/keys/exposed", ask("flag")).await.is(200);
    assert_eq!(answer["data"][0]["id"], live.id.to_string());
    assert_eq!(answer["data"][0]["owner"], "kai");
    assert_eq!(states(answer), ["active", "revoked", "unknown"]);
    assert!(api.works(token.expose()).await);
    assert_eq!(states(api.post("/keys/exposed", ask("disable")).await.is(200)), ["disabled", "revoked", "unknown"]);
    assert!(!api.works(token.expose()).await);
    assert_eq!(api.get(&format!("/keys/{}/exposures", gone.id)).await.is(200)["data"].as_array().unwrap().len(), 1);

    assert_eq!(api.post("/keys/exposed", json!({})).await.faults(), ["found", "found"]);
    assert_eq!(api.post("/keys/exposed", ask("burn")).await.faults(), ["action"]);
    api.stranger(Method::POST, "/keys/exposed").json(ask("disable")).send().await.refused(401, "missing_api_key");
    api.get("/keys/key_00000000000000000000000000/exposures").await.refused(404, "not_found");
}
