//! Limits: how many requests and tokens in a minute, an hour and a day, and how many calls at once.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Larger than any limit that is meant; a number that JSON readers keep exactly.
const MOST: u64 = 1_000_000_000_000_000;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Requests,
    Tokens,
    /// Calls that run at the same time.
    Calls,
}

/// One kind of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dimension {
    Rpm = 0,
    Rph = 1,
    Rpd = 2,
    Tpm = 3,
    Tpd = 4,
    Concurrency = 5,
}

impl Dimension {
    pub const ALL: [Dimension; 6] =
        [Dimension::Rpm, Dimension::Rph, Dimension::Rpd, Dimension::Tpm, Dimension::Tpd, Dimension::Concurrency];
    /// Those that count within a window of time.
    pub const WINDOWED: [Dimension; 5] =
        [Dimension::Rpm, Dimension::Rph, Dimension::Rpd, Dimension::Tpm, Dimension::Tpd];

    /// The name in refusals.
    pub const fn name(self) -> &'static str {
        match self {
            Dimension::Rpm => "RPM",
            Dimension::Rph => "RPH",
            Dimension::Rpd => "RPD",
            Dimension::Tpm => "TPM",
            Dimension::Tpd => "TPD",
            Dimension::Concurrency => "concurrency",
        }
    }

    /// The name in settings.
    pub const fn field(self) -> &'static str {
        match self {
            Dimension::Rpm => "rpm",
            Dimension::Rph => "rph",
            Dimension::Rpd => "rpd",
            Dimension::Tpm => "tpm",
            Dimension::Tpd => "tpd",
            Dimension::Concurrency => "concurrency",
        }
    }

    /// In a sentence after a number: `60 requests per minute`.
    pub const fn words(self) -> &'static str {
        match self {
            Dimension::Rpm => "requests per minute",
            Dimension::Rph => "requests per hour",
            Dimension::Rpd => "requests per day",
            Dimension::Tpm => "tokens per minute",
            Dimension::Tpd => "tokens per day",
            Dimension::Concurrency => "calls at once",
        }
    }

    pub const fn unit(self) -> Unit {
        match self {
            Dimension::Rpm | Dimension::Rph | Dimension::Rpd => Unit::Requests,
            Dimension::Tpm | Dimension::Tpd => Unit::Tokens,
            Dimension::Concurrency => Unit::Calls,
        }
    }

    /// The length of the window in seconds.
    pub const fn window_seconds(self) -> Option<u64> {
        match self {
            Dimension::Rpm | Dimension::Tpm => Some(60),
            Dimension::Rph => Some(60 * 60),
            Dimension::Rpd | Dimension::Tpd => Some(24 * 60 * 60),
            Dimension::Concurrency => None,
        }
    }
}

/// What may be used; each of these holds by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests in any 60 seconds.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Requests in any 60 minutes.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub rph: Option<u64>,
    /// Requests in any 24 hours.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub rpd: Option<u64>,
    /// Tokens, in and out, in any 60 seconds.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Tokens, in and out, in any 24 hours.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub tpd: Option<u64>,
    /// Calls that run at the same time.
    #[serde(default, deserialize_with = "limit", skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    pub const fn get(&self, dimension: Dimension) -> Option<u64> {
        match dimension {
            Dimension::Rpm => self.rpm,
            Dimension::Rph => self.rph,
            Dimension::Rpd => self.rpd,
            Dimension::Tpm => self.tpm,
            Dimension::Tpd => self.tpd,
            Dimension::Concurrency => self.concurrency,
        }
    }

    /// The limits that are set.
    pub fn iter(&self) -> impl Iterator<Item = (Dimension, u64)> {
        Dimension::ALL.into_iter().filter_map(|dimension| Some((dimension, self.get(dimension)?)))
    }

    /// Whether tokens are limited, so that they have to be estimated.
    pub const fn counts_tokens(&self) -> bool {
        self.tpm.is_some() || self.tpd.is_some()
    }

    /// The first dimension in which these limits let more through than those above.
    pub(super) fn wider_than(&self, above: &Limits) -> Option<Dimension> {
        above.iter().find(|(dimension, most)| self.get(*dimension).is_none_or(|n| n > *most)).map(|(d, _)| d)
    }
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        None => Ok(None),
        Some(n) => match u64::try_from(n) {
            Ok(n @ 1..=MOST) => Ok(Some(n)),
            _ => Err(D::Error::custom(format_args!("a limit is from 1 to {MOST}, not {n}; to stop a key, disable it"))),
        },
    }
}
