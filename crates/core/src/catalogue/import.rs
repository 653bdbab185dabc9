//! Reads the data file of genai-prices (format v2, as its project publishes it) into a catalogue.
//!
//! Carried over: models and their match rules, context windows, rates, context-length tiers, prices by date and by time
//! of day, and the variants by service tier. Not carried over: variants by anything else (batches are not served), and
//! rates of things that have no unit here; the catalogue's notes say which.

use super::file::{MAX_PARTS, check_name, clip, is_size, version};
use super::{Catalogue, CatalogueError, Decimal, Flaw, ModelEntry, Pattern, Rule, Service, bad};
use crate::Unit;
use crate::price::{Daily, Price, Rates, Tier};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

#[derive(Deserialize)]
struct ProviderIn<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    models: Vec<ModelIn<'a>>,
}

#[derive(Deserialize)]
struct ModelIn<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    name: Option<Box<str>>,
    #[serde(rename = "match")]
    rule: RuleIn,
    context_window: Option<u64>,
    #[serde(borrow)]
    prices: &'a RawValue,
    #[serde(borrow, default)]
    price_variants: Vec<VariantIn<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleIn {
    Equals(Box<str>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Regex(Box<str>),
    Or(Vec<RuleIn>),
    And(Vec<RuleIn>),
}

#[derive(Deserialize)]
struct DatedIn<'a> {
    constraint: Option<ConstraintIn>,
    #[serde(borrow)]
    prices: Pairs<'a>,
}

#[derive(Deserialize)]
struct VariantIn<'a> {
    #[serde(borrow)]
    when: Pairs<'a>,
    constraint: Option<ConstraintIn>,
    #[serde(borrow)]
    prices: Pairs<'a>,
}

/// Either a date or both times; an unknown constraint refuses the file, since nobody could say when its price holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstraintIn {
    start_date: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
}

#[derive(Deserialize)]
struct TieredIn<'a> {
    #[serde(borrow)]
    base: &'a RawValue,
    #[serde(borrow)]
    tiers: Vec<TierIn<'a>>,
}

#[derive(Deserialize)]
struct TierIn<'a> {
    #[serde(borrow)]
    start: &'a RawValue,
    #[serde(borrow)]
    price: &'a RawValue,
}

/// An object as it is written; a name that comes twice is refused, since two readers could choose differently.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Pairs::default();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if pairs.0.iter().any(|(own, _)| *own == name.0) {
                        return Err(A::Error::custom("a name that comes twice"));
                    }
                    if pairs.0.len() == MAX_PARTS {
                        return Err(A::Error::custom("too many names"));
                    }
                    pairs.0.push((name.0, value));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// A bare `Cow` would always be read as an owned one.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Prices that hold from a date or at a time of day.
struct Dated<'a> {
    from: i64,
    daily: Option<Daily>,
    pairs: Pairs<'a>,
}

/// What could not be carried over, each said once.
#[derive(Default)]
struct Notes(BTreeSet<String>);

const MAX_NOTES: usize = 100;

impl Notes {
    fn add(&mut self, what: impl FnOnce() -> String) {
        if self.0.len() < MAX_NOTES {
            self.0.insert(clip(&what()));
        }
    }
}

pub(super) fn import(bytes: &[u8], source: &str) -> Result<Catalogue, CatalogueError> {
    let providers: Vec<ProviderIn<'_>> =
        serde_json::from_slice(bytes).map_err(|e| CatalogueError::Malformed(clip(&e.to_string())))?;
    let source: Arc<str> = source.into();
    let mut notes = Notes::default();
    let mut entries = Vec::new();
    for provider in providers {
        let id: Arc<str> = provider.id.into();
        check_name(&id).map_err(|flaw| bad(&id, "", flaw))?;
        for model in provider.models {
            let name = model.id.clone();
            entries.push(read_model(model, &id, &source, &mut notes).map_err(|flaw| bad(&id, &name, flaw))?);
        }
    }
    Catalogue::assemble(version(bytes, None), source, None, notes.0.into_iter().collect(), entries)
}

