//! The hottest write: finished attempts, a batch in one transaction, each counted exactly once.
//!
//! Nearly every batch is new as a whole, and is inserted without looking. Only when fewer rows went in than were sent (a
//! batch that comes again after a crash) is the transaction rolled back and done again with eyes open: what is stored is
//! read first, and an unresolved row gives way to the truth.

use crate::Store;
use crate::db::{Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::record::{self, StoredRecord};
use crate::sql::{Conditions, dynamic};
use crate::sums::{Batch, day_columns};
use crate::uses::{UseMap, note};
use anykey_core::lease::Lease;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{KeyId, RequestId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

/// Another replica may have won a row, or the database chosen us as the victim of a deadlock.
const TRIES: u32 = 5;
/// Requests that are looked for in one query.
const READ_AT_ONCE: usize = 200;
/// Statuses of a caller whose secret did not open the door.
const UNAUTHORIZED: u16 = 401;

type Identity = (RequestId, u8);

/// Whether all rows of a batch went in.
enum Tried {
    Stored,
    /// Nothing was stored: some of the rows are there already.
    Known,
}

impl Store {
    /// Stores finished attempts. Each counts once however often it comes, and an unresolved one is replaced once by its
    /// truth. All or nothing: after an error, or when nobody waited for the end, the same batch may be sent again.
    pub async fn apply(&self, batch: impl AsRef<[AttemptRecord]>) -> Result<()> {
        self.apply_with(batch.as_ref(), &[]).await
    }

    /// The same, and in the same transaction each of these leases becomes what is said there.
    pub async fn apply_with(&self, batch: &[AttemptRecord], leases: &[Lease]) -> Result<()> {
        if batch.is_empty() {
            return self.change_leases(leases).await;
        }
        match self.insert_new(batch, leases).await {
            Ok(Tried::Stored) => return Ok(()),
            Ok(Tried::Known) | Err(StoreError::Contended) => {}
            Err(error) => return Err(error),
        }
        let mut wait = Duration::from_millis(5);
        for _ in 0..TRIES {
            match self.insert_carefully(batch, leases).await {
                Ok(Tried::Stored) => return Ok(()),
                Ok(Tried::Known) | Err(StoreError::Contended) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait + jitter(wait)?).await;
            wait *= 2;
        }
        Err(StoreError::Contended)
    }

    async fn change_leases(&self, leases: &[Lease]) -> Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        self.settle_budgets(&mut tx, &[], leases).await?;
        tx.commit().await
    }

    async fn insert_new(&self, batch: &[AttemptRecord], leases: &[Lease]) -> Result<Tried> {
        let mut tx = self.db.begin().await?;
        let mut rows: Vec<&AttemptRecord> = batch.iter().collect();
        // In the order of the table, in which they nearly came: each row goes in behind the one before.
        rows.sort_by_key(|record| (record.request, record.attempt));
        let parents = self.parents_of(&mut tx, batch.iter().map(|record| record.key)).await?;
        self.insert(tx, &rows, self.sums(parents), leases).await
    }

    fn sums(&self, parents: HashMap<KeyId, KeyId>) -> Batch {
        Batch { parents, costs: self.is_shared().then(Vec::new), ..Batch::default() }
    }

    async fn insert_carefully(&self, batch: &[AttemptRecord], leases: &[Lease]) -> Result<Tried> {
        let mut tx = self.db.begin().await?;
        let mut wanted = newest(batch);
        let parents = self.parents_of(&mut tx, batch.iter().map(|record| record.key)).await?;
        let mut sums = self.sums(parents);
        for stored in stored_among(&mut tx, &wanted).await? {
            let identity = (stored.request, stored.attempt);
            match wanted.get(&identity) {
                Some(truth) if stored.outcome == Outcome::Unresolved && truth.outcome != Outcome::Unresolved => {
                    if !remove_unresolved(&mut tx, identity).await? {
                        tx.roll_back().await?;
                        return Ok(Tried::Known);
                    }
                    sums.take_back(&stored);
                }
                _ => drop(wanted.remove(&identity)),
            }
        }
        let mut rows: Vec<&AttemptRecord> = wanted.into_values().collect();
        rows.sort_unstable_by_key(|record| (record.request, record.attempt));
        self.insert(tx, &rows, sums, leases).await
    }

    /// Inserts rows that are taken to be new, moves the sums and the keys' last uses, and commits.
    async fn insert(&self, mut tx: Tx, rows: &[&AttemptRecord], mut sums: Batch, leases: &[Lease]) -> Result<Tried> {
        let inserted = self.bulk.usage.exec(&mut tx, rows, |record, values| record::columns(record, values)).await?;
        if inserted != rows.len() as u64 {
            tx.roll_back().await?;
            return Ok(Tried::Known);
        }
        let mut uses = UseMap::new();
        for record in rows {
            sums.add(record);
            note(&mut uses, record.secret, record.started_at, record.client, record.status != UNAUTHORIZED);
        }
        let days: Vec<_> = sums.days.iter().collect();
        self.bulk.days.exec(&mut tx, &days, |(key, sums), values| day_columns(key, sums, values)).await?;
        let spent: Vec<_> = sums.spent.iter().collect();
        self.bulk
            .spent
            .exec(&mut tx, &spent, |(key, amount), values| values.extend([Value::from(&key.0), Value::from(**amount)]))
            .await?;
        let states = self.store_uses(&mut tx, &uses).await?;
        self.settle_budgets(&mut tx, &sums.costs.unwrap_or_default(), leases).await?;
        tx.commit().await?;
        self.put_in_force(&states);
        Ok(Tried::Stored)
    }
}

/// One record for each attempt: the truth where there is one, the first otherwise.
fn newest(batch: &[AttemptRecord]) -> HashMap<Identity, &AttemptRecord> {
    let mut wanted = HashMap::with_capacity(batch.len());
    for record in batch {
        match wanted.entry((record.request, record.attempt)) {
            Entry::Vacant(place) => drop(place.insert(record)),
            Entry::Occupied(mut place) => {
                let known: &&AttemptRecord = place.get();
                if known.outcome == Outcome::Unresolved {
                    place.insert(record);
                }
            }
        }
    }
    wanted
}

async fn stored_among(tx: &mut Tx, wanted: &HashMap<Identity, &AttemptRecord>) -> Result<Vec<AttemptRecord>> {
    let mut requests: Vec<RequestId> = wanted.keys().map(|(request, _)| *request).collect();
    requests.sort_unstable();
    requests.dedup();
    let mut found = Vec::new();
    for requests in requests.chunks(READ_AT_ONCE) {
        let mut sql = Conditions::new(&format!("SELECT {} FROM usage WHERE TRUE", record::NAMES));
        sql.and_in("request", requests.iter().map(|request| Value::from(&request.0)));
        let (sql, values) = sql.finish("");
        let rows: Vec<StoredRecord> = tx.all(dynamic(sql), values).await?;
        found.extend(rows.into_iter().map(|row| row.0));
    }
    Ok(found)
}

async fn remove_unresolved(tx: &mut Tx, (request, attempt): Identity) -> Result<bool> {
    let removed = tx
        .exec(
            "DELETE FROM usage WHERE request = $1 AND attempt = $2 AND outcome = $3",
            params![&request.0, i64::from(attempt), Outcome::Unresolved as i64],
        )
        .await?;
    Ok(removed == 1)
}

fn jitter(up_to: Duration) -> Result<Duration> {
    let mut byte = [0u8; 1];
    getrandom::fill(&mut byte)?;
    Ok(up_to.mul_f32(f32::from(byte[0]) / 256.0))
}
