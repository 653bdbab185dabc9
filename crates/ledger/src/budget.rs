//! A budget in memory: what somebody may spend in a window of time, has spent, and has promised to calls that are running.
//!
//! One atomic integer decides: `free = limit - spent - held`. A hold is granted by compare-and-swap only where `free`
//! covers it, so `spent + held <= limit` at every grant, whatever runs beside it.

use anykey_core::{BudgetId, Nanos, Window};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

/// The budget of a key, or of somebody above it, in one window of time. What a call costs belongs to the window in which it
/// began, whenever it ends.
///
/// `free` may fall below zero: by an actual cost above its hold, or by a limit that was lowered. Then nothing is granted
/// until it is positive again.
#[derive(Debug)]
pub struct BudgetCell {
    id: BudgetId,
    window: Window,
    free: AtomicI64,
    spent: AtomicI64,
    held: AtomicI64,
    /// Only taken to change or show the limit; never to grant.
    limit: Mutex<Nanos>,
}

/// A budget's figures, for showing. Read one after the other, so they may be a call apart while calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetState {
    pub limit: Nanos,
    pub spent: Nanos,
    pub held: Nanos,
    /// Below zero where more was spent than the limit, which happens when the limit is lowered.
    pub free: Nanos,
}

impl BudgetCell {
    pub(crate) fn new(id: BudgetId, window: Window, limit: Nanos, spent: Nanos) -> Arc<Self> {
        let limit = limit.max(Nanos::ZERO);
        Arc::new(BudgetCell {
            id,
            window,
            free: AtomicI64::new(limit.0.saturating_sub(spent.0)),
            spent: AtomicI64::new(spent.0),
            held: AtomicI64::new(0),
            limit: Mutex::new(limit),
        })
    }

    pub fn id(&self) -> BudgetId {
        self.id
    }

    pub fn window(&self) -> Window {
        self.window
    }

    /// Takes the worst-case cost of an attempt out of what is free, or nothing.
    pub fn try_hold(self: &Arc<Self>, amount: Nanos) -> Option<Hold> {
        self.try_hold_beyond(amount, Nanos::ZERO)
    }

    /// The same where so much may be spent beyond the limit. It is said with each hold and changes nothing of the budget,
    /// so that of two calls at the end of an increase each finds what its own beginning allows.
    pub fn try_hold_beyond(self: &Arc<Self>, amount: Nanos, extra: Nanos) -> Option<Hold> {
        self.take(amount, extra).then(|| Hold { cell: self.clone(), amount, extra, open: true, above: None })
    }

    /// Moves an amount from what is free to what is held, where it covers it.
    fn take(&self, amount: Nanos, extra: Nanos) -> bool {
        if amount.0 < 0 {
            return false;
        }
        let needed = amount.0.saturating_sub(extra.0.max(0));
        let mut free = self.free.load(Acquire);
        while free >= needed {
            match self.free.compare_exchange_weak(free, free.saturating_sub(amount.0), AcqRel, Acquire) {
                Ok(_) => {
                    self.held.fetch_add(amount.0, Relaxed);
                    return true;
                }
                Err(now) => free = now,
            }
        }
        false
    }

    /// Changes the limit, in force for every grant after this returns. Below what is spent and held it only stops new
    /// grants; nothing that runs is cut.
    pub fn set_limit(&self, limit: Nanos) {
        let limit = limit.max(Nanos::ZERO);
        let mut current = self.limit.lock();
        // Both are at least zero, so their difference always fits.
        self.move_free(limit.0 - current.0);
        *current = limit;
    }

    pub fn limit(&self) -> Nanos {
        *self.limit.lock()
    }

    /// What is neither spent nor held.
    pub fn free(&self) -> Nanos {
        Nanos(self.free.load(Acquire))
    }

    pub fn state(&self) -> BudgetState {
        BudgetState {
            limit: self.limit(),
            spent: Nanos(self.spent.load(Acquire)),
            held: Nanos(self.held.load(Acquire)),
            free: Nanos(self.free.load(Acquire)),
        }
    }

