//! Follows the changes that other replicas commit (PostgreSQL), so that a revocation made there is in force here.
//!
//! The bound: while the database answers, a change elsewhere is in force here one interval (250 ms) and one query later.
//! While it does not answer, keys in memory are trusted for `auth_max_stale` (30 s) and then not at all: `known` says
//! [`crate::Lookup::Ask`], and a caller who cannot be looked up gets 503.

use crate::Store;
use crate::change::Change;
use crate::db::{Db, params};
use crate::error::{Result, StoreError};
use anykey_core::KeyId;
use std::collections::BTreeSet;
use std::sync::Weak;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Changes that are read in one query.
const AT_ONCE: i64 = 1_000;
/// How long changes stay in the feed. A replica that was away longer reads everything that it keeps anew.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Half of it, so that clocks that differ a little do no harm.
const MISSED: Duration = Duration::from_secs(30 * 60);
/// How often old changes are thrown out.
const SWEEP: Duration = Duration::from_secs(10 * 60);
/// A query that takes longer counts as no answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Until when keys in memory are trusted, and how far the feed was read.
pub(crate) struct Freshness {
    /// When the database last answered, by the wall clock; `i64::MAX` where memory cannot get old, `i64::MIN` where it is
    /// known to be.
    answered_at: AtomicI64,
    /// The last change that was read.
    seq: AtomicI64,
    max_stale_ms: i64,
}

impl Freshness {
    /// The clock may jump, so the follower also counts by one that does not and says so with [`Freshness::expire`].
    pub fn is_stale(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.answered_at.load(Ordering::Relaxed)) > self.max_stale_ms
    }

    fn renew(&self, now_ms: i64) {
        self.answered_at.store(now_ms, Ordering::Relaxed);
    }

    fn expire(&self) {
        self.answered_at.store(i64::MIN, Ordering::Relaxed);
    }
}

/// Where the feed begins for a process that starts now with nothing in memory.
pub(crate) async fn start_point(db: &Db, max_stale: Duration) -> Result<Freshness> {
    let seq = if db.is_postgres() {
        let last: Option<(i64,)> = db.one("SELECT COALESCE(MAX(seq), 0) FROM change", params![]).await?;
        last.map_or(0, |(seq,)| seq)
    } else {
        0
    };
    Ok(Freshness {
        answered_at: AtomicI64::new(if db.is_postgres() { i64::MIN } else { i64::MAX }),
        seq: AtomicI64::new(seq),
        max_stale_ms: i64::try_from(max_stale.as_millis()).unwrap_or(i64::MAX),
    })
}

pub(crate) async fn follow(store: Weak<Store>, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut follower = Follower { answered: Instant::now(), swept: Instant::now(), away: false };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(store) = store.upgrade() else { return };
        follower.round(&store).await;
    }
}

struct Follower {
    answered: Instant,
    swept: Instant,
    /// Whether the last round got no answer; said once, not every time.
    away: bool,
}

impl Follower {
    async fn round(&mut self, store: &Store) {
        let missed = self.answered.elapsed() > MISSED;
        let read = tokio::time::timeout(PATIENCE, async {
            if missed { store.read_everything().await } else { store.read_feed().await }
        });
        match read.await.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into()))) {
            Ok(()) => {
                if std::mem::take(&mut self.away) {
                    tracing::info!("the database answers again");
                }
                self.answered = Instant::now();
                self.sweep(store).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(%error, "changes of other replicas cannot be read");
                }
                let max_stale = Duration::from_millis(store.freshness.max_stale_ms.unsigned_abs());
                if self.answered.elapsed() > max_stale {
                    store.freshness.expire();
                }
            }
        }
    }

    async fn sweep(&mut self, store: &Store) {
        if self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        let until = store.now() - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        if let Err(error) = store.db.exec("DELETE FROM change WHERE at < $1", params![until]).await {
            tracing::warn!(%error, "old changes could not be thrown out");
        }
        if let Err(error) = store.sweep_windows().await {
            tracing::warn!(%error, "old windows of budgets could not be thrown out");
        }
    }
}

impl Store {
    /// Reads what was changed since the last time and puts it in force.
    pub(crate) async fn read_feed(&self) -> Result<()> {
        loop {
            // Taken before the query: what is committed after it is not covered by it.
            let now = self.now();
            let after = self.freshness.seq.load(Ordering::Relaxed);
            let rows: Vec<(i64, String, Vec<u8>)> = self
                .db
                .all("SELECT seq, kind, id FROM change WHERE seq > $1 ORDER BY seq LIMIT $2", params![after, AT_ONCE])
                .await?;
            self.put_changes_in_force(rows.iter().filter_map(|(_, kind, id)| Change::read(kind, id))).await?;
            if let Some((seq, _, _)) = rows.last() {
                self.freshness.seq.store(*seq, Ordering::Relaxed);
            }
            if (rows.len() as i64) < AT_ONCE {
                self.freshness.renew(now);
                return Ok(());
            }
        }
    }

    async fn put_changes_in_force(&self, changes: impl Iterator<Item = Change>) -> Result<()> {
        let mut keys = BTreeSet::new();
        let mut levels = BTreeSet::new();
        let mut routing = false;
        for change in changes {
            match change {
                Change::Key(id) => drop(keys.insert(id)),
                Change::Level(id) => drop(levels.insert(id)),
                Change::Imported => self.cache.forget_unknown(),
                Change::Routing => routing = true,
            }
        }
        self.reread_levels(levels).await?;
        let keys: Vec<KeyId> = keys.into_iter().collect();
        for state in self.key_states(&keys).await? {
            self.cache.changed(&state, self.now());
        }
        if routing {
            self.rebuild_snapshot().await?;
        }
        Ok(())
    }

    /// For a replica that missed changes: everything in memory is read anew.
    async fn read_everything(&self) -> Result<()> {
        let last: Option<(i64,)> = self.db.one("SELECT COALESCE(MAX(seq), 0) FROM change", params![]).await?;
        self.cache.forget_unknown();
        self.reread_levels(self.cache.levels.ids()).await?;
        let keys: Vec<KeyId> = self.cache.ids().into_iter().collect();
        for state in self.key_states(&keys).await? {
            self.cache.changed(&state, self.now());
        }
        self.rebuild_snapshot().await?;
        self.freshness.seq.store(last.map_or(0, |(seq,)| seq), Ordering::Relaxed);
        self.read_feed().await
    }
}
