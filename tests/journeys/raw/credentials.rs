//! Credentials that are missing, malformed, unknown, dead or in the wrong place.

use super::{Quiet, exchange};
use crate::support::{Dialect, World, assert_refusal};
use anykey_testkit::{Request, Setup, until};
use serde_json::json;

#[test]
fn e1_what_is_no_key_is_refused_offline() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let secret = &world.key.secret;
    let cut = &secret[..secret.len() - 1];
    let flipped = secret.replace(&secret[20..21], if &secret[20..21] == "x" { "y" } else { "x" });
    for dialect in Dialect::ALL {
        let call = || dialect.chat().at("echo");
        for missing in ["Bearer", "Bearer  ", "bearer", ""] {
            let reply = world.gateway.call(&call().header("authorization", missing));
            assert_eq!(reply.status, 401, "{missing:?}");
            assert!(reply.text().contains("_api_key") || reply.text().contains("_API_KEY"), "{}", reply.text());
        }
        assert_refusal(&world.gateway.call(&call()), dialect, 401, "missing_api_key");
        for invalid in [
            "Basic YTpi".to_owned(),
            "Token x".to_owned(),
            "Bearer x".to_owned(),
            format!("Bearer {cut}"),
            format!("Bearer {flipped}"),
            format!("Bearer {secret}x"),
            format!("Bearer \"{secret}\""),
            format!("Bearer {}", Setup::credential("openai")),
            format!("Bearer {}", secret.to_uppercase()),
            format!("Bearer {}", "k".repeat(30_000)),
        ] {
            let reply = world.gateway.call(&call().header("authorization", &invalid));
            let message = assert_refusal(&reply, dialect, 401, "invalid_api_key");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            assert!(
                !reply.seen().contains(cut) && !message.contains("kkkk") && !reply.seen().contains("CANARY"),
                "{message}"
            );
        }
    }
    let huge = Dialect::OpenAi.chat().at("echo").bearer(&"k".repeat(1 << 20)).bytes();
    let (reply, _) = exchange(&world, &huge);
    assert_refusal(&reply, Dialect::OpenAi, 431, "headers_too_large");
    let nul = Dialect::OpenAi.chat().at("echo").bearer("ak-live-\0").bytes();
    let (reply, _) = exchange(&world, &nul);
    assert_eq!(reply.status, 400);
    quiet.assert("no key");
}

/// CRC32 (IEEE) in six digits of base 62, as the contract has it, written down a second time.
fn with_checksum(text: &str) -> String {
    let crc = !text.bytes().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |place: u32| char::from(digits[(crc / 62u32.pow(place) % 62) as usize]);
    text.chars().chain((0..6).rev().map(digit)).collect()
}

#[test]
fn e2_and_e8_only_who_holds_the_whole_secret_learns_what_became_of_a_key() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let dead = |name: &str| world.gateway.key(name);
    let (disabled, deleted) = (dead("disabled"), dead("deleted"));
    let expired = world.gateway.key_with("expired", json!({ "expires_in": "1s" }));
    world.gateway.post(&format!("/keys/{}/disable", disabled.id), &json!({}));
    world.gateway.admin("DELETE", &format!("/keys/{}", deleted.id), None);
    let call = |secret: &str| world.gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(secret));
    until("the key has expired", || world.gateway.get(&format!("/keys/{}", expired.id))["status"] == "expired");
    let unknown = with_checksum("ak-live-AbCd1234aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(unknown.len(), world.key.secret.len());
    let stranger = assert_refusal(&call(&unknown), Dialect::OpenAi, 401, "invalid_api_key");
    for (key, code) in [(&disabled, "key_disabled"), (&deleted, "key_revoked"), (&expired, "key_expired")] {
        assert_refusal(&call(&key.secret), Dialect::OpenAi, 401, code);
        // The public part is right and the checksum too, but the secret is a guess.
        let guess = with_checksum(&format!("{}{}", &key.secret[..16], "a".repeat(32)));
        let told = assert_refusal(&call(&guess), Dialect::OpenAi, 401, "invalid_api_key");
        assert_eq!(told, stranger, "a guess is told what every stranger is told");
    }
    quiet.assert_no_request("a dead key");
}

#[test]
fn e7_a_key_in_the_query_of_a_gemini_path_works_and_goes_no_further() {
    let world = World::start();
    let secret = world.key.secret.clone();
    for query in [format!("?key={secret}"), format!("?alt=sse&key={secret}"), format!("?key={secret}&alt=sse&fields=a")]
    {
        let mark = world.sim.requests();
        let mut request = Dialect::Gemini.chat().at("echo");
        request.target += &query;
        let reply = world.gateway.call(&request);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let entry = world.sim.only(mark);
        assert!(!entry.text("path").contains("key="), "{}", entry.text("path"));
        assert_eq!(entry.text("path").contains("alt=sse"), query.contains("alt=sse"));
        assert!(!entry.0.to_string().contains(&secret));
        for (name, value) in [("referrer-policy", "no-referrer"), ("cache-control", "no-store")] {
            assert!(reply.headers.contains(&(name.into(), value.into())), "{:?}", reply.headers);
        }
    }
    // Refusals do not repeat it either.
    for target in
        [format!("/v1beta/nowhere?key={secret}"), format!("/v1beta/models/gemini/none:generateContent?key={secret}")]
    {
        let reply = world.gateway.call(&Request::post(target).body("{}"));
        assert!(reply.status >= 400 && !reply.seen().contains(&secret), "{}", reply.seen());
    }
    assert!(!world.gateway.log().contains(&secret));
}

#[test]
fn e21_who_guesses_keys_is_slowed_down_and_nobody_else() {
    let world = World::start();
    let call = |secret: &str| world.gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(secret));
    assert_eq!(call(&world.key.secret).status, 200);
    let guess = |n: u32| call(&with_checksum(&format!("ak-live-AbCd1234{n:032}")));
    let refused = (0..20_000).map(guess).find(|reply| reply.status != 401).expect("an address guesses as it likes");
    let message = assert_refusal(&refused, Dialect::OpenAi, 429, "rate_limited");
    assert!(message.contains("unknown API keys"), "{message}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A key that is in memory is not looked up, and one that cannot be a key is not either.
    assert_eq!(call(&world.key.secret).status, 200);
    assert_eq!(call("ak-live-nonsense").status, 401);
}
