//! Reminders of keys that end, lie unused, are due, or have used their money up: found by their dates, each written once, whoever looks first.

use super::{Audience, Draft, is_quiet};
use crate::Store;
use crate::audit::inert_text;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, secrets_of};
use crate::key_types::KeyRow;
use crate::keys::reread;
use crate::sql::{Conditions, dynamic};
use crate::sums::DAY_MS;
use anykey_core::notice::{EXPIRED_NEWS_MS, EXPIRY_STAGES, Event, Reminder, SPEND_SHARES, Watched};
use anykey_core::{KeyId, Level, Span};
use serde_json::{Value, json};

/// Keys that are looked at between two questions to the database.
const AT_ONCE: i64 = 200;
const REMINDED: [Event; 6] = [
    Event::KeyExpiring,
    Event::KeyExpired,
    Event::KeyUnused,
    Event::KeyReviewDue,
    Event::KeyRotationDue,
    Event::SpendWarning,
];

impl KeyRecord {
    fn watched(&self) -> Watched {
        Watched {
            kind: self.kind,
            created_at: self.created_at,
            expires_at: self.expires_at,
            review_at: self.review_at,
            rotate_at: self.rotate_at,
            active_day: self.active_day,
            spent: self.spent.0,
            spend_limit: self.spend_limit.filter(|_| !self.has_own_shares()).map(|limit| limit.0),
        }
    }

    /// Whoever wants to be told of other shares is told with the limits by the calendar.
    fn has_own_shares(&self) -> bool {
        self.controls.as_ref().is_some_and(|controls| controls.spend.warn_at.is_some())
    }
}

impl Store {
    /// Writes every reminder that is due and was not written yet; says how many were worth a look. Several replicas may do
    /// this at once.
    pub async fn remind(&self) -> Result<usize> {
        let mut written = self.warn_of_spending().await?;
        for event in REMINDED {
            loop {
                let found = self.candidates(event).await?;
                let mut new = 0;
                for id in &found {
                    new += self.remind_one(*id).await?;
                }
                written += new;
                // A page of which nothing was new is one that another replica has just written.
                if (found.len() as i64) < AT_ONCE || new == 0 {
                    break;
                }
            }
        }
        Ok(written)
    }

    /// The next moment at which a key ends, for whoever waits to say so.
    pub async fn next_expiry(&self) -> Result<Option<i64>> {
        let next: Option<(Option<i64>,)> = self
            .db
            .one(
                "SELECT MIN(expires_at) FROM api_key WHERE expires_at > $1 AND deleted_at IS NULL AND NOT disabled \
                 AND kind <> 'temp'",
                params![self.now()],
            )
            .await?;
        Ok(next.and_then(|(at,)| at))
    }

