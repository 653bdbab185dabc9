//! A key as the path of a call needs it: who it is and what bounds it. Names, notes and history stay in the store.

use crate::{Code, KeyId, Nanos, Scopes};
use serde::{Deserialize, Serialize};

/// What a key is for; written in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum KeyKind {
    /// Pay as you go, production.
    Live = 0,
    /// Pay as you go, testing.
    Test = 1,
    /// Belongs to a plan subscription.
    Plan = 2,
    /// Belongs to a custom subscription.
    Custom = 3,
    /// Short-lived, minted from another key.
    Temp = 4,
    /// Management only: cannot call models.
    Admin = 5,
}

impl KeyKind {
    pub const ALL: [KeyKind; 6] =
        [KeyKind::Live, KeyKind::Test, KeyKind::Plan, KeyKind::Custom, KeyKind::Temp, KeyKind::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            KeyKind::Live => "live",
            KeyKind::Test => "test",
            KeyKind::Plan => "plan",
            KeyKind::Custom => "custom",
            KeyKind::Temp => "temp",
            KeyKind::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// Everything about a key that decides a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    pub id: KeyId,
    pub kind: KeyKind,
    pub name: Box<str>,
    pub scopes: Scopes,
    pub disabled: bool,
    /// Deleted keys stay as tombstones, so that their records keep a name.
    pub deleted: bool,
    /// Milliseconds since 1970; the key is dead from this instant on.
    pub expires_at: Option<i64>,
    /// Whether a request that bears a browser's marks may use the key.
    pub browser_allowed: bool,
    /// The most that the key may ever spend.
    pub spend_limit: Option<Nanos>,
}

impl KeyInfo {
    /// Why the key cannot be used at `now_ms`, if it cannot.
    pub fn dead_at(&self, now_ms: i64) -> Option<Code> {
        if self.deleted {
            Some(Code::KeyRevoked)
        } else if self.disabled {
            Some(Code::KeyDisabled)
        } else if self.expires_at.is_some_and(|at| at <= now_ms) {
            Some(Code::KeyExpired)
        } else {
            None
        }
    }
}
