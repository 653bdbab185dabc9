//! The record of one attempt at one call: what was asked, what was sent, what it used and what it cost.

use crate::usage::UsageSource;
use crate::{Dialect, Endpoint, KeyId, Nanos, RequestId, Usage};
use std::net::IpAddr;
use std::sync::Arc;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The answer was complete.
    Completed = 0,
    /// anykey refused; nothing was sent to a provider.
    Refused = 1,
    /// The provider answered with an error.
    UpstreamError = 2,
    /// The provider could not be reached, or broke off before its answer began.
    UpstreamFailed = 3,
    /// The provider's answer broke off in the middle.
    Broken = 4,
    /// The caller hung up before the end.
    ClientGone = 5,
    /// The key was revoked, or the server stopped, while the answer was running.
    Cut = 6,
    /// The process died while the call was running; what is known is what was journaled when it was sent.
    Unresolved = 7,
}

impl Outcome {
    pub const ALL: [Outcome; 8] = [
        Outcome::Completed,
        Outcome::Refused,
        Outcome::UpstreamError,
        Outcome::UpstreamFailed,
        Outcome::Broken,
        Outcome::ClientGone,
        Outcome::Cut,
        Outcome::Unresolved,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Refused => "refused",
            Outcome::UpstreamError => "upstream_error",
            Outcome::UpstreamFailed => "upstream_failed",
            Outcome::Broken => "broken",
            Outcome::ClientGone => "client_gone",
            Outcome::Cut => "cut",
            Outcome::Unresolved => "unresolved",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }
}

/// One attempt, as it is journaled, stored and shown. `(request, attempt)` is its identity: it is recorded exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    pub request: RequestId,
    /// 0 for a refusal before anything was sent; 1, 2, ... for attempts at providers.
    pub attempt: u8,
    pub key: KeyId,
    /// The public id of the secret that was used, for the last use of each secret.
    pub secret: [u8; crate::token::PUBLIC_ID_LEN],
    pub endpoint: Endpoint,
    pub dialect: Dialect,
    pub stream: bool,
    /// The provider's name; empty where none was reached.
    pub provider: Arc<str>,
    /// As the caller wrote it (at most 256 bytes); empty where the request did not get so far.
    pub model_asked: Arc<str>,
    /// As it was sent to the provider.
    pub model_sent: Arc<str>,
    /// As the provider named it in its answer.
    pub model_served: Arc<str>,
    /// The status that the caller got; 0 where they got none.
    pub status: u16,
    pub outcome: Outcome,
    /// The machine code of a refusal; empty otherwise.
    pub code: &'static str,
    pub usage: Usage,
    pub usage_source: UsageSource,
    /// `None` says unpriced, which is not the same as free.
    pub cost: Option<Nanos>,
    /// What was held for the call before it was sent; the most that it may cost.
    pub hold: Nanos,
    /// The version of the price that was in force at admission; 0 where there was none.
    pub price_id: u64,
    /// Milliseconds since 1970 at which the request's head was read.
    pub started_at: i64,
    /// Microseconds from there to the first byte of the answer; 0 where there was none.
    pub first_byte_us: u64,
    /// Microseconds from there to the end.
    pub total_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The provider's own request id; at most 128 bytes.
    pub upstream_id: Arc<str>,
    pub client: Option<IpAddr>,
}