    async fn remind_one(&self, id: KeyId) -> Result<usize> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let key = match reread(&mut tx, id).await {
                Ok(key) => key,
                Err(StoreError::NotFound(_)) => return Ok(0),
                Err(error) => return Err(error),
            };
            let written = store.remind_of(&mut tx, &key).await?;
            tx.commit().await?;
            if written > 0 {
                store.wake_outbox();
            }
            Ok(written)
        })
        .await
    }

    /// The reminders of one key as it is now, in the transaction that may have changed it.
    pub(crate) async fn remind_of(&self, tx: &mut Tx, key: &KeyRecord) -> Result<usize> {
        let mut new = Vec::new();
        for reminder in self.due_of(key) {
            if mark(tx, &key.id.0, reminder, self.now()).await? {
                new.push(reminder);
            }
        }
        if new.is_empty() {
            return Ok(0);
        }
        let above = self.above_in(tx, &key.placement).await?;
        let row = key.clone().show(&secrets_of(tx, key.id).await?, &above, &self.brand, self.now());
        let audience = self.audience(tx, &key.placement).await?;
        for reminder in &new {
            self.post_reminder(tx, reminder, key, &row, &audience).await?;
        }
        Ok(new.len())
    }

    /// What somebody is to be reminded of now, whether or not they were.
    pub(super) fn due_of(&self, key: &KeyRecord) -> Vec<Reminder> {
        if is_quiet(key) { Vec::new() } else { key.watched().reminders(self.now(), self.notice_settings().unused_days) }
    }

    pub(super) async fn post_reminder(
        &self,
        tx: &mut Tx,
        reminder: &Reminder,
        key: &KeyRecord,
        row: &KeyRow,
        audience: &Audience,
    ) -> Result<bool> {
        if audience.is_empty() {
            return Ok(false);
        }
        let mut data = self.key_data(row);
        data.extend(self.details(reminder, key));
        let draft = Draft::of_key(reminder.event, row, data, audience.people.clone());
        self.post_to(tx, draft, &audience.destinations).await
    }

    /// What a reminder says beside what the key is.
    fn details(&self, reminder: &Reminder, key: &KeyRecord) -> Option<(String, Value)> {
        match reminder.event {
            Event::KeyExpiring => Some(("days".into(), reminder.stage.into())),
            Event::KeyUnused => Some(("days".into(), self.notice_settings().unused_days?.into())),
            Event::SpendWarning => {
                let limit = json!({
                    "level": Level::Key.name(),
                    "of": Level::Key.words(),
                    "name": inert_text(&key.name, &self.brand),
                    "window": Span::Total.word(),
                    "resets_at": null,
                    "percent": reminder.stage,
                    "used_usd": key.spent.to_string(),
                    "limit_usd": key.spend_limit?.to_string(),
                    "warn_only": key.controls.as_ref().is_some_and(|own| own.spend.warn_only.contains(Span::Total)),
                });
                Some(("limit".into(), limit))
            }
            _ => None,
        }
    }

    /// Keys of which this event was not told for the moment that it is due at now.
    async fn candidates(&self, event: Event) -> Result<Vec<KeyId>> {
        let mut sql = Conditions::new(
            "SELECT k.id FROM api_key k WHERE k.deleted_at IS NULL AND NOT k.disabled AND k.kind <> 'temp'",
        );
        let Some((due, stage)) = self.due(event, &mut sql) else { return Ok(Vec::new()) };
        let name = sql.bind(event.name().into());
        sql.and_text(&format!(
            "NOT EXISTS (SELECT 1 FROM reminder r WHERE r.subject = k.id AND r.event = {name} AND r.stage = {stage} \
             AND r.due = {due})"
        ));
        let limit = sql.bind(AT_ONCE.into());
        let (sql, values) = sql.finish(&format!(" ORDER BY {due}, k.id LIMIT {limit}"));
        let found: Vec<(Vec<u8>,)> = self.db.all(dynamic(sql), values).await?;
        Ok(found.iter().filter_map(|(id,)| KeyId::from_slice(id)).collect())
    }

    /// [`Watched::reminders`] as SQL: which keys are worth this event now; what it is due for, and in which stage.
    fn due(&self, event: Event, sql: &mut Conditions) -> Option<(&'static str, String)> {
        let now = self.now();
        let at = sql.bind(now.into());
        if event != Event::KeyExpired {
            sql.and_text(&format!("(k.expires_at IS NULL OR k.expires_at > {at})"));
        }
        let none = || "0".to_owned();
        Some(match event {
            Event::KeyExpiring => {
                let farthest = sql.bind((now + EXPIRY_STAGES[EXPIRY_STAGES.len() - 1] * DAY_MS).into());
                sql.and_text(&format!("k.expires_at <= {farthest}"));
                let stage = stage_text(sql, now);
                let day = sql.bind(DAY_MS.into());
                sql.and_text(&format!("k.created_at <= k.expires_at - ({stage}) * {day}"));
                ("k.expires_at", stage)
            }
            Event::KeyExpired => {
                let oldest = sql.bind((now - EXPIRED_NEWS_MS).into());
                sql.and_text(&format!("k.expires_at <= {at} AND k.expires_at > {oldest}"));
                ("k.expires_at", none())
            }
            Event::KeyUnused => {
                let days = self.notice_settings().unused_days?;
                let before = sql.bind((now.div_euclid(DAY_MS) - days).into());
                sql.and_text(&format!("k.active_day < {before}"));
                ("k.active_day", none())
            }
            Event::KeyReviewDue => {
                sql.and_text(&format!("k.review_at <= {at}"));
                ("k.review_at", none())
            }
            Event::KeyRotationDue => {
                sql.and_text(&format!("k.rotate_at <= {at}"));
                ("k.rotate_at", none())
            }
            Event::SpendWarning => {
                let share = share_text();
                sql.and_text(&format!("k.spend_limit > 0 AND k.spent > 0 AND {share} > 0"));
                sql.and_text("(k.controls IS NULL OR k.controls NOT LIKE '%\"warn_at\"%')");
                ("k.spend_limit", share)
            }
            _ => return None,
        })
    }
}

/// The share of its spend limit that a key has used up, as SQL says it; 0 is none worth a word.
fn share_text() -> String {
    let mut text = "(CASE".to_owned();
    for percent in SPEND_SHARES {
        let share =
            if percent == 100 { "k.spend_limit".to_owned() } else { format!("k.spend_limit / 100 * {percent}") };
        text.push_str(&format!(" WHEN k.spent >= {share} THEN {percent}"));
    }
    text + " ELSE 0 END)"
}

/// The stage that a key is in, as SQL says it.
fn stage_text(sql: &mut Conditions, now: i64) -> String {
    let mut text = "CASE".to_owned();
    for days in EXPIRY_STAGES {
        let within = sql.bind((now + days * DAY_MS).into());
        text.push_str(&format!(" WHEN k.expires_at <= {within} THEN {days}"));
    }
    text + " END"
}

/// Notes that this is told; `false` says that it was.
pub(super) async fn mark(tx: &mut Tx, subject: &[u8], reminder: Reminder, now: i64) -> Result<bool> {
    let Reminder { event, stage, due } = reminder;
    let new = tx
        .exec(
            "INSERT INTO reminder (subject, event, stage, due, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            params![subject, event.name(), stage, due, now],
        )
        .await?;
    Ok(new == 1)
}
