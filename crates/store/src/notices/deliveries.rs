//! What is still to be delivered: taken by one process at a time, tried again with patience, given up in the end.
//!
//! A process that takes a row counts its attempts up and says until when it may be thought alive. What it says of the
//! attempt later counts only while the number is still its own, so that a process that was held up for dead cannot undo
//! what another one has done since.

use super::destinations::public_part;
use crate::Store;
use crate::access::Columns;
use crate::audit::{Deed, Facts, Object, ObjectKind, Verb};
use crate::db::{FromRow, Row, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::notice_types::{Attempt, DeliveryFilter, DeliveryRow, DeliveryState, Dispatch, Receiver};
use crate::sql::{Conditions, dynamic};
use crate::sums::DAY_MS;
use anykey_core::notice::{Channel, Event};
use anykey_core::{DeliveryId, DestinationId, KeyId, NoticeId, OrganisationId, ProjectId};

/// How long what is done with is kept.
const KEPT_MS: i64 = 30 * DAY_MS;
/// Longer than any stage of any reminder, so that none is told twice.
const REMEMBERED_MS: i64 = 400 * DAY_MS;
const LONGEST_ERROR: usize = 500;
pub(super) const DELETED: &str = "the destination was deleted";

const SELECT: &str = "SELECT d.id, d.notice_id, n.event, n.organisation_id, n.project_id, n.key_id, d.destination_id, \
     d.channel, d.address, d.state, d.attempts, d.next_at, d.last_status, d.last_error, d.done_at, d.created_at \
     FROM delivery d JOIN notice n ON n.id = d.notice_id";

impl FromRow for DeliveryRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(DeliveryRow {
            id: DeliveryId(row.bytes()?),
            notice: NoticeId(row.bytes()?),
            event: row.name(Event::from_name)?,
            organisation: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(OrganisationId::from_slice),
            project: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(ProjectId::from_slice),
            key: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(KeyId::from_slice),
            destination: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(DestinationId::from_slice),
            channel: row.name(Channel::from_name)?,
            address: public_part(&row.take::<String>()?),
            state: row.name(DeliveryState::from_name)?,
            attempts: row.take()?,
            next_at: row.take()?,
            last_status: row.take()?,
            last_error: row.take()?,
            done_at: row.take()?,
            created_at: row.take()?,
        })
    }
}

/// A row that is to be delivered, before it is taken.
struct Waiting {
    id: DeliveryId,
    notice: NoticeId,
    event: Event,
    data: String,
    created_at: i64,
    destination: Option<DestinationId>,
    channel: Channel,
    address: String,
    lane: String,
    attempts: i64,
}

impl FromRow for Waiting {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(Waiting {
            id: DeliveryId(row.bytes()?),
            notice: NoticeId(row.bytes()?),
            event: row.name(Event::from_name)?,
            data: row.take()?,
            created_at: row.take()?,
            destination: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(DestinationId::from_slice),
            channel: row.name(Channel::from_name)?,
            address: row.take()?,
            lane: row.take()?,
            attempts: row.take()?,
        })
    }
}

/// Due, wanted by a destination that is not disabled, and not in the hands of a process that may be alive.
const DUE: &str = "d.state = 'waiting' AND d.next_at <= $1 AND (d.claimed_until IS NULL OR d.claimed_until <= $1) \
     AND (d.destination_id IS NULL OR EXISTS (SELECT 1 FROM destination t WHERE t.id = d.destination_id \
     AND NOT t.disabled))";

