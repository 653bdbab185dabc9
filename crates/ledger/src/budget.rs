//! A budget in memory: what somebody may spend in a window of time, has spent, and has promised to calls that are running.
//!
//! One atomic integer decides: `free`. A hold is granted by compare-and-swap only where `free` covers it. Where this
//! process alone spends, `free = limit - spent - held`, so `spent + held <= limit` at every grant, whatever runs beside it.
//! Where others spend too, `free` is what is left of the lease ([`crate::lease`]).

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
    /// Whether other processes spend from it too, so that only what was leased is free.
    shared: bool,
    free: AtomicI64,
    spent: AtomicI64,
    held: AtomicI64,
    /// What others had leased when the books were last asked; for showing.
    elsewhere: AtomicI64,
    /// Of a shared budget: leased, not free any more, and on its way back to the books.
    surplus: AtomicI64,
    /// Only taken to change or show the limit; never to grant.
    limit: Mutex<Nanos>,
}

/// A budget's figures, for showing. Read one after the other, so they may be a call apart while calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetState {
    pub limit: Nanos,
    pub spent: Nanos,
    /// Set aside for calls that are running, and for other processes.
    pub held: Nanos,
    /// Below zero where more was spent than the limit, which happens when the limit is lowered.
    pub free: Nanos,
}

impl BudgetCell {
    /// A budget that this process alone spends from.
    pub(crate) fn new(id: BudgetId, window: Window, limit: Nanos, spent: Nanos) -> Arc<Self> {
        let limit = limit.max(Nanos::ZERO);
        Arc::new(Self::with(id, window, limit, spent, limit.saturating_sub(spent), false))
    }

    /// One that others spend from too: nothing is free before it is leased.
    pub(crate) fn shared(id: BudgetId, window: Window, limit: Nanos, spent: Nanos) -> Arc<Self> {
        Arc::new(Self::with(id, window, limit.max(Nanos::ZERO), spent, Nanos::ZERO, true))
    }

    fn with(id: BudgetId, window: Window, limit: Nanos, spent: Nanos, free: Nanos, shared: bool) -> Self {
        BudgetCell {
            id,
            window,
            shared,
            free: AtomicI64::new(free.0),
            spent: AtomicI64::new(spent.0),
            held: AtomicI64::new(0),
            elsewhere: AtomicI64::new(0),
            surplus: AtomicI64::new(0),
            limit: Mutex::new(limit),
        }
    }

    pub fn id(&self) -> BudgetId {
        self.id
    }

    pub fn window(&self) -> Window {
        self.window
    }

    /// Whether more than what is free may be had by asking: [`crate::Ledger::fund`].
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Takes the worst-case cost of an attempt out of what is free, or nothing.
    pub fn try_hold(self: &Arc<Self>, amount: Nanos) -> Option<Hold> {
        self.try_hold_beyond(amount, Nanos::ZERO)
    }

    /// The same where so much may be spent beyond the limit. It is said with each hold and changes nothing of the budget,
    /// so that of two calls at the end of an increase each finds what its own beginning allows. Of a shared budget only
    /// what is leased can be held, whatever the limit.
    pub fn try_hold_beyond(self: &Arc<Self>, amount: Nanos, extra: Nanos) -> Option<Hold> {
        self.take(amount, extra).then(|| Hold {
            cell: self.clone(),
            amount,
            extra,
            open: true,
            once: false,
            above: None,
        })
    }

    /// Moves an amount from what is free to what is held, where it covers it.
    fn take(&self, amount: Nanos, extra: Nanos) -> bool {
        if amount.0 < 0 {
            return false;
        }
        let needed = if self.shared { amount.0 } else { amount.0.saturating_sub(extra.0.max(0)) };
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
        match self.shared {
            // Both are at least zero, so their difference always fits.
            false => self.move_free(limit.0 - current.0),
            // What was leased under the higher limit may be more than the lower one has left.
            true if limit < *current => self.yield_free(),
            true => {}
        }
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
            held: Nanos(self.held.load(Acquire).saturating_add(self.elsewhere.load(Acquire))),
            free: Nanos(self.free.load(Acquire)),
        }
    }

    /// Charges a cost that nothing was held for: of a call that was admitted before the budget was watched.
    pub(crate) fn charge(&self, actual: Nanos) {
        self.close_hold(Nanos::ZERO, actual, false);
    }

    /// Replaces a hold by an actual cost. What is left of a lease for `once` is for no other call.
    fn close_hold(&self, hold: Nanos, actual: Nanos, once: bool) {
        let actual = actual.max(Nanos::ZERO);
        // Both are at least zero, so their difference always fits.
        let left = hold.0 - actual.0;
        if once && left > 0 {
            add(&self.surplus, left);
        } else {
            self.move_free(left);
        }
        add(&self.spent, actual.0);
        self.held.fetch_sub(hold.0, Relaxed);
    }

    fn move_free(&self, by: i64) {
        add(&self.free, by);
    }
}

