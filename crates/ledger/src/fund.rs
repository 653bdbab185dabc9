//! Funding: brings a budget into memory, and leases of a shared one what a call needs. Part of the flusher's work, between
//! two batches: there the books and the queues are disjoint and complete.

use crate::books::BooksError;
use crate::budget::{BudgetCell, Hold, Unsent};
use crate::flush::Flusher;
use crate::lease::Leased;
use anykey_core::lease::{Ask, Lease, Loan};
use anykey_core::{BudgetId, Nanos, Window};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often those who wait for others to give back are looked after, and how long they wait.
pub(crate) const AGAIN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often a budget is asked for more while others here take what was granted.
const TRIES: usize = 8;

/// A budget that is to be brought into memory, or to be funded for a call.
pub(crate) struct Fund {
    pub id: BudgetId,
    pub window: Window,
    pub limit: Box<dyn Fn() -> Nanos + Send + Sync>,
    /// What to hold of it, and how much beyond the limit that may go.
    pub wanted: Option<(Nanos, Nanos)>,
    pub patience: Patience,
    pub answer: oneshot::Sender<Result<Funded, BooksError>>,
}

/// How long others have been waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    until: Option<Instant>,
    /// When it was refused first, by the clock of the books.
    since: Option<i64>,
}

/// What came of it.
#[derive(Debug)]
pub enum Funded {
    /// It is in memory; nothing was to be held of it.
    Loaded(Arc<BudgetCell>),
    Held(Unsent),
    /// There is not enough: so much could be held at most.
    Short(Arc<BudgetCell>, Nanos),
    /// There may be enough, but others have it and did not give it back in time.
    Elsewhere(Arc<BudgetCell>),
}

impl Fund {
    pub(crate) fn refuse(self, why: &BooksError) {
        let _ = self.answer.send(Err(why.clone()));
    }
}

/// What a try came to.
enum Tried {
    Held(Hold),
    Short(Nanos),
    /// Others have been asked.
    Wait,
}

impl Flusher {
    pub(crate) fn take_funds(&mut self) -> Vec<Fund> {
        let mut funds = std::mem::take(&mut self.waiting);
        funds.append(&mut self.requests.take_funds());
        funds
    }

    pub(crate) async fn fund(&mut self, mut fund: Fund) {
        if fund.answer.is_closed() {
            return;
        }
        let limit = std::mem::replace(&mut fund.limit, Box::new(|| Nanos::ZERO));
        let cell = match self.load(fund.id, fund.window, limit).await {
            Ok(cell) => cell,
            Err(why) => return fund.refuse(&why),
        };
        let Some((amount, extra)) = fund.wanted else {
            let _ = fund.answer.send(Ok(Funded::Loaded(cell)));
            return;
        };
        let funded = match self.hold(&cell, amount, extra, &mut fund.patience).await {
            Err(why) => return fund.refuse(&why),
            Ok(Tried::Held(hold)) => Funded::Held(hold.into()),
            Ok(Tried::Short(most)) => Funded::Short(cell, most),
            Ok(Tried::Wait) => {
                let until = *fund.patience.until.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() < until {
                    let kept = cell.clone();
                    self.waiting.push(Fund { limit: Box::new(move || kept.limit()), ..fund });
                    return;
                }
                Funded::Elsewhere(cell)
            }
        };
        // Who asked may be gone; then what was held is given back.
        let _ = fund.answer.send(Ok(funded));
    }

    /// What somebody has spent is what the books say, and what waits in the queues. Between batches the two are disjoint and
    /// complete; the queues stand still while the budget is put in place, and every later settle finds it.
    async fn load(
        &mut self,
        id: BudgetId,
        window: Window,
        limit: Box<dyn Fn() -> Nanos + Send + Sync>,
    ) -> Result<Arc<BudgetCell>, BooksError> {
        let shared = self.books.is_shared();
        if shared && let Some(leased) = self.leases.get(id, window) {
            return Ok(leased.cell.clone());
        }
        if !shared && let Some(cell) = self.journal.budgets.get(id, window.start) {
            return Ok(cell);
        }
        let nothing = Lease { id, window, amount: Nanos::ZERO, is_firm: false };
        let stored = if shared {
            let look = Ask { kept: nothing, limit: Nanos::ZERO, least: Nanos::ZERO, most: Nanos::ZERO, since: None };
            self.books.lease(&look).await?.standing.spent
        } else {
            self.books.spent(id, window).await?
        };
        let (cell, queued) = self.journal.with_all_queues(|queued| {
            let queued = queued
                .filter(|(r, homes)| window.contains(r.started_at) && homes.payers.include(id.subject))
                .fold(Nanos::ZERO, |sum, (r, _)| sum.saturating_add(r.cost.unwrap_or_default()));
            let spent = stored.saturating_add(queued);
            let make = if shared { BudgetCell::shared } else { BudgetCell::new };
            (self.journal.budgets.install(id, window, || make(id, window, limit(), spent)), queued)
        });
        // A newer window may be in its place already; then the call spends from that one.
        if shared && self.leases.get(id, cell.window()).is_none() {
            let kept = self.leases.add(&cell, stored, queued).lease();
            if queued > Nanos::ZERO {
                self.books.apply(&[], &[kept]).await?;
            }
        }
        Ok(cell)
    }

