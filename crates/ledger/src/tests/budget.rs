//! Budgets: never overspent, never short, and loaded to the nano-dollar while calls run.

use super::*;
use crate::{BudgetCell, Hold};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

fn cell(limit: i64) -> Arc<BudgetCell> {
    BudgetCell::new(key(1).into(), Window::ALL, Nanos(limit), Nanos::ZERO)
}

#[derive(Clone, Debug)]
enum Op {
    Hold(i64),
    Settle(usize, i64),
    Release(usize),
    Drop(usize),
    Extend(usize, i64),
    Charge(i64),
    Limit(i64),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (-5..60i64).prop_map(Op::Hold),
        3 => (any::<usize>(), -5..80i64).prop_map(|(i, n)| Op::Settle(i, n)),
        1 => any::<usize>().prop_map(Op::Release),
        1 => any::<usize>().prop_map(Op::Drop),
        2 => (any::<usize>(), -5..40i64).prop_map(|(i, n)| Op::Extend(i, n)),
        1 => (0..30i64).prop_map(Op::Charge),
        1 => (-5..300i64).prop_map(Op::Limit),
    ]
}

proptest! {
    /// Against plain sums.
    #[test]
    fn a_budget_is_what_a_naive_ledger_says(limit in 0..200i64, ops in prop::collection::vec(any_op(), 0..80)) {
        let cell = cell(limit);
        let (mut limit, mut spent) = (limit, 0);
        let mut holds: Vec<Hold> = Vec::new();
        for op in ops {
            let held: i64 = holds.iter().map(|h| h.amount().0).sum();
            match op {
                Op::Hold(amount) => {
                    let granted = cell.try_hold(Nanos(amount));
                    prop_assert_eq!(granted.is_some(), amount >= 0 && spent + held + amount <= limit);
                    holds.extend(granted);
                }
                Op::Settle(i, actual) if !holds.is_empty() => {
                    let hold = holds.swap_remove(i % holds.len());
                    let over = (actual - hold.amount().0).max(0);
                    prop_assert_eq!(hold.settle(Nanos(actual)), Nanos(over));
                    spent += actual.max(0);
                }
                Op::Release(i) if !holds.is_empty() => holds.swap_remove(i % holds.len()).release(),
                Op::Drop(i) if !holds.is_empty() => {
                    let hold = holds.swap_remove(i % holds.len());
                    spent += hold.amount().0;
                    drop(hold);
                }
                Op::Extend(i, by) if !holds.is_empty() => {
                    let n = i % holds.len();
                    let before = holds[n].amount().0;
                    let grown = holds[n].extend(Nanos(by));
                    prop_assert_eq!(grown, by >= 0 && spent + held + by <= limit);
                    prop_assert_eq!(holds[n].amount().0, if grown { before + by } else { before });
                }
                Op::Charge(n) => {
                    cell.charge(Nanos(n));
                    spent += n;
                }
                Op::Limit(n) => {
                    cell.set_limit(Nanos(n));
                    limit = n.max(0);
                }
                Op::Settle(..) | Op::Release(_) | Op::Drop(_) | Op::Extend(..) => {}
            }
            let held: i64 = holds.iter().map(|h| h.amount().0).sum();
            let state = cell.state();
            prop_assert_eq!((state.limit.0, state.spent.0, state.held.0), (limit, spent, held));
            prop_assert_eq!(state.free.0, limit - spent - held);
        }
    }
}

#[test]
fn at_the_ends_of_the_range_nothing_wraps() {
    let full = cell(i64::MAX);
    let hold = full.try_hold(Nanos(i64::MAX)).unwrap();
    assert!(full.try_hold(Nanos(1)).is_none());
    assert_eq!(hold.settle(Nanos(i64::MAX)), Nanos::ZERO);
    full.charge(Nanos(i64::MAX));
    full.charge(Nanos(i64::MAX));
    assert_eq!(full.state().spent, Nanos(i64::MAX));
    assert!(full.try_hold(Nanos(1)).is_none());
    let none = BudgetCell::new(key(1).into(), Window::ALL, Nanos(i64::MIN), Nanos(i64::MAX));
    assert!(none.try_hold(Nanos::ZERO).is_none());
}

