//! People at the admin API: the first owner, passwords, second factors, sessions, and what other sites' pages may not do.

use crate::harness::{Answer, Api, Call};
use axum::http::Method;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "a horse, a battery";

/// A browser: it keeps the cookie, and knows what to send along.
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    fn of(answer: &Answer) -> Browser {
        let set = answer.header("set-cookie");
        let cookie = set.split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("anykey=") && cookie.len() > 64, "{set}");
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/;"), "{set}");
        Browser { cookie, csrf: answer.json()["csrf_token"].as_str().unwrap().to_owned() }
    }

    fn ask(&self, api: &Api, method: Method, path: &str) -> Call {
        self.bare(api, method, path).header("x-csrf-token", &self.csrf)
    }

    /// The cookie alone, as a browser sends it with whatever any page asks for.
    fn bare(&self, api: &Api, method: Method, path: &str) -> Call {
        api.stranger(method, path).header("cookie", &self.cookie)
    }

    async fn get(&self, api: &Api, path: &str) -> Answer {
        self.bare(api, Method::GET, path).send().await
    }

    async fn post(&self, api: &Api, path: &str, body: Value) -> Answer {
        self.ask(api, Method::POST, path).json(body).send().await
    }

    async fn is_over(&self, api: &Api) -> bool {
        let answer = self.get(api, "/auth/session").await;
        if answer.status == 200 {
            return false;
        }
        answer.refused(401, "session_over");
        true
    }
}

pub async fn link(api: &Api, body: Value) -> String {
    api.post("/auth/links", body).await.is(201)["token"].as_str().unwrap().to_owned()
}

pub async fn use_link(api: &Api, body: Value) -> Answer {
    api.stranger(Method::POST, "/auth/links/use").json(body).send().await
}

/// An installation with its first owner, who is signed in.
async fn owned() -> (Api, Browser) {
    owner_of(Api::start().await).await
}

async fn owner_of(api: Api) -> (Api, Browser) {
    let token = link(&api, json!({})).await;
    let owner = json!({"token": token, "password": PASSWORD, "email": EMAIL, "name": "Ada"});
    let answer = use_link(&api, owner).await;
    answer.is(200);
    let browser = Browser::of(&answer);
    (api, browser)
}

async fn sign_in(api: &Api, body: Value) -> Answer {
    api.stranger(Method::POST, "/auth/sign-in").json(body).send().await
}

async fn good_sign_in(api: &Api) -> Browser {
    let answer = sign_in(api, json!({"email": EMAIL, "password": PASSWORD})).await;
    answer.is(200);
    Browser::of(&answer)
}

/// An authenticator, written from the RFC and not from our code.
fn code(secret: &str, steps_from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    code_at(secret, now / 30 + steps_from_now)
}

pub fn code_at(secret: &str, step: i64) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = secret.chars().map(|c| format!("{:05b}", alphabet.find(c).unwrap())).collect();
    let key: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap())
        .collect();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = (hash[19] & 0xf) as usize;
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// G1: nobody comes in without the one-time link, and it works once.
#[tokio::test]
async fn the_first_owner_comes_in_by_a_link_that_works_once() {
    let api = Api::start().await;
    sign_in(&api, json!({"email": "admin", "password": "admin"})).await.refused(401, "sign_in_refused");
    api.stranger(Method::POST, "/auth/links").json(json!({})).send().await.refused(401, "missing_api_key");
    use_link(&api, json!({"token": "0".repeat(64), "password": PASSWORD})).await.refused(404, "not_found");

    let old = link(&api, json!({})).await;
    let token = link(&api, json!({})).await;
    assert_ne!(old, token);
    use_link(&api, json!({"token": old, "password": PASSWORD})).await.refused(404, "not_found");
    let short = json!({"token": token, "password": "short", "email": EMAIL, "name": "Ada"});
    assert_eq!(use_link(&api, short).await.faults(), ["password"]);
    assert_eq!(use_link(&api, json!({"token": token, "password": PASSWORD})).await.faults(), ["email", "name"]);
    let bad = json!({"token": token, "password": PASSWORD, "email": "ada", "name": " "});
    assert_eq!(use_link(&api, bad).await.faults(), ["email", "name"]);

    let owner = json!({"token": token, "password": PASSWORD, "email": EMAIL, "name": "Ada"});
    let both = tokio::join!(use_link(&api, owner.clone()), use_link(&api, owner.clone()));
    let (first, second) = if both.0.status == 200 { (both.0, both.1) } else { (both.1, both.0) };
    let made = first.is(200);
    second.refused(410, "link_used");
    assert_eq!((&made["person"]["email"], &made["person"]["operator"]), (&json!(EMAIL), &json!(true)));
    use_link(&api, owner).await.refused(410, "link_used");
    api.post("/auth/links", json!({})).await.refused(409, "conflict");
    api.post("/auth/links", json!({"email": "nobody@example.com"})).await.refused(404, "not_found");

    let me = Browser::of(&first).get(&api, "/auth/session").await.is(200);
    assert_eq!((&me["person"]["name"], &me["session"]["ip"]), (&json!("Ada"), &json!("203.0.113.9")));
    let folder = api.reopened().await.1;
    for file in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [PASSWORD, &token] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} is on the disk");
        }
    }
}

