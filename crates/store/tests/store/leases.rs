//! Leases of budgets that several processes on one PostgreSQL spend from.

use crate::home::*;
use crate::replicas::two;
use anykey_core::lease::{Ask, Lease, Loan, ReplicaId};
use anykey_core::record::Outcome;
use anykey_core::{BudgetId, Level, Nanos, Span, Subject, Window};
use anykey_store::{Store, StoreError};
use std::sync::Arc;

const HERE: ReplicaId = ReplicaId([1; 16]);
const THERE: ReplicaId = ReplicaId([2; 16]);

on_postgres!(
    all_that_is_granted_and_spent_is_within_the_limit,
    many_who_ask_at_once_get_what_there_is,
    records_move_the_budgets_that_pay_for_them,
    a_budget_that_is_made_while_batches_are_stored_misses_none,
    a_new_run_frees_what_an_older_one_had_and_the_older_gets_nothing,
    who_waits_is_heeded,
);

fn lease(id: BudgetId, window: Window, amount: i64) -> Lease {
    Lease { id, window, amount: Nanos(amount), is_firm: false }
}

fn ask(id: BudgetId, window: Window, kept: i64, limit: i64, least: i64) -> Ask {
    let kept = lease(id, window, kept);
    Ask { kept, limit: Nanos(limit), least: Nanos(least), most: Nanos(least), since: None }
}

async fn both(home: &Home) -> (Arc<Store>, Arc<Store>) {
    let (here, there) = two(home).await;
    here.begin_leases(HERE).await.unwrap();
    there.begin_leases(THERE).await.unwrap();
    (here, there)
}

fn project(span: Span) -> BudgetId {
    BudgetId { subject: Subject { level: Level::Project, id: [0; 16] }, span }
}

mod cases {
    use super::*;

    pub async fn all_that_is_granted_and_spent_is_within_the_limit(home: &Home) {
        let (here, there) = both(home).await;
        let (key, _) = make(&here, "k").await;
        let id = BudgetId::from(key.id);
        let mut spent = call(key.id, public_id(&key), START);
        spent.cost = Some(Nanos(40));
        here.apply(vec![spent]).await.unwrap();
        let granted = async |store: &Store, kept, least| {
            store.lease(&ask(id, Window::ALL, kept, 100, least)).await.unwrap().granted.0
        };
        assert_eq!(granted(&here, 0, 61).await, 0);
        assert_eq!(granted(&here, 0, 25).await, 25);
        assert_eq!(granted(&there, 0, 36).await, 0);
        assert_eq!(granted(&there, 0, 35).await, 35);
        assert_eq!(granted(&here, 25, 1).await, 0);
        // Said twice, as after a lost answer, it is still one lease.
        there.apply_with(&[], &[lease(id, Window::ALL, 10)]).await.unwrap();
        assert_eq!(granted(&here, 25, 25).await, 25);
        assert_eq!(granted(&here, 25, 25).await, 25);
        assert_eq!(granted(&here, 50, 1).await, 0);
    }

    pub async fn many_who_ask_at_once_get_what_there_is(home: &Home) {
        let (here, there) = both(home).await;
        let (id, window) = (project(Span::Day), Window { start: START - HOUR, end: START + HOUR });
        let mut asking = tokio::task::JoinSet::new();
        for store in [here, there] {
            asking.spawn(async move {
                let mut kept = 0;
                for _ in 0..40 {
                    kept += store.lease(&ask(id, window, kept, 700, 10)).await.unwrap().granted.0;
                }
                kept
            });
        }
        assert_eq!(asking.join_all().await.into_iter().sum::<i64>(), 700);
    }

    pub async fn records_move_the_budgets_that_pay_for_them(home: &Home) {
        let (here, there) = both(home).await;
        let (key, _) = make(&here, "k").await;
        let day = Window { start: START, end: START + DAY };
        let spent = async |id, window| there.lease(&ask(id, window, 0, 0, 0)).await.unwrap().standing.spent.0;
        let budgets = [(key.id.into(), Window::ALL), (project(Span::Day), day), (project(Span::Total), Window::ALL)];
        for (id, window) in budgets {
            assert_eq!(spent(id, window).await, 0);
        }
        let mut lost = call(key.id, public_id(&key), START);
        (lost.outcome, lost.cost) = (Outcome::Unresolved, Some(Nanos(500)));
        let mut before = call(key.id, public_id(&key), START - 1);
        before.cost = Some(Nanos(7));
        here.apply(vec![lost.clone(), before]).await.unwrap();
        assert_eq!(spent(key.id.into(), Window::ALL).await, 507);
        assert_eq!(spent(project(Span::Day), day).await, 500, "the other began the day before");
        // The truth comes late, and twice.
        let mut truth = lost;
        (truth.outcome, truth.cost) = (Outcome::Completed, Some(Nanos(200)));
        here.apply(vec![truth.clone()]).await.unwrap();
        there.apply(vec![truth]).await.unwrap();
        for ((id, window), sum) in budgets.into_iter().zip([207, 200, 207]) {
            assert_eq!(spent(id, window).await, sum);
            assert_eq!(here.spent_within(id, window).await.unwrap().0, sum);
        }
    }

