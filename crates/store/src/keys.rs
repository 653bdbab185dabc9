//! Making and changing keys. A change is committed, then put in force in memory, then answered.

use crate::Store;
use crate::audit::{Deed, Verb};
use crate::change::{Boxed, Change};
use crate::db::{Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, SecretRecord, key_columns, secrets_of};
use crate::key_types::{KeyPatch, KeyRow, NewKey};
use crate::temp::Then;
use crate::valid;
use anykey_core::token::{Digest, read};
use anykey_core::{KeyId, KeyKind, Nanos, Scope, Scopes, Token};
use std::collections::BTreeMap;

/// What a change does inside the transaction, after the key's row is locked and before it is read again.
pub(crate) type Step<T> = Box<dyn for<'a> FnOnce(&'a Store, &'a mut Tx, &'a KeyRecord) -> Boxed<'a, T> + Send>;

/// A secret that is about to be stored.
pub(crate) struct NewSecret {
    pub public_id: String,
    pub digest: Digest,
    pub imported: bool,
    pub pending: bool,
    pub expires_at: Option<i64>,
    pub overlap_ms: Option<i64>,
    pub rotation_id: Option<String>,
}

impl NewSecret {
    /// A secret that is in force at once.
    pub fn plain(public_id: String, digest: Digest) -> Self {
        NewSecret {
            public_id,
            digest,
            imported: false,
            pending: false,
            expires_at: None,
            overlap_ms: None,
            rotation_id: None,
        }
    }
}

impl Store {
    /// Makes a key and its first secret. The token is shown once.
    pub async fn create_key(&self, new: NewKey) -> Result<(KeyRow, Token)> {
        check_new(&new)?;
        let (token, secret) = self.mint(new.kind)?;
        let row = self.insert_key(new, secret, Verb::KeyCreate, None).await?;
        Ok((row, token))
    }

    /// The same, with more to write in the same transaction.
    pub(crate) async fn create_key_then(&self, new: NewKey, then: Then) -> Result<(KeyRow, Token)> {
        check_new(&new)?;
        let (token, secret) = self.mint(new.kind)?;
        let row = self.insert_key(new, secret, Verb::KeyCreate, Some(then)).await?;
        Ok((row, token))
    }

    /// Takes over a key of another system by the plain SHA-256 of its text. At its first use it is hashed anew.
    pub async fn import_key(&self, sha256: Digest, new: NewKey) -> Result<KeyRow> {
        check_new(&new)?;
        // The text of a foreign key is not ours to quote, so its public id is made up.
        let (token, mut secret) = self.mint(new.kind)?;
        drop(token);
        secret.digest = sha256;
        secret.imported = true;
        let row = self.insert_key(new, secret, Verb::KeyImport, None).await?;
        self.note_foreign_key().await?;
        self.cache.forget_unknown();
        Ok(row)
    }

    /// `expected` is the version that the caller saw (`If-Match`); `None` takes whatever is there.
    pub async fn update_key(&self, id: KeyId, expected: Option<i64>, patch: KeyPatch) -> Result<KeyRow> {
        let step: Step<()> = Box::new(move |_, tx, key| Box::pin(patch_key(tx, key.clone(), patch)));
        Ok(self.change_key(id, expected, Verb::KeyUpdate, step).await?.0)
    }

    pub async fn disable_key(&self, id: KeyId, expected: Option<i64>) -> Result<KeyRow> {
        self.set_disabled(id, expected, true).await
    }

    pub async fn enable_key(&self, id: KeyId, expected: Option<i64>) -> Result<KeyRow> {
        self.set_disabled(id, expected, false).await
    }

    /// Ends the key and all its secrets. A tombstone stays, so that records keep a name.
    pub async fn delete_key(&self, id: KeyId, expected: Option<i64>) -> Result<KeyRow> {
        let step: Step<()> = Box::new(move |store, tx, _| {
            Box::pin(async move {
                tx.exec("UPDATE api_key SET deleted_at = $2 WHERE id = $1", params![&id.0, store.now()]).await?;
                kill_secrets(tx, id).await
            })
        });
        Ok(self.change_key(id, expected, Verb::KeyDelete, step).await?.0)
    }

