//! A client that hides nothing: it keeps every chunk, and whether the answer ended as it should.

#![allow(dead_code, clippy::unwrap_used)] // each test file uses its own part

use std::net::SocketAddr;

use anykey_sim::{Running, Sim, SimOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn start() -> Running {
    start_with(None).await
}

pub async fn start_with(require_key: Option<&str>) -> Running {
    let opts = SimOptions { require_key: require_key.map(str::to_owned), faults: true, strict: true };
    Sim::bind("127.0.0.1:0".parse().unwrap(), opts).await.unwrap()
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The pieces of chunked framing; one for a body with a length.
    pub chunks: Vec<Vec<u8>>,
    /// Whether the framing was brought to its end.
    pub whole: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The events of a stream: name (empty where there is none) and data.
    pub fn events(&self) -> Vec<(String, Value)> {
        assert!(self.header("content-type").unwrap().starts_with("text/event-stream"));
        let text = self.text().replace("\r\n", "\n");
        assert!(text.ends_with("\n\n"), "the last event is not ended");
        let frames = text.split("\n\n").filter(|frame| !frame.is_empty());
        frames
            .map(|frame| {
                let (mut name, mut data) = (String::new(), Value::Null);
                for line in frame.lines() {
                    match line.split_once(": ").unwrap() {
                        ("event", value) => name = value.to_owned(),
                        ("data", "[DONE]") => data = json!("[DONE]"),
                        ("data", value) => data = serde_json::from_str(value).unwrap(),
                        other => panic!("{other:?}"),
                    }
                }
                (name, data)
            })
            .collect()
    }

    pub fn data(&self) -> Vec<Value> {
        self.events().into_iter().map(|(_, data)| data).collect()
    }
}

/// Sends one request on a connection of its own.
pub async fn send(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut stream = open(addr, method, path, headers, body).await;
    let mut raw = Vec::new();
    // A connection that breaks off is an outcome here, not an error.
    let _ = stream.read_to_end(&mut raw).await;
    parse(&raw)
}

/// Sends a request and leaves the answer to be read.
pub async fn open(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

fn parse(raw: &[u8]) -> Reply {
    let end = raw.windows(4).position(|at| at == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let rest = &raw[end + 4..];
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let (chunks, whole) = match chunked {
        true => unchunk(rest),
        false => {
            let length = headers.iter().find(|(name, _)| name == "content-length").unwrap();
            let whole = length.1.parse::<usize>().unwrap() == rest.len();
            (vec![rest.to_vec()], whole)
        }
    };
    Reply { status, headers, body: chunks.concat(), chunks, whole }
}

fn unchunk(mut rest: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|at| at == b"\r\n") else {
            return (chunks, false);
        };
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (chunks, rest == b"\r\n");
        }
        if rest.len() < size + 2 {
            chunks.push(rest[..size.min(rest.len())].to_vec());
            return (chunks, false);
        }
        chunks.push(rest[..size].to_vec());
        rest = &rest[size + 2..];
    }
}

pub async fn post(addr: SocketAddr, path: &str, body: Value) -> Reply {
    let headers: &[(&str, &str)] = match path.starts_with("/v1/messages") {
        true => &[("anthropic-version", "2023-06-01")],
        false => &[],
    };
    send(addr, "POST", path, headers, body.to_string().as_bytes()).await
}

pub async fn get(addr: SocketAddr, path: &str) -> Reply {
    send(addr, "GET", path, &[], b"").await
}

pub async fn books(addr: SocketAddr) -> Vec<Value> {
    match get(addr, "/_sim/books").await.json() {
        Value::Array(entries) => entries,
        other => panic!("{other}"),
    }
}

/// Ids and times differ from call to call; everything else must not.
pub fn masked(mut value: Value) -> Value {
    fn mask(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, inner) in map.iter_mut() {
                    let varies = [
                        "id",
                        "responseId",
                        "request_id",
                        "item_id",
                        "call_id",
                        "created",
                        "created_at",
                        "completed_at",
                    ];
                    match varies.contains(&name.as_str()) && !inner.is_null() {
                        true => *inner = json!("*"),
                        false => mask(inner),
                    }
                }
            }
            Value::Array(all) => all.iter_mut().for_each(mask),
            _ => {}
        }
    }
    mask(&mut value);
    value
}

/// A request for `model` in one of the four chat-like dialects, and how to read its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Chat,
    Responses,
    Messages,
    Gemini,
}

