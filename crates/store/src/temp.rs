//! Temporary keys: minted from another key with as much power as it has or less, and buried soon after their end.

use crate::Store;
use crate::audit::Verb;
use crate::cache::LiveKey;
use crate::db::{Tx, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_rows::public_id_bytes;
use crate::key_types::{KeyRow, NewKey, SecretState};
use crate::keys::Step;
use crate::parents::Temp;
use anykey_core::controls::Models;
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::{KeyId, KeyKind, Nanos, Scopes, Token};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long after its end a temporary key is still known by its text, so that its caller hears why it fails.
const KNOWN_MS: i64 = 60 * 60 * 1000;
/// Buried in one round of housekeeping.
const AT_ONCE: i64 = 100;
/// Those of one parent that live at a time. Each is a row, and any key may mint.
pub(crate) const MOST: i64 = 1000;

/// What a temporary key shall be.
#[derive(Clone, Debug)]
pub struct NewTemp {
    pub name: String,
    /// `None`: those of the parent.
    pub scopes: Option<Scopes>,
    pub spend_limit: Option<Nanos>,
    pub request_limit: Option<u64>,
    pub lives_ms: i64,
    pub ip: Option<IpAddr>,
    pub models: Option<Models>,
    pub browser_allowed: bool,
    pub creator: Option<String>,
}

impl NewTemp {
    pub const DEFAULT_LIFE_MS: i64 = 15 * 60 * 1000;
    pub const LONGEST_LIFE_MS: i64 = 24 * 60 * 60 * 1000;
}

type TempRow = (Vec<u8>, Option<i64>, Option<String>, Option<String>, String);

impl Store {
    /// Mints a key from another one. `with` is the parent's secret that asks; without it the newest that lives. The token
    /// is shown once.
    pub async fn mint_temp(
        &self,
        parent: KeyId,
        with: Option<[u8; PUBLIC_ID_LEN]>,
        new: NewTemp,
    ) -> Result<(KeyRow, Token)> {
        let row = self.key(parent).await?;
        let now = self.now();
        let refuse = |why: &str| Err(StoreError::conflict(why));
        match row.kind {
            KeyKind::Temp => return refuse("a temporary key cannot mint another"),
            KeyKind::Admin => return refuse("an admin key cannot call models, so there is nothing to hand on"),
            _ => {}
        }
        if row.disabled || row.deleted_at.is_some() || row.expires_at.is_some_and(|at| at <= now) {
            return refuse("the key is not active, so it has nothing to hand on");
        }
        let newest = || row.secrets.iter().find(|secret| secret.state == SecretState::Live);
        let with = match with {
            Some(with) => with,
            None => match newest() {
                Some(secret) => public_id_bytes(&secret.public_id),
                None => return refuse("the key has no secret that lives"),
            },
        };
        let key = bounded(&row, &new, now)?;
        let (living,): (i64,) = self
            .db
            .one(
                "SELECT COUNT(*) FROM temp_key t JOIN api_key k ON k.id = t.key_id WHERE t.parent_id = $1 \
                 AND k.deleted_at IS NULL AND k.expires_at > $2",
                params![&parent.0, now],
            )
            .await?
            .unwrap_or_default();
        if living >= MOST {
            return Err(StoreError::conflict(format!(
                "{MOST} temporary keys of this key live already; end some first"
            )));
        }
        self.temp_keys.store(true, Ordering::Release);
        self.create_temp(key, parent, with, new).await
    }

    async fn create_temp(
        &self,
        key: NewKey,
        parent: KeyId,
        with: [u8; PUBLIC_ID_LEN],
        new: NewTemp,
    ) -> Result<(KeyRow, Token)> {
        let models = new.models.map(|models| serde_json::to_string(&models)).transpose();
        let models = models.map_err(|_| StoreError::invalid("models", "cannot be kept"))?;
        let then: Then = Box::new(move |tx, id| {
            Box::pin(async move {
                tx.exec(
                    "INSERT INTO temp_key (key_id, parent_id, request_limit, ip, models, minted_with) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                    params![
                        &id.0,
                        &parent.0,
                        new.request_limit.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
                        &new.ip.map(|ip| ip.to_string()),
                        &models,
                        std::str::from_utf8(&with).unwrap_or_default(),
                    ],
                )
                .await
                .map(|_| ())
            })
        });
        self.create_key_then(key, then).await
    }

    /// What a key of the kind temp is bound by. `None`: it is of no parent, and an ordinary key.
    pub(crate) async fn temp_of(&self, id: KeyId) -> Result<Option<Arc<Temp>>> {
        let row: Option<TempRow> = self
            .db
            .one(
                "SELECT parent_id, request_limit, ip, models, minted_with FROM temp_key WHERE key_id = $1",
                params![&id.0],
            )
            .await?;
        let Some((parent, request_limit, ip, models, minted_with)) = row else { return Ok(None) };
        self.temp_keys.store(true, Ordering::Release);
        let broken = || damaged("the terms of a temporary key cannot be read");
        let parent_id = KeyId::from_slice(&parent).ok_or_else(broken)?;
        let parent = self.cache.parents.place(parent_id);
        if !parent.is_known() {
            self.key_states(&[parent_id]).await?.iter().for_each(|state| parent.note(state));
        }
        Ok(Some(Arc::new(Temp {
            parent_id,
            request_limit: request_limit.map(|n| u64::try_from(n).unwrap_or(0)),
            ip: ip.map(|ip| ip.parse().map_err(|_| broken())).transpose()?,
            models: models.map(|text| read_models(&text).ok_or_else(broken)).transpose()?,
            minted_with: public_id_bytes(&minted_with),
            parent,
        })))
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
        let keys: std::collections::BTreeSet<KeyId> = keys.collect();
        for key in keys {
            let found: Option<(Vec<u8>,)> =
                tx.one("SELECT parent_id FROM temp_key WHERE key_id = $1", params![&key.0]).await?;
            if let Some(parent) = found.and_then(|(id,)| KeyId::from_slice(&id)) {
                parents.insert(key, parent);
            }
        }
        Ok(parents)
    }

    /// Buries temporary keys whose end was a while ago: a tombstone stays for their records, their secrets go.
    pub async fn bury_temp_keys(&self) -> Result<()> {
        if !self.temp_keys.load(Ordering::Acquire) {
            return Ok(());
        }
        let ended: Vec<(Vec<u8>,)> = self
            .db
            .all(
                "SELECT k.id FROM temp_key t JOIN api_key k ON k.id = t.key_id \
                 WHERE k.deleted_at IS NULL AND k.expires_at < $1 ORDER BY k.id LIMIT $2",
                params![self.now() - KNOWN_MS, AT_ONCE],
            )
            .await?;
        for id in ended.iter().filter_map(|(id,)| KeyId::from_slice(id)) {
            match self.delete_key(id, None).await {
                // Another replica was first.
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
            self.db.exec("DELETE FROM secret WHERE key_id = $1", params![&id.0]).await?;
        }
        Ok(())
    }

    /// Ends a temporary key before its time, at its own wish or its parent's.
    pub async fn end_temp(&self, key: &LiveKey) -> Result<()> {
        let step: Step<()> = Box::new(move |store, tx, record| {
            let id = record.id;
            Box::pin(async move {
                tx.exec("UPDATE api_key SET expires_at = $2 WHERE id = $1", params![&id.0, store.now()]).await?;
                crate::keys::kill_secrets(tx, id).await
            })
        });
        self.change_key(key.info.id, None, Verb::KeyUpdate, step).await.map(|_| ())
    }
}

/// What happens in the transaction that makes a key, after its row is there.
pub(crate) type Then = Box<dyn for<'a> FnOnce(&'a mut Tx, KeyId) -> crate::change::Boxed<'a, ()> + Send>;

fn read_models(text: &str) -> Option<Models> {
    let controls = anykey_core::controls::Controls::from_json(&format!("{{\"models\":{text}}}")).ok()?;
    controls.models
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
    key.spend_limit = new.spend_limit;
    key.browser_allowed = new.browser_allowed;
    let end = now + new.lives_ms;
    key.expires_at = Some(parent.expires_at.map_or(end, |at| at.min(end)));
    key.creator = new.creator.clone();
    key.owner.clone_from(&parent.owner);
    key.project.clone_from(&parent.project);
    key.environment.clone_from(&parent.environment);
    Ok(key)
}