/// Money for exactly seven calls, many threads: exactly seven are admitted.
#[test]
fn many_threads_get_exactly_what_there_is() {
    for _ in 0..100 {
        let cell = cell(7 * 10 + 9);
        let granted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        if let Some(hold) = cell.try_hold(Nanos(10)) {
                            granted.fetch_add(1, SeqCst);
                            hold.settle(Nanos(10));
                        }
                    }
                });
            }
        });
        assert_eq!(granted.into_inner(), 7);
        assert_eq!(cell.state().free, Nanos(9));
    }
}

/// Threads hold, settle and release at the edge of the limit; spent and held together never pass it.
#[test]
fn under_stress_nothing_is_overspent_and_nothing_leaks() {
    const LIMIT: i64 = 100_000;
    let cell = cell(LIMIT);
    // Counted after each grant and taken off before it ends, so it is never above what is really out.
    let (out, settled) = (AtomicI64::new(0), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for seed in 1..=6u64 {
            let (cell, out, settled) = (&cell, &out, &settled);
            scope.spawn(move || {
                let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                for _ in 0..20_000 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let amount = (random % 9_000) as i64;
                    let Some(hold) = cell.try_hold(Nanos(amount)) else {
                        continue;
                    };
                    // In this order: what moves from the one to the other in between is not counted twice.
                    let before = settled.load(SeqCst);
                    assert!(before + out.fetch_add(amount, SeqCst) + amount <= LIMIT);
                    out.fetch_sub(amount, SeqCst);
                    if random & 0x100_0000 == 0 {
                        hold.release();
                    } else {
                        let actual = amount.min(3);
                        settled.fetch_add(actual, SeqCst);
                        hold.settle(Nanos(actual));
                    }
                }
            });
        }
    });
    let state = cell.state();
    assert_eq!((state.spent.0, state.held), (settled.into_inner(), Nanos::ZERO));
    assert_eq!(state.free.0, LIMIT - state.spent.0);
    assert!(state.spent.0 > LIMIT / 2, "the edge was reached: {state:?}");
}

fn of_key(n: u64, k: u8) -> AttemptRecord {
    AttemptRecord { key: key(k), ..record(n) }
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_loaded_with_what_is_stored_and_what_is_queued() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { flush_interval: Duration::from_secs(100_000), ..options() }).await;
    let writer = ledger.writer().unwrap();
    writer.record(of_key(1, 1)).unwrap();
    writer.record(of_key(2, 2)).unwrap();
    ledger.flush().await.unwrap();
    let running = writer.intent(&of_key(3, 1), None).unwrap();
    writer.record(of_key(4, 1)).unwrap();
    let budget = ledger.budget(key(1), || Nanos::dollars(5)).await.unwrap();
    let first = 1_001 + 1_004;
    assert_eq!(budget.state().spent, Nanos(first));
    // It began before there was a budget, and ends now.
    writer.settle(running, of_key(3, 1)).unwrap();
    assert_eq!(budget.state().spent, Nanos(first + 1_003));
    drop(writer.intent(&of_key(5, 1), None).unwrap());
    ledger.flush().await.unwrap();
    assert_eq!(budget.state().spent, Nanos(first + 1_003 + of_key(5, 1).hold.0));
    assert_eq!(crate::Books::spent(&books, key(1).into(), Window::ALL).await.unwrap(), budget.state().spent);
}

