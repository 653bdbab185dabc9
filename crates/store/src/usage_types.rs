//! What is asked of the books and what they answer.

use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{KeyId, Nanos, RequestId, Sight};

/// Which columns a report keeps apart; what is not named is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupBy {
    pub key: bool,
    pub model: bool,
    pub provider: bool,
    pub day: bool,
}

/// A report over whole UTC days.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    /// Only what whoever asks may reach.
    pub within: Sight,
    pub group_by: GroupBy,
    /// Milliseconds since 1970; the day that it falls in is included.
    pub from: Option<i64>,
    /// Milliseconds since 1970, exclusive; a day that it falls into is included whole.
    pub to: Option<i64>,
    pub key: Option<KeyId>,
    pub model: Option<String>,
    pub provider: Option<String>,
}

/// Sums over attempts. Every token is in exactly one of the five classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Attempts; a retry at a provider is one of its own.
    pub requests: i64,
    /// Attempts that were refused, failed or broke off.
    pub errors: i64,
    /// Input of any kind that was not read from or written to a cache.
    pub input: i64,
    pub cache_read: i64,
    pub cache_write: i64,
    /// Output of any kind, without reasoning.
    pub output: i64,
    pub reasoning: i64,
    pub cost: Nanos,
    /// Attempts at providers that had no price.
    pub unpriced: i64,
    /// Attempts whose counts are estimates.
    pub estimated: i64,
}

/// One line of a report. A column that was not asked for is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    pub key: Option<KeyId>,
    pub key_name: Option<String>,
    pub model: Option<String>,
    pub provider: Option<String>,
    /// Midnight UTC, milliseconds since 1970.
    pub day: Option<i64>,
    pub sums: UsageSums,
}

/// Which statuses to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    Exactly(u16),
    /// 4 for all of 400 to 499.
    Class(u16),
}

/// Which attempts to list.
#[derive(Clone, Debug, Default)]
pub struct RequestFilter {
    /// Only what whoever asks may reach.
    pub within: Sight,
    pub key: Option<KeyId>,
    /// As it was asked or as it was sent.
    pub model: Option<String>,
    pub provider: Option<String>,
    pub status: Option<StatusFilter>,
    pub outcome: Option<Outcome>,
    /// Milliseconds since 1970, inclusive.
    pub since: Option<i64>,
    /// Milliseconds since 1970, exclusive.
    pub until: Option<i64>,
}

/// Where a list of attempts goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCursor {
    pub request: RequestId,
    pub attempt: u8,
}

impl std::fmt::Display for RequestCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.request, self.attempt)
    }
}

impl std::str::FromStr for RequestCursor {
    type Err = crate::StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('.')
            .and_then(|(request, attempt)| {
                Some(RequestCursor { request: RequestId::parse(request)?, attempt: attempt.parse().ok()? })
            })
            .ok_or_else(|| crate::StoreError::invalid("after", "is not a cursor of this list"))
    }
}

/// A recorded attempt and the name of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    pub record: AttemptRecord,
    pub key_name: Option<String>,
}
