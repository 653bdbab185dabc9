//! Providers who say that all is well when it is not: an error with a status of 200, an end that is none. No caller takes
//! one for an answer, whatever they speak.

use super::clients::Client;
use crate::support::{assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, events};
use serde_json::{Value, json};

/// Everyone who asks a provider in other words.
fn askers(provider: &str) -> impl Iterator<Item = Client> {
    let own: &[Client] = match provider {
        "openai" => &[Client::Chat, Client::Responses],
        "anthropic" => &[Client::Messages],
        _ => &[Client::Gemini],
    };
    Client::ALL.into_iter().filter(move |client| !own.contains(client))
}

const STREAMS: [(&str, &str, &str); 6] = [
    ("openai", "event: error\ndata: {\"message\":\"too much\"}\n\n", "too much"),
    ("openai", "data: {\"error\":\"too much\"}\n\n", "too much"),
    (
        "openai",
        "data: [DONE]\n\n",
        "The provider sent something that is not a stream of its kind. The answer is not complete.",
    ),
    ("gemini", "data: {\"error\":\"too much\"}\n\n", "too much"),
    (
        "gemini",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}\n\n",
        "The model stopped before its answer was whole: `MALFORMED_FUNCTION_CALL`.",
    ),
    (
        "anthropic",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\"}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "The provider sent something that is not a stream of its kind. The answer is not complete.",
    ),
];

#[test]
fn a_stream_that_only_looks_whole_ends_with_an_error() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    for (provider, stream, why) in STREAMS {
        for client in askers(provider) {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(7).collect();
            upstream.answer(Canned::stream("text/event-stream", pieces));
            let request = client.ask(&format!("{provider}/m"), "hello", true, json!({})).bearer(&key.secret);
            let reply = gateway.call(&request);
            assert_eq!(reply.status, 200, "{}", reply.text());
            let told = events(&reply.body).pop().unwrap();
            let data: Value = serde_json::from_str(&told.data).unwrap_or_else(|e| panic!("{e}: {}", reply.text()));
            assert_eq!(data["error"]["message"], why, "{client:?} of {provider}: {}", reply.text());
            // What it did is paid for all the same, and the record says what the caller was told.
            let record = gateway.record_soon(reply.id());
            assert!(matches!(record["outcome"].as_str(), Some("broken" | "upstream_error")), "{client:?}: {record}");
            assert_ne!(record["usage_source"], "none", "{record}");
        }
    }
}

#[test]
fn a_body_that_is_no_answer_is_a_502_with_the_providers_words() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    for (provider, body, why) in [
        ("openai", r#"{"error":{"message":"too much"}}"#, "gave no answer. too much"),
        ("openai", "{}", "sent an answer that is not of its kind"),
        ("openai", r#"{"choices":[{"message":{},"finish_reason":"error"}]}"#, "before its answer was whole: `error`"),
        ("anthropic", r#"{"type":"error","error":{"message":"too much"}}"#, "gave no answer. too much"),
        ("gemini", r#"{"candidates":[{"finishReason":"OTHER"}]}"#, "before its answer was whole: `OTHER`"),
    ] {
        for client in askers(provider) {
            for stream in [false, true] {
                upstream.answer(Canned::json(body));
                let request = client.ask(&format!("{provider}/m"), "hello", stream, json!({})).bearer(&key.secret);
                let reply = gateway.call(&request);
                let message = assert_refusal(&reply, client.dialect(), 502, "upstream_error");
                assert!(message.contains(why), "{client:?} of {provider}: {message}");
                assert_eq!(gateway.record(reply.id())["outcome"], "broken");
            }
        }
    }
}

#[test]
fn what_an_answer_holds_that_the_caller_has_no_place_for_is_named() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    let part = json!({ "inlineData": { "mimeType": "image/png", "data": "AAAA" } });
    let answer = json!({ "candidates": [
        { "content": { "role": "model", "parts": [{ "text": "see" }, part] }, "finishReason": "STOP" },
    ] });
    upstream.answer(Canned::json(&answer.to_string()));
    let request = Client::Chat.ask("gemini/m", "hello", false, json!({ "logit_bias": { "1": 1 } })).bearer(&key.secret);
    let reply = gateway.call(&request);
    let named: Vec<&str> =
        reply.headers.iter().filter(|(name, _)| name == "x-anykey-dropped").map(|(_, value)| value.as_str()).collect();
    assert_eq!(named, ["logit_bias", "answer.parts[].inlineData"], "{}", reply.text());
}
