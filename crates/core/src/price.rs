//! What a unit costs and what a call therefore costs: dated rates in whole pico-dollars, one rounding per call.

use crate::usage::UNITS;
use crate::{Nanos, Unit, Usage};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Pico-dollars (1e-12 dollar) in a nano-dollar.
const PICO_PER_NANO: u128 = 1000;

/// The dearest that a token may be: 10,000 dollars per million. Anything above is a broken price list.
pub const MAX_TOKEN_RATE: i64 = 10_000_000_000;

/// The dearest that anything else may be: 1,000 dollars each.
pub const MAX_ITEM_RATE: i64 = 1_000_000_000_000_000;

/// Why a call has no cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    #[error("the price says nothing of {}", .0.name())]
    Unpriced(Unit),
    #[error("the cost is beyond what can be counted")]
    Overflow,
}

/// The most that a call can use of anything that it may be charged by; which of it is charged is the price's to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Tokens that go in and come out.
    pub input: u64,
    pub output: u64,
    /// What is counted one by one: searches, seconds, characters, images.
    pub items: Usage,
}

/// Why a number cannot be a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    #[error("a rate cannot be negative")]
    Negative,
    #[error("the rate is absurdly high")]
    TooHigh,
}

/// Pico-dollars per unit, for the units that the price list names.
///
/// A unit that the list leaves out is charged at the rate of the one it is a part of:
///
/// | left out | charged as |
/// |---|---|
/// | reasoning, audio out, image out | output |
/// | cache write 1 h | cache write 5 min |
/// | cache read, cache write 5 min, audio in, image in | input |
/// | audio cache read | cache read |
/// | request | nothing: few providers charge for a call as such |
/// | search, second, character, image | unpriced, never nothing |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates([i64; UNITS]);

const ABSENT: i64 = -1;

impl Default for Rates {
    fn default() -> Self {
        Rates([ABSENT; UNITS])
    }
}

impl Rates {
    /// The rate that the list itself names.
    pub const fn get(&self, unit: Unit) -> Option<i64> {
        match self.0[unit as usize] {
            ABSENT => None,
            rate => Some(rate),
        }
    }

    pub fn set(&mut self, unit: Unit, pico: i64) -> Result<(), RateError> {
        let most = if unit.is_input_token() || unit.is_output_token() { MAX_TOKEN_RATE } else { MAX_ITEM_RATE };
        match pico {
            ..0 => Err(RateError::Negative),
            _ if pico > most => Err(RateError::TooHigh),
            _ => {
                self.0[unit as usize] = pico;
                Ok(())
            }
        }
    }

    /// The rate that is charged, which may be that of a wider unit.
    pub const fn effective(&self, unit: Unit) -> Option<i64> {
        let mut unit = unit;
        loop {
            if let Some(rate) = self.get(unit) {
                return Some(rate);
            }
            unit = match unit {
                Unit::Reasoning | Unit::AudioOut | Unit::ImageOut => Unit::Output,
                Unit::CacheWrite1h => Unit::CacheWrite5m,
                Unit::CacheRead | Unit::CacheWrite5m | Unit::AudioIn | Unit::ImageIn => Unit::Input,
                Unit::AudioCacheRead => Unit::CacheRead,
                Unit::Request => return Some(0),
                _ => return None,
            };
        }
    }

    /// The rates that the list names, in the order of the units.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, i64)> + '_ {
        Unit::ALL.into_iter().filter_map(|unit| Some((unit, self.get(unit)?)))
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn of(&self, unit: Unit) -> Result<u128, CostError> {
        // Rates are never negative: `set` is the only way in.
        self.effective(unit).map(|rate| rate.unsigned_abs().into()).ok_or(CostError::Unpriced(unit))
    }

    /// At most 16 products of a 64-bit count and a rate below 2^50: no sum of them leaves 128 bits.
    fn pico(&self, usage: &Usage) -> Result<u128, CostError> {
        usage.iter().try_fold(0, |sum: u128, (unit, n)| Ok(sum + self.of(unit)? * u128::from(n)))
    }