/// The side of a shared budget that the keeper of leases sees.
impl BudgetCell {
    /// Makes more of it free: a lease was granted under a limit. If that was lowered meanwhile, the lease goes back.
    pub(crate) fn grant(&self, amount: Nanos, limit: Nanos) {
        let current = self.limit.lock();
        if *current < limit {
            add(&self.surplus, amount.0);
        } else {
            self.move_free(amount.0);
        }
    }

    /// Takes a hold out of a lease that was granted for it, and of what is free.
    pub(crate) fn hold_once(self: &Arc<Self>, amount: Nanos, granted: Nanos) -> Option<Hold> {
        let of_free = amount.saturating_sub(granted).max(Nanos::ZERO);
        let Some(mut hold) = self.try_hold(of_free) else {
            add(&self.surplus, granted.0);
            return None;
        };
        self.held.fetch_add(amount.0 - of_free.0, Relaxed);
        hold.amount = amount;
        hold.once = true;
        Some(hold)
    }

    /// Gives up all that is free.
    pub(crate) fn yield_free(&self) {
        let free = self.free.fetch_update(AcqRel, Acquire, |free| (free > 0).then_some(0)).unwrap_or_default();
        add(&self.surplus, free.max(0));
    }

    /// What was given up since the last time.
    pub(crate) fn take_surplus(&self) -> Nanos {
        Nanos(self.surplus.swap(0, AcqRel))
    }

    /// Forgives what was spent beyond all that was leased: it is in the books or on its way there, and counts in the limit.
    /// Returns how much that was.
    pub(crate) fn forgive(&self) -> Nanos {
        let debt = self.free.fetch_update(AcqRel, Acquire, |free| (free < 0).then_some(0)).unwrap_or_default();
        Nanos(debt.saturating_neg().max(0))
    }

    /// What the books say of others: what they spent since the last time, and what they have leased.
    pub(crate) fn hear(&self, spent: Nanos, leased: Nanos) {
        add(&self.spent, spent.0);
        self.elsewhere.store(leased.0, Relaxed);
    }

    /// Whether nothing of it is held, free or on its way back.
    pub(crate) fn is_idle(&self) -> bool {
        [&self.held, &self.free, &self.surplus].iter().all(|figure| figure.load(Acquire) == 0)
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
    /// Whether what is left of it is for no other call, for it was leased under a limit that holds for this one alone.
    once: bool,
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
            self.cell.close_hold(by, Nanos::ZERO, false);
            return false;
        }
        self.amount = amount;
        true
    }

    /// Undoes [`Hold::extend`].
    pub(crate) fn shrink(&mut self, by: Nanos) {
        if self.open {
            self.amount = Nanos(self.amount.0 - by.0);
            self.cell.close_hold(by, Nanos::ZERO, false);
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
            self.cell.close_hold(self.amount, actual, self.once);
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

/// Money held for an attempt that is not decided yet. Dropped, it is given back.
#[must_use = "what is not taken is given back"]
#[derive(Debug, Default)]
pub struct Unsent(Option<Hold>);

impl Unsent {
    /// Adds the hold on another budget; all of them end together.
    pub fn add(&mut self, hold: Hold) {
        self.0 = Some(match self.0.take() {
            Some(above) => hold.under(above),
            None => hold,
        });
    }

    /// All that is held, if anything is: the attempt will be sent.
    pub fn take(mut self) -> Option<Hold> {
        self.0.take()
    }
}

impl From<Hold> for Unsent {
    fn from(hold: Hold) -> Self {
        Unsent(Some(hold))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Hold::release);
    }
}
