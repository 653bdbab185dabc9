//! Where notices go to, and the secrets that messages are signed with: sealed at rest, shown once.

use super::deliveries::DELETED;
use crate::Store;
use crate::access::Columns;
use crate::audit::{Audited, Deed, Facts, Object, ObjectKind, Verb};
use crate::db::{FromRow, Row, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::notice_types::{DestinationFilter, DestinationPatch, DestinationRow, NewDestination, Receiver};
use crate::projects::expect_open;
use crate::seal::{Place, Sealer};
use crate::sql::{Conditions, dynamic};
use crate::valid;
use anykey_core::notice::{Channel, Event, is_address};
use anykey_core::{DestinationId, OrganisationId, ProjectId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Each notice looks at all of them.
const AT_MOST: i64 = 100;
const SECRET_LEN: usize = 32;
const LONGEST_ADDRESS: usize = 2_000;

const SELECT: &str = "SELECT id, organisation_id, project_id, name, channel, address, events, old_secret_until, disabled, \
     version, created_at, updated_at FROM destination";

impl FromRow for DestinationRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(DestinationRow {
            id: DestinationId(row.bytes()?),
            organisation: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(OrganisationId::from_slice),
            project: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(ProjectId::from_slice),
            name: row.take()?,
            channel: row.name(Channel::from_name)?,
            address: row.take()?,
            // A name that a later release knows is left out, not an error.
            events: row.take::<String>()?.split(',').filter_map(Event::from_name).collect(),
            old_secret_until: row.take()?,
            disabled: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

impl Audited for DestinationRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Destination, self.id, &self.name).within(self.organisation)
    }

    fn facts(&self) -> Facts {
        let DestinationRow {
            id: _,
            organisation,
            project,
            name,
            channel,
            address,
            events,
            old_secret_until,
            disabled,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("organisation_id", organisation.map(|id| id.to_string()))
            .with("project_id", project.map(|id| id.to_string()))
            .with("name", name.as_str())
            .with("channel", channel.name())
            .with("address", public_part(address))
            .with("events", events.iter().map(|event| event.name()).collect::<Vec<_>>())
            .with("old_secret_until", *old_secret_until)
            .with("disabled", *disabled)
    }
}

/// An address without what may be a secret: the path of a URL often is one.
pub(super) fn public_part(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.split('/').next().unwrap_or_default()),
        None => address.to_owned(),
    }
}

fn place<'a>(row: &'a str, column: &'static str) -> Place<'a> {
    Place { table: "destination", row, column }
}

fn event_names(events: &BTreeSet<Event>) -> String {
    events.iter().map(|event| event.name()).collect::<Vec<_>>().join(",")
}

/// A new secret, in the form that is shown, and sealed.
fn new_secret(sealer: &Sealer, id: DestinationId) -> Result<(SecretString, String)> {
    let mut bytes = Zeroizing::new([0u8; SECRET_LEN]);
    getrandom::fill(&mut *bytes)?;
    let text = Zeroizing::new(STANDARD.encode(*bytes));
    let sealed = sealer.seal(place(&id.to_string(), "secret"), text.as_bytes())?;
    Ok((SecretString::from(format!("whsec_{}", *text)), sealed))
}

fn check(name: &str, channel: Channel, address: &str) -> Result<()> {
    valid::name("name", name, 128)?;
    valid::name("address", address, LONGEST_ADDRESS)?;
    if channel == Channel::Email && !is_address(address) {
        return Err(StoreError::invalid("address", "is an e-mail address such as team@example.com"));
    }
    Ok(())
}

async fn read(tx: &mut Tx, id: DestinationId) -> Result<DestinationRow> {
    tx.one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0]).await?.ok_or(StoreError::NotFound("destination"))
}

impl Store {
    /// Makes a destination. A webhook's secret is shown once; mail has none.
    pub async fn create_destination(&self, new: NewDestination) -> Result<(DestinationRow, Option<SecretString>)> {
        check(&new.name, new.channel, &new.address)?;
        let id = DestinationId::random(self.now())?;
        let (secret, sealed) = match new.channel {
            Channel::Webhook => {
                let (secret, sealed) = new_secret(&self.sealer, id)?;
                (Some(secret), Some(sealed))
            }
            Channel::Email => (None, None),
        };
        let row = self
            .detached(move |store| async move {
                let now = store.now();
                let mut tx = store.db.begin().await?;
                expect_place(&mut tx, new.organisation, new.project).await?;
                let organisation = new.organisation.map(|id| id.0);
                tx.exec(
                    "INSERT INTO destination (id, organisation_id, project_id, name, channel, address, events, secret, \
                     disabled, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, FALSE, 1, $9, $9)",
                    params![
                        &id.0,
                        organisation,
                        new.project.map(|id| id.0),
                        &new.name,
                        new.channel.name(),
                        &new.address,
                        event_names(&new.events),
                        &sealed,
                        now,
                    ],
                )
                .await?;
                expect_few(&mut tx, organisation).await?;
                let row = read(&mut tx, id).await?;
                store.record(&mut tx, Deed::made(Verb::DestinationCreate, &row)).await?;
                tx.commit().await?;
                Ok(row)
            })
            .await?;
        Ok((row, secret))
    }

