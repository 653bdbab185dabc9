//! Books in memory that several ledgers share: rows, sums and leases, as the contract of [`crate::Books`] has them, with
//! counters of their own ([`Teller`]) that are cut off or lose answers.

use super::books::Fate;
use crate::{Books, BooksError};
use anykey_core::lease::{Ask, Lease, Loan, ReplicaId, Standing};
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{BudgetId, KeyId, Nanos, Payers, RequestId, Window};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

/// As long as somebody who waits is heeded.
const WANTED: Duration = Duration::from_secs(2);
/// Silent for so long, a replica gives nothing back.
const SILENT: Duration = Duration::from_secs(30);

type Place = (BudgetId, i64);

#[derive(Default)]
pub(crate) struct Bank(Mutex<State>);

#[derive(Default)]
struct State {
    began: Option<Instant>,
    rows: BTreeMap<(RequestId, u8), AttemptRecord>,
    payers: HashMap<KeyId, Payers>,
    windows: HashMap<Place, Account>,
    replicas: BTreeMap<ReplicaId, Replica>,
    /// What broke a rule.
    broken: Option<String>,
}

struct Account {
    window: Window,
    leases: BTreeMap<ReplicaId, Kept>,
    wanted: Option<Instant>,
}

#[derive(Default)]
struct Kept {
    amount: i64,
    /// When it was last said that no more is kept than is needed.
    firm: Option<i64>,
}

struct Replica {
    run: u64,
    seen: Instant,
}

impl Bank {
    pub(crate) fn payers_are(&self, payers: Payers) {
        self.0.lock().payers.insert(payers.key, payers);
    }

    pub(crate) fn rows(&self) -> BTreeMap<(RequestId, u8), AttemptRecord> {
        self.0.lock().rows.clone()
    }

    pub(crate) fn spent(&self, id: BudgetId, window: Window) -> i64 {
        self.0.lock().spent(id, window)
    }

    /// What is leased of a budget, by all.
    pub(crate) fn leased(&self, id: BudgetId, window: Window) -> i64 {
        let state = self.0.lock();
        let account = state.windows.get(&(id, window.start));
        account.map_or(0, |account| account.leases.values().map(|kept| kept.amount).sum())
    }

    /// The rule that was broken, if one was.
    pub(crate) fn broken(&self) -> Option<String> {
        self.0.lock().broken.clone()
    }
}

impl State {
    fn now(&self) -> i64 {
        self.began.map_or(0, |began| began.elapsed().as_millis() as i64)
    }

    fn spent(&self, id: BudgetId, window: Window) -> i64 {
        let pays = |row: &AttemptRecord| {
            let payers = self.payers.get(&row.key).copied().unwrap_or(row.key.into());
            window.contains(row.started_at) && payers.include(id.subject)
        };
        self.rows.values().filter(|row| pays(row)).map(|row| row.cost.unwrap_or_default().0).sum()
    }

    fn insert(&mut self, record: &AttemptRecord) {
        let id = (record.request, record.attempt);
        let known = self.rows.get(&id);
        let is_news =
            known.is_none_or(|old| old.outcome == Outcome::Unresolved && record.outcome != Outcome::Unresolved);
        if is_news {
            self.rows.insert(id, record.clone());
        }
    }

    fn keep(&mut self, me: ReplicaId, lease: &Lease) {
        let now = self.now();
        let Some(account) = self.windows.get_mut(&(lease.id, lease.window.start)) else { return };
        let kept = account.leases.entry(me).or_default();
        kept.amount = lease.amount.0;
        kept.firm = lease.is_firm.then_some(now);
    }

    fn standing(&self, me: ReplicaId, ask: &Ask, now: Instant) -> Standing {
        let account = &self.windows[&(ask.kept.id, ask.kept.window.start)];
        let others = || account.leases.iter().filter(|(replica, _)| **replica != me);
        let is_heard = |(replica, kept): &(&ReplicaId, &Kept)| {
            let is_silent = self.replicas.get(*replica).is_none_or(|r| now.duration_since(r.seen) > SILENT);
            is_silent || kept.firm.is_some_and(|at| ask.since.is_some_and(|since| at >= since))
        };
        let sum = |amounts: &mut dyn Iterator<Item = i64>| Nanos(amounts.sum());
        Standing {
            spent: Nanos(self.spent(ask.kept.id, ask.kept.window)),
            elsewhere: sum(&mut others().map(|(_, kept)| kept.amount)),
            unheard: sum(&mut others().filter(|other| !is_heard(other)).map(|(_, kept)| kept.amount)),
            replicas: self.replicas.values().filter(|r| now.duration_since(r.seen) <= SILENT).count() as u32,
            crowded: account.wanted.is_some_and(|until| now < until),
            now: self.now(),
        }
    }

