//! Puts a stream together as each dialect's SDK does, without help from the code under test.

use anykey_dialect::translate::Api;
use serde_json::{Value, json};

/// What only a finished stream has, by [`Api`].
pub const END: [&str; 4] = ["[DONE]", "response.completed", "message_stop", "\"finishReason\""];

pub fn gathered(client: Api, body: &[u8]) -> Value {
    match client {
        Api::Chat => chat(&events(body)),
        Api::Messages => messages(&events(body)),
        Api::Gemini => gemini(body),
        Api::Responses => responses(&events(body)),
    }
}

/// What an answer and a gathered stream must have in common.
pub fn plain(client: Api, answer: &Value) -> Value {
    let mut answer = answer.clone();
    prune(&mut answer);
    match client {
        Api::Chat => json!([answer["id"], answer["model"], answer["choices"], answer["usage"]]),
        Api::Gemini => {
            let joined = join(answer["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default());
            let candidate = &answer["candidates"][0];
            json!([answer["responseId"], joined, candidate["finishReason"], answer["usageMetadata"]])
        }
        Api::Messages | Api::Responses => answer,
    }
}

/// Members that say nothing may be there or not.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, v| !v.is_null() && *v != "");
            members.values_mut().for_each(prune);
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

fn events(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap().replace("\r\n", "\n");
    assert!(text.ends_with("\n\n"), "{text}");
    let mut events = Vec::new();
    for frame in text.trim_end().split("\n\n") {
        let data = frame.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let name = frame.lines().find_map(|line| line.strip_prefix("event: "));
        if data == "[DONE]" {
            events.push(Value::from("[DONE]"));
            continue;
        }
        let data: Value = serde_json::from_str(data).unwrap();
        if let Some(name) = name {
            assert_eq!(data["type"], name);
        }
        events.push(data);
    }
    events
}

fn append(to: &mut Value, more: &Value) {
    if let Some(more) = more.as_str() {
        *to = Value::from(format!("{}{more}", to.as_str().unwrap_or_default()));
    }
}

fn chat(events: &[Value]) -> Value {
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(*last, "[DONE]");
    let mut message = json!({});
    let (mut stop, mut usage) = (Value::Null, Value::Null);
    for chunk in chunks {
        if chunk["choices"].as_array().unwrap().is_empty() {
            usage = chunk["usage"].clone();
            continue;
        }
        assert!(chunk["usage"].is_null() && usage.is_null(), "usage comes last");
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        for name in ["role", "content", "reasoning_content", "refusal"] {
            append(&mut message[name], &delta[name]);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            if message["tool_calls"].is_null() {
                message["tool_calls"] = json!([]);
            }
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if calls.len() == at {
                let name = &call["function"]["name"];
                calls.push(json!({ "id": call["id"], "type": call["type"], "function": { "name": name } }));
            }
            append(&mut calls[at]["function"]["arguments"], &call["function"]["arguments"]);
        }
        if choice["finish_reason"].is_string() {
            stop = choice["finish_reason"].clone();
        }
    }
    let choice = json!({ "index": 0, "message": message, "finish_reason": stop });
    let mut whole = json!({ "id": chunks[0]["id"], "model": chunks[0]["model"], "choices": [choice], "usage": usage });
    prune(&mut whole);
    whole
}

fn messages(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut open = None;
    for event in events {
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!((&event["index"], open), (&json!(content.len()), None), "blocks do not overlap");
                open = Some(content.len());
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let (block, delta) = (&mut message["content"][open.unwrap()], &event["delta"]);
                for (kind, from, to) in [
                    ("text_delta", "text", "text"),
                    ("thinking_delta", "thinking", "thinking"),
                    ("signature_delta", "signature", "signature"),
                    ("input_json_delta", "partial_json", "partial"),
                ] {
                    if delta["type"] == kind {
                        append(&mut block[to], &delta[from]);
                    }
                }
            }
            "content_block_stop" => {
                let block = message["content"][open.take().unwrap()].as_object_mut().unwrap();
                if let Some(partial) = block.remove("partial") {
                    block.insert("input".into(), serde_json::from_str(partial.as_str().unwrap()).unwrap());
                }
            }
            "message_delta" => {
                for name in ["stop_reason", "stop_sequence"] {
                    message[name] = event["delta"][name].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => assert_eq!(open, None),
            other => panic!("{other}"),
        }
    }
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    message
}

fn gemini(body: &[u8]) -> Value {
    let chunks =
        if body.starts_with(b"[") { serde_json::from_slice::<Vec<Value>>(body).unwrap() } else { events(body) };
    let mut parts = Vec::new();
    for chunk in &chunks {
        parts.extend(chunk["candidates"][0]["content"]["parts"].as_array().unwrap().iter().cloned());
    }
    let mut whole = chunks.last().unwrap().clone();
    whole["candidates"][0]["content"]["parts"] = join(parts).into();
    whole
}

/// Texts of one kind go together; an empty one says nothing.
fn join(parts: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for part in parts {
        let text = part["text"].as_str().unwrap_or_default();
        let signed = part["thoughtSignature"].is_string();
        if part["functionCall"].is_null() && text.is_empty() && !signed {
            continue;
        }
        match joined.last_mut() {
            Some(last)
                if last["text"].is_string() && part["text"].is_string() && last["thought"] == part["thought"] =>
            {
                append(&mut last["text"], &part["text"]);
                if signed {
                    last["thoughtSignature"] = part["thoughtSignature"].clone();
                }
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// The last event repeats all of it; the pieces before it must say the same.
fn responses(events: &[Value]) -> Value {
    let mut text = String::new();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at, "{event}");
        if event["type"] == "response.output_text.delta" {
            text.push_str(event["delta"].as_str().unwrap());
        }
    }
    let whole = events.last().unwrap()["response"].clone();
    let said: String = whole["output"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| item["content"].as_array().cloned().unwrap_or_default())
        .filter(|part| part["type"] == "output_text")
        .map(|part| part["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, text);
    whole
}