    pub async fn destination(&self, id: DestinationId) -> Result<DestinationRow> {
        self.db
            .one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0])
            .await?
            .ok_or(StoreError::NotFound("destination"))
    }

    /// Newest first.
    pub async fn destinations(
        &self,
        filter: &DestinationFilter,
        page: Page<DestinationId>,
    ) -> Result<Listed<DestinationRow, DestinationId>> {
        let mut sql = Conditions::new(&format!("{SELECT} WHERE TRUE"));
        let columns = Columns { organisation: Some("organisation_id"), project: Some("project_id"), member: None };
        sql.within(&filter.within, columns);
        if let Some(id) = filter.organisation {
            sql.and("organisation_id = ", Value::from(&id.0));
        }
        if let Some(id) = filter.project {
            sql.and("project_id = ", Value::from(&id.0));
        }
        self.page_of(sql, "id", page, |id| id.0, |row: &DestinationRow| row.id).await
    }

    pub async fn update_destination(
        &self,
        id: DestinationId,
        expected: Option<i64>,
        patch: DestinationPatch,
    ) -> Result<DestinationRow> {
        self.change_destination(id, expected, Verb::DestinationUpdate, move |row| {
            let name = patch.name.unwrap_or_else(|| row.name.clone());
            let address = patch.address.unwrap_or_else(|| row.address.clone());
            check(&name, row.channel, &address)?;
            let events = patch.events.as_ref().unwrap_or(&row.events);
            let disabled = patch.disabled.unwrap_or(row.disabled);
            Ok((
                "UPDATE destination SET name = $2, address = $3, events = $4, disabled = $5 WHERE id = $1",
                params![&row.id.0, &name, &address, event_names(events), disabled],
            ))
        })
        .await
    }

    /// A new secret. The one before it signs beside it for `overlap_ms`, so that a receiver has time to change over.
    pub async fn rotate_destination(
        &self,
        id: DestinationId,
        expected: Option<i64>,
        overlap_ms: i64,
    ) -> Result<(DestinationRow, SecretString)> {
        let (secret, sealed) = new_secret(&self.sealer, id)?;
        let old = self.open_secret(id, "secret").await?.ok_or_else(|| {
            StoreError::conflict("this destination gets mail, which is not signed, so it has no secret")
        })?;
        let name = id.to_string();
        let old = self.sealer.seal(place(&name, "old_secret"), &old)?;
        let until = self.now().saturating_add(overlap_ms);
        let row = self
            .change_destination(id, expected, Verb::DestinationRotate, move |row| {
                let (old, until) = if overlap_ms > 0 { (Some(old), Some(until)) } else { (None, None) };
                Ok((
                    "UPDATE destination SET secret = $2, old_secret = $3, old_secret_until = $4 WHERE id = $1",
                    params![&row.id.0, &sealed, &old, until],
                ))
            })
            .await?;
        Ok((row, secret))
    }

    /// What waits for it is given up.
    pub async fn delete_destination(&self, id: DestinationId, expected: Option<i64>) -> Result<DestinationRow> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let row = lock(&mut tx, id, expected, store.now()).await?;
            tx.exec(
                "UPDATE delivery SET state = 'failed', last_error = $3, done_at = $2 \
                 WHERE destination_id = $1 AND state = 'waiting'",
                params![&id.0, store.now(), DELETED],
            )
            .await?;
            tx.exec("DELETE FROM destination WHERE id = $1", params![&id.0]).await?;
            store.record(&mut tx, Deed::removed(Verb::DestinationDelete, &row)).await?;
            tx.commit().await?;
            Ok(row)
        })
        .await
    }

    /// Notes that somebody tried it, and what came of that.
    pub async fn destination_tested(&self, id: DestinationId, error: Option<String>) -> Result<()> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let row = read(&mut tx, id).await?;
            let facts = Facts::default().with("ok", error.is_none()).with("error", error).known();
            store.record(&mut tx, Deed::done(Verb::DestinationTest, row.object(), facts)).await?;
            tx.commit().await
        })
        .await
    }

    /// How a destination is reached, with what its messages are signed with.
    pub async fn receiver(&self, id: DestinationId) -> Result<Receiver> {
        let row = self.destination(id).await?;
        if row.channel == Channel::Email {
            return Ok(Receiver::Mailbox(row.address));
        }
        let mut secrets = Vec::with_capacity(2);
        secrets.extend(self.open_secret(id, "secret").await?);
        if row.old_secret_until.is_some_and(|until| until > self.now()) {
            secrets.extend(self.open_secret(id, "old_secret").await?);
        }
        let texts = secrets.into_iter().map(|bytes| SecretString::from(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Receiver::Webhook { url: row.address, secrets: texts.collect() })
    }

    async fn open_secret(&self, id: DestinationId, column: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let sql = dynamic(format!("SELECT {column} FROM destination WHERE id = $1"));
        let (sealed,): (Option<String>,) =
            self.db.one(sql, params![&id.0]).await?.ok_or(StoreError::NotFound("destination"))?;
        sealed.map(|sealed| self.sealer.open(place(&id.to_string(), column), &sealed)).transpose()
    }

    async fn change_destination<F>(
        &self,
        id: DestinationId,
        expected: Option<i64>,
        verb: Verb,
        change: F,
    ) -> Result<DestinationRow>
    where
        F: FnOnce(&DestinationRow) -> Result<(&'static str, Vec<Value>)> + Send + 'static,
    {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let before = lock(&mut tx, id, expected, store.now()).await?;
            let (sql, values) = change(&before)?;
            tx.exec(sql, values).await?;
            // What waited because the destination was disabled, or could not be reached as it was, goes out now.
            const NOW: &str =
                "UPDATE delivery SET next_at = $2 WHERE destination_id = $1 AND state = 'waiting' AND next_at > $2";
            tx.exec(NOW, params![&id.0, store.now()]).await?;
            let after = read(&mut tx, id).await?;
            store.record(&mut tx, Deed::changed(verb, &before, &after)).await?;
            tx.commit().await?;
            store.wake_outbox();
            Ok(after)
        })
        .await
    }
}