    /// The dearest rate among the units that `count`, for `bound` units; the plain one must have a price.
    fn dearest(&self, plain: Unit, count: impl Fn(Unit) -> bool, bound: u128) -> Result<u128, CostError> {
        if bound == 0 {
            return Ok(0);
        }
        let plain = self.of(plain)?;
        let rates = Unit::ALL.into_iter().filter(|unit| count(*unit)).filter_map(|unit| self.of(unit).ok());
        rates.fold(plain, u128::max).checked_mul(bound).ok_or(CostError::Overflow)
    }
}

/// The rates of long prompts: they hold for the whole call as soon as its input, cached or not, is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    pub above_input_tokens: u64,
    pub rates: Rates,
}

/// A part of the day, in seconds after midnight UTC, for providers whose price follows the clock. The end is not in it;
/// an end before the start is on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daily {
    pub start: u32,
    pub end: u32,
}

impl Daily {
    pub const fn contains(self, second: u32) -> bool {
        if self.start <= self.end {
            self.start <= second && second < self.end
        } else {
            self.start <= second || second < self.end
        }
    }
}

/// One version of a model's price. A change of price is another version; a version never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    id: u64,
    valid_from: i64,
    daily: Option<Daily>,
    source: Arc<str>,
    rates: Rates,
    /// By rising threshold.
    tiers: Box<[Tier]>,
}

impl Price {
    /// A price that holds from a moment (milliseconds since 1970) until another takes over.
    pub fn new(valid_from: i64, daily: Option<Daily>, source: Arc<str>, rates: Rates, mut tiers: Vec<Tier>) -> Price {
        tiers.sort_by_key(|tier| tier.above_input_tokens);
        let mut price = Price { id: 0, valid_from, daily, source, rates, tiers: tiers.into() };
        price.id = price.digest();
        price
    }

    /// Names this version in records: a hash of the content, the same on every replica and after every restart. Never 0,
    /// and below 2^53, so that it survives languages whose only numbers are doubles.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Milliseconds since 1970; `i64::MIN` where the list names no date.
    pub const fn valid_from(&self) -> i64 {
        self.valid_from
    }

    /// The part of the day in which alone it holds.
    pub const fn daily(&self) -> Option<Daily> {
        self.daily
    }

    /// Where the price comes from: a data set's name, or the operator.
    pub const fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// The rates of prompts below every tier.
    pub const fn rates(&self) -> &Rates {
        &self.rates
    }

    /// By rising threshold.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Whether the price may be in force at this moment; a later version may still take precedence.
    pub fn holds_at(&self, now_ms: i64) -> bool {
        const DAY: i64 = 86_400_000;
        let second = (now_ms.rem_euclid(DAY) / 1000) as u32;
        self.valid_from <= now_ms && self.daily.is_none_or(|daily| daily.contains(second))
    }

    /// The rates of a call with this many input tokens.
    pub fn rates_for(&self, input_tokens: u64) -> &Rates {
        let tier = self.tiers.iter().rev().find(|tier| input_tokens > tier.above_input_tokens);
        tier.map_or(&self.rates, |tier| &tier.rates)
    }

    /// What a call costs, rounded up once to whole nano-dollars. A call that used anything was a request, whether or not
    /// its usage says so; one that used nothing costs nothing.
    pub fn cost(&self, usage: &Usage) -> Result<Nanos, CostError> {
        if usage.is_empty() {
            return Ok(Nanos::ZERO);
        }
        let usage = usage.with(Unit::Request, usage.get(Unit::Request).max(1));
        nanos(self.rates_for(usage.input_tokens()).pico(&usage)?)
    }

