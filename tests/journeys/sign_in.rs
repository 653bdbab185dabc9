//! People come in by an issuer of OpenID Connect through the real door, on both databases.

use crate::support::setup;
use anykey_testkit::{CLIENT_ID, CLIENT_SECRET, FakeIssuer, Reply, Request, Storage, TestGateway};
use serde_json::json;

/// Where the issuer sends browsers back to; the browser of these tests goes to the gateway whatever it is called.
const PUBLIC_URL: &str = "http://127.0.0.1:7117";

fn start(storage: Storage, issuer: &FakeIssuer) -> Option<TestGateway> {
    let url = issuer.url();
    let block = format!(
        "[[issuers]]\nname = \"acme\"\nissuer = {url:?}\nclient_id = {CLIENT_ID:?}\n\
         client_secret = \"${{OIDC_SECRET}}\"\nallow_private_network = true\nroles = [\n\
         {{ claim = \"groups\", value = \"ops\", role = \"operator\" }},\n\
         {{ claim = \"groups\", value = \"staff\", organisation = \"acme\", role = \"member\" }},\n]\n"
    );
    let setup = setup().setting(&format!("public_url = {PUBLIC_URL:?}")).setting(&block);
    let gateway = setup.env("OIDC_SECRET", CLIENT_SECRET).start_on(storage)?;
    gateway.post("/organisations", &json!({"name": "Acme"}));
    Some(gateway)
}

fn cookie(reply: &Reply, name: &str) -> String {
    let set = reply.headers.iter().filter(|(known, _)| known == "set-cookie");
    let pair = set.filter_map(|(_, value)| value.split(';').next()).find(|pair| pair.starts_with(&format!("{name}=")));
    pair.unwrap_or_else(|| panic!("no cookie {name} in {}", reply.seen())).to_owned()
}

/// To the issuer and to where it sends people back, with the cookie that binds them to this browser.
fn go(gateway: &TestGateway, issuer: &FakeIssuer) -> Request {
    let started = gateway.call(&Request::get("/admin/v1/auth/issuers/acme/start"));
    assert_eq!(started.status, 303, "{}", started.seen());
    let back = issuer.sign_in(started.header("location").unwrap());
    Request::get(back).header("cookie", cookie(&started, "anykey-pending"))
}

