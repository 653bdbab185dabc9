//! Keys as they are managed: what is asked for, what is shown. The path of a call uses [`crate::LiveKey`] instead.

use anykey_core::controls::Controls;
use anykey_core::spend::Amounts;
use anykey_core::{KeyId, KeyKind, Nanos, OrganisationId, OwnerId, Placement, ProjectId, Scopes, Sight, Token};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub kind: KeyKind,
    pub name: String,
    pub description: String,
    pub tags: BTreeMap<String, String>,
    /// Who uses it, in words; [`Placement::owner`] is who answers for it.
    pub owner: Option<String>,
    pub creator: Option<String>,
    pub placement: Placement,
    /// The key's own policy; what is above it applies as well.
    pub controls: Controls,
    pub environment: Option<String>,
    pub scopes: Scopes,
    pub browser_allowed: bool,
    /// What `controls.spend.total` says too; of both the lower one.
    pub spend_limit: Option<Nanos>,
    pub expires_at: Option<i64>,
    /// Where the secret is kept, for the people who look after it.
    pub note: String,
    pub rotation_interval_ms: Option<i64>,
    pub review_at: Option<i64>,
}

impl NewKey {
    /// A key of this kind with its usual scopes and nothing else set.
    pub fn new(kind: KeyKind, name: impl Into<String>) -> Self {
        NewKey {
            kind,
            name: name.into(),
            description: String::new(),
            tags: BTreeMap::new(),
            owner: None,
            creator: None,
            placement: Placement::default(),
            controls: Controls::default(),
            environment: None,
            scopes: if kind == KeyKind::Admin { Scopes::ADMIN } else { Scopes::DEFAULT },
            browser_allowed: false,
            spend_limit: None,
            expires_at: None,
            note: String::new(),
            rotation_interval_ms: None,
            review_at: None,
        }
    }
}

/// What shall change. `None` leaves a field as it is; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct KeyPatch {
    pub name: Option<String>,
    pub description: Option<String>,
    pub tags: Option<BTreeMap<String, String>>,
    pub owner: Option<Option<String>>,
    /// Of the same organisation.
    pub project: Option<ProjectId>,
    pub owner_id: Option<Option<OwnerId>>,
    /// The whole policy. A total of its `spend` is as `spend_limit`; without one the total stays.
    pub controls: Option<Controls>,
    /// `controls` say nothing of money, which stays as it is.
    pub keeps_spend: bool,
    /// All amounts, the total too; the rest of `controls.spend` stays.
    pub amounts: Option<Amounts>,
    pub environment: Option<Option<String>>,
    pub scopes: Option<Scopes>,
    pub browser_allowed: Option<bool>,
    pub spend_limit: Option<Option<Nanos>>,
    pub expires_at: Option<Option<i64>>,
    pub note: Option<String>,
    pub rotation_interval_ms: Option<Option<i64>>,
    pub review_at: Option<Option<i64>>,
}

/// What a key is good for at this moment; derived, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    Active,
    Disabled,
    Expired,
    /// Two secrets live: a rotation is under way.
    Rotating,
    /// Deleted; what is left is its history.
    Revoked,
}

impl KeyStatus {
    pub const ALL: [KeyStatus; 5] =
        [KeyStatus::Active, KeyStatus::Disabled, KeyStatus::Expired, KeyStatus::Rotating, KeyStatus::Revoked];

