//! Stored credentials of providers that do not open: each is told of once in the audit log, by whichever replica is first.

use crate::Store;
use crate::audit::{Acting, Deed, Facts, Object, ObjectKind, Verb, acting};
use crate::db::params;
use crate::error::Result;
use crate::providers::ProviderRecord;
use crate::secrets_files::hex;
use sha2::{Digest as _, Sha256};

/// The settings that hold which credentials were told of begin with this; a provider's name follows.
const TOLD: &str = "unopened ";

impl Store {
    /// Tells of those among `closed` that were not told of, and forgets those that are not among them any more, so that the
    /// same damage is told of again when it comes back. Never stands in the way of a start or a change: who cleans up
    /// after an intruder needs both.
    pub(crate) async fn tell_of_unopened(&self, closed: &[ProviderRecord]) {
        if let Err(error) = acting(Acting::system(), self.note_unopened(closed)).await {
            tracing::warn!(%error, "that a provider's credential does not open could not be written to the audit log");
        }
    }

    async fn note_unopened(&self, closed: &[ProviderRecord]) -> Result<()> {
        let known: Vec<(String, String)> =
            self.db.all("SELECT name, value FROM setting WHERE name LIKE $1", params![format!("{TOLD}%")]).await?;
        for (name, _) in &known {
            if closed.iter().all(|record| told_name(record) != *name) {
                self.db.exec("DELETE FROM setting WHERE name = $1", params![name]).await?;
            }
        }
        for record in closed {
            let seen = (told_name(record), fingerprint(record));
            if !known.contains(&seen) {
                self.record_unopened(record, seen).await?;
            }
        }
        Ok(())
    }

    async fn record_unopened(&self, record: &ProviderRecord, (name, print): (String, String)) -> Result<()> {
        let mut tx = self.db.begin().await?;
        // A replica that sees the same waits here, and then changes nothing.
        let new = tx
            .exec(
                "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
                 SET value = excluded.value WHERE setting.value <> excluded.value",
                params![&name, &print],
            )
            .await?;
        if new == 1 {
            let object = Object::new(ObjectKind::Provider, &record.name, record.name.as_str());
            let facts = Facts::default()
                .with("reason", "the stored credential does not open with this installation's key")
                .with("sealed_sha256", print);
            self.record(&mut tx, Deed::done(Verb::ProviderUnopened, object, facts)).await?;
        }
        tx.commit().await
    }
}

fn told_name(record: &ProviderRecord) -> String {
    format!("{TOLD}{}", record.name)
}

/// Which damage it is: another one of the same provider is told of as well.
fn fingerprint(record: &ProviderRecord) -> String {
    hex(&Sha256::digest(record.sealed_key.as_deref().unwrap_or_default()))
}
