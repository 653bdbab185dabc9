//! The table of the documentation: what becomes of each feature between each pair, found out by translating it.

use super::{ask, pairs};
use anykey_dialect::translate::Api;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// A request of a dialect that uses the feature; `None` where it has no such thing.
type Make = fn(Api) -> Option<Value>;

const ROWS: [(&str, Make); 22] = [
    ("system prompt", system),
    ("images by URL", |api| content(api, "image_url")),
    ("images inline", |api| content(api, "image")),
    ("audio", |api| content(api, "audio")),
    ("PDF inline", |api| content(api, "pdf")),
    ("tools", |api| tools(api, "plain")),
    ("one tool forced", |api| tools(api, "forced")),
    ("any tool forced", |api| tools(api, "any")),
    ("one call at a time", |api| tools(api, "single")),
    ("JSON schema", |api| format(api, true)),
    ("any JSON", |api| format(api, false)),
    ("stop sequences", |api| sampling(api, "stop")),
    ("temperature up to 1", |api| sampling(api, "temperature")),
    ("temperature above 1", |api| sampling(api, "hot")),
    ("top_p", |api| sampling(api, "top_p")),
    ("top_k", |api| sampling(api, "top_k")),
    ("seed", |api| sampling(api, "seed")),
    ("penalties", |api| sampling(api, "penalty")),
    ("several answers", |api| sampling(api, "n")),
    ("log probabilities", |api| sampling(api, "logprobs")),
    ("user id", |api| sampling(api, "user")),
    ("how much to think", |api| sampling(api, "reasoning")),
];

fn plain(api: Api) -> Value {
    match api {
        Api::Chat => json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] }),
        Api::Responses => json!({ "model": "m", "input": [{ "role": "user", "content": "x" }] }),
        Api::Messages => {
            json!({ "model": "m", "max_tokens": 20_000, "messages": [{ "role": "user", "content": "x" }] })
        }
        Api::Gemini => json!({ "contents": [{ "role": "user", "parts": [{ "text": "x" }] }] }),
    }
}

fn with(api: Api, members: Value) -> Option<Value> {
    let mut body = plain(api);
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    Some(body)
}

fn system(api: Api) -> Option<Value> {
    match api {
        Api::Chat => {
            with(api, json!({ "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "x" }] }))
        }
        Api::Responses => with(api, json!({ "instructions": "s" })),
        Api::Messages => with(api, json!({ "system": "s" })),
        Api::Gemini => with(api, json!({ "systemInstruction": { "parts": [{ "text": "s" }] } })),
    }
}

fn content(api: Api, kind: &str) -> Option<Value> {
    let part = match (api, kind) {
        (Api::Chat, "image_url") => json!({ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } }),
        (Api::Chat, "image") => json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }),
        (Api::Chat, "audio") => json!({ "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } }),
        (Api::Chat, _) => json!({ "type": "file", "file": { "file_data": "data:application/pdf;base64,AAAA" } }),
        (Api::Responses, "image_url") => json!({ "type": "input_image", "image_url": "https://example.com/a.png" }),
        (Api::Responses, "image") => json!({ "type": "input_image", "image_url": "data:image/png;base64,AAAA" }),
        (Api::Responses, "pdf") => json!({ "type": "input_file", "file_data": "data:application/pdf;base64,AAAA" }),
        (Api::Messages, "image_url") => {
            json!({ "type": "image", "source": { "type": "url", "url": "https://example.com/a.png" } })
        }
        (Api::Messages, "image") => {
            json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } })
        }
        (Api::Messages, "pdf") => json!({
            "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAAA" },
        }),
        (Api::Gemini, "image_url") => {
            json!({ "fileData": { "fileUri": "https://example.com/a.png", "mimeType": "image/png" } })
        }
        (Api::Gemini, "image") => json!({ "inlineData": { "mimeType": "image/png", "data": "AAAA" } }),
        (Api::Gemini, "audio") => json!({ "inlineData": { "mimeType": "audio/wav", "data": "AAAA" } }),
        (Api::Gemini, _) => json!({ "inlineData": { "mimeType": "application/pdf", "data": "AAAA" } }),
        _ => return None,
    };
    match api {
        Api::Chat | Api::Messages => with(api, json!({ "messages": [{ "role": "user", "content": [part] }] })),
        Api::Responses => with(api, json!({ "input": [{ "role": "user", "content": [part] }] })),
        Api::Gemini => with(api, json!({ "contents": [{ "role": "user", "parts": [part] }] })),
    }
}

