//! Several processes spend from one budget.

use super::bank::{Bank, Teller};
use super::*;
use crate::{BudgetCell, Funded, Unsent};

const LIMIT: i64 = 100;

struct House {
    bank: Arc<Bank>,
    ledgers: Vec<Ledger>,
    tellers: Vec<Arc<Teller>>,
}

async fn house(replicas: usize) -> House {
    let bank = Arc::new(Bank::default());
    let (mut ledgers, mut tellers) = (Vec::new(), Vec::new());
    for _ in 0..replicas {
        let teller = Teller::new(&bank);
        ledgers.push(Ledger::open_on(SimDisk::instant(), DIR, options(), teller.clone()).await.unwrap());
        tellers.push(teller);
    }
    House { bank, ledgers, tellers }
}

fn budget() -> BudgetId {
    key(1).into()
}

async fn cell(ledger: &Ledger) -> Arc<BudgetCell> {
    ledger.budget(budget(), || Nanos(LIMIT)).await.unwrap()
}

async fn fund(ledger: &Ledger, amount: i64) -> Funded {
    let cell = cell(ledger).await;
    ledger.fund(&cell, Nanos(amount), Nanos::ZERO).await.unwrap()
}

fn call(n: u64, cost: i64, hold: i64) -> AttemptRecord {
    AttemptRecord { key: key(1), cost: Some(Nanos(cost)), hold: Nanos(hold), ..record(n) }
}

