//! Books in memory that keep the contract of [`crate::Books`] and fail before or after a commit on demand.

use crate::{Books, BooksError};
use anykey_core::lease::Lease;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{BudgetId, KeyId, Nanos, Payers, RequestId, Window};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// What happens to the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    /// Nothing was stored.
    FailsBefore,
    /// It was stored, and the answer was lost.
    FailsAfter,
}

#[derive(Default)]
pub(crate) struct FakeBooks {
    pub away: AtomicBool,
    fates: Mutex<VecDeque<Fate>>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    rows: BTreeMap<(RequestId, u8), AttemptRecord>,
    spent: HashMap<KeyId, i64>,
    payers: HashMap<KeyId, Payers>,
    /// How often a row was inserted or replaced an unresolved one.
    changes: usize,
    reads: usize,
    batches: Vec<usize>,
}

impl FakeBooks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn will(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().extend(fates);
    }

    pub(crate) fn will_only_store(&self) {
        self.fates.lock().clear();
    }

    pub(crate) fn rows(&self) -> BTreeMap<(RequestId, u8), AttemptRecord> {
        self.tables.lock().rows.clone()
    }

    pub(crate) fn changes(&self) -> usize {
        self.tables.lock().changes
    }

    pub(crate) fn reads(&self) -> usize {
        self.tables.lock().reads
    }

    /// Says who pays for a key's calls beside itself.
    pub(crate) fn payers_are(&self, payers: Payers) {
        self.tables.lock().payers.insert(payers.key, payers);
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.tables.lock().batches.clone()
    }

    /// Checks the sums against the rows.
    pub(crate) fn assert_balanced(&self) {
        let tables = self.tables.lock();
        let mut sums: HashMap<KeyId, i64> = HashMap::new();
        for row in tables.rows.values() {
            *sums.entry(row.key).or_default() += row.cost.unwrap_or_default().0;
        }
        assert_eq!(sums, tables.spent);
    }
}

impl Tables {
    fn insert(&mut self, record: &AttemptRecord) {
        let id = (record.request, record.attempt);
        let before = match self.rows.get(&id) {
            Some(old) if old.outcome != Outcome::Unresolved || record.outcome == Outcome::Unresolved => {
                return;
            }
            Some(old) => old.cost.unwrap_or_default().0,
            None => 0,
        };
        *self.spent.entry(record.key).or_default() += record.cost.unwrap_or_default().0 - before;
        self.rows.insert(id, record.clone());
        self.changes += 1;
    }
}

impl Books for FakeBooks {
    async fn apply(&self, batch: &[AttemptRecord], _: &[Lease]) -> Result<(), BooksError> {
        if self.away.load(SeqCst) {
            return Err(BooksError::new("away"));
        }
        let fate = self.fates.lock().pop_front().unwrap_or(Fate::Stored);
        if fate != Fate::FailsBefore {
            let mut tables = self.tables.lock();
            batch.iter().for_each(|r| tables.insert(r));
            tables.batches.push(batch.len());
        }
        if fate == Fate::Stored { Ok(()) } else { Err(BooksError::new(format!("{fate:?}"))) }
    }

    async fn spent(&self, id: BudgetId, window: Window) -> Result<Nanos, BooksError> {
        if self.away.load(SeqCst) {
            return Err(BooksError::new("away"));
        }
        let mut tables = self.tables.lock();
        tables.reads += 1;
        let pays = |row: &AttemptRecord| {
            let payers = tables.payers.get(&row.key).copied().unwrap_or(row.key.into());
            window.contains(row.started_at) && payers.include(id.subject)
        };
        let costs = tables.rows.values().filter(|row| pays(row)).map(|row| row.cost.unwrap_or_default().0);
        Ok(Nanos(costs.sum()))
    }
}
