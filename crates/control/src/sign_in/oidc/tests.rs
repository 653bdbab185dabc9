//! What is believed of tokens and keys, and what is made of claims: every way in which a token can be wrong, one at a time.

use super::claims::{Kept, find};
use super::issuer::{Issuer, Trouble};
use super::keys;
use super::settings::*;
use super::token::{Claims, Disbelief, Expected, IdToken, Unverified};
use anykey_core::Role;
use anykey_net::Fetch;
use anykey_testkit::{Alg, Canned, CannedUpstream, Signer, hs256, unsigned};
use serde_json::{Map, Value, json};
use std::time::Duration;

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://login.example.com";
const CLIENT: &str = "anykey";
const NONCE: &str = "n-0S6_WzA2Mj";

fn good() -> Value {
    json!({"iss": ISSUER, "sub": "248289761001", "aud": CLIENT, "nonce": NONCE, "exp": NOW + 300, "iat": NOW})
}

fn published(signers: &[&Signer]) -> Vec<keys::Key> {
    let all: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    keys::read(json!({ "keys": all }).to_string().as_bytes()).unwrap()
}

fn verify(token: &str, keys: &[keys::Key]) -> Result<Claims, Disbelief> {
    Unverified::read(token)?.verify(keys)
}

fn expected() -> Expected<'static> {
    Expected { issuer: ISSUER, client_id: CLIENT, now_ms: NOW * 1000 }
}

fn believe(token: &str, keys: &[keys::Key]) -> Result<IdToken, Disbelief> {
    verify(token, keys)?.check_id(&expected(), NONCE)
}

#[test]
fn each_algorithm_is_verified_with_its_own_kind_of_key() {
    let signers = Alg::ALL.map(|alg| Signer::new(alg.name(), alg));
    let keys = published(&signers.each_ref());
    assert_eq!(keys.len(), 4);
    for signer in &signers {
        let token = signer.token(&good());
        assert_eq!(believe(&token, &keys).unwrap().subject, "248289761001", "{:?}", signer.alg);
        // The same bytes under the name of every other algorithm, and of every other key.
        for other in &signers {
            if other.alg == signer.alg {
                continue;
            }
            let mut header = signer.header();
            header["alg"] = other.alg.name().into();
            assert!(
                believe(&signer.token_with(&header, &good()), &keys).is_err(),
                "{:?} as {:?}",
                signer.alg,
                other.alg
            );
            header = signer.header();
            header["kid"] = other.kid.clone().into();
            assert!(
                believe(&signer.token_with(&header, &good()), &keys).is_err(),
                "{:?} by {:?}",
                signer.alg,
                other.alg
            );
        }
    }
}

#[test]
fn any_altered_character_is_noticed() {
    let signer = Signer::new("k", Alg::Es256);
    let keys = published(&[&signer]);
    let token = signer.token(&good());
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verify(std::str::from_utf8(&bytes).unwrap(), &keys).is_err(), "byte {at}");
    }
    for text in ["", ".", "..", "a.b.c", &format!("{token}."), &token[..token.len() - 4], &format!("{token}=")] {
        assert!(verify(text, &keys).is_err(), "{text}");
    }
    assert_eq!(verify(&"a".repeat(70_000), &keys).unwrap_err(), Disbelief::Malformed);
}

#[test]
fn tokens_without_a_signature_or_with_a_shared_secret_are_refused() {
    let signer = Signer::new("k", Alg::Rs256);
    let keys = published(&[&signer]);
    for alg in ["none", "None", "NONE", "", "HS256", "hs256", "HS512", "RS1", "ES256K", "rs256"] {
        let mut header = signer.header();
        header["alg"] = alg.into();
        for token in [unsigned(&header, &good()), signer.token_with(&header, &good())] {
            assert_eq!(verify(&token, &keys).unwrap_err(), Disbelief::Algorithm(alg.into()), "{alg}");
        }
    }
    // What is public as the secret, in every form that somebody may take it in.
    let jwk = signer.jwk();
    for secret in [jwk["n"].as_str().unwrap(), &jwk.to_string(), "client-secret"] {
        let token = hs256(secret.as_bytes(), &json!({"alg": "HS256", "kid": "k"}), &good());
        assert!(verify(&token, &keys).is_err());
        let token = hs256(secret.as_bytes(), &json!({"alg": "RS256", "kid": "k"}), &good());
        assert_eq!(verify(&token, &keys).unwrap_err(), Disbelief::Signature);
    }
    // What the token brings along is not a key.
    let own = Signer::new("k", Alg::Es256);
    let header = json!({"alg": "ES256", "jwk": own.jwk(), "jku": "https://evil.example/keys"});
    assert_eq!(verify(&own.token_with(&header, &good()), &keys).unwrap_err(), Disbelief::NoKey);
    let header = json!({"alg": "RS256", "kid": "k", "crit": ["b64"], "b64": false});
    assert_eq!(verify(&signer.token_with(&header, &good()), &keys).unwrap_err(), Disbelief::Malformed);
}

