//! What a call holds of limits while it runs.

use super::meter::{Share, Short};
use super::{Counters, Demand, Full, Micros, Target, applying};
use crate::controls::{Bound, ModelGlob};
use std::sync::Arc;
use std::time::Duration;

/// What a call has taken. Dropped, it gives everything back.
#[derive(Debug)]
#[must_use = "what was taken is given back when this is dropped"]
pub struct Permit {
    demand: Demand,
    pub(super) taken: Vec<Taken>,
    open: bool,
}

#[derive(Debug)]
pub(super) struct Taken {
    counters: Arc<Counters>,
    meter: usize,
    pub(super) share: Share,
}

impl Permit {
    pub(super) fn new(demand: Demand) -> Self {
        Permit { demand, taken: Vec::new(), open: true }
    }

    /// Takes of one bound, all that applies or nothing.
    pub(super) fn add(
        &mut self,
        counters: &Arc<Counters>,
        bound: &Bound,
        target: Option<Target<'_>>,
        now: Micros,
    ) -> Result<(), Box<Full>> {
        let first = self.taken.len();
        let mut inner = counters.0.lock();
        let mut short: Option<(Option<&ModelGlob>, Short)> = None;
        for (models, limits) in applying(&bound.controls, target) {
            let index = inner.index(models);
            let meter = &mut inner.meters[index].1;
            let at = meter.advance(now);
            match meter.fits(limits, &self.demand, at) {
                Ok(tokens) if short.is_none() => {
                    let share = meter.take(limits, tokens, at);
                    self.taken.push(Taken { counters: Arc::clone(counters), meter: index, share });
                }
                Ok(_) => {}
                Err(one) => {
                    let longer = |(_, other): &(_, Short)| other.wait.is_some_and(|o| one.wait.is_none_or(|w| w > o));
                    if short.as_ref().is_none_or(longer) {
                        short = Some((models, one));
                    }
                }
            }
        }
        let Some((models, short)) = short else { return Ok(()) };
        for taken in self.taken.drain(first..) {
            inner.meters[taken.meter].1.give_back(&taken.share);
        }
        Err(Box::new(Full {
            bound: bound.clone(),
            models: models.cloned(),
            dimension: short.dimension,
            limit: short.limit,
            used: short.used,
            wanted: short.wanted,
            wait: short.wait.map(Duration::from_micros),
        }))
    }

    /// Ends a call that was never sent to a provider: nothing of it counts.
    pub fn cancel(mut self) {
        self.give_back();
    }

    /// Ends a call: the request counts, and the tokens that it used. `None`: it used none.
    pub fn settle(mut self, used: Option<(u64, u64)>, now: Micros) {
        self.open = false;
        for taken in &self.taken {
            taken.counters.0.lock().meters[taken.meter].1.settle(&taken.share, &self.demand, used, now);
        }
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.open) {
            for taken in &self.taken {
                taken.counters.0.lock().meters[taken.meter].1.give_back(&taken.share);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back();
    }
}
