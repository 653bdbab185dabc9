//! The counters of one bound: a window for each dimension that it limits, the calls that run, and what recent calls say
//! about how many tokens the next one may use.

use super::log::Log;
use super::{Demand, Micros};
use crate::controls::{Dimension, Limits, Unit};

const WINDOWS: usize = Dimension::WINDOWED.len();

/// A call that names no bound and comes first is taken to answer with so many tokens, or with what is left.
const FIRST_GUESS: u64 = 1024;
/// Tokens in 1024 bytes of a request, as long as nothing else is known: one for every four bytes.
const USUAL_DENSITY: u64 = 256;
/// How fast what was learned fades, so that one odd call does not bind for ever.
const FADE: u64 = 32;

/// What recent calls used, to estimate the next: the heaviest of them, slowly forgotten.
#[derive(Clone, Copy, Debug, Default)]
struct Learned {
    /// Output tokens; `None` until a call has ended.
    longest: Option<u64>,
    /// Input tokens in 1024 bytes.
    density: u64,
}

impl Learned {
    /// The tokens of a call and whether its output is a mere guess, which may be cut to what is left.
    fn expect(&self, demand: &Demand) -> Expected {
        let density = self.density.max(USUAL_DENSITY);
        let input = demand.fixed_input.saturating_add(demand.bytes.saturating_mul(density).div_ceil(1024));
        let input = input.min(demand.window.unwrap_or(u64::MAX));
        match (demand.output, self.longest) {
            (Some(bound), _) => Expected { least: input.saturating_add(bound), guess: 0 },
            (None, Some(longest)) => Expected { least: input.saturating_add(longest), guess: 0 },
            (None, None) => Expected { least: input.saturating_add(1), guess: FIRST_GUESS - 1 },
        }
    }

    fn learn(&mut self, demand: &Demand, input: u64, output: u64) {
        let faded = |before: u64| before - before / FADE;
        if demand.output.is_none() {
            self.longest = Some(output.max(faded(self.longest.unwrap_or(0))));
        }
        if demand.bytes > 0 {
            let seen = input.saturating_sub(demand.fixed_input).saturating_mul(1024).div_ceil(demand.bytes);
            self.density = seen.max(faded(self.density));
        }
    }
}

struct Expected {
    least: u64,
    guess: u64,
}

/// The counters of a bound, for all models or for those of one pattern.
#[derive(Debug, Default)]
pub(super) struct Meter {
    logs: [Option<Log>; WINDOWS],
    running: u64,
    learned: Learned,
}

/// Why a call does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short {
    pub dimension: Dimension,
    pub limit: u64,
    pub used: u64,
    pub wanted: u64,
    /// `None`: however long one waits. Calls at once give no time: it is when one of them ends.
    pub wait: Option<Micros>,
}

/// What a call took of a meter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub at: Micros,
    pub tokens: u64,
    /// The dimensions that were limited then, as bits.
    counted: u8,
}

impl Meter {
    fn log(&mut self, dimension: Dimension) -> &mut Log {
        let window = dimension.window_seconds().unwrap_or(0) * 1_000_000;
        self.logs[dimension as usize].get_or_insert_with(|| Log::new(window))
    }

    /// Brings the windows up to now and gives the time that an admission would get.
    pub fn advance(&mut self, now: Micros) -> Micros {
        let mut at = now;
        for log in self.logs.iter_mut().flatten() {
            at = log.time(at);
        }
        self.logs.iter_mut().flatten().for_each(|log| log.expire(at));
        at
    }

