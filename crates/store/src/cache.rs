//! The keys in memory: what the path of a call asks first. Bounded, sharded, and never older than a change made here.

use anykey_core::key::KeyInfo;
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::Code;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What is known of a digest without asking the database.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// There is such a secret. Whether it may be used now is [`LiveKey::dead_at`].
    Live(Arc<LiveKey>),
    /// The database said within the last five seconds that there is none.
    Unknown,
    /// Memory cannot say: the database has to be asked, with [`crate::Store::look_up`].
    Ask,
}

/// One secret of a key, as the path of a call needs it. A change to the key makes a new one; a call that runs keeps its
/// own and watches [`LiveKey::cancelled`].
#[derive(Debug)]
pub struct LiveKey {
    pub info: KeyInfo,
    /// Which of the key's secrets this is.
    pub public_id: [u8; PUBLIC_ID_LEN],
    /// The key's version, of which this is a copy.
    pub version: i64,
    pub(crate) pulse: Arc<Pulse>,
}

/// What all copies of one secret share, so that a call that runs on an old copy hears of its end.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub cancelled: AtomicBool,
    /// `i64::MAX` says never.
    pub expires_at: AtomicI64,
}

impl LiveKey {
    /// Whether a change has taken the secret's power away; calls that run on it end.
    pub fn cancelled(&self) -> bool {
        self.pulse.cancelled.load(Ordering::Relaxed)
    }

    /// When this secret (not the key) ends, milliseconds since 1970; `i64::MAX` says never.
    pub fn secret_expires_at(&self) -> i64 {
        self.pulse.expires_at.load(Ordering::Relaxed)
    }

    /// Why the secret cannot be used at `now_ms`, if it cannot.
    pub fn dead_at(&self, now_ms: i64) -> Option<Code> {
        self.info.dead_at(now_ms).or_else(|| (self.secret_expires_at() <= now_ms).then_some(Code::KeyRevoked))
    }
}