fn tools(api: Api, how: &str) -> Option<Value> {
    let schema = json!({ "type": "object", "properties": {} });
    let mut body = match api {
        Api::Chat => json!({ "tools": [{ "type": "function", "function": { "name": "f", "parameters": schema } }] }),
        Api::Responses => json!({ "tools": [{ "type": "function", "name": "f", "parameters": schema }] }),
        Api::Messages => json!({ "tools": [{ "name": "f", "input_schema": schema }] }),
        Api::Gemini => json!({ "tools": [{ "functionDeclarations": [{ "name": "f", "parameters": schema }] }] }),
    };
    let (name, value) = match (api, how) {
        (_, "plain") => return with(api, body),
        (Api::Chat, "forced") => ("tool_choice", json!({ "type": "function", "function": { "name": "f" } })),
        (Api::Responses, "forced") => ("tool_choice", json!({ "type": "function", "name": "f" })),
        (Api::Chat | Api::Responses, "any") => ("tool_choice", json!("required")),
        (Api::Chat | Api::Responses, _) => ("parallel_tool_calls", json!(false)),
        (Api::Messages, "forced") => ("tool_choice", json!({ "type": "tool", "name": "f" })),
        (Api::Messages, "any") => ("tool_choice", json!({ "type": "any" })),
        (Api::Messages, _) => ("tool_choice", json!({ "type": "auto", "disable_parallel_tool_use": true })),
        (Api::Gemini, "forced") => {
            ("toolConfig", json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } }))
        }
        (Api::Gemini, "any") => ("toolConfig", json!({ "functionCallingConfig": { "mode": "ANY" } })),
        (Api::Gemini, _) => return None,
    };
    body[name] = value;
    with(api, body)
}

fn format(api: Api, schema: bool) -> Option<Value> {
    let wanted = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
        "additionalProperties": false });
    let named = json!({ "name": "n", "schema": wanted, "strict": true });
    match (api, schema) {
        (Api::Chat, true) => with(api, json!({ "response_format": { "type": "json_schema", "json_schema": named } })),
        (Api::Chat, false) => with(api, json!({ "response_format": { "type": "json_object" } })),
        (Api::Responses, true) => {
            with(api, json!({ "text": { "format": { "type": "json_schema", "name": "n", "schema": wanted } } }))
        }
        (Api::Responses, false) => with(api, json!({ "text": { "format": { "type": "json_object" } } })),
        (Api::Messages, true) => {
            with(api, json!({ "output_config": { "format": { "type": "json_schema", "schema": wanted } } }))
        }
        (Api::Messages, false) => None,
        (Api::Gemini, true) => config(json!({ "responseMimeType": "application/json", "responseJsonSchema": wanted })),
        (Api::Gemini, false) => config(json!({ "responseMimeType": "application/json" })),
    }
}

fn config(members: Value) -> Option<Value> {
    with(Api::Gemini, json!({ "generationConfig": members }))
}

