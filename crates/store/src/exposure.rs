//! Keys that were seen where secrets do not belong: what was reported of them, and what was done.

use crate::Store;
use crate::audit::Verb;
use crate::db::params;
use crate::error::{Result, StoreError};
use crate::key_types::KeyRow;
use crate::keys::{Step, reread};
use anykey_core::KeyId;

/// How long a report is remembered, so that it cannot be sent a second time.
const REMEMBERED_MS: i64 = 400 * 24 * 60 * 60 * 1000;
/// A key in a thousand places is known to be exposed well enough.
const PLACES: i64 = 1000;

/// Where a secret was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Which of the key's secrets.
    pub public_id: String,
    /// Who saw it: `github`, `scan`, or the name of another scanner.
    pub source: String,
    /// A URL, or a file and line.
    pub place: String,
    pub at: i64,
}

impl Store {
    /// Writes down that a secret of a key was seen, marks the key, and where `disable` says so disables it. A key that is
    /// deleted only gets the note.
    pub async fn key_exposed(&self, id: KeyId, seen: Exposure, disable: bool) -> Result<KeyRow> {
        let note = seen.clone();
        let step: Step<()> = Box::new(move |store, tx, _| {
            Box::pin(async move {
                tx.exec(
                    // Its owner does not enable again what strangers may know, also where they had disabled it themselves.
                    "UPDATE api_key SET exposed_at = COALESCE(exposed_at, $2), disabled = (disabled OR $3), \
                     disabled_by = NULL WHERE id = $1",
                    params![&id.0, store.now(), disable],
                )
                .await?;
                tx.exec(NOTE, params![&id.0, &note.public_id, &note.source, &note.place, note.at]).await.map(|_| ())
            })
        });
        match self.change_key(id, None, Verb::KeyExpose, step).await {
            Ok((key, ())) => Ok(key),
            Err(StoreError::Conflict(_)) => {
                self.db.exec(NOTE, params![&id.0, &seen.public_id, &seen.source, &seen.place, seen.at]).await?;
                self.key(id).await
            }
            Err(error) => Err(error),
        }
    }

    /// Where a key's secrets were seen, the latest first.
    pub async fn exposures(&self, id: KeyId) -> Result<Vec<Exposure>> {
        let mut tx = self.db.begin().await?;
        reread(&mut tx, id).await?;
        let rows: Vec<(String, String, String, i64)> = tx
            .all(
                "SELECT public_id, source, place, at FROM exposure WHERE key_id = $1 \
                 ORDER BY at DESC, source, place LIMIT $2",
                params![&id.0, PLACES],
            )
            .await?;
        tx.commit().await?;
        let shown = |(public_id, source, place, at)| Exposure { public_id, source, place, at };
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Takes a signed report by its hash. `false` says that it was taken before.
    pub async fn take_report(&self, hash: &[u8; 32]) -> Result<bool> {
        let taken = self
            .db
            .exec(
                "INSERT INTO exposure_report (hash, at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                params![hash, self.now()],
            )
            .await?;
        Ok(taken == 1)
    }

    /// Gives a report back that could not be dealt with, so that it can be sent again.
    pub async fn return_report(&self, hash: &[u8; 32]) -> Result<()> {
        self.db.exec("DELETE FROM exposure_report WHERE hash = $1", params![hash]).await.map(|_| ())
    }

    pub(crate) async fn forget_reports(&self) -> Result<()> {
        let before = self.now() - REMEMBERED_MS;
        self.db.exec("DELETE FROM exposure_report WHERE at < $1", params![before]).await.map(|_| ())
    }
}

const NOTE: &str = "INSERT INTO exposure (key_id, public_id, source, place, at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT DO NOTHING";
