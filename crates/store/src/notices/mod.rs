//! The outbox: notices are written in the transaction of the change that they tell of, one row for each receiver, and
//! wait there until they are delivered. Delivering them is the work of the room `notices`.

mod deliveries;
mod destinations;
mod many;
mod reminders;
mod spending;

use many::Audience;
pub(crate) use many::Changed;

use crate::Store;
use crate::audit::{inert_text, who_acts};
use crate::db::{FromRow, Row, Tx, params};
use crate::error::Result;
use crate::key_rows::KeyRecord;
use crate::key_types::KeyRow;
use crate::notice_types::NoticeSettings;
use anykey_core::notice::{Channel, Event, is_address};
use anykey_core::{
    DeliveryId, DestinationId, KeyId, KeyKind, MemberId, NoticeId, OrganisationId, OwnerId, Placement, ProjectId,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tokio::sync::Notify;

/// All mail goes through one server, so it is one lane.
const MAIL_LANE: &str = "mail";

/// What the outbox is told, and how it tells that there is something new.
#[derive(Default)]
pub(crate) struct Outbox {
    settings: Mutex<NoticeSettings>,
    woken: Notify,
}

/// A notice that is about to be written.
pub(crate) struct Draft {
    pub event: Event,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    pub key: Option<KeyId>,
    pub data: Map<String, Value>,
    /// Who gets it as themselves, beside the destinations.
    pub to: Vec<String>,
}

impl Store {
    /// Says what the settings say of notices. Until then no mail is written and no key counts as unused.
    pub fn set_notices(&self, settings: NoticeSettings) {
        *self.outbox.settings.lock() = settings;
    }

    pub fn notice_settings(&self) -> NoticeSettings {
        *self.outbox.settings.lock()
    }

    /// Returns when something was put into the outbox by this process since the last time that this was waited for.
    pub async fn outbox_filled(&self) {
        self.outbox.woken.notified().await;
    }

    pub(crate) fn wake_outbox(&self) {
        self.outbox.woken.notify_one();
    }

    /// Writes a notice for everybody who is to get it; says whether there is anybody. To be called before
    /// [`Store::record`], and [`Store::wake_outbox`] after the commit.
    pub(crate) async fn post(&self, tx: &mut Tx, draft: Draft) -> Result<bool> {
        let destinations = destinations_of(tx, draft.organisation, draft.project).await?;
        self.post_to(tx, draft, &destinations).await
    }

    /// The same where it is known which destinations the place has.
    async fn post_to(&self, tx: &mut Tx, draft: Draft, destinations: &[Subscribed]) -> Result<bool> {
        let destinations: Vec<&Subscribed> = destinations.iter().filter(|it| it.wants(draft.event)).collect();
        let mail = self.notice_settings().mail;
        let mut boxes = BTreeSet::new();
        let people: Vec<String> = draft.to.iter().filter(|address| mail && is_address(address)).cloned().collect();
        if destinations.is_empty() && people.is_empty() {
            return Ok(false);
        }
        let now = self.now();
        let notice = NoticeId::random(now)?;
        let data = Value::Object(draft.data).to_string();
        tx.exec(
            "INSERT INTO notice (id, event, organisation_id, project_id, key_id, data, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            params![
                &notice.0,
                draft.event.name(),
                draft.organisation.map(|id| id.0),
                draft.project.map(|id| id.0),
                draft.key.map(|id| id.0),
                &data,
                now,
            ],
        )
        .await?;
        for Subscribed { id, organisation: place, channel, address, .. } in destinations {
            // One letter each, however often a mailbox is named.
            if *channel == Channel::Webhook || boxes.insert(address.to_lowercase()) {
                let lane = if *channel == Channel::Email { MAIL_LANE.to_owned() } else { id.to_string() };
                let to = To { organisation: *place, destination: Some(*id), channel: *channel, address, lane: &lane };
                insert_delivery(tx, notice, &to, now).await?;
            }
        }
        for address in people {
            if boxes.insert(address.to_lowercase()) {
                let channel = Channel::Email;
                let to = To {
                    organisation: draft.organisation,
                    destination: None,
                    channel,
                    address: &address,
                    lane: MAIL_LANE,
                };
                insert_delivery(tx, notice, &to, now).await?;
            }
        }
        Ok(true)
    }

    /// What a change of a key is worth telling. Says whether anything was.
    pub(crate) async fn tell_of_key(&self, tx: &mut Tx, before: &KeyRow, after: &KeyRow) -> Result<bool> {
        let mut events = Vec::new();
        if before.exposed_at.is_none() && after.exposed_at.is_some() {
            events.push(Event::KeyExposed);
        }
        if is_news(before.disabled, after.disabled, after.kind) {
            events.push(Event::KeyDisabled);
        }
        if events.is_empty() {
            return Ok(false);
        }
        let audience = self.audience(tx, &placement(after)).await?;
        let mut told = false;
        for event in events {
            told |= self.tell(tx, event, after, &audience).await?;
        }
        Ok(told)
    }

    async fn tell(&self, tx: &mut Tx, event: Event, key: &KeyRow, audience: &Audience) -> Result<bool> {
        if audience.is_empty() {
            return Ok(false);
        }
        let mut data = self.key_data(key);
        data.insert("by".into(), inert_text(&who_acts(), &self.brand).into());
        let draft = Draft::of_key(event, key, data, audience.people.clone());
        self.post_to(tx, draft, &audience.destinations).await
    }

    /// What is told of a key: enough to find it, nothing of its secret.
    pub(crate) fn key_data(&self, key: &KeyRow) -> Map<String, Value> {
        let text = |text: &str| inert_text(text, &self.brand);
        let maybe = |it: &Option<String>| it.as_deref().map(text);
        let key = json!({
            "id": key.id.to_string(),
            "name": text(&key.name),
            "masked": key.masked,
            "kind": key.kind.name(),
            "environment": maybe(&key.environment),
            "organisation": key.organisation,
            "project": key.project,
            "owner": key.owner_label.as_deref().or(key.owner.as_deref()).map(text),
            "disabled": key.disabled,
            "expires_at": key.expires_at,
            "review_at": key.review_at,
            "rotate_at": key.rotate_at,
            "last_used_at": key.last_used_at,
            "exposed_at": key.exposed_at,
        });
        Map::from_iter([("key".to_owned(), key)])
    }

    /// The mailboxes of those who answer for a key: the member who owns it, or else the owners of its project.
    pub(crate) async fn answerable(&self, tx: &mut Tx, placement: &Placement) -> Result<Vec<String>> {
        if !self.notice_settings().mail {
            return Ok(Vec::new());
        }
        let own = match placement.owner {
            Some(OwnerId::Member(id)) => member_mail(tx, id).await?,
            _ => Vec::new(),
        };
        if own.is_empty() { owners_mail(tx, placement.project).await } else { Ok(own) }
    }
}