    fn lease(&mut self, me: ReplicaId, ask: &Ask) -> Loan {
        let now = Instant::now();
        self.began.get_or_insert(now);
        let place = (ask.kept.id, ask.kept.window.start);
        let new = || Account { window: ask.kept.window, leases: BTreeMap::new(), wanted: None };
        self.windows.entry(place).or_insert_with(new);
        let standing = self.standing(me, ask, now);
        let loan = ask.decide(standing);
        self.keep(me, &Lease { amount: ask.kept.amount.saturating_add(loan.granted), ..ask.kept });
        if ask.may_come(standing) {
            self.windows.entry(place).and_modify(|account| account.wanted = Some(now + WANTED));
        }
        let account = &self.windows[&place];
        let leased: i64 = account.leases.values().map(|kept| kept.amount).sum();
        if loan.granted > Nanos::ZERO && standing.spent.0 + leased > ask.limit.0 {
            self.broken = Some(format!("I1: spent {} and leased {leased} of {}", standing.spent, ask.limit));
        }
        if account.leases.values().any(|kept| kept.amount < 0) {
            self.broken = Some("I3: a lease below zero".into());
        }
        loan
    }
}

/// The way of one replica to the bank.
pub(crate) struct Teller {
    bank: Arc<Bank>,
    me: Mutex<Option<(ReplicaId, u64)>>,
    pub away: AtomicBool,
    fates: Mutex<VecDeque<Fate>>,
}

impl Teller {
    pub(crate) fn new(bank: &Arc<Bank>) -> Arc<Self> {
        let (me, away, fates) = (Mutex::default(), AtomicBool::default(), Mutex::default());
        Arc::new(Teller { bank: bank.clone(), me, away, fates })
    }

    pub(crate) fn will(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().extend(fates);
    }

    pub(crate) fn will_only_store(&self) {
        self.fates.lock().clear();
    }

    /// Does it, unless it fails before; and says so, unless the answer is lost.
    fn visit<T>(&self, work: impl FnOnce(&mut State) -> Result<T, BooksError>) -> Result<T, BooksError> {
        if self.away.load(SeqCst) {
            return Err(BooksError::new("away"));
        }
        let fate = self.fates.lock().pop_front().unwrap_or(Fate::Stored);
        if fate == Fate::FailsBefore {
            return Err(BooksError::new("fails before"));
        }
        let done = work(&mut self.bank.0.lock());
        if fate == Fate::FailsAfter { Err(BooksError::new("fails after")) } else { done }
    }

    fn me(&self) -> Option<(ReplicaId, u64)> {
        *self.me.lock()
    }
}

/// Whether a run is the newest of its replica; an older one gets nothing.
fn is_newest(state: &State, me: (ReplicaId, u64)) -> bool {
    state.replicas.get(&me.0).is_some_and(|replica| replica.run == me.1)
}

impl Books for Teller {
    async fn apply(&self, batch: &[AttemptRecord], leases: &[Lease]) -> Result<(), BooksError> {
        self.visit(|state| {
            batch.iter().for_each(|record| state.insert(record));
            if let Some(me) = self.me().filter(|me| is_newest(state, *me)) {
                leases.iter().for_each(|lease| state.keep(me.0, lease));
            }
            Ok(())
        })
    }

    async fn spent(&self, id: BudgetId, window: Window) -> Result<Nanos, BooksError> {
        self.visit(|state| Ok(Nanos(state.spent(id, window))))
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn begin(&self, replica: ReplicaId) -> Result<(), BooksError> {
        self.visit(|state| {
            let known = state.replicas.entry(replica).or_insert(Replica { run: 0, seen: Instant::now() });
            known.run += 1;
            known.seen = Instant::now();
            *self.me.lock() = Some((replica, known.run));
            for account in state.windows.values_mut() {
                account.leases.remove(&replica);
            }
            Ok(())
        })
    }

    async fn lease(&self, ask: &Ask) -> Result<Loan, BooksError> {
        self.visit(|state| match self.me().filter(|me| is_newest(state, *me)) {
            Some((me, _)) => Ok(state.lease(me, ask)),
            None => Err(BooksError::new("another process has this one's place")),
        })
    }

    async fn recalled(&self) -> Result<Vec<(BudgetId, i64)>, BooksError> {
        let now = Instant::now();
        self.visit(|state| {
            let Some((me, _)) = self.me() else { return Ok(Vec::new()) };
            state.replicas.entry(me).and_modify(|replica| replica.seen = now);
            let wanted = state.windows.iter().filter(|(_, account)| {
                let has = account.leases.get(&me).is_some_and(|kept| kept.amount > 0);
                has && account.window.end > i64::MIN && account.wanted.is_some_and(|until| now < until)
            });
            Ok(wanted.map(|(place, _)| *place).collect())
        })
    }
}
