//! The items of a response's output, which its stream tells twice: bit by bit, and whole.

use crate::translate::form::{Citation, Stop};
use crate::translate::reply::Reply;
use crate::translate::seal::{Origin, Signature};
use crate::value::{Json, Object};
use anykey_core::{Unit, Usage};

/// A message of one part.
pub fn message(id: &str, status: &str, part: Option<Object>) -> Object {
    let content: Json = part.into_iter().map(Json::from).collect();
    Object::new()
        .with("id", id)
        .with("type", "message")
        .with("status", status)
        .with("role", "assistant")
        .with("content", content)
}

/// `logprobs` are those of its tokens.
pub fn text_part(text: &str, citations: &[Citation], logprobs: Vec<Json>) -> Object {
    let annotations: Json = citations.iter().map(annotation).collect();
    Object::new()
        .with("type", "output_text")
        .with("text", text)
        .with("annotations", annotations)
        .with("logprobs", logprobs)
}

pub fn refusal_part(text: &str) -> Object {
    Object::new().with("type", "refusal").with("refusal", text)
}

pub fn annotation(citation: &Citation) -> Json {
    let (start, end) = citation.range.unwrap_or_default();
    Object::new()
        .with("type", "url_citation")
        .with("start_index", start)
        .with("end_index", end)
        .with("url", &citation.url)
        .with("title", citation.title.as_deref().unwrap_or(&citation.url))
        .into()
}

pub fn reasoning(id: &str, text: &str, signature: Option<&Signature>) -> Object {
    let summary: Json =
        Some(text).filter(|t| !t.is_empty()).map(|text| Json::from(summary_part(text))).into_iter().collect();
    Object::new()
        .with("id", id)
        .with("type", "reasoning")
        .with("summary", summary)
        .maybe("encrypted_content", signature.map(|signature| signature.wrap(Origin::OpenAi)))
}

pub fn summary_part(text: &str) -> Object {
    Object::new().with("type", "summary_text").with("text", text)
}

pub fn call(id: &str, status: &str, call_id: &str, name: &str, arguments: &str) -> Object {
    Object::new()
        .with("id", id)
        .with("type", "function_call")
        .with("status", status)
        .with("call_id", call_id)
        .with("name", name)
        .with("arguments", arguments)
}

/// The whole response. `stop` is `None` while it is under way.
pub fn response(id: &str, output: Vec<Json>, stop: Option<&Stop>, usage: Option<&Usage>, reply: &Reply) -> Object {
    let reason = stop.and_then(incomplete);
    let status = match (stop, reason) {
        (None, _) => "in_progress",
        (Some(_), None) => "completed",
        (Some(_), Some(_)) => "incomplete",
    };
    let details = reason.map_or(Json::Null, |reason| Object::new().with("reason", reason).into());
    Object::new()
        .with("id", id)
        .with("object", "response")
        .with("created_at", reply.created)
        .with("status", status)
        .with("background", false)
        .with("error", Json::Null)
        .with("incomplete_details", details)
        .with("instructions", Json::Null)
        .with("max_output_tokens", Json::Null)
        .with("metadata", Object::new())
        .with("model", &reply.model)
        .with("output", output)
        .with("parallel_tool_calls", true)
        .with("previous_response_id", Json::Null)
        .with("store", false)
        .with("temperature", Json::Null)
        .with("text", Object::new().with("format", Object::new().with("type", "text")))
        .with("tool_choice", "auto")
        .with("tools", Vec::new())
        .with("top_p", Json::Null)
        .with("truncation", "disabled")
        .with("usage", usage.filter(|_| stop.is_some()).map_or(Json::Null, |usage| write_usage(usage).into()))
}

/// Why a response is not whole.
pub const fn incomplete(stop: &Stop) -> Option<&'static str> {
    match stop {
        Stop::Length => Some("max_output_tokens"),
        Stop::Refused => Some("content_filter"),
        Stop::End | Stop::Sequence(_) | Stop::ToolUse => None,
    }
}

/// Cached input is part of the input, and reasoning part of the output.
fn write_usage(usage: &Usage) -> Object {
    let (input, output) = (usage.input_tokens(), usage.output_tokens());
    let cached = usage.get(Unit::CacheRead).saturating_add(usage.get(Unit::AudioCacheRead));
    Object::new()
        .with("input_tokens", input)
        .with("input_tokens_details", Object::new().with("cached_tokens", cached))
        .with("output_tokens", output)
        .with("output_tokens_details", Object::new().with("reasoning_tokens", usage.get(Unit::Reasoning)))
        .with("total_tokens", input.saturating_add(output))
}