pub(crate) async fn member_mail(tx: &mut Tx, id: MemberId) -> Result<Vec<String>> {
    let found: Vec<(String,)> = tx
        .all(
            "SELECT p.email FROM membership m JOIN person p ON p.id = m.person_id WHERE m.id = $1 \
             AND m.deleted_at IS NULL AND NOT m.disabled AND p.deleted_at IS NULL AND NOT p.disabled",
            params![&id.0],
        )
        .await?;
    Ok(found.into_iter().map(|(email,)| email).collect())
}

/// The mailboxes of those who own a project.
pub(crate) async fn owners_mail(tx: &mut Tx, project: ProjectId) -> Result<Vec<String>> {
    let found: Vec<(String,)> = tx
        .all(
            "SELECT p.email FROM project_role r JOIN person p ON p.id = r.person_id WHERE r.project_id = $1 \
             AND p.deleted_at IS NULL AND NOT p.disabled ORDER BY p.email",
            params![&project.0],
        )
        .await?;
    Ok(found.into_iter().map(|(email,)| email).collect())
}

impl Draft {
    pub fn of_key(event: Event, key: &KeyRow, data: Map<String, Value>, to: Vec<String>) -> Draft {
        Draft {
            event,
            organisation: Some(key.organisation_id),
            project: Some(key.project_id),
            key: Some(key.id),
            data,
            to,
        }
    }
}

fn placement(key: &KeyRow) -> Placement {
    Placement { organisation: key.organisation_id, project: key.project_id, owner: key.owner_id }
}

/// When a key is to be rotated, worked out anew from its interval and its secrets.
pub(crate) async fn set_rotate_at(tx: &mut Tx, id: KeyId) -> Result<()> {
    tx.exec(
        "UPDATE api_key SET rotate_at = rotation_interval_ms + (SELECT MAX(s.created_at) FROM secret s \
         WHERE s.key_id = $1 AND s.state <> 'dead' AND NOT s.pending) \
         WHERE id = $1 AND (rotation_interval_ms IS NOT NULL OR rotate_at IS NOT NULL)",
        params![&id.0],
    )
    .await
    .map(|_| ())
}

/// Whether it is worth a word that a key is disabled. Short-lived keys come and go all day long.
fn is_news(was_disabled: bool, is_disabled: bool, kind: KeyKind) -> bool {
    !was_disabled && is_disabled && kind != KeyKind::Temp
}

/// Whether somebody is to be reminded of this key at all.
pub(crate) fn is_quiet(key: &KeyRecord) -> bool {
    key.deleted_at.is_some() || key.disabled
}

/// A destination that gets a notice.
struct Subscribed {
    id: DestinationId,
    organisation: Option<OrganisationId>,
    channel: Channel,
    address: String,
    /// Empty is all.
    events: String,
}

/// Where a delivery goes, and whose it is.
struct To<'a> {
    organisation: Option<OrganisationId>,
    destination: Option<DestinationId>,
    channel: Channel,
    address: &'a str,
    lane: &'a str,
}

impl FromRow for Subscribed {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(Subscribed {
            id: DestinationId(row.bytes()?),
            organisation: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(OrganisationId::from_slice),
            channel: row.name(Channel::from_name)?,
            address: row.take()?,
            events: row.take()?,
        })
    }
}

impl Subscribed {
    fn wants(&self, event: Event) -> bool {
        self.events.is_empty() || self.events.split(',').any(|name| name == event.name())
    }
}

/// The destinations that a place has.
async fn destinations_of(
    tx: &mut Tx,
    organisation: Option<OrganisationId>,
    project: Option<ProjectId>,
) -> Result<Vec<Subscribed>> {
    tx.all(
        "SELECT id, organisation_id, channel, address, events FROM destination WHERE NOT disabled \
         AND (organisation_id IS NULL OR organisation_id = $1) AND (project_id IS NULL OR project_id = $2) ORDER BY id",
        params![organisation.map(|id| id.0), project.map(|id| id.0)],
    )
    .await
}

async fn insert_delivery(tx: &mut Tx, notice: NoticeId, to: &To<'_>, now: i64) -> Result<()> {
    let id = DeliveryId::random(now)?;
    tx.exec(
        "INSERT INTO delivery (id, notice_id, organisation_id, destination_id, channel, address, lane, state, attempts, \
         next_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', 0, $8, $8)",
        params![
            &id.0,
            &notice.0,
            to.organisation.map(|id| id.0),
            to.destination.map(|id| id.0),
            to.channel.name(),
            to.address,
            to.lane,
            now,
        ],
    )
    .await
    .map(|_| ())
}
