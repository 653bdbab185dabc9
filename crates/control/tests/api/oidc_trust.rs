//! What an issuer's word needs to be believed, what binds a sign-in to one browser, and the second factor after it.

use crate::harness::{Answer, Api};
use crate::oidc::{CALLBACK, Way, World, claims, cookie};
use crate::sign_in::{code_at, link, use_link};
use anykey_control::SecondFactorOf;
use anykey_testkit::{Alg, Signer, hs256, unsigned};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const MINUTE: i64 = 60_000;

async fn with_cookie(api: &Api, path: &str, cookie: Option<&str>) -> Answer {
    let call = api.stranger(Method::GET, path);
    match cookie {
        Some(cookie) => call.header("cookie", cookie).send().await,
        None => call.send().await,
    }
}

/// G4 and G3: nobody is signed in as somebody by a link, and nobody signs in with what another browser began.
#[tokio::test]
async fn an_answer_counts_in_the_browser_that_asked_and_once() {
    let world = World::start().await;
    world.issuer.is(claims("ada", &["staff"]));
    let (way, other) = (world.go("").await, world.go("").await);
    let back = with_cookie(&world.api, &way.back, None).await;
    back.refused(410, "sign_in_over");
    for cookie in
        [other.cookie.as_str(), "__Host-anykey-pending=x", "__Host-anykey-pending=", "anykey-pending=v1.a.b.c"]
    {
        with_cookie(&world.api, &way.back, Some(cookie)).await.refused(410, "sign_in_over");
    }
    // The cookie twice: somebody else set one of them.
    let twice = format!("{}; {}", way.cookie, other.cookie);
    with_cookie(&world.api, &way.back, Some(&twice)).await.refused(410, "sign_in_over");
    let without = format!("{CALLBACK}?code=x");
    with_cookie(&world.api, &without, Some(&way.cookie)).await.refused(410, "sign_in_over");
    let doubled = format!("{}&state=x", way.back);
    with_cookie(&world.api, &doubled, Some(&way.cookie)).await.refused(400, "invalid_parameter");
    let elsewhere = way.back.replace("/acme/", "/nobody/");
    with_cookie(&world.api, &elsewhere, Some(&way.cookie)).await.refused(404, "not_found");
    // None of these used it up.
    world.back(&way).await.is(303);
    world.back(&way).await.refused(410, "sign_in_over");
    let (one, two) = tokio::join!(world.back(&other), world.back(&other));
    let mut both = [one.status.as_u16(), two.status.as_u16()];
    both.sort_unstable();
    assert_eq!(both, [303, 410], "of two at once one");
}

#[tokio::test]
async fn a_sign_in_that_takes_too_long_is_over() {
    let world = World::start().await;
    world.issuer.is(claims("ada", &["staff"]));
    let way = world.go("").await;
    world.wait(10 * MINUTE);
    world.back(&way).await.refused(410, "sign_in_over");
}

/// Whoever comes back makes this server call the issuer, so an address does that so often and then waits.
#[tokio::test]
async fn made_up_codes_do_not_make_us_call_an_issuer_for_ever() {
    let world = World::start().await;
    let made_up = async || {
        let way = world.go("").await;
        let way = Way { back: way.back.replace("code=", "code=x"), ..way };
        world.back(&way).await
    };
    for _ in 0..20 {
        made_up().await.refused(502, "issuer_invalid");
    }
    let asked = world.issuer.asked("/realm/token");
    assert_eq!(asked, 20);
    let way = world.go("").await;
    let late = world.back(&way).await;
    late.refused(429, "rate_limited");
    assert_eq!((late.header("retry-after"), world.issuer.asked("/realm/token")), ("1", asked));
    // The way is not over, and leads in after the wait.
    world.wait(1000);
    world.issuer.is(claims("ada", &["staff"]));
    world.back(&way).await.is(303);
}

/// RFC 9207: an answer of one issuer is not taken to another.
#[tokio::test]
async fn an_answer_names_the_issuer_that_gave_it() {
    let world = World::start().await;
    world.issuer.is(claims("ada", &["staff"]));
    let change = |back: &str, to: &str| {
        let (start, rest) = back.split_once("&iss=").unwrap();
        let rest = rest.split_once('&').unwrap().1;
        format!("{start}{to}&{rest}")
    };
    for to in ["", "&iss=https%3A%2F%2Fevil.example", "&iss="] {
        let way = world.go("").await;
        let way = Way { back: change(&way.back, to), ..way };
        world.back(&way).await.refused(502, "issuer_invalid");
    }
    assert_eq!(world.issuer.asked("/realm/token"), 0, "the code went nowhere");
    let way = world.go("").await;
    let way = Way { back: way.back.replace("code=", "error=access_denied&x="), ..way };
    let refused = world.back(&way).await.refused(401, "sign_in_refused");
    assert!(refused["detail"].as_str().unwrap().contains("access_denied"));
}

