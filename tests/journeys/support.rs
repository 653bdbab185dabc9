//! What the journeys share: the endpoints with a call for each, the shapes of refusals, and a gateway with its provider.

use anykey_testkit::{Entry, Key, Reply, Request, Setup, TestGateway, TestSim, cost, nanos};
use serde_json::{Value, json};

/// The real binary.
pub fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_anykey"))
}

/// A gateway in front of the practice provider, and a key.
pub struct World {
    pub sim: TestSim,
    pub gateway: TestGateway,
    pub key: Key,
}

impl World {
    pub fn start() -> Self {
        let sim = TestSim::start();
        let gateway = setup().sim(&sim).start();
        let key = gateway.key("journey");
        World { sim, gateway, key }
    }

    /// Calls with the key as a bearer.
    pub fn call(&self, request: &Request) -> Reply {
        self.gateway.call(&request.clone().bearer(&self.key.secret))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Dialect {
    pub const ALL: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

    /// The name of the dialect, and of the provider that speaks it here.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
        }
    }

    /// Every prefix under which the contract serves the dialect, and the doubled slashes of base URLs that end in one.
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Dialect::OpenAi => &["/v1", "/api/v1", "/openai/v1", "/v1/", "//v1"],
            Dialect::Anthropic => &["/v1", "/api/v1", "/openai/v1", "/anthropic/v1", "/anthropic/v1/", "//v1"],
            Dialect::Gemini => &["/v1", "/api/v1", "/openai/v1", "/v1beta", "/v1beta/", "//v1beta"],
        }
    }

    /// The plainest endpoint that generates text.
    pub fn chat(self) -> &'static Endpoint {
        let name = match self {
            Dialect::OpenAi => "chat_completions",
            Dialect::Anthropic => "messages",
            Dialect::Gemini => "generate_content",
        };
        ENDPOINTS.iter().find(|e| e.name == name).unwrap()
    }
}

/// Something that can be called, with the smallest body that a provider takes.
pub struct Endpoint {
    /// As in records.
    pub name: &'static str,
    pub dialect: Dialect,
    /// Below a prefix; `{model}` stands for the model.
    pub path: &'static str,
    pub model: &'static str,
    /// `{model}` and `{text}` are filled in.
    pub body: &'static str,
}

const fn endpoint(
    name: &'static str,
    dialect: Dialect,
    path: &'static str,
    model: &'static str,
    body: &'static str,
) -> Endpoint {
    Endpoint { name, dialect, path, model, body }
}

