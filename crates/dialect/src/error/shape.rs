//! The three shapes of an error body, and the words that each dialect has for a status.

use anykey_core::{Dialect, Refusal};
use bytes::Bytes;
use serde::Serialize;

/// An error before it has a shape.
pub(crate) struct Said<'a> {
    pub status: u16,
    /// The machine code.
    pub code: &'a str,
    pub message: &'a str,
    pub param: Option<&'a str>,
    pub retry_after: Option<u32>,
    pub request_id: &'a str,
}

impl<'a> Said<'a> {
    pub fn refusal(refusal: &'a Refusal, request_id: &'a str) -> Self {
        Said {
            status: refusal.status(),
            code: refusal.code.name(),
            message: &refusal.message,
            param: refusal.param.as_deref(),
            retry_after: refusal.retry_after,
            request_id,
        }
    }

    pub fn body(&self, dialect: Dialect) -> Bytes {
        match dialect {
            Dialect::OpenAi => json(&OpenAi { error: self.openai() }),
            Dialect::Anthropic => json(&self.anthropic()),
            Dialect::Gemini => json(&Gemini { error: self.gemini() }),
        }
    }

    /// An `error` event of the responses API: the fields stand in the event as its schema says, and under `error`, where
    /// SDKs look when they decide whether to raise.
    pub fn response_event(&self, sequence_number: u64) -> Bytes {
        json(&ResponseError {
            kind: "error",
            code: self.code,
            message: self.message,
            param: self.param,
            sequence_number,
            error: self.openai(),
        })
    }

    fn openai(&self) -> OpenAiError<'_> {
        OpenAiError {
            message: self.message,
            kind: openai_type(self.status),
            param: self.param,
            code: self.code,
            request_id: self.request_id,
        }
    }

    fn anthropic(&self) -> Anthropic<'_> {
        let error = AnthropicError { kind: anthropic_type(self.status), message: self.message, code: self.code };
        Anthropic { kind: "error", error, request_id: self.request_id }
    }

    fn gemini(&self) -> GeminiError<'_> {
        let metadata = Metadata { code: self.code, param: self.param, request_id: self.request_id };
        let mut details = vec![Detail::ErrorInfo { reason: reason(self.code), domain: "anykey", metadata }];
        if let Some(seconds) = self.retry_after {
            details.push(Detail::RetryInfo { retry_delay: format!("{seconds}s") });
        }
        GeminiError { code: self.status, message: self.message, status: gemini_status(self.status), details }
    }
}

/// Serialising these types cannot fail: they hold only strings and numbers.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct ResponseError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    sequence_number: u64,
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'a str,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    code: &'a str,
}

#[derive(Serialize)]
struct Gemini<'a> {
    error: GeminiError<'a>,
}

#[derive(Serialize)]
struct GeminiError<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    details: Vec<Detail<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "@type")]
enum Detail<'a> {
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo { reason: String, domain: &'static str, metadata: Metadata<'a> },
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo", rename_all = "camelCase")]
    RetryInfo { retry_delay: String },
}

#[derive(Serialize)]
struct Metadata<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    request_id: &'a str,
}

/// Google writes reasons in upper case with underscores.
fn reason(code: &str) -> String {
    code.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// SDKs choose their class by the status; the type is what people and logs read. 402 is a status that no SDK retries.
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
        503 | 529 => "overloaded_error",
        408 | 504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        // What Google says where billing is missing; `RESOURCE_EXHAUSTED` would invite a retry.
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        501.. => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}