pub const DIALECTS: [Dialect; 4] = [Dialect::Chat, Dialect::Responses, Dialect::Messages, Dialect::Gemini];

/// What an answer said, and what it says that it cost.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub thinking: String,
    /// Names and arguments.
    pub calls: Vec<(String, Value)>,
    pub stop: String,
    /// Input, output with reasoning.
    pub usage: Option<(u64, u64)>,
}

impl Dialect {
    pub fn path(self, model: &str, stream: bool) -> String {
        match (self, stream) {
            (Dialect::Chat, _) => "/v1/chat/completions".to_owned(),
            (Dialect::Responses, _) => "/v1/responses".to_owned(),
            (Dialect::Messages, _) => "/v1/messages".to_owned(),
            (Dialect::Gemini, false) => format!("/v1beta/models/{}:generateContent", model.replace('?', "%3F")),
            (Dialect::Gemini, true) => {
                format!("/v1beta/models/{}:streamGenerateContent?alt=sse", model.replace('?', "%3F"))
            }
        }
    }

    /// A request that declares a tool and a schema, for the models that want them.
    pub fn body(self, model: &str, text: &str, max_tokens: Option<u64>, stream: bool) -> Value {
        let schema = json!({
            "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"], "additionalProperties": false,
        });
        let mut body = match self {
            Dialect::Chat => json!({
                "model": model, "messages": [{"role": "user", "content": text}],
                "max_completion_tokens": max_tokens, "stream": stream,
                "tools": [{"type": "function", "function": {"name": "weather", "parameters": schema}}],
                "response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": schema}},
            }),
            Dialect::Responses => json!({
                "model": model, "input": text, "max_output_tokens": max_tokens, "stream": stream,
                "tools": [{"type": "function", "name": "weather", "parameters": schema}],
                "text": {"format": {"type": "json_schema", "name": "w", "schema": schema}},
                "reasoning": {"summary": "auto"},
            }),
            Dialect::Messages => json!({
                "model": model, "messages": [{"role": "user", "content": text}],
                "max_tokens": max_tokens.unwrap_or(4096), "stream": stream,
                "tools": [{"name": "weather", "input_schema": schema}],
                "output_config": {"format": {"type": "json_schema", "schema": schema}},
            }),
            Dialect::Gemini => json!({
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": schema}]}],
                "generationConfig": {
                    "responseMimeType": "application/json", "responseJsonSchema": schema,
                    "thinkingConfig": {"includeThoughts": true}, "maxOutputTokens": max_tokens,
                },
            }),
        };
        if self == Dialect::Chat && stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        body
    }

    pub async fn ask(self, addr: SocketAddr, model: &str, text: &str, max_tokens: Option<u64>, stream: bool) -> Reply {
        let body = self.body(model, text, max_tokens, stream);
        post(addr, &self.path(model, stream), body).await
    }

    pub fn read(self, reply: &Reply, stream: bool) -> Said {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.whole, "the answer broke off");
        match (self, stream) {
            (Dialect::Chat, false) => read_chat(&reply.json()),
            (Dialect::Chat, true) => read_chat_stream(&reply.data()),
            (Dialect::Responses, false) => read_response(&reply.json()),
            (Dialect::Responses, true) => read_response_stream(&reply.data()),
            (Dialect::Messages, false) => read_message(&reply.json()),
            (Dialect::Messages, true) => read_message_stream(&reply.data()),
            (Dialect::Gemini, false) => read_gemini(&[reply.json()]),
            (Dialect::Gemini, true) => read_gemini(&reply.data()),
        }
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pair(usage: &Value, input: &str, output: &str) -> Option<(u64, u64)> {
    Some((usage.get(input)?.as_u64()?, usage.get(output)?.as_u64()?))
}

fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn read_chat(body: &Value) -> Said {
    let choice = &body["choices"][0];
    let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
    Said {
        text: string(&choice["message"]["content"]),
        calls: calls
            .iter()
            .map(|call| {
                let function = &call["function"];
                (string(&function["name"]), arguments(function["arguments"].as_str().unwrap()))
            })
            .collect(),
        stop: string(&choice["finish_reason"]),
        usage: pair(&body["usage"], "prompt_tokens", "completion_tokens"),
        ..Said::default()
    }
}

