//! Requests for more than a key has: asked, decided, lapsed, and what was granted for a time taken back at its end. A key
//! is changed in the transaction of the decision, and back in that of the end.

use crate::Store;
use crate::access::Columns;
use crate::approval_types::{ApprovalFilter, ApprovalRow, ApprovalState, Asker, Decided, Decision, NewApproval};
use crate::audit::{Audited, Deed, Facts, Object, ObjectKind, Verb, inert_text};
use crate::cache::KeyState;
use crate::change::Change;
use crate::db::{FromRow, Row, Tx, Value, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, secrets_of};
use crate::key_types::{KeyPatch, KeyRow, Listed, Page};
use crate::key_write::patch_key;
use crate::keys::{lock_key, reread};
use crate::levels::Above;
use crate::notices::{Draft, owners_mail};
use crate::sql::{Conditions, dynamic};
use crate::valid;
use anykey_core::controls::{Controls, Limits};
use anykey_core::key_rules::{KeyFacts, KeyRules};
use anykey_core::notice::Event;
use anykey_core::wish::{Granted, Held, Wish};
use anykey_core::{ApprovalId, KeyId, KeyKind, MemberId, OrganisationId, OwnerId, PersonId, ProjectId};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Requests of one key that wait at once.
const AT_MOST: i64 = 20;
const LONGEST_REASON: usize = 2_000;
/// How many are looked at between two questions to the database.
const AT_ONCE: i64 = 100;

