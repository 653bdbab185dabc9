//! Refusals and upstream errors in the dialect of the path that was called.

mod read;
mod shape;

use anykey_core::{Code, Dialect, Refusal};
use bytes::Bytes;
pub(crate) use read::in_stream;
pub(crate) use shape::Said;

/// The body of a refusal.
pub fn render(dialect: Dialect, refusal: &Refusal, request_id: &str) -> Bytes {
    Said::refusal(refusal, request_id).body(dialect)
}

/// The body of a refusal on a Gemini stream without `alt=sse`, which is an array.
pub fn render_array(refusal: &Refusal, request_id: &str) -> Bytes {
    [b"[", &*render(Dialect::Gemini, refusal, request_id), b"]"].concat().into()
}

/// The headers by which a provider says when to try again.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryHints<'a> {
    pub retry_after: Option<&'a str>,
    pub retry_after_ms: Option<&'a str>,
}

/// A provider's "no", ready for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// The status for the caller: the provider's own, or 502 where the fault is the operator's.
    pub status: u16,
    /// The status that the provider sent, or the one that its error inside a stream stands for.
    pub upstream_status: u16,
    /// At most 512 bytes, without control characters.
    pub message: String,
    /// The error's class in the provider's words (`rate_limit_error`, `RESOURCE_EXHAUSTED`).
    pub kind: Option<String>,
    /// The machine code, where the provider gave one.
    pub code: Option<String>,
    /// Whole seconds, rounded up.
    pub retry_after: Option<u32>,
    body: Bytes,
}

impl UpstreamError {
    /// The body for the caller, in the caller's dialect.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The provider refused the operator's credential.
    pub fn credential_refused(&self) -> bool {
        self.status == 502 && self.upstream_status < 500
    }
}

/// Reads a provider's error answer (status 400 and above). `provider_name` is what operators call the provider.
///
/// A body in the caller's own dialect passes unchanged; any other is put into that dialect. A refused credential is the
/// operator's fault and becomes 502, without the provider's words, which may repeat parts of the credential.
pub fn upstream_error(
    provider: Dialect,
    caller: Dialect,
    provider_name: &str,
    status: u16,
    body: &Bytes,
    hints: RetryHints<'_>,
    request_id: &str,
) -> UpstreamError {
    let answer = read::Answer::read(provider, body);
    let retry_after = read::retry_seconds(hints).or(answer.retry_after);
    if matches!(status, 401 | 403) || (status == 400 && answer.bad_api_key()) {
        return credential_refused(caller, provider_name, status, answer, request_id);
    }
    let message = answer.message.clone().unwrap_or_else(|| format!("The provider answered with status {status}."));
    let body = if provider == caller && answer.in_shape {
        body.clone()
    } else {
        let code = answer.code.as_deref().unwrap_or(Code::UpstreamError.name());
        Said { status, code, message: &message, param: None, retry_after, request_id }.body(caller)
    };
    UpstreamError { status, upstream_status: status, message, kind: answer.kind, code: answer.code, retry_after, body }
}

fn credential_refused(
    caller: Dialect,
    provider_name: &str,
    status: u16,
    answer: read::Answer,
    request_id: &str,
) -> UpstreamError {
    let message = format!(
        "The operator's credential for provider `{}` was refused. Your own key is fine; tell the operator.",
        anykey_core::refusal::echo(provider_name)
    );
    let refusal = Refusal::new(Code::UpstreamError, message);
    UpstreamError {
        status: refusal.status(),
        upstream_status: status,
        body: render(caller, &refusal, request_id),
        message: refusal.message.into_owned(),
        kind: answer.kind,
        code: answer.code,
        retry_after: None,
    }
}
