//! Leases of budgets: how several processes spend one budget without asking each other on every call. Each keeps a part for
//! itself, which the database grants; the words of that, and the one rule by which it is decided.

use crate::{BudgetId, Nanos, Window};

/// What a process calls itself towards others, for as long as its journal exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub [u8; 16]);

/// What a process keeps of a budget in a window: nobody else may spend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: BudgetId,
    pub window: Window,
    pub amount: Nanos,
    /// Whether nothing is kept beyond what calls need that are running: others who wait need not wait for this one.
    pub is_firm: bool,
}

/// What is asked of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is kept of it already.
    pub kept: Lease,
    /// What may be spent and leased in all.
    pub limit: Nanos,
    /// Less than this is of no use.
    pub least: Nanos,
    /// More than this is not needed.
    pub most: Nanos,
    /// When this was first refused, by the clock of the books: what others kept then, and have not said since that they
    /// need, may still come.
    pub since: Option<i64>,
}

/// How a budget stands, seen by whoever asks, with no grant in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What stored records spent in the window, whoever stored them.
    pub spent: Nanos,
    /// What others have leased.
    pub elsewhere: Nanos,
    /// Of that, what they may not need and have not been heard about.
    pub unheard: Nanos,
    /// How many processes may ask.
    pub replicas: u32,
    /// Whether somebody waits for what others keep: then nobody gets more than is needed at once.
    pub crowded: bool,
    /// The time of the books, in milliseconds.
    pub now: i64,
}

/// What is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loan {
    /// Zero, or from `least` to `most`.
    pub granted: Nanos,
    pub standing: Standing,
}

impl Ask {
    /// Spent, leased and granted together are at most the limit. Nobody gets more than a fair part of what is left, unless
    /// a single call needs it, so that the last of it is not kept where it is not used.
    pub fn decide(&self, standing: Standing) -> Loan {
        let left = self.left(standing).max(Nanos::ZERO);
        let fair = if standing.crowded { 0 } else { left.0 / (2 * i64::from(standing.replicas.max(1))) };
        let most = self.most.0.min(fair).max(self.least.0);
        let granted = if self.least <= left { Nanos(most.min(left.0)) } else { Nanos::ZERO };
        Loan { granted, standing }
    }

    /// What may still be granted.
    fn left(&self, standing: Standing) -> Nanos {
        let taken = standing.spent.saturating_add(standing.elsewhere).saturating_add(self.kept.amount);
        self.limit.saturating_sub(taken)
    }

    /// What is left after a loan.
    pub fn left_after(&self, loan: &Loan) -> Nanos {
        self.left(loan.standing).saturating_sub(loan.granted).max(Nanos::ZERO)
    }

    /// Whether what was refused could be had if others gave back what they do not need.
    pub fn may_come(&self, standing: Standing) -> bool {
        self.least > self.left(standing) && self.least <= self.left(standing).saturating_add(standing.unheard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyId;
    use proptest::prelude::*;

    fn ask(kept: i64, limit: i64, least: i64, most: i64) -> Ask {
        let kept = Lease { id: KeyId([1; 16]).into(), window: Window::ALL, amount: Nanos(kept), is_firm: false };
        Ask { kept, limit: Nanos(limit), least: Nanos(least), most: Nanos(most), since: None }
    }

    fn standing(spent: i64, elsewhere: i64, unheard: i64, replicas: u32, crowded: bool) -> Standing {
        Standing {
            spent: Nanos(spent),
            elsewhere: Nanos(elsewhere),
            unheard: Nanos(unheard),
            replicas,
            crowded,
            now: 0,
        }
    }

    proptest! {
        #[test]
        fn a_grant_keeps_the_limit_and_is_of_use(
            (kept, limit, least, more) in (0..50i64, 0..200i64, 0..80i64, 0..80i64),
            (spent, elsewhere, replicas, crowded) in (0..150i64, 0..100i64, 0..5u32, any::<bool>()),
        ) {
            let ask = ask(kept, limit, least, least + more);
            let loan = ask.decide(standing(spent, elsewhere, 0, replicas, crowded));
            let taken = spent + elsewhere + kept;
            prop_assert!(loan.granted == Nanos::ZERO || taken + loan.granted.0 <= limit);
            prop_assert!(loan.granted == Nanos::ZERO || (least..=least + more).contains(&loan.granted.0));
            // What can be granted is.
            prop_assert_eq!(loan.granted < Nanos(least), least > 0 && taken + least > limit);
            prop_assert_eq!(ask.left_after(&loan).0, (limit - taken - loan.granted.0).max(0));
        }
    }

    #[test]
    fn others_are_waited_for_only_where_that_can_help() {
        let ask = ask(10, 100, 30, 30);
        assert!(!ask.may_come(standing(50, 0, 0, 2, false)), "there is enough");
        assert!(ask.may_come(standing(50, 20, 10, 2, false)));
        assert!(!ask.may_come(standing(50, 20, 9, 2, false)));
        assert!(!ask.may_come(standing(100, 20, 10, 2, false)));
    }

    #[test]
    fn at_the_ends_of_the_range_nothing_wraps() {
        let all = standing(i64::MAX, i64::MAX, i64::MAX, u32::MAX, false);
        assert_eq!(ask(i64::MAX, i64::MAX, 1, i64::MAX).decide(all).granted, Nanos::ZERO);
        assert_eq!(ask(0, i64::MAX, 1, i64::MAX).decide(standing(0, 0, 0, 1, false)).granted, Nanos(i64::MAX / 2));
        assert_eq!(ask(0, i64::MAX, i64::MAX, i64::MAX).decide(Standing::default()).granted, Nanos(i64::MAX));
    }
}