fn read_chat_stream(data: &[Value]) -> Said {
    assert_eq!(data.last(), Some(&json!("[DONE]")));
    let mut said = Said::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for chunk in &data[..data.len() - 1] {
        if chunk["choices"].as_array().unwrap().is_empty() {
            said.usage = pair(&chunk["usage"], "prompt_tokens", "completion_tokens");
        }
        let choice = &chunk["choices"][0];
        said.text += choice["delta"]["content"].as_str().unwrap_or_default();
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            if call.get("id").is_some() {
                assert_eq!(index, calls.len());
                calls.push((string(&call["function"]["name"]), String::new()));
            }
            calls[index].1 += call["function"]["arguments"].as_str().unwrap();
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            assert!(said.stop.is_empty(), "two ends");
            said.stop = reason.to_owned();
        }
    }
    said.calls = calls.into_iter().map(|(name, text)| (name, arguments(&text))).collect();
    said
}

fn read_response(body: &Value) -> Said {
    let mut said = Said {
        stop: string(&body["status"]),
        usage: pair(&body["usage"], "input_tokens", "output_tokens"),
        ..Said::default()
    };
    for item in body["output"].as_array().unwrap() {
        match item["type"].as_str().unwrap() {
            "message" => said.text += item["content"][0]["text"].as_str().unwrap(),
            "reasoning" => said.thinking += item["summary"][0]["text"].as_str().unwrap(),
            "function_call" => {
                let call = (string(&item["name"]), arguments(item["arguments"].as_str().unwrap()));
                said.calls.push(call);
            }
            other => panic!("{other}"),
        }
    }
    said
}

fn read_response_stream(data: &[Value]) -> Said {
    let said = read_response(&data.last().unwrap()["response"]);
    let joined = |kind: &str| -> String {
        let deltas = data.iter().filter(|event| event["type"] == kind);
        deltas.map(|event| event["delta"].as_str().unwrap()).collect()
    };
    assert_eq!(joined("response.output_text.delta"), said.text);
    assert_eq!(joined("response.reasoning_summary_text.delta"), said.thinking);
    said
}

fn read_message(body: &Value) -> Said {
    let mut said = Said {
        stop: string(&body["stop_reason"]),
        usage: pair(&body["usage"], "input_tokens", "output_tokens"),
        ..Said::default()
    };
    for block in body["content"].as_array().unwrap() {
        match block["type"].as_str().unwrap() {
            "text" => said.text += block["text"].as_str().unwrap(),
            "thinking" => said.thinking += block["thinking"].as_str().unwrap(),
            "tool_use" => said.calls.push((string(&block["name"]), block["input"].clone())),
            other => panic!("{other}"),
        }
    }
    said
}

fn read_message_stream(data: &[Value]) -> Said {
    let mut said = Said::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for event in data {
        let delta = &event["delta"];
        match event["type"].as_str().unwrap() {
            "content_block_start" if event["content_block"]["type"] == "tool_use" => {
                calls.push((string(&event["content_block"]["name"]), String::new()));
            }
            "content_block_delta" => match delta["type"].as_str().unwrap() {
                "text_delta" => said.text += delta["text"].as_str().unwrap(),
                "thinking_delta" => said.thinking += delta["thinking"].as_str().unwrap(),
                "input_json_delta" => calls.last_mut().unwrap().1 += delta["partial_json"].as_str().unwrap(),
                _ => {}
            },
            "message_delta" => {
                said.stop = string(&delta["stop_reason"]);
                said.usage = pair(&event["usage"], "input_tokens", "output_tokens");
            }
            _ => {}
        }
    }
    said.calls = calls.into_iter().map(|(name, text)| (name, arguments(&text))).collect();
    said
}

fn read_gemini(responses: &[Value]) -> Said {
    let mut said = Said::default();
    for response in responses {
        let candidate = &response["candidates"][0];
        for part in candidate["content"]["parts"].as_array().unwrap() {
            if let Some(call) = part.get("functionCall") {
                said.calls.push((string(&call["name"]), call["args"].clone()));
                continue;
            }
            let text = part["text"].as_str().unwrap();
            match part["thought"] == true {
                true => said.thinking += text,
                false => said.text += text,
            }
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            assert!(said.stop.is_empty(), "two ends");
            said.stop = reason.to_owned();
        }
        said.usage = response.get("usageMetadata").map(|usage| {
            let of = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
            let output = of("candidatesTokenCount") + of("thoughtsTokenCount");
            assert_eq!(of("totalTokenCount"), of("promptTokenCount") + output);
            (of("promptTokenCount"), output)
        });
    }
    said
}