impl Store {
    /// Takes one delivery that is due, in none of these lanes, for `lease_ms`; the oldest first.
    pub async fn take_delivery(&self, busy: &[String], lease_ms: i64) -> Result<Option<Dispatch>> {
        loop {
            let now = self.now();
            let mut sql = Conditions::with(
                &format!(
                    "SELECT d.id, d.notice_id, n.event, n.data, n.created_at, d.destination_id, d.channel, d.address, \
                     d.lane, d.attempts FROM delivery d JOIN notice n ON n.id = d.notice_id WHERE {DUE}"
                ),
                vec![Value::from(now)],
            );
            for lane in busy {
                sql.and("d.lane <> ", Value::from(lane));
            }
            let (sql, values) = sql.finish(" ORDER BY d.next_at, d.id LIMIT 1");
            let Some(found) = self.db.one::<Waiting>(dynamic(sql), values).await? else { return Ok(None) };
            let taken = self
                .db
                .exec(
                    "UPDATE delivery SET attempts = attempts + 1, claimed_until = $3 \
                     WHERE id = $1 AND state = 'waiting' AND attempts = $2",
                    params![&found.id.0, found.attempts, now.saturating_add(lease_ms)],
                )
                .await?;
            // Another replica was quicker; there may be more.
            if taken == 0 {
                continue;
            }
            let (id, attempt) = (found.id, found.attempts + 1);
            match self.dispatch(found).await {
                Ok(dispatch) => return Ok(Some(dispatch)),
                // Trying again would find the same.
                Err(error @ (StoreError::NotFound(_) | StoreError::SecretUnavailable(_))) => {
                    let outcome = Attempt::GivenUp { status: None, error: error.to_string() };
                    self.delivery_tried(id, attempt, outcome).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn dispatch(&self, found: Waiting) -> Result<Dispatch> {
        let to = match (found.channel, found.destination) {
            (Channel::Email, _) => Receiver::Mailbox(found.address),
            (Channel::Webhook, Some(id)) => self.receiver(id).await?,
            (Channel::Webhook, None) => return Err(StoreError::NotFound("destination")),
        };
        Ok(Dispatch {
            delivery: found.id,
            notice: found.notice,
            event: found.event,
            data: found.data,
            created_at: found.created_at,
            attempt: found.attempts + 1,
            to,
            lane: found.lane,
        })
    }

    /// Writes down what became of an attempt; `false` says that it is another process's by now.
    pub async fn delivery_tried(&self, id: DeliveryId, attempt: i64, outcome: Attempt) -> Result<bool> {
        let cut = |error: String| error.chars().take(LONGEST_ERROR).collect::<String>();
        let now = self.now();
        let (state, next_at, status, error, done_at) = match outcome {
            Attempt::Sent { status } => ("sent", now, status, None, Some(now)),
            Attempt::Later { at, status, error } => ("waiting", at, status, Some(cut(error)), None),
            Attempt::GivenUp { status, error } => ("failed", now, status, Some(cut(error)), Some(now)),
        };
        let written = self
            .db
            .exec(
                "UPDATE delivery SET state = $3, next_at = $4, last_status = $5, last_error = $6, done_at = $7, \
                 claimed_until = NULL WHERE id = $1 AND attempts = $2 AND state = 'waiting'",
                params![&id.0, attempt, state, next_at, status, &error, done_at],
            )
            .await?;
        Ok(written == 1)
    }

    /// When the next delivery is due, as far as it is known now.
    pub async fn next_delivery(&self) -> Result<Option<i64>> {
        let next: Option<(Option<i64>,)> = self
            .db
            .one(
                "SELECT MIN(CASE WHEN d.claimed_until > d.next_at THEN d.claimed_until ELSE d.next_at END) \
                 FROM delivery d WHERE d.state = 'waiting' AND (d.destination_id IS NULL OR EXISTS \
                 (SELECT 1 FROM destination t WHERE t.id = d.destination_id AND NOT t.disabled))",
                params![],
            )
            .await?;
        Ok(next.and_then(|(at,)| at))
    }

    /// Newest first. Of a URL only its host is shown.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        page: Page<DeliveryId>,
    ) -> Result<Listed<DeliveryRow, DeliveryId>> {
        let mut sql = Conditions::new(&format!("{SELECT} WHERE TRUE"));
        let columns = Columns { organisation: Some("d.organisation_id"), project: None, member: None };
        sql.within(&filter.within, columns);
        if let Some(state) = filter.state {
            sql.and("d.state = ", Value::from(state.name()));
        }
        if let Some(id) = filter.destination {
            sql.and("d.destination_id = ", Value::from(&id.0));
        }
        if let Some(event) = filter.event {
            sql.and("n.event = ", Value::from(event.name()));
        }
        if let Some(id) = filter.key {
            sql.and("n.key_id = ", Value::from(&id.0));
        }
        if let Some(id) = filter.organisation {
            sql.and("n.organisation_id = ", Value::from(&id.0));
        }
        if let Some(id) = filter.project {
            sql.and("n.project_id = ", Value::from(&id.0));
        }
        self.page_of(sql, "d.id", page, |id| id.0, |row: &DeliveryRow| row.id).await
    }

    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRow> {
        self.db
            .one(dynamic(format!("{SELECT} WHERE d.id = $1")), params![&id.0])
            .await?
            .ok_or(StoreError::NotFound("delivery"))
    }

    /// Puts a delivery that was made or given up back to be made again, with all its attempts before it.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<DeliveryRow> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let sql = dynamic(format!("{SELECT} WHERE d.id = $1"));
            let row: DeliveryRow = tx.one(sql, params![&id.0]).await?.ok_or(StoreError::NotFound("delivery"))?;
            expect_receiver(&mut tx, row.destination).await?;
            let put_back = tx
                .exec(
                    "UPDATE delivery SET state = 'waiting', attempts = 0, next_at = $2, claimed_until = NULL, \
                     last_status = NULL, last_error = NULL, done_at = NULL WHERE id = $1 AND state <> 'waiting'",
                    params![&id.0, store.now()],
                )
                .await?;
            if put_back == 0 {
                return Err(StoreError::conflict("this delivery is still on its way"));
            }
            let whose = whose(&mut tx, id).await?;
            let object = Object::new(ObjectKind::Delivery, id, row.event.name()).within(whose);
            let facts = Facts::default().with("address", row.address.as_str()).with("state", row.state.name());
            store.record(&mut tx, Deed::done(Verb::DeliveryReplay, object, facts)).await?;
            let sql = dynamic(format!("{SELECT} WHERE d.id = $1"));
            let row = tx.one(sql, params![&id.0]).await?.ok_or(StoreError::NotFound("delivery"))?;
            tx.commit().await?;
            store.wake_outbox();
            Ok(row)
        })
        .await
    }