#[tokio::test]
async fn a_link_sets_a_lost_password_and_ends_what_was_before() {
    let (api, before) = owned().await;
    let token = link(&api, json!({"email": "ADA@example.com"})).await;
    let answer = use_link(&api, json!({"token": token, "password": "another long one", "name": "ignored"})).await;
    assert_eq!(answer.is(200)["person"]["name"], "Ada");
    assert!(before.is_over(&api).await);
    assert!(!Browser::of(&answer).is_over(&api).await);
    sign_in(&api, json!({"email": EMAIL, "password": PASSWORD})).await.refused(401, "sign_in_refused");
    sign_in(&api, json!({"email": "Ada@Example.com", "password": "another long one"})).await.is(200);
}

/// G2: the same words for somebody who is not there, and longer and longer waits.
#[tokio::test]
async fn who_guesses_waits_and_learns_nothing() {
    let (api, _) = owner_of(Api::standing_still().await).await;
    let wrong = |email: &'static str| sign_in(&api, json!({"email": email, "password": "not the password"}));
    let there = wrong(EMAIL).await.refused(401, "sign_in_refused");
    let nobody = wrong("eve@example.com").await.refused(401, "sign_in_refused");
    assert_eq!((&there["detail"], &there["title"]), (&nobody["detail"], &nobody["title"]));
    for email in [EMAIL, "eve@example.com"] {
        for _ in 0..4 {
            wrong(email).await.refused(401, "sign_in_refused");
        }
        let answer = wrong(email).await;
        answer.refused(429, "rate_limited");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
    }
    // The right password has to wait as well, or the wait would tell which it is.
    sign_in(&api, json!({"email": EMAIL, "password": PASSWORD})).await.refused(429, "rate_limited");
    // They are recorded beside the answer, so that its time tells nothing.
    let refused = loop {
        let refused = api.get("/audit?verb=session.refuse").await.is(200)["data"].clone();
        if refused.as_array().unwrap().len() >= 5 {
            break refused;
        }
    };
    assert_eq!(refused.as_array().unwrap().len(), 5, "those of somebody who is there: {refused}");
    assert_eq!((&refused[0]["actor"]["kind"], &refused[0]["ip"]), (&json!("stranger"), &json!("203.0.113.9")));
    assert_eq!(refused[0]["object"]["name"], EMAIL);
}

#[tokio::test]
async fn many_guesses_at_once_count_as_many() {
    let (api, _) = owner_of(Api::standing_still().await).await;
    let guesses = (0..12).map(|n| sign_in(&api, json!({"email": EMAIL, "password": format!("guess number {n}")})));
    let answers = futures_util::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(looked_at, 5, "the rest had to wait: {:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
}

/// G3: a page of another site changes nothing, whatever it sends.
#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let (api, browser) = owned().await;
    let before = api.get("/audit?limit=1").await.is(200)["data"][0]["seq"].clone();
    let body = || json!({"name": "theirs"});
    let missing = browser.bare(&api, Method::POST, "/keys").json(body()).send().await;
    missing.refused(403, "cross_site_request");
    let wrong =
        browser.bare(&api, Method::POST, "/keys").header("x-csrf-token", &"0".repeat(64)).json(body()).send().await;
    wrong.refused(403, "cross_site_request");
    let another = good_sign_in(&api).await;
    let of_another = browser.bare(&api, Method::POST, "/keys").header("x-csrf-token", &another.csrf).json(body());
    of_another.send().await.refused(403, "cross_site_request");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let call = browser.ask(&api, Method::POST, "/keys").header(name, value).header("host", "gw.example.com");
        call.json(body()).send().await.refused(403, "cross_site_request");
        let call = api.stranger(Method::POST, "/auth/sign-in").header(name, value).header("host", "gw.example.com");
        call.json(json!({"email": EMAIL, "password": PASSWORD})).send().await.refused(403, "cross_site_request");
    }
    // What a form can send without asking first.
    let simple = api.stranger(Method::POST, "/auth/sign-in").header("content-type", "text/plain");
    simple
        .body(json!({"email": EMAIL, "password": PASSWORD}).to_string())
        .send()
        .await
        .refused(415, "unsupported_media_type");
    let after = api.get("/audit?limit=1").await.is(200)["data"][0].clone();
    assert_eq!(after["verb"], "session.begin", "nothing but the second sign-in: {after}");
    assert_eq!(after["seq"].as_i64(), before.as_i64().map(|seq| seq + 1));
    let ours = browser.ask(&api, Method::POST, "/keys").header("host", "gw.example.com");
    let ours = ours.header("origin", "http://gw.example.com").header("sec-fetch-site", "same-origin");
    ours.json(body()).send().await.is(201);
}