fn read_model(
    model: ModelIn<'_>,
    provider: &Arc<str>,
    source: &Arc<str>,
    notes: &mut Notes,
) -> Result<ModelEntry, Flaw> {
    check_name(&model.id)?;
    let mut standard = read_dated(model.prices)?;
    if model.id.ends_with(":free") && standard.iter().all(|dated| dated.pairs.0.is_empty()) {
        // The data set spells "free" as an empty price. It spells "unknown" the same way, so only the name can tell.
        standard = vec![free()];
    }
    if model.price_variants.len() > MAX_PARTS {
        return Err(Flaw::TooMany);
    }
    let services = read_services(&standard, model.price_variants, source, notes)?;
    let id: Box<str> = model.id.as_ref().into();
    let mut prices = Vec::with_capacity(standard.len());
    for dated in &standard {
        prices.extend(read_price(dated.from, dated.daily, &dated.pairs.0, source, notes)?);
    }
    Ok(ModelEntry {
        provider: Arc::clone(provider),
        name: model.name.filter(|name| **name != *id && check_name(name).is_ok()),
        rule: read_rule(model.rule, notes).folded(),
        id,
        context_window: model.context_window.filter(is_size),
        max_output: None,
        prices,
        services,
    })
}

fn free() -> Dated<'static> {
    let pairs = serde_json::from_str(r#"{"input_mtok":0,"output_mtok":0}"#).unwrap_or_default();
    Dated { from: i64::MIN, daily: None, pairs }
}

/// A model's prices are one object, or a list of them with the constraints under which each holds.
fn read_dated(raw: &RawValue) -> Result<Vec<Dated<'_>>, Flaw> {
    if raw.get().starts_with('{') {
        let pairs = serde_json::from_str(raw.get()).map_err(|_| Flaw::Form)?;
        return Ok(vec![Dated { from: i64::MIN, daily: None, pairs }]);
    }
    let list: Vec<DatedIn<'_>> = serde_json::from_str(raw.get()).map_err(|_| Flaw::Form)?;
    if list.len() > MAX_PARTS {
        return Err(Flaw::TooMany);
    }
    let mut all = Vec::with_capacity(list.len());
    for one in list {
        let (from, daily) = read_constraint(one.constraint)?;
        all.push(Dated { from, daily, pairs: one.prices });
    }
    Ok(all)
}

fn read_constraint(constraint: Option<ConstraintIn>) -> Result<(i64, Option<Daily>), Flaw> {
    let Some(constraint) = constraint else { return Ok((i64::MIN, None)) };
    match (constraint.start_date, constraint.start_time, constraint.end_time) {
        (Some(date), None, None) => Ok((parse_date(&date).ok_or(Flaw::Time)?, None)),
        (None, Some(start), Some(end)) => {
            let time = |text: &str| parse_time(text).ok_or(Flaw::Time);
            Ok((i64::MIN, Some(Daily { start: time(&start)?, end: time(&end)? })))
        }
        _ => Err(Flaw::Time),
    }
}

/// The prices of each service tier: the standard ones, with what the tier's variants say in their place.
fn read_services(
    standard: &[Dated<'_>],
    variants: Vec<VariantIn<'_>>,
    source: &Arc<str>,
    notes: &mut Notes,
) -> Result<Vec<Service>, Flaw> {
    let mut tiers: Vec<(Box<str>, Vec<Dated<'_>>)> = Vec::new();
    for variant in variants {
        let Some(name) = service_tier(&variant.when) else {
            notes.add(|| format!("variants by {} are left out", conditions(&variant.when)));
            continue;
        };
        let (from, daily) = read_constraint(variant.constraint)?;
        if &*name == "default" && variant.prices.0.is_empty() {
            continue;
        }
        let dated = Dated { from, daily, pairs: variant.prices };
        match tiers.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) => own.push(dated),
            None => tiers.push((name, vec![dated])),
        }
    }
    let mut services = Vec::with_capacity(tiers.len());
    for (name, variants) in tiers {
        if standard.iter().chain(&variants).any(|dated| dated.daily.is_some()) {
            notes.add(|| "service tiers of models with prices by time of day are left out".into());
            continue;
        }
        services.push(Service { name, prices: overlay(standard, &variants, source, notes)? });
    }
    Ok(services)
}

fn service_tier(when: &Pairs<'_>) -> Option<Box<str>> {
    match &when.0[..] {
        [(key, value)] if key == "service_tier" => serde_json::from_str(value.get()).ok(),
        _ => None,
    }
}

fn conditions(when: &Pairs<'_>) -> String {
    when.0.iter().map(|(key, _)| &**key).collect::<Vec<_>>().join(" and ")
}

