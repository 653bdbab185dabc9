//! The clients of the journeys through translation: each asks in its own words and puts together what it gets as its SDK
//! would.

use crate::support::Dialect;
use anykey_testkit::{Request, events};
use serde_json::{Value, json};

/// A way to ask, as a client of it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Chat,
    Responses,
    Messages,
    Gemini,
}

impl Client {
    pub const ALL: [Client; 4] = [Client::Chat, Client::Responses, Client::Messages, Client::Gemini];

    pub fn dialect(self) -> Dialect {
        match self {
            Client::Chat | Client::Responses => Dialect::OpenAi,
            Client::Messages => Dialect::Anthropic,
            Client::Gemini => Dialect::Gemini,
        }
    }

    /// A question of one sentence, with members of the dialect's own.
    pub fn ask(self, model: &str, text: &str, stream: bool, more: Value) -> Request {
        let (path, mut body) = match self {
            Client::Chat => {
                let mut body = json!({ "model": model, "messages": [self.user(text)], "stream": stream });
                if stream {
                    body["stream_options"] = json!({ "include_usage": true });
                }
                ("/v1/chat/completions".to_owned(), body)
            }
            Client::Messages => (
                "/v1/messages".to_owned(),
                json!({ "model": model, "max_tokens": 3000, "messages": [self.user(text)], "stream": stream }),
            ),
            Client::Responses => (
                "/v1/responses".to_owned(),
                json!({ "model": model, "input": [self.user(text)], "stream": stream, "store": false }),
            ),
            Client::Gemini => {
                let model = model.replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
                let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                (format!("/v1beta/models/{model}:{method}"), json!({ "contents": [self.user(text)] }))
            }
        };
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let request = Request::post(path).body(body.to_string());
        if self == Client::Messages { request.header("anthropic-version", "2023-06-01") } else { request }
    }

    /// A turn of the user's.
    pub fn user(self, text: &str) -> Value {
        match self {
            Client::Gemini => json!({ "role": "user", "parts": [{ "text": text }] }),
            _ => json!({ "role": "user", "content": text }),
        }
    }

    /// The member that holds the conversation.
    pub fn turns(self) -> &'static str {
        match self {
            Client::Gemini => "contents",
            Client::Responses => "input",
            Client::Chat | Client::Messages => "messages",
        }
    }

    pub fn said(self, body: &Value) -> Said {
        match self {
            Client::Gemini => gemini_said(body),
            Client::Responses => responses_said(body),
            Client::Chat => chat_said(&body["choices"][0]["message"], &body["choices"][0]["finish_reason"], body),
            Client::Messages => messages_said(body),
        }
    }

    /// The whole answer that a stream amounts to, put together as an SDK does.
    pub fn gathered(self, body: &[u8]) -> Value {
        match self {
            Client::Chat => gather_chat(body),
            Client::Messages => gather_messages(body),
            Client::Gemini => gather_gemini(body),
            Client::Responses => gather_responses(body),
        }
    }

    pub fn tools(self, schema: Value) -> Value {
        match self {
            Client::Chat => {
                json!([{ "type": "function", "function": { "name": "look_up", "parameters": schema } }])
            }
            Client::Messages => json!([{ "name": "look_up", "input_schema": schema }]),
            Client::Responses => json!([{ "type": "function", "name": "look_up", "parameters": schema }]),
            Client::Gemini => {
                json!([{ "functionDeclarations": [{ "name": "look_up", "parametersJsonSchema": schema }] }])
            }
        }
    }
}

/// What an answer says, in no dialect's words.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub thinking: String,
    pub calls: Vec<(String, Value)>,
    pub stop: String,
    pub input: u64,
    pub output: u64,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn chat_said(message: &Value, stop: &Value, body: &Value) -> Said {
    assert_eq!(message["role"], "assistant", "{body}");
    let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
    Said {
        text: text(&message["content"]),
        thinking: text(&message["reasoning_content"]),
        calls: calls
            .iter()
            .map(|call| {
                let arguments = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                (text(&call["function"]["name"]), arguments)
            })
            .collect(),
        stop: match stop.as_str().unwrap() {
            "stop" => "end".to_owned(),
            "tool_calls" => "tool".to_owned(),
            other => other.to_owned(),
        },
        input: body["usage"]["prompt_tokens"].as_u64().unwrap(),
        output: body["usage"]["completion_tokens"].as_u64().unwrap(),
    }
}

