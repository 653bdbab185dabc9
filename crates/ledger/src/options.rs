//! The ledger's settings, and the ways in which it says no.

use anykey_core::Code;
use std::time::Duration;

/// When an appended entry counts as journaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the operating system has it: survives the death of the process. A power cut may lose what was appended since
    /// the last flush.
    #[default]
    Fast,
    /// When the disk has it: [`crate::Writer::durable`] waits for an fsync that all waiting entries share.
    Strict,
}

/// The ledger's settings.
#[derive(Clone, Debug)]
pub struct Options {
    pub durability: Durability,
    /// The size of one segment of the journal. Each writer has two on the disk: the one it writes and the next.
    pub segment_bytes: u64,
    /// Records are stored at least this often ...
    pub flush_interval: Duration,
    /// ... and as soon as this many wait.
    pub flush_at: usize,
    /// At most this many records are handed to the books at once.
    pub batch_rows: usize,
    /// With this many records in memory that are not stored yet, no further call is admitted. About 500 bytes each.
    pub max_pending: usize,
    /// How many stored records a slow listener of [`crate::Ledger::subscribe`] may fall behind before it misses some.
    pub tail_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: Durability::Fast,
            segment_bytes: 8 << 20,
            flush_interval: Duration::from_secs(1),
            flush_at: 2_000,
            batch_rows: 4_000,
            max_pending: 65_536,
            tail_capacity: 1_024,
        }
    }
}

/// Why the ledger does not take a call or an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unavailable {
    #[error("there is no room on the disk for the journal")]
    StorageFull,
    #[error("the database is away and too many records wait for it")]
    LedgerUnavailable,
    #[error("the journal can no longer be written")]
    Failed,
    #[error("the ledger is closed")]
    Closed,
}

impl Unavailable {
    /// The refusal that the caller gets.
    pub const fn code(self) -> Code {
        match self {
            Unavailable::StorageFull => Code::StorageFull,
            Unavailable::LedgerUnavailable => Code::LedgerUnavailable,
            Unavailable::Failed | Unavailable::Closed => Code::ShuttingDown,
        }
    }
}

/// The write or fsync that made the journal unusable. The process must exit; the next start recovers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} failed: {why}")]
pub struct Failure {
    pub what: &'static str,
    pub why: String,
}
