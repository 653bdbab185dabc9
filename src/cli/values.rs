//! What people type after a flag, read with the same grammar everywhere.

use crate::cli::when::{Moment, Span};
use anykey_core::Nanos;
use serde::Serialize;
use std::collections::BTreeMap;

pub fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text)
}

pub fn span(text: &str) -> Result<Span, String> {
    Span::parse(text)
}

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Never,
    When(Moment),
}

pub fn expiry(text: &str) -> Result<Expiry, String> {
    match text {
        "never" => Ok(Expiry::Never),
        _ => Moment::parse(text).map(Expiry::When),
    }
}

/// How long the old secret lives on once the new one is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    None,
    For(Span),
}

pub fn overlap(text: &str) -> Result<Overlap, String> {
    match text {
        "none" => Ok(Overlap::None),
        _ => match Span::parse(text)? {
            span if span.duration() <= jiff::SignedDuration::from_hours(7 * 24) => Ok(Overlap::For(span)),
            _ => Err("an overlap lasts at most 7d".into()),
        },
    }
}

impl std::fmt::Display for Overlap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Overlap::None => f.write_str("none"),
            Overlap::For(span) => span.fmt(f),
        }
    }
}

/// The most that a key may spend in a window, as the API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpendLimit {
    pub window: &'static str,
    pub usd: String,
}

/// `5` in all, `5/day`, `20/week`, `50/mo`.
pub fn spend_limit(text: &str) -> Result<SpendLimit, String> {
    let (amount, window) = text.split_once('/').unwrap_or((text, "total"));
    let window = match window {
        "total" => "total",
        "day" | "d" | "daily" => "daily",
        "week" | "w" | "weekly" => "weekly",
        "month" | "mo" | "monthly" => "monthly",
        other => return Err(format!("{other:?} is not a window; write day, week, mo or nothing")),
    };
    let usd = Nanos::parse_usd(amount).map_err(|error| error.to_string())?.to_string();
    Ok(SpendLimit { window, usd })
}

/// `team=search`
pub fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.trim().to_string())),
        _ => Err(format!("{text:?} is not a tag; write NAME=VALUE")),
    }
}

pub fn tags(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}

/// A number of whole days, written as a span.
pub fn days(text: &str) -> Result<i64, String> {
    Span::parse(text)?.days().ok_or_else(|| "it must be whole days, such as 90d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spend_limits() {
        let shown = |text: &str| spend_limit(text).map(|limit| format!("{} {}", limit.usd, limit.window));
        assert_eq!(shown("5").unwrap(), "5 total");
        assert_eq!(shown("$0.25").unwrap(), "0.25 total");
        assert_eq!(shown("50/mo").unwrap(), "50 monthly");
        assert_eq!(shown("5/day").unwrap(), "5 daily");
        for bad in ["", "five", "-5", "5/year", "5/", "1e3", "0.0000000001"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn overlaps_end_within_a_week() {
        assert_eq!(overlap("none"), Ok(Overlap::None));
        assert_eq!(overlap("15m").unwrap().to_string(), "15m");
        assert_eq!(overlap("7d").unwrap().to_string(), "7d");
        assert!(overlap("8d").is_err());
        assert!(overlap("soon").is_err());
    }

    #[test]
    fn tags_have_names() {
        assert_eq!(tag("team=a=b"), Ok(("team".into(), "a=b".into())));
        assert!(tag("team").is_err());
        assert!(tag("=x").is_err());
    }

    #[test]
    fn intervals_are_whole_days() {
        assert_eq!(days("90d"), Ok(90));
        assert_eq!(days("48h"), Ok(2));
        assert!(days("36h").is_err());
    }
}
