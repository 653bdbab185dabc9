//! Times as people write and read them: `90d`, `2026-12-01`, `3 h ago`.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A length of time as it is typed: a whole number and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    number: i64,
    unit: (&'static str, i64),
}

const UNITS: [(&str, i64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const LONGEST: i64 = 100 * 365 * 86_400;

impl Span {
    pub fn parse(text: &str) -> Result<Span, String> {
        let wrong = || format!("{text:?} is not a length of time; write it like 90d, 24h, 15m or 30s");
        let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(at);
        let unit = *UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number = number.parse::<i64>().map_err(|_| wrong())?;
        match number.checked_mul(unit.1) {
            Some(1..=LONGEST) => Ok(Span { number, unit }),
            Some(0) => Err("it must be longer than nothing".into()),
            _ => Err("it must be at most a hundred years".into()),
        }
    }

    fn seconds(self) -> i64 {
        self.number * self.unit.1
    }

    pub fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds())
    }

    /// `None` where it is not whole days.
    pub fn days(self) -> Option<i64> {
        (self.seconds() % 86_400 == 0).then(|| self.seconds() / 86_400)
    }
}

/// As it was typed; the admin API knows no weeks, so they are days.
impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unit.0 {
            "w" => write!(f, "{}d", self.number * 7),
            unit => write!(f, "{}{unit}", self.number),
        }
    }
}

/// A point in time as it is typed: a date (its first instant, UTC), a full time, or a span back from or on from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Span(Span),
}

impl Moment {
    pub fn parse(text: &str) -> Result<Moment, String> {
        if let Ok(span) = Span::parse(text) {
            return Ok(Moment::Span(span));
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Moment::At(at));
        }
        let date = text.parse::<Date>().ok().filter(|_| text.len() == 10);
        date.and_then(|date| date.to_zoned(TimeZone::UTC).ok())
            .map(|zoned| Moment::At(zoned.timestamp()))
            .ok_or_else(|| format!("{text:?} is not a time; write 30d, 2026-12-01 or 2026-12-01T09:30:00Z"))
    }

    /// `30d` says thirty days ago.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::Span(span) => now.checked_sub(span.duration()).unwrap_or(Timestamp::MIN),
        }
    }

    /// `30d` says in thirty days.
    pub fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::Span(span) => now.checked_add(span.duration()).unwrap_or(Timestamp::MAX),
        }
    }
}

/// `4 s ago`, `in 61 d`: one unit, rounded down, as exact as a glance needs.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let (number, unit) = match seconds.unsigned_abs() {
        s @ 0..=59 => (s, "s"),
        s @ 60..=3_599 => (s / 60, "min"),
        s @ 3_600..=86_399 => (s / 3_600, "h"),
        s => (s / 86_400, "d"),
    };
    if seconds < 0 { format!("in {number} {unit}") } else { format!("{number} {unit} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, shown) in [("90d", "90d"), ("24h", "24h"), ("15m", "15m"), ("2w", "14d"), ("90s", "90s")] {
            assert_eq!(Span::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "90", "d", "-1d", "1.5h", "1y", "9999999999999999999d", "0d", "101000d", "1 d", "١d"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_dates_times_or_spans() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let before = |text: &str| Moment::parse(text).unwrap().before(now).to_string();
        assert_eq!(before("1d"), "2026-11-20T10:00:00Z");
        assert_eq!(before("2026-11-01"), "2026-11-01T00:00:00Z");
        assert_eq!(before("2026-11-01T12:00:00+02:00"), "2026-11-01T10:00:00Z");
        assert_eq!(Moment::parse("2d").unwrap().after(now).to_string(), "2026-11-23T10:00:00Z");
        for bad in ["yesterday", "2026-13-01", "2026-11-01T10", ""] {
            assert!(Moment::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn relative_times_have_one_unit() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (at, shown) in [
            ("2026-11-21T09:59:56Z", "4 s ago"),
            ("2026-11-21T09:58:01Z", "1 min ago"),
            ("2026-11-21T07:00:00Z", "3 h ago"),
            ("2026-11-01T10:00:00Z", "20 d ago"),
            ("2026-12-01T10:00:00Z", "in 10 d"),
        ] {
            assert_eq!(relative(at.parse().unwrap(), now), shown);
        }
    }
}
