//! Requests for more than a key has, or for a key: asked here, decided, lapsed, and what was granted for a time taken back
//! at its end, in the files beside. A key is changed in the transaction of the decision, and back in that of the end.

mod decide;
mod end;
mod grant;
mod make;
mod tell;

use crate::Store;
use crate::access::Columns;
use crate::approval_types::{About, ApprovalFilter, ApprovalRow, ApprovalState, Asker, NewApproval};
use crate::audit::{Audited, Deed, Facts, Object, ObjectKind, Verb};
use crate::db::{FromRow, Row, Tx, Value, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::keys::reread;
use crate::sql::{Conditions, dynamic};
use crate::valid;
use anykey_core::notice::Event;
use anykey_core::{ApprovalId, KeyId, MemberId, OrganisationId, OwnerId, ProjectId};
use serde::de::DeserializeOwned;

/// Requests of one key, or of one member for keys, that wait at once.
const AT_MOST: i64 = 20;
const LONGEST_REASON: usize = 2_000;

const SELECT: &str = "SELECT id, organisation_id, project_id, member_id, key_id, new_key, collected_at, \
     wish, reason, asked_by, asked_by_name, \
     state, lapses_at, decided_by, decided_by_name, decided_at, answer, granted, ends_at, version, created_at, updated_at \
     FROM approval";

fn json_of<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| damaged("a request is not what this program writes"))
}

impl FromRow for ApprovalRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(ApprovalRow {
            id: ApprovalId(row.bytes()?),
            organisation: OrganisationId(row.bytes()?),
            project: ProjectId(row.bytes()?),
            member: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(MemberId::from_slice),
            key: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(KeyId::from_slice),
            new_key: row.take::<Option<String>>()?.map(|text| json_of(&text)).transpose()?,
            collected_at: row.take()?,
            wish: json_of(&row.take::<String>()?)?,
            reason: row.take()?,
            asked_by: Asker { id: row.take()?, name: row.take()? },
            state: row.name(ApprovalState::from_name)?,
            lapses_at: row.take()?,
            decided_by: {
                let (id, name) = (row.take::<Option<String>>()?, row.take::<Option<String>>()?);
                id.zip(name).map(|(id, name)| Asker { id, name })
            },
            decided_at: row.take()?,
            answer: row.take()?,
            granted: row.take::<Option<String>>()?.map(|text| json_of(&text)).transpose()?,
            ends_at: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

impl Audited for ApprovalRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Approval, self.id, self.wants()).within(Some(self.organisation))
    }

    fn facts(&self) -> Facts {
        let ApprovalRow {
            id: _,
            organisation,
            project,
            member: _,
            key,
            new_key,
            collected_at,
            wish,
            reason,
            asked_by,
            state,
            lapses_at,
            decided_by,
            decided_at: _,
            answer,
            granted,
            ends_at,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("organisation_id", organisation.to_string())
            .with("project_id", project.to_string())
            .with("key_id", key.map(|id| id.to_string()))
            .with("new_key", serde_json::to_value(new_key).unwrap_or_default())
            .with("collected_at", *collected_at)
            .with("wish", serde_json::to_value(wish).unwrap_or_default())
            .with("reason", reason.as_str())
            .with("asked_by", asked_by.id.as_str())
            .with("state", state.name())
            .with("lapses_at", *lapses_at)
            .with("decided_by", decided_by.as_ref().map(|who| who.id.clone()))
            .with("answer", answer.clone())
            .with("granted", serde_json::to_value(granted).unwrap_or_default())
            .with("ends_at", *ends_at)
    }
}

async fn read(tx: &mut Tx, id: ApprovalId) -> Result<ApprovalRow> {
    tx.one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0]).await?.ok_or(StoreError::NotFound("request"))
}

