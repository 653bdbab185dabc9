//! The figures of one thread's calls. Their labels are what the operator named (providers) or what the program knows
//! (endpoints, outcomes, codes), never what a caller wrote: nobody outside can make their number grow.

use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UNITS;
use anykey_core::{Endpoint, Nanos};
use foldhash::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Upper bounds of the histograms' buckets, in microseconds: from an answer out of memory to a long stream.
pub const BOUNDS: [u64; 16] = [
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    600_000_000,
];

/// What is counted of calls.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Calls by how they ended.
    pub ends: HashMap<End, u64>,
    /// What providers did, by provider and endpoint.
    pub work: HashMap<Served, Work>,
    /// Attempts that never reached their provider and were made again, by provider.
    pub lost: HashMap<Arc<str>, u64>,
    /// Calls that run now.
    pub running: i64,
    /// Connections that are open now.
    pub connections: i64,
    /// Lines of the log that found no room because nobody came for them.
    pub missed_lines: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// `None` where the path is none that is served.
    pub endpoint: Option<Endpoint>,
    /// Empty where none was reached.
    pub provider: Arc<str>,
    pub outcome: Outcome,
    /// The machine code of a refusal; empty otherwise.
    pub code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Served {
    pub endpoint: Endpoint,
    pub provider: Arc<str>,
}

#[derive(Clone, Debug, Default)]
pub struct Work {
    /// From a request's head to the end of its answer.
    pub total: Times,
    /// From a request's head to the first byte of its answer.
    pub first_byte: Times,
    /// What was used, by [`anykey_core::Unit`].
    pub units: [u64; UNITS],
    pub cost: Nanos,
    /// Calls whose cost is not known because no price was.
    pub unpriced: u64,
    /// Calls for which the provider billed more than was set aside, and by how much.
    pub overruns: u64,
    pub overrun: Nanos,
}

/// A histogram of times.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// How many lie at or below each of [`BOUNDS`] and above the one before it; the last of all is for longer ones.
    pub buckets: [u64; BOUNDS.len() + 1],
    pub sum_us: u64,
}

impl Times {
    fn add(&mut self, us: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < us);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    fn add_all(&mut self, other: &Times) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, more)| *sum += more);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Work {
    fn add(&mut self, record: &AttemptRecord) {
        self.total.add(record.total_us);
        if record.first_byte_us > 0 {
            self.first_byte.add(record.first_byte_us);
        }
        for (unit, n) in record.usage.iter() {
            self.units[unit as usize] = self.units[unit as usize].saturating_add(n);
        }
        match record.cost {
            Some(cost) => self.cost = self.cost.saturating_add(cost),
            None => self.unpriced += 1,
        }
        let over = Nanos(record.cost.unwrap_or_default().0.saturating_sub(record.hold.0));
        if record.hold > Nanos::ZERO && over > Nanos::ZERO {
            self.overruns += 1;
            self.overrun = self.overrun.saturating_add(over);
        }
    }

    fn add_all(&mut self, other: &Work) {
        self.total.add_all(&other.total);
        self.first_byte.add_all(&other.first_byte);
        self.units.iter_mut().zip(other.units).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.cost = self.cost.saturating_add(other.cost);
        self.unpriced += other.unpriced;
        self.overruns += other.overruns;
        self.overrun = self.overrun.saturating_add(other.overrun);
    }
}

#[derive(Default)]
pub(super) struct Figures {
    counts: Mutex<Counts>,
    running: AtomicI64,
    connections: AtomicI64,
}

impl Figures {
    pub fn running(&self, change: i64) {
        self.running.fetch_add(change, Ordering::Relaxed);
    }

    pub fn connections(&self, change: i64) {
        self.connections.fetch_add(change, Ordering::Relaxed);
    }

    pub fn ended(&self, record: &AttemptRecord) {
        let (endpoint, provider) = (record.endpoint, record.provider.clone());
        let end = End { endpoint: Some(endpoint), provider, outcome: record.outcome, code: record.code };
        let mut counts = self.counts.lock();
        *counts.ends.entry(end).or_default() += 1;
        if record.attempt > 0 {
            counts.work.entry(Served { endpoint, provider: record.provider.clone() }).or_default().add(record);
        }
    }

    pub fn lost(&self, provider: &Arc<str>) {
        *self.counts.lock().lost.entry(provider.clone()).or_default() += 1;
    }

    pub fn unrecorded(&self, endpoint: Option<Endpoint>, outcome: Outcome, code: &'static str) {
        let end = End { endpoint, provider: Arc::default(), outcome, code };
        *self.counts.lock().ends.entry(end).or_default() += 1;
    }

    pub fn add_to(&self, sum: &mut Counts) {
        sum.running += self.running.load(Ordering::Relaxed);
        sum.connections += self.connections.load(Ordering::Relaxed);
        let counts = self.counts.lock();
        for (end, n) in &counts.ends {
            *sum.ends.entry(end.clone()).or_default() += n;
        }
        for (served, work) in &counts.work {
            sum.work.entry(served.clone()).or_default().add_all(work);
        }
        for (provider, n) in &counts.lost {
            *sum.lost.entry(provider.clone()).or_default() += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_reaches_it() {
        let mut times = Times::default();
        for us in [0, 1_000, 1_001, 600_000_000, 600_000_001] {
            times.add(us);
        }
        assert_eq!((times.buckets[0], times.buckets[1]), (2, 1));
        assert_eq!((times.buckets[BOUNDS.len() - 1], times.buckets[BOUNDS.len()]), (1, 1));
        assert_eq!((times.count(), times.sum_us), (5, 1_200_002_002));
        assert!(BOUNDS.is_sorted());
    }
}