/// Nobody comes in by a token that is wrong in one thing.
#[tokio::test]
async fn a_token_that_is_wrong_in_anything_lets_nobody_in() {
    let world = World::start().await;
    world.issuer.is(claims("ada", &["ops"]));
    let refuse = async |what: &str| {
        let way = world.go("").await;
        let answer = world.back(&way).await;
        answer.refused(502, "issuer_invalid");
        assert!(cookie(&answer, "__Host-anykey").is_none(), "{what}");
    };
    let wrong: [(&str, Value); 8] = [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another")),
        ("aud", json!(["another"])),
        ("azp", json!("another")),
        ("nonce", json!("another")),
        ("exp", json!(1)),
        ("iat", json!(1)),
        ("sub", json!("")),
    ];
    for (name, value) in wrong {
        world.issuer.lies(move |claims| claims[name] = value.clone());
        refuse(name).await;
    }
    world.issuer.behaves();
    world.issuer.forges(|signer, claims| unsigned(&json!({"alg": "none", "kid": signer.kid}), &claims));
    refuse("none").await;
    let public = Signer::new("first", Alg::Es256);
    world.issuer.forges(move |_, claims| public.token(&claims));
    refuse("another key of that name").await;
    world.issuer.forges(|signer, claims| {
        hs256(signer.jwk().to_string().as_bytes(), &json!({"alg": "HS256", "kid": signer.kid}), &claims)
    });
    refuse("the public key as a secret").await;
    world.issuer.forges(|_, _| "not a token".into());
    refuse("no token").await;
    assert!(world.api.get("/people").await.is(200)["data"].as_array().unwrap().is_empty());
    world.issuer.behaves();
    world.come_in(claims("ada", &["ops"])).await;
}

#[tokio::test]
async fn a_new_key_is_found_and_made_up_ones_do_not_make_us_ask_for_ever() {
    let world = World::start().await;
    world.come_in(claims("ada", &["staff"])).await;
    assert_eq!(world.issuer.asked("/realm/keys"), 1);
    world.issuer.signs_with(Signer::new("second", Alg::EdDsa));
    world.come_in(claims("ada", &["staff"])).await;
    assert_eq!(world.issuer.asked("/realm/keys"), 2);
    // Keys that nobody published.
    world.issuer.forges(|_, claims| Signer::new("made up", Alg::Es256).token(&claims));
    for _ in 0..5 {
        world.sign_in(claims("ada", &["staff"])).await.refused(502, "issuer_invalid");
    }
    assert_eq!(world.issuer.asked("/realm/keys"), 2, "it was asked for an unknown key just now");
    world.wait(MINUTE);
    world.sign_in(claims("ada", &["staff"])).await.refused(502, "issuer_invalid");
    assert_eq!(world.issuer.asked("/realm/keys"), 3);
    world.issuer.behaves();
    world.come_in(claims("ada", &["staff"])).await;
    assert_eq!(
        (world.issuer.asked("/realm/keys"), world.issuer.asked("/realm/.well-known/openid-configuration")),
        (3, 1)
    );
    // What was published is not taken to be true for ever: a key that was withdrawn is.
    world.issuer.signs_with(Signer::new("third", Alg::Es256));
    world.wait(60 * MINUTE);
    world.come_in(claims("ada", &["staff"])).await;
    assert_eq!(world.issuer.asked("/realm/.well-known/openid-configuration"), 2);
}

