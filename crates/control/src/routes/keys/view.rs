//! A key as it is shown.

use crate::tenancy::ControlsBody;
use crate::wire::{DAY_MS, time, usd};
use anykey_core::{Scope, Token};
use anykey_store::{KeyRow, SecretRow};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most that a key may spend within a window.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpendLimit {
    /// `total` (all that the key ever spends), `daily`, `weekly` or `monthly`.
    pub window: String,
    /// Dollars.
    pub usd: String,
}

/// A key. Its secrets are masked.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    id: String,
    name: String,
    description: String,
    /// `live`, `test`, `plan`, `custom`, `temp` or `admin`.
    kind: &'static str,
    /// `active`, `disabled`, `expired`, `rotating` or `revoked`.
    status: &'static str,
    /// The newest secret, masked.
    masked: String,
    tags: BTreeMap<String, String>,
    /// Who uses it, in words.
    #[schema(required)]
    owner: Option<String>,
    /// The member or service account that answers for it.
    #[schema(required)]
    owner_id: Option<String>,
    /// The member's e-mail, or the service account's name.
    #[schema(required)]
    owner_label: Option<String>,
    /// The key or person that made it.
    #[schema(required)]
    creator: Option<String>,
    organisation_id: String,
    /// The organisation's slug.
    organisation: String,
    project_id: String,
    /// The project's slug.
    project: String,
    /// The key's own policy; those of what is above it hold as well.
    controls: ControlsBody,
    /// What is above the key and disabled or deleted, so that the key is refused.
    #[schema(required)]
    closed_by: Option<String>,
    #[schema(required)]
    environment: Option<String>,
    scopes: Vec<&'static str>,
    /// Whether a web page may use the key.
    browser_allowed: bool,
    spend_limits: Vec<SpendLimit>,
    /// All that was ever charged to it, in dollars.
    spent_usd: String,
    #[schema(required)]
    expires_at: Option<String>,
    created_at: String,
    updated_at: String,
    #[schema(required)]
    last_used_at: Option<String>,
    /// Where the secret is stored.
    note: String,
    #[schema(required)]
    rotation_interval_days: Option<i64>,
    /// When it is to be rotated: its interval after the making of its newest secret in use.
    #[schema(required)]
    rotate_at: Option<String>,
    #[schema(required)]
    review_at: Option<String>,
    /// When the secret was first seen where secrets do not belong.
    #[schema(required)]
    exposed_at: Option<String>,
    /// When a new owner was asked to rotate it; until it has a new secret.
    #[schema(required)]
    rotation_asked_at: Option<String>,
    /// The key that it was minted from, where it is temporary.
    #[schema(required)]
    parent_id: Option<String>,
    /// How many requests it may make in its life.
    #[schema(required)]
    max_requests: Option<u64>,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
    /// Newest first.
    secrets: Vec<SecretView>,
}

/// One secret of a key.
#[derive(Serialize, ToSchema)]
#[schema(as = Secret)]
pub(crate) struct SecretView {
    masked: String,
    /// `live`, `superseded` or `dead`.
    state: &'static str,
    created_at: String,
    #[schema(required)]
    first_used_at: Option<String>,
    #[schema(required)]
    last_used_at: Option<String>,
    #[schema(required)]
    last_ip: Option<String>,
    #[schema(required)]
    expires_at: Option<String>,
}

impl From<KeyRow> for KeyView {
    fn from(key: KeyRow) -> Self {
        let limits = key.controls.spend.iter();
        let limits = limits.map(|(span, limit)| SpendLimit { window: span.word().into(), usd: usd(limit) });
        let spend_limits = limits.collect();
        KeyView {
            id: key.id.to_string(),
            name: key.name,
            description: key.description,
            kind: key.kind.name(),
            status: key.status.name(),
            masked: key.masked,
            tags: key.tags,
            owner: key.owner,
            owner_id: key.owner_id.map(|id| id.to_string()),
            owner_label: key.owner_label,
            creator: key.creator,
            organisation_id: key.organisation_id.to_string(),
            organisation: key.organisation,
            project_id: key.project_id.to_string(),
            project: key.project,
            controls: ControlsBody::from(&key.controls),
            closed_by: key.closed_by,
            environment: key.environment,
            scopes: key.scopes.iter().map(Scope::name).collect(),
            browser_allowed: key.browser_allowed,
            spend_limits,
            spent_usd: usd(key.spent),
            expires_at: key.expires_at.map(time),
            created_at: time(key.created_at),
            updated_at: time(key.updated_at),
            last_used_at: key.last_used_at.map(time),
            note: key.note,
            rotation_interval_days: key.rotation_interval_ms.map(|ms| ms / DAY_MS),
            rotate_at: key.rotate_at.map(time),
            review_at: key.review_at.map(time),
            exposed_at: key.exposed_at.map(time),
            rotation_asked_at: key.rotation_asked_at.map(time),
            parent_id: key.parent_id.map(|id| id.to_string()),
            max_requests: key.request_limit,
            version: key.version,
            secrets: key.secrets.into_iter().map(SecretView::from).collect(),
        }
    }
}

impl From<SecretRow> for SecretView {
    fn from(secret: SecretRow) -> Self {
        SecretView {
            masked: secret.masked,
            state: secret.state.name(),
            created_at: time(secret.created_at),
            first_used_at: secret.first_used_at.map(time),
            last_used_at: secret.last_used_at.map(time),
            last_ip: secret.last_ip.map(|ip| ip.to_string()),
            expires_at: secret.expires_at.map(time),
        }
    }
}

/// A key and the one showing of its new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyWithSecret)]
pub(crate) struct Shown {
    #[serde(flatten)]
    key: KeyView,
    /// Shown this once.
    #[serde(serialize_with = "expose")]
    #[schema(value_type = String)]
    secret: Token,
    /// The rotation that made the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_id: Option<String>,
}

impl Shown {
    pub fn new(key: KeyRow, secret: Token) -> Self {
        Shown { key: key.into(), secret, rotation_id: None }
    }

    #[must_use]
    pub fn of_rotation(mut self, id: String) -> Self {
        self.rotation_id = Some(id);
        self
    }
}

fn expose<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}