    /// The most that a call may cost that takes at most so many input tokens and gives at most `n` answers of so many
    /// tokens each: every token at the dearest rate that it could come under, plus the fee of the call.
    ///
    /// What is neither a token nor the call itself (searches, seconds, characters, images) is not bounded here.
    pub fn worst(&self, input_bound: u64, output_bound: u64, n: u32) -> Result<Nanos, CostError> {
        let input = u128::from(input_bound);
        let output = u128::from(output_bound) * u128::from(n.max(1));
        let reachable = self.tiers.iter().filter(|tier| input_bound > tier.above_input_tokens).map(|tier| &tier.rates);
        let most = std::iter::once(&self.rates).chain(reachable).try_fold(0, |most: u128, rates| {
            let sum = rates
                .dearest(Unit::Input, Unit::is_input_token, input)?
                .checked_add(rates.dearest(Unit::Output, Unit::is_output_token, output)?)
                .and_then(|sum| sum.checked_add(rates.of(Unit::Request).ok()?))
                .ok_or(CostError::Overflow)?;
            Ok(most.max(sum))
        })?;
        nanos(most)
    }

    /// The most that a call may cost whose measure is the price's to choose.
    pub fn worst_of(&self, extent: &Extent) -> Result<Nanos, CostError> {
        let tokens = Unit::ALL.into_iter().any(|unit| is_token(unit) && self.names(unit));
        let fee = if tokens { self.worst(extent.input, extent.output, 1)? } else { self.worst(0, 0, 1)? };
        let all = std::iter::once(&self.rates).chain(self.tiers.iter().map(|tier| &tier.rates));
        let mut items = all.map(|rates| {
            let named = extent.items.iter().filter(|(unit, _)| rates.get(*unit).is_some());
            rates.pico(&named.collect())
        });
        let items = items.try_fold(0, |most: u128, sum| Ok(most.max(sum?)))?;
        let counted = tokens || self.names(Unit::Request) || extent.items.iter().any(|(unit, _)| self.names(unit));
        match extent.items.iter().next() {
            Some((unit, _)) if !counted => Err(CostError::Unpriced(unit)),
            None if !counted => Err(CostError::Unpriced(Unit::Input)),
            _ => nanos(items)?.checked_add(fee).ok_or(CostError::Overflow),
        }
    }

    /// What such a call costs: the price leaves out what it has no rate for, but not all that was used.
    pub fn cost_of(&self, usage: &Usage) -> Result<Nanos, CostError> {
        let rates = self.rates_for(usage.input_tokens());
        let priced: Usage = usage.iter().filter(|(unit, _)| rates.effective(*unit).is_some()).collect();
        let counted = priced.iter().any(|(unit, _)| unit != Unit::Request) || self.names(Unit::Request);
        match usage.iter().find(|(unit, _)| *unit != Unit::Request) {
            Some((unit, _)) if !counted => Err(CostError::Unpriced(unit)),
            _ => self.cost(&priced),
        }
    }

    /// Whether the list itself has a rate for the unit.
    fn names(&self, unit: Unit) -> bool {
        self.rates.get(unit).is_some() || self.tiers.iter().any(|tier| tier.rates.get(unit).is_some())
    }

    /// What is done for nothing.
    pub fn free() -> Price {
        let mut rates = Rates::default();
        for unit in Unit::ALL {
            // Zero is a rate like another.
            let _ = rates.set(unit, 0);
        }
        Price::new(i64::MIN, None, "free of charge".into(), rates, Vec::new())
    }

    fn digest(&self) -> u64 {
        let mut hash = Sha256::new();
        let mut number = |n: i64| hash.update(n.to_be_bytes());
        number(self.valid_from);
        number(self.daily.map_or(ABSENT, |d| i64::from(d.start) << 32 | i64::from(d.end)));
        self.rates.0.into_iter().for_each(&mut number);
        for tier in &self.tiers {
            number(tier.above_input_tokens.cast_signed());
            tier.rates.0.into_iter().for_each(&mut number);
        }
        hash.update(self.source.as_bytes());
        let digest = hash.finalize();
        let head = digest.iter().take(8).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
        (head >> 11).max(1)
    }
}

fn is_token(unit: Unit) -> bool {
    unit.is_input_token() || unit.is_output_token()
}

fn nanos(pico: u128) -> Result<Nanos, CostError> {
    i64::try_from(pico.div_ceil(PICO_PER_NANO)).map(Nanos).map_err(|_| CostError::Overflow)
}

#[cfg(test)]
mod tests;
