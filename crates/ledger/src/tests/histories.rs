//! Histories: several replicas at the edge of a limit, with the real ledger, journal, leases and flush over a simulated
//! disk, clock, network and database. Replicas are killed, cut off, paused; answers are lost; windows end. After every step
//! the invariants hold, and at rest everything adds up to the nano-dollar.
//!
//! `ANYKEY_SEED=n cargo test -p anykey-ledger histories` repeats one history; `ANYKEY_HISTORIES=n` runs so many.

use super::bank::{Bank, Teller};
use super::books::Fate;
use super::*;
use crate::{Funded, Intent, Unsent, Writer};
use anykey_core::{OrganisationId, Payers, Placement, ProjectId, Span, Subject};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

const PROJECT: ProjectId = ProjectId([9; 16]);
/// How long a window lasts, in milliseconds.
const WINDOW: i64 = 20_000;
const STEPS: usize = 120;
const START: i64 = 1_790_000_000_000;

/// Numbers from a seed: the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// A call as the provider knows it.
struct Sent {
    record: AttemptRecord,
    /// What the provider will bill.
    billed: i64,
    /// Whether the caller saw the end of the answer.
    ended: bool,
}

struct Replica {
    disk: Arc<SimDisk>,
    teller: Arc<Teller>,
    up: Option<(Ledger, Writer)>,
    running: BTreeMap<u64, Intent>,
}

struct World {
    dice: Dice,
    bank: Arc<Bank>,
    replicas: Vec<Replica>,
    sent: BTreeMap<u64, Sent>,
    began: tokio::time::Instant,
    calls: u64,
    refused: u64,
    limits: [i64; 2],
    trace: Vec<String>,
}

fn placed() -> Payers {
    let placement = Placement { organisation: OrganisationId::DEFAULT, project: PROJECT, owner: None };
    Payers { key: key(1), parent: None, placement: Some(placement) }
}

/// A project's limit by day, above a key's over all time.
fn budgets(now: i64) -> [(BudgetId, Window); 2] {
    let project = BudgetId { subject: Subject { level: anykey_core::Level::Project, id: PROJECT.0 }, span: Span::Day };
    let start = now.div_euclid(WINDOW) * WINDOW;
    [(project, Window { start, end: start + WINDOW }), (key(1).into(), Window::ALL)]
}

impl World {
    async fn new(seed: u64) -> World {
        let mut dice = Dice(seed);
        let bank = Arc::new(Bank::default());
        bank.payers_are(placed());
        let limits = [200 + dice.roll(300) as i64, 400 + dice.roll(600) as i64];
        let replicas = (0..2 + dice.roll(3) as usize)
            .map(|n| {
                let disk = SimDisk::instant();
                // Its name comes from the seed as well.
                disk.put(&std::path::Path::new(DIR).join("replica"), format!("{:032x}", n + 1).into_bytes());
                Replica { disk, teller: Teller::new(&bank), up: None, running: BTreeMap::new() }
            })
            .collect();
        let mut world = World {
            dice,
            bank,
            replicas,
            sent: BTreeMap::new(),
            began: tokio::time::Instant::now(),
            calls: 0,
            refused: 0,
            limits,
            trace: Vec::new(),
        };
        for at in 0..world.replicas.len() {
            world.start(at).await;
        }
        world
    }

    fn now(&self) -> i64 {
        START + self.began.elapsed().as_millis() as i64
    }

    fn note(&mut self, what: String) {
        let at = self.began.elapsed().as_millis();
        self.trace.push(format!("{at} {what}"));
    }

    async fn start(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        replica.teller.away.store(false, SeqCst);
        let options = Options { batch_rows: 3, ..options() };
        let ledger = Ledger::open_on(replica.disk.clone(), DIR, options, replica.teller.clone()).await.unwrap();
        let writer = ledger.writer().unwrap();
        replica.up = Some((ledger, writer));
    }

    /// The process is gone; its disk stays.
    fn kill(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        let left = replica.disk.after_kill();
        // What the dead process would still do to its own disk and the bank is nobody's business.
        replica.teller.away.store(true, SeqCst);
        replica.running.clear();
        replica.up = None;
        replica.disk = left;
        replica.teller = Teller::new(&self.bank);
    }

    /// Holds of both budgets or of none, as the gateway does.
    async fn hold(ledger: &Ledger, amount: i64, now: i64, limits: [i64; 2]) -> Option<Unsent> {
        let mut held = Unsent::default();
        for ((id, window), limit) in budgets(now).into_iter().zip(limits) {
            let cell = ledger.budget_within(id, window, move || Nanos(limit)).await.ok()?;
            match cell.try_hold(Nanos(amount)) {
                Some(hold) => held.add(hold),
                None => match ledger.fund(&cell, Nanos(amount), Nanos::ZERO).await.ok()? {
                    Funded::Held(more) => held.add(more.take()?),
                    _ => return None,
                },
            }
        }
        Some(held)
    }

