//! Temporary keys: minted from another key with as much power as it has or less, and buried soon after their end.

use crate::Store;
use crate::audit::{Deed, Verb};
use crate::cache::{KeyState, LiveKey};
use crate::change::Change;
use crate::db::{Db, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, key_columns, public_id_bytes, secrets_of};
use crate::key_types::{KeyRow, NewKey, SecretRow, SecretState};
use crate::key_write::kill_secrets;
use crate::keys::Step;
use crate::parents::{Minted, Parent};
use crate::sql::{Conditions, dynamic};
use anykey_core::controls::{AddressRange, Controls, Limits, Models, NameGlob};
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::{KeyId, KeyKind, Nanos, Placement, Scopes, Token};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long after its end a temporary key is still known by its text, so that its caller hears why it fails.
const KNOWN_MS: i64 = 60 * 60 * 1000;
/// Buried in one round of housekeeping.
const AT_ONCE: i64 = 100;
/// Those of one parent that live at a time. Each is a row, and any key may mint.
pub(crate) const MOST: i64 = 1000;
/// A parent is changed by people; more changes than this while one key is minted mean that something is wrong.
const TRIES: usize = 16;
/// Keys that are named in one statement.
const NAMED_AT_ONCE: usize = 500;

/// What a temporary key shall be.
#[derive(Clone, Debug)]
pub struct NewTemp {
    pub name: String,
    /// `None`: those of the parent.
    pub scopes: Option<Scopes>,
    pub spend_limit: Option<Nanos>,
    pub request_limit: Option<u64>,
    pub lives_ms: i64,
    /// The one address that may use it.
    pub ip: Option<IpAddr>,
    pub models: Option<Models>,
    /// The names that it may ask for models by.
    pub routing: Option<Box<[NameGlob]>>,
    /// Calls, or sessions, that may run at a time.
    pub concurrency: Option<u64>,
    pub browser_allowed: bool,
    pub creator: Option<String>,
}

impl NewTemp {
    pub const DEFAULT_LIFE_MS: i64 = 15 * 60 * 1000;
    pub const LONGEST_LIFE_MS: i64 = 24 * 60 * 60 * 1000;

    /// Its own policy; that of its parent holds as well.
    fn controls(&self) -> Controls {
        Controls {
            models: self.models.clone(),
            routing: self.routing.clone(),
            ips: self.ip.map(|ip| Box::from([AddressRange::one(ip)])),
            limits: Limits { concurrency: self.concurrency, ..Limits::default() },
            ..Controls::default()
        }
    }
}

impl Store {
    /// Mints a key from another one. `with` is the parent's secret that asks; without it the newest that lives. The token
    /// is shown once.
    pub async fn mint_temp(
        &self,
        parent: KeyId,
        with: Option<[u8; PUBLIC_ID_LEN]>,
        new: NewTemp,
    ) -> Result<(KeyRow, Token)> {
        for _ in 0..TRIES {
            match self.mint_once(parent, with, &new).await {
                // The parent was changed between the look at it and its lock: what it is by now decides.
                Err(StoreError::Contended) => {}
                done => return done,
            }
        }
        Err(StoreError::Unavailable("the key that it is minted from is being changed".into()))
    }

    async fn mint_once(
        &self,
        parent: KeyId,
        with: Option<[u8; PUBLIC_ID_LEN]>,
        new: &NewTemp,
    ) -> Result<(KeyRow, Token)> {
        let row = self.key(parent).await?;
        let now = self.now();
        let refuse = |why: &str| Err(StoreError::conflict(why));
        match row.kind {
            KeyKind::Temp => return refuse("a temporary key cannot mint another"),
            KeyKind::Admin => return refuse("an admin key cannot call models, so there is nothing to hand on"),
            _ => {}
        }
        let dead = row.disabled || row.deleted_at.is_some() || row.expires_at.is_some_and(|at| at <= now);
        if dead || row.closed_by.is_some() {
            return refuse("the key is not active, so it has nothing to hand on");
        }
        let Some(secret) = minting_secret(&row, with) else { return refuse("the key has no secret that lives") };
        let secret_ends_at = secret.expires_at;
        let with = public_id_bytes(&secret.public_id);
        if new.browser_allowed
            && let Some(whose) = self.key_rules(row.project_id).await?.no_browser()
        {
            let why = format!("is against the {whose}'s rules for keys: none may be used in web pages");
            return Err(StoreError::invalid("browser_allowed", why));
        }
        let mut key = bounded(&row, new, now)?;
        key.expires_at = key.expires_at.min(secret_ends_at.or(key.expires_at));
        let minted = Minted { parent, with, request_limit: new.request_limit };
        self.temp_keys.store(true, Ordering::Release);
        self.create_minted(key, Some(Minting { minted, seen: row.version })).await
    }

