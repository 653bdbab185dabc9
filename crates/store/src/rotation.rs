//! New secrets for old keys: regenerated (the old is dead at once) or rotated (both live for a while).
//!
//! The overlap of a rotation starts when the new secret is first used, so an answer that was lost on the way breaks
//! nothing: the old secret works on, the unused new one lapses, and another rotation takes its place.

use crate::Store;
use crate::audit::{Deed, Verb};
use crate::cache::KeyState;
use crate::change::Change;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::key_rows::KeyRecord;
use crate::key_types::{KeyRow, Rotated, Rotation};
use crate::key_write::{forget_old_secrets, insert_secret, kill_secrets};
use crate::keys::{Step, read_state};
use crate::notices::set_rotate_at;
use crate::secrets_files::hex;
use crate::temp::{end_minted, settled};
use anykey_core::{KeyId, Token};

impl Store {
    /// A new secret; all older ones are dead when this returns.
    pub async fn regenerate_key(&self, id: KeyId, expected: Option<i64>) -> Result<(KeyRow, Token)> {
        let step: Step<Token> = Box::new(move |store, tx, key| {
            Box::pin(async move {
                settled(key)?;
                replace_secret(store, tx, key).await
            })
        });
        self.change_key(id, expected, Verb::KeyRegenerate, step).await
    }

    /// A second secret beside the one in use. A rotation that is still waiting for its first use is called off.
    pub async fn rotate_key(&self, id: KeyId, expected: Option<i64>, rotation: Rotation) -> Result<Rotated> {
        if !(0..=Rotation::MAX_OVERLAP_MS).contains(&rotation.overlap_ms) {
            return Err(StoreError::invalid("overlap", "is from none to 7 days"));
        }
        let rotation_id = rotation_id()?;
        let name = rotation_id.clone();
        let step: Step<Token> = Box::new(move |store, tx, key| {
            Box::pin(async move {
                settled(key)?;
                let now = store.now();
                let (token, mut secret) = store.mint(key.kind)?;
                secret.rotation_id = Some(name);
                if rotation.leaked {
                    kill_secrets(tx, id, now).await?;
                } else {
                    call_off(tx, id).await?;
                    secret.pending = true;
                    secret.expires_at = Some(now + Rotation::LAPSE_MS);
                    secret.overlap_ms = Some(rotation.overlap_ms);
                }
                insert_secret(tx, id, &secret, now).await?;
                rotation_done(tx, id).await?;
                forget_old_secrets(tx, id).await?;
                Ok(token)
            })
        });
        let (key, token) = self.change_key(id, expected, Verb::KeyRotate, step).await?;
        Ok(Rotated { key, token, rotation_id })
    }
}

/// What a new owner was asked for has begun.
async fn rotation_done(tx: &mut Tx, id: KeyId) -> Result<()> {
    tx.exec("UPDATE api_key SET rotation_asked_at = NULL WHERE id = $1", params![&id.0]).await.map(|_| ())
}

fn rotation_id() -> Result<String> {
    let mut bytes = [0u8; 12];
    getrandom::fill(&mut bytes)?;
    Ok(format!("rot_{}", hex(&bytes)))
}

/// Ends the new secret of a rotation that nobody has used yet.
async fn call_off(tx: &mut Tx, id: KeyId) -> Result<()> {
    tx.exec("UPDATE secret SET state = 'dead', pending = FALSE WHERE key_id = $1 AND pending", params![&id.0])
        .await
        .map(|_| ())
}

/// A new secret in the place of all others, which are dead.
pub(crate) async fn replace_secret(store: &Store, tx: &mut Tx, key: &KeyRecord) -> Result<Token> {
    let (token, secret) = store.mint(key.kind)?;
    kill_secrets(tx, key.id, store.now()).await?;
    insert_secret(tx, key.id, &secret, store.now()).await?;
    rotation_done(tx, key.id).await?;
    forget_old_secrets(tx, key.id).await?;
    Ok(token)
}

/// Starts the overlap of every rotation whose new secret has been used. Called in the transaction that stored the use;
/// the states are put in force in memory after its commit.
pub(crate) async fn start_overlaps(store: &Store, tx: &mut Tx) -> Result<Vec<KeyState>> {
    let used: Vec<(String, Vec<u8>, i64, Option<i64>)> = tx
        .all(
            "SELECT public_id, key_id, first_used_at, overlap_ms FROM secret \
             WHERE pending AND first_used_at IS NOT NULL ORDER BY key_id",
            params![],
        )
        .await?;
    let mut states = Vec::with_capacity(used.len());
    let mut deeds = Vec::with_capacity(used.len());
    let now = store.now();
    for (public_id, key, first_used_at, overlap_ms) in used {
        let Some(key) = KeyId::from_slice(&key) else { continue };
        let until = first_used_at.saturating_add(overlap_ms.unwrap_or(Rotation::DEFAULT_OVERLAP_MS));
        tx.exec(
            "UPDATE api_key SET version = version + 1, updated_at = $2 WHERE id = $1",
            params![&key.0, store.now()],
        )
        .await?;
        let (record, secrets) = read_state(tx, key).await?;
        let above = store.above_in(tx, &record.placement).await?;
        let before = record.show(&secrets, &above, &store.brand, now);
        supersede(tx, key, &public_id, until).await?;
        set_rotate_at(tx, key).await?;
        let (record, secrets) = read_state(tx, key).await?;
        let row = record.clone().show(&secrets, &above, &store.brand, now);
        states.push(record.state(&secrets, above));
        deeds.push(Deed::changed(Verb::KeySupersede, &before, &row));
    }
    store.record_all(tx, deeds).await?;
    for state in &states {
        store.announce(tx, Change::Key(state.key.info.id)).await?;
    }
    Ok(states)
}

async fn supersede(tx: &mut Tx, key: KeyId, new: &str, until: i64) -> Result<()> {
    tx.exec("UPDATE secret SET pending = FALSE, expires_at = NULL WHERE public_id = $1", params![new]).await?;
    tx.exec(
        "UPDATE secret SET state = 'superseded', \
         expires_at = CASE WHEN expires_at IS NULL OR expires_at > $3 THEN $3 ELSE expires_at END \
         WHERE key_id = $1 AND public_id <> $2 AND state = 'live'",
        params![&key.0, new, until],
    )
    .await?;
    end_minted(tx, key, Some(new), until).await
}