async fn lock(tx: &mut Tx, id: DestinationId, expected: Option<i64>, now: i64) -> Result<DestinationRow> {
    const LOCK: &str = "UPDATE destination SET version = version + 1, updated_at = $2 WHERE id = $1";
    if tx.exec(LOCK, params![&id.0, now]).await? == 0 {
        return Err(StoreError::NotFound("destination"));
    }
    let row = read(tx, id).await?;
    let found = row.version - 1;
    match expected {
        Some(expected) if expected != found => {
            Err(StoreError::VersionMismatch { what: "destination", expected, found })
        }
        _ => Ok(row),
    }
}

async fn expect_place(tx: &mut Tx, organisation: Option<OrganisationId>, project: Option<ProjectId>) -> Result<()> {
    if let Some(organisation) = organisation {
        expect_open(tx, organisation).await?;
    }
    let Some(project) = project else { return Ok(()) };
    let found: Option<(Vec<u8>, Option<i64>)> =
        tx.one("SELECT organisation_id, deleted_at FROM project WHERE id = $1", params![&project.0]).await?;
    match (found, organisation) {
        (Some((above, None)), Some(organisation)) if above == organisation.0 => Ok(()),
        _ => Err(StoreError::invalid("project", "is not a project of this organisation")),
    }
}

async fn expect_few(tx: &mut Tx, organisation: Option<[u8; 16]>) -> Result<()> {
    let count: Option<(i64,)> = match organisation {
        Some(id) => tx.one("SELECT COUNT(*) FROM destination WHERE organisation_id = $1", params![&id]).await?,
        None => tx.one("SELECT COUNT(*) FROM destination WHERE organisation_id IS NULL", params![]).await?,
    };
    if count.is_some_and(|(n,)| n > AT_MOST) {
        return Err(StoreError::conflict(format!("there are {AT_MOST} destinations already; delete one first")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_in_an_address_is_left_out() {
        assert_eq!(public_part("https://hooks.example.com:8443/services/T0/B0/x"), "https://hooks.example.com:8443");
        assert_eq!(public_part("https://a.example"), "https://a.example");
        assert_eq!(public_part("team@example.com"), "team@example.com");
    }
}