const SELECT: &str = "SELECT id, organisation_id, project_id, member_id, key_id, wish, reason, asked_by, asked_by_name, \
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
            key: KeyId(row.bytes()?),
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
        Object::new(ObjectKind::Approval, self.id, self.wish.to_string()).within(Some(self.organisation))
    }

    fn facts(&self) -> Facts {
        let ApprovalRow {
            id: _,
            organisation,
            project,
            member: _,
            key,
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
            .with("key_id", key.to_string())
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
    /// Asks for more than a key has. That the key lacks it, and that nothing above the key forbids it, is looked at now, so
    /// that nobody waits for what cannot be granted; and again when it is.
    pub async fn ask_approval(&self, new: NewApproval) -> Result<ApprovalRow> {
        valid::text("reason", &new.reason, LONGEST_REASON)?;
        let id = ApprovalId::random(self.now())?;
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let key = reread(&mut tx, new.key).await?;
            store.grantable(&mut tx, &key, &new.wish).await?;
            let waiting: Option<(i64,)> = tx
                .one("SELECT COUNT(*) FROM approval WHERE key_id = $1 AND state = 'waiting'", params![&key.id.0])
                .await?;
            if waiting.is_some_and(|(n,)| n >= AT_MOST) {
                return Err(StoreError::conflict(format!("{AT_MOST} requests of this key wait already")));
            }
            let member = match key.placement.owner {
                Some(OwnerId::Member(id)) => Some(id.0),
                _ => None,
            };
            tx.exec(
                "INSERT INTO approval (id, organisation_id, project_id, member_id, key_id, wish, reason, asked_by, \
                 asked_by_name, state, lapses_at, version, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting', $10, 1, $11, $11)",
                params![
                    &id.0,
                    &key.placement.organisation.0,
                    &key.placement.project.0,
                    member,
                    &key.id.0,
                    stored(&new.wish),
                    &new.reason,
                    &new.asked_by.id,
                    &new.asked_by.name,
                    new.lapses_at,
                    now,
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
            let (state, answer, until, granted, changed) = match decision {
                Decision::Refuse { reason } => {
                    valid::text("reason", &reason, LONGEST_REASON)?;
                    (ApprovalState::Refused, Some(reason), None, None, None)
                }
                Decision::Approve { until, answer } => {
                    valid::text("answer", answer.as_deref().unwrap_or_default(), LONGEST_REASON)?;
                    if until.is_some_and(|until| until <= now) {
                        return Err(StoreError::invalid("until", "is in the past"));
                    }
                    let (granted, changed) = store.grant(&mut tx, before.key, &before.wish, now).await?;
                    (ApprovalState::Approved, answer, until, Some(granted), Some(changed))
                }
            };
            tx.exec(
                "UPDATE approval SET state = $2, decided_by = $3, decided_by_name = $4, decided_at = $5, answer = $6, \
                 granted = $7, ends_at = $8 WHERE id = $1",
                params![
                    &id.0,
                    state.name(),
                    &by.id,
                    &by.name,
                    now,
                    &answer,
                    &granted.as_ref().map(|granted| serde_json::to_string(granted).unwrap_or_default()),
                    until,
                ],
            )
            .await?;
            let verb = if state == ApprovalState::Approved { Verb::ApprovalGrant } else { Verb::ApprovalRefuse };
            let approval = store.settle_approval(tx, &before, verb, Event::ApprovalDecided, &changed).await?;
            Ok(Decided { approval, key: changed.map(|changed| changed.after) })
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
            store.settle_approval(tx, &before, Verb::ApprovalLapse, Event::ApprovalLapsed, &None).await?;
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
            let key = read(&mut tx, id).await?.key;
            let key = match lock_key(&mut tx, key, None, now).await {
                Ok(key) => Some(key),
                // A key that is deleted has nothing that could be taken back.
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
            let before = lock(&mut tx, id, now).await?;
            if !over(&before) {
                return Ok(false);
            }
            let changed = match key {
                Some(key) => store.ungrant(&mut tx, &before, key).await?,
                None => None,
            };
            tx.exec("UPDATE approval SET state = 'ended' WHERE id = $1", params![&id.0]).await?;
            store.settle_approval(tx, &before, Verb::ApprovalEnd, Event::ApprovalEnded, &changed).await?;
            Ok(true)
        })
        .await
    }

    /// The last of every decision: told, recorded, committed, in force.
    async fn settle_approval(
        &self,
        mut tx: Tx,
        before: &ApprovalRow,
        verb: Verb,
        event: Event,
        changed: &Option<Changed>,
    ) -> Result<ApprovalRow> {
        let after = read(&mut tx, before.id).await?;
        let asker = asker_mail(&mut tx, &after).await?;
        self.tell_of_approval(&mut tx, event, &after, asker).await?;
        let mut deeds = vec![Deed::changed(verb, before, &after)];
        if let Some(changed) = changed {
            let key = reread(&mut tx, after.key).await?;
            self.remind_of(&mut tx, &key).await?;
            deeds.push(Deed::changed(Verb::KeyUpdate, &changed.before, &changed.after));
        }
        self.record_all(&mut tx, deeds).await?;
        if changed.is_some() {
            self.announce(&mut tx, Change::Key(after.key)).await?;
        }
        tx.commit().await?;
        if let Some(changed) = changed {
            self.cache.changed(&changed.state, self.now());
        }
        self.wake_outbox();
        Ok(after)
    }

    /// Gives a key what is asked for.
    async fn grant(&self, tx: &mut Tx, id: KeyId, wish: &Wish, now: i64) -> Result<(Granted, Changed)> {
        let key = lock_key(tx, id, None, now).await?;
        let granted = self.grantable(tx, &key, wish).await?;
        let mut held = held(&key);
        granted.apply(&mut held);
        let changed = self.write_held(tx, key, held).await?;
        Ok((granted, changed))
    }

    /// Takes back what a grant gave; the grants of the same key that still run keep theirs.
    async fn ungrant(&self, tx: &mut Tx, over: &ApprovalRow, key: KeyRecord) -> Result<Option<Changed>> {
        let Some(granted) = over.granted.clone() else { return Ok(None) };
        let running: Vec<ApprovalRow> = tx
            .all(
                dynamic(format!(
                    "{SELECT} WHERE key_id = $1 AND id <> $2 AND state = 'approved' AND granted IS NOT NULL ORDER BY id"
                )),
                params![&over.key.0, &over.id.0],
            )
            .await?;
        let mut others: Vec<(Wish, Granted)> =
            running.iter().map(|row| (row.wish.clone(), row.granted.clone().unwrap_or_default())).collect();
        let mut held = held(&key);
        granted.take_back(&mut held, &mut others);
        for (row, (_, granted)) in running.iter().zip(others) {
            if row.granted.as_ref() != Some(&granted) {
                let text = serde_json::to_string(&granted).unwrap_or_default();
                tx.exec("UPDATE approval SET granted = $2 WHERE id = $1", params![&row.id.0, &text]).await?;
            }
        }
        self.write_held(tx, key, held).await.map(Some)
    }

    async fn write_held(&self, tx: &mut Tx, key: KeyRecord, held: Held) -> Result<Changed> {
        let now = self.now();
        let id = key.id;
        let above = self.above_in(tx, &key.placement).await?;
        let before = key.clone().show(&secrets_of(tx, id).await?, &above, &self.brand, now);
        let patch = KeyPatch {
            controls: Some(held.controls),
            spend_limit: Some(held.spend_limit),
            expires_at: Some(held.expires_at),
            ..KeyPatch::default()
        };
        patch_key(tx, key, patch).await?;
        let key = reread(tx, id).await?;
        let secrets = secrets_of(tx, id).await?;
        let state = key.state(&secrets, Above::clone(&above));
        let after = key.show(&secrets, &above, &self.brand, now);
        Ok(Changed { before, after, state })
    }

    /// What would change of a key, if nothing above it and none of its organisation's rules forbids that.
    async fn grantable(&self, tx: &mut Tx, key: &KeyRecord, wish: &Wish) -> Result<Granted> {
        if key.deleted_at.is_some() {
            return Err(StoreError::conflict("the key is deleted"));
        }
        if matches!(key.kind, KeyKind::Temp | KeyKind::Admin) {
            return Err(StoreError::invalid(
                "key",
                format!("is of the kind {}, of which no more can be asked", key.kind.name()),
            ));
        }
        let now = self.now();
        if wish.expires_at.is_some_and(|at| at <= now) {
            return Err(StoreError::invalid("expires_at", "is in the past"));
        }
        let mut after = held(key);
        let granted = wish.against(&after).map_err(|why| StoreError::invalid("wish", why.to_string()))?;
        granted.apply(&mut after);
        for level in self.above_in(tx, &key.placement).await?.iter() {
            let Some(bound) = &level.bound else { continue };
            if let Err(wider) = asked(&granted, &after.controls).filled_from(&bound.controls).within(&bound.controls) {
                let message = format!(
                    "asks for more than the {} `{}` lets keys have, in `{}`",
                    bound.level.words(),
                    bound.name,
                    wider.field
                );
                return Err(StoreError::invalid("wish", message));
            }
        }
        self.hold_to_rules(tx, key, &granted, &after).await?;
        Ok(granted)
    }

    /// The rules of the organisation for what a grant touches.
    async fn hold_to_rules(&self, tx: &mut Tx, key: &KeyRecord, granted: &Granted, after: &Held) -> Result<()> {
        let text: Option<(Option<String>,)> =
            tx.one("SELECT key_rules FROM organisation WHERE id = $1", params![&key.placement.organisation.0]).await?;
        let Some(text) = text.and_then(|(text,)| text) else { return Ok(()) };
        let rules: KeyRules =
            serde_json::from_str(&text).map_err(|_| damaged("rules for keys are not what is written"))?;
        let facts = KeyFacts {
            has_owner: key.placement.owner.is_some(),
            description: &key.description,
            environment: key.environment.as_deref(),
            note: &key.note,
            tags: key.tags.keys().map(String::as_str).collect(),
            expires_at: after.expires_at,
            review_at: key.review_at,
            rotation_interval_ms: key.rotation_interval_ms,
            spend_limit: after.spend_limit,
            scopes: key.scopes,
            browser_allowed: key.browser_allowed,
        };
        let touched = |field: &str| match field {
            "expires_at" => granted.expires_at.is_some(),
            "spend_limits" => granted.spend_limit.is_some(),
            _ => false,
        };
        match rules.breaches(&facts, self.now()).into_iter().find(|breach| touched(breach.field)) {
            Some(breach) => Err(StoreError::invalid("wish", format!("{} {}", breach.field, breach.message))),
            None => Ok(()),
        }
    }

    async fn tell_of_approval(&self, tx: &mut Tx, event: Event, row: &ApprovalRow, to: Vec<String>) -> Result<bool> {
        let key = reread(tx, row.key).await?;
        let above = self.above_in(tx, &key.placement).await?;
        let key = key.show(&secrets_of(tx, row.key).await?, &above, &self.brand, self.now());
        let text = |text: &str| inert_text(text, &self.brand);
        let mut data = self.key_data(&key);
        data.insert(
            "request".into(),
            json!({
                "id": row.id.to_string(),
                "asked_by": text(&row.asked_by.name),
                "wants": row.wish.to_string(),
                "reason": text(&row.reason),
                "state": row.state.name(),
                "decided_by": row.decided_by.as_ref().map(|who| text(&who.name)),
                "answer": row.answer.as_deref().map(text),
                "until_at": row.ends_at,
                "lapses_at": row.lapses_at,
            }),
        );
        self.post(tx, Draft::of_key(event, &key, data, to)).await
    }

    /// The mailboxes of those who can decide: who owns the project, or else the admins of the organisation. Whoever asked
    /// is not among them.
    async fn deciders(&self, tx: &mut Tx, row: &ApprovalRow) -> Result<Vec<String>> {
        let asker = asker_mail(tx, row).await?;
        let mut found = owners_mail(tx, row.project).await?;
        found.retain(|address| !asker.contains(address));
        if found.is_empty() {
            let admins: Vec<(String,)> = tx
                .all(
                    "SELECT p.email FROM membership m JOIN person p ON p.id = m.person_id \
                     WHERE m.organisation_id = $1 AND m.role = 'admin' AND m.deleted_at IS NULL AND NOT m.disabled \
                     AND p.deleted_at IS NULL AND NOT p.disabled ORDER BY p.email",
                    params![&row.organisation.0],
                )
                .await?;
            found = admins.into_iter().map(|(email,)| email).filter(|address| !asker.contains(address)).collect();
        }
        Ok(found)
    }
}

/// A key before and after, and what memory is to hold of it.
struct Changed {
    before: KeyRow,
    after: KeyRow,
    state: KeyState,
}

fn stored(wish: &Wish) -> String {
    serde_json::to_string(wish).unwrap_or_else(|_| "{}".into())
}

fn held(key: &KeyRecord) -> Held {
    Held {
        controls: key.controls.clone().unwrap_or_default(),
        spend_limit: key.spend_limit,
        expires_at: key.expires_at,
    }
}

/// Of a key's policy what a grant gives: what the key had before is not the request's to answer for.
fn asked(granted: &Granted, after: &Controls) -> Controls {
    use anykey_core::controls::Models;
    let raised = |name: &str, now: Option<u64>| now.filter(|_| granted.limits.contains_key(name));
    let Limits { rpm, rph, rpd, tpm, tpd, concurrency } = after.limits;
    let models: Box<[_]> = granted.allowed.iter().cloned().collect();
    Controls {
        models: if models.is_empty() {
            after.models.clone().filter(|_| !granted.unblocked.is_empty())
        } else {
            Some(Models::Allow(models))
        },
        limits: Limits {
            rpm: raised("rpm", rpm),
            rph: raised("rph", rph),
            rpd: raised("rpd", rpd),
            tpm: raised("tpm", tpm),
            tpd: raised("tpd", tpd),
            concurrency: raised("concurrency", concurrency),
        },
        ..Controls::default()
    }
}

async fn asker_mail(tx: &mut Tx, row: &ApprovalRow) -> Result<Vec<String>> {
    let Some(person) = PersonId::parse(&row.asked_by.id) else { return Ok(Vec::new()) };
    let found: Vec<(String,)> = tx
        .all("SELECT email FROM person WHERE id = $1 AND deleted_at IS NULL AND NOT disabled", params![&person.0])
        .await?;
    Ok(found.into_iter().map(|(email,)| email).collect())
}

async fn lock(tx: &mut Tx, id: ApprovalId, now: i64) -> Result<ApprovalRow> {
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
