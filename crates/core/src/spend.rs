//! Limits of money: how much may be spent in all, and in each day, week and month of somebody's calendar.

use crate::controls::{Bound, Level};
use crate::tenancy::{LevelId, Placement};
use crate::{KeyId, Nanos};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The time that a limit looks at. Weeks begin on Mondays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Span {
    Total = 0,
    Day = 1,
    Week = 2,
    Month = 3,
}

pub const SPANS: usize = 4;

impl Span {
    pub const ALL: [Span; SPANS] = [Span::Total, Span::Day, Span::Week, Span::Month];

    /// The name in settings.
    pub const fn field(self) -> &'static str {
        match self {
            Span::Total => "total",
            Span::Day => "day",
            Span::Week => "week",
            Span::Month => "month",
        }
    }

    /// Before the words "spend limit", and the name in a list of limits.
    pub const fn word(self) -> &'static str {
        match self {
            Span::Total => "total",
            Span::Day => "daily",
            Span::Week => "weekly",
            Span::Month => "monthly",
        }
    }

    /// By either of its names.
    pub fn parse(name: &str) -> Option<Span> {
        Span::ALL.into_iter().find(|span| span.field() == name || span.word() == name)
    }

    /// The one that a moment (milliseconds since 1970) lies in. Days are as long as the calendar has them: 23 and 25 hours
    /// where clocks are changed.
    pub fn window(self, at: i64, zone: &TimeZone) -> Window {
        self.calendar(at, zone).unwrap_or(Window::ALL)
    }

    /// `None` for all time, and beyond what a calendar can say.
    fn calendar(self, at: i64, zone: &TimeZone) -> Option<Window> {
        let today = Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone()).date();
        let (first, next) = match self {
            Span::Total => return None,
            Span::Day => (today, today.tomorrow().ok()?),
            Span::Week => {
                let first = today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?;
                (first, first.checked_add(1.week()).ok()?)
            }
            Span::Month => (today.first_of_month(), today.first_of_month().checked_add(1.month()).ok()?),
        };
        Some(Window { start: begin(first, zone)?, end: begin(next, zone)? })
    }
}

/// The first moment of a day.
fn begin(date: Date, zone: &TimeZone) -> Option<i64> {
    zone.to_ambiguous_zoned(date.at(0, 0, 0, 0)).compatible().ok().map(|at| at.timestamp().as_millisecond())
}

/// From its start until before its end, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

impl Window {
    pub const ALL: Window = Window { start: i64::MIN, end: i64::MAX };

    pub const fn contains(&self, at: i64) -> bool {
        self.start <= at && at < self.end
    }

    /// When it ends, where it does.
    pub fn resets_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.end).ok()
    }
}

/// Whose money it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    pub level: Level,
    pub id: [u8; 16],
}

impl From<KeyId> for Subject {
    fn from(key: KeyId) -> Self {
        Subject { level: Level::Key, id: key.0 }
    }
}

impl From<LevelId> for Subject {
    fn from(level: LevelId) -> Self {
        Subject { level: level.level(), id: level.bytes() }
    }
}

/// Everybody whose money a call spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payers {
    pub key: KeyId,
    /// The key that a temporary key was minted from.
    pub parent: Option<KeyId>,
    pub placement: Option<Placement>,
}

impl Payers {
    pub fn subjects(&self) -> impl Iterator<Item = Subject> + use<> {
        let installation = Subject { level: Level::Installation, id: [0; 16] };
        let levels = self.placement.into_iter().flat_map(|placement| placement.levels()).map(Subject::from);
        let keys = self.parent.into_iter().chain([self.key]).map(Subject::from);
        std::iter::once(installation).chain(levels).chain(keys)
    }

    pub fn include(&self, subject: Subject) -> bool {
        self.subjects().any(|payer| payer == subject)
    }
}

impl From<KeyId> for Payers {
    fn from(key: KeyId) -> Self {
        Payers { key, parent: None, placement: None }
    }
}

