//! How values are spelled in the admin API: money as decimal dollars, times as RFC 3339 in UTC, durations as `90d`.

use anykey_core::Nanos;
use anykey_core::price::Rates;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `2026-11-21T10:00:00.123Z`
pub(crate) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default()
}

/// Reads an RFC 3339 time, or a date, which stands for its midnight in UTC.
pub(crate) fn read_time(text: &str) -> Result<i64, &'static str> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => Some(at),
        // A date alone: anything longer was meant as a time and is not one.
        Err(_) if text.len() == 10 => {
            text.parse::<Date>().ok().and_then(|day| Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp()))
        }
        Err(_) => None,
    };
    at.map(|at| at.as_millisecond()).ok_or("is a time such as 2026-11-21T10:00:00Z, or a date such as 2026-11-21")
}

/// `2026-11-21`
pub(crate) fn day(ms: i64) -> String {
    time(ms).split('T').next().unwrap_or_default().to_owned()
}

/// Reads `90d`, `24h`, `15m`, `30s`, `2w` or several of them in a row, in milliseconds.
pub(crate) fn read_duration(text: &str) -> Result<i64, &'static str> {
    const WHAT: &str = "is a duration such as 90d, 24h or 15m";
    let mut total: i64 = 0;
    let mut number: Option<i64> = None;
    for c in text.trim().chars() {
        if let Some(digit) = c.to_digit(10) {
            let so_far = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(i64::from(digit)));
            number = Some(so_far.ok_or(WHAT)?);
            continue;
        }
        let unit = match c {
            's' => 1000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => DAY_MS,
            'w' => 7 * DAY_MS,
            _ => return Err(WHAT),
        };
        let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or(WHAT)?;
        total = total.checked_add(part).ok_or(WHAT)?;
    }
    if number.is_some() || total == 0 { Err(WHAT) } else { Ok(total) }
}

/// Pico-dollars as exact dollars: `0.0000025`.
pub(crate) fn rate(pico: i64) -> String {
    const PER_DOLLAR: u64 = 1_000_000_000_000;
    let pico = pico.unsigned_abs();
    let (whole, fraction) = (pico / PER_DOLLAR, pico % PER_DOLLAR);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{fraction:012}").trim_end_matches('0'))
}

/// Dollars per unit, by the unit's name.
pub(crate) fn rates(rates: &Rates) -> BTreeMap<&'static str, String> {
    rates.iter().map(|(unit, pico)| (unit.name(), rate(pico))).collect()
}

pub(crate) fn usd(amount: Nanos) -> String {
    amount.to_string()
}

/// Microseconds as milliseconds, with their fraction.
pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// Empty says nothing.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        for text in ["2026-11-21T10:00:00Z", "1970-01-01T00:00:00.001Z"] {
            assert_eq!(time(read_time(text).unwrap()), text);
        }
        assert_eq!(read_time("2026-11-21"), read_time("2026-11-21T00:00:00Z"));
        assert_eq!(read_time("2026-11-21T02:00:00+02:00"), read_time("2026-11-21T00:00:00Z"));
        assert_eq!(day(read_time("2026-11-21T23:59:59Z").unwrap()), "2026-11-21");
        for text in ["", "yesterday", "2026-13-01", "2026-11-21T10:00:00", "1e9", "2026-02-30"] {
            assert!(read_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_whole_units() {
        for (text, ms) in
            [("15m", 900_000), ("24h", DAY_MS), ("90d", 90 * DAY_MS), ("1h30m", 5_400_000), ("2w", 14 * DAY_MS)]
        {
            assert_eq!(read_duration(text), Ok(ms), "{text}");
        }
        for text in ["", "0d", "d", "90", "1.5h", "-1d", "1y", "9223372036854775807w", "1d5"] {
            assert!(read_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_exact() {
        assert_eq!(rate(2_500_000), "0.0000025");
        assert_eq!(rate(0), "0");
        assert_eq!(rate(1), "0.000000000001");
        assert_eq!(rate(3_000_000_000_000), "3");
    }
}