    /// Gives up what was written for a destination while that was being deleted.
    async fn give_up_deleted(&self) -> Result<()> {
        self.db
            .exec(
                "UPDATE delivery SET state = 'failed', last_error = $2, done_at = $1 WHERE state = 'waiting' \
                 AND destination_id IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM destination t WHERE t.id = delivery.destination_id)",
                params![self.now(), DELETED],
            )
            .await
            .map(|_| ())
    }

    /// What a process that died had taken is free again at once, where no other can have it.
    pub(crate) async fn reclaim_deliveries(&self) -> Result<()> {
        if self.db.is_postgres() {
            return Ok(());
        }
        self.db
            .exec("UPDATE delivery SET claimed_until = NULL WHERE claimed_until IS NOT NULL", params![])
            .await
            .map(|_| ())
    }

    #[doc(hidden)]
    pub async fn forget_notices(&self) -> Result<()> {
        self.give_up_deleted().await?;
        let before = self.now() - KEPT_MS;
        self.db.exec("DELETE FROM delivery WHERE state <> 'waiting' AND done_at < $1", params![before]).await?;
        self.db
            .exec(
                "DELETE FROM notice WHERE created_at < $1 \
                 AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.notice_id = notice.id)",
                params![before],
            )
            .await?;
        self.db.exec("DELETE FROM reminder WHERE at < $1", params![self.now() - REMEMBERED_MS]).await.map(|_| ())
    }
}

async fn whose(tx: &mut Tx, id: DeliveryId) -> Result<Option<OrganisationId>> {
    let found: Option<(Option<Vec<u8>>,)> =
        tx.one("SELECT organisation_id FROM delivery WHERE id = $1", params![&id.0]).await?;
    Ok(found.and_then(|(id,)| id).as_deref().and_then(OrganisationId::from_slice))
}

/// What goes to a person has no destination that could be gone.
async fn expect_receiver(tx: &mut Tx, destination: Option<DestinationId>) -> Result<()> {
    let Some(id) = destination else { return Ok(()) };
    let found: Option<(i64,)> = tx.one("SELECT version FROM destination WHERE id = $1", params![&id.0]).await?;
    found.map(|_| ()).ok_or_else(|| StoreError::conflict("the destination of this delivery was deleted"))
}