pub const ENDPOINTS: [Endpoint; 11] = [
    endpoint(
        "chat_completions",
        Dialect::OpenAi,
        "chat/completions",
        "echo",
        r#"{"model":"{model}","messages":[{"role":"user","content":"{text}"}]}"#,
    ),
    endpoint("completions", Dialect::OpenAi, "completions", "echo", r#"{"model":"{model}","prompt":"{text}"}"#),
    endpoint("responses", Dialect::OpenAi, "responses", "echo", r#"{"model":"{model}","input":"{text}"}"#),
    endpoint("embeddings", Dialect::OpenAi, "embeddings", "embed", r#"{"model":"{model}","input":"{text}"}"#),
    endpoint(
        "messages",
        Dialect::Anthropic,
        "messages",
        "echo",
        r#"{"model":"{model}","max_tokens":1000,"messages":[{"role":"user","content":"{text}"}]}"#,
    ),
    endpoint(
        "count_tokens",
        Dialect::Anthropic,
        "messages/count_tokens",
        "echo",
        r#"{"model":"{model}","messages":[{"role":"user","content":"{text}"}]}"#,
    ),
    endpoint(
        "generate_content",
        Dialect::Gemini,
        "models/{model}:generateContent",
        "echo",
        r#"{"contents":[{"role":"user","parts":[{"text":"{text}"}]}]}"#,
    ),
    endpoint(
        "stream_generate_content",
        Dialect::Gemini,
        "models/{model}:streamGenerateContent",
        "echo",
        r#"{"contents":[{"role":"user","parts":[{"text":"{text}"}]}]}"#,
    ),
    endpoint(
        "gemini_count_tokens",
        Dialect::Gemini,
        "models/{model}:countTokens",
        "echo",
        r#"{"contents":[{"role":"user","parts":[{"text":"{text}"}]}]}"#,
    ),
    endpoint(
        "embed_content",
        Dialect::Gemini,
        "models/{model}:embedContent",
        "embed",
        r#"{"content":{"parts":[{"text":"{text}"}]}}"#,
    ),
    endpoint(
        "batch_embed_contents",
        Dialect::Gemini,
        "models/{model}:batchEmbedContents",
        "embed",
        r#"{"requests":[{"model":"models/{model}","content":{"parts":[{"text":"{text}"}]}}]}"#,
    ),
];

impl Endpoint {
    pub fn is_free(&self) -> bool {
        self.name.ends_with("count_tokens")
    }

    /// A call to a model by its full name, without a credential.
    pub fn to(&self, prefix: &str, model: &str) -> Request {
        let path = self.path.replace("{model}", &in_path(model));
        let body = self.body.replace("{model}", model).replace("{text}", "hello there, gateway");
        let request = Request::post(format!("{prefix}/{path}")).body(body);
        match self.dialect {
            Dialect::Anthropic => request.header("anthropic-version", "2023-06-01"),
            _ => request,
        }
    }

    /// A call under `/v1` to a model of the provider that speaks the dialect.
    pub fn at(&self, model: &str) -> Request {
        self.to("/v1", &format!("{}/{model}", self.dialect.name()))
    }

    /// The same with other members, or other values of them.
    pub fn with(&self, model: &str, members: &Value) -> Request {
        let mut request = self.at(model);
        let mut body: Value = serde_json::from_slice(&request.body.take().unwrap()).unwrap();
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        Request { body: Some(body.to_string().into_bytes()), ..request }
    }
}

/// A model in a path: its slash stays, what a path cannot hold is escaped.
fn in_path(model: &str) -> String {
    model.replace('?', "%3F").replace('=', "%3D").replace('&', "%26")
}

/// A way to ask for a stream.
pub struct Streaming {
    pub name: &'static str,
    pub dialect: Dialect,
    pub request: fn(&str) -> Request,
    pub content_type: &'static str,
}

fn stream_of(endpoint: &str, model: &str) -> Request {
    let members = match endpoint {
        // The legacy API says sixteen tokens where nobody asks for more.
        "completions" => json!({ "stream": true, "max_tokens": 16_000 }),
        // Enough that a long answer ends only when somebody ends it.
        "messages" => json!({ "stream": true, "max_tokens": 30_000 }),
        _ => json!({ "stream": true }),
    };
    ENDPOINTS.iter().find(|e| e.name == endpoint).unwrap().with(model, &members)
}

fn gemini_stream(model: &str, query: &str) -> Request {
    let mut request = ENDPOINTS.iter().find(|e| e.name == "stream_generate_content").unwrap().at(model);
    request.target += query;
    request
}

pub const STREAMS: [Streaming; 6] = [
    Streaming {
        name: "chat",
        dialect: Dialect::OpenAi,
        content_type: "text/event-stream",
        request: |model| stream_of("chat_completions", model),
    },
    Streaming {
        name: "completions",
        dialect: Dialect::OpenAi,
        content_type: "text/event-stream",
        request: |model| stream_of("completions", model),
    },
    Streaming {
        name: "responses",
        dialect: Dialect::OpenAi,
        content_type: "text/event-stream",
        request: |model| stream_of("responses", model),
    },
    Streaming {
        name: "messages",
        dialect: Dialect::Anthropic,
        content_type: "text/event-stream",
        request: |model| stream_of("messages", model),
    },
    Streaming {
        name: "gemini sse",
        dialect: Dialect::Gemini,
        content_type: "text/event-stream",
        request: |model| gemini_stream(model, "?alt=sse"),
    },
    Streaming {
        name: "gemini array",
        dialect: Dialect::Gemini,
        content_type: "application/json",
        request: |model| gemini_stream(model, ""),
    },
];

impl Streaming {
    /// Whether a stream's content says that the answer is over.
    pub fn is_over(&self, body: &[u8]) -> bool {
        let text = String::from_utf8_lossy(body);
        match self.name {
            "chat" | "completions" => text.contains("data: [DONE]"),
            "responses" => text.contains("event: response.completed"),
            "messages" => text.contains("event: message_stop"),
            "gemini sse" => text.contains("\"finishReason\""),
            _ => text.trim_end().ends_with(']') && text.contains("\"finishReason\""),
        }
    }
}

fn sum(usage: &Value, units: &[&str]) -> u64 {
    units.iter().map(|unit| usage[unit].as_u64().unwrap_or(0)).sum()
}

/// Model checked = model sent = model charged, and the tokens that the provider billed at the catalogue's price.
pub fn assert_one_decision(world: &World, endpoint: &str, dialect: Dialect, model: &str, reply: &Reply, entry: &Entry) {
    let record = world.gateway.record(reply.id());
    let asked = format!("{}/{model}", dialect.name());
    let said = format!("{record:#}\n{}", entry.0);
    assert_eq!(record["endpoint"], endpoint, "{said}");
    assert_eq!(record["key_id"], world.key.id, "{said}");
    assert_eq!(record["model_asked"], asked, "{said}");
    assert_eq!(record["provider"], dialect.name(), "{said}");
    assert_eq!(record["model_sent"], model, "{said}");
    assert_eq!(entry.text("model"), model, "{said}");
    assert_eq!(entry.text("dialect"), dialect.name(), "{said}");
    assert_eq!(
        (&record["outcome"], &record["status"], &record["attempt"]),
        (&json!("completed"), &json!(200), &json!(1))
    );
    let usage = &record["usage"];
    let spent = nanos(record["cost_usd"].as_str().unwrap());
    if endpoint.ends_with("count_tokens") {
        assert_eq!(spent, 0, "{said}");
        return;
    }
    assert_eq!(record["usage_source"], "reported", "{said}");
    let input = sum(usage, &["input", "cache_read", "cache_write_5m", "cache_write_1h"]);
    assert_eq!(input, entry.number("input_tokens"), "{said}");
    assert_eq!(sum(usage, &["output", "reasoning"]), entry.number("output_tokens"), "{said}");
    assert_eq!(spent, cost(dialect.name(), model, usage), "{said}");
    assert!(spent > 0, "{said}");
    if let Some(shown) = reply.header("x-anykey-cost") {
        assert_eq!(nanos(shown), spent, "{said}");
    }
}

/// A refusal of this status and code in exactly the shape of a dialect. Gives its message.
pub fn assert_refusal(reply: &Reply, dialect: Dialect, status: u16, code: &str) -> String {
    let said = format!("{} {:?} {}", reply.status, reply.headers, reply.text());
    assert_eq!(reply.status, status, "{code}: {said}");
    assert!(reply.whole, "{said}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{said}");
    let body = reply.json();
    let message = assert_error(&body, dialect, status, code, reply.id());
    assert!(!message.is_empty() && message.len() < 1024, "{said}");
    message
}

/// An error's JSON, member by member. Gives its message.
pub fn assert_error(body: &Value, dialect: Dialect, status: u16, code: &str, id: &str) -> String {
    let error = &body["error"];
    let message = &error["message"];
    match dialect {
        Dialect::OpenAi => {
            let expected = json!({ "error": {
                "message": message, "type": openai_type(status), "param": error["param"], "code": code, "request_id": id,
            } });
            assert_eq!(*body, expected);
            assert!(error["param"].is_null() || error["param"].is_string(), "{body}");
        }
        Dialect::Anthropic => {
            let expected = json!({
                "type": "error",
                "error": { "type": anthropic_type(status), "message": message, "code": code },
                "request_id": id,
            });
            assert_eq!(*body, expected);
        }
        Dialect::Gemini => {
            assert_eq!(error["code"], status, "{body}");
            assert_eq!(error["status"], gemini_status(status), "{body}");
            let info = &error["details"][0];
            assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{body}");
            assert_eq!(info["reason"], code.to_uppercase(), "{body}");
            assert_eq!(info["metadata"]["code"], code, "{body}");
            assert_eq!(info["metadata"]["request_id"], id, "{body}");
            assert_eq!(error.as_object().unwrap().len(), 4, "{body}");
        }
    }
    message.as_str().unwrap().to_owned()
}

fn openai_type(status: u16) -> &'static str {
    match status {
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        408 | 504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        501.. => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}
