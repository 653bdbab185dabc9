//! Anthropic's dialect: messages, token counts and models, and how refusals look.

mod check;
mod read;
mod write;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::books::Bill;
use crate::call::Call;
use crate::fault::{Fault, FaultKind};
use crate::model::{Kind, Model, SimModel, models};
use crate::reply::{Payload, Reply};
use crate::script;
use crate::text::{id, percent_decode};

pub(crate) fn answer(call: &Call<'_>, method: &Method, path: &str) -> Result<Reply, Fault> {
    call.check_key(call.header("x-api-key"))?;
    if call.header("anthropic-version").is_none() {
        return Err(Fault::invalid("anthropic-version: header is required"));
    }
    let reply = match (method, path) {
        (&Method::POST, "/v1/messages") => messages(call),
        (&Method::POST, "/v1/messages/count_tokens") => count_tokens(call),
        (&Method::GET, "/v1/models") => Ok(list(call)),
        (_, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models") => {
            Err(Fault::new(FaultKind::MethodNotAllowed, "Method Not Allowed"))
        }
        (&Method::GET, _) if path.starts_with("/v1/models/") => one(&path["/v1/models/".len()..]),
        _ => Err(Fault::new(FaultKind::NotFound, "Not Found")),
    }?;
    Ok(with_headers(reply, call))
}

pub(crate) fn refuse(fault: &Fault, call: &Call<'_>) -> Reply {
    let (status, kind) = match &fault.kind {
        FaultKind::Invalid { .. } => (400, "invalid_request_error"),
        FaultKind::MissingKey | FaultKind::BadKey | FaultKind::Unauthorized => (401, "authentication_error"),
        FaultKind::Forbidden => (403, "permission_error"),
        FaultKind::NotFound | FaultKind::ModelNotFound => (404, "not_found_error"),
        FaultKind::MethodNotAllowed => (405, "invalid_request_error"),
        FaultKind::TooLarge => (413, "request_too_large"),
        FaultKind::RateLimited { .. } => (429, "rate_limit_error"),
        FaultKind::ServerError => (500, "api_error"),
        FaultKind::Overloaded => (529, "overloaded_error"),
        FaultKind::Redirect(_) => (307, "api_error"),
        FaultKind::Status(529) => (529, "overloaded_error"),
        FaultKind::Status(402) => (402, "billing_error"),
        FaultKind::Status(504) => (504, "timeout_error"),
        FaultKind::Status(status) if *status < 500 => (*status, "invalid_request_error"),
        FaultKind::Status(status) => (*status, "api_error"),
    };
    let message = match fault.kind {
        FaultKind::ModelNotFound => format!("model: {}", fault.message),
        FaultKind::MissingKey => "x-api-key header is required".to_owned(),
        FaultKind::BadKey => "invalid x-api-key".to_owned(),
        FaultKind::Overloaded => "Overloaded".to_owned(),
        _ => fault.message.clone(),
    };
    let body = json!({
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": request_id(call),
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reply = with_headers(Reply::json(status, body.to_string()), call);
    match fault.kind {
        FaultKind::RateLimited { retry_after } => reply
            .text_header("retry-after", retry_after.to_string())
            .text_header("anthropic-ratelimit-requests-remaining", "0".to_owned()),
        _ => reply,
    }
}

fn request_id(call: &Call<'_>) -> String {
    id("req_01", 22, call.seed)
}

fn with_headers(reply: Reply, call: &Call<'_>) -> Reply {
    const RESET: &str = "2026-01-01T00:00:00Z";
    reply
        .static_headers(&[
            ("anthropic-organization-id", "b0a1c2d3-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", RESET),
            ("anthropic-ratelimit-input-tokens-limit", "400000"),
            ("anthropic-ratelimit-input-tokens-remaining", "400000"),
            ("anthropic-ratelimit-input-tokens-reset", RESET),
            ("anthropic-ratelimit-output-tokens-limit", "80000"),
            ("anthropic-ratelimit-output-tokens-remaining", "80000"),
            ("anthropic-ratelimit-output-tokens-reset", RESET),
        ])
        .text_header("request-id", request_id(call))
}

fn parse(body: &[u8]) -> Result<Value, Fault> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Fault::invalid("Input should be a valid dictionary")),
        Err(_) => Err(Fault::invalid("The request body is not valid JSON")),
    }
}

fn model_name(body: &Value) -> Result<&str, Fault> {
    match body.get("model") {
        Some(Value::String(name)) => Ok(name),
        Some(_) => Err(Fault::invalid("model: Input should be a valid string")),
        None => Err(Fault::invalid("model: Field required")),
    }
}

fn messages(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    let stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let chosen = call.choose(model_name(&body)?, Kind::Chat, stream)?;
    if call.strict() {
        check::request(&body)?;
    }
    let meter = read::Request::new(call.body).read(&body)?;
    let mut prompt = meter.prompt;
    prompt.input = call.state.cache.settle_markers(&meter.meter);
    let omit_thinking = body.pointer("/thinking/display").and_then(Value::as_str) == Some("omitted");
    let answer = script::perform(chosen.model, &prompt, &chosen.control, call.seed);
    let bill = Bill { input: prompt.input, usage: answer.usage };
    let head =
        write::Head { id: id("msg_01", 22, call.seed), model: crate::text::json(&chosen.name), omit_thinking, bill };
    let reply = match stream {
        false => Reply::json(StatusCode::OK, Bytes::from(write::whole(&head, &answer))),
        true => {
            let content_type = HeaderValue::from_static("text/event-stream; charset=utf-8");
            let encoder = Box::new(write::Events::new(head));
            Reply::new(StatusCode::OK, content_type, Payload::Stream { encoder, answer })
        }
    };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..reply })
}

fn count_tokens(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    let chosen = call.choose(model_name(&body)?, Kind::Chat, false)?;
    if call.strict() {
        check::conversation(&body)?;
    }
    let read = read::Request::new(call.body).read(&body)?;
    let count = json!({"input_tokens": read.meter.plain().total()});
    Ok(Reply {
        model: Some((chosen.model, chosen.name)),
        control: chosen.control,
        ..Reply::json(StatusCode::OK, count.to_string())
    })
}

/// The models, paged with `limit`, `after_id` and `before_id` as the SDKs page them.
fn list(call: &Call<'_>) -> Reply {
    let all = models();
    let limit = call.query_param("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20usize).max(1);
    let place = |name: &str| call.query_param(name).and_then(|id| all.iter().position(|model| model.name == id));
    let (page, has_more) = match (place("after_id"), place("before_id")) {
        (None, Some(before)) => (&all[before.saturating_sub(limit)..before], before > limit),
        (after, _) => {
            let rest = &all[after.map_or(0, |at| at + 1)..];
            (&rest[..rest.len().min(limit)], rest.len() > limit)
        }
    };
    let body = json!({
        "data": page.iter().map(card).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": page.first().map(|model| model.name),
        "last_id": page.last().map(|model| model.name),
    });
    Reply::json(StatusCode::OK, body.to_string())
}

fn one(name: &str) -> Result<Reply, Fault> {
    let name = percent_decode(name);
    match name.parse::<Model>() {
        Ok(model) => Ok(Reply::json(StatusCode::OK, card(model.card()).to_string())),
        Err(()) => {
            let shown: String = name.chars().take(64).collect();
            Err(Fault::new(FaultKind::ModelNotFound, shown))
        }
    }
}

fn card(model: &SimModel) -> Value {
    json!({
        "type": "model",
        "id": model.name,
        "display_name": format!("Practice {}", model.name),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 1_000_000,
        "max_tokens": 1_000_000,
    })
}
