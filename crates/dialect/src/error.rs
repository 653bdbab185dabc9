//! Refusals and upstream errors in the dialect of the path that was called.

use anykey_core::{Dialect, Refusal};
use bytes::Bytes;

/// The body of a refusal.
pub fn render(_dialect: Dialect, _refusal: &Refusal, _request_id: &str) -> Bytes {
    unreachable!("the body of this function comes with the next commit")
}

/// The body of a refusal on a Gemini stream without `alt=sse`, which is an array.
pub fn render_array(_refusal: &Refusal, _request_id: &str) -> Bytes {
    unreachable!("the body of this function comes with the next commit")
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
    /// The status that the provider sent.
    pub upstream_status: u16,
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
        self.status == 502 && matches!(self.upstream_status, 400 | 401 | 403)
    }
}

/// Reads a provider's error answer (status 400 and above). `provider_name` is what operators call the provider.
pub fn upstream_error(
    _provider: Dialect,
    _caller: Dialect,
    _provider_name: &str,
    _status: u16,
    _body: &Bytes,
    _hints: RetryHints<'_>,
    _request_id: &str,
) -> UpstreamError {
    unreachable!("the body of this function comes with the next commit")
}
