//! Rate limits: counts what calls take of every bound they stand under, all of it or none, and gives back what they did
//! not use. In memory, with a lock for each bound that is held for a few comparisons and never while waiting.

mod log;
mod meter;
#[cfg(test)]
mod model;
mod permit;
#[cfg(test)]
mod proof;
mod refusal;
#[cfg(test)]
mod tests;

use crate::controls::{Bound, Controls, Dimension, Level, Limits, ModelGlob};
use meter::Meter;
use parking_lot::Mutex;
pub use permit::Permit;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Microseconds of a limiter's clock, which never goes back.
pub type Micros = u64;

const DAY: Micros = 24 * 60 * 60 * 1_000_000;
/// What the clock shows when a limiter begins, so that what was used before has a time too.
const BEGINNING: Micros = DAY + DAY / 24;
const SHARDS: usize = 64;
/// So many shards are looked through at once for bounds that nobody uses, to keep that short.
const SWEPT: usize = 4;

/// What a call is going to take, as far as it is known beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// Bytes of text in the request, of which the tokens are estimated.
    pub bytes: u64,
    /// Input tokens that do not depend on those bytes, such as those of images.
    pub fixed_input: u64,
    /// No request has more input tokens than this.
    pub window: Option<u64>,
    /// The most output tokens, where the call says so.
    pub output: Option<u64>,
    /// Uses no tokens at all.
    pub free: bool,
}

/// The model that would serve a call.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub provider: &'a str,
    pub model: &'a str,
}

/// A limit that a call does not fit under.
#[derive(Clone, Debug)]
pub struct Full {
    pub bound: Bound,
    /// The pattern whose models share the limit; `None` where it is for all.
    pub models: Option<ModelGlob>,
    pub dimension: Dimension,
    pub limit: u64,
    pub used: u64,
    /// What the call would have taken.
    pub wanted: u64,
    /// When the call would fit, if nothing else is taken; `None`: never, it is larger than the limit. Zero for calls at
    /// once, where nobody knows.
    pub wait: Option<Duration>,
}

/// How a limit stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub bound: &'a Bound,
    pub models: Option<&'a ModelGlob>,
    pub dimension: Dimension,
    pub limit: u64,
    pub used: u64,
    /// Until there is room for one more.
    pub next: Duration,
    /// Until nothing of it is used any more.
    pub reset: Duration,
}

impl Standing<'_> {
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// What was used before this process began: so long ago, of such a model.
#[derive(Clone, Debug)]
pub struct Past {
    pub ago: Duration,
    pub provider: Arc<str>,
    pub model: Arc<str>,
    pub requests: u64,
    pub tokens: u64,
}

/// Whose counters they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner {
    level: Level,
    id: [u8; 16],
}

impl Owner {
    fn of(bound: &Bound) -> Self {
        Owner { level: bound.level, id: bound.id }
    }
}

type Shard = Mutex<HashMap<Owner, Arc<Counters>>>;

/// The counters of one bound.
#[derive(Debug, Default)]
struct Counters(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether what was used before this process began is in.
    remembers: bool,
    /// First those of all models, then those of patterns. They stay in place while a permit is out.
    meters: Vec<(Option<ModelGlob>, Meter)>,
}

impl Inner {
    fn index(&mut self, models: Option<&ModelGlob>) -> usize {
        let found = self.meters.iter().position(|(glob, _)| glob.as_ref() == models);
        found.unwrap_or_else(|| {
            self.meters.push((models.cloned(), Meter::default()));
            self.meters.len() - 1
        })
    }
}

/// The limits of a bound that count for a target; without a target those for all models.
fn applying<'a>(
    controls: &'a Controls,
    target: Option<Target<'a>>,
) -> impl Iterator<Item = (Option<&'a ModelGlob>, &'a Limits)> {
    let whole = Some((None, &controls.limits)).filter(|(_, limits)| !limits.is_empty());
    let of_models =
        target.map(|t| controls.model_limits_of(t.provider, t.model).map(|(glob, limits)| (Some(glob), limits)));
    whole.into_iter().chain(of_models.into_iter().flatten())
}

/// All counters of a process.
pub struct Limiter {
    began: Instant,
    shards: Box<[Shard]>,
    /// The next shard to look through.
    next_swept: AtomicUsize,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter {
            began: Instant::now(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next_swept: AtomicUsize::new(0),
        }
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

impl Limiter {
    pub fn now(&self) -> Micros {
        BEGINNING + u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX / 2)
    }

    /// How long this limiter has counted.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    fn shard(&self, owner: Owner) -> &Shard {
        // The end of an id is random.
        &self.shards[usize::from(owner.id[15]) % SHARDS]
    }

    fn counters(&self, bound: &Bound) -> Arc<Counters> {
        let owner = Owner::of(bound);
        Arc::clone(self.shard(owner).lock().entry(owner).or_default())
    }

