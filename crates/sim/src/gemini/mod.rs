//! Gemini's dialect: methods on models, and how refusals look.

mod embed;
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
    let in_query = call.query_param("key");
    call.check_key(call.header("x-goog-api-key").or(in_query.as_deref()))?;
    let rest = path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1"));
    let Some(rest) = rest.and_then(|rest| rest.strip_prefix("/models")) else {
        return Err(not_found());
    };
    // The method follows the last colon; a model's own suffix comes before it.
    let named = rest.strip_prefix('/').map(|rest| match rest.rsplit_once(':') {
        Some((model, verb)) => (percent_decode(model), Some(verb)),
        None => (percent_decode(rest), None),
    });
    match (method, named) {
        (&Method::GET, None) => Ok(list(call)),
        (&Method::GET, Some((model, None))) => one(&model),
        (&Method::POST, Some((model, Some(verb)))) => match verb {
            "generateContent" => generate(call, &model, None),
            "streamGenerateContent" => generate(call, &model, Some(framing(call))),
            "countTokens" => count_tokens(call, &model),
            "embedContent" => embed::one(call, &model),
            "batchEmbedContents" => embed::many(call, &model),
            _ => Err(not_found()),
        },
        _ => Err(not_found()),
    }
}

fn not_found() -> Fault {
    Fault::new(FaultKind::NotFound, "Requested entity was not found.")
}

pub(crate) fn refuse(fault: &Fault, call: &Call<'_>) -> Reply {
    let (status, word) = match &fault.kind {
        FaultKind::Invalid { .. } | FaultKind::BadKey => (400, "INVALID_ARGUMENT"),
        FaultKind::Unauthorized => (401, "UNAUTHENTICATED"),
        FaultKind::MissingKey | FaultKind::Forbidden => (403, "PERMISSION_DENIED"),
        FaultKind::NotFound | FaultKind::ModelNotFound => (404, "NOT_FOUND"),
        FaultKind::MethodNotAllowed => (405, "INVALID_ARGUMENT"),
        FaultKind::TooLarge => (413, "INVALID_ARGUMENT"),
        FaultKind::RateLimited { .. } => (429, "RESOURCE_EXHAUSTED"),
        FaultKind::ServerError => (500, "INTERNAL"),
        FaultKind::Overloaded => (503, "UNAVAILABLE"),
        FaultKind::Redirect(_) => (307, "UNKNOWN"),
        FaultKind::Status(409) => (409, "ABORTED"),
        FaultKind::Status(499) => (499, "CANCELLED"),
        FaultKind::Status(501) => (501, "UNIMPLEMENTED"),
        FaultKind::Status(504) => (504, "DEADLINE_EXCEEDED"),
        FaultKind::Status(status) if *status < 500 => (*status, "FAILED_PRECONDITION"),
        FaultKind::Status(status) => (*status, "UNAVAILABLE"),
    };
    let message = match fault.kind {
        FaultKind::ModelNotFound => format!(
            "models/{} is not found for API version v1beta, or is not supported for this method. Call ListModels to see the list of available models and their supported methods.",
            fault.message
        ),
        FaultKind::BadKey => "API key not valid. Please pass a valid API key.".to_owned(),
        FaultKind::MissingKey => {
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.".to_owned()
        }
        _ => fault.message.clone(),
    };
    let mut error = json!({"code": status, "message": message, "status": word});
    if let Some(details) = details(&fault.kind) {
        error["details"] = details;
    }
    let body = json!({ "error": error });
    // The stream that is not SSE is one JSON array, errors included.
    let in_array = fault.stream && framing(call) == write::Framing::Array;
    let body = if in_array { json!([body]) } else { body };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Reply { stream: fault.stream, ..json_reply(status, body.to_string()) }
}

fn details(kind: &FaultKind) -> Option<Value> {
    match kind {
        FaultKind::BadKey => Some(json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }])),
        FaultKind::RateLimited { retry_after } => Some(json!([
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaMetric": "generativelanguage.googleapis.com/generate_content_requests"}],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{retry_after}s")},
        ])),
        _ => None,
    }
}

