//! What a call used, in disjoint units: every token or item is counted in exactly one of them.

use serde::{Deserialize, Serialize};

/// A thing that is counted and has a price of its own.
///
/// The classes are disjoint: `Input` excludes cached and audio input, `Output` excludes reasoning and audio output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Unit {
    /// Text input tokens that were neither read from nor written to a cache.
    Input = 0,
    CacheRead = 1,
    /// Tokens written to a prompt cache that lives five minutes.
    CacheWrite5m = 2,
    /// Tokens written to a prompt cache that lives one hour.
    CacheWrite1h = 3,
    /// Text output tokens, without reasoning.
    Output = 4,
    Reasoning = 5,
    AudioIn = 6,
    AudioOut = 7,
    AudioCacheRead = 8,
    ImageIn = 9,
    ImageOut = 10,
    /// One per call.
    Request = 11,
    Second = 12,
    Character = 13,
    Image = 14,
    Search = 15,
}

pub const UNITS: usize = 16;

impl Unit {
    pub const ALL: [Unit; UNITS] = [
        Unit::Input,
        Unit::CacheRead,
        Unit::CacheWrite5m,
        Unit::CacheWrite1h,
        Unit::Output,
        Unit::Reasoning,
        Unit::AudioIn,
        Unit::AudioOut,
        Unit::AudioCacheRead,
        Unit::ImageIn,
        Unit::ImageOut,
        Unit::Request,
        Unit::Second,
        Unit::Character,
        Unit::Image,
        Unit::Search,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Unit::Input => "input",
            Unit::CacheRead => "cache_read",
            Unit::CacheWrite5m => "cache_write_5m",
            Unit::CacheWrite1h => "cache_write_1h",
            Unit::Output => "output",
            Unit::Reasoning => "reasoning",
            Unit::AudioIn => "audio_in",
            Unit::AudioOut => "audio_out",
            Unit::AudioCacheRead => "audio_cache_read",
            Unit::ImageIn => "image_in",
            Unit::ImageOut => "image_out",
            Unit::Request => "request",
            Unit::Second => "second",
            Unit::Character => "character",
            Unit::Image => "image",
            Unit::Search => "search",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|u| u.name() == name)
    }

    /// Whether the unit is a token that counts as input (and so towards a context-length tier).
    pub const fn is_input_token(self) -> bool {
        matches!(
            self,
            Unit::Input
                | Unit::CacheRead
                | Unit::CacheWrite5m
                | Unit::CacheWrite1h
                | Unit::AudioIn
                | Unit::AudioCacheRead
                | Unit::ImageIn
        )
    }

    pub const fn is_output_token(self) -> bool {
        matches!(self, Unit::Output | Unit::Reasoning | Unit::AudioOut | Unit::ImageOut)
    }
}

/// Counts by unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage([u64; UNITS]);

impl Usage {
    pub const fn get(&self, unit: Unit) -> u64 {
        self.0[unit as usize]
    }

    pub fn set(&mut self, unit: Unit, count: u64) {
        self.0[unit as usize] = count;
    }

    #[must_use]
    pub fn with(mut self, unit: Unit, count: u64) -> Self {
        self.set(unit, count);
        self
    }

    /// The units that were used, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        Unit::ALL.into_iter().map(|u| (u, self.get(u))).filter(|(_, n)| *n > 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }

    /// All tokens that went in, cached or not.
    pub fn input_tokens(&self) -> u64 {
        self.sum(Unit::is_input_token)
    }

    /// All tokens that came out, reasoning included.
    pub fn output_tokens(&self) -> u64 {
        self.sum(Unit::is_output_token)
    }

    fn sum(&self, of: impl Fn(Unit) -> bool) -> u64 {
        self.iter().filter(|(u, _)| of(*u)).fold(0, |sum, (_, n)| sum.saturating_add(n))
    }
}

impl FromIterator<(Unit, u64)> for Usage {
    fn from_iter<I: IntoIterator<Item = (Unit, u64)>>(counts: I) -> Self {
        counts.into_iter().fold(Usage::default(), |usage, (unit, n)| usage.with(unit, n))
    }
}

/// Where the counts came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum UsageSource {
    /// Nothing was sent to a provider, so nothing was used.
    None = 0,
    /// The provider said so.
    Reported = 1,
    /// The provider gave none, or not all: counted from the bytes that passed.
    Estimated = 2,
}

impl UsageSource {
    pub const fn name(self) -> &'static str {
        match self {
            UsageSource::None => "none",
            UsageSource::Reported => "reported",
            UsageSource::Estimated => "estimated",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Reported, Self::Estimated].into_iter().find(|s| s.name() == name)
    }
}
