//! The budgets that are in memory, by whose they are.

use crate::budget::{BudgetCell, Hold};
use anykey_core::spend::SPANS;
use anykey_core::{BudgetId, Nanos, Payers, Subject, Window};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The budgets of one payer, by span; of each span only the newest window.
type Cells = [Option<Arc<BudgetCell>>; SPANS];

#[derive(Default)]
pub(crate) struct Budgets {
    cells: RwLock<HashMap<Subject, Cells>>,
    /// Spares calls without budgets the look-up where nobody has one. Set under the lock of every writer, before any of
    /// them can settle again, so no charge is missed.
    any: AtomicBool,
}

impl Budgets {
    /// The budget of the window that a moment lies in.
    pub(crate) fn get(&self, id: BudgetId, at: i64) -> Option<Arc<BudgetCell>> {
        self.newest(id).filter(|cell| cell.window().contains(at))
    }

    fn newest(&self, id: BudgetId) -> Option<Arc<BudgetCell>> {
        self.cells.read().get(&id.subject)?[id.span as usize].clone()
    }

    /// `make` is asked under the lock, so that a change of the limit comes either before or finds the cell. A window takes
    /// the place of an older one, whose holds end where they were taken.
    pub(crate) fn install(
        &self,
        id: BudgetId,
        window: Window,
        make: impl FnOnce() -> Arc<BudgetCell>,
    ) -> Arc<BudgetCell> {
        let mut cells = self.cells.write();
        self.any.store(true, Ordering::Release);
        let place = &mut cells.entry(id.subject).or_default()[id.span as usize];
        match place {
            Some(cell) if cell.window().start >= window.start => cell.clone(),
            _ => place.insert(make()).clone(),
        }
    }

    pub(crate) fn set_limit(&self, id: BudgetId, limit: Nanos) {
        // The write lock, although the map does not change: see `install`.
        let cells = self.cells.write();
        if let Some(cell) = cells.get(&id.subject).and_then(|cells| cells[id.span as usize].as_ref()) {
            cell.set_limit(limit);
        }
    }

    /// Charges a call to those of its payers' budgets that it holds nothing of: they came into memory while it ran.
    pub(crate) fn charge(&self, payers: &Payers, began: i64, cost: Nanos, held: Option<&Hold>) {
        if cost == Nanos::ZERO || !self.any.load(Ordering::Acquire) {
            return;
        }
        let cells = self.cells.read();
        for cell in payers.subjects().filter_map(|payer| cells.get(&payer)).flatten().flatten() {
            if cell.window().contains(began) && !held.is_some_and(|hold| hold.is_of(cell)) {
                cell.charge(cost);
            }
        }
    }

    /// Drops a shared budget that nobody uses and nothing is leased of; `ours` is the one other place that knows it. Returns
    /// whether that is the last.
    pub(crate) fn let_go(&self, ours: &Arc<BudgetCell>) -> bool {
        let mut cells = self.cells.write();
        let place = cells.get_mut(&ours.id().subject).map(|cells| &mut cells[ours.id().span as usize]);
        let here = place.filter(|place| place.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, ours)));
        let known = 1 + usize::from(here.is_some());
        let unused = ours.is_idle() && Arc::strong_count(ours) == known;
        if let Some(place) = here.filter(|_| unused) {
            *place = None;
        }
        unused
    }

    /// Drops a budget that nobody holds; the next use loads it again. Returns whether it is gone.
    ///
    /// `unqueued` says whether a cost may be charged already that no queue holds yet; then a load would miss it. It is
    /// asked after it is known that no hold is left, because an intent that is dropped queues first and charges then.
    pub(crate) fn forget(&self, id: BudgetId, unqueued: impl FnOnce() -> bool) -> bool {
        let mut cells = self.cells.write();
        let Some(place) = cells.get_mut(&id.subject).map(|cells| &mut cells[id.span as usize]) else {
            return true;
        };
        let Some(cell) = place else { return true };
        let unused = Arc::get_mut(cell).is_some() && !unqueued();
        if unused {
            *place = None;
        }
        unused
    }
}
