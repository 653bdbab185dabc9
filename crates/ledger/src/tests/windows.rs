//! Budgets above keys and in windows of time: as exact as those of keys, whoever spends and whenever a call ends.

use super::*;
use crate::{BudgetCell, Hold, Writer};
use anykey_core::{OrganisationId, Payers, Placement, ProjectId, Span, Subject};

const PROJECT: ProjectId = ProjectId([9; 16]);
const HOUR: i64 = 3_600_000;

fn payers(k: u8) -> Payers {
    let placement = Placement { organisation: OrganisationId::DEFAULT, project: PROJECT, owner: None };
    Payers { key: key(k), parent: None, placement: Some(placement) }
}

fn project(span: Span) -> BudgetId {
    BudgetId { subject: Subject { level: anykey_core::Level::Project, id: PROJECT.0 }, span }
}

fn at(n: u64, k: u8, started_at: i64) -> AttemptRecord {
    AttemptRecord { key: key(k), started_at, ..record(n) }
}

/// Sends a call; `None` where the budget refuses it.
fn begin(writer: &Writer, r: &AttemptRecord, cell: Option<&Arc<BudgetCell>>) -> Option<crate::Intent> {
    let hold: Option<Hold> = match cell {
        Some(cell) => Some(cell.try_hold(r.hold)?),
        None => None,
    };
    Some(writer.intent(r, hold).unwrap().paid_by(payers(r.key.0[0])))
}

fn books() -> Arc<FakeBooks> {
    let books = FakeBooks::new();
    (0..5).for_each(|k| books.payers_are(payers(k)));
    books
}

#[tokio::test(start_paused = true)]
async fn a_call_is_charged_to_the_window_it_began_in() {
    let (disk, books) = (SimDisk::new(), books());
    let ledger = open(&disk, &books, Options { flush_interval: Duration::from_secs(100_000), ..options() }).await;
    let writer = ledger.writer().unwrap();
    let (first, second) = (Window { start: 0, end: HOUR }, Window { start: HOUR, end: 2 * HOUR });
    let limit = || Nanos::dollars(1);
    let early = ledger.budget_within(project(Span::Day), first, limit).await.unwrap();
    let running = begin(&writer, &at(1, 1, HOUR - 1), Some(&early)).unwrap();
    assert!(ledger.budget_in_memory(project(Span::Day), HOUR - 1).is_some());
    assert!(ledger.budget_in_memory(project(Span::Day), HOUR).is_none(), "the next window is another budget");

    let late = ledger.budget_within(project(Span::Day), second, limit).await.unwrap();
    assert_eq!((late.state().spent, late.state().held), (Nanos::ZERO, Nanos::ZERO));
    let next = begin(&writer, &at(2, 2, HOUR), Some(&late)).unwrap();
    writer.settle(running, at(1, 1, HOUR - 1)).unwrap();
    writer.settle(next, at(2, 2, HOUR)).unwrap();
    assert_eq!((early.state().spent, early.state().held), (Nanos(1_001), Nanos::ZERO));
    assert_eq!((late.state().spent, late.state().held), (Nanos(1_002), Nanos::ZERO));

    // Loaded anew it is the same, from the queue and from the books.
    drop(late);
    assert!(ledger.forget_budget(project(Span::Day)));
    let again = ledger.budget_within(project(Span::Day), second, limit).await.unwrap();
    assert_eq!(again.state().spent, Nanos(1_002));
    ledger.flush().await.unwrap();
    drop(again);
    assert!(ledger.forget_budget(project(Span::Day)));
    let again = ledger.budget_within(project(Span::Day), second, limit).await.unwrap();
    assert_eq!(again.state().spent, Nanos(1_002));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_comes_while_calls_run_is_charged_by_them() {
    let (disk, books) = (SimDisk::new(), books());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let window = Window { start: 0, end: HOUR };
    let running = begin(&writer, &at(1, 1, 5), None).unwrap();
    let dropped = begin(&writer, &at(2, 2, 6), None).unwrap();
    let elsewhere = writer.intent(&at(3, 3, 7), None).unwrap();
    let before = begin(&writer, &at(4, 1, -1), None).unwrap();
    let budget = ledger.budget_within(project(Span::Month), window, || Nanos::dollars(1)).await.unwrap();
    assert_eq!(budget.state().spent, Nanos::ZERO);
    writer.settle(running, at(1, 1, 5)).unwrap();
    writer.settle(before, at(4, 1, -1)).unwrap();
    assert_eq!(budget.state().spent, Nanos(1_001));
    drop(dropped);
    ledger.flush().await.unwrap();
    assert_eq!(budget.state().spent, Nanos(1_001 + 5_002), "charged in full, once");
    writer.settle(elsewhere, at(3, 3, 7)).unwrap();
    assert_eq!(budget.state().spent, Nanos(1_001 + 5_002), "nobody said that the project pays for it");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_charged_once_to_what_it_held_and_to_what_came_later() {
    let (disk, books) = (SimDisk::new(), books());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let own = ledger.budget(key(1), || Nanos::dollars(1)).await.unwrap();
    let intent = begin(&writer, &at(1, 1, 5), Some(&own)).unwrap();
    let above = ledger.budget(project(Span::Total), || Nanos::dollars(1)).await.unwrap();
    drop(intent);
    ledger.flush().await.unwrap();
    let charged = at(1, 1, 5).hold;
    assert_eq!((own.state().spent, own.state().held), (charged, Nanos::ZERO));
    assert_eq!((above.state().spent, above.state().held), (charged, Nanos::ZERO));
}

/// Keys of one project on real threads, with the project's budget brought in while they run: never above its limit by a
/// hold that was granted, and exact to the nano-dollar against the books.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_share_a_budget_that_is_loaded_while_they_spend() {
    for round in 0..10u64 {
        let (disk, books) = (SimDisk::new(), books());
        let ledger = open(&disk, &books, Options { flush_at: 10, segment_bytes: 1 << 20, ..options() }).await;
        let window = Window { start: 0, end: i64::MAX };
        let threads: Vec<_> = (0..3u64)
            .map(|t| {
                let (writer, ledger) = (ledger.writer().unwrap(), ledger.clone());
                std::thread::spawn(move || {
                    let mut refused = 0;
                    for n in 0..400 {
                        let r = at(round * 10_000 + t * 1_000 + n, t as u8, 5);
                        let cell = ledger.budget_in_memory(project(Span::Week), r.started_at);
                        match begin(&writer, &r, cell.as_ref()) {
                            Some(intent) => drop(writer.settle(intent, r).unwrap()),
                            None => refused += 1,
                        }
                    }
                    refused
                })
            })
            .collect();
        let budget = ledger.budget_within(project(Span::Week), window, || Nanos(2_000_000)).await.unwrap();
        let refused: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        ledger.flush().await.unwrap();
        assert_eq!(books.rows().len() + refused, 1_200);
        let stored = crate::Books::spent(&books, project(Span::Week), window).await.unwrap();
        assert_eq!((stored, Nanos::ZERO), (budget.state().spent, budget.state().held));
    }
}