    pub async fn a_budget_that_is_made_while_batches_are_stored_misses_none(home: &Home) {
        let (here, there) = both(home).await;
        let (key, _) = make(&here, "k").await;
        let mut storing = tokio::task::JoinSet::new();
        for store in [here.clone(), there.clone()] {
            let (id, public) = (key.id, public_id(&key));
            storing.spawn(async move {
                for _ in 0..20 {
                    store.apply((0..5).map(|_| call(id, public, START)).collect::<Vec<_>>()).await.unwrap();
                }
            });
        }
        for span in Span::ALL {
            for start in 0..5 {
                let window = Window { start: START - start, end: START + DAY };
                here.lease(&ask(project(span), window, 0, 0, 0)).await.unwrap();
            }
        }
        storing.join_all().await;
        for span in Span::ALL {
            for start in 0..5 {
                let window = Window { start: START - start, end: START + DAY };
                let loan = there.lease(&ask(project(span), window, 0, 0, 0)).await.unwrap();
                assert_eq!(loan.standing.spent.0, 2 * 20 * 5 * 1_000, "{span:?} {start}");
            }
        }
    }

    pub async fn a_new_run_frees_what_an_older_one_had_and_the_older_gets_nothing(home: &Home) {
        let (here, there) = both(home).await;
        let (key, _) = make(&here, "k").await;
        let id = BudgetId::from(key.id);
        assert_eq!(here.lease(&ask(id, Window::ALL, 0, 100, 90)).await.unwrap().granted.0, 90);
        there.begin_leases(HERE).await.unwrap();
        assert_eq!(there.lease(&ask(id, Window::ALL, 0, 100, 80)).await.unwrap().granted.0, 80);
        let refused = here.lease(&ask(id, Window::ALL, 90, 100, 1)).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        // Its records are taken as ever; what it says of leases is not.
        let late = call(key.id, public_id(&key), START);
        here.apply_with(&[late], &[lease(id, Window::ALL, 0)]).await.unwrap();
        let loan = there.lease(&ask(id, Window::ALL, 80, 2_000, 1)).await.unwrap();
        assert_eq!((loan.standing.spent.0, loan.standing.elsewhere.0, loan.granted.0), (1_000, 0, 1));
    }

    pub async fn who_waits_is_heeded(home: &Home) {
        let (here, there) = both(home).await;
        let (key, _) = make(&here, "k").await;
        let id = BudgetId::from(key.id);
        assert_eq!(here.lease(&ask(id, Window::ALL, 0, 100, 90)).await.unwrap().granted.0, 90);
        assert_eq!(here.recalled().await.unwrap(), []);
        let wanted = ask(id, Window::ALL, 0, 100, 20);
        let Loan { granted, standing } = there.lease(&wanted).await.unwrap();
        assert_eq!((granted.0, standing.unheard.0, standing.replicas), (0, 90, 2));
        assert_eq!(here.recalled().await.unwrap(), [(id, i64::MIN)]);
        assert_eq!(there.recalled().await.unwrap(), [], "nothing is leased there");
        // It needs all but a little.
        let firm = Lease { is_firm: true, ..lease(id, Window::ALL, 85) };
        here.apply_with(&[], &[firm]).await.unwrap();
        let again = Ask { since: Some(standing.now), ..wanted };
        let Loan { granted, standing } = there.lease(&again).await.unwrap();
        assert_eq!((granted.0, standing.elsewhere.0, standing.unheard.0), (0, 85, 0));
        assert!(standing.crowded && !again.may_come(standing));
        // Asked anew, it may need less by now.
        assert_eq!(there.lease(&wanted).await.unwrap().standing.unheard.0, 85);
    }
}