/// What is limited by itself: what somebody spends in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BudgetId {
    pub subject: Subject,
    pub span: Span,
}

/// All that a key ever spends.
impl From<KeyId> for BudgetId {
    fn from(key: KeyId) -> Self {
        BudgetId { subject: key.into(), span: Span::Total }
    }
}

/// How much in each span, by its number.
pub type Amounts = [Option<Nanos>; SPANS];

/// What may be spent; each of these holds by itself. Amounts are written as decimal dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendLimits {
    #[serde(default, with = "amount", skip_serializing_if = "Option::is_none")]
    pub total: Option<Nanos>,
    #[serde(default, with = "amount", skip_serializing_if = "Option::is_none")]
    pub day: Option<Nanos>,
    #[serde(default, with = "amount", skip_serializing_if = "Option::is_none")]
    pub week: Option<Nanos>,
    #[serde(default, with = "amount", skip_serializing_if = "Option::is_none")]
    pub month: Option<Nanos>,
    /// By whose calendar days, weeks and months begin, here and at the levels below that name none.
    #[serde(default, with = "zone", skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZone>,
    /// Of which hundredths of a limit somebody is told when they are used up; the smallest first. None is [`SHARES`].
    #[serde(default, deserialize_with = "shares", skip_serializing_if = "Option::is_none")]
    pub warn_at: Option<Vec<u8>>,
    /// The limits that warn and refuse nothing.
    #[serde(default, skip_serializing_if = "Spans::is_empty")]
    pub warn_only: Spans,
    /// What may be spent beyond the limits for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub increases: Vec<Increase>,
}

/// Some of the spans; written as a list of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans([bool; SPANS]);

impl Spans {
    pub const fn is_empty(&self) -> bool {
        !(self.0[0] || self.0[1] || self.0[2] || self.0[3])
    }

    pub const fn contains(&self, span: Span) -> bool {
        self.0[span as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = Span> + use<> {
        let Spans(set) = *self;
        Span::ALL.into_iter().filter(move |span| set[*span as usize])
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Spans::default();
        spans.into_iter().for_each(|span| set.0[span as usize] = true);
        set
    }
}

impl Serialize for Spans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Span::field))
    }
}

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
        let unknown = || D::Error::custom("`warn_only` is a list of `total`, `day`, `week` and `month`");
        names.iter().map(|name| Span::parse(name).ok_or_else(unknown)).collect()
    }
}

/// Which hundredths of a limit are worth a word where nobody says otherwise.
pub const SHARES: [u8; 3] = [50, 80, 100];

/// As many at once as anybody needs; each is looked at on the path of a call.
pub const INCREASES: usize = 16;

/// More than a limit for a while: it is added to the limit for calls that begin before the end, and for no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Increase {
    #[serde(with = "window")]
    pub window: Span,
    #[serde(with = "some_amount")]
    pub usd: Nanos,
    #[serde(with = "moment")]
    pub until: i64,
    /// Who granted it, and when. What a caller says of that is not listened to.
    #[serde(default)]
    pub granted_by: String,
    #[serde(default, with = "moment")]
    pub granted_at: i64,
}

impl Increase {
    /// Whether it is what somebody grants again by sending back what they read.
    pub fn is_same(&self, other: &Increase) -> bool {
        (self.window, self.usd, self.until) == (other.window, other.usd, other.until)
    }
}

impl SpendLimits {
    pub fn is_empty(&self) -> bool {
        *self == SpendLimits::default()
    }

    /// Whether days, weeks or months are limited, and not only warned of.
    pub const fn has_windows(&self) -> bool {
        self.enforced(Span::Day).is_some()
            || self.enforced(Span::Week).is_some()
            || self.enforced(Span::Month).is_some()
    }

    /// A limit over all time that is kept elsewhere, where it refuses calls and does not only warn.
    pub fn enforced_total<T>(&self, limit: Option<T>) -> Option<T> {
        limit.filter(|_| !self.warn_only.contains(Span::Total))
    }

