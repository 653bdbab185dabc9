//! Deciding on a request, and taking one back: once, by somebody else or by whoever asked.

use super::grant::Effect;
use super::tell::asker_mail;
use super::{LONGEST_REASON, read};
use crate::Store;
use crate::approval_types::{ApprovalRow, ApprovalState, Asker, Decided, Decision};
use crate::audit::{Deed, Verb};
use crate::change::Change;
use crate::db::{Tx, damaged, params};
use crate::error::{Result, StoreError};
use crate::keys::reread;
use crate::valid;
use anykey_core::ApprovalId;
use anykey_core::notice::Event;

impl Store {
    /// Decides on a request that waits. Nobody decides on their own, and nothing is granted that anything above the key
    /// forbids; what was granted is in force when this returns.
    pub async fn decide_approval(
        &self,
        id: ApprovalId,
        expected: Option<i64>,
        by: Asker,
        decision: Decision,
    ) -> Result<Decided> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let before = lock_waiting(&mut tx, id, expected, now).await?;
            if before.asked_by.id == by.id {
                return Err(StoreError::conflict("nobody decides on what they asked for themselves"));
            }
            let (state, answer, until, effect) = match decision {
                Decision::Refuse { reason } => {
                    valid::text("reason", &reason, LONGEST_REASON)?;
                    (ApprovalState::Refused, Some(reason), None, Effect::Nothing)
                }
                Decision::Approve { until, answer } => {
                    valid::text("answer", answer.as_deref().unwrap_or_default(), LONGEST_REASON)?;
                    if until.is_some_and(|until| until <= now) {
                        return Err(StoreError::invalid("until", "is in the past"));
                    }
                    (ApprovalState::Approved, answer, until, store.bring_about(&mut tx, &before, &by, until).await?)
                }
            };
            tx.exec(
                "UPDATE approval SET state = $2, decided_by = $3, decided_by_name = $4, decided_at = $5, answer = $6, \
                 granted = $7, ends_at = $8, key_id = $9 WHERE id = $1",
                params![
                    &id.0,
                    state.name(),
                    &by.id,
                    &by.name,
                    now,
                    &answer,
                    &effect.granted().map(|granted| serde_json::to_string(granted).unwrap_or_default()),
                    until,
                    effect.key().map(|key| key.id).or(before.key).map(|id| id.0),
                ],
            )
            .await?;
            let verb = if state == ApprovalState::Approved { Verb::ApprovalGrant } else { Verb::ApprovalRefuse };
            let approval = store.settle_approval(tx, &before, verb, Event::ApprovalDecided, &effect).await?;
            Ok(Decided { approval, key: effect.into_key() })
        })
        .await
    }

    /// Whoever asked no longer does.
    pub async fn withdraw_approval(&self, id: ApprovalId, by: &str) -> Result<ApprovalRow> {
        let by = by.to_owned();
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let before = lock_waiting(&mut tx, id, None, store.now()).await?;
            if before.asked_by.id != by {
                return Err(StoreError::conflict("only whoever asked can withdraw a request; others can refuse it"));
            }
            tx.exec("UPDATE approval SET state = 'withdrawn' WHERE id = $1", params![&id.0]).await?;
            let after = read(&mut tx, id).await?;
            store.record(&mut tx, Deed::changed(Verb::ApprovalWithdraw, &before, &after)).await?;
            tx.commit().await?;
            Ok(after)
        })
        .await
    }

    /// Does what was asked for.
    async fn bring_about(&self, tx: &mut Tx, row: &ApprovalRow, by: &Asker, until: Option<i64>) -> Result<Effect> {
        match (&row.new_key, row.key) {
            (Some(wished), None) => {
                let key = self.make_key(tx, row, wished, by, until).await?;
                Ok(Effect::Made(Box::new(key)))
            }
            (_, Some(key)) => {
                let (granted, changed) = self.grant(tx, key, &row.wish, self.now()).await?;
                Ok(Effect::Changed(Some(granted), Box::new(changed)))
            }
            (None, None) => Err(damaged("a request names no key")),
        }
    }

    /// The last of every decision: told, recorded, committed, in force.
    pub(super) async fn settle_approval(
        &self,
        mut tx: Tx,
        before: &ApprovalRow,
        verb: Verb,
        event: Event,
        effect: &Effect,
    ) -> Result<ApprovalRow> {
        let after = read(&mut tx, before.id).await?;
        let asker = asker_mail(&mut tx, &after).await?;
        self.tell_of_approval(&mut tx, event, &after, asker).await?;
        let mut deeds = vec![Deed::changed(verb, before, &after)];
        match effect {
            Effect::Nothing => {}
            Effect::Changed(_, changed) => {
                let key = reread(&mut tx, changed.after.id).await?;
                self.remind_of(&mut tx, &key).await?;
                deeds.push(Deed::changed(Verb::KeyUpdate, &changed.before, &changed.after));
            }
            Effect::Made(key) => deeds.push(Deed::made(Verb::KeyCreate, &**key)),
        }
        self.record_all(&mut tx, deeds).await?;
        if let Effect::Changed(_, changed) = effect {
            self.announce(&mut tx, Change::Key(changed.after.id)).await?;
        }
        tx.commit().await?;
        if let Effect::Changed(_, changed) = effect {
            self.cache.changed(&changed.state, self.now());
        }
        self.wake_outbox();
        Ok(after)
    }
}

pub(super) async fn lock(tx: &mut Tx, id: ApprovalId, now: i64) -> Result<ApprovalRow> {
    const LOCK: &str = "UPDATE approval SET version = version + 1, updated_at = $2 WHERE id = $1";
    if tx.exec(LOCK, params![&id.0, now]).await? == 0 {
        return Err(StoreError::NotFound("request"));
    }
    read(tx, id).await
}

async fn lock_waiting(tx: &mut Tx, id: ApprovalId, expected: Option<i64>, now: i64) -> Result<ApprovalRow> {
    let row = lock(tx, id, now).await?;
    let found = row.version - 1;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(StoreError::VersionMismatch { what: "request", expected, found });
    }
    if row.state != ApprovalState::Waiting {
        return Err(StoreError::conflict(format!("the request does not wait any more: it is {}", row.state.name())));
    }
    if row.lapses_at <= now {
        return Err(StoreError::conflict("the request has lapsed"));
    }
    Ok(row)
}