    /// Some calls at once, at any replicas.
    async fn begin_calls(&mut self) {
        let now = self.now();
        let mut asking = Vec::new();
        for _ in 0..=self.dice.roll(4) {
            let at = self.dice.roll(self.replicas.len() as u64) as usize;
            let hold = 1 + self.dice.roll(70) as i64;
            let billed = self.dice.roll(hold as u64 + 1) as i64;
            self.calls += 1;
            let n = self.calls;
            let Some((ledger, writer)) = &self.replicas[at].up else { continue };
            let (ledger, writer, limits) = (ledger.clone(), writer.clone(), self.limits);
            let record = AttemptRecord {
                request: RequestId::new(now, [(n % 251) as u8, (n / 251) as u8, 0, 0, 0, 0, 0, 0, 0, 0]),
                key: key(1),
                started_at: now,
                hold: Nanos(hold),
                cost: Some(Nanos(billed)),
                ..record(n)
            };
            asking.push(async move {
                let held = Self::hold(&ledger, hold, now, limits).await;
                let intent = held.and_then(|held| writer.intent(&record, held.take()).ok());
                (at, n, record, billed, intent.map(|intent| intent.paid_by(placed())))
            });
        }
        let mut answers = Vec::new();
        let mut set = futures_lite(asking);
        while let Some(answer) = set.next().await {
            answers.push(answer);
        }
        for (at, n, record, billed, intent) in answers {
            match intent {
                Some(intent) => {
                    self.note(format!("call {n} at {at}: {} of {}", billed, record.hold));
                    self.sent.insert(n, Sent { record, billed, ended: false });
                    self.replicas[at].running.insert(n, intent);
                }
                None => {
                    self.note(format!("call {n} at {at} is refused"));
                    self.refused += 1;
                }
            }
        }
    }

    /// A call ends, or is dropped in the middle.
    fn end_call(&mut self, at: usize) {
        let dropped = self.dice.one_in(6);
        let which = self.dice.roll(8) as usize;
        let Replica { up: Some((_, writer)), running, .. } = &mut self.replicas[at] else { return };
        let Some(n) = running.keys().nth(which % running.len().max(1)).copied() else { return };
        let intent = running.remove(&n).unwrap();
        let sent = self.sent.get_mut(&n).unwrap();
        if dropped {
            drop(intent);
        } else {
            writer.settle(intent, sent.record.clone()).unwrap();
            sent.ended = true;
        }
        self.note(format!("call {n} {}", if dropped { "is dropped" } else { "ends" }));
    }