impl Store {
    /// Asks for more than a key has, or for a key. That it is missing, and that nothing above forbids it, is looked at now,
    /// so that nobody waits for what cannot be granted; and again when it is.
    pub async fn ask_approval(&self, new: NewApproval) -> Result<ApprovalRow> {
        valid::text("reason", &new.reason, LONGEST_REASON)?;
        let id = ApprovalId::random(self.now())?;
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let (placement, key, new_key) = match &new.about {
                About::Key(id) => {
                    let key = reread(&mut tx, *id).await?;
                    store.grantable(&mut tx, &key, &new.wish).await?;
                    (key.placement, Some(key.id.0), None)
                }
                About::New(placement, key) => {
                    store.makeable(&mut tx, *placement, key, &new.wish, None).await?;
                    (*placement, None, Some(serde_json::to_string(key).unwrap_or_default()))
                }
            };
            let member = match placement.owner {
                Some(OwnerId::Member(id)) => Some(id.0),
                _ => None,
            };
            expect_few(&mut tx, key, member).await?;
            tx.exec(
                "INSERT INTO approval (id, organisation_id, project_id, member_id, key_id, new_key, wish, reason, asked_by, \
                 asked_by_name, state, lapses_at, version, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'waiting', $11, 1, $12, $12)",
                params![
                    &id.0,
                    &placement.organisation.0,
                    &placement.project.0,
                    member,
                    key,
                    &new_key,
                    serde_json::to_string(&new.wish).unwrap_or_default(),
                    &new.reason,
                    &new.asked_by.id,
                    &new.asked_by.name,
                    new.lapses_at,
                    store.now(),
                ],
            )
            .await?;
            let row = read(&mut tx, id).await?;
            let deciders = store.deciders(&mut tx, &row).await?;
            store.tell_of_approval(&mut tx, Event::ApprovalRequested, &row, deciders).await?;
            store.record(&mut tx, Deed::made(Verb::ApprovalAsk, &row)).await?;
            tx.commit().await?;
            store.wake_outbox();
            Ok(row)
        })
        .await
    }

    pub async fn approval(&self, id: ApprovalId) -> Result<ApprovalRow> {
        self.db
            .one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0])
            .await?
            .ok_or(StoreError::NotFound("request"))
    }

    /// Newest first.
    pub async fn approvals(
        &self,
        filter: &ApprovalFilter,
        page: Page<ApprovalId>,
    ) -> Result<Listed<ApprovalRow, ApprovalId>> {
        let mut sql = Conditions::new(&format!("{SELECT} WHERE TRUE"));
        let columns =
            Columns { organisation: Some("organisation_id"), project: Some("project_id"), member: Some("member_id") };
        sql.within(&filter.within, columns);
        if let Some(state) = filter.state {
            sql.and("state = ", Value::from(state.name()));
        }
        if let Some(id) = filter.organisation {
            sql.and("organisation_id = ", Value::from(&id.0));
        }
        if let Some(id) = filter.project {
            sql.and("project_id = ", Value::from(&id.0));
        }
        if let Some(id) = filter.key {
            sql.and("key_id = ", Value::from(&id.0));
        }
        if let Some(asker) = &filter.asked_by {
            sql.and("asked_by = ", Value::from(asker));
        }
        self.page_of(sql, "id", page, |id| id.0, |row: &ApprovalRow| row.id).await
    }
}

/// Of one key, or of one member, no more than a person would look at.
async fn expect_few(tx: &mut Tx, key: Option<[u8; 16]>, member: Option<[u8; 16]>) -> Result<()> {
    let waiting: Option<(i64,)> = match key {
        Some(key) => {
            tx.one("SELECT COUNT(*) FROM approval WHERE key_id = $1 AND state = 'waiting'", params![&key]).await?
        }
        None => {
            let sql = "SELECT COUNT(*) FROM approval WHERE member_id = $1 AND key_id IS NULL AND state = 'waiting'";
            tx.one(sql, params![member]).await?
        }
    };
    if waiting.is_some_and(|(n,)| n >= AT_MOST) {
        let what = if key.is_some() { "of this key" } else { "for keys of yours" };
        return Err(StoreError::conflict(format!("{AT_MOST} requests {what} wait already")));
    }
    Ok(())
}