    /// The key's text was seen where secrets do not belong; the first time is kept.
    pub async fn flag_exposed(&self, id: KeyId) -> Result<()> {
        let before = self.key(id).await?;
        if before.exposed_at.is_some() {
            return Ok(());
        }
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            const FLAG: &str = "UPDATE api_key SET exposed_at = $2 WHERE id = $1 AND exposed_at IS NULL";
            if tx.exec(FLAG, params![&id.0, now]).await? == 1 {
                let after = KeyRow { exposed_at: Some(now), ..before.clone() };
                store.record(&mut tx, Deed::changed(Verb::KeyExpose, &before, &after)).await?;
            }
            tx.commit().await
        })
        .await
    }

    /// All that was ever charged to the key and is stored.
    pub async fn spent(&self, key: KeyId) -> Result<Nanos> {
        let spent: Option<(i64,)> = self.db.one("SELECT spent FROM api_key WHERE id = $1", params![&key.0]).await?;
        spent.map(|(n,)| Nanos(n)).ok_or(StoreError::NotFound("key"))
    }

    async fn set_disabled(&self, id: KeyId, expected: Option<i64>, disabled: bool) -> Result<KeyRow> {
        let step: Step<()> = Box::new(move |_, tx, _| {
            Box::pin(async move {
                tx.exec("UPDATE api_key SET disabled = $2 WHERE id = $1", params![&id.0, disabled]).await.map(|_| ())
            })
        });
        let verb = if disabled { Verb::KeyDisable } else { Verb::KeyEnable };
        Ok(self.change_key(id, expected, verb, step).await?.0)
    }

    /// A new token and what is stored of it.
    pub(crate) fn mint(&self, kind: KeyKind) -> Result<(Token, NewSecret)> {
        let token = Token::mint(&self.brand, kind)?;
        let public_id = read(token.expose(), &self.brand).ok_or(StoreError::NoRandom)?.public_id.to_owned();
        let digest = self.pepper.digest(token.expose().as_bytes());
        Ok((token, NewSecret::plain(public_id, digest)))
    }

    async fn insert_key(&self, new: NewKey, secret: NewSecret, verb: Verb, then: Option<Then>) -> Result<KeyRow> {
        let now = self.now();
        let id = KeyId::random(now)?;
        let record = KeyRecord {
            id,
            kind: new.kind,
            name: new.name,
            description: new.description,
            tags: new.tags,
            owner: new.owner,
            creator: new.creator,
            project: new.project,
            environment: new.environment,
            scopes: new.scopes,
            disabled: false,
            deleted_at: None,
            expires_at: new.expires_at,
            browser_allowed: new.browser_allowed,
            spend_limit: new.spend_limit,
            spent: Nanos::ZERO,
            note: new.note,
            rotation_interval_ms: new.rotation_interval_ms,
            review_at: new.review_at,
            exposed_at: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            insert_record(&mut tx, &record).await?;
            if let Some(then) = then {
                then(&mut tx, id).await?;
            }
            let imported = secret.imported;
            insert_secret(&mut tx, id, &secret, now).await.map_err(|error| match error {
                StoreError::Conflict(_) if imported => StoreError::conflict("this key is here already"),
                other => other,
            })?;
            let secrets = secrets_of(&mut tx, id).await?;
            let row = record.show(&secrets, &store.brand, now);
            store.record(&mut tx, Deed::made(verb, &row)).await?;
            // Other replicas know nothing of a new key that could be wrong, but for an imported one's digest.
            if imported {
                store.announce(&mut tx, Change::Imported).await?;
            }
            tx.commit().await?;
            Ok(row)
        })
        .await
    }

    /// One change of one key: the row is locked and its version counted up, the step runs, the result is committed and
    /// put in force in memory before this returns. It runs to its end even if the caller goes away.
    pub(crate) async fn change_key<T: Send + 'static>(
        &self,
        id: KeyId,
        expected: Option<i64>,
        verb: Verb,
        step: Step<T>,
    ) -> Result<(KeyRow, T)> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let record = lock_key(&mut tx, id, expected, now).await?;
            let before = record.clone().show(&secrets_of(&mut tx, id).await?, &store.brand, now);
            let made = step(&store, &mut tx, &record).await?;
            let record = reread(&mut tx, id).await?;
            let secrets = secrets_of(&mut tx, id).await?;
            let state = record.state(&secrets);
            let row = record.show(&secrets, &store.brand, now);
            store.record(&mut tx, Deed::changed(verb, &before, &row)).await?;
            store.announce(&mut tx, Change::Key(id)).await?;
            tx.commit().await?;
            store.cache.changed(&state, now);
            Ok((row, made))
        })
        .await
    }
}