fn json_reply(status: StatusCode, body: String) -> Reply {
    let content_type = HeaderValue::from_static("application/json; charset=UTF-8");
    Reply::new(status, content_type, Payload::Whole(Bytes::from(body)))
}

fn framing(call: &Call<'_>) -> write::Framing {
    match call.query_param("alt").as_deref() {
        Some("sse") => write::Framing::Sse,
        _ => write::Framing::Array,
    }
}

/// What Gemini calls a request that it cannot parse.
fn parse(body: &[u8]) -> Result<Value, Fault> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Fault::invalid("Invalid JSON payload received. Expected an object.")),
    }
}

fn generate(call: &Call<'_>, model: &str, stream: Option<write::Framing>) -> Result<Reply, Fault> {
    let chosen = call.choose(model, Kind::Chat, stream.is_some())?;
    let refused_in_stream = |fault: Fault| Fault { stream: stream.is_some(), ..fault };
    let body = parse(call.body).map_err(refused_in_stream)?;
    let read = read::generate(&body, chosen.model, call.strict()).map_err(refused_in_stream)?;
    let answer = script::perform(chosen.model, &read.prompt, &chosen.control, call.seed);
    let bill = Bill { input: read.prompt.input, usage: answer.usage };
    let writer = write::Writer {
        model: crate::text::json(&chosen.name),
        response_id: id("", 22, call.seed),
        include_thoughts: read.include_thoughts,
        bill,
    };
    let reply = match stream {
        None => json_reply(StatusCode::OK, write::whole(&writer, &answer)),
        Some(framing) => {
            let content_type = match framing {
                write::Framing::Sse => HeaderValue::from_static("text/event-stream"),
                write::Framing::Array => HeaderValue::from_static("application/json; charset=UTF-8"),
            };
            let encoder = Box::new(write::Chunks::new(writer, framing));
            Reply::new(StatusCode::OK, content_type, Payload::Stream { encoder, answer })
        }
    };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..reply })
}

fn count_tokens(call: &Call<'_>, model: &str) -> Result<Reply, Fault> {
    let chosen = call.choose(model, Kind::Chat, false)?;
    let body = parse(call.body)?;
    let inner = read::field(&body, "generateContentRequest").unwrap_or(&body);
    let total = read::generate(inner, chosen.model, call.strict())?.prompt.input.total();
    let count = json!({
        "totalTokens": total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}],
    });
    Ok(Reply {
        model: Some((chosen.model, chosen.name)),
        control: chosen.control,
        ..json_reply(StatusCode::OK, count.to_string())
    })
}

/// The models, paged with `pageSize` and `pageToken`.
fn list(call: &Call<'_>) -> Reply {
    let number = |name: &str| call.query_param(name).and_then(|value| value.parse::<usize>().ok());
    let size = number("pageSize").unwrap_or(50).clamp(1, 1000);
    let rest = models().get(number("pageToken").unwrap_or(0)..).unwrap_or_default();
    let page = &rest[..rest.len().min(size)];
    let mut body = json!({"models": page.iter().map(card).collect::<Vec<_>>()});
    if rest.len() > size {
        let next = models().len() - rest.len() + size;
        body["nextPageToken"] = Value::from(next.to_string());
    }
    json_reply(StatusCode::OK, body.to_string())
}

fn one(name: &str) -> Result<Reply, Fault> {
    match name.parse::<Model>() {
        Ok(model) => Ok(json_reply(StatusCode::OK, card(model.card()).to_string())),
        Err(()) => {
            let shown: String = name.chars().take(64).collect();
            Err(Fault::new(FaultKind::ModelNotFound, shown))
        }
    }
}

fn card(model: &SimModel) -> Value {
    let methods = match model.kind {
        Kind::Chat => ["generateContent", "countTokens"].as_slice(),
        Kind::Embedding => ["embedContent"].as_slice(),
        Kind::Moderation | Kind::Rerank | Kind::Image | Kind::Speech | Kind::Transcription => [].as_slice(),
    };
    json!({
        "name": format!("models/{}", model.name),
        "version": "001",
        "displayName": format!("Practice {}", model.name),
        "description": model.does,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 1_048_576,
        "supportedGenerationMethods": methods,
        "thinking": model.name == "reason",
    })
}
