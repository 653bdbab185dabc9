//! What was let through within the last minute, hour or day, so that no window of that length ever holds more than its
//! limit, wherever it begins.
//!
//! Each admission is written down with its time, and counts until its window has passed. Admissions that follow each
//! other closer than a hundredth of the window share a mark, which counts until the *last* of them has passed: a mark can
//! only stay too long, never go too early. So at most 101 marks are kept, and room comes back at most one hundredth of
//! the window late.

use std::collections::VecDeque;

/// Into so many parts a window is divided.
const PARTS: u64 = 100;

/// Admissions that count together.
#[derive(Clone, Copy, Debug)]
struct Mark {
    first: u64,
    last: u64,
    amount: u64,
}

/// One sliding window. Times are microseconds of one clock that never goes back.
#[derive(Clone, Debug)]
pub(super) struct Log {
    window: u64,
    marks: VecDeque<Mark>,
    sum: u64,
    /// The time up to which marks were forgotten.
    expired_at: u64,
}

impl Log {
    pub fn new(window: u64) -> Self {
        Log { window, marks: VecDeque::new(), sum: 0, expired_at: 0 }
    }

    /// Forgets what no window that ends now could hold. An admission exactly one window ago still counts: both ends
    /// belong to a window.
    pub fn expire(&mut self, now: u64) {
        self.expired_at = self.expired_at.max(now);
        while let Some(front) = self.marks.front().filter(|mark| mark.last + self.window < now) {
            self.sum -= front.amount;
            self.marks.pop_front();
        }
    }

    /// What counts now.
    pub const fn used(&self) -> u64 {
        self.sum
    }

    pub fn is_empty(&self) -> bool {
        self.sum == 0
    }

    /// The time that an admission gets: threads that read the clock together may come here out of order. It is never
    /// before what was forgotten, also for a call that was refused then: a window that ends earlier held more.
    pub fn time(&self, now: u64) -> u64 {
        self.marks.back().map_or(0, |mark| mark.last).max(self.expired_at).max(now)
    }

    pub fn add(&mut self, at: u64, amount: u64) {
        self.sum = self.sum.saturating_add(amount);
        match self.marks.back_mut() {
            Some(mark) if at < mark.first + self.window / PARTS => {
                mark.last = mark.last.max(at);
                mark.amount = mark.amount.saturating_add(amount);
            }
            _ => self.marks.push_back(Mark { first: at, last: at, amount }),
        }
    }

    /// Takes back some of what was admitted at that time, if it still counts.
    pub fn give_back(&mut self, at: u64, amount: u64) {
        let after = self.marks.partition_point(|mark| mark.first <= at);
        let Some(mark) = after.checked_sub(1).and_then(|n| self.marks.get_mut(n)) else { return };
        let amount = amount.min(mark.amount);
        mark.amount -= amount;
        self.sum -= amount;
    }

    /// How long until so much more fits under the limit; `None` where it never does.
    pub fn wait(&self, now: u64, amount: u64, limit: u64) -> Option<u64> {
        let room = limit.checked_sub(amount)?;
        let mut left = self.sum;
        let mut marks = self.marks.iter();
        let mut at = now;
        while left > room {
            let mark = marks.next()?;
            left -= mark.amount;
            at = at.max(mark.last + self.window + 1);
        }
        Some(at - now)
    }

