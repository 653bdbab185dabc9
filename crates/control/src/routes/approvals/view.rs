//! Requests as they are shown.

use super::ask::LimitsBody;
use crate::wire::{DAY_MS, time, usd};
use anykey_core::Nanos;
use anykey_store::{ApprovalRow, Asker, KeyWish};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What is asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Wish)]
pub(super) struct WishView {
    /// Patterns, to be allowed beside those that are.
    models: Vec<String>,
    limits: LimitsBody,
    #[schema(required)]
    spend_limit_usd: Option<String>,
    #[schema(required)]
    expires_at: Option<String>,
}

/// A key that is asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = WantedKey)]
pub(super) struct NewKeyView {
    name: String,
    description: String,
    #[schema(required)]
    environment: Option<String>,
    tags: BTreeMap<String, String>,
    note: String,
    #[schema(required)]
    review_at: Option<String>,
    #[schema(required)]
    rotation_interval_days: Option<i64>,
}

impl From<KeyWish> for NewKeyView {
    fn from(key: KeyWish) -> Self {
        let KeyWish { name, description, environment, tags, note, review_at, rotation_interval_ms } = key;
        NewKeyView {
            name,
            description,
            environment,
            tags,
            note,
            review_at: review_at.map(time),
            rotation_interval_days: rotation_interval_ms.map(|ms| ms / DAY_MS),
        }
    }
}

/// Whoever asked or decided.
#[derive(Serialize, ToSchema)]
#[schema(as = Asker)]
pub(super) struct AskerView {
    /// A person, or a key.
    id: String,
    name: String,
}

/// A request for more than a key has, or for a key.
#[derive(Serialize, ToSchema)]
#[schema(as = Approval)]
pub(super) struct ApprovalView {
    id: String,
    organisation_id: String,
    project_id: String,
    /// Null while it is one that is still to be made.
    #[schema(required)]
    key_id: Option<String>,
    /// The key that is asked for, where it is not for more of one that is there.
    #[schema(required)]
    new_key: Option<NewKeyView>,
    /// When whoever asked for a key took its secret.
    #[schema(required)]
    collected_at: Option<String>,
    /// What is asked for, in a few words.
    wants: String,
    wish: WishView,
    /// Why it is asked for.
    reason: String,
    asked_by: AskerView,
    /// `waiting`, `approved`, `refused`, `withdrawn`, `lapsed`, or `ended`: what was granted for a time is over.
    state: &'static str,
    /// When it lapses, if nobody has decided by then.
    lapses_at: String,
    #[schema(required)]
    decided_by: Option<AskerView>,
    #[schema(required)]
    decided_at: Option<String>,
    /// What was said with the decision.
    #[schema(required)]
    answer: Option<String>,
    /// When what was granted ends; null is never.
    #[schema(required)]
    ends_at: Option<String>,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<Asker> for AskerView {
    fn from(who: Asker) -> Self {
        AskerView { id: who.id, name: who.name }
    }
}

impl From<ApprovalRow> for ApprovalView {
    fn from(row: ApprovalRow) -> Self {
        let limits = match serde_json::to_value(row.wish.limits) {
            Ok(Value::Object(limits)) => LimitsBody(limits),
            _ => LimitsBody::default(),
        };
        ApprovalView {
            id: row.id.to_string(),
            organisation_id: row.organisation.to_string(),
            project_id: row.project.to_string(),
            key_id: row.key.map(|id| id.to_string()),
            wants: row.wants(),
            new_key: row.new_key.map(NewKeyView::from),
            collected_at: row.collected_at.map(time),
            wish: WishView {
                models: row.wish.models.iter().map(ToString::to_string).collect(),
                limits,
                spend_limit_usd: row.wish.spend_limit.map(|nanos| usd(Nanos(nanos))),
                expires_at: row.wish.expires_at.map(time),
            },
            reason: row.reason,
            asked_by: row.asked_by.into(),
            state: row.state.name(),
            lapses_at: time(row.lapses_at),
            decided_by: row.decided_by.map(AskerView::from),
            decided_at: row.decided_at.map(time),
            answer: row.answer,
            ends_at: row.ends_at.map(time),
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}