    /// Takes a request and its tokens of every bound, or of none. `bounds` is a chain, outermost first; it is gone through
    /// from the inside, so that a key that is at its own limit takes nothing from those who share the outer ones. Without
    /// a target no model is called, and limits of models are not looked at.
    pub fn take<'a>(
        &self,
        bounds: &[Bound],
        target: impl Into<Option<Target<'a>>>,
        demand: &Demand,
        now: Micros,
    ) -> Result<Permit, Box<Full>> {
        let target = target.into();
        let mut permit = Permit::new(*demand);
        for bound in bounds.iter().rev().filter(|bound| bound.controls.has_limits()) {
            let counters = self.counters(bound);
            if let Err(full) = permit.add(&counters, bound, target, now) {
                permit.cancel();
                return Err(full);
            }
        }
        Ok(permit)
    }

    /// The bounds whose earlier use is still to be told with [`Limiter::remember`]: those that were not used since this
    /// process began, as long as one of their windows reaches back before that.
    pub fn forgetful<'a>(&self, bounds: &'a [Bound], now: Micros) -> Vec<&'a Bound> {
        let reaches_back = |bound: &&Bound| {
            bound.controls.longest_window().is_some_and(|window| u128::from(now - BEGINNING) < window.as_micros())
        };
        let limited = bounds.iter().filter(reaches_back);
        limited.filter(|bound| !self.counters(bound).0.lock().remembers).collect()
    }

    /// Counts what a bound used before this process began, oldest first. Only the first time counts.
    pub fn remember(&self, bound: &Bound, past: &[Past], now: Micros) {
        let counters = self.counters(bound);
        let mut inner = counters.0.lock();
        if std::mem::replace(&mut inner.remembers, true) {
            return;
        }
        for used in past {
            let at = now.saturating_sub(u64::try_from(used.ago.as_micros()).unwrap_or(u64::MAX));
            let target = Target { provider: &used.provider, model: &used.model };
            for (models, limits) in applying(&bound.controls, Some(target)) {
                let index = inner.index(models);
                for (dimension, _) in limits.iter() {
                    let amount = match dimension {
                        Dimension::Rpm | Dimension::Rph | Dimension::Rpd => used.requests,
                        Dimension::Tpm | Dimension::Tpd => used.tokens,
                        Dimension::Concurrency => continue,
                    };
                    inner.meters[index].1.remember(dimension, at, amount);
                }
            }
        }
    }

    /// Shows how every limit of a chain stands, outermost first: those for all models, and with a target also those for
    /// its patterns.
    pub fn standings<'a>(
        &self,
        bounds: &'a [Bound],
        target: Option<Target<'a>>,
        now: Micros,
        mut show: impl FnMut(Standing<'a>),
    ) {
        for bound in bounds.iter().filter(|bound| bound.controls.has_limits()) {
            self.stand(bound, applying(&bound.controls, target), now, &mut show);
        }
    }

    /// The same with the limits of all patterns.
    pub fn all_standings<'a>(&self, bounds: &'a [Bound], now: Micros, mut show: impl FnMut(Standing<'a>)) {
        for bound in bounds.iter().filter(|bound| bound.controls.has_limits()) {
            let controls = &bound.controls;
            let of_models = controls.model_limits.iter().map(|(glob, limits)| (Some(glob), limits));
            self.stand(bound, std::iter::once((None, &controls.limits)).chain(of_models), now, &mut show);
        }
    }

    fn stand<'a>(
        &self,
        bound: &'a Bound,
        limits: impl Iterator<Item = (Option<&'a ModelGlob>, &'a Limits)>,
        now: Micros,
        show: &mut impl FnMut(Standing<'a>),
    ) {
        let owner = Owner::of(bound);
        let counters = self.shard(owner).lock().get(&owner).cloned();
        let mut inner = counters.as_ref().map(|counters| counters.0.lock());
        for (models, limits) in limits {
            let meters = inner.as_mut().map(|inner| &mut inner.meters);
            let mut meter =
                meters.and_then(|m| m.iter_mut().find(|(g, _)| g.as_ref() == models)).map(|(_, meter)| meter);
            let at = meter.as_mut().map_or(now, |meter| meter.advance(now));
            for (dimension, limit) in limits.iter() {
                let stand = meter.as_ref().map_or((0, 0, 0), |meter| meter.stand(dimension, limit, at));
                let (used, next, reset) = stand;
                let [next, reset] = [next, reset].map(Duration::from_micros);
                show(Standing { bound, models, dimension, limit, used, next, reset });
            }
        }
    }

    /// Drops the counters of bounds that nobody uses; a part of them each time.
    pub fn sweep(&self, now: Micros) {
        let first = self.next_swept.fetch_add(SWEPT, Ordering::Relaxed);
        for n in first..first + SWEPT {
            let mut shard = self.shards[n % SHARDS].lock();
            shard.retain(|_, counters| Arc::strong_count(counters) > 1 || !idle(&mut counters.0.lock(), now));
            if shard.capacity() > 64 && shard.capacity() / 4 > shard.len() {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many bounds have counters.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether the counters can be made anew when they are asked for. As long as a window may reach back before this process
/// began, having been told of that is worth keeping.
fn idle(inner: &mut Inner, now: Micros) -> bool {
    inner.meters.iter_mut().for_each(|(_, meter)| {
        meter.advance(now);
    });
    inner.meters.iter().all(|(_, meter)| meter.is_idle()) && (!inner.remembers || now >= BEGINNING + DAY)
}
