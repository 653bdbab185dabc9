//! Notices as they are managed and delivered: where they go to, and how far each is on its way.

use anykey_core::notice::{Channel, Event};
use anykey_core::{DeliveryId, DestinationId, KeyId, NoticeId, OrganisationId, ProjectId, Sight};
use secrecy::SecretString;
use std::collections::BTreeSet;

/// What the settings say of notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeSettings {
    /// Whether there is a mail server; without one, no mail is written.
    pub mail: bool,
    /// After how many days without use a key is worth a word; none: never.
    pub unused_days: Option<i64>,
}

/// A place that shall get notices.
#[derive(Clone, Debug)]
pub struct NewDestination {
    /// Whose notices; `None` is everybody's.
    pub organisation: Option<OrganisationId>,
    /// Of this project alone.
    pub project: Option<ProjectId>,
    pub name: String,
    pub channel: Channel,
    /// A URL or an e-mail address.
    pub address: String,
    /// Which; none named is all.
    pub events: BTreeSet<Event>,
}

/// What shall change. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct DestinationPatch {
    pub name: Option<String>,
    pub address: Option<String>,
    pub events: Option<BTreeSet<Event>>,
    pub disabled: Option<bool>,
}

/// A place that gets notices. Its secret is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRow {
    pub id: DestinationId,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    pub name: String,
    pub channel: Channel,
    pub address: String,
    pub events: BTreeSet<Event>,
    /// Until when messages are also signed with the secret before this one.
    pub old_secret_until: Option<i64>,
    pub disabled: bool,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// Which destinations to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationFilter {
    /// Only what whoever asks may reach.
    pub within: Sight,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    Waiting,
    Sent,
    /// Given up.
    Failed,
}

impl DeliveryState {
    pub const fn name(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Sent => "sent",
            DeliveryState::Failed => "failed",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [DeliveryState::Waiting, DeliveryState::Sent, DeliveryState::Failed].into_iter().find(|s| s.name() == name)
    }
}

/// One notice on its way to one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub notice: NoticeId,
    pub event: Event,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    pub key: Option<KeyId>,
    /// `None` where it goes to a person because they own the key. It may be deleted by now.
    pub destination: Option<DestinationId>,
    pub channel: Channel,
    pub address: String,
    pub state: DeliveryState,
    pub attempts: i64,
    /// When it is tried next, while it waits.
    pub next_at: i64,
    /// What the receiver answered last.
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    pub done_at: Option<i64>,
    pub created_at: i64,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only what whoever asks may reach.
    pub within: Sight,
    pub state: Option<DeliveryState>,
    pub destination: Option<DestinationId>,
    pub event: Option<Event>,
    pub key: Option<KeyId>,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
}

/// A notice as it is to be delivered now.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub delivery: DeliveryId,
    pub notice: NoticeId,
    pub event: Event,
    /// A JSON object; members whose names end in `_at` are milliseconds since 1970.
    pub data: String,
    pub created_at: i64,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    pub to: Receiver,
    /// What a slow receiver holds up.
    pub lane: String,
}

/// Where a dispatch goes.
#[derive(Clone, Debug)]
pub enum Receiver {
    Webhook {
        url: String,
        /// What to sign with: the secret, and the one before it while that still counts. Each is its bytes in base64.
        secrets: Vec<SecretString>,
    },
    Mailbox(String),
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Sent {
        status: Option<i64>,
    },
    /// To be tried again at that time.
    Later {
        at: i64,
        status: Option<i64>,
        error: String,
    },
    /// Not to be tried again.
    GivenUp {
        status: Option<i64>,
        error: String,
    },
}