fn messages_said(body: &Value) -> Said {
    assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")), "{body}");
    let blocks = body["content"].as_array().unwrap();
    let all = |kind: &str, name: &str| -> String {
        blocks.iter().filter(|b| b["type"] == kind).map(|b| text(&b[name])).collect()
    };
    let usage = |name: &str| body["usage"][name].as_u64().unwrap_or(0);
    Said {
        text: all("text", "text"),
        thinking: all("thinking", "thinking"),
        calls: blocks
            .iter()
            .filter(|b| b["type"] == "tool_use")
            .map(|b| (text(&b["name"]), b["input"].clone()))
            .collect(),
        stop: match body["stop_reason"].as_str().unwrap() {
            "end_turn" => "end".to_owned(),
            "tool_use" => "tool".to_owned(),
            "max_tokens" => "length".to_owned(),
            other => other.to_owned(),
        },
        input: usage("input_tokens") + usage("cache_read_input_tokens") + usage("cache_creation_input_tokens"),
        output: usage("output_tokens"),
    }
}

fn responses_said(body: &Value) -> Said {
    assert_eq!(body["object"], "response", "{body}");
    let output = body["output"].as_array().unwrap();
    let of = |kind: &'static str| output.iter().filter(move |item| item["type"] == kind);
    let texts = |list: &Value| -> String { list.as_array().unwrap().iter().map(|part| text(&part["text"])).collect() };
    let calls: Vec<(String, Value)> = of("function_call")
        .map(|call| (text(&call["name"]), serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap()))
        .collect();
    Said {
        text: of("message").map(|item| texts(&item["content"])).collect(),
        thinking: of("reasoning").map(|item| texts(&item["summary"])).collect(),
        stop: match (body["status"].as_str().unwrap(), calls.is_empty()) {
            ("completed", true) => "end".to_owned(),
            ("completed", false) => "tool".to_owned(),
            (other, _) => other.to_owned(),
        },
        calls,
        input: body["usage"]["input_tokens"].as_u64().unwrap(),
        output: body["usage"]["output_tokens"].as_u64().unwrap(),
    }
}

/// The last event repeats all of the answer, which the pieces before it add up to.
fn gather_responses(body: &[u8]) -> Value {
    let mut said = String::new();
    let mut whole = Value::Null;
    for (at, event) in events(body).into_iter().enumerate() {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(event.name), &json!(at)));
        assert!(whole.is_null(), "{data}");
        match event.name.as_str() {
            "response.output_text.delta" => said.push_str(data["delta"].as_str().unwrap()),
            "response.completed" | "response.incomplete" => whole = data["response"].clone(),
            _ => {}
        }
    }
    assert_eq!(responses_said(&whole).text, said);
    whole
}

fn gemini_said(body: &Value) -> Said {
    let candidate = &body["candidates"][0];
    assert_eq!(candidate["content"]["role"], "model", "{body}");
    let parts = candidate["content"]["parts"].as_array().unwrap();
    let all = |thought: bool| -> String {
        let is = |part: &&Value| part["thought"].as_bool().unwrap_or(false) == thought;
        parts.iter().filter(is).map(|part| text(&part["text"])).collect()
    };
    let calls: Vec<(String, Value)> = parts
        .iter()
        .filter_map(|part| part.get("functionCall"))
        .map(|call| (text(&call["name"]), call["args"].clone()))
        .collect();
    let usage = |name: &str| body["usageMetadata"][name].as_u64().unwrap_or(0);
    Said {
        text: all(false),
        thinking: all(true),
        stop: match candidate["finishReason"].as_str().unwrap() {
            "STOP" if calls.is_empty() => "end".to_owned(),
            "STOP" => "tool".to_owned(),
            other => other.to_owned(),
        },
        calls,
        input: usage("promptTokenCount"),
        output: usage("candidatesTokenCount") + usage("thoughtsTokenCount"),
    }
}

/// Every chunk is an answer of its own; texts go together, and the last has the counts.
fn gather_gemini(body: &[u8]) -> Value {
    let chunks: Vec<Value> = if body.starts_with(b"[") {
        serde_json::from_slice(body).unwrap()
    } else {
        events(body).iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect()
    };
    let mut parts: Vec<Value> = Vec::new();
    for chunk in &chunks {
        parts.extend(chunk["candidates"][0]["content"]["parts"].as_array().unwrap().iter().cloned());
    }
    let mut whole = chunks.last().unwrap().clone();
    let reasons = chunks.iter().filter(|chunk| chunk["candidates"][0]["finishReason"].is_string());
    assert_eq!(reasons.count(), 1);
    whole["candidates"][0]["content"]["parts"] = parts.into();
    whole
}

