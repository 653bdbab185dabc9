//! OpenAI's dialect: which endpoint a path is, how refusals look, and what the endpoints share.

mod audio;
mod chat;
mod completions;
mod embeddings;
mod form;
mod images;
mod messages;
mod models;
mod moderations;
mod rerank;
mod responses;
mod responses_input;
mod responses_stream;

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::call::{Call, Chosen};
use crate::fault::{Fault, FaultKind};
use crate::model::REASONING;
use crate::prompt::{Input, Meter, Tool, ToolChoice};
use crate::reply::Reply;
use crate::script::Usage;
use crate::text::{id, json as quoted};

pub(crate) fn answer(call: &Call<'_>, method: &Method, path: &str) -> Result<Reply, Fault> {
    call.check_key(bearer(call))?;
    let reply = match (method, path) {
        (&Method::POST, "/v1/chat/completions") => chat::answer(call),
        (&Method::POST, "/v1/completions") => completions::answer(call),
        (&Method::POST, "/v1/responses") => responses::answer(call),
        (&Method::POST, "/v1/embeddings" | "/compatibility/v1/embeddings") => embeddings::answer(call, false),
        (&Method::POST, "/voyage/v1/embeddings") => embeddings::answer(call, true),
        (&Method::POST, "/v1/moderations") => moderations::answer(call),
        (&Method::POST, path) if rerank::Shape::of(path).is_some() => rerank::answer(call, path),
        (&Method::POST, "/v1/images/generations" | "/v1/images/edits" | "/v1/images/variations") => {
            images::answer(call, path)
        }
        (&Method::POST, "/v1/audio/speech") => audio::speech(call),
        (&Method::POST, "/v1/audio/transcriptions" | "/v1/audio/translations") => audio::heard(call, path),
        (&Method::GET, "/v1/models") => Ok(models::list()),
        (
            _,
            "/v1/chat/completions"
            | "/v1/completions"
            | "/v1/embeddings"
            | "/v1/models"
            | "/v1/responses"
            | "/v1/moderations",
        ) => {
            let message = format!("Not allowed to {method} on {path}.");
            Err(Fault::new(FaultKind::MethodNotAllowed, message))
        }
        (&Method::GET, _) if path.starts_with("/v1/models/") => models::one(&path["/v1/models/".len()..]),
        (&Method::GET | &Method::DELETE, _) if path.starts_with("/v1/responses/") => {
            let message = "Response not found: the practice provider stores none.";
            Err(Fault::new(FaultKind::NotFound, message))
        }
        _ => Err(Fault::new(FaultKind::NotFound, format!("Invalid URL ({method} {})", short(path)))),
    }?;
    Ok(with_headers(reply, call.seed))
}

pub(crate) fn refuse(fault: &Fault, call: &Call<'_>) -> Reply {
    let (status, kind, code, param) = match &fault.kind {
        FaultKind::Invalid { param, code } => (400, "invalid_request_error", *code, param.as_deref()),
        FaultKind::MissingKey => (401, "invalid_request_error", None, None),
        FaultKind::BadKey | FaultKind::Unauthorized => (401, "invalid_request_error", Some("invalid_api_key"), None),
        FaultKind::Forbidden => (403, "invalid_request_error", Some("insufficient_permissions"), None),
        FaultKind::NotFound => (404, "invalid_request_error", None, None),
        FaultKind::ModelNotFound => (404, "invalid_request_error", Some("model_not_found"), None),
        FaultKind::MethodNotAllowed => (405, "invalid_request_error", Some("method_not_supported"), None),
        FaultKind::TooLarge => (413, "invalid_request_error", None, None),
        FaultKind::RateLimited { .. } => (429, "requests", Some("rate_limit_exceeded"), None),
        FaultKind::ServerError => (500, "server_error", None, None),
        FaultKind::Overloaded => (503, "server_error", None, None),
        FaultKind::Redirect(_) => (307, "redirect", None, None),
        FaultKind::Status(status) if *status < 500 => (*status, "invalid_request_error", None, None),
        FaultKind::Status(status) => (*status, "server_error", None, None),
    };
    let message = match fault.kind {
        FaultKind::ModelNotFound => {
            format!("The model `{}` does not exist or you do not have access to it.", fault.message)
        }
        _ => fault.message.clone(),
    };
    let body = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reply = with_headers(Reply::json(status, body.to_string()), call.seed);
    match fault.kind {
        FaultKind::RateLimited { retry_after } => reply
            .text_header("retry-after", retry_after.to_string())
            .text_header("retry-after-ms", (retry_after * 1000).to_string())
            .text_header("x-ratelimit-remaining-requests", "0".to_owned())
            .text_header("x-ratelimit-reset-requests", format!("{retry_after}s")),
        _ => reply,
    }
}