#[tokio::test(start_paused = true)]
async fn settling_replaces_the_hold_and_tells_an_overrun() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let budget = ledger.budget(key(1), || Nanos(20_000)).await.unwrap();
    let hold = |n: u64| budget.try_hold(of_key(n, 1).hold);
    let intent = writer.intent(&of_key(1, 1), hold(1)).unwrap();
    assert_eq!(budget.state().held, Nanos(5_001));
    assert_eq!(writer.settle(intent, of_key(1, 1)).unwrap().overrun, Nanos::ZERO);
    assert_eq!((budget.state().spent, budget.state().held), (Nanos(1_001), Nanos::ZERO));

    let intent = writer.intent(&of_key(2, 1), hold(2)).unwrap();
    let dear = AttemptRecord { cost: Some(Nanos(6_000)), ..of_key(2, 1) };
    assert_eq!(writer.settle(intent, dear).unwrap().overrun, Nanos(6_000 - 5_002));
    assert_eq!(budget.state().spent, Nanos(7_001));

    drop(writer.intent(&of_key(3, 1), hold(3)).unwrap());
    assert_eq!(budget.state().spent, Nanos(7_001 + 5_003), "dropped: charged in full, once");
    ledger.flush().await.unwrap();
    assert_eq!(budget.state().spent, Nanos(7_001 + 5_003));
    assert_eq!(crate::Books::spent(&books, key(1).into(), Window::ALL).await.unwrap(), budget.state().spent);
}

#[tokio::test(start_paused = true)]
async fn a_refused_intent_gives_the_hold_back() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let budget = ledger.budget(key(1), || Nanos(20_000)).await.unwrap();
    disk.faults().write_fails.store(true, SeqCst);
    let hold = budget.try_hold(of_key(1, 1).hold);
    assert!(writer.intent(&of_key(1, 1), hold).is_err());
    assert_eq!((budget.state().spent, budget.state().held), (Nanos::ZERO, Nanos::ZERO));
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_share_one_read_of_the_books() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let ledger = ledger.clone();
        asking.spawn(async move { ledger.budget(key(1), || Nanos(9)).await.unwrap() });
    }
    let cells = asking.join_all().await;
    assert!(cells.iter().all(|c| Arc::ptr_eq(c, &cells[0])));
    assert_eq!(books.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_the_books_away_a_budget_that_is_not_in_memory_is_refused_at_once() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    ledger.budget(key(2), || Nanos(9)).await.unwrap();
    books.away.store(true, SeqCst);
    assert!(ledger.budget(key(1), || Nanos(9)).await.is_err());
    // Also while the flusher is busy with records that it cannot store.
    writer.record(of_key(1, 1)).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = tokio::time::timeout(Duration::from_secs(10), ledger.budget(key(1), || Nanos(9))).await;
    assert!(asked.expect("within one pause between two tries").is_err());
    assert!(ledger.budget(key(2), || Nanos(9)).await.is_ok(), "one that is in memory serves on");
    books.away.store(false, SeqCst);
    ledger.flush().await.unwrap();
    assert_eq!(ledger.budget(key(1), || Nanos(9)).await.unwrap().state().spent, Nanos(1_001));
}

#[tokio::test(start_paused = true)]
async fn a_limit_changes_for_the_next_hold() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let budget = ledger.budget(key(1), || Nanos(100)).await.unwrap();
    let hold = budget.try_hold(Nanos(80)).unwrap();
    ledger.set_limit(key(1), Nanos(50));
    assert!(budget.try_hold(Nanos(1)).is_none());
    assert_eq!(budget.state().free, Nanos(-30));
    hold.settle(Nanos(20));
    assert!(budget.try_hold(Nanos(31)).is_none());
    budget.try_hold(Nanos(30)).unwrap().release();
    assert_eq!(ledger.budget(key(1), || Nanos(100)).await.unwrap().limit(), Nanos(50));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_budget_comes_back_the_same() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let budget = ledger.budget(key(1), || Nanos(100_000)).await.unwrap();
    let intent = writer.intent(&of_key(1, 1), budget.try_hold(of_key(1, 1).hold)).unwrap();
    drop(budget);
    assert!(!ledger.forget_budget(key(1)), "a call holds money from it");
    drop(intent);
    assert!(!ledger.forget_budget(key(1)), "its charge is in no queue yet");
    ledger.flush().await.unwrap();
    assert!(ledger.forget_budget(key(1)));
    assert!(ledger.budget_in_memory(key(1), 0).is_none());
    let again = ledger.budget(key(1), || Nanos(100_000)).await.unwrap();
    assert_eq!(again.state().spent, of_key(1, 1).hold);
}