#[tokio::test]
async fn what_an_issuer_publishes_of_itself_is_checked() {
    let start = async |world: &World| {
        world.wait(MINUTE);
        world.api.stranger(Method::GET, "/auth/issuers/acme/start").send().await
    };
    let world = World::start().await;
    let wrong: [(&str, Value); 7] = [
        ("issuer", json!("https://evil.example")),
        ("issuer", json!(format!("{}/", world.issuer.url()))),
        ("authorization_endpoint", json!("http://evil.example/authorize")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("token_endpoint", json!("http://169.254.169.254/token")),
        ("jwks_uri", json!("ftp://evil.example/keys")),
        ("token_endpoint", Value::Null),
    ];
    for (name, value) in wrong {
        world.issuer.describes_itself(move |found| found[name] = value.clone());
        start(&world).await.refused(502, "issuer_invalid");
    }
    world.issuer.behaves();
    let description = "/realm/.well-known/openid-configuration";
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}/keys\r\ncontent-length: 0\r\n\r\n", world.issuer.url());
    world.issuer.answers(description, redirect);
    start(&world).await.refused(502, "issuer_invalid");
    assert_eq!(world.issuer.asked("/realm/keys"), 0, "nobody is followed");
    for (answer, status, code) in [
        ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 503, "issuer_unavailable"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", 503, "issuer_unavailable"),
        ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", 502, "issuer_invalid"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", 502, "issuer_invalid"),
    ] {
        world.issuer.answers(description, answer);
        start(&world).await.refused(status, code);
    }
    world.issuer.behaves();
    assert_eq!(start(&world).await.status, 303);
}

/// The guard holds for an issuer as for everything else that is called.
#[tokio::test]
async fn an_issuer_inside_is_called_only_where_that_is_allowed() {
    let world = World::with(|settings| settings.allow_private = false).await;
    world.api.stranger(Method::GET, "/auth/issuers/acme/start").send().await.refused(502, "issuer_invalid");
    assert_eq!(world.issuer.asked("/realm/.well-known/openid-configuration"), 0);
}