async fn held(ledger: &Ledger, amount: i64) -> Unsent {
    match fund(ledger, amount).await {
        Funded::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn together_they_spend_what_there_is_and_no_more() {
    for replicas in 1..=4 {
        let house = house(replicas).await;
        let writers: Vec<_> = house.ledgers.iter().map(|ledger| ledger.writer().unwrap()).collect();
        let (mut served, mut refused) = (0, 0);
        for n in 0..40 {
            let at = n as usize % replicas;
            match fund(&house.ledgers[at], 7).await {
                Funded::Held(held) => {
                    let intent = writers[at].intent(&call(n, 7, 7), held.take()).unwrap();
                    writers[at].settle(intent, call(n, 7, 7)).unwrap();
                    served += 1;
                }
                Funded::Short(..) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((served, refused), (14, 26), "{replicas} replicas");
        assert_eq!(house.bank.broken(), None);
        for ledger in &house.ledgers {
            ledger.close(Duration::from_secs(5)).await.unwrap();
        }
        assert_eq!(house.bank.spent(budget(), Window::ALL), 98);
        assert_eq!(house.bank.leased(budget(), Window::ALL), 0, "at rest nothing is leased");
    }
}

/// A refusal is believed for a twentieth of a second; after that it is asked again.
#[tokio::test(start_paused = true)]
async fn what_one_does_not_need_another_gets() {
    let house = house(2).await;
    let first = held(&house.ledgers[0], 90).await;
    let busy = held(&house.ledgers[1], 10).await;
    assert!(matches!(fund(&house.ledgers[1], 1).await, Funded::Short(_, Nanos::ZERO)), "all of it is held");
    drop(first);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let rest = held(&house.ledgers[1], 90).await;
    assert!(matches!(fund(&house.ledgers[0], 1).await, Funded::Short(..)));
    drop((busy, rest));
    tokio::time::sleep(Duration::from_millis(60)).await;
    let _all = held(&house.ledgers[0], 100).await;
    assert_eq!(house.bank.broken(), None);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_spends_its_lease_and_no_more() {
    let house = house(2).await;
    let cut = &house.ledgers[0];
    drop(held(cut, 30).await);
    house.tellers[0].away.store(true, std::sync::atomic::Ordering::SeqCst);
    let had = house.bank.leased(budget(), Window::ALL);
    assert!(had >= 30);
    let mine = cell(cut).await;
    let kept = mine.try_hold(mine.free()).unwrap();
    assert!(cut.fund(&mine, Nanos(1), Nanos::ZERO).await.is_err(), "503, and never 402");
    assert!(matches!(fund(&house.ledgers[1], 100 - had + 1).await, Funded::Elsewhere(_)));
    let other = held(&house.ledgers[1], 100 - had).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(matches!(fund(&house.ledgers[1], 1).await, Funded::Short(..)), "silent for long: it is not waited for");
    house.tellers[0].away.store(false, std::sync::atomic::Ordering::SeqCst);
    kept.release();
    drop(other);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _all = held(&house.ledgers[1], 100).await;
    assert_eq!(house.bank.broken(), None);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_only_what_was_spent_is_missing() {
    let bank = Arc::new(Bank::default());
    let disk = SimDisk::instant();
    let teller = Teller::new(&bank);
    let ledger = Ledger::open_on(disk.clone(), DIR, options(), teller.clone()).await.unwrap();
    let writer = ledger.writer().unwrap();
    let ended = writer.intent(&call(1, 7, 20), held(&ledger, 20).await.take()).unwrap();
    let running = writer.intent(&call(2, 9, 30), held(&ledger, 30).await.take()).unwrap();
    writer.settle(ended, call(1, 7, 20)).unwrap();
    let left = disk.after_kill();
    std::mem::forget(running);
    drop((writer, ledger));
    let ledger = Ledger::open_on(left, DIR, options(), teller).await.unwrap();
    assert_eq!((bank.spent(budget(), Window::ALL), bank.leased(budget(), Window::ALL)), (37, 0));
    let Funded::Short(cell, most) = fund(&ledger, 64).await else { panic!("37 of 100 are spent") };
    assert_eq!((most, cell.state().spent), (Nanos(63), Nanos(37)));
    let _rest = held(&ledger, 63).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_run_of_the_same_replica_gets_nothing_more() {
    let bank = Arc::new(Bank::default());
    let disk = SimDisk::instant();
    let old = Ledger::open_on(disk.clone(), DIR, options(), Teller::new(&bank)).await.unwrap();
    drop(held(&old, 10).await);
    let new = Ledger::open_on(disk.after_kill(), DIR, options(), Teller::new(&bank)).await.unwrap();
    let mine = cell(&old).await;
    assert!(old.fund(&mine, Nanos(90), Nanos::ZERO).await.is_err());
    let _all = held(&new, 60).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_lowered_and_raised_for_all() {
    let house = house(2).await;
    let cells = [cell(&house.ledgers[0]).await, cell(&house.ledgers[1]).await];
    drop(held(&house.ledgers[0], 40).await);
    drop(held(&house.ledgers[1], 40).await);
    cells.iter().for_each(|cell| cell.set_limit(Nanos(50)));
    assert!(cells.iter().all(|cell| cell.free() == Nanos::ZERO), "what was leased under the old limit is no more");
    let half = held(&house.ledgers[0], 50).await;
    assert!(matches!(fund(&house.ledgers[1], 1).await, Funded::Short(..)));
    cells.iter().for_each(|cell| cell.set_limit(Nanos(60)));
    let _more = held(&house.ledgers[1], 10).await;
    assert!(matches!(fund(&house.ledgers[1], 1).await, Funded::Short(..)));
    drop(half);
    assert_eq!(house.bank.broken(), None);
}

/// What was leased beyond the limit is for the call that may go beyond it, and for no other.
#[tokio::test(start_paused = true)]
async fn an_increase_is_for_the_calls_that_it_holds_for() {
    let house = house(2).await;
    let ledger = &house.ledgers[0];
    let most = held(ledger, 95).await;
    let mine = cell(ledger).await;
    let beyond = match ledger.fund(&mine, Nanos(25), Nanos(20)).await.unwrap() {
        Funded::Held(held) => held,
        other => panic!("{other:?}"),
    };
    assert!(matches!(ledger.fund(&mine, Nanos(1), Nanos(20)).await.unwrap(), Funded::Short(..)));
    drop(beyond);
    assert!(matches!(fund(ledger, 6).await, Funded::Short(..)), "the increase is not everybody's");
    drop(held(ledger, 5).await);
    drop(most);
    let _all = held(&house.ledgers[1], 100).await;
}

/// Many ask at once, at both: money for exactly seven.
#[tokio::test(start_paused = true)]
async fn of_many_at_once_exactly_as_many_are_served_as_there_is_money_for() {
    for round in 0..20 {
        let house = house(2).await;
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..200 {
            let ledger = house.ledgers[(n + round) % 2].clone();
            asking.spawn(async move {
                match fund(&ledger, 14).await {
                    Funded::Held(held) => Some(held.take().unwrap()),
                    Funded::Short(..) => None,
                    other => panic!("{other:?}"),
                }
            });
        }
        let answers = asking.join_all().await;
        assert_eq!(answers.iter().flatten().count(), 7);
        answers.into_iter().flatten().for_each(crate::Hold::release);
        assert_eq!(house.bank.broken(), None);
    }
}

/// A busy budget is leased ahead: calls do not ask each time.
#[tokio::test(start_paused = true)]
async fn a_busy_replica_leases_ahead() {
    let house = house(2).await;
    let ledger = &house.ledgers[0];
    let writer = ledger.writer().unwrap();
    let mine = ledger.budget(budget(), || Nanos(1_000_000)).await.unwrap();
    let (mut asked, mut n) = (0, 0);
    for _ in 0..200 {
        for _ in 0..10 {
            n += 1;
            let hold = match mine.try_hold(Nanos(30)) {
                Some(hold) => hold,
                None => {
                    asked += 1;
                    match ledger.fund(&mine, Nanos(30), Nanos::ZERO).await.unwrap() {
                        Funded::Held(held) => held.take().unwrap(),
                        other => panic!("{other:?}"),
                    }
                }
            };
            let intent = writer.intent(&call(n, 20, 30), Some(hold)).unwrap();
            writer.settle(intent, call(n, 20, 30)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(asked < 12, "{asked} of 2000 calls had to ask");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(house.bank.leased(budget(), Window::ALL), 0, "nobody needs it any more");
    assert_eq!(mine.state().spent, Nanos(40_000));
}