#[test]
fn a_token_that_names_no_key_leaves_no_choice() {
    let (one, two) = (Signer::new("one", Alg::EdDsa), Signer::new("two", Alg::EdDsa));
    let nameless = one.token_with(&json!({"alg": "EdDSA"}), &good());
    assert!(verify(&nameless, &published(&[&one])).is_ok());
    assert_eq!(verify(&nameless, &published(&[&one, &two])).unwrap_err(), Disbelief::NoKey);
    assert_eq!(verify(&one.token(&good()), &published(&[&two])).unwrap_err(), Disbelief::NoKey);
    // A key of another kind is no choice.
    assert!(verify(&nameless, &published(&[&one, &Signer::new("three", Alg::Es256)])).is_ok());
}

#[test]
fn keys_that_are_for_something_else_sign_nothing() {
    let signer = Signer::new("k", Alg::Rs256);
    let token = signer.token(&good());
    let with = |name: &str, value: Value| {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        let set = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, {"odd": 1}, 7, jwk]}).to_string();
        verify(&token, &keys::read(set.as_bytes()).unwrap()).map(drop)
    };
    assert_eq!(with("alg", json!("RS256")), Ok(()));
    assert_eq!(with("key_ops", json!(["verify"])), Ok(()));
    for (name, value) in [
        ("use", json!("enc")),
        ("alg", json!("PS256")),
        ("alg", json!("RSA-OAEP")),
        ("key_ops", json!(["encrypt"])),
        ("kty", json!("EC")),
        ("n", json!("!")),
        ("e", Value::Null),
    ] {
        assert_eq!(with(name, value.clone()), Err(Disbelief::NoKey), "{name} {value}");
    }
    // Smaller than anybody should use.
    assert_eq!(with("n", json!("AQAB")), Err(Disbelief::Signature));
    for set in ["", "{}", "[]", "{\"keys\":1}", "<html>"] {
        assert!(keys::read(set.as_bytes()).is_err(), "{set}");
    }
}

#[test]
fn each_claim_is_what_it_must_be() {
    let signer = Signer::new("k", Alg::EdDsa);
    let keys = published(&[&signer]);
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        if claims[name].is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
        believe(&signer.token(&claims), &keys).map(drop)
    };
    for (name, value) in [
        ("aud", json!([CLIENT])),
        ("azp", json!(CLIENT)),
        ("exp", json!(NOW - 59)),
        ("exp", json!(f64::from(i32::MAX) + 0.5)),
        ("iat", json!(NOW + 60)),
        ("nbf", json!(NOW + 60)),
        ("iat", json!(NOW - 600)),
    ] {
        assert_eq!(with(name, value.clone()), Ok(()), "{name} {value}");
    }
    for (name, value) in [
        ("iss", json!("https://login.example.com/")),
        ("iss", json!("https://evil.example")),
        ("iss", json!([ISSUER])),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("aud", json!({"a": CLIENT})),
        ("azp", json!("another")),
        ("azp", json!("")),
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("nonce", json!("")),
        ("exp", json!(NOW - 60)),
        ("exp", json!("soon")),
        ("exp", json!(1e300)),
        ("exp", Value::Null),
        ("iat", json!(NOW + 61)),
        ("iat", json!(NOW - 661)),
        ("iat", Value::Null),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!("x")),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(256))),
    ] {
        let Err(Disbelief::Claim(wrong)) = with(name, value.clone()) else { panic!("{name} {value} was believed") };
        assert_eq!(wrong, name, "{value}");
    }
    // For others too, and not said to be made for us.
    assert_eq!(with("aud", json!([CLIENT, "another"])), Err(Disbelief::Claim("azp")));
    let mut both = good();
    both["aud"] = json!([CLIENT, "another"]);
    both["azp"] = CLIENT.into();
    assert!(believe(&signer.token(&both), &keys).is_ok());
    for claims in [json!([]), json!("x"), json!(null)] {
        assert_eq!(believe(&signer.token(&claims), &keys).unwrap_err(), Disbelief::Malformed);
    }
}