async fn lock_key(tx: &mut Tx, id: KeyId, expected: Option<i64>, now: i64) -> Result<KeyRecord> {
    let locked: Option<KeyRecord> = tx
        .one(
            concat!(
                "UPDATE api_key SET version = version + 1, updated_at = $2 WHERE id = $1 RETURNING ",
                key_columns!()
            ),
            params![&id.0, now],
        )
        .await?;
    let record = locked.ok_or(StoreError::NotFound("key"))?;
    let found = record.version - 1;
    match expected {
        _ if record.deleted_at.is_some() => Err(StoreError::conflict("the key is deleted")),
        Some(expected) if expected != found => Err(StoreError::VersionMismatch { what: "key", expected, found }),
        _ => Ok(record),
    }
}

pub(crate) async fn reread(tx: &mut Tx, id: KeyId) -> Result<KeyRecord> {
    tx.one(concat!("SELECT ", key_columns!(), " FROM api_key WHERE id = $1"), params![&id.0])
        .await?
        .ok_or(StoreError::NotFound("key"))
}

async fn insert_record(tx: &mut Tx, key: &KeyRecord) -> Result<()> {
    tx.exec(
        concat!(
            "INSERT INTO api_key (",
            key_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
             $21, $22, $23)"
        ),
        params![
            &key.id.0,
            key.kind.name(),
            &key.name,
            &key.description,
            tags_text(&key.tags),
            &key.owner,
            &key.creator,
            &key.project,
            &key.environment,
            key.scopes.to_text(),
            key.disabled,
            key.deleted_at,
            key.expires_at,
            key.browser_allowed,
            key.spend_limit.map(|n| n.0),
            key.spent.0,
            &key.note,
            key.rotation_interval_ms,
            key.review_at,
            key.exposed_at,
            key.version,
            key.created_at,
            key.updated_at,
        ],
    )
    .await
    .map(|_| ())
}

/// Secrets of one key are made at least a millisecond apart, so that their order is known.
pub(crate) async fn insert_secret(tx: &mut Tx, key: KeyId, secret: &NewSecret, now: i64) -> Result<()> {
    let newest: Option<(i64,)> = tx
        .one("SELECT created_at FROM secret WHERE key_id = $1 ORDER BY created_at DESC LIMIT 1", params![&key.0])
        .await?;
    let created_at = newest.map_or(now, |(newest,)| now.max(newest + 1));
    tx.exec(
        "INSERT INTO secret (public_id, digest, digest_kind, imported, key_id, state, pending, created_at, expires_at, \
         overlap_ms, rotation_id) VALUES ($1, $2, $3, $4, $5, 'live', $6, $7, $8, $9, $10)",
        params![
            &secret.public_id,
            &secret.digest.0,
            if secret.imported { "sha256" } else { "hmac" },
            secret.imported,
            &key.0,
            secret.pending,
            created_at,
            secret.expires_at,
            secret.overlap_ms,
            &secret.rotation_id,
        ],
    )
    .await
    .map(|_| ())
}

/// Ends every secret of a key.
pub(crate) async fn kill_secrets(tx: &mut Tx, id: KeyId) -> Result<()> {
    tx.exec("UPDATE secret SET state = 'dead', pending = FALSE WHERE key_id = $1 AND state <> 'dead'", params![&id.0])
        .await
        .map(|_| ())
}