    /// Holds what a call needs, and leases it first where it is not here.
    async fn hold(
        &mut self,
        cell: &Arc<BudgetCell>,
        amount: Nanos,
        extra: Nanos,
        patience: &mut Patience,
    ) -> Result<Tried, BooksError> {
        for _ in 0..TRIES {
            if let Some(hold) = cell.try_hold_beyond(amount, extra) {
                return Ok(Tried::Held(hold));
            }
            let Some(leased) = self.leases.get(cell.id(), cell.window()).filter(|_| amount >= Nanos::ZERO) else {
                return Ok(Tried::Short(cell.free().saturating_add(extra)));
            };
            let limit = cell.limit();
            let mut ask = leased.ask(limit, missing(cell, amount), patience.since);
            if extra == Nanos::ZERO
                && let Some(refused) = leased.refused(&ask)
            {
                let most = cell.free().saturating_add(refused.left);
                return Ok(if refused.may_come { Tried::Wait } else { Tried::Short(most) });
            }
            let mut loan = self.books.lease(&ask).await.inspect_err(|_| leased.doubt())?;
            leased.granted(&ask, &loan);
            if loan.granted > Nanos::ZERO {
                cell.grant(loan.granted, limit);
                continue;
            }
            if extra > Nanos::ZERO {
                // Under the higher limit, for this call alone.
                ask = Ask { limit: limit.saturating_add(extra), most: ask.least, ..ask };
                loan = self.books.lease(&ask).await.inspect_err(|_| leased.doubt())?;
                leased.granted(&ask, &loan);
                if loan.granted > Nanos::ZERO {
                    match cell.hold_once(amount, loan.granted) {
                        Some(hold) => return Ok(Tried::Held(hold)),
                        None => continue,
                    }
                }
            }
            patience.since.get_or_insert(loan.standing.now);
            return Ok(refused(leased, &ask, &loan));
        }
        Ok(Tried::Wait)
    }

    /// Leases ahead of need, and gives back what nobody needs. If the books are away, calls go on with what is here.
    pub(crate) async fn keep_leases(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        for (id, window) in self.leases.running_low() {
            let Some(leased) = self.leases.get(id, window) else { continue };
            let limit = leased.cell.limit();
            let ask = leased.ask_ahead(limit);
            let Ok(loan) = self.books.lease(&ask).await else { return leased.doubt() };
            leased.granted(&ask, &loan);
            leased.cell.grant(loan.granted, limit);
        }
        let now = Instant::now();
        let smaller = self.leases.give_back(now);
        if !smaller.is_empty() && self.books.apply(&[], &smaller).await.is_err() {
            // Said again with the next batch or the next time: what was given up is nobody's until then.
            self.leases.doubt(&smaller);
        }
        let budgets = &self.journal.budgets;
        self.leases.forget(now, |cell| budgets.let_go(cell));
    }

    /// At the end everything that no call needs goes back.
    pub(crate) async fn close_leases(&mut self) {
        self.leases.yield_all();
        let smaller = self.leases.give_back(Instant::now());
        if !smaller.is_empty()
            && let Err(why) = self.books.apply(&[], &smaller).await
        {
            tracing::warn!(error = %why, "leases could not be given back; the next start does it");
        }
    }

    /// Gives up what others wait for.
    pub(crate) async fn heed_others(&mut self) {
        let Ok(wanted) = self.books.recalled().await else { return };
        let smaller = self.leases.recall(&wanted);
        if !smaller.is_empty() && self.books.apply(&[], &smaller).await.is_err() {
            self.leases.doubt(&smaller);
        }
    }
}

/// What a hold needs beyond what is free.
fn missing(cell: &BudgetCell, amount: Nanos) -> Nanos {
    Nanos(amount.0.saturating_sub(cell.free().0.max(0)).max(1))
}

/// Why there is nothing to hold: it is used up, or others have been asked for what they do not need.
fn refused(leased: &Leased, ask: &Ask, loan: &Loan) -> Tried {
    if ask.may_come(loan.standing) {
        return Tried::Wait;
    }
    Tried::Short(leased.cell.free().saturating_add(ask.left_after(loan)))
}