fn with_headers(reply: Reply, seed: u64) -> Reply {
    let reply = reply.static_headers(&[
        ("openai-version", "2020-10-01"),
        ("openai-organization", "practice"),
        ("openai-processing-ms", "1"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "2000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "1999990"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "0s"),
    ]);
    match HeaderValue::try_from(id("req_", 32, seed)) {
        Ok(value) => reply.header(HeaderName::from_static("x-request-id"), value),
        Err(_) => reply,
    }
}

fn bearer<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    let (scheme, key) = call.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// At most 64 characters of what the caller sent, for messages.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn parse(body: &[u8]) -> Result<Value, Fault> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Fault::invalid("We could not parse the JSON body of your request. The API expects a JSON object.")),
    }
}

fn model_name(body: &Value) -> Result<&str, Fault> {
    match body.get("model") {
        Some(Value::String(name)) => Ok(name),
        Some(_) => Err(Fault::invalid_param("model", "Invalid type for 'model': expected a string.")),
        None => Err(Fault::invalid("you must provide a model parameter")),
    }
}

fn wants_stream(body: &Value) -> bool {
    body.get("stream").and_then(Value::as_bool).unwrap_or(false)
}

/// `stream_options.include_usage`.
fn include_usage(body: &Value) -> bool {
    body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false)
}

/// A whole number of at least `least`; null and absence are none.
fn number(body: &Value, name: &str, least: u64, strict: bool) -> Result<Option<u64>, Fault> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if number >= least => Ok(Some(number)),
            _ if !strict => Ok(None),
            Some(number) => Err(Fault::invalid_param(
                name,
                format!(
                    "Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {number} instead."
                ),
            )),
            None => Err(Fault::invalid_param(
                name,
                format!("Invalid type for '{name}': expected an integer, but got something else instead."),
            )),
        },
    }
}

/// `stop`: a string or a list of them.
fn stops(body: &Value) -> Vec<String> {
    match body.get("stop") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// `tool_choice` in the forms of both chat (`function.name`) and responses (`name`).
fn tool_choice(body: &Value) -> ToolChoice {
    match body.get("tool_choice") {
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::Object(named)) => {
            let name = named.get("function").and_then(|function| function.get("name"));
            match name.or(named.get("name")).and_then(Value::as_str) {
                Some(name) => ToolChoice::Named(name.to_owned()),
                None => ToolChoice::Auto,
            }
        }
        _ => ToolChoice::Auto,
    }
}

/// A function as chat nests it and responses doesn't.
fn function(declared: &Value) -> Option<Tool> {
    Some(Tool {
        name: declared.get("name")?.as_str()?.to_owned(),
        schema: declared.get("parameters").cloned().unwrap_or_else(|| json!({})),
    })
}

/// A meter that remembers prefixes when the request names a cache key, and that key.
fn meter(body: &Value) -> (Meter, Option<u64>) {
    let key = body.get("prompt_cache_key").and_then(Value::as_str).map(|key| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    });
    (Meter::new(key.is_some()), key)
}

fn settle(call: &Call<'_>, meter: &Meter, key: Option<u64>) -> Input {
    match key {
        Some(key) => call.state.cache.settle_key(key, meter),
        None => meter.plain(),
    }
}

/// `usage` of chat and legacy completions.
fn usage_json(input: Input, usage: Usage) -> String {
    format!(
        concat!(
            r#"{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"#,
            r#""prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0}},"#,
            r#""completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":0,"#,
            r#""accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#
        ),
        input.total(),
        usage.output,
        input.total() + usage.output,
        input.cache_read,
        usage.reasoning,
    )
}

/// Padding that makes the sizes of stream events say less about the text, as the real API adds it.
fn obfuscation(piece: &str) -> &'static str {
    const PADDING: &str = "q7Xv2KpT9sLm4WdZ";
    &PADDING[piece.len().min(PADDING.len())..]
}

fn ok(body: String) -> Reply {
    Reply::json(StatusCode::OK, Bytes::from(body))
}

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// What steers the choice of tokens, which models that reason do not take.
const STEERING: [&str; 6] =
    ["temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"];

/// Refuses what OpenAI refuses of models that reason, and a user's id that is too long for any.
fn check_steering(call: &Call<'_>, body: &Value, chosen: &Chosen) -> Result<(), Fault> {
    let user = body.get("user").and_then(Value::as_str).map_or(0, |user| user.chars().count());
    if call.strict() && user > 64 {
        return Err(Fault::invalid_param(
            "user",
            format!(
                "Invalid 'user': string too long. Expected a string with maximum length 64, but got a string with length {user} instead."
            ),
        ));
    }
    if !call.strict() || !chosen.name.starts_with(REASONING) {
        return Ok(());
    }
    let usual = |value: &Value| matches!(value.as_f64(), Some(0.0 | 1.0)) || value.is_null() || *value == false;
    match STEERING.iter().find(|name| body.get(**name).is_some_and(|value| !usual(value))) {
        None => Ok(()),
        Some(name) => Err(Fault::new(
            FaultKind::Invalid { param: Some((*name).to_owned()), code: Some("unsupported_value") },
            format!("Unsupported value: '{name}' is not supported with this model."),
        )),
    }
}
