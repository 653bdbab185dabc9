//! One batch of a job: its keys are locked and read together, decided on one by one in memory, and written together, so
//! that many keys cost few statements.

use crate::Store;
use crate::cache::KeyState;
use crate::db::{Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::job_types::BulkAction;
use crate::key_rows::{KeyRecord, key_columns, secrets_of_all};
use crate::key_types::KeyPatch;
use crate::key_write::{patched, tags_text};
use crate::levels::Above;
use crate::notices::Changed;
use crate::projects::rules_above;
use crate::sql::{Conditions, dynamic};
use crate::temp::end_minted_of;
use anykey_core::key_rules::RulesAbove;
use anykey_core::{JobId, KeyId, Placement, ProjectId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rows of tags that are written in one statement.
const ROWS_AT_ONCE: usize = 500;

/// What a job does, and on whose behalf.
pub(crate) struct What {
    pub action: BulkAction,
    pub creator: Option<String>,
}

/// A key that is changed, as it was and as it shall be.
struct Change {
    before: KeyRecord,
    after: KeyRecord,
}

/// What stands above keys, read once for each place.
type Aboves = HashMap<Placement, Above>;

impl Store {
    /// Does these keys, which are in the order of their ids, and notes what became of each; those that were changed are
    /// returned as memory shall know them.
    pub(crate) async fn do_batch(&self, tx: &mut Tx, id: JobId, what: &What, keys: &[KeyId]) -> Result<Vec<KeyState>> {
        let (changes, left) = self.decide(tx, what, keys).await?;
        let changed: Vec<KeyId> = changes.iter().map(|change| change.after.id).collect();
        self.write_batch(tx, what, &changes, &changed).await?;
        note(tx, id, &changed, &left).await?;
        let done = changed.len() as i64;
        tx.exec(
            "UPDATE job SET done = done + $2, skipped = skipped + $3 WHERE id = $1",
            params![&id.0, done, keys.len() as i64 - done],
        )
        .await?;
        self.told_and_shown(tx, changes, &changed).await
    }

    /// What has to be done to each, or why nothing has to: the reasons with the keys that they hold for.
    async fn decide(
        &self,
        tx: &mut Tx,
        what: &What,
        ids: &[KeyId],
    ) -> Result<(Vec<Change>, BTreeMap<String, Vec<KeyId>>)> {
        let found = lock(tx, ids).await?;
        let mut left: BTreeMap<String, Vec<KeyId>> = BTreeMap::new();
        let gone: Vec<KeyId> = ids.iter().filter(|id| found.iter().all(|key| key.id != **id)).copied().collect();
        if !gone.is_empty() {
            left.insert("there is no such key".into(), gone);
        }
        let mut rules: HashMap<ProjectId, RulesAbove> = HashMap::new();
        let mut changes = Vec::with_capacity(found.len());
        for key in found {
            let project = key.placement.project;
            if what.action.is_held_to_rules() && !rules.contains_key(&project) {
                rules.insert(project, rules_above(tx, project).await?);
            }
            let id = key.id;
            match self.planned(key, what, rules.get(&project)) {
                Ok(change) => changes.push(change),
                Err(why) => left.entry(why).or_default().push(id),
            }
        }
        Ok((changes, left))
    }

    fn planned(&self, key: KeyRecord, what: &What, rules: Option<&RulesAbove>) -> std::result::Result<Change, String> {
        let patch = plan(&key, &what.action)?;
        if let Some(why) = rules.and_then(|rules| self.beyond_rules(rules, &key, &patch)) {
            return Err(why);
        }
        let mut after = patched(key.clone(), patch).map_err(|error| match error {
            StoreError::Invalid { field, message } => format!("{field} {message}"),
            other => other.to_string(),
        })?;
        match what.action {
            BulkAction::Disable => (after.disabled, after.disabled_by) = (true, what.creator.clone()),
            BulkAction::Enable => (after.disabled, after.disabled_by) = (false, None),
            BulkAction::Extend { .. } | BulkAction::Tag { .. } => {}
        }
        after.version += 1;
        after.updated_at = self.now();
        Ok(Change { before: key, after })
    }

    /// Why the rules above the key forbid what changes of it, if they do.
    fn beyond_rules(&self, rules: &RulesAbove, key: &KeyRecord, patch: &KeyPatch) -> Option<String> {
        let mut facts = key.facts();
        facts.expires_at = patch.expires_at.unwrap_or(facts.expires_at);
        if let Some(tags) = &patch.tags {
            facts.tags = tags.keys().map(String::as_str).collect();
        }
        let touched = |field: &str| match field {
            "expires_at" => patch.expires_at.is_some(),
            "tags" => patch.tags.is_some(),
            _ => false,
        };
        let breach = rules.breaches(&facts, self.now()).into_iter().find(|breach| touched(breach.field));
        breach.map(|breach| format!("{} {}", breach.field, breach.message))
    }

    async fn write_batch(&self, tx: &mut Tx, what: &What, changes: &[Change], ids: &[KeyId]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let all = |set: &str, values: Vec<Value>| {
            let mut sql = Conditions::with(&format!("UPDATE api_key SET {set} WHERE TRUE"), values);
            sql.and_in("id", ids.iter().map(|id| Value::from(&id.0)));
            sql.finish("")
        };
        const COUNTED: &str = "version = version + 1, updated_at = $1";
        let (sql, values) = match &what.action {
            BulkAction::Disable => {
                all(&format!("{COUNTED}, disabled = TRUE, disabled_by = $2"), params![now, &what.creator])
            }
            BulkAction::Enable => all(&format!("{COUNTED}, disabled = FALSE, disabled_by = NULL"), params![now]),
            BulkAction::Extend { expires_at } => all(&format!("{COUNTED}, expires_at = $2"), params![now, *expires_at]),
            BulkAction::Tag { .. } => {
                let update = format!("UPDATE api_key SET {COUNTED}, tags = v.column2 FROM (VALUES ");
                let mut sql = Conditions::with(&update, params![now]);
                sql.rows(changes.iter().map(|it| vec![Value::from(&it.after.id.0), tags_text(&it.after.tags)]));
                sql.finish(") AS v WHERE api_key.id = v.column1")
            }
        };
        tx.exec(dynamic(sql), values).await?;
        match &what.action {
            // What was minted from them ends no later, also if they are given more time again.
            BulkAction::Extend { expires_at } => end_minted_of(tx, ids, *expires_at).await,
            BulkAction::Tag { set, remove } => retag(tx, ids, set.keys().chain(remove), set).await,
            BulkAction::Disable | BulkAction::Enable => Ok(()),
        }
    }

    /// Tells of the changes where that is worth a word, and says how memory shall know the keys.
    async fn told_and_shown(&self, tx: &mut Tx, changes: Vec<Change>, ids: &[KeyId]) -> Result<Vec<KeyState>> {
        let mut secrets = secrets_of_all(tx, ids).await?;
        let mut above = Aboves::new();
        let mut told = Vec::with_capacity(changes.len());
        for Change { before, after } in changes {
            let above = self.above_once(tx, &mut above, &after.placement).await?;
            let secrets = secrets.remove(&after.id).unwrap_or_default();
            told.push(Changed { was_disabled: before.disabled, key: after, secrets, above });
        }
        self.tell_of_all(tx, &told).await?;
        Ok(told.into_iter().map(|it| it.key.state(&it.secrets, it.above)).collect())
    }

    async fn above_once(&self, tx: &mut Tx, known: &mut Aboves, placement: &Placement) -> Result<Above> {
        if let Some(above) = known.get(placement) {
            return Ok(Arc::clone(above));
        }
        let above = self.above_in(tx, placement).await?;
        known.insert(*placement, Arc::clone(&above));
        Ok(above)
    }
}

/// What has to change, or why nothing has to.
fn plan(key: &KeyRecord, action: &BulkAction) -> std::result::Result<KeyPatch, String> {
    if key.deleted_at.is_some() {
        return Err("it is deleted".into());
    }
    let mut patch = KeyPatch::default();
    match action {
        BulkAction::Extend { .. } | BulkAction::Tag { .. } if key.minted.is_some() => {
            return Err("it is temporary: what it may was settled when it was minted".into());
        }
        BulkAction::Disable if key.disabled => return Err("it is disabled already".into()),
        BulkAction::Enable if !key.disabled => return Err("it is enabled already".into()),
        BulkAction::Disable | BulkAction::Enable => {}
        BulkAction::Extend { expires_at } => match key.expires_at {
            None => return Err("it never ends".into()),
            Some(at) if at >= *expires_at => return Err("it ends no earlier already".into()),
            Some(_) => patch.expires_at = Some(Some(*expires_at)),
        },
        BulkAction::Tag { set, remove } => {
            let mut tags = key.tags.clone();
            tags.retain(|name, _| !remove.contains(name));
            tags.extend(set.clone());
            if tags == key.tags {
                return Err("it has these tags already".into());
            }
            patch.tags = Some(tags);
        }
    }
    Ok(patch)
}

/// The keys as they are, theirs until the commit. In the order of their ids, so that two jobs over the same keys wait for
/// each other and not in a ring. SQLite has one writer, who holds all of it already.
async fn lock(tx: &mut Tx, ids: &[KeyId]) -> Result<Vec<KeyRecord>> {
    let mut sql = Conditions::new(concat!("SELECT ", key_columns!(), " FROM api_key WHERE TRUE"));
    sql.and_in("id", ids.iter().map(|id| Value::from(&id.0)));
    let (sql, values) = sql.finish(if tx.is_postgres() { " ORDER BY id FOR UPDATE" } else { " ORDER BY id" });
    tx.all(dynamic(sql), values).await
}

/// Takes these tags away as rows, and sets those.
async fn retag(
    tx: &mut Tx,
    ids: &[KeyId],
    gone: impl Iterator<Item = &String>,
    set: &BTreeMap<String, String>,
) -> Result<()> {
    let mut sql = Conditions::new("DELETE FROM key_tag WHERE TRUE");
    sql.and_in("key_id", ids.iter().map(|id| Value::from(&id.0)));
    sql.and_in("name", gone.map(Value::from));
    let (sql, values) = sql.finish("");
    tx.exec(dynamic(sql), values).await?;
    let rows: Vec<_> = ids.iter().flat_map(|id| set.iter().map(move |tag| (id, tag))).collect();
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let mut sql = Conditions::new("INSERT INTO key_tag (key_id, name, value) VALUES ");
        sql.rows(rows.iter().map(|(id, (name, value))| params![&id.0, *name, *value]));
        let (sql, values) = sql.finish("");
        tx.exec(dynamic(sql), values).await?;
    }
    Ok(())
}

/// Notes what became of each key.
async fn note(tx: &mut Tx, id: JobId, changed: &[KeyId], left: &BTreeMap<String, Vec<KeyId>>) -> Result<()> {
    const CHANGED: &str = "";
    let left = left.iter().map(|(why, keys)| (why.as_str(), keys.as_slice()));
    for (outcome, keys) in std::iter::once((CHANGED, changed)).chain(left) {
        let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { continue };
        // Between the first and the last, or a planner that knows little of a young job goes through all of it.
        let mut sql = Conditions::with(
            "UPDATE job_item SET outcome = $2 WHERE job_id = $1 AND key_id >= $3 AND key_id <= $4",
            params![&id.0, outcome, &first.0, &last.0],
        );
        sql.and_in("key_id", keys.iter().map(|key| Value::from(&key.0)));
        let (sql, values) = sql.finish("");
        tx.exec(dynamic(sql), values).await?;
    }
    Ok(())
}