    /// The amounts, by span.
    pub const fn amounts(&self) -> Amounts {
        [self.total, self.day, self.week, self.month]
    }

    /// Sets all amounts and leaves the rest as it is.
    pub const fn set_amounts(&mut self, amounts: Amounts) {
        [self.total, self.day, self.week, self.month] = amounts;
    }

    pub const fn get(&self, span: Span) -> Option<Nanos> {
        match span {
            Span::Total => self.total,
            Span::Day => self.day,
            Span::Week => self.week,
            Span::Month => self.month,
        }
    }

    /// A limit that refuses calls, and does not only warn.
    pub const fn enforced(&self, span: Span) -> Option<Nanos> {
        if self.warn_only.contains(span) { None } else { self.get(span) }
    }

    /// The limits that are set, the shortest span last.
    pub fn iter(&self) -> impl Iterator<Item = (Span, Nanos)> {
        [Span::Total, Span::Month, Span::Week, Span::Day].into_iter().filter_map(|span| Some((span, self.get(span)?)))
    }

    /// These limits with what they leave open filled in from above, since that is what bounds it there.
    #[must_use]
    pub fn under(&self, above: &SpendLimits) -> SpendLimits {
        // What only warns here bounds nothing, so what is set above does.
        let from_above = |span: &Span| self.enforced(*span).is_none();
        let amount = |span| if from_above(&span) { above.get(span).or(self.get(span)) } else { self.get(span) };
        let open = |span: &Span| if from_above(span) { above.enforced(*span).is_none() } else { false };
        SpendLimits {
            total: amount(Span::Total),
            day: amount(Span::Day),
            week: amount(Span::Week),
            month: amount(Span::Month),
            warn_only: Span::ALL.into_iter().filter(|span| open(span) && amount(*span).is_some()).collect(),
            time_zone: self.time_zone.clone().or_else(|| above.time_zone.clone()),
            warn_at: self.warn_at.clone(),
            increases: self.increases.clone(),
        }
    }

    /// The largest share that is used up.
    pub fn warning(&self, spent: Nanos, limit: Nanos) -> Option<u8> {
        self.shares_used(spent, limit).last().copied()
    }

    /// The shares that are used up, the smallest first.
    pub fn shares_used(&self, spent: Nanos, limit: Nanos) -> &[u8] {
        let shares = self.warn_at.as_deref().unwrap_or(&SHARES);
        let is_used = |percent: &u8| i128::from(spent.0) * 100 >= i128::from(limit.0) * i128::from(*percent);
        let used = if limit.0 > 0 { shares.partition_point(is_used) } else { 0 };
        &shares[..used]
    }

    /// What may be spent beyond a limit by a call that begins at a moment.
    pub fn extra(&self, span: Span, at: i64) -> Nanos {
        let running = self.increases.iter().filter(|increase| increase.window == span && at < increase.until);
        Nanos(running.fold(0, |sum: i64, increase| sum.saturating_add(increase.usd.0)))
    }

    /// A limit that is enforced, with all that was granted beyond it, for as long as that lasts.
    pub fn most(&self, span: Span) -> Option<Nanos> {
        self.enforced(span).map(|limit| limit.saturating_add(self.extra(span, i64::MIN)))
    }

    /// The first span in which these limits let more through than those above.
    pub fn wider_than(&self, above: &SpendLimits) -> Option<Span> {
        above
            .iter()
            .map(|(span, _)| span)
            .filter(|span| above.enforced(*span).is_some())
            .find(|span| self.most(*span).is_none_or(|most| Some(most) > above.most(*span)))
    }
}

/// One limit of a bound.
#[derive(Clone, Copy, Debug)]
pub struct SpendLimit<'b> {
    pub bound: &'b Bound,
    pub span: Span,
    pub limit: Nanos,
    zone: &'b TimeZone,
}