    /// How long until nothing counts any more.
    pub fn full_reset(&self, now: u64) -> u64 {
        let last = self.marks.iter().rev().find(|mark| mark.amount > 0);
        last.map_or(0, |mark| (mark.last + self.window + 1).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: u64 = 60_000_000;

    #[test]
    fn a_window_is_exact_at_its_ends() {
        let mut log = Log::new(WINDOW);
        log.add(1_000, 1);
        log.expire(1_000 + WINDOW);
        assert_eq!((log.used(), log.wait(1_000 + WINDOW, 1, 1)), (1, Some(1)));
        log.expire(1_000 + WINDOW + 1);
        assert_eq!((log.used(), log.wait(1_000 + WINDOW + 1, 1, 1)), (0, Some(0)));
    }

    #[test]
    fn what_never_fits_is_told_from_what_fits_later() {
        let mut log = Log::new(WINDOW);
        log.add(0, 6);
        log.add(WINDOW / 2, 3);
        assert_eq!(log.wait(WINDOW / 2, 11, 10), None);
        assert_eq!(log.wait(WINDOW / 2, 10, 10), Some(WINDOW + 1));
        assert_eq!(log.wait(WINDOW / 2, 2, 10), Some(WINDOW / 2 + 1));
        assert_eq!(log.wait(WINDOW / 2, 1, 10), Some(0));
        assert_eq!(log.full_reset(WINDOW / 2), WINDOW + 1);
    }

    #[test]
    fn what_is_given_back_is_free_at_once_and_only_while_it_counts() {
        let mut log = Log::new(WINDOW);
        log.add(0, 5);
        log.add(WINDOW / 2, 5);
        log.give_back(0, 3);
        assert_eq!(log.used(), 7);
        log.expire(WINDOW + 1);
        log.give_back(0, 2);
        assert_eq!(log.used(), 5);
        log.give_back(WINDOW / 2, 9);
        assert!(log.is_empty() && log.full_reset(WINDOW + 1) == 0);
    }

    #[test]
    fn whoever_read_the_clock_before_another_is_let_in_no_earlier() {
        let mut log = Log::new(WINDOW);
        log.add(0, 5);
        // Somebody comes later, makes room, and is refused.
        log.expire(WINDOW + 10);
        assert_eq!(log.time(WINDOW), WINDOW + 10, "the window that ends here still held the five");
    }

    #[test]
    fn memory_is_bounded_however_many_come() {
        let mut log = Log::new(WINDOW);
        for n in 0..100_000u64 {
            let now = n * 1_300;
            log.expire(now);
            log.add(now, 1);
            assert!(log.marks.len() as u64 <= PARTS + 1);
        }
    }

    /// The most that any closed window of this length holds.
    fn most(admitted: &[(u64, u64)]) -> u64 {
        let from = |start: u64| admitted.iter().filter(move |(at, _)| (start..=start + WINDOW).contains(at));
        admitted.iter().map(|(start, _)| from(*start).map(|(_, n)| n).sum()).max().unwrap_or(0)
    }

    proptest! {
        /// Against a model that keeps every admission: never one above the limit in any window.
        #[test]
        fn no_window_ever_holds_more(
            limit in 1u64..50,
            steps in prop::collection::vec((prop_oneof![0u64..2_000, 0u64..3_000_000, 0u64..70_000_000], 1u64..4), 1..300),
        ) {
            let mut log = Log::new(WINDOW);
            let mut now = 0;
            let mut admitted = Vec::new();
            for (pause, amount) in steps {
                now += pause;
                log.expire(now);
                if log.wait(now, amount, limit) == Some(0) {
                    log.add(now, amount);
                    admitted.push((now, amount));
                }
            }
            prop_assert!(most(&admitted) <= limit);
        }

        /// Callers who take all they can get get 99 of 100, whatever their rhythm.
        #[test]
        fn nearly_all_of_a_limit_can_be_used(limit in 1u64..2_000, pause in 1u64..400_000) {
            let mut log = Log::new(WINDOW);
            let (mut now, mut total) = (0, 0u64);
            let end = 10 * WINDOW;
            while now < end {
                log.expire(now);
                if log.wait(now, 1, limit) == Some(0) {
                    log.add(now, 1);
                    total += 1;
                } else {
                    now += log.wait(now, 1, limit).unwrap();
                    continue;
                }
                now += pause;
            }
            let offered = end.div_ceil(pause);
            let usable = (limit * 10).min(offered);
            prop_assert!(total * 100 >= usable * 98, "{} of {}", total, usable);
        }

        /// The wait that is told is enough, and one microsecond less is not.
        #[test]
        fn a_wait_is_exact(
            limit in 1u64..20,
            steps in prop::collection::vec((0u64..9_000_000, 1u64..4), 1..60),
            amount in 1u64..10,
        ) {
            let mut log = Log::new(WINDOW);
            let mut now = 0;
            for (pause, amount) in steps {
                now += pause;
                log.expire(now);
                if log.wait(now, amount, limit) == Some(0) {
                    log.add(now, amount);
                }
            }
            if let Some(wait) = log.wait(now, amount, limit) {
                let fits = |at: u64| {
                    let mut later = log.clone();
                    later.expire(at);
                    later.used() + amount <= limit
                };
                prop_assert!(fits(now + wait));
                prop_assert!(wait == 0 || !fits(now + wait - 1));
            } else {
                prop_assert!(amount > limit);
            }
        }
    }
}