#[tokio::test]
async fn claims_that_are_not_in_the_token_are_asked_for() {
    let world = World::start().await;
    let thin = || json!({"sub": "ada"});
    world.issuer.knows(claims("ada", &["staff"]));
    world.come_in(thin()).await;
    assert_eq!(world.roles("ada@example.com").await, ["member active"]);
    // Of somebody else.
    world.issuer.knows(claims("boss", &["ops"]));
    world.sign_in(thin()).await.refused(502, "issuer_invalid");
    world.issuer.knows(json!({"groups": ["ops"]}));
    world.sign_in(thin()).await.refused(502, "issuer_invalid");
    // What the token says holds.
    world.issuer.knows(claims("ada", &["ops"]));
    world.come_in(json!({"sub": "ada", "groups": ["staff"]})).await;
    assert!(!world.is_operator("ada@example.com").await);
    // Whether an e-mail is verified is asked for as well, and said by whoever says the e-mail.
    world.issuer.knows(json!({"sub": "eve", "email": "eve@example.com", "email_verified": true}));
    world.come_in(json!({"sub": "eve", "email": "boss@example.com", "groups": ["staff"]})).await;
    assert_eq!(world.roles("eve@example.com").await, ["member active"]);
    world.issuer.knows(json!({"sub": "mallory", "email_verified": true}));
    world
        .sign_in(json!({"sub": "mallory", "email": "boss@example.com", "groups": ["staff"]}))
        .await
        .refused(401, "sign_in_refused");
    assert!(world.roles("boss@example.com").await.is_empty());
    world.issuer.answers("/realm/userinfo", "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    world.sign_in(thin()).await.refused(503, "issuer_unavailable");
    assert_eq!(world.roles("ada@example.com").await, ["member active"], "who cannot be asked takes nothing away");
}

#[tokio::test]
async fn the_secret_goes_where_the_issuer_wants_it() {
    let world = World::start().await;
    world.issuer.wants_the_secret_in_the_body();
    world.come_in(claims("ada", &["staff"])).await;
    let wrong = World::with(|settings| settings.client_secret = Some("wrong".into())).await;
    wrong.sign_in(claims("ada", &["staff"])).await.refused(502, "issuer_invalid");
}

/// Ada with a password and a second factor, who comes in by the issuer too; and the secret of her authenticator.
async fn with_second_factor(world: &World) -> String {
    let token = link(&world.api, json!({})).await;
    let owner = json!({"token": token, "password": "a horse, a battery", "email": "ada@example.com", "name": "Ada"});
    let answer = use_link(&world.api, owner).await;
    let csrf = answer.is(200)["csrf_token"].as_str().unwrap().to_owned();
    let session = format!("__Host-anykey={}", cookie(&answer, "__Host-anykey").unwrap());
    let post = async |path: &str, body: Value| {
        let call = world.api.stranger(Method::POST, path).header("cookie", &session).header("x-csrf-token", &csrf);
        call.json(body).send().await.is(200)
    };
    let secret = post("/auth/totp", json!({"password": "a horse, a battery"})).await;
    let secret = secret["secret"].as_str().unwrap().to_owned();
    post("/auth/totp/confirm", json!({"code": code(world, &secret, -1)})).await;
    secret
}

/// What the authenticator shows, by the clock of the world.
fn code(world: &World, secret: &str, steps_from_now: i64) -> String {
    code_at(secret, world.clock.load(Ordering::SeqCst) / 30_000 + steps_from_now)
}

async fn show(world: &World, cookie: Option<&str>, code: &str) -> Answer {
    let call = world.api.stranger(Method::POST, "/auth/second-factor").json(json!({ "code": code }));
    match cookie {
        Some(cookie) => call.header("cookie", cookie).send().await,
        None => call.send().await,
    }
}

#[tokio::test]
async fn whoever_has_a_second_factor_here_shows_it_after_the_issuer() {
    let world = World::with(|settings| settings.link_by_email = true).await;
    let secret = with_second_factor(&world).await;
    world.issuer.is(claims("ada", &["ops"]));
    let way = world.go("").await;
    let owed = world.back(&way).await;
    owed.refused(401, "second_factor_required");
    assert!(cookie(&owed, "__Host-anykey").is_none());
    let half = format!("__Host-anykey-pending={}", cookie(&owed, "__Host-anykey-pending").unwrap());
    world
        .api
        .stranger(Method::GET, "/auth/session")
        .header("cookie", &half)
        .send()
        .await
        .refused(401, "missing_api_key");
    show(&world, None, "000000").await.refused(410, "sign_in_over");
    show(&world, Some(&way.cookie), &code(&world, &secret, 0)).await.refused(410, "sign_in_over");
    show(&world, Some(&half), "000000").await.refused(401, "sign_in_refused");
    // The half of a sign-in is not the way to the issuer.
    with_cookie(&world.api, &way.back, Some(&half)).await.refused(410, "sign_in_over");
    let foreign = world.api.stranger(Method::POST, "/auth/second-factor").header("cookie", &half);
    let foreign = foreign.header("origin", "https://evil.example").json(json!({"code": code(&world, &secret, 0)}));
    foreign.send().await.refused(403, "cross_site_request");
    let shown = show(&world, Some(&half), &code(&world, &secret, 0)).await;
    assert_eq!(shown.is(200)["person"]["email"], "ada@example.com");
    assert_eq!(cookie(&shown, "__Host-anykey-pending").as_deref(), Some(""));
    assert_eq!(world.log("session.begin").await[0]["after"]["by"], "issuer and code");
    show(&world, Some(&half), &code(&world, &secret, 1)).await.refused(410, "sign_in_over");

    let way = world.go("?return_to=%2Fkeys").await;
    assert_eq!(world.back(&way).await.header("location"), "/keys?second_factor=required");
    // The issuer saw one.
    let mut strong = claims("ada", &["ops"]);
    strong["amr"] = json!(["pwd", "mfa"]);
    world.come_in(strong).await;
}

#[tokio::test]
async fn codes_are_not_guessed_after_an_issuer_either() {
    let world = World::with(|settings| settings.link_by_email = true).await;
    with_second_factor(&world).await;
    let owed = world.sign_in(claims("ada", &["ops"])).await;
    let half = format!("__Host-anykey-pending={}", cookie(&owed, "__Host-anykey-pending").unwrap());
    let mut tries = 0;
    while show(&world, Some(&half), "000000").await.status == 401 {
        tries += 1;
        assert!(tries < 10, "nobody made them wait");
    }
    show(&world, Some(&half), "000000").await.refused(429, "rate_limited");
    world.wait(10 * MINUTE);
    show(&world, Some(&half), "000000").await.refused(410, "sign_in_over");
}

#[tokio::test]
async fn where_a_second_factor_is_required_nobody_comes_in_without() {
    let world = World::with(|settings| settings.second_factor = SecondFactorOf::Require).await;
    world.sign_in(claims("ada", &["staff"])).await.refused(401, "sign_in_refused");
    let mut strong = claims("ada", &["staff"]);
    strong["amr"] = json!("mfa");
    world.come_in(strong).await;
    let trusting = World::with(|settings| settings.second_factor = SecondFactorOf::Issuer).await;
    trusting.come_in(claims("ada", &["staff"])).await;
}