    pub const fn name(self) -> &'static str {
        match self {
            KeyStatus::Active => "active",
            KeyStatus::Disabled => "disabled",
            KeyStatus::Expired => "expired",
            KeyStatus::Rotating => "rotating",
            KeyStatus::Revoked => "revoked",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Where a secret is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretState {
    Live,
    /// Its successor has been used; it lives until it expires.
    Superseded,
    Dead,
}

impl SecretState {
    pub const fn name(self) -> &'static str {
        match self {
            SecretState::Live => "live",
            SecretState::Superseded => "superseded",
            SecretState::Dead => "dead",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [SecretState::Live, SecretState::Superseded, SecretState::Dead].into_iter().find(|s| s.name() == name)
    }
}

/// One secret of a key, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    pub public_id: String,
    /// `ak-live-AbCd1234…`; keys of other systems show `imported-AbCd1234…`.
    pub masked: String,
    pub state: SecretState,
    pub created_at: i64,
    pub first_used_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub last_ip: Option<IpAddr>,
    pub expires_at: Option<i64>,
    /// The rotation that made it.
    pub rotation_id: Option<String>,
}

/// A key as it is shown to those who manage it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub id: KeyId,
    pub kind: KeyKind,
    pub name: String,
    pub description: String,
    pub status: KeyStatus,
    /// The masked form of the newest secret.
    pub masked: String,
    pub tags: BTreeMap<String, String>,
    /// Who uses it, in words.
    pub owner: Option<String>,
    pub owner_id: Option<OwnerId>,
    /// The owner's e-mail, or the service account's name.
    pub owner_label: Option<String>,
    pub creator: Option<String>,
    pub organisation_id: OrganisationId,
    /// The organisation's slug.
    pub organisation: String,
    pub project_id: ProjectId,
    /// The project's slug.
    pub project: String,
    /// The key's own policy. Its `spend.total` is `spend_limit`.
    pub controls: Controls,
    /// What is above the key and closed, so that the key is refused: `organisation Acme`.
    pub closed_by: Option<String>,
    pub environment: Option<String>,
    pub scopes: Scopes,
    pub disabled: bool,
    /// Whoever disabled it, as the audit log names them, where that was a person or a key and not a report.
    pub disabled_by: Option<String>,
    pub deleted_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub browser_allowed: bool,
    pub spend_limit: Option<Nanos>,
    /// All that was ever charged to the key.
    pub spent: Nanos,
    pub note: String,
    pub rotation_interval_ms: Option<i64>,
    pub review_at: Option<i64>,
    /// When the secret was first seen where secrets do not belong.
    pub exposed_at: Option<i64>,
    /// When a new owner was asked to rotate it; until it has a new secret.
    pub rotation_asked_at: Option<i64>,
    /// When it is to be rotated: its interval after the making of its newest secret in use.
    pub rotate_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub last_used_at: Option<i64>,
    /// The key that it was minted from, where it is temporary.
    pub parent_id: Option<KeyId>,
    /// How many requests it may make in its life.
    pub request_limit: Option<u64>,
    /// Newest first.
    pub secrets: Vec<SecretRow>,
}

/// How a key shall be rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long the old secret lives on after the first use of the new one.
    pub overlap_ms: i64,
    /// The old secret is known to others: it dies at once.
    pub leaked: bool,
}

impl Rotation {
    pub const DEFAULT_OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;
    pub const MAX_OVERLAP_MS: i64 = 7 * 24 * 60 * 60 * 1000;
    /// A new secret that nobody uses lapses after this, and the old one stays.
    pub const LAPSE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation { overlap_ms: Self::DEFAULT_OVERLAP_MS, leaked: false }
    }
}

/// What a rotation made. The token is shown once.
#[derive(Debug)]
pub struct Rotated {
    pub key: KeyRow,
    pub token: Token,
    pub rotation_id: String,
}

/// Which keys to list. Without a status, deleted keys are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only what whoever asks may reach.
    pub within: Sight,
    /// Found in the name or the description, in any case, or the start of what is visible of a secret.
    pub q: Option<String>,
    /// The exact name.
    pub name: Option<String>,
    pub status: Option<KeyStatus>,
    pub kind: Option<KeyKind>,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    /// The owner in words.
    pub owner: Option<String>,
    pub owner_id: Option<OwnerId>,
    pub environment: Option<String>,
    /// The temporary keys of this key.
    pub parent: Option<KeyId>,
    /// `name` or `name=value`.
    pub tag: Option<String>,
    /// Neither used nor made since the day of this moment; the list begins with what is unused longest.
    pub unused_since: Option<i64>,
    /// Ends before this and has not ended yet; the list begins with what ends soonest.
    pub expiring_before: Option<i64>,
    /// To be reviewed before this; the list begins with what is due soonest.
    pub review_before: Option<i64>,
    /// To be rotated before this; the list begins with what is due soonest.
    pub rotation_before: Option<i64>,
}

/// Where a list of keys goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCursor {
    /// The value that the list is sorted by, unless it is the id.
    pub at: Option<i64>,
    pub id: KeyId,
}

impl KeyCursor {
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            Some((at, id)) => Some(KeyCursor { at: Some(at.parse().ok()?), id: KeyId::parse(id)? }),
            None => KeyId::parse(text).map(|id| KeyCursor { at: None, id }),
        }
    }
}

impl std::fmt::Display for KeyCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at {
            Some(at) => write!(f, "{at}.{}", self.id),
            None => self.id.fmt(f),
        }
    }
}

/// A part of a list: what comes after a cursor, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page<C> {
    pub after: Option<C>,
    /// 1 to 200.
    pub limit: u32,
}

impl<C> Default for Page<C> {
    fn default() -> Self {
        Page { after: None, limit: 50 }
    }
}

/// A part of a list and where it goes on. A filter that matches little may give fewer rows than asked, even none, with a
/// `next`: each page looks at a bounded number of rows.
#[derive(Clone, Debug)]
pub struct Listed<T, C> {
    pub data: Vec<T>,
    pub next: Option<C>,
}