    /// A parent's place in memory, filled; read anew where memory may be behind.
    pub(crate) async fn parent(&self, id: KeyId) -> Result<Arc<Parent>> {
        self.temp_keys.store(true, Ordering::Release);
        let parent = self.cache.parents.place(id);
        if !parent.is_known() || !self.is_fresh() {
            self.key_states(&[id]).await?.iter().for_each(|state| parent.note(state));
        }
        Ok(parent)
    }

    /// How many requests a key has made that were not refused, as far as they are stored.
    pub async fn requests_made(&self, id: KeyId) -> Result<u64> {
        let refused = anykey_core::record::Outcome::Refused as i64;
        let made: Option<(i64,)> = self
            .db
            .one(
                "SELECT COUNT(DISTINCT request) FROM usage WHERE key_id = $1 AND outcome <> $2",
                params![&id.0, refused],
            )
            .await?;
        Ok(made.map_or(0, |(n,)| u64::try_from(n).unwrap_or(0)))
    }

    /// The parents of those of these keys that are temporary: their use is the parents' as well.
    pub(crate) async fn parents_of(
        &self,
        tx: &mut Tx,
        keys: impl Iterator<Item = KeyId>,
    ) -> Result<HashMap<KeyId, KeyId>> {
        let mut parents = HashMap::new();
        if !self.temp_keys.load(Ordering::Acquire) {
            return Ok(parents);
        }
        let keys: Vec<KeyId> = keys.collect::<BTreeSet<_>>().into_iter().collect();
        for keys in keys.chunks(NAMED_AT_ONCE) {
            let mut sql = Conditions::new("SELECT id, parent_id FROM api_key WHERE parent_id IS NOT NULL");
            sql.and_in("id", keys.iter().map(|key| Value::from(&key.0)));
            let (sql, values) = sql.finish("");
            let found: Vec<(Vec<u8>, Vec<u8>)> = tx.all(dynamic(sql), values).await?;
            let read = |(key, parent): &(Vec<u8>, Vec<u8>)| Some((KeyId::from_slice(key)?, KeyId::from_slice(parent)?));
            parents.extend(found.iter().filter_map(read));
        }
        Ok(parents)
    }