    /// Charges a cost that nothing was held for: of a call that was admitted before the budget was watched.
    pub(crate) fn charge(&self, actual: Nanos) {
        self.close_hold(Nanos::ZERO, actual);
    }

    /// Replaces a hold by an actual cost.
    fn close_hold(&self, hold: Nanos, actual: Nanos) {
        let actual = actual.max(Nanos::ZERO);
        // Both are at least zero, so their difference always fits.
        self.move_free(hold.0 - actual.0);
        add(&self.spent, actual.0);
        self.held.fetch_sub(hold.0, Relaxed);
    }

    fn move_free(&self, by: i64) {
        add(&self.free, by);
    }
}

/// Adds without wrapping. At the lower end it sticks, which refuses; the upper end cannot be reached, because nothing is
/// freed that was not taken from a limit before.
fn add(cell: &AtomicI64, by: i64) {
    if by == 0 {
        return;
    }
    let mut now = cell.load(Acquire);
    while let Err(other) = cell.compare_exchange_weak(now, now.saturating_add(by), AcqRel, Acquire) {
        now = other;
    }
}

/// Money held for one attempt. Dropped without [`Hold::release`] or a settle, it is charged in full: nobody knows what
/// the attempt cost, and the hold is the most that it may have.
#[must_use = "a hold that is dropped is charged in full"]
#[derive(Debug)]
pub struct Hold {
    cell: Arc<BudgetCell>,
    amount: Nanos,
    /// What may be spent beyond the limit, as it was when the call began.
    extra: Nanos,
    open: bool,
    /// The hold on the budget above, which ends as this one does.
    above: Option<Box<Hold>>,
}

impl Hold {
    /// Whether money is held of this very budget, here or above.
    pub(crate) fn is_of(&self, cell: &Arc<BudgetCell>) -> bool {
        Arc::ptr_eq(&self.cell, cell) || self.above.as_ref().is_some_and(|above| above.is_of(cell))
    }

    pub fn amount(&self) -> Nanos {
        self.amount
    }

    /// Binds another hold to this one: whatever becomes of this one becomes of both.
    pub fn under(mut self, above: Hold) -> Hold {
        debug_assert!(self.above.is_none(), "a hold is under one other");
        self.above = Some(Box::new(above));
        self
    }

    /// Sets so much more aside, of this budget and of all above it or of none, for an attempt that outgrows what it was
    /// thought to cost at most.
    pub fn extend(&mut self, by: Nanos) -> bool {
        let amount = Nanos(self.amount.0.saturating_add(by.0.max(0)));
        if !self.open || !self.cell.take(by, self.extra) {
            return false;
        }
        if self.above.as_mut().is_some_and(|above| !above.extend(by)) {
            self.cell.close_hold(by, Nanos::ZERO);
            return false;
        }
        self.amount = amount;
        true
    }

    /// Undoes [`Hold::extend`].
    pub(crate) fn shrink(&mut self, by: Nanos) {
        if self.open {
            self.amount = Nanos(self.amount.0 - by.0);
            self.cell.close_hold(by, Nanos::ZERO);
        }
        if let Some(above) = &mut self.above {
            above.shrink(by);
        }
    }

    /// Gives the money back: for an attempt that was never sent.
    pub fn release(mut self) {
        self.close(Nanos::ZERO);
    }

    /// Charges it in full; it is kept to tell which budgets that was.
    pub(crate) fn charge_all(&mut self) {
        self.close(self.amount);
    }

    /// Charges the actual cost and gives the rest back. Returns by how much the cost is above the hold.
    pub fn settle(mut self, actual: Nanos) -> Nanos {
        self.close(actual);
        Nanos(actual.0.saturating_sub(self.amount.0).max(0))
    }

    fn close(&mut self, actual: Nanos) {
        if std::mem::take(&mut self.open) {
            self.cell.close_hold(self.amount, actual);
        }
        if let Some(above) = &mut self.above {
            above.close(actual);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.close(self.amount);
    }
}
