//! What was used lately under a level: rate limits count it when the process begins anew.

use crate::Store;
use crate::db::{FromRow, Row, params};
use crate::error::Result;
use crate::sql::dynamic;
use anykey_core::RequestId;
use anykey_core::controls::Level;
use anykey_core::record::Outcome;
use std::sync::Arc;

/// Attempts within so long are told together, at the time of the last of them.
const GRAIN_MS: i64 = 10_000;

/// What was sent to one model of a provider within a few seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentUse {
    /// When the last of it began, milliseconds since 1970.
    pub at: i64,
    pub provider: Arc<str>,
    /// The provider's name for it.
    pub model: Arc<str>,
    pub requests: u64,
    pub tokens: u64,
}

impl FromRow for RecentUse {
    fn from_row(row: &mut Row) -> Result<Self> {
        let at = row.take()?;
        let text = |text: Option<String>| Arc::from(text.unwrap_or_default());
        let (provider, model) = (text(row.take()?), text(row.take()?));
        let mut count = || Ok::<_, crate::StoreError>(row.take::<i64>()?.max(0).unsigned_abs());
        Ok(RecentUse { at, provider, model, requests: count()?, tokens: count()? })
    }
}

impl Store {
    /// What was sent to providers since `since_ms` by a key or by all keys of a level, oldest first. Units that few calls
    /// use and that have no column of their own are left out.
    pub async fn recent_use(&self, level: Level, id: [u8; 16], since_ms: i64) -> Result<Vec<RecentUse>> {
        let keys = match level {
            Level::Installation => "$2 = $2",
            Level::Organisation => "key_id IN (SELECT id FROM api_key WHERE organisation_id = $2)",
            Level::Project => "key_id IN (SELECT id FROM api_key WHERE project_id = $2)",
            Level::Member => "key_id IN (SELECT id FROM api_key WHERE member_id = $2)",
            Level::ServiceAccount => "key_id IN (SELECT id FROM api_key WHERE service_account_id = $2)",
            // What its temporary keys use is its own use.
            Level::Key => {
                "key_id IN (SELECT id FROM api_key WHERE id = $2 UNION ALL SELECT id FROM api_key WHERE parent_id = $2)"
            }
        };
        let sql = format!(
            "SELECT MAX(started_at), provider, model_sent, COUNT(*), \
             CAST(SUM(input + cache_read + cache_write_5m + output + reasoning) AS BIGINT) \
             FROM usage WHERE request >= $1 AND {keys} AND attempt > 0 AND outcome <> $3 \
             GROUP BY started_at / {GRAIN_MS}, provider, model_sent ORDER BY 1"
        );
        let since = RequestId::new(since_ms.max(0), [0; 10]);
        self.db.all(dynamic(sql), params![&since.0, &id, Outcome::Refused as i64]).await
    }
}