    /// Whether the call fits, and with how many tokens; otherwise what it is short of for the longest.
    pub fn fits(&self, limits: &Limits, demand: &Demand, at: Micros) -> Result<u64, Short> {
        let expected = self.learned.expect(demand);
        let mut tokens = expected.least.saturating_add(expected.guess);
        let mut short: Option<Short> = None;
        for (dimension, limit) in limits.iter() {
            let used = self.used(dimension);
            let wanted = match dimension.unit() {
                Unit::Requests | Unit::Calls => 1,
                Unit::Tokens if demand.free => continue,
                Unit::Tokens => expected.least,
            };
            if used.saturating_add(wanted) <= limit {
                if dimension.unit() == Unit::Tokens {
                    tokens = tokens.min(limit - used);
                }
                continue;
            }
            let wait = match &self.logs.get(dimension as usize) {
                Some(Some(log)) => log.wait(at, wanted, limit),
                Some(None) => None,
                None => Some(0),
            };
            let longer = |other: &Short| other.wait.is_some_and(|other| wait.is_none_or(|wait| wait > other));
            if short.as_ref().is_none_or(longer) {
                short = Some(Short { dimension, limit, used, wanted, wait });
            }
        }
        match short {
            Some(short) => Err(short),
            None => Ok(if demand.free { 0 } else { tokens }),
        }
    }

    /// Counts a call that fits.
    pub fn take(&mut self, limits: &Limits, tokens: u64, at: Micros) -> Share {
        let mut counted = 0;
        for (dimension, _) in limits.iter() {
            let amount = match dimension.unit() {
                Unit::Requests => 1,
                Unit::Tokens => tokens,
                Unit::Calls => continue,
            };
            self.log(dimension).add(at, amount);
            counted |= 1 << dimension as u8;
        }
        self.running += 1;
        Share { at, tokens, counted }
    }

    fn counted(&mut self, share: &Share, unit: Unit) -> impl Iterator<Item = &mut Log> {
        let counted = share.counted;
        let wanted = move |d: &Dimension| d.unit() == unit && counted & (1 << *d as u8) != 0;
        self.logs
            .iter_mut()
            .zip(Dimension::WINDOWED)
            .filter(move |(_, d)| wanted(d))
            .filter_map(|(log, _)| log.as_mut())
    }

    /// The call was never sent: as if it had not come.
    pub fn give_back(&mut self, share: &Share) {
        self.running = self.running.saturating_sub(1);
        self.counted(share, Unit::Requests).for_each(|log| log.give_back(share.at, 1));
        self.counted(share, Unit::Tokens).for_each(|log| log.give_back(share.at, share.tokens));
    }

    /// The call has ended: what it used takes the place of what it was taken to use. What it used beyond that counts from
    /// now on, since that is when it is known.
    pub fn settle(&mut self, share: &Share, demand: &Demand, used: Option<(u64, u64)>, now: Micros) {
        self.running = self.running.saturating_sub(1);
        let total = used.map_or(0, |(input, output)| input.saturating_add(output));
        for log in self.counted(share, Unit::Tokens) {
            log.give_back(share.at, share.tokens.saturating_sub(total));
            let beyond = total.saturating_sub(share.tokens);
            if beyond > 0 {
                let now = log.time(now);
                log.expire(now);
                log.add(now, beyond);
            }
        }
        if let Some((input, output)) = used.filter(|_| !demand.free) {
            self.learned.learn(demand, input, output);
        }
    }

    /// Counts what was used before this process began.
    pub fn remember(&mut self, dimension: Dimension, at: Micros, amount: u64) {
        let log = self.log(dimension);
        let at = log.time(at);
        log.add(at, amount);
    }

    pub fn used(&self, dimension: Dimension) -> u64 {
        match self.logs.get(dimension as usize) {
            Some(log) => log.as_ref().map_or(0, Log::used),
            None => self.running,
        }
    }

    /// What is used of a limit, how long until one more fits, and until nothing of it is used any more.
    pub fn stand(&self, dimension: Dimension, limit: u64, now: Micros) -> (u64, Micros, Micros) {
        match self.logs.get(dimension as usize) {
            Some(Some(log)) => (log.used(), log.wait(now, 1, limit).unwrap_or(0), log.full_reset(now)),
            Some(None) => (0, 0, 0),
            None => (self.running, 0, 0),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.logs.iter().flatten().all(Log::is_empty)
    }
}