impl SpendLimit<'_> {
    pub fn id(&self) -> BudgetId {
        BudgetId { subject: Subject { level: self.bound.level, id: self.bound.id }, span: self.span }
    }

    pub fn window(&self, at: i64) -> Window {
        self.span.window(at, self.zone)
    }

    /// Whether it refuses nothing.
    pub fn warns_only(&self) -> bool {
        self.bound.controls.spend.warn_only.contains(self.span)
    }

    /// What was granted beyond it.
    pub fn extra(&self, at: i64) -> Nanos {
        self.bound.controls.spend.extra(self.span, at)
    }
}

/// What was granted beyond the limit over a key's whole life, which its policy holds although the limit is elsewhere.
pub fn extra_of_key(bounds: &[Bound], key: KeyId, at: i64) -> Nanos {
    own(bounds, key).map_or(Nanos::ZERO, |spend| spend.extra(Span::Total, at))
}

/// Whether the limit over a key's whole life only warns, which its policy says although the limit is elsewhere.
pub fn key_warns_only(bounds: &[Bound], key: KeyId) -> bool {
    own(bounds, key).is_some_and(|spend| spend.warn_only.contains(Span::Total))
}

/// What a key's own policy says of money.
pub fn own(bounds: &[Bound], key: KeyId) -> Option<&SpendLimits> {
    let own = bounds.iter().find(|bound| bound.level == Level::Key && bound.id == key.0);
    own.map(|bound| &bound.controls.spend)
}

/// What was spent in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    pub window: Window,
    pub spent: Nanos,
}

/// The beginning of a refusal: ``The monthly spend limit of the project `search` ``.
pub fn whose(level: Level, name: &str, span: Span) -> String {
    let which = match span {
        Span::Total => String::new(),
        span => format!("{} ", span.word()),
    };
    match level {
        Level::Installation => format!("The {which}spend limit of this installation"),
        level => format!("The {which}spend limit of the {} `{name}`", level.words()),
    }
}

/// Its end.
pub fn resets(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "The limit does not reset.".to_owned(), |at| format!("It resets at {at}."))
}

static UTC: TimeZone = TimeZone::UTC;

/// The limits of a chain of bounds, outermost first. A member and a service account have keys in several projects, so
/// where they name no time zone theirs is the organisation's, and a day of theirs begins once.
pub fn limits_of(bounds: &[Bound]) -> impl Iterator<Item = SpendLimit<'_>> {
    let (mut home, mut inner) = (&UTC, &UTC);
    bounds.iter().flat_map(move |bound| {
        let named = bound.controls.spend.time_zone.as_ref();
        let is_owner = matches!(bound.level, Level::Member | Level::ServiceAccount);
        let zone = named.unwrap_or(if is_owner { home } else { inner });
        inner = named.unwrap_or(inner);
        if bound.level <= Level::Organisation {
            home = zone;
        }
        bound.controls.spend.iter().map(move |(span, limit)| SpendLimit { bound, span, limit, zone })
    })
}

mod amount {
    use super::*;

    pub fn serialize<S: Serializer>(amount: &Option<Nanos>, serializer: S) -> Result<S::Ok, S::Error> {
        match amount {
            Some(amount) => serializer.collect_str(amount),
            None => serializer.serialize_none(),
        }
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        Text(String),
        Number(serde_json::Number),
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nanos>, D::Error> {
        let text = match Option::<Sent>::deserialize(deserializer)? {
            None => return Ok(None),
            Some(Sent::Text(text)) => text,
            // A number with a point or an exponent has been through a floating-point number by now.
            Some(Sent::Number(number)) if number.is_f64() => {
                return Err(D::Error::custom("an amount that is not whole is sent as a text, such as \"0.25\""));
            }
            Some(Sent::Number(number)) => number.to_string(),
        };
        Nanos::parse_usd(&text).map(Some).map_err(D::Error::custom)
    }
}

fn shares<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let Some(mut shares) = Option::<Vec<u8>>::deserialize(deserializer)? else { return Ok(None) };
    if shares.len() > 8 || shares.iter().any(|percent| !(1..=100).contains(percent)) {
        return Err(D::Error::custom("`warn_at` is a list of at most 8 numbers from 1 to 100"));
    }
    shares.sort_unstable();
    shares.dedup();
    Ok(Some(shares))
}