    /// Of these keys those that are disabled, by their names.
    pub(crate) async fn disabled_among(&self, keys: &BTreeSet<KeyId>) -> Result<HashMap<KeyId, String>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let mut sql = Conditions::new("SELECT id, name FROM api_key WHERE disabled");
        sql.and_in("id", keys.iter().map(|key| Value::from(&key.0)));
        let (sql, values) = sql.finish("");
        let found: Vec<(Vec<u8>, String)> = self.db.all(dynamic(sql), values).await?;
        Ok(found.into_iter().filter_map(|(id, name)| Some((KeyId::from_slice(&id)?, name))).collect())
    }

    /// Buries temporary keys whose end was a while ago: a tombstone stays for their records, their secrets go.
    pub async fn bury_temp_keys(&self) -> Result<()> {
        if !self.temp_keys.load(Ordering::Acquire) {
            return Ok(());
        }
        while !self.stop.is_cancelled() && self.bury_next().await? == AT_ONCE {}
        Ok(())
    }

    /// Buries the next ones in one transaction; says how many it found.
    async fn bury_next(&self) -> Result<i64> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let ended: Vec<(Vec<u8>,)> = tx.all(ENDED, params![now - KNOWN_MS, AT_ONCE]).await?;
            let (mut states, mut deeds) = (Vec::new(), Vec::new());
            for id in ended.iter().filter_map(|(id,)| KeyId::from_slice(id)) {
                if let Some((state, deed)) = store.bury(&mut tx, id, now).await? {
                    states.push(state);
                    deeds.push(deed);
                }
            }
            store.record_all(&mut tx, deeds).await?;
            for state in &states {
                store.announce(&mut tx, Change::Key(state.key.info.id)).await?;
            }
            tx.commit().await?;
            states.iter().for_each(|state| store.cache.changed(state, now));
            Ok(ended.len() as i64)
        })
        .await
    }

    /// `None` where another replica was first.
    async fn bury(&self, tx: &mut Tx, id: KeyId, now: i64) -> Result<Option<(KeyState, Deed)>> {
        let buried: Option<KeyRecord> = tx
            .one(
                concat!(
                    "UPDATE api_key SET deleted_at = $2, updated_at = $2, version = version + 1 \
                     WHERE id = $1 AND deleted_at IS NULL RETURNING ",
                    key_columns!()
                ),
                params![&id.0, now],
            )
            .await?;
        let Some(key) = buried else { return Ok(None) };
        let mut secrets = secrets_of(tx, id).await?;
        tx.exec("DELETE FROM secret WHERE key_id = $1", params![&id.0]).await?;
        let above = self.above_in(tx, &key.placement).await?;
        let before = KeyRecord { deleted_at: None, ..key.clone() }.show(&secrets, &above, &self.brand, now);
        secrets.iter_mut().for_each(|secret| secret.state = SecretState::Dead);
        let state = key.state(&secrets, Arc::clone(&above));
        let after = key.show(&secrets, &above, &self.brand, now);
        Ok(Some((state, Deed::changed(Verb::KeyDelete, &before, &after))))
    }

    /// How the database would run what is asked about temporary keys with every minting, ending and burial. For tests.
    #[doc(hidden)]
    pub async fn explain_temp_keys(&self) -> Result<[String; 3]> {
        let (id, now) = (KeyId([0; 16]), self.now());
        Ok([
            self.db.explain(LIVING, params![&id.0, now]).await?,
            self.db.explain(END, params![&id.0, now, ""]).await?,
            self.db.explain(ENDED, params![now, AT_ONCE]).await?,
        ])
    }

    /// Ends a temporary key before its time, at its own wish or its parent's.
    pub async fn end_temp(&self, key: &LiveKey) -> Result<()> {
        let step: Step<()> = Box::new(move |store, tx, record| {
            let id = record.id;
            Box::pin(async move {
                tx.exec("UPDATE api_key SET expires_at = $2 WHERE id = $1", params![&id.0, store.now()]).await?;
                kill_secrets(tx, id, store.now()).await
            })
        });
        self.change_key(key.info.id, None, Verb::KeyUpdate, step).await.map(|_| ())
    }
}

/// Whether a temporary key was ever minted.
pub(crate) async fn any(db: &Db) -> Result<bool> {
    let one: Option<(String,)> =
        db.one("SELECT name FROM api_key WHERE parent_id IS NOT NULL LIMIT 1", params![]).await?;
    Ok(one.is_some())
}

const LIVING: &str = "SELECT COUNT(*) FROM api_key WHERE parent_id = $1 AND deleted_at IS NULL AND expires_at > $2";
const END: &str = "UPDATE api_key SET expires_at = $2 WHERE parent_id = $1 AND deleted_at IS NULL AND expires_at > $2 \
     AND minted_with <> $3";
const ENDED: &str = "SELECT id FROM api_key WHERE parent_id IS NOT NULL AND deleted_at IS NULL AND expires_at < $1 \
     ORDER BY expires_at, id LIMIT $2";

/// How a key is about to be minted, and the version of the parent that was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minting {
    pub minted: Minted,
    pub seen: i64,
}