/// One price for each date on which either changes. Of the variants in force the first that names a rate counts.
fn overlay(
    standard: &[Dated<'_>],
    variants: &[Dated<'_>],
    source: &Arc<str>,
    notes: &mut Notes,
) -> Result<Vec<Arc<Price>>, Flaw> {
    let dates: BTreeSet<i64> = standard.iter().chain(variants).map(|dated| dated.from).collect();
    let mut prices = Vec::with_capacity(dates.len());
    for date in dates {
        let own = variants.iter().filter(|variant| variant.from <= date).flat_map(|variant| &variant.pairs.0);
        let base = standard.iter().rev().find(|dated| dated.from <= date).map_or(&[][..], |dated| &dated.pairs.0);
        let mut pairs: Vec<(Cow<'_, str>, &RawValue)> = Vec::new();
        for (key, value) in own.chain(base) {
            if pairs.iter().all(|(known, _)| known != key) {
                pairs.push((Cow::Borrowed(key), value));
            }
        }
        prices.extend(read_price(date, None, &pairs, source, notes)?);
    }
    Ok(prices)
}

/// One version of a price; `None` where it names no rate that has a unit here.
fn read_price(
    from: i64,
    daily: Option<Daily>,
    pairs: &[(Cow<'_, str>, &RawValue)],
    source: &Arc<str>,
    notes: &mut Notes,
) -> Result<Option<Arc<Price>>, Flaw> {
    let mut base = Rates::default();
    let mut steps: Vec<(u64, Measure, i64)> = Vec::new();
    for (key, value) in pairs {
        let measure = Measure::of(key);
        // Rates that cannot be carried over are still checked: a broken number is a broken file.
        let scale = measure.unwrap_or(Measure { unit: Unit::Input, power: 6, divisor: 1 });
        let (rate, tiers) = read_rate(value, scale)?;
        let Some(measure) = measure else {
            notes.add(|| format!("{key}: left out"));
            continue;
        };
        raise(&mut base, measure.unit, rate)?;
        steps.extend(tiers.into_iter().map(|(above, rate)| (above, measure, rate)));
    }
    if base.is_empty() {
        return Ok(None);
    }
    let tiers = tiers_of(&base, steps)?;
    Ok(Some(Arc::new(Price::new(from, daily, Arc::clone(source), base, tiers))))
}

/// Sets a rate, or leaves a dearer one that another key of the list gave the same unit.
fn raise(rates: &mut Rates, unit: Unit, rate: i64) -> Result<(), Flaw> {
    Ok(rates.set(unit, rates.get(unit).unwrap_or(0).max(rate))?)
}

/// Each unit may have steps of its own; a tier holds the rates of all of them from there on.
fn tiers_of(base: &Rates, mut steps: Vec<(u64, Measure, i64)>) -> Result<Vec<Tier>, Flaw> {
    steps.sort_by_key(|(above, ..)| *above);
    let mut tiers: Vec<Tier> = Vec::new();
    for (above, measure, rate) in steps {
        let rates = tiers.last().map_or(*base, |tier| tier.rates);
        if tiers.last().is_none_or(|tier| tier.above_input_tokens != above) {
            tiers.push(Tier { above_input_tokens: above, rates });
        }
        if let Some(tier) = tiers.last_mut() {
            tier.rates.set(measure.unit, rate)?;
        }
    }
    Ok(tiers)
}

/// A flat rate, or a base with steps.
fn read_rate(raw: &RawValue, measure: Measure) -> Result<(i64, Vec<(u64, i64)>), Flaw> {
    if !raw.get().starts_with('{') {
        return Ok((measure.rate(raw)?, Vec::new()));
    }
    let tiered: TieredIn<'_> = serde_json::from_str(raw.get()).map_err(|_| Flaw::Form)?;
    if tiered.tiers.len() > MAX_PARTS {
        return Err(Flaw::TooMany);
    }
    let step = |tier: &TierIn<'_>| {
        let start = tier.start.get().parse().map_err(|_| Flaw::Threshold)?;
        Ok((start, measure.rate(tier.price)?))
    };
    Ok((measure.rate(tiered.base)?, tiered.tiers.iter().map(step).collect::<Result<_, Flaw>>()?))
}

/// How a key of the data set becomes pico-dollars of a unit: x 10^`power` / `divisor`.
#[derive(Clone, Copy)]
struct Measure {
    unit: Unit,
    power: i32,
    divisor: u64,
}

impl Measure {
    fn of(key: &str) -> Option<Measure> {
        let (unit, power, divisor) = match key {
            "input_mtok" => (Unit::Input, 6, 1),
            "cache_read_mtok" => (Unit::CacheRead, 6, 1),
            "cache_write_mtok" | "cache_write_5m_mtok" => (Unit::CacheWrite5m, 6, 1),
            "cache_write_1h_mtok" => (Unit::CacheWrite1h, 6, 1),
            "output_mtok" => (Unit::Output, 6, 1),
            "output_reasoning_mtok" => (Unit::Reasoning, 6, 1),
            "input_audio_mtok" => (Unit::AudioIn, 6, 1),
            "output_audio_mtok" => (Unit::AudioOut, 6, 1),
            "cache_audio_read_mtok" => (Unit::AudioCacheRead, 6, 1),
            "input_image_mtok" => (Unit::ImageIn, 6, 1),
            "output_image_mtok" => (Unit::ImageOut, 6, 1),
            "requests_kcount" => (Unit::Request, 9, 1),
            "web_searches_kcount" => (Unit::Search, 9, 1),
            "input_mchars" => (Unit::Character, 6, 1),
            "audio_hours" | "input_audio_hours" => (Unit::Second, 12, 3600),
            _ => return None,
        };
        Some(Measure { unit, power, divisor })
    }

    fn rate(self, raw: &RawValue) -> Result<i64, Flaw> {
        let rate = Decimal::parse(raw.get())?.scaled(self.power, self.divisor)?;
        // The bounds of a rate are those of its unit.
        Rates::default().set(self.unit, rate)?;
        Ok(rate)
    }
}

fn read_rule(rule: RuleIn, notes: &mut Notes) -> Rule {
    let mut each = |rules: Vec<RuleIn>| rules.into_iter().map(|rule| read_rule(rule, notes)).collect::<Box<[Rule]>>();
    match rule {
        RuleIn::Equals(text) => Rule::Is(text),
        RuleIn::StartsWith(text) => Rule::Starts(text),
        RuleIn::EndsWith(text) => Rule::Ends(text),
        RuleIn::Contains(text) => Rule::Has(text),
        RuleIn::Or(rules) => Rule::Any(each(rules)),
        RuleIn::And(rules) => Rule::All(each(rules)),
        RuleIn::Regex(text) => read_regex(&text).unwrap_or_else(|| {
            notes.add(|| format!("a match rule is not understood: {text}"));
            // Matches nothing: a model without a price is refused, one with a wrong price would not be.
            Rule::Any(Box::default())
        }),
    }
}

/// A pattern, or the one look-ahead that the data set uses: "has no such part".
fn read_regex(text: &str) -> Option<Rule> {
    let without = text.strip_prefix("^(?!.*").and_then(|rest| rest.strip_suffix("(?:$|-))"));
    let Some(part) = without else { return Pattern::parse(text).map(Rule::Like) };
    let like = |end: &str| Pattern::parse(&format!("{part}{end}")).map(Rule::Like);
    Some(Rule::Not(Box::new(Rule::Any(Box::new([like("$")?, like("-")?])))))
}

/// Midnight UTC of `YYYY-MM-DD`, in milliseconds since 1970.
fn parse_date(text: &str) -> Option<i64> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months = lengths.get(..usize::try_from(month).ok()?.checked_sub(1)?)?;
    let length = *lengths.get(months.len())?;
    if !(1..=length).contains(&day) {
        return None;
    }
    let past = year - 1;
    // Day 719,162 of the proleptic Gregorian calendar is the first of January 1970.
    let days = past * 365 + past / 4 - past / 100 + past / 400 + months.iter().sum::<i64>() + day - 1 - 719_162;
    Some(days * 86_400_000)
}

/// Seconds after midnight UTC of `HH:MM:SS` with `Z` or `+00:00`.
fn parse_time(text: &str) -> Option<u32> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let [hours, minutes, seconds] = numbers(text, ':', [2, 2, 2])?;
    let valid = hours < 24 && minutes < 60 && seconds < 60;
    valid.then(|| (hours * 3600 + minutes * 60 + seconds) as u32)
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |width: usize| {
        let part = parts.next()?;
        (part.len() == width && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let all = [next(widths[0])?, next(widths[1])?, next(widths[2])?];
    parts.next().is_none().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_of_the_calendar() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2024-03-01", 19_783),
            ("2026-04-30", 20_573),
            ("1969-12-31", -1),
        ] {
            assert_eq!(parse_date(text), Some(day * 86_400_000), "{text}");
        }
        for text in
            ["2025-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "2026-4-30", "2026-04-30T00:00", "+026-04-30", ""]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_of_the_day_in_utc() {
        assert_eq!(parse_time("00:30:00Z"), Some(1800));
        assert_eq!(parse_time("23:59:59+00:00"), Some(86_399));
        for text in ["24:00:00Z", "00:60:00Z", "00:30:00", "00:30Z", "00:30:00+01:00"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_look_ahead_of_the_data_set_is_understood() {
        let rule = read_regex("^(?!.*-[tT][tT][sS](?:$|-))").expect("understood");
        assert!(rule.matches("gemini-2.5-pro") && rule.matches("gemini-ttsx"));
        assert!(!rule.matches("gemini-2.5-pro-tts") && !rule.matches("gemini-tts-preview"));
        assert_eq!(read_regex("^(?!x)"), None);
    }
}
