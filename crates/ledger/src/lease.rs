//! Leases: what this process keeps of a budget that other processes spend from too. The books grant them, in one statement
//! that sees all that is spent and all that is leased; from then on calls hold money in memory alone.
//!
//! For each lease `kept = free + held + given up + spent and not stored`. A hold or its end moves money between these, so
//! `kept` changes only here, between two batches: by a grant, by a batch that is stored, by what is given back. What the
//! books are told is `kept` itself and never a difference, so that it can be said twice.

use crate::budget::BudgetCell;
use crate::writer::Homes;
use anykey_core::lease::{Ask, Lease, Loan};
use anykey_core::record::AttemptRecord;
use anykey_core::{BudgetId, Nanos, Subject, Window};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So long a lease should last.
const AHEAD: i64 = 10;
/// How many calls like the one that asks a lease is for, at first.
const CALLS: i64 = 4;
/// A lease that was not used for so long goes back.
const IDLE: Duration = Duration::from_secs(10);
/// How long what was heard about an exhausted budget is believed.
const BELIEVED: Duration = Duration::from_millis(50);

/// The leases of this process.
#[derive(Default)]
pub(crate) struct Leases {
    of: HashMap<Subject, Vec<Leased>>,
}

/// A shared budget in memory.
pub(crate) struct Leased {
    pub cell: Arc<BudgetCell>,
    /// See the head of this file.
    kept: i64,
    /// What the books would say was spent if only this process had stored anything since they were asked.
    known: i64,
    /// What was stored of it since `since`.
    stored: i64,
    since: Instant,
    /// What it spends in [`AHEAD`] seconds, at the pace of late.
    pace: i64,
    used: Instant,
    /// Whether the books may believe that more is kept.
    unsaid: bool,
    granted: Option<(Nanos, Instant)>,
    /// When the books last refused, what was left then, and of which limit.
    refused: Option<Refused>,
}

/// What the books said when they refused.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    at: Instant,
    limit: Nanos,
    pub left: Nanos,
    /// Whether others have been asked to give back.
    pub may_come: bool,
}

impl Leases {
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(crate) fn get(&mut self, id: BudgetId, window: Window) -> Option<&mut Leased> {
        let leased = self.of.get_mut(&id.subject)?;
        leased.iter_mut().find(|leased| leased.cell.id() == id && leased.cell.window() == window)
    }

    /// Keeps account of a budget that has come into memory. `queued` of it is spent and waits to be stored.
    pub(crate) fn add(&mut self, cell: &Arc<BudgetCell>, stored: Nanos, queued: Nanos) -> &mut Leased {
        let now = Instant::now();
        let leased = self.of.entry(cell.id().subject).or_default();
        leased.push(Leased {
            cell: cell.clone(),
            kept: queued.0,
            known: stored.0,
            stored: 0,
            since: now,
            pace: 0,
            used: now,
            unsaid: false,
            granted: None,
            refused: None,
        });
        let last = leased.len() - 1;
        &mut leased[last]
    }

    /// What becomes of the leases by storing a batch.
    pub(crate) fn store(&mut self, records: &[AttemptRecord], homes: &[Homes]) -> Vec<Lease> {
        if self.of.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut touched: HashMap<(BudgetId, i64), Lease> = HashMap::new();
        for (record, homes) in records.iter().zip(homes) {
            let cost = record.cost.unwrap_or_default();
            if cost == Nanos::ZERO {
                continue;
            }
            for payer in homes.payers.subjects() {
                for leased in self.of.get_mut(&payer).into_iter().flatten() {
                    if leased.cell.window().contains(record.started_at) {
                        leased.stored(cost, now);
                        touched.insert((leased.cell.id(), leased.cell.window().start), leased.lease());
                    }
                }
            }
        }
        touched.into_values().collect()
    }

    /// What goes back: what was given up, and what nobody has used for a while.
    pub(crate) fn give_back(&mut self, now: Instant) -> Vec<Lease> {
        let mut smaller = Vec::new();
        for leased in self.of.values_mut().flatten() {
            if now.duration_since(leased.used) >= IDLE {
                leased.pace = 0;
                leased.cell.yield_free();
            }
            let before = leased.kept;
            let lease = leased.lease();
            if leased.kept != before || std::mem::take(&mut leased.unsaid) {
                smaller.push(lease);
            }
        }
        smaller
    }

    /// What may not have reached the books is said again the next time.
    pub(crate) fn doubt(&mut self, leases: &[Lease]) {
        for lease in leases {
            if let Some(leased) = self.get(lease.id, lease.window) {
                leased.doubt();
            }
        }
    }

    /// Gives up what is free of all budgets.
    pub(crate) fn yield_all(&mut self) {
        self.of.values().flatten().for_each(|leased| leased.cell.yield_free());
    }