/// Refuses one more where there are too many, and where the parent is not any more what was looked at. Its row is locked,
/// so that two who mint at once are counted one after the other, and it stays as it is until the key is made.
pub(crate) async fn make_room(tx: &mut Tx, minting: &Minting, now: i64) -> Result<()> {
    const LOCK: &str = "UPDATE api_key SET version = version WHERE id = $1 RETURNING version";
    let parent = minting.minted.parent;
    let found: Option<(i64,)> = tx.one(LOCK, params![&parent.0]).await?;
    if found != Some((minting.seen,)) {
        return Err(StoreError::Contended);
    }
    let (living,): (i64,) = tx.one(LIVING, params![&parent.0, now]).await?.unwrap_or_default();
    if living < MOST {
        return Ok(());
    }
    Err(StoreError::conflict(format!("{MOST} temporary keys of this key live already; end some first")))
}

/// Ends, no later than `at`, the temporary keys that were minted with a secret of this key, but for those of one secret.
pub(crate) async fn end_minted(tx: &mut Tx, parent: KeyId, but: Option<&str>, at: i64) -> Result<()> {
    tx.exec(END, params![&parent.0, at, but.unwrap_or_default()]).await.map(|_| ())
}

/// The same of several keys, whichever secret asked.
pub(crate) async fn end_minted_of(tx: &mut Tx, parents: &[KeyId], at: i64) -> Result<()> {
    let end = "UPDATE api_key SET expires_at = $1 WHERE deleted_at IS NULL AND expires_at > $1";
    let mut sql = Conditions::with(end, params![at]);
    sql.and_in("parent_id", parents.iter().map(|id| Value::from(&id.0)));
    let (sql, values) = sql.finish("");
    tx.exec(dynamic(sql), values).await.map(|_| ())
}

/// Refuses to change what was settled when a temporary key was minted.
pub(crate) fn settled(key: &KeyRecord) -> Result<()> {
    match key.minted {
        None => Ok(()),
        Some(_) => Err(StoreError::conflict("a temporary key is not changed: end it, and mint another")),
    }
}

/// The secret that asks, as long as it lives; where nobody asks with one, the newest that nothing ends, which is not one
/// that waits for its first use.
fn minting_secret(key: &KeyRow, with: Option<[u8; PUBLIC_ID_LEN]>) -> Option<&SecretRow> {
    let mut living = key.secrets.iter().filter(|secret| secret.state != SecretState::Dead);
    match with {
        Some(with) => living.find(|secret| secret.public_id.as_bytes() == with),
        None => living.clone().find(|secret| secret.expires_at.is_none()).or_else(|| living.next()),
    }
}

/// The key that is asked for, where it is no more than its parent.
fn bounded(parent: &KeyRow, new: &NewTemp, now: i64) -> Result<NewKey> {
    if !(1..=NewTemp::LONGEST_LIFE_MS).contains(&new.lives_ms) {
        return Err(StoreError::invalid("expires_in", "is at most 24h"));
    }
    let scopes = new.scopes.unwrap_or(parent.scopes);
    if let Some(wider) = scopes.iter().find(|scope| !parent.scopes.contains(*scope)) {
        let why = format!("names {}, which the key that it is minted from does not have", wider.name());
        return Err(StoreError::Invalid { field: "scopes", message: why });
    }
    if let (Some(asked), Some(limit)) = (new.spend_limit, parent.spend_limit) {
        let left = Nanos(limit.0.saturating_sub(parent.spent.0).max(0));
        if asked > left {
            let why = format!("is more than the ${left} that the key which it is minted from may still spend");
            return Err(StoreError::Invalid { field: "spend_limit", message: why });
        }
    }
    let mut key = NewKey::new(KeyKind::Temp, new.name.clone());
    key.description = format!("Temporary key of {} ({})", parent.name, parent.id);
    key.scopes = scopes;
    key.controls = new.controls();
    key.spend_limit = new.spend_limit;
    key.browser_allowed = new.browser_allowed;
    let end = now + new.lives_ms;
    key.expires_at = Some(parent.expires_at.map_or(end, |at| at.min(end)));
    key.creator = new.creator.clone();
    key.owner.clone_from(&parent.owner);
    key.tags.clone_from(&parent.tags);
    key.placement =
        Placement { organisation: parent.organisation_id, project: parent.project_id, owner: parent.owner_id };
    key.environment.clone_from(&parent.environment);
    Ok(key)
}