#[test]
fn a_logout_token_is_one_and_nothing_else_is() {
    let signer = Signer::new("k", Alg::EdDsa);
    let keys = published(&[&signer]);
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let logout = json!({"iss": ISSUER, "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "j", "sub": "s", "sid": "x",
        "events": event});
    let check = |claims: &Value, typ: &str| {
        let token = signer.token_with(&json!({"alg": "EdDSA", "kid": "k", "typ": typ}), claims);
        verify(&token, &keys)?.check_logout(&expected())
    };
    let read = check(&logout, "logout+jwt").unwrap();
    assert_eq!((read.id.as_str(), read.subject.as_deref(), read.session.as_deref()), ("j", Some("s"), Some("x")));
    assert!(check(&logout, "JWT").is_ok());
    assert_eq!(check(&logout, "at+jwt").unwrap_err(), Disbelief::Claim("typ"));
    for (name, value) in [
        ("nonce", json!(NONCE)),
        ("events", json!({})),
        ("events", Value::Null),
        ("jti", Value::Null),
        ("iat", json!(NOW - 661)),
        ("exp", json!(NOW - 60)),
        ("aud", json!("another")),
        ("iss", json!("https://evil.example")),
        ("sid", json!(7)),
    ] {
        let mut claims = logout.clone();
        claims[name] = value;
        assert_eq!(check(&claims, "logout+jwt").unwrap_err(), Disbelief::Claim(name), "{claims}");
    }
    let mut nobody = logout.clone();
    nobody.as_object_mut().unwrap().retain(|name, _| name != "sub" && name != "sid");
    assert_eq!(check(&nobody, "logout+jwt").unwrap_err(), Disbelief::Claim("sub"));
    // Neither stands for the other.
    assert!(check(&good(), "JWT").is_err());
    assert!(believe(&signer.token(&logout), &keys).is_err());
}

fn settings() -> IssuerSettings {
    let role = |organisation: &str, role| Gives::Role { organisation: organisation.into(), role };
    let when = |claim: &str, value: &str| Some(ClaimIs { claim: claim.into(), value: value.into() });
    IssuerSettings {
        name: "acme".into(),
        title: "Acme".into(),
        issuer: ISSUER.into(),
        client_id: CLIENT.into(),
        client_secret: None,
        scopes: vec!["openid".into()],
        allowed_domains: Vec::new(),
        sign_up: SignUp::WithRole,
        link_by_email: false,
        trust_email: false,
        second_factor: SecondFactorOf::Ask,
        strong_amr: vec!["mfa".into()],
        strong_acr: vec!["urn:two".into()],
        acr_values: None,
        rules: vec![
            RoleRule { when: when("groups", "ops"), gives: Gives::Operator },
            RoleRule { when: when("realm_access.roles", "admin"), gives: role("acme", Role::Admin) },
            RoleRule { when: when("groups", "staff"), gives: role("acme", Role::Member) },
        ],
        allow_private: true,
    }
}

fn token(claims: Value) -> IdToken {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    IdToken { subject: "s".into(), claims }
}