    /// Gives up what others wait for. All that is asked for is told, also where nothing was left.
    pub(crate) fn recall(&mut self, wanted: &[(BudgetId, i64)]) -> Vec<Lease> {
        let mut smaller = Vec::new();
        for (id, start) in wanted {
            let leased = self.of.get_mut(&id.subject).into_iter().flatten();
            for leased in leased.filter(|leased| leased.cell.id() == *id && leased.cell.window().start == *start) {
                leased.cell.yield_free();
                leased.granted = None;
                smaller.push(Lease { is_firm: true, ..leased.lease() });
            }
        }
        smaller
    }

    /// Forgets budgets that nobody uses and nothing is leased of. `let_go` says whether nobody else knows one.
    pub(crate) fn forget(&mut self, now: Instant, let_go: impl Fn(&Arc<BudgetCell>) -> bool) {
        self.of.retain(|_, of| {
            of.retain(|leased| {
                let unused = leased.kept == 0 && now.duration_since(leased.used) >= 6 * IDLE;
                !(unused && let_go(&leased.cell))
            });
            !of.is_empty()
        });
    }

    /// The budgets that will run out soon at their pace, with what to ask for.
    pub(crate) fn running_low(&mut self) -> Vec<(BudgetId, Window)> {
        let low = |leased: &&Leased| leased.pace > 0 && leased.cell.free().0 < leased.pace / 2;
        let low = self.of.values().flatten().filter(low);
        low.map(|leased| (leased.cell.id(), leased.cell.window())).collect()
    }
}

impl Leased {
    /// What is kept, after what was given up and what was overspent is taken out of the account.
    pub(crate) fn lease(&mut self) -> Lease {
        let moved = self.cell.forgive().0.saturating_sub(self.cell.take_surplus().0);
        self.kept = self.kept.saturating_add(moved);
        Lease {
            id: self.cell.id(),
            window: self.cell.window(),
            amount: Nanos(self.kept).max(Nanos::ZERO),
            is_firm: false,
        }
    }

    fn stored(&mut self, cost: Nanos, now: Instant) {
        self.kept = self.kept.saturating_sub(cost.0);
        self.known = self.known.saturating_add(cost.0);
        self.stored = self.stored.saturating_add(cost.0);
        self.used = now;
        let millis = i64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(i64::MAX);
        if millis >= 1_000 {
            self.pace = i64::try_from(i128::from(self.stored) * i128::from(AHEAD * 1_000) / i128::from(millis))
                .unwrap_or(i64::MAX);
            (self.stored, self.since) = (0, now);
        }
    }

    /// What to ask for so that a hold finds enough.
    pub(crate) fn ask(&mut self, limit: Nanos, least: Nanos, since: Option<i64>) -> Ask {
        let now = Instant::now();
        self.used = now;
        // Asked again soon, so it was too little.
        let lately = self.granted.filter(|(_, at)| now.duration_since(*at) < Duration::from_secs(AHEAD.unsigned_abs()));
        let doubled = lately.map_or(0, |(granted, _)| granted.0.saturating_mul(2));
        let most = Nanos(self.pace.max(doubled).max(least.0.saturating_mul(CALLS)));
        Ask { kept: self.lease(), limit, least, most, since }
    }

    /// What to ask for ahead of need: what comes, and nothing is no harm.
    pub(crate) fn ask_ahead(&mut self, limit: Nanos) -> Ask {
        let most = Nanos(self.pace.saturating_sub(self.cell.free().0)).max(Nanos::ZERO);
        Ask { kept: self.lease(), limit, least: Nanos::ZERO, most, since: None }
    }

    /// Takes what was granted into the account, and what was said of others.
    pub(crate) fn granted(&mut self, ask: &Ask, loan: &Loan) {
        let (spent, elsewhere) = (loan.standing.spent, loan.standing.elsewhere);
        self.cell.hear(Nanos(spent.0.saturating_sub(self.known)), elsewhere);
        self.known = spent.0;
        self.kept = self.kept.saturating_add(loan.granted.0);
        let now = Instant::now();
        if loan.granted > Nanos::ZERO {
            self.granted = Some((loan.granted, now));
            self.refused = None;
        } else if ask.least > Nanos::ZERO {
            let (left, may_come) = (ask.left_after(loan), ask.may_come(loan.standing));
            self.refused = Some(Refused { at: now, limit: ask.limit, left, may_come });
        }
    }

    /// Nobody knows what the books heard.
    pub(crate) fn doubt(&mut self) {
        self.unsaid = true;
    }

    /// What the books said when they refused a moment ago, if they would say the same of this.
    pub(crate) fn refused(&self, ask: &Ask) -> Option<Refused> {
        self.refused
            .filter(|refused| refused.limit == ask.limit && ask.least > refused.left && refused.at.elapsed() < BELIEVED)
    }
}