async fn patch_key(tx: &mut Tx, mut key: KeyRecord, patch: KeyPatch) -> Result<()> {
    fn set<T>(field: &mut T, new: Option<T>) {
        if let Some(new) = new {
            *field = new;
        }
    }
    set(&mut key.name, patch.name);
    set(&mut key.description, patch.description);
    set(&mut key.tags, patch.tags);
    set(&mut key.owner, patch.owner);
    set(&mut key.project, patch.project);
    set(&mut key.environment, patch.environment);
    set(&mut key.scopes, patch.scopes);
    set(&mut key.browser_allowed, patch.browser_allowed);
    set(&mut key.spend_limit, patch.spend_limit);
    set(&mut key.expires_at, patch.expires_at);
    set(&mut key.note, patch.note);
    set(&mut key.rotation_interval_ms, patch.rotation_interval_ms);
    set(&mut key.review_at, patch.review_at);
    check(&Checked {
        kind: key.kind,
        name: &key.name,
        tags: &key.tags,
        scopes: key.scopes,
        spend_limit: key.spend_limit,
        rotation_interval_ms: key.rotation_interval_ms,
        texts: [
            ("description", Some(&key.description)),
            ("note", Some(&key.note)),
            ("owner", key.owner.as_ref()),
            ("project", key.project.as_ref()),
            ("environment", key.environment.as_ref()),
        ],
    })?;
    tx.exec(
        "UPDATE api_key SET name = $2, description = $3, tags = $4, owner = $5, project = $6, environment = $7, \
         scopes = $8, browser_allowed = $9, spend_limit = $10, expires_at = $11, note = $12, \
         rotation_interval_ms = $13, review_at = $14 WHERE id = $1",
        params![
            &key.id.0,
            &key.name,
            &key.description,
            tags_text(&key.tags),
            &key.owner,
            &key.project,
            &key.environment,
            key.scopes.to_text(),
            key.browser_allowed,
            key.spend_limit.map(|n| n.0),
            key.expires_at,
            &key.note,
            key.rotation_interval_ms,
            key.review_at,
        ],
    )
    .await
    .map(|_| ())
}

fn tags_text(tags: &BTreeMap<String, String>) -> Value {
    Value::from(serde_json::to_string(tags).unwrap_or_else(|_| "{}".into()))
}

fn check_new(new: &NewKey) -> Result<()> {
    check(&Checked {
        kind: new.kind,
        name: &new.name,
        tags: &new.tags,
        scopes: new.scopes,
        spend_limit: new.spend_limit,
        rotation_interval_ms: new.rotation_interval_ms,
        texts: [
            ("description", Some(&new.description)),
            ("note", Some(&new.note)),
            ("owner", new.owner.as_ref()),
            ("project", new.project.as_ref()),
            ("environment", new.environment.as_ref()),
        ],
    })
}

struct Checked<'a> {
    kind: KeyKind,
    name: &'a str,
    tags: &'a BTreeMap<String, String>,
    scopes: Scopes,
    spend_limit: Option<Nanos>,
    rotation_interval_ms: Option<i64>,
    texts: [(&'static str, Option<&'a String>); 5],
}

fn check(key: &Checked<'_>) -> Result<()> {
    valid::name("name", key.name, 200)?;
    for (field, text) in key.texts {
        valid::text(field, text.map_or("", String::as_str), 2_000)?;
    }
    if key.tags.len() > 50 {
        return Err(StoreError::invalid("tags", "at most 50"));
    }
    for (name, value) in key.tags {
        valid::name("tags", name, 100)?;
        valid::text("tags", value, 500)?;
        if name.contains('=') {
            return Err(StoreError::invalid("tags", "a tag's name has no ="));
        }
    }
    if key.spend_limit.is_some_and(|limit| limit.0 < 0) {
        return Err(StoreError::invalid("spend_limit", "an amount cannot be negative"));
    }
    if key.rotation_interval_ms.is_some_and(|ms| ms <= 0) {
        return Err(StoreError::invalid("rotation_interval_ms", "is longer than nothing"));
    }
    let manages = key.scopes.contains(Scope::Admin);
    if key.kind == KeyKind::Admin && key.scopes != Scopes::ADMIN {
        return Err(StoreError::invalid("scopes", "an admin key has the scope admin:* and no other"));
    }
    if key.kind != KeyKind::Admin && manages {
        return Err(StoreError::invalid("scopes", "only an admin key has the scope admin:*"));
    }
    Ok(())
}

/// Dead secrets beyond the newest few are forgotten: a key that is regenerated every hour would gather thousands.
pub(crate) async fn forget_old_secrets(tx: &mut Tx, id: KeyId) -> Result<()> {
    const KEPT: i64 = 10;
    tx.exec(
        "DELETE FROM secret WHERE key_id = $1 AND state = 'dead' AND public_id NOT IN \
         (SELECT public_id FROM secret WHERE key_id = $1 AND state = 'dead' \
          ORDER BY created_at DESC, public_id LIMIT $2)",
        params![&id.0, KEPT],
    )
    .await
    .map(|_| ())
}

/// The state of a key after a change that the books made, read inside their transaction.
pub(crate) async fn read_state(tx: &mut Tx, id: KeyId) -> Result<(KeyRecord, Vec<SecretRecord>)> {
    Ok((reread(tx, id).await?, secrets_of(tx, id).await?))
}
