//! Notices of many keys that are changed together: who hears of a place is asked once, and what was told already is found
//! out in one statement.

use super::{Subscribed, destinations_of, is_news};
use crate::Store;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::key_rows::{KeyRecord, SecretRecord};
use crate::key_types::KeyRow;
use crate::levels::Above;
use crate::sql::{Conditions, dynamic};
use anykey_core::notice::{Event, Reminder};
use anykey_core::{KeyId, Placement};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Reminders that are marked in one statement.
const AT_ONCE: usize = 500;

/// Who hears of what happens to the keys of one place.
pub(crate) struct Audience {
    pub(super) destinations: Vec<Subscribed>,
    /// Who answers for the keys, as themselves.
    pub(super) people: Vec<String>,
}

impl Audience {
    pub(super) fn is_empty(&self) -> bool {
        self.destinations.is_empty() && self.people.is_empty()
    }
}

/// The audiences that are known by now.
type Audiences = HashMap<Placement, Arc<Audience>>;

/// A key that was changed with others, as it is now.
pub(crate) struct Changed {
    pub was_disabled: bool,
    pub key: KeyRecord,
    pub secrets: Vec<SecretRecord>,
    pub above: Above,
}

impl Store {
    pub(super) async fn audience(&self, tx: &mut Tx, placement: &Placement) -> Result<Audience> {
        Ok(Audience {
            destinations: destinations_of(tx, Some(placement.organisation), Some(placement.project)).await?,
            people: self.answerable(tx, placement).await?,
        })
    }

    async fn audience_once(&self, tx: &mut Tx, known: &mut Audiences, placement: &Placement) -> Result<Arc<Audience>> {
        if let Some(audience) = known.get(placement) {
            return Ok(Arc::clone(audience));
        }
        let audience = Arc::new(self.audience(tx, placement).await?);
        known.insert(*placement, Arc::clone(&audience));
        Ok(audience)
    }

    /// Tells of each what is worth telling, and reminds of it as it is now.
    pub(crate) async fn tell_of_all(&self, tx: &mut Tx, changed: &[Changed]) -> Result<()> {
        let mut known = Audiences::new();
        for it in changed {
            if is_news(it.was_disabled, it.key.disabled, it.key.kind) {
                let audience = self.audience_once(tx, &mut known, &it.key.placement).await?;
                if !audience.is_empty() {
                    self.tell(tx, Event::KeyDisabled, &self.row_of(it), &audience).await?;
                }
            }
        }
        let due: Vec<(KeyId, Reminder)> = changed
            .iter()
            .flat_map(|it| self.due_of(&it.key).into_iter().map(|reminder| (it.key.id, reminder)))
            .collect();
        let new = mark_all(tx, &due, self.now()).await?;
        for it in changed {
            for reminder in self.due_of(&it.key) {
                if new.contains(&named(it.key.id, &reminder)) {
                    let audience = self.audience_once(tx, &mut known, &it.key.placement).await?;
                    self.post_reminder(tx, &reminder, &it.key, &self.row_of(it), &audience).await?;
                }
            }
        }
        Ok(())
    }

    fn row_of(&self, it: &Changed) -> KeyRow {
        it.key.clone().show(&it.secrets, &it.above, &self.brand, self.now())
    }
}

/// A reminder as its row names it.
type Named = (Vec<u8>, String, i64, i64);

fn named(key: KeyId, reminder: &Reminder) -> Named {
    (key.0.to_vec(), reminder.event.name().to_owned(), reminder.stage, reminder.due)
}

/// Notes that these are told; returns those that were not.
async fn mark_all(tx: &mut Tx, due: &[(KeyId, Reminder)], now: i64) -> Result<HashSet<Named>> {
    let mut new = HashSet::new();
    for due in due.chunks(AT_ONCE) {
        let mut sql = Conditions::new("INSERT INTO reminder (subject, event, stage, due, at) VALUES ");
        sql.rows(due.iter().map(|(key, it)| params![&key.0, it.event.name(), it.stage, it.due, now]));
        let (sql, values) = sql.finish(" ON CONFLICT DO NOTHING RETURNING subject, event, stage, due");
        new.extend(tx.all::<Named>(dynamic(sql), values).await?);
    }
    Ok(new)
}