mod some_amount {
    use super::*;

    pub fn serialize<S: Serializer>(amount: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
        amount::deserialize(deserializer)?.ok_or_else(|| D::Error::custom("an increase is an amount of dollars"))
    }
}

mod window {
    use super::*;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(span.field())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || D::Error::custom("the window of an increase is `total`, `day`, `week` or `month`");
        Span::parse(&name).ok_or_else(unknown)
    }
}

/// Milliseconds since 1970, written as RFC 3339.
mod moment {
    use super::*;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub fn serialize<S: Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Timestamp::from_millisecond(*at).unwrap_or(Timestamp::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = text.parse::<Timestamp>().map(Timestamp::as_millisecond);
        read.map_err(|_| D::Error::custom("a moment is written as 2026-12-31T12:00:00Z"))
    }
}

mod zone {
    use super::*;

    pub fn serialize<S: Serializer>(zone: &Option<TimeZone>, serializer: S) -> Result<S::Ok, S::Error> {
        zone.as_ref().and_then(TimeZone::iana_name).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeZone>, D::Error> {
        let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let known = TimeZone::get(&name).ok().filter(|zone| zone.iana_name().is_some());
        let wrong = || {
            D::Error::custom(format!("there is no time zone `{}`; one is Europe/Zurich", crate::refusal::echo(&name)))
        };
        known.map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn window(span: Span, now: &str, zone: &str) -> (String, String) {
        let window = span.window(at(now), &TimeZone::get(zone).unwrap());
        assert!(window.contains(at(now)));
        let text = |ms| Timestamp::from_millisecond(ms).unwrap().to_string();
        (text(window.start), text(window.end))
    }

    #[test]
    fn windows_begin_by_the_calendar_of_their_zone() {
        for (span, now, zone, start, end) in [
            (Span::Day, "2026-11-21T23:59:59.999Z", "UTC", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
            (Span::Day, "2026-11-22T00:00:00Z", "UTC", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Span::Week, "2026-11-22T12:00:00Z", "UTC", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Span::Week, "2026-11-23T00:00:00Z", "UTC", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Span::Month, "2028-02-29T12:00:00Z", "UTC", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Span::Month, "2026-11-30T23:30:00Z", "Europe/Zurich", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
            (Span::Day, "2026-11-21T20:00:00Z", "Asia/Kathmandu", "2026-11-21T18:15:00Z", "2026-11-22T18:15:00Z"),
            // Clocks go forward, then back: 23 and 25 hours.
            (Span::Day, "2026-03-29T12:00:00Z", "Europe/Zurich", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Span::Day, "2026-10-25T12:00:00Z", "Europe/Zurich", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // A midnight that does not exist: the day begins an hour later.
            (Span::Day, "2026-09-06T12:00:00Z", "America/Santiago", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"),
        ] {
            assert_eq!(window(span, now, zone), (start.into(), end.into()), "{span:?} {now} {zone}");
        }
        assert_eq!(Span::Total.window(0, &TimeZone::UTC), Window::ALL);
        assert_eq!(Window::ALL.resets_at(), None);
    }

    #[test]
    fn windows_follow_one_another_without_gap_or_overlap() {
        for zone in ["UTC", "Europe/Zurich", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu"] {
            let zone = TimeZone::get(zone).unwrap();
            for span in [Span::Day, Span::Week, Span::Month] {
                let mut window = span.window(at("2025-12-31T23:00:00Z"), &zone);
                while window.end < at("2028-01-05T00:00:00Z") {
                    let next = span.window(window.end, &zone);
                    assert_eq!(next.start, window.end);
                    assert_eq!(span.window(window.end - 1, &zone), window);
                    window = next;
                }
            }
        }
    }

    #[test]
    fn a_share_is_used_up_from_its_first_nano_dollar_on() {
        let read = |text: &str| serde_json::from_str::<SpendLimits>(text).unwrap();
        let (usual, own, none) = (read("{}"), read(r#"{"warn_at":[90,7,90]}"#), read(r#"{"warn_at":[]}"#));
        for (spent, limit, used) in [
            (499, 1_000, &[][..]),
            (500, 1_000, &[50]),
            (999, 1_000, &[50, 80]),
            (1_000, 1_000, &[50, 80, 100]),
            (5_000, 1_000, &[50, 80, 100]),
            (1, 3, &[]),
            (2, 3, &[50]),
            (0, 0, &[]),
            (i64::MAX, i64::MAX, &[50, 80, 100]),
        ] {
            assert_eq!(usual.shares_used(Nanos(spent), Nanos(limit)), used, "{spent} of {limit}");
        }
        assert_eq!(own.shares_used(Nanos(70), Nanos(1_000)), [7]);
        assert_eq!(own.shares_used(Nanos(900), Nanos(1_000)), [7, 90]);
        assert_eq!(none.shares_used(Nanos(900), Nanos(900)), [] as [u8; 0]);
        for bad in [r#"{"warn_at":[0]}"#, r#"{"warn_at":[101]}"#, r#"{"warn_at":[1,2,3,4,5,6,7,8,9]}"#] {
            assert!(serde_json::from_str::<SpendLimits>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_owner_has_one_day_whatever_project_their_key_is_in() {
        let bound = |level: Level, zone: Option<&str>| {
            let zone = zone.map_or(String::new(), |zone| format!(r#","time_zone":"{zone}""#));
            let controls = format!(r#"{{"spend":{{"day":"1"{zone}}}}}"#);
            let controls = crate::controls::Controls::from_json(&controls).unwrap().into();
            Bound { level, id: [level as u8; 16], name: "x".into(), controls }
        };
        let starts = |bounds: &[Bound]| -> Vec<i64> {
            let noon = at("2026-11-21T12:00:00Z");
            limits_of(bounds).map(|limit| (limit.window(noon).start - at("2026-11-21T00:00:00Z")) / 3_600_000).collect()
        };
        let (zurich, tokyo) = (Some("Europe/Zurich"), Some("Asia/Tokyo"));
        let chain = |organisation, project, owner| {
            [
                bound(Level::Organisation, organisation),
                bound(Level::Project, project),
                bound(Level::Member, owner),
                bound(Level::Key, None),
            ]
        };
        assert_eq!(starts(&chain(None, None, None)), [0, 0, 0, 0]);
        assert_eq!(starts(&chain(zurich, None, None)), [-1, -1, -1, -1]);
        assert_eq!(starts(&chain(zurich, tokyo, None)), [-1, -9, -1, -9]);
        assert_eq!(starts(&chain(None, tokyo, zurich)), [0, -9, -1, -1]);
    }

    #[test]
    fn an_increase_is_there_until_its_last_millisecond_and_no_longer() {
        let sent = r#"{"day":"5","increases":[{"window":"daily","usd":"2.5","until":"2026-12-01T00:00:00Z"},
            {"window":"day","usd":"1","until":"2026-12-02T00:00:00Z"}]}"#;
        let limits: SpendLimits = serde_json::from_str(sent).unwrap();
        let extra = |span, now: i64| limits.extra(span, now).0;
        let (first, second) = (at("2026-12-01T00:00:00Z"), at("2026-12-02T00:00:00Z"));
        let seen = [0, first - 1, first, second - 1, second].map(|now| extra(Span::Day, now));
        assert_eq!(seen, [3_500_000_000, 3_500_000_000, 1_000_000_000, 1_000_000_000, 0]);
        assert_eq!((extra(Span::Month, 0), limits.most(Span::Day)), (0, Some(Nanos(8_500_000_000))));
        let shown = serde_json::to_string(&limits).unwrap();
        assert!(shown.contains(r#"{"window":"day","usd":"2.5","until":"2026-12-01T00:00:00Z","#), "{shown}");
        assert_eq!(serde_json::from_str::<SpendLimits>(&shown).unwrap(), limits);
        let plain = SpendLimits { increases: Vec::new(), ..limits.clone() };
        assert_eq!((limits.wider_than(&plain), plain.wider_than(&limits)), (Some(Span::Day), None));
        for bad in [
            r#"{"increases":[{"window":"year","usd":"1","until":"2026-12-01T00:00:00Z"}]}"#,
            r#"{"increases":[{"window":"day","usd":"-1","until":"2026-12-01T00:00:00Z"}]}"#,
            r#"{"increases":[{"window":"day","usd":null,"until":"2026-12-01T00:00:00Z"}]}"#,
            r#"{"increases":[{"window":"day","usd":"1","until":"tomorrow"}]}"#,
            r#"{"increases":[{"window":"day","usd":"1"}]}"#,
        ] {
            assert!(serde_json::from_str::<SpendLimits>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_only_warns_bounds_nothing() {
        let read = |text: &str| serde_json::from_str::<SpendLimits>(text).unwrap();
        let soft = read(r#"{"day":"5","month":"90","warn_only":["monthly","day"]}"#);
        let shown = r#"{"day":"5","month":"90","warn_only":["day","month"]}"#;
        assert_eq!(serde_json::to_string(&soft).unwrap(), shown);
        assert_eq!((soft.get(Span::Day), soft.enforced(Span::Day)), (Some(Nanos::dollars(5)), None));
        let hard = read(r#"{"day":"7"}"#);
        assert_eq!((soft.wider_than(&hard), hard.wider_than(&soft)), (Some(Span::Day), None));
        // Under a limit that holds it is no wider, and of what only warns above nothing becomes a bound.
        let filled = soft.under(&hard);
        assert_eq!((filled.wider_than(&hard), filled.enforced(Span::Day)), (None, Some(Nanos::dollars(7))));
        assert_eq!(filled.enforced(Span::Month), None);
        assert_eq!(hard.under(&soft).enforced(Span::Day), Some(Nanos::dollars(7)));
        assert_eq!(read("{}").under(&soft), read(shown));
        assert!(hard.has_windows() && !soft.has_windows());
        let total = read(r#"{"warn_only":["total"]}"#);
        assert_eq!((total.enforced_total(Some(1)), soft.enforced_total(Some(1))), (None, Some(1)));
        assert_eq!(soft.shares_used(Nanos::dollars(5), Nanos::dollars(5)), [50, 80, 100]);
        for bad in [r#"{"warn_only":["year"]}"#, r#"{"warn_only":"day"}"#, r#"{"warn_only":[1]}"#] {
            assert!(serde_json::from_str::<SpendLimits>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_sent_is_what_is_shown() {
        let sent = r#"{"total":"1000.000000001","day":5,"month":"99.50","time_zone":"Europe/Zurich"}"#;
        let limits: SpendLimits = serde_json::from_str(sent).unwrap();
        assert_eq!((limits.get(Span::Day), limits.get(Span::Week)), (Some(Nanos::dollars(5)), None));
        let shown = serde_json::to_string(&limits).unwrap();
        assert_eq!(
            shown,
            r#"{"total":"1000.000000001","day":"5","month":"99.50","time_zone":"Europe/Zurich"}"#
                .replace("99.50", "99.5")
        );
        assert_eq!(serde_json::from_str::<SpendLimits>(&shown).unwrap(), limits);
        for (bad, why) in [
            (r#"{"day":"-1"}"#, "negative"),
            (r#"{"day":"a lot"}"#, "decimal"),
            (r#"{"year":"1"}"#, "unknown field"),
            (r#"{"time_zone":"Mars/Olympus"}"#, "no time zone"),
        ] {
            let error = serde_json::from_str::<SpendLimits>(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
