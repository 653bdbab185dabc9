//! Work on many keys: what is asked for, and how far it is.

use crate::key_types::KeyFilter;
use anykey_core::{JobId, KeyId, OrganisationId, Sight};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What shall be done to each key. Done twice it is as good as done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum BulkAction {
    Disable,
    Enable,
    /// The key ends at this moment, in milliseconds since 1970; one that ends later, or never, is left alone.
    Extend {
        expires_at: i64,
    },
    Tag {
        set: BTreeMap<String, String>,
        remove: BTreeSet<String>,
    },
}

impl BulkAction {
    pub const fn name(&self) -> &'static str {
        match self {
            BulkAction::Disable => "disable",
            BulkAction::Enable => "enable",
            BulkAction::Extend { .. } => "extend",
            BulkAction::Tag { .. } => "tag",
        }
    }

    /// Whether the rules for keys have a say in it.
    pub(crate) const fn is_held_to_rules(&self) -> bool {
        matches!(self, BulkAction::Extend { .. } | BulkAction::Tag { .. })
    }
}

/// Which keys. They are settled when the work is asked for: what matches later is not touched.
#[derive(Clone, Debug)]
pub enum Selection {
    Keys(Vec<KeyId>),
    /// Of these only what whoever asks may reach; what they do not reach is not there for them.
    KeysWithin(Vec<KeyId>, Sight),
    Filter(Box<KeyFilter>),
}

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only what whoever asks may reach, and what they asked for themselves.
    pub within: Sight,
    /// Whoever asks.
    pub asker: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    pub id: JobId,
    pub action: BulkAction,
    /// Where all of its keys are, if they are in one.
    pub organisation: Option<OrganisationId>,
    /// The key or person that asked for it.
    pub creator: Option<String>,
    pub total: i64,
    /// Keys that were changed.
    pub done: i64,
    /// Keys that were left as they are, each for a reason.
    pub skipped: i64,
    pub created_at: i64,
    /// `None` while it runs.
    pub finished_at: Option<i64>,
}

/// A key that a job left as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub key: KeyId,
    pub why: String,
}