fn somebody_comes_in_and_goes(storage: Storage) {
    let issuer = FakeIssuer::start(&format!("{PUBLIC_URL}/admin/v1/auth/issuers/acme/callback"));
    let Some(mut gateway) = start(storage, &issuer) else { return };
    issuer.is(json!({"sub": "ada", "email": "ada@example.com", "email_verified": true, "groups": ["ops", "staff"]}));
    let way = go(&gateway, &issuer);
    // What a browser holds outlives the process.
    gateway.restart();
    let back = gateway.call(&way);
    assert_eq!((back.status, back.header("location")), (303, Some("/admin/v1/auth/session")), "{}", back.seen());
    let session = cookie(&back, "anykey");
    assert_eq!(gateway.call(&way).status, 410, "it works once");
    let ask = |method: &str, path: &str| Request::new(method, format!("/admin/v1{path}")).header("cookie", &session);
    let me = gateway.call(&ask("GET", "/auth/session")).json();
    assert_eq!((&me["person"]["operator"], &me["session"]["issuer"]), (&json!(true), &json!(issuer.url())));
    let csrf = me["csrf_token"].as_str().unwrap();
    let made = gateway.call(&ask("POST", "/keys").header("x-csrf-token", csrf).json(&json!({"name": "by ada"})));
    assert_eq!(made.status, 201, "{}", made.text());
    let members = gateway.get("/members?q=ada");
    assert_eq!((&members["data"][0]["role"], members["data"].as_array().unwrap().len()), (&json!("member"), 1));

    // The next time the claims say less.
    issuer.is(json!({"sub": "ada"}));
    issuer.knows(json!({"sub": "ada", "email": "ada@example.com", "email_verified": true, "groups": []}));
    let back = gateway.call(&go(&gateway, &issuer));
    assert_eq!(back.status, 303, "{}", back.seen());
    assert_eq!(gateway.call(&ask("GET", "/status")).status, 401, "where she was in already she is out");
    let session = cookie(&back, "anykey");
    let ask = |method: &str, path: &str| Request::new(method, format!("/admin/v1{path}")).header("cookie", &session);
    assert_eq!(gateway.call(&ask("GET", "/status")).status, 403);
    let me = gateway.call(&ask("GET", "/auth/session")).json();
    let csrf = me["csrf_token"].as_str().unwrap();
    assert!(gateway.get("/members?q=ada")["data"].as_array().unwrap().is_empty());
    let out = gateway.call(&ask("POST", "/auth/sign-out").header("x-csrf-token", csrf));
    assert!(out.json()["issuer_sign_out_url"].as_str().unwrap().starts_with(&format!("{}/logout?", issuer.url())));
    assert_eq!(gateway.call(&ask("GET", "/auth/session")).status, 401);

    // A body is read there although whoever sends it has no key, and a large one is not.
    let logout = Request::post("/admin/v1/auth/issuers/acme/logout");
    let form = |body: String| Request { body: Some(body.into_bytes()), ..logout.clone() };
    let form = |body: String| form(body).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(gateway.call(&form("logout_token=x".into())).status, 400);
    assert_eq!(gateway.call(&form(format!("logout_token={}", "x".repeat(20_000)))).status, 413);

    let list = gateway.cli(&["issuer", "list", "--json"]).json();
    assert_eq!(list[0]["redirect_uri"], format!("{PUBLIC_URL}/admin/v1/auth/issuers/acme/callback"));
    assert_eq!(gateway.cli(&["issuer", "test", "acme"]).status, 0);
    let chain = gateway.cli(&["audit", "verify"]);
    assert_eq!(chain.status, 0, "{}{}", chain.stdout, chain.stderr);
    drop(issuer);
    let failed = gateway.cli(&["issuer", "test", "acme"]);
    assert_eq!(failed.status, 1, "{}", failed.stdout);
    // What is remembered of it goes on; who remembers nothing of it cannot.
    let start = Request::get("/admin/v1/auth/issuers/acme/start");
    assert_eq!(gateway.call(&start).status, 303);
    gateway.restart();
    let away = gateway.call(&start);
    assert_eq!((away.status, away.json()["code"].as_str()), (503, Some("issuer_unavailable")));
    let log = gateway.log();
    for secret in ["CANARY", "an-access-token", "code-", session.split_once('=').unwrap().1] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[test]
fn somebody_comes_in_by_an_issuer_and_goes_on_sqlite() {
    somebody_comes_in_and_goes(Storage::Sqlite);
}

#[test]
fn somebody_comes_in_by_an_issuer_and_goes_on_postgres() {
    somebody_comes_in_and_goes(Storage::Postgres);
}

/// A token of another's making opens nothing, whatever it says.
#[test]
fn nobody_comes_in_by_a_forged_token() {
    let issuer = FakeIssuer::start(&format!("{PUBLIC_URL}/admin/v1/auth/issuers/acme/callback"));
    let gateway = start(Storage::Sqlite, &issuer).unwrap();
    issuer.is(json!({"sub": "eve", "email": "eve@example.com", "email_verified": true, "groups": ["ops"]}));
    issuer.forges(|signer, claims| anykey_testkit::unsigned(&json!({"alg": "none", "kid": signer.kid}), &claims));
    let refused = gateway.call(&go(&gateway, &issuer));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (502, Some("issuer_invalid")), "{}", refused.seen());
    assert!(gateway.get("/people")["data"].as_array().unwrap().is_empty());
    issuer.behaves();
    assert_eq!(gateway.call(&go(&gateway, &issuer)).status, 303);
}