#[test]
fn rules_give_what_the_claims_say_and_no_more() {
    let settings = settings();
    let given = |claims: Value| {
        let claimed = settings.claimed(&token(claims)).unwrap();
        let roles: Vec<String> =
            claimed.roles.iter().map(|r| format!("{} {}", r.organisation, r.role.name())).collect();
        (roles.join(", "), claimed.operator, claimed.may_create)
    };
    assert_eq!(given(json!({})), (String::new(), false, false));
    assert_eq!(given(json!({"groups": "staff"})), ("acme member".into(), false, true));
    let both = json!({"groups": ["x", "staff"], "realm_access": {"roles": ["admin"]}});
    assert_eq!(given(both), ("acme admin, acme member".into(), false, true), "in the order of the rules");
    assert_eq!(given(json!({"groups": ["ops"]})), (String::new(), true, true));
    for claims in [
        json!({"groups": "Staff"}),
        json!({"groups": ["staff "]}),
        json!({"groups": [["staff"]]}),
        json!({"groups": {"staff": true}}),
        json!({"realm_access.roles.x": "admin"}),
        json!({"realm_access": ["roles"]}),
    ] {
        assert_eq!(given(claims.clone()), (String::new(), false, false), "{claims}");
    }
    assert_eq!(given(json!({"realm_access.roles": "admin"})).0, "acme admin", "a claim's name may have dots");
}

#[test]
fn an_email_counts_if_the_issuer_stands_for_it() {
    let email = |settings: &IssuerSettings, claims: Value| settings.claimed(&token(claims)).map(|c| c.email);
    let ada = Ok(Some("ada@example.com".to_owned()));
    let with = |verified: Value| json!({"email": "ada@example.com", "email_verified": verified});
    let plain = settings();
    assert_eq!(email(&plain, with(json!(true))), ada);
    assert_eq!(email(&plain, with(json!("true"))), ada);
    for verified in [json!(false), json!("false"), json!("yes"), json!(1), Value::Null] {
        assert_eq!(email(&plain, with(verified)), Ok(None));
    }
    assert_eq!(email(&plain, json!({"email": "ada@example.com"})), Ok(None));
    let trusting = IssuerSettings { trust_email: true, ..settings() };
    assert_eq!(email(&trusting, json!({"email": "ada@example.com"})), ada);
    assert_eq!(email(&trusting, with(json!(false))), Ok(None), "what it denies it does not stand for");
    for odd in ["ada", "@example.com", "ada@", "a b@example.com", "ada@\nexample.com", ""] {
        assert_eq!(email(&plain, json!({"email": odd, "email_verified": true})), Ok(None), "{odd}");
    }
    let bound = IssuerSettings { allowed_domains: vec!["example.com".into()], ..settings() };
    assert_eq!(
        email(&bound, json!({"email": "Ada@EXAMPLE.com", "email_verified": true})).map(|e| e.is_some()),
        Ok(true)
    );
    for claims in [
        json!({"email": "ada@sub.example.com", "email_verified": true}),
        json!({"email": "ada@example.com@evil.example", "email_verified": true}),
        json!({"email": "ada@example.com"}),
        json!({}),
    ] {
        assert_eq!(email(&bound, claims), Err(Kept::OutOfDomain));
    }
}

/// An e-mail counts as verified by whoever says it, and by nobody else.
#[test]
fn an_email_and_its_being_verified_are_of_one_source() {
    let email = |trust: bool, token: Value, more: Value| {
        let (Value::Object(mut claims), Value::Object(more)) = (token, more) else { panic!("claims are objects") };
        let settings = IssuerSettings { trust_email: trust, ..settings() };
        settings.add_claims(&mut claims, more);
        settings.claimed(&self::token(Value::Object(claims))).unwrap().email
    };
    let (boss, ada) = ("boss@example.com", "ada@example.com");
    let verified = json!({"email": ada, "email_verified": true});
    for (token, more, found) in [
        // What is typed in by somebody is not verified by the other source.
        (json!({"email": boss}), json!({"email_verified": true}), None),
        (json!({"email_verified": true}), json!({"email": boss}), None),
        (json!({"email_verified": true}), json!({"email": boss, "email_verified": false}), None),
        (json!({"email": boss}), verified.clone(), Some(ada)),
        (json!({}), verified.clone(), Some(ada)),
        (json!({"email_verified": false}), verified.clone(), Some(ada)),
        (json!({"email": "", "email_verified": true}), json!({"email": boss}), None),
        // What the token says holds.
        (json!({"email": boss, "email_verified": false}), verified.clone(), None),
        (verified.clone(), json!({"email": boss, "email_verified": false}), Some(ada)),
        (verified.clone(), json!({}), Some(ada)),
    ] {
        assert_eq!(email(false, token.clone(), more.clone()).as_deref(), found, "{token} {more}");
    }
    assert_eq!(email(true, json!({"email": boss}), json!({"email_verified": false})).as_deref(), Some(boss));
    assert_eq!(email(true, json!({"email": boss}), verified).as_deref(), Some(boss));
    assert_eq!(email(true, json!({}), json!({"email": ada, "email_verified": false})), None);
    let needed = |trust_email| {
        let settings = IssuerSettings { trust_email, ..settings() };
        settings.needed_claims().any(|claim| claim == "email_verified")
    };
    assert!(needed(false) && !needed(true));
}

