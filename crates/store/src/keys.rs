//! Making and changing keys. A change is committed, then put in force in memory, then answered.

use crate::Store;
use crate::audit::{Deed, Verb};
use crate::change::{Boxed, Change};
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, SecretRecord, key_columns, secrets_of};
use crate::key_types::{KeyPatch, KeyRow, NewKey};
use crate::key_write::{check_new, check_placement, insert_record, insert_secret, kill_secrets, patch_key};
use crate::notices::set_rotate_at;
use crate::temp::{Minting, make_room, settled};
use anykey_core::token::{Digest, read};
use anykey_core::{KeyId, KeyKind, Nanos, OwnerId, Token};
use std::sync::Arc;

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
        self.create_minted(new, None).await
    }

    /// The same, and how it is minted from another key.
    pub(crate) async fn create_minted(&self, new: NewKey, minting: Option<Minting>) -> Result<(KeyRow, Token)> {
        check_new(&new)?;
        let (token, secret) = self.mint(new.kind)?;
        let row = self.insert_key(new, minting, secret, Verb::KeyCreate).await?;
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
        let row = self.insert_key(new, None, secret, Verb::KeyImport).await?;
        self.note_foreign_key().await?;
        self.cache.forget_unknown();
        Ok(row)
    }

    /// `expected` is the version that the caller saw (`If-Match`); `None` takes whatever is there.
    pub async fn update_key(&self, id: KeyId, expected: Option<i64>, patch: KeyPatch) -> Result<KeyRow> {
        let step: Step<()> = Box::new(move |_, tx, key| {
            Box::pin(async move {
                settled(key)?;
                patch_key(tx, key.clone(), patch).await
            })
        });
        Ok(self.change_key(id, expected, Verb::KeyUpdate, step).await?.0)
    }

    pub async fn disable_key(&self, id: KeyId, expected: Option<i64>) -> Result<KeyRow> {
        self.set_disabled(id, expected, true).await
    }

    pub async fn enable_key(&self, id: KeyId, expected: Option<i64>) -> Result<KeyRow> {
        self.set_disabled(id, expected, false).await
    }

    /// Gives the key to another owner. The old one still knows the secret, so the new one is asked to rotate it.
    pub async fn transfer_key(&self, id: KeyId, expected: Option<i64>, owner: OwnerId) -> Result<KeyRow> {
        let patch = KeyPatch { owner_id: Some(Some(owner)), owner: Some(None), ..KeyPatch::default() };
        let step: Step<()> = Box::new(move |store, tx, key| {
            Box::pin(async move {
                settled(key)?;
                patch_key(tx, key.clone(), patch).await?;
                tx.exec("UPDATE api_key SET rotation_asked_at = $2 WHERE id = $1", params![&id.0, store.now()])
                    .await
                    .map(|_| ())
            })
        });
        Ok(self.change_key(id, expected, Verb::KeyTransfer, step).await?.0)
    }

    /// Ends the key and all its secrets. A tombstone stays, so that records keep a name.
    pub async fn delete_key(&self, id: KeyId, expected: Option<i64>) -> Result<KeyRow> {
        let step: Step<()> = Box::new(move |store, tx, _| {
            Box::pin(async move {
                tx.exec("UPDATE api_key SET deleted_at = $2 WHERE id = $1", params![&id.0, store.now()]).await?;
                kill_secrets(tx, id, store.now()).await
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
                store.tell_of_key(&mut tx, &before, &after).await?;
                store.record(&mut tx, Deed::changed(Verb::KeyExpose, &before, &after)).await?;
            }
            tx.commit().await?;
            store.wake_outbox();
            Ok(())
        })
        .await
    }

    /// All that was ever charged to the key and is stored.
    pub async fn spent(&self, key: KeyId) -> Result<Nanos> {
        let spent: Option<(i64,)> = self.db.one("SELECT spent FROM api_key WHERE id = $1", params![&key.0]).await?;
        spent.map(|(n,)| Nanos(n)).ok_or(StoreError::NotFound("key"))
    }

    async fn set_disabled(&self, id: KeyId, expected: Option<i64>, disabled: bool) -> Result<KeyRow> {
        let by = crate::audit::actor_id();
        let step: Step<()> =
            Box::new(move |_, tx, key| Box::pin(async move { switch(tx, key, disabled, by.as_deref()).await }));
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

    async fn insert_key(&self, new: NewKey, minting: Option<Minting>, secret: NewSecret, verb: Verb) -> Result<KeyRow> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let row = store.put_key(&mut tx, new, minting, &secret).await?;
            store.record(&mut tx, Deed::made(verb, &row)).await?;
            // Other replicas know nothing of a new key that could be wrong, but for an imported one's digest.
            if secret.imported {
                store.announce(&mut tx, Change::Imported).await?;
            }
            tx.commit().await?;
            Ok(row)
        })
        .await
    }

    /// A new key and its first secret, in a transaction that records it.
    pub(crate) async fn put_key(
        &self,
        tx: &mut Tx,
        new: NewKey,
        minting: Option<Minting>,
        secret: &NewSecret,
    ) -> Result<KeyRow> {
        let now = self.now();
        let record = KeyRecord::new(KeyId::random(now)?, new, minting.map(|minting| minting.minted), now);
        check_placement(tx, &record.placement).await?;
        if let Some(minting) = &minting {
            make_room(tx, minting, now).await?;
        }
        insert_record(tx, &record).await?;
        insert_secret(tx, record.id, secret, now).await.map_err(|error| match error {
            StoreError::Conflict(_) if secret.imported => StoreError::conflict("this key is here already"),
            other => other,
        })?;
        let secrets = secrets_of(tx, record.id).await?;
        let above = self.above_in(tx, &record.placement).await?;
        Ok(record.show(&secrets, &above, &self.brand, now))
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
            let above = store.above_in(&mut tx, &record.placement).await?;
            let before = record.clone().show(&secrets_of(&mut tx, id).await?, &above, &store.brand, now);
            let made = step(&store, &mut tx, &record).await?;
            set_rotate_at(&mut tx, id).await?;
            let record = reread(&mut tx, id).await?;
            let secrets = secrets_of(&mut tx, id).await?;
            let above = store.above_in(&mut tx, &record.placement).await?;
            let state = record.state(&secrets, Arc::clone(&above));
            let reminded = store.remind_of(&mut tx, &record).await?;
            let row = record.show(&secrets, &above, &store.brand, now);
            let told = store.tell_of_key(&mut tx, &before, &row).await?;
            store.record(&mut tx, Deed::changed(verb, &before, &row)).await?;
            store.announce(&mut tx, Change::Key(id)).await?;
            tx.commit().await?;
            store.cache.changed(&state, now);
            if told || reminded > 0 {
                store.wake_outbox();
            }
            Ok((row, made))
        })
        .await
    }
}

/// Disables or enables a key, and keeps who disabled it. Whoever disables what is disabled takes it over from nobody.
pub(crate) async fn switch(tx: &mut Tx, key: &KeyRecord, disabled: bool, by: Option<&str>) -> Result<()> {
    if key.disabled == disabled {
        return Ok(());
    }
    let by = by.filter(|_| disabled).map(str::to_owned);
    tx.exec("UPDATE api_key SET disabled = $2, disabled_by = $3 WHERE id = $1", params![&key.id.0, disabled, &by])
        .await
        .map(|_| ())
}

pub(crate) async fn lock_key(tx: &mut Tx, id: KeyId, expected: Option<i64>, now: i64) -> Result<KeyRecord> {
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

/// The state of a key after a change that the books made, read inside their transaction.
pub(crate) async fn read_state(tx: &mut Tx, id: KeyId) -> Result<(KeyRecord, Vec<SecretRecord>)> {
    Ok((reread(tx, id).await?, secrets_of(tx, id).await?))
}