fn append(to: &mut Value, more: &Value) {
    let Some(more) = more.as_str() else { return };
    *to = Value::from(format!("{}{more}", to.as_str().unwrap_or_default()));
}

fn gather_chat(body: &[u8]) -> Value {
    let (mut message, mut stop, mut usage) = (json!({}), Value::Null, Value::Null);
    let mut events = events(body);
    assert_eq!(events.pop().unwrap().data, "[DONE]");
    for event in events {
        let chunk: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk");
        if chunk["choices"].as_array().unwrap().is_empty() {
            usage = chunk["usage"].clone();
            continue;
        }
        let (delta, reason) = (&chunk["choices"][0]["delta"], &chunk["choices"][0]["finish_reason"]);
        if delta["role"].is_string() {
            message["role"] = delta["role"].clone();
        }
        for name in ["content", "reasoning_content", "refusal"] {
            append(&mut message[name], &delta[name]);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let place = call["index"].as_u64().unwrap() as usize;
            if message["tool_calls"].is_null() {
                message["tool_calls"] = json!([]);
            }
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if calls.len() == place {
                calls.push(json!({ "id": call["id"], "function": { "name": call["function"]["name"] } }));
            }
            append(&mut calls[place]["function"]["arguments"], &call["function"]["arguments"]);
        }
        if reason.is_string() {
            assert!(stop.is_null());
            stop = reason.clone();
        }
    }
    json!({ "choices": [{ "message": message, "finish_reason": stop }], "usage": usage })
}

fn gather_messages(body: &[u8]) -> Value {
    let (mut message, mut open, mut over) = (Value::Null, None, false);
    for event in events(body) {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["type"], event.name, "{data}");
        assert!(!over, "{data}");
        match event.name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                assert_eq!(open, None, "blocks overlap");
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(data["index"], content.len());
                open = Some(content.len());
                content.push(data["content_block"].clone());
            }
            "content_block_delta" => {
                let block = &mut message["content"][open.unwrap()];
                let delta = &data["delta"];
                match delta["type"].as_str().unwrap() {
                    "text_delta" => append(&mut block["text"], &delta["text"]),
                    "thinking_delta" => append(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => append(&mut block["partial"], &delta["partial_json"]),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => {
                let block = &mut message["content"][open.take().unwrap()];
                if let Some(partial) = block["partial"].as_str() {
                    block["input"] = serde_json::from_str(partial).unwrap();
                }
            }
            "message_delta" => {
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["usage"] = data["usage"].clone();
            }
            "message_stop" => over = true,
            other => panic!("{other}"),
        }
    }
    assert!(over && open.is_none(), "{message}");
    message
}

pub fn schema() -> Value {
    json!({ "type": "object", "properties": { "q": { "type": "string" } }, "required": ["q"] })
}

/// The turn that answers every call of an answer, as a client's loop writes it.
pub fn next_turn(client: Client, answer: &Value, result: &str) -> Vec<Value> {
    match client {
        Client::Chat => {
            let message = answer["choices"][0]["message"].clone();
            let calls = message["tool_calls"].as_array().unwrap().clone();
            let mut turn = vec![json!({
                "role": "assistant", "content": message["content"],
                "tool_calls": calls.iter().map(|call| json!({
                    "id": call["id"], "type": "function", "function": call["function"],
                })).collect::<Vec<_>>(),
            })];
            turn.extend(
                calls.iter().map(|call| json!({ "role": "tool", "tool_call_id": call["id"], "content": result })),
            );
            turn
        }
        Client::Messages => {
            let content = answer["content"].clone();
            let results: Vec<Value> = content
                .as_array()
                .unwrap()
                .iter()
                .filter(|block| block["type"] == "tool_use")
                .map(|block| json!({ "type": "tool_result", "tool_use_id": block["id"], "content": result }))
                .collect();
            vec![json!({ "role": "assistant", "content": content }), json!({ "role": "user", "content": results })]
        }
        Client::Responses => {
            let mut turn: Vec<Value> = answer["output"].as_array().unwrap().clone();
            let calls: Vec<Value> = turn.iter().filter(|item| item["type"] == "function_call").cloned().collect();
            let answered =
                |call: &Value| json!({ "type": "function_call_output", "call_id": call["call_id"], "output": result });
            turn.extend(calls.iter().map(answered));
            turn
        }
        Client::Gemini => {
            let content = answer["candidates"][0]["content"].clone();
            let results: Vec<Value> = content["parts"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|part| part.get("functionCall"))
                .map(|call| json!({ "functionResponse": { "name": call["name"], "response": { "result": result } } }))
                .collect();
            vec![content, json!({ "role": "user", "parts": results })]
        }
    }
}