#[tokio::test]
async fn somebody_who_is_signed_in_manages_and_is_named() {
    let (api, browser) = owned().await;
    let made = browser.post(&api, "/keys", json!({"name": "by hand"})).await.is(201);
    let person = browser.get(&api, "/auth/session").await.is(200)["person"]["id"].clone();
    assert_eq!(made["creator"], person);
    let entry = api.get("/audit?verb=key.create&limit=1").await.is(200)["data"][0].clone();
    assert_eq!(entry["actor"], json!({"kind": "person", "id": person, "name": EMAIL}));
    browser.get(&api, "/providers").await.is(200);
    // One of two credentials would be a guess.
    let two = browser.bare(&api, Method::GET, "/keys").header("x-api-key", api.admin.expose());
    two.send().await.refused(400, "conflicting_credentials");
    // A key has no password.
    for path in ["/auth/session", "/auth/sessions"] {
        api.get(path).await.refused(403, "role_forbidden");
    }
    api.post("/auth/password", json!({})).await.refused(403, "role_forbidden");
}

/// G4: fixation, signing out, a password that changes.
#[tokio::test]
async fn a_session_ends_when_it_is_said_to_end() {
    let (api, first) = owned().await;
    let planted = api.stranger(Method::POST, "/auth/sign-in").header("cookie", &first.cookie);
    let answer = planted.json(json!({"email": EMAIL, "password": PASSWORD})).send().await;
    let second = Browser::of(&answer);
    assert_ne!(first.cookie, second.cookie, "each time another");
    let third = good_sign_in(&api).await;

    let list = second.get(&api, "/auth/sessions").await.is(200)["data"].clone();
    let sessions = list.as_array().unwrap();
    assert_eq!(sessions.len(), 3);
    let current: Vec<bool> = sessions.iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!(current.iter().filter(|current| **current).count(), 1);
    let me = third.get(&api, "/auth/session").await.is(200)["session"]["id"].as_str().unwrap().to_owned();
    second.ask(&api, Method::DELETE, &format!("/auth/sessions/{me}")).send().await.is(204);
    assert!(third.is_over(&api).await);
    second.ask(&api, Method::DELETE, &format!("/auth/sessions/{me}")).send().await.refused(404, "not_found");

    let wrong = json!({"current_password": "not the password", "new_password": "another long one"});
    second.post(&api, "/auth/password", wrong).await.refused(401, "sign_in_refused");
    let change = json!({"current_password": PASSWORD, "new_password": "another long one"});
    second.post(&api, "/auth/password", change).await.is(204);
    assert!(first.is_over(&api).await && !second.is_over(&api).await);
    sign_in(&api, json!({"email": EMAIL, "password": PASSWORD})).await.refused(401, "sign_in_refused");

    let out = second.ask(&api, Method::POST, "/auth/sign-out").send().await;
    out.is(204);
    assert!(out.header("set-cookie").starts_with("anykey=; ") && out.header("set-cookie").contains("Max-Age=0"));
    assert!(second.is_over(&api).await);
    let verbs = api.get("/audit?kind=session").await.is(200)["data"].as_array().unwrap().len();
    assert_eq!(verbs, 5, "three begun, two ended");
}