/// Real threads settle calls of one key, with and without holds, while its budget is loaded: not a nano-dollar is missed
/// or counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_loaded_while_calls_end_is_exact() {
    for round in 0..20u64 {
        let (disk, books) = (SimDisk::new(), FakeBooks::new());
        let often = Options { flush_at: 10, segment_bytes: 1 << 20, ..options() };
        let ledger = open(&disk, &books, often).await;
        let threads: Vec<_> = (0..3u64)
            .map(|t| {
                let (writer, ledger) = (ledger.writer().unwrap(), ledger.clone());
                std::thread::spawn(move || {
                    for n in 0..400 {
                        let r = of_key(round * 10_000 + t * 1_000 + n, 1);
                        let hold = ledger.budget_in_memory(r.key, r.started_at).and_then(|b| b.try_hold(r.hold));
                        let intent = writer.intent(&r, hold).unwrap();
                        writer.settle(intent, r).unwrap();
                    }
                })
            })
            .collect();
        let budget = ledger.budget(key(1), || Nanos::dollars(1)).await.unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        ledger.flush().await.unwrap();
        assert_eq!(books.rows().len(), 1_200);
        assert_eq!(crate::Books::spent(&books, key(1).into(), Window::ALL).await.unwrap(), budget.state().spent);
        assert_eq!(budget.state().held, Nanos::ZERO);
    }
}

/// What becomes of a hold becomes of the one above it: given back, settled, or charged in full when it is dropped.
#[test]
fn two_budgets_under_one_hold_end_together() {
    let below = BudgetCell::new(key(1).into(), Window::ALL, Nanos(100), Nanos(0));
    let above = BudgetCell::new(key(2).into(), Window::ALL, Nanos(1000), Nanos(0));
    let both = || below.try_hold(Nanos(40)).unwrap().under(above.try_hold(Nanos(40)).unwrap());
    let figures = |cell: &Arc<BudgetCell>| (cell.state().spent.0, cell.state().held.0, cell.state().free.0);
    both().release();
    assert_eq!((figures(&below), figures(&above)), ((0, 0, 100), (0, 0, 1000)));
    assert_eq!(both().settle(Nanos(7)), Nanos(0));
    assert_eq!((figures(&below), figures(&above)), ((7, 0, 93), (7, 0, 993)));
    drop(both());
    assert_eq!((figures(&below), figures(&above)), ((47, 0, 53), (47, 0, 953)));
}

/// What may go beyond a limit is said with each hold: who may not go beyond it finds the limit as it is, before and after.
#[test]
fn beyond_a_limit_goes_who_may_and_nobody_else() {
    let cell = cell(10);
    let within = cell.try_hold(Nanos(8)).unwrap();
    assert!(cell.try_hold_beyond(Nanos(8), Nanos(5)).is_none(), "ten and five are no sixteen");
    let beyond = cell.try_hold_beyond(Nanos(7), Nanos(5)).unwrap();
    assert_eq!((cell.free(), cell.limit()), (Nanos(-5), Nanos(10)));
    assert!(cell.try_hold(Nanos(1)).is_none() && cell.try_hold_beyond(Nanos(1), Nanos(5)).is_none());
    within.release();
    assert!(cell.try_hold(Nanos(4)).is_none(), "three are free of the limit itself");
    assert_eq!(cell.try_hold(Nanos(3)).unwrap().settle(Nanos(3)), Nanos::ZERO);
    assert_eq!(beyond.settle(Nanos(7)), Nanos::ZERO);
    assert_eq!((cell.free(), cell.state().spent), (Nanos::ZERO, Nanos(10)));
    for extra in [0, -1, i64::MIN] {
        assert!(cell.try_hold_beyond(Nanos(1), Nanos(extra)).is_none());
    }
    assert!(cell.try_hold_beyond(Nanos(i64::MAX), Nanos(i64::MAX)).is_some(), "nothing wraps");
}
