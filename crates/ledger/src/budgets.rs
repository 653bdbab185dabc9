//! The budgets that are in memory, by key.

use crate::budget::BudgetCell;
use anykey_core::{KeyId, Nanos};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(crate) struct Budgets {
    cells: RwLock<HashMap<KeyId, Arc<BudgetCell>>>,
    /// Spares calls without budgets the look-up where no key has one. Set under the lock of every writer, before any of
    /// them can settle again, so no charge is missed.
    any: AtomicBool,
}

impl Budgets {
    pub(crate) fn get(&self, key: KeyId) -> Option<Arc<BudgetCell>> {
        self.cells.read().get(&key).cloned()
    }

    /// `limit` is asked under the lock, so that a change of the limit comes either before or finds the cell.
    pub(crate) fn install(&self, key: KeyId, limit: impl FnOnce() -> Nanos, spent: Nanos) -> Arc<BudgetCell> {
        let mut cells = self.cells.write();
        self.any.store(true, Ordering::Release);
        cells.entry(key).or_insert_with(|| BudgetCell::new(key, limit(), spent)).clone()
    }

    pub(crate) fn set_limit(&self, key: KeyId, limit: Nanos) {
        // The write lock, although the map does not change: see `install`.
        if let Some(cell) = self.cells.write().get(&key) {
            cell.set_limit(limit);
        }
    }

    /// Charges a call that held nothing, where its key has a budget by now.
    pub(crate) fn charge(&self, key: KeyId, cost: Nanos) {
        if cost != Nanos::ZERO
            && self.any.load(Ordering::Acquire)
            && let Some(cell) = self.cells.read().get(&key)
        {
            cell.charge(cost);
        }
    }

    /// Drops a budget that nobody holds; the next use loads it again. Returns whether it is gone.
    ///
    /// `unqueued` says whether a cost may be charged already that no queue holds yet; then a load would miss it. It is
    /// asked after it is known that no hold is left, because an intent that is dropped queues first and charges then.
    pub(crate) fn forget(&self, key: KeyId, unqueued: impl FnOnce() -> bool) -> bool {
        let mut cells = self.cells.write();
        let Some(cell) = cells.get_mut(&key) else {
            return true;
        };
        let unused = Arc::get_mut(cell).is_some() && !unqueued();
        if unused {
            cells.remove(&key);
        }
        unused
    }
}
