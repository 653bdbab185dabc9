//! An attempt that outgrows its hold: it takes more of every budget or of none, and a crash charges the larger hold.

use super::*;
use crate::{BudgetCell, Intent, Recovered, Writer};
use std::sync::atomic::Ordering::SeqCst;

fn cell(k: u8, limit: i64) -> Arc<BudgetCell> {
    BudgetCell::new(key(k).into(), Window::ALL, Nanos(limit), Nanos::ZERO)
}

fn figures(cell: &Arc<BudgetCell>) -> (i64, i64, i64) {
    let state = cell.state();
    (state.spent.0, state.held.0, state.free.0)
}

#[test]
fn all_budgets_of_a_chain_grow_or_none() {
    let (below, above) = (cell(1, 100), cell(2, 60));
    let mut hold = below.try_hold(Nanos(40)).unwrap().under(above.try_hold(Nanos(40)).unwrap());
    assert!(hold.extend(Nanos(15)));
    assert_eq!((hold.amount(), figures(&below), figures(&above)), (Nanos(55), (0, 55, 45), (0, 55, 5)));
    assert!(!hold.extend(Nanos(6)), "the outer one has five left");
    assert_eq!((hold.amount(), figures(&below), figures(&above)), (Nanos(55), (0, 55, 45), (0, 55, 5)));
    assert_eq!(hold.settle(Nanos(50)), Nanos::ZERO);
    assert_eq!((figures(&below), figures(&above)), ((50, 0, 50), (50, 0, 10)));
}

#[test]
fn what_may_go_beyond_a_limit_may_grow_beyond_it() {
    let cell = cell(1, 10);
    let mut hold = cell.try_hold_beyond(Nanos(12), Nanos(5)).unwrap();
    assert!(hold.extend(Nanos(3)) && !hold.extend(Nanos(1)));
    drop(hold);
    assert_eq!(figures(&cell), (15, 0, -5));
}

fn call(n: u64) -> AttemptRecord {
    AttemptRecord { key: key(1), hold: Nanos(100), cost: Some(Nanos(100)), ..long_record(n) }
}

/// Begins a call whose hold has grown so often by ten.
fn begin(writer: &Writer, budget: &Arc<BudgetCell>, n: u64, times: i64) -> (Intent, AttemptRecord) {
    let mut record = call(n);
    let mut intent = writer.intent(&record, budget.try_hold(record.hold)).unwrap();
    for _ in 0..times {
        assert!(writer.extend(&mut intent, &mut record, Nanos(10)));
    }
    assert_eq!(record.hold, Nanos(100 + 10 * times));
    (intent, record)
}

#[tokio::test(start_paused = true)]
async fn a_crash_charges_all_that_was_held() {
    for (settled, grown) in [(false, 0), (false, 1), (false, 7), (true, 0), (true, 7)] {
        let (disk, books) = (SimDisk::new(), FakeBooks::new());
        let ledger = open(&disk, &books, options()).await;
        let budget = ledger.budget(key(1), || Nanos(1_000)).await.unwrap();
        books.away.store(true, SeqCst);
        let writer = ledger.writer().unwrap();
        let (intent, record) = begin(&writer, &budget, 1, grown);
        // Others push its entries into several segments.
        for n in 10..60 {
            writer.record(AttemptRecord { attempt: 0, cost: Some(Nanos::ZERO), ..call(n) }).unwrap();
        }
        let running = if settled {
            writer.settle(intent, AttemptRecord { cost: Some(Nanos(42)), ..record.clone() }).unwrap();
            None
        } else {
            Some(intent)
        };
        let left = disk.after_kill();
        let after = FakeBooks::new();
        let recovered = open(&left, &after, options()).await;
        let row = after.rows().remove(&(record.request, 1)).unwrap();
        let cost = if settled { Nanos(42) } else { record.hold };
        assert_eq!((row.hold, row.cost), (record.hold, Some(cost)), "{settled} {grown}");
        assert_eq!(after.changes(), 51);
        after.assert_balanced();
        drop(recovered);
        let again = open(&left, &after, options()).await;
        assert_eq!((again.recovered(), after.changes()), (Recovered::default(), 51));
        drop(running);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_is_charged_with_what_it_grew_to() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let budget = ledger.budget(key(1), || Nanos(1_000)).await.unwrap();
    let writer = ledger.writer().unwrap();
    let (intent, record) = begin(&writer, &budget, 1, 3);
    drop(intent);
    ledger.flush().await.unwrap();
    assert_eq!(books.rows()[&(record.request, 1)], unresolved(&record));
    assert_eq!(figures(&budget), (130, 0, 870));
    ledger.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(disk.names(), ["epoch"], "no segment is kept by what was stored");
}

#[tokio::test(start_paused = true)]
async fn segments_of_a_call_that_grew_go_when_it_is_stored() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let budget = ledger.budget(key(1), || Nanos(100_000)).await.unwrap();
    let writer = ledger.writer().unwrap();
    let (mut intent, mut record) = begin(&writer, &budget, 9_999, 0);
    for n in 0..400 {
        let (other, ended) = begin(&writer, &budget, n, 1);
        writer.settle(other, ended).unwrap();
        assert!(writer.extend(&mut intent, &mut record, Nanos(1)));
        if n % 20 == 0 {
            ledger.flush().await.unwrap();
        }
    }
    ledger.flush().await.unwrap();
    until("only the first and the newest are kept", || disk.segments().len() <= 4).await;
    writer.settle(intent, record).unwrap();
    ledger.flush().await.unwrap();
    until("nothing is kept", || disk.segments().len() == 2).await;
    books.assert_balanced();
}

#[tokio::test(start_paused = true)]
async fn without_money_or_a_journal_nothing_grows() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let budget = ledger.budget(key(1), || Nanos(105)).await.unwrap();
    let writer = ledger.writer().unwrap();
    let (mut intent, mut record) = begin(&writer, &budget, 1, 0);
    assert!(!writer.extend(&mut intent, &mut record, Nanos(6)));
    assert_eq!((record.hold, figures(&budget)), (Nanos(100), (0, 100, 5)));
    let mut unlimited = call(2);
    let mut other = writer.intent(&unlimited, None).unwrap();
    assert!(writer.extend(&mut other, &mut unlimited, Nanos(i64::MAX)), "nothing limits it");
    assert_eq!(unlimited.hold, Nanos(100));
    disk.faults().write_fails.store(true, SeqCst);
    assert!(!writer.extend(&mut intent, &mut record, Nanos(5)));
    assert_eq!((record.hold, figures(&budget)), (Nanos(100), (0, 100, 5)));
}
