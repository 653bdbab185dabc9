//! Reads what providers say when they refuse: their own shapes, their imitators' and pages of proxies in front of them.

use super::{RetryHints, UpstreamError};
use anykey_core::Dialect;
use bytes::Bytes;
use serde_json::Value;

/// The longest message that is passed on in another shape than its own.
const MESSAGE_LIMIT: usize = 512;

#[derive(Default)]
pub(super) struct Answer {
    pub message: Option<String>,
    pub kind: Option<String>,
    pub code: Option<String>,
    pub retry_after: Option<u32>,
    /// The body is an error as the provider's dialect defines it.
    pub in_shape: bool,
}

impl Answer {
    pub fn read(dialect: Dialect, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            // Gemini's streams without `alt=sse` are arrays, also when they fail.
            Ok(Value::Array(mut list)) if dialect == Dialect::Gemini && !list.is_empty() => {
                Answer::from_json(dialect, &list.swap_remove(0))
            }
            Ok(json) => Answer::from_json(dialect, &json),
            Err(_) => Answer { message: page_message(body), ..Answer::default() },
        }
    }

    fn from_json(dialect: Dialect, json: &Value) -> Self {
        let error = &json["error"];
        let message = [&error["message"], error, &json["message"], &json["detail"]].into_iter().find_map(Value::as_str);
        let reason = details(error).find_map(|d| d["reason"].as_str());
        let (kind, code) = match dialect {
            Dialect::OpenAi => (&error["type"], word(&error["code"])),
            Dialect::Anthropic => (&error["type"], word(&error["code"])),
            Dialect::Gemini => (&error["status"], reason.map(str::to_owned)),
        };
        let in_shape = match dialect {
            Dialect::OpenAi => error["message"].is_string(),
            Dialect::Anthropic => json["type"] == "error" && error["type"].is_string() && error["message"].is_string(),
            Dialect::Gemini => error["code"].is_number() && error["message"].is_string(),
        };
        Answer {
            message: message.map(clean).filter(|m| !m.is_empty()),
            kind: word(kind),
            code,
            retry_after: details(error).find_map(|d| delay_seconds(d["retryDelay"].as_str()?)),
            in_shape,
        }
    }

    /// Gemini answers 400, not 401, when the key is bad.
    pub fn bad_api_key(&self) -> bool {
        self.code.as_deref() == Some("API_KEY_INVALID")
            || self.message.as_deref().is_some_and(|m| m.starts_with("API key not valid"))
    }
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error["details"].as_array().into_iter().flatten()
}

/// A short machine word; OpenAI's imitators also write numbers.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(clean(text)).filter(|t| !t.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Takes control characters out and cuts to the limit.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MESSAGE_LIMIT));
    for c in text.trim().chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > MESSAGE_LIMIT {
            break;
        }
        out.push(c);
    }
    out
}

/// What a body that isn't JSON says: the title of a page, or the text itself.
fn page_message(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(8 * MESSAGE_LIMIT)]);
    let text = text.trim();
    let said = if text.starts_with('<') { title(text)? } else { text };
    Some(clean(said)).filter(|m| !m.is_empty())
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(page[start..end].trim())
}

/// Milliseconds come first, being finer. A date in `retry-after` is not read: no provider sends one.
pub(super) fn retry_seconds(hints: RetryHints<'_>) -> Option<u32> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let ms = hints.retry_after_ms.and_then(number).map(|ms| ms / 1000.0);
    ms.or_else(|| hints.retry_after.and_then(number)).map(|seconds| seconds.ceil() as u32)
}

/// A protobuf duration: `7s`, `0.25s`.
fn delay_seconds(text: &str) -> Option<u32> {
    retry_seconds(RetryHints { retry_after: Some(text.strip_suffix('s')?), retry_after_ms: None })
}

/// An error event inside a stream. `payload` is its JSON.
pub(crate) fn in_stream(dialect: Dialect, payload: &str) -> UpstreamError {
    let mut answer = Answer::read(dialect, payload.as_bytes());
    if answer.kind.is_none() && answer.code.is_none() {
        // The responses API puts the fields beside `type`.
        answer.code = serde_json::from_str::<Value>(payload).ok().and_then(|json| word(&json["code"]));
    }
    let status = status_of(&answer);
    UpstreamError {
        status,
        upstream_status: status,
        message: answer.message.unwrap_or_else(|| "The provider reported an error in the stream.".into()),
        kind: answer.kind,
        code: answer.code,
        retry_after: answer.retry_after,
        body: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// The status that a class of errors stands for.
fn status_of(answer: &Answer) -> u16 {
    let words = [answer.code.as_deref(), answer.kind.as_deref()];
    let known = |word: &str| match word {
        "invalid_request_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "invalid_prompt" => Some(400),
        "authentication_error" | "UNAUTHENTICATED" => Some(401),
        "billing_error" => Some(402),
        "permission_error" | "PERMISSION_DENIED" => Some(403),
        "not_found_error" | "NOT_FOUND" => Some(404),
        "request_too_large" => Some(413),
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "RESOURCE_EXHAUSTED" => Some(429),
        "UNAVAILABLE" => Some(503),
        "timeout_error" | "DEADLINE_EXCEEDED" => Some(504),
        "overloaded_error" => Some(529),
        number => number.parse().ok().filter(|n| (400..600).contains(n)),
    };
    words.into_iter().flatten().find_map(known).unwrap_or(500)
}