    async fn step(&mut self) {
        let at = self.dice.roll(self.replicas.len() as u64) as usize;
        match self.dice.roll(100) {
            0..40 => self.begin_calls().await,
            40..70 => self.end_call(at),
            70..84 => {
                let ms = 1 + self.dice.roll(1_500);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            84..88 => {
                let fates = [Fate::FailsBefore, Fate::FailsAfter, Fate::Stored];
                let fates: Vec<Fate> = (0..3).map(|_| fates[self.dice.roll(3) as usize]).collect();
                self.note(format!("{at}: {fates:?}"));
                self.replicas[at].teller.will(fates);
            }
            88..93 => {
                let away = self.dice.one_in(2);
                self.note(format!("{at} is {}", if away { "cut off" } else { "back" }));
                self.replicas[at].teller.away.store(away, SeqCst);
            }
            93..97 => {
                self.note(format!("{at} dies"));
                self.kill(at);
                if !self.dice.one_in(3) {
                    self.start(at).await;
                }
            }
            97..99 => {
                if self.replicas[at].up.is_none() {
                    self.start(at).await;
                }
            }
            _ => {
                // Raised for all; what a lowered one does is another test's matter.
                self.limits[1] += self.dice.roll(100) as i64;
                let (id, limit) = (budgets(0)[1].0, Nanos(self.limits[1]));
                for (ledger, _) in self.replicas.iter().filter_map(|replica| replica.up.as_ref()) {
                    ledger.set_limit(id, limit);
                }
            }
        }
    }

    /// What the provider may bill in a window: nobody's limit is passed, whatever is known of it here.
    fn check(&self) {
        assert_eq!(self.bank.broken(), None);
        let all: i64 = self.sent.values().map(|sent| sent.billed).sum();
        assert!(all <= self.limits[1], "I6: the provider bills {all} of {}", self.limits[1]);
        let mut days: BTreeMap<i64, i64> = BTreeMap::new();
        for sent in self.sent.values() {
            *days.entry(sent.record.started_at.div_euclid(WINDOW)).or_default() += sent.billed;
        }
        for (day, billed) in days {
            assert!(billed <= self.limits[0], "I6: the provider bills {billed} of {} on {day}", self.limits[0]);
        }
    }

    /// Everything is healed and ends; then all adds up.
    async fn rest(&mut self) {
        for at in 0..self.replicas.len() {
            let teller = &self.replicas[at].teller;
            teller.away.store(false, SeqCst);
            teller.will_only_store();
            if self.replicas[at].up.is_none() {
                self.start(at).await;
            }
            while !self.replicas[at].running.is_empty() {
                self.end_call(at);
            }
        }
        for replica in &self.replicas {
            replica.up.as_ref().unwrap().0.flush().await.unwrap();
        }
        self.check();
        let rows = self.bank.rows();
        assert_eq!(rows.len(), self.sent.len(), "nothing is lost, nothing invented");
        for sent in self.sent.values() {
            let row = &rows[&(sent.record.request, sent.record.attempt)];
            let charged = row.cost.unwrap().0;
            let is_right = if sent.ended { charged == sent.billed } else { charged == sent.record.hold.0 };
            assert!(is_right, "{charged} for {} of {}", sent.billed, sent.record.hold);
        }
        self.all_of_it_can_be_used().await;
        for replica in &self.replicas {
            replica.up.as_ref().unwrap().0.close(Duration::from_secs(60)).await.unwrap();
        }
        for (id, window) in budgets(self.now()) {
            assert_eq!(self.bank.leased(id, window), 0, "I8: at rest nothing is leased");
        }
    }

    /// Nothing has leaked: what is not spent can be had by any one of them, and not a nano-dollar more.
    async fn all_of_it_can_be_used(&mut self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (id, window) = budgets(self.now())[1];
        let left = self.limits[1] - self.bank.spent(id, window);
        let limit = Nanos(self.limits[1]);
        let at = self.dice.roll(self.replicas.len() as u64) as usize;
        let ledger = &self.replicas[at].up.as_ref().unwrap().0;
        let cell = ledger.budget_within(id, window, move || limit).await.unwrap();
        cell.set_limit(limit);
        if left > 0 {
            let all = ledger.fund(&cell, Nanos(left), Nanos::ZERO).await.unwrap();
            assert!(matches!(all, Funded::Held(_)), "{left} are left, and {at} hears {all:?}");
            assert!(matches!(ledger.fund(&cell, Nanos(1), Nanos::ZERO).await.unwrap(), Funded::Short(..)));
        }
    }
}

/// Runs futures at once and gives their answers in the order in which they come.
struct AtOnce<F: Future>(Vec<std::pin::Pin<Box<F>>>);

fn futures_lite<F: Future>(futures: Vec<F>) -> AtOnce<F> {
    AtOnce(futures.into_iter().map(Box::pin).collect())
}

impl<F: Future> AtOnce<F> {
    async fn next(&mut self) -> Option<F::Output> {
        if self.0.is_empty() {
            return None;
        }
        std::future::poll_fn(|cx| {
            for at in 0..self.0.len() {
                if let std::task::Poll::Ready(answer) = self.0[at].as_mut().poll(cx) {
                    drop(self.0.swap_remove(at));
                    return std::task::Poll::Ready(Some(answer));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Runs one history; says what happened, and whether it came to the edge of a limit.
pub(crate) fn history(seed: u64) -> (Vec<String>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
            world.check();
        }
        world.rest().await;
        (std::mem::take(&mut world.trace), world.refused > 0)
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) -> bool {
    match std::panic::catch_unwind(|| history(seed)) {
        Ok((_, edge)) => edge,
        Err(_) => panic!("history {seed}: ANYKEY_SEED={seed} cargo test -p anykey-ledger histories repeats it"),
    }
}

#[test]
fn many_histories_keep_every_invariant() {
    if let Some(seed) = number("ANYKEY_SEED") {
        let (trace, _) = history(seed);
        trace.iter().for_each(|line| println!("{line}"));
        return;
    }
    let histories = number("ANYKEY_HISTORIES").unwrap_or(2_000);
    let next = std::sync::atomic::AtomicU64::new(0);
    let at_the_edge = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, SeqCst);
                    if seed >= histories {
                        return;
                    }
                    at_the_edge.fetch_add(u64::from(run(seed)), SeqCst);
                }
            });
        }
    });
    let at_the_edge = at_the_edge.into_inner();
    assert!(at_the_edge * 10 >= histories * 9, "{at_the_edge} of {histories} came to the edge of a limit");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (one, other) = (history(seed).0, history(seed).0);
        let differ = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!((differ, one.len()), (None, other.len()), "history {seed}");
    }
}
