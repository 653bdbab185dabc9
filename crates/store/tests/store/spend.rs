//! What was spent in a window of time, as budgets ask for it when they come into memory.

use crate::home::*;
use anykey_core::{BudgetId, Level, Nanos, Span, Subject, Window};

on_both!(what_began_in_a_window_is_summed_to_the_nano_dollar);

async fn what_began_in_a_window_is_summed_to_the_nano_dollar(home: &Home) {
    let store = home.open().await;
    let (key, _) = make(&store, "k").await;
    let (other, _) = make(&store, "other").await;
    // The first whole day after the start of the windows below.
    let midnight = (START / DAY + 2) * DAY;
    let mut calls = Vec::new();
    for (n, at) in [-DAY - 1, -DAY, -DAY + 1, -2 * HOUR, -1, 0, 1, HOUR, 3 * DAY].into_iter().enumerate() {
        for (owner, factor) in [(&key, 1), (&other, 1_000)] {
            let mut attempt = call(owner.id, public_id(owner), midnight + at);
            attempt.cost = Some(Nanos(factor << n));
            calls.push(attempt);
        }
    }
    store.apply(calls).await.unwrap();

    let spent = async |level, id, start: i64| {
        let id = BudgetId { subject: Subject { level, id }, span: Span::Month };
        store.spent_within(id, Window { start, end: midnight + 4 * DAY }).await.unwrap().0
    };
    // The n-th call cost the n-th power of two, so a sum says which calls are in it.
    for (start, sum) in [
        (-DAY, 0b1_1111_1110),
        (-DAY + 1, 0b1_1111_1100),
        (-DAY + 2, 0b1_1111_1000),
        (-HOUR, 0b1_1111_0000),
        (0, 0b1_1110_0000),
    ] {
        assert_eq!(spent(Level::Key, key.id.0, midnight + start).await, sum, "from {start}");
        assert_eq!(spent(Level::Key, other.id.0, midnight + start).await, 1_000 * sum, "from {start}");
        // Both keys are in the default project of the default organisation.
        for level in [Level::Project, Level::Organisation, Level::Installation] {
            assert_eq!(spent(level, [0; 16], midnight + start).await, 1_001 * sum, "{level:?} from {start}");
        }
        assert_eq!(spent(Level::Member, [7; 16], midnight + start).await, 0);
    }
    assert_eq!(spent(Level::Key, key.id.0, i64::MIN).await, 0b1_1111_1111, "all time");
    let total = store.spent_within(key.id.into(), Window::ALL).await.unwrap();
    assert_eq!(total, Nanos(0b1_1111_1111));
}
