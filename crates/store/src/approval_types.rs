//! Requests for more, or for a key, as they are asked, shown and decided on.

use crate::key_types::KeyRow;
use anykey_core::wish::{Granted, Wish};
use anykey_core::{ApprovalId, KeyId, MemberId, OrganisationId, Placement, ProjectId, Sight};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct NewApproval {
    pub about: About,
    /// What is asked for beyond what the key has, or what a new one shall have.
    pub wish: Wish,
    pub reason: String,
    /// A person, or the key that asks.
    pub asked_by: Asker,
    /// When it lapses if nobody has decided.
    pub lapses_at: i64,
}

/// Which key a request is about.
#[derive(Clone, Debug)]
pub enum About {
    Key(KeyId),
    /// One that is to be made there, for the member who owns it then.
    New(Placement, KeyWish),
}

/// A key that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyWish {
    pub name: String,
    pub description: String,
    pub environment: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub note: String,
    /// When somebody shall look at it again, in milliseconds since 1970.
    pub review_at: Option<i64>,
    pub rotation_interval_ms: Option<i64>,
}

/// Somebody, as they are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    pub id: String,
    pub name: String,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    Waiting,
    Approved,
    Refused,
    /// Whoever asked no longer does.
    Withdrawn,
    /// Nobody decided in time.
    Lapsed,
    /// What was granted for a time is over.
    Ended,
}

impl ApprovalState {
    pub const ALL: [ApprovalState; 6] = [
        ApprovalState::Waiting,
        ApprovalState::Approved,
        ApprovalState::Refused,
        ApprovalState::Withdrawn,
        ApprovalState::Lapsed,
        ApprovalState::Ended,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            ApprovalState::Waiting => "waiting",
            ApprovalState::Approved => "approved",
            ApprovalState::Refused => "refused",
            ApprovalState::Withdrawn => "withdrawn",
            ApprovalState::Lapsed => "lapsed",
            ApprovalState::Ended => "ended",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct ApprovalRow {
    pub id: ApprovalId,
    pub organisation: OrganisationId,
    pub project: ProjectId,
    /// The member who owned the key when it was asked, or who asks for one.
    pub member: Option<MemberId>,
    /// None until the key that is asked for is made.
    pub key: Option<KeyId>,
    pub new_key: Option<KeyWish>,
    /// When whoever asked took the secret of the key that was made.
    pub collected_at: Option<i64>,
    pub wish: Wish,
    pub reason: String,
    pub asked_by: Asker,
    pub state: ApprovalState,
    pub lapses_at: i64,
    pub decided_by: Option<Asker>,
    pub decided_at: Option<i64>,
    /// What was said with the decision.
    pub answer: Option<String>,
    pub granted: Option<Granted>,
    /// When what was granted ends.
    pub ends_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl ApprovalRow {
    /// What is asked for, in a few words.
    pub fn wants(&self) -> String {
        match &self.new_key {
            None => self.wish.to_string(),
            Some(key) if self.wish.is_empty() => format!("the key {}", key.name),
            Some(key) => format!("the key {} with {}", key.name, self.wish),
        }
    }
}

/// A decision.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Until then, or for good.
    Approve {
        until: Option<i64>,
        answer: Option<String>,
    },
    Refuse {
        reason: String,
    },
}

/// What a decision made of it.
#[derive(Clone, Debug)]
pub struct Decided {
    pub approval: ApprovalRow,
    /// The key as it is now, where it was changed or made.
    pub key: Option<KeyRow>,
}

/// Which requests to list.
#[derive(Clone, Debug, Default)]
pub struct ApprovalFilter {
    /// Only what whoever asks may reach.
    pub within: Sight,
    pub state: Option<ApprovalState>,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    pub key: Option<KeyId>,
    /// Whoever asked.
    pub asked_by: Option<String>,
}