/// G4: whose roles somebody else changes signs in again, whether it is to more or to less.
#[tokio::test]
async fn a_change_of_somebodys_roles_ends_their_sessions() {
    let (api, ada) = owned().await;
    let made = json!({"organisation": "default", "email": "bob@example.com", "name": "Bob", "role": "member"});
    let bob = api.post("/members", made).await.is(201);
    let (member, person) = (bob["id"].as_str().unwrap(), bob["person_id"].as_str().unwrap());
    let token = link(&api, json!({"email": "bob@example.com"})).await;
    use_link(&api, json!({"token": token, "password": PASSWORD})).await.is(200);
    let comes_in = async || {
        let answer = sign_in(&api, json!({"email": "bob@example.com", "password": PASSWORD})).await;
        answer.is(200);
        Browser::of(&answer)
    };
    let (member, person) = (format!("/members/{member}"), format!("/people/{person}"));
    for (method, path, body) in [
        (Method::PATCH, &member, json!({"role": "viewer"})),
        (Method::PATCH, &member, json!({"role": "admin"})),
        (Method::PATCH, &person, json!({"operator": true})),
        (Method::PATCH, &person, json!({"operator": false})),
        (Method::POST, &"/projects/default/owners".to_owned(), json!({"person_id": bob["person_id"]})),
        (Method::POST, &format!("{member}/disable"), json!({})),
        (Method::POST, &format!("{member}/enable"), json!({})),
        (Method::DELETE, &member, json!({})),
        (Method::POST, &"/members".to_owned(), json!({"organisation": "default", "email": "bob@example.com"})),
    ] {
        let (one, two) = (comes_in().await, comes_in().await);
        let what = format!("{method} {path} {body}");
        // What leaves the roles as they are leaves the sessions as well.
        api.patch(&person, json!({"name": what})).await.is(200);
        assert!(!one.is_over(&api).await, "before {what}");
        let answer = api.ask(method, path).json(body).send().await;
        assert!(answer.status.is_success(), "{what}: {}", answer.text());
        assert!(one.is_over(&api).await && two.is_over(&api).await, "{what}");
        assert!(!ada.is_over(&api).await, "nobody else's");
    }
    let ended = api.get("/audit?verb=session.end").await.is(200)["data"].clone();
    assert_eq!(ended.as_array().unwrap().len(), 9);
    assert_eq!(ended[0]["after"], json!({"sessions_ended": 2, "why": "the roles changed"}));
    assert_eq!((&ended[0]["object"]["kind"], &ended[0]["object"]["id"]), (&json!("person"), &bob["person_id"]));

    // Whoever changes their own goes on.
    let own = json!({"organisation": "default", "email": EMAIL, "role": "viewer"});
    ada.post(&api, "/members", own).await.is(201);
    assert!(!ada.is_over(&api).await);
    // Who was disabled does not come back with an old cookie.
    let bob = comes_in().await;
    for disabled in [true, false] {
        api.patch(&person, json!({"disabled": disabled})).await.is(200);
        assert!(bob.is_over(&api).await);
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_works_and_each_code_works_once() {
    let (api, browser) = owned().await;
    browser.post(&api, "/auth/totp", json!({"password": "not the password"})).await.refused(401, "sign_in_refused");
    browser.post(&api, "/auth/totp/confirm", json!({"code": "123456"})).await.refused(409, "conflict");
    let new = browser.post(&api, "/auth/totp", json!({"password": PASSWORD})).await.is(200);
    let secret = new["secret"].as_str().unwrap().to_owned();
    assert!(new["url"].as_str().unwrap().contains(&format!("?secret={secret}&")), "{new}");
    good_sign_in(&api).await;
    browser.post(&api, "/auth/totp/confirm", json!({"code": code(&secret, 9)})).await.refused(401, "sign_in_refused");
    let codes = browser.post(&api, "/auth/totp/confirm", json!({"code": code(&secret, -1)})).await.is(200);
    let recovery: Vec<String> =
        codes["recovery_codes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()).collect();
    assert_eq!(recovery.len(), 10);

    let with = |code: &str| sign_in(&api, json!({"email": EMAIL, "password": PASSWORD, "code": code}));
    sign_in(&api, json!({"email": EMAIL, "password": PASSWORD})).await.refused(401, "second_factor_required");
    let wrong = json!({"email": EMAIL, "password": "not the password", "code": code(&secret, 0)});
    sign_in(&api, wrong).await.refused(401, "sign_in_refused");
    let now = code(&secret, 0);
    with(&now).await.is(200);
    with(&now).await.refused(401, "sign_in_refused");
    with(&recovery[0].to_uppercase()).await.is(200);
    with(&recovery[0]).await.refused(401, "sign_in_refused");
    let used = api.get("/audit?verb=recovery.use").await.is(200)["data"].clone();
    assert_eq!((used.as_array().unwrap().len(), &used[0]["after"]), (1, &json!({"left": 9})));

    browser.post(&api, "/auth/totp", json!({"password": PASSWORD})).await.refused(409, "conflict");
    browser.post(&api, "/auth/totp/remove", json!({"password": PASSWORD})).await.is(204);
    good_sign_in(&api).await;
    let log = api.get("/audit/export").await;
    for hidden in [secret.as_str(), recovery[1].as_str(), PASSWORD] {
        assert!(!log.text().contains(hidden), "{hidden} is in the log");
    }
    for verb in ["totp.begin", "totp.enable", "totp.disable"] {
        assert!(log.text().contains(verb), "{verb}");
    }
}