fn sampling(api: Api, what: &str) -> Option<Value> {
    let members = match (api, what) {
        (Api::Gemini, _) => {
            return config(match what {
                "stop" => json!({ "stopSequences": ["a"] }),
                "temperature" => json!({ "temperature": 0.5 }),
                "hot" => json!({ "temperature": 1.5 }),
                "top_p" => json!({ "topP": 0.5 }),
                "top_k" => json!({ "topK": 5 }),
                "seed" => json!({ "seed": 5 }),
                "penalty" => json!({ "presencePenalty": 0.5 }),
                "n" => json!({ "candidateCount": 2 }),
                "logprobs" => json!({ "responseLogprobs": true }),
                "reasoning" => json!({ "thinkingConfig": { "thinkingBudget": 2000 } }),
                _ => return None,
            });
        }
        (Api::Chat, "stop") => json!({ "stop": ["a"] }),
        (Api::Messages, "stop") => json!({ "stop_sequences": ["a"] }),
        (_, "temperature") => json!({ "temperature": 0.5 }),
        (Api::Chat | Api::Responses, "hot") => json!({ "temperature": 1.5 }),
        (_, "top_p") => json!({ "top_p": 0.5 }),
        (Api::Messages, "top_k") => json!({ "top_k": 5 }),
        (Api::Chat, "seed") => json!({ "seed": 5 }),
        (Api::Chat, "penalty") => json!({ "presence_penalty": 0.5 }),
        (Api::Chat, "n") => json!({ "n": 2 }),
        (Api::Chat, "logprobs") => json!({ "logprobs": true, "top_logprobs": 2 }),
        (Api::Responses, "logprobs") => json!({ "top_logprobs": 2 }),
        (Api::Chat | Api::Responses, "user") => json!({ "user": "u" }),
        (Api::Messages, "user") => json!({ "metadata": { "user_id": "u" } }),
        (Api::Chat, "reasoning") => json!({ "reasoning_effort": "medium" }),
        (Api::Responses, "reasoning") => json!({ "reasoning": { "effort": "medium" } }),
        (Api::Messages, "reasoning") => json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 } }),
        _ => return None,
    };
    with(api, members)
}

/// `yes`, or what else becomes of it.
fn outcome(client: Api, provider: Api, body: Option<Value>) -> String {
    let Some(body) = body else { return "-".into() };
    match ask(client, false, &body.to_string(), provider) {
        Err(refusal) => format!("400 `{}`", refusal.param.unwrap_or_default()),
        Ok(translated) if translated.dropped.is_empty() => {
            let without = ask(client, false, &plain(client).to_string(), provider).unwrap();
            assert_ne!(translated.body, without.body, "{client:?} to {provider:?}: {body} left no trace");
            "yes".into()
        }
        Ok(translated) => format!("dropped `{}`", translated.dropped.join("`, `")),
    }
}

fn table() -> String {
    let mut by_client: BTreeMap<u8, Vec<Api>> = BTreeMap::new();
    for (client, provider) in pairs() {
        by_client.entry(client as u8).or_default().push(provider);
    }
    let mut out = String::new();
    for (client, providers) in by_client {
        let client = Api::ALL[client as usize];
        let _ = write!(out, "\n### From {}\n\n| feature |", title(client));
        for provider in &providers {
            let _ = write!(out, " to {} |", title(*provider));
        }
        let _ = write!(out, "\n|---|{}\n", "---|".repeat(providers.len()));
        for (name, make) in ROWS {
            let _ = write!(out, "| {name} |");
            for provider in &providers {
                let _ = write!(out, " {} |", outcome(client, *provider, make(client)));
            }
            out.push('\n');
        }
    }
    out
}

fn title(api: Api) -> &'static str {
    match api {
        Api::Chat => "chat completions",
        Api::Responses => "responses",
        Api::Messages => "messages",
        Api::Gemini => "Gemini",
    }
}

const BEGIN: &str = "<!-- table: written by the tests of crates/dialect, ANYKEY_GOLDEN=write -->\n";

#[test]
fn the_documentation_says_what_becomes_of_each_feature() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/TRANSLATION.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, _) = page.split_once(BEGIN).expect("the page has a place for the table");
    let expected = format!("{head}{BEGIN}{}", table());
    if std::env::var_os("ANYKEY_GOLDEN").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    assert_eq!(page, expected, "ANYKEY_GOLDEN=write renews it");
}
