//! Counting tokens between formats, and estimates of them.

use super::target;
use anykey_core::{Endpoint, Refusal};
use anykey_dialect::translate::{self, Api, Caller, Unread};
use serde_json::{Value, json};

fn caller(endpoint: Endpoint) -> Caller<'static> {
    Caller { endpoint, model: "asked", id: "req_1", now: 1, array: false }
}

fn asked(endpoint: Endpoint, body: Value, provider: Api) -> Value {
    let asked = translate::count_request(&caller(endpoint), body.to_string().as_bytes(), &target(provider)).unwrap();
    serde_json::from_slice(&asked.body).unwrap()
}

fn estimated(endpoint: Endpoint, body: &Value) -> Result<Value, Refusal> {
    let count = translate::estimated_count(&caller(endpoint), body.to_string().as_bytes())?;
    Ok(serde_json::from_slice(&count).unwrap())
}

#[test]
fn a_provider_that_counts_is_asked_in_its_words() {
    let body = json!({ "model": "m", "system": "s", "messages": [{ "role": "user", "content": "x" }] });
    let expected = json!({ "generateContentRequest": {
        "model": "models/gemini-3-pro",
        "systemInstruction": { "parts": [{ "text": "s" }] },
        "contents": [{ "role": "user", "parts": [{ "text": "x" }] }],
    } });
    assert_eq!(asked(Endpoint::CountTokens, body, Api::Gemini), expected);

    let contents = json!([{ "role": "user", "parts": [{ "text": "x" }] }]);
    let config = json!({ "temperature": 0.5, "maxOutputTokens": 9, "stopSequences": ["a"] });
    let whole = json!({ "model": "models/m", "contents": contents, "generationConfig": config });
    let expected = json!({
        "model": "claude-sonnet-4-5",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "x" }] }],
    });
    for body in [
        json!({ "contents": contents }),
        json!({ "generateContentRequest": whole }),
        json!({ "generate_content_request": whole }),
    ] {
        assert_eq!(asked(Endpoint::GeminiCountTokens, body, Api::Messages), expected);
    }
}

#[test]
fn a_count_is_told_in_the_callers_words() {
    let told = |provider, body: &str, client| {
        translate::count_answer(provider, body.as_bytes(), client)
            .map(|told| String::from_utf8(told.body.to_vec()).unwrap())
    };
    let gemini = r#"{"totalTokens":7,"promptTokensDetails":[{"modality":"TEXT","tokenCount":7}]}"#;
    assert_eq!(told(Api::Gemini, gemini, Api::Messages).unwrap(), r#"{"input_tokens":7}"#);
    assert_eq!(told(Api::Messages, r#"{"input_tokens":7}"#, Api::Gemini).unwrap(), r#"{"totalTokens":7}"#);
    assert_eq!(told(Api::Messages, "{}", Api::Gemini), Err(Unread::NotIts));
    assert_eq!(told(Api::Gemini, r#"{"error":"no"}"#, Api::Messages), Err(Unread::Failed("no".into())));
}

#[test]
fn an_estimate_counts_what_is_said_and_not_how_it_is_written() {
    let text = "four".repeat(100);
    let messages = |content: Value| json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    let plain = estimated(Endpoint::CountTokens, &messages(json!(text))).unwrap();
    assert_eq!(plain, json!({ "input_tokens": 104 }));
    let parts = messages(json!([{ "type": "text", "text": text }]));
    assert_eq!(estimated(Endpoint::CountTokens, &parts).unwrap(), plain);
    let gemini = json!({ "contents": [{ "parts": [{ "text": text }] }] });
    assert_eq!(estimated(Endpoint::GeminiCountTokens, &gemini).unwrap(), json!({ "totalTokens": 104 }));
    let wrapped = json!({ "generateContentRequest": gemini });
    assert_eq!(estimated(Endpoint::GeminiCountTokens, &wrapped).unwrap(), json!({ "totalTokens": 104 }));
}

#[test]
fn an_estimate_knows_more_than_text() {
    let count = |body: Value| estimated(Endpoint::CountTokens, &body).unwrap()["input_tokens"].as_u64().unwrap();
    let said = |content: Value| json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    let base = |n: usize| json!({ "type": "base64", "media_type": "image/png", "data": "A".repeat(n) });
    // An image has a size of its own, however many bytes it takes.
    assert_eq!(count(said(json!([{ "type": "image", "source": base(4000) }]))), 1604);
    assert_eq!(count(said(json!([{ "type": "image", "source": base(4_000_000) }]))), 1604);
    let pdf = json!({ "type": "base64", "media_type": "application/pdf", "data": "A".repeat(160_000) });
    assert_eq!(count(said(json!([{ "type": "document", "source": pdf }]))), 10_004);
    let mut tools = said(json!("x"));
    tools["tools"] = json!([{ "name": "look", "description": "Looks it up.", "input_schema": {} }]);
    assert_eq!(count(tools), 13);
}

#[test]
fn what_could_not_be_sent_is_not_counted_either() {
    let body = json!({ "model": "m", "mcp_servers": [{}], "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(estimated(Endpoint::CountTokens, &body).unwrap_err().param.as_deref(), Some("mcp_servers"));
    assert!(estimated(Endpoint::Messages, &json!({ "messages": [] })).is_err());
}
