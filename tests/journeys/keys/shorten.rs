//! A call that does not say how long its answer may become gets the longest that there is money for, and is told.

use super::limit::ANSWER;
use crate::support::{Dialect, ENDPOINTS, Endpoint, assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, Reply, Request, TestGateway, nanos, usd};
use serde_json::{Value, json};

fn endpoint(name: &str) -> &'static Endpoint {
    ENDPOINTS.iter().find(|endpoint| endpoint.name == name).unwrap()
}

fn gateway(upstream: &CannedUpstream) -> TestGateway {
    upstream.answer(Canned::json(ANSWER));
    setup().upstream("", &upstream.url()).start()
}

/// Enough for the input and so many tokens of output, at the dearest rates of the price list in pico-dollars.
fn money(body: usize, tokens: u64, (input, output): (u64, u64)) -> u64 {
    ((body as u64 + 64) * input + tokens * output).div_ceil(1000)
}

fn limited(gateway: &TestGateway, name: &str, nanos: u64) -> String {
    gateway.key_with(name, json!({ "spend_limits": [{ "window": "daily", "usd": usd(nanos) }] })).secret
}

fn told(reply: &Reply) -> Option<u64> {
    reply.header("x-anykey-max-tokens").map(|most| most.parse().unwrap())
}

#[test]
fn what_was_held_is_what_is_sent_and_nothing_else_changes() {
    let upstream = CannedUpstream::start();
    let gateway = gateway(&upstream);
    const OPENAI: (u64, u64) = (150_001, 900_001);
    const GEMINI: (u64, u64) = (300_007, 2_500_003);
    for (name, rates, path) in [
        ("chat_completions", OPENAI, "/max_completion_tokens"),
        ("completions", OPENAI, "/max_tokens"),
        ("responses", OPENAI, "/max_output_tokens"),
        ("generate_content", GEMINI, "/generationConfig/maxOutputTokens"),
    ] {
        let request = endpoint(name).at("echo");
        let asked: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
        let exactly = money(request.body.as_ref().unwrap().len(), 100, rates);
        for (limit, most) in [(exactly, 100), (exactly - 1, 99)] {
            upstream.take_seen();
            let secret = limited(&gateway, &format!("{name}-{most}"), limit);
            let reply = gateway.call(&request.clone().bearer(&secret));
            assert_eq!((reply.status, told(&reply)), (200, Some(most)), "{name}: {}", reply.text());
            let mut sent: Value = serde_json::from_slice(&upstream.take_seen().remove(0).body).unwrap();
            assert_eq!(sent.pointer(path), Some(&json!(most)), "{sent}");
            let top = path.split('/').nth(1).unwrap();
            sent.as_object_mut().unwrap().remove(top);
            if asked["model"].is_string() {
                sent["model"] = asked["model"].clone();
            }
            assert_eq!(sent, asked, "{name}");
            let hold = nanos(gateway.record(reply.id())["hold_usd"].as_str().unwrap());
            assert!(hold <= limit && limit - hold <= rates.1.div_ceil(1000), "{name}: {hold} of {limit}");
        }
        // With money for all that the model can say, nothing is set.
        let rich = limited(&gateway, &format!("{name}-rich"), 1_000_000_000_000);
        let reply = gateway.call(&request.clone().bearer(&rich));
        assert_eq!((reply.status, told(&reply)), (200, None), "{name}");
        let sent = upstream.take_seen().pop().unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent.pointer(path), None, "{sent}");
        // An answer of fifteen tokens is none.
        let poor = limited(&gateway, &format!("{name}-poor"), money(request.body.as_ref().unwrap().len(), 15, rates));
        let reply = gateway.call(&request.bearer(&poor));
        assert_eq!((reply.status, told(&reply)), (402, None), "{name}: {}", reply.text());
    }
}

#[test]
fn who_says_how_long_is_taken_at_their_word() {
    let upstream = CannedUpstream::start();
    let gateway = gateway(&upstream);
    let named = |dialect: Dialect, members: Value| dialect.chat().with("echo", &members);
    for (dialect, request) in [
        (Dialect::OpenAi, named(Dialect::OpenAi, json!({ "max_tokens": 5000 }))),
        (Dialect::Anthropic, named(Dialect::Anthropic, json!({ "max_tokens": 5000 }))),
        (Dialect::Gemini, named(Dialect::Gemini, json!({ "generationConfig": { "maxOutputTokens": 5000 } }))),
    ] {
        let secret = limited(&gateway, dialect.name(), 1_000_000);
        let reply = gateway.call(&request.bearer(&secret));
        assert_refusal(&reply, dialect, 402, "spend_limit_reached");
    }
    assert!(upstream.seen().is_empty(), "a refused call reaches nobody");
}

/// Anthropic is sent a bound with every call: where a translation chose it, it is lowered.
#[test]
fn a_bound_that_a_translation_chose_is_lowered() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(
        r#"{"id":"m","type":"message","role":"assistant","model":"echo","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":3}}"#,
    ));
    let gateway = setup().upstream("", &upstream.url()).start();
    let limit = 10_000_000;
    let secret = limited(&gateway, "translated", limit);
    let request: Request = Dialect::OpenAi.chat().to("/v1", "anthropic/echo").bearer(&secret);
    let reply = gateway.call(&request);
    let most = told(&reply).unwrap_or_else(|| panic!("{}", reply.text()));
    let sent: Value = serde_json::from_slice(&upstream.take_seen().remove(0).body).unwrap();
    assert_eq!((reply.status, &sent["max_tokens"]), (200, &json!(most)), "{sent}");
    let hold = nanos(gateway.record(reply.id())["hold_usd"].as_str().unwrap());
    assert!((16..32_000).contains(&most) && hold <= limit && limit - hold <= 15_001, "{hold} of {limit}, {most}");
}