/// What an issuer left out is not what somebody has not.
#[test]
fn a_claim_that_was_left_out_takes_nothing_away() {
    let claims = json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}});
    assert_eq!(settings().claimed(&token(claims)).unwrap_err(), Kept::ClaimLeftOut);
    assert!(settings().claimed(&token(json!({"_claim_names": {"address": "src1"}}))).is_ok());
}

#[test]
fn a_second_factor_was_seen_where_the_issuer_says_so_in_the_agreed_words() {
    let saw = |settings: &IssuerSettings, claims: Value| settings.saw_second_factor(&token(claims));
    let ask = settings();
    assert!(saw(&ask, json!({"amr": ["pwd", "mfa"]})) && saw(&ask, json!({"acr": "urn:two"})));
    for claims in [json!({}), json!({"amr": ["pwd"]}), json!({"acr": "urn:one"}), json!({"acr": ["urn:two"]})] {
        assert!(!saw(&ask, claims.clone()), "{claims}");
        assert!(saw(&IssuerSettings { second_factor: SecondFactorOf::Issuer, ..settings() }, claims));
    }
}

#[test]
fn claims_are_found_by_name_and_by_the_way_to_them() {
    let claims: Map<String, Value> = serde_json::from_value(json!({"a.b": 1, "a": {"b": 2, "c": {"d": 3}}})).unwrap();
    for (name, found) in [("a.b", Some(1)), ("a.c.d", Some(3)), ("a.c.x", None), ("x", None), ("", None), (".", None)] {
        assert_eq!(find(&claims, name).and_then(Value::as_i64), found, "{name}");
    }
}

#[test]
fn public_urls_that_browsers_can_be_sent_back_to() {
    for url in ["https://gw.example.com", "https://gw.example.com/anykey", "http://127.0.0.1:7117", "http://localhost"]
    {
        assert!(check_public_url(url).is_ok(), "{url}");
    }
    for url in ["", "http://gw.example.com", "http://127.0.0.1.example.com", "gw.example.com", "http://localhost.evil"]
    {
        assert!(check_public_url(url).is_err(), "{url}");
    }
}

/// One that answers never, and one that answers without end.
#[tokio::test]
async fn an_issuer_takes_neither_all_the_time_nor_all_the_memory() {
    let upstream = CannedUpstream::start();
    let fetch = Fetch::new(anykey_net::client_config([]).unwrap());
    let issuer = || {
        let mut issuer = Issuer::new(IssuerSettings { issuer: upstream.url(), ..settings() }, String::new());
        issuer.patience = Duration::from_millis(50);
        issuer
    };
    let gate = upstream.gate();
    let slow = issuer();
    let failed = slow.document(&fetch, 0).await.unwrap_err();
    assert!(matches!(&failed, Trouble::Away(why) if why.contains("in time")), "{failed}");
    // It is not asked again at once, by however many.
    let asked = upstream.seen().len();
    assert_eq!(slow.document(&fetch, 4_999).await.unwrap_err(), failed);
    assert_eq!(upstream.seen().len(), asked);
    gate.open();
    let huge = format!("{{\"issuer\":\"{}\"}}", "a".repeat(600 << 10));
    upstream.answer(Canned::json(&huge));
    let mut large = issuer();
    large.patience = Duration::from_secs(60);
    let failed = large.document(&fetch, 0).await.unwrap_err();
    assert!(matches!(&failed, Trouble::Away(why) if why.contains("larger than")), "{failed}");
}
