//! What ends by itself: requests that nobody decided on, and grants whose time is over.

use super::decide::lock;
use super::grant::Effect;
use super::read;
use crate::Store;
use crate::approval_types::{ApprovalRow, ApprovalState};
use crate::audit::Verb;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::key_rows::KeyRecord;
use crate::keys::lock_key;
use anykey_core::notice::Event;
use anykey_core::{ApprovalId, KeyId};

/// How many are looked at between two questions to the database.
const AT_ONCE: i64 = 100;

impl Store {
    /// Lets lapse what nobody decided on in time, and takes back what was granted until now. Several replicas may do this at
    /// once; each request has one end.
    pub async fn end_approvals(&self) -> Result<usize> {
        let mut ended = 0;
        loop {
            let now = self.now();
            let due: Vec<(Vec<u8>, String)> = self
                .db
                .all(
                    "SELECT id, state FROM approval WHERE (state = 'waiting' AND lapses_at <= $1) \
                     OR (state = 'approved' AND ends_at IS NOT NULL AND ends_at <= $1) ORDER BY id LIMIT $2",
                    params![now, AT_ONCE],
                )
                .await?;
            for (id, state) in &due {
                let Some(id) = ApprovalId::from_slice(id) else { continue };
                let done = if state == ApprovalState::Waiting.name() {
                    self.lapse(id).await?
                } else {
                    self.take_back(id).await?
                };
                ended += usize::from(done);
            }
            if (due.len() as i64) < AT_ONCE {
                return Ok(ended);
            }
        }
    }

    /// The next moment at which a request lapses or a grant ends.
    pub async fn next_approval_end(&self) -> Result<Option<i64>> {
        let next: Option<(Option<i64>,)> = self
            .db
            .one(
                "SELECT MIN(at) FROM (SELECT MIN(lapses_at) AS at FROM approval WHERE state = 'waiting' UNION ALL \
                 SELECT MIN(ends_at) AS at FROM approval WHERE state = 'approved' AND ends_at IS NOT NULL) AS ends",
                params![],
            )
            .await?;
        Ok(next.and_then(|(at,)| at))
    }

    async fn lapse(&self, id: ApprovalId) -> Result<bool> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let before = match lock(&mut tx, id, now).await {
                Ok(row) if row.state == ApprovalState::Waiting && row.lapses_at <= now => row,
                Ok(_) | Err(StoreError::NotFound(_)) => return Ok(false),
                Err(error) => return Err(error),
            };
            tx.exec("UPDATE approval SET state = 'lapsed' WHERE id = $1", params![&id.0]).await?;
            store.settle_approval(tx, &before, Verb::ApprovalLapse, Event::ApprovalLapsed, &Effect::Nothing).await?;
            Ok(true)
        })
        .await
    }

    async fn take_back(&self, id: ApprovalId) -> Result<bool> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let over =
                |row: &ApprovalRow| row.state == ApprovalState::Approved && row.ends_at.is_some_and(|at| at <= now);
            // The key before its requests, in every place that locks several of one key.
            let key = match read(&mut tx, id).await? {
                ApprovalRow { key: Some(key), granted: Some(_), .. } => lock_alive(&mut tx, key, now).await?,
                // A key that was made for a time ends by itself.
                _ => None,
            };
            let before = lock(&mut tx, id, now).await?;
            if !over(&before) {
                return Ok(false);
            }
            let effect = match key {
                Some(key) => store.ungrant(&mut tx, &before, key).await?,
                None => Effect::Nothing,
            };
            tx.exec("UPDATE approval SET state = 'ended' WHERE id = $1", params![&id.0]).await?;
            store.settle_approval(tx, &before, Verb::ApprovalEnd, Event::ApprovalEnded, &effect).await?;
            Ok(true)
        })
        .await
    }
}

/// A key that is deleted has nothing that could be taken back.
async fn lock_alive(tx: &mut Tx, id: KeyId, now: i64) -> Result<Option<KeyRecord>> {
    match lock_key(tx, id, None, now).await {
        Ok(key) => Ok(Some(key)),
        Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
