//! The project's own catalogue format: compact JSON in whole pico-dollars, with a version.

use super::{Catalogue, CatalogueError, Flaw, ModelEntry, Rule, Service, bad};
use crate::Unit;
use crate::model::PRACTICE;
use crate::price::{Daily, Price, Rates, Tier};
use foldhash::{HashMap, HashMapExt as _};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// The format's name and version, the first thing in the file.
const FORMAT: &str = "anykey-catalogue/1";

/// Versions of a price, tiers of a version and service tiers of a model.
pub(super) const MAX_PARTS: usize = 100;
pub(super) const MAX_NAME: usize = 256;
/// More tokens than a model holds: larger numbers are mistakes.
const MAX_TOKENS: u64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    source: String,
    as_of: Option<String>,
    providers: Vec<ProviderRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderRow {
    id: String,
    models: Vec<ModelRow>,
}

/// Its lists are as long as what they hold: nearly every model has one price, and thousands of rows with room for four
/// would be the largest thing in memory at the start.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelRow {
    id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
    /// Left out where the id alone stands for the model.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    rule: Option<Rule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    prices: Box<[PriceRow]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    services: Box<[ServiceRow]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceRow {
    name: Box<str>,
    prices: Box<[PriceRow]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    /// Milliseconds since 1970; left out where the price has no known beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    daily: Option<Daily>,
    rates: Rates,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    tiers: Box<[TierRow]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TierRow {
    above: u64,
    rates: Rates,
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (unit, rate) in self.iter() {
            map.serialize_entry(unit.name(), &rate)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RatesVisitor;
        impl<'de> Visitor<'de> for RatesVisitor {
            type Value = Rates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("whole pico-dollars by unit")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rates, A::Error> {
                let mut rates = Rates::default();
                while let Some((name, rate)) = map.next_entry::<String, i64>()? {
                    let unit = Unit::from_name(&name).ok_or_else(|| A::Error::custom("a unit that does not exist"))?;
                    if rates.get(unit).is_some() {
                        return Err(A::Error::custom("a unit with two prices"));
                    }
                    rates.set(unit, rate).map_err(A::Error::custom)?;
                }
                Ok(rates)
            }
        }
        deserializer.deserialize_map(RatesVisitor)
    }
}

/// Reads a file.
pub(super) fn parse(bytes: &[u8]) -> Result<Catalogue, CatalogueError> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| CatalogueError::Malformed(clip(&e.to_string())))?;
    if file.format != FORMAT {
        return Err(CatalogueError::Version);
    }
    let source: Arc<str> = clip(&file.source).into();
    let entries = read_rows(file.providers, Reading::new(&source))?;
    let version = version(bytes, file.as_of.as_deref());
    Catalogue::assemble(version, source, file.as_of.as_deref().map(clip), Vec::new(), entries)
}

/// The practice provider's models, as this release prices them.
pub(super) fn practice() -> Result<Vec<ModelEntry>, CatalogueError> {
    let file: File = serde_json::from_slice(include_bytes!("../../catalogue/practice.json"))
        .map_err(|e| CatalogueError::Malformed(clip(&e.to_string())))?;
    read_rows(file.providers, Reading::new(&file.source.into()))
}

/// The day, where known, and the head of the content's hash.
pub(super) fn version(bytes: &[u8], as_of: Option<&str>) -> String {
    let digest = Sha256::digest(bytes);
    let hash: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    as_of.map_or(hash.clone(), |day| format!("{}-{hash}", clip(day)))
}

pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// What the rows of one file have in common. Half of its prices are said more than once: the same model at several
/// providers.
struct Reading {
    source: Arc<str>,
    prices: HashMap<u64, Arc<Price>>,
}

impl Reading {
    fn new(source: &Arc<str>) -> Self {
        Reading { source: Arc::clone(source), prices: HashMap::new() }
    }

    fn share(&mut self, price: Price) -> Arc<Price> {
        match self.prices.get(&price.id()) {
            Some(known) if **known == price => Arc::clone(known),
            _ => {
                let price = Arc::new(price);
                self.prices.insert(price.id(), Arc::clone(&price));
                price
            }
        }
    }
}

fn read_rows(providers: Vec<ProviderRow>, mut reading: Reading) -> Result<Vec<ModelEntry>, CatalogueError> {
    let mut entries = Vec::with_capacity(providers.iter().map(|provider| provider.models.len()).sum());
    for provider in providers {
        let id: Arc<str> = provider.id.into();
        check_name(&id).map_err(|flaw| bad(&id, "", flaw))?;
        for row in provider.models {
            let model = row.id.clone();
            entries.push(read_model(row, &id, &mut reading).map_err(|flaw| bad(&id, &model, flaw))?);
        }
    }
    Ok(entries)
}

fn read_model(row: ModelRow, provider: &Arc<str>, reading: &mut Reading) -> Result<ModelEntry, Flaw> {
    check_name(&row.id)?;
    if row.prices.len().max(row.services.len()) > MAX_PARTS {
        return Err(Flaw::TooMany);
    }
    let prices = read_prices(row.prices, reading)?;
    let service = |row: ServiceRow| {
        check_name(&row.name)?;
        if row.prices.len() > MAX_PARTS {
            return Err(Flaw::TooMany);
        }
        Ok(Service { name: row.name, prices: read_prices(row.prices, reading)? })
    };
    Ok(ModelEntry {
        provider: Arc::clone(provider),
        rule: row.rule.unwrap_or_else(|| Rule::Is(row.id.clone())).folded(),
        id: row.id,
        name: row.name.filter(|name| check_name(name).is_ok()),
        context_window: row.context.filter(is_size),
        max_output: row.output.filter(is_size),
        prices,
        services: row.services.into_iter().map(service).collect::<Result<_, Flaw>>()?,
    })
}

fn read_prices(rows: Box<[PriceRow]>, reading: &mut Reading) -> Result<Vec<Arc<Price>>, Flaw> {
    let mut prices = Vec::with_capacity(rows.len());
    for row in rows {
        let price = read_price(row, &reading.source)?;
        prices.push(reading.share(price));
    }
    Ok(prices)
}

fn read_price(row: PriceRow, source: &Arc<str>) -> Result<Price, Flaw> {
    const DAY: u32 = 86_400;
    if row.daily.is_some_and(|daily| daily.start >= DAY || daily.end > DAY) {
        return Err(Flaw::Time);
    }
    if row.rates.is_empty() {
        return Err(Flaw::Form);
    }
    if row.tiers.len() > MAX_PARTS {
        return Err(Flaw::TooMany);
    }
    let tiers = row.tiers.into_iter().map(|tier| Tier { above_input_tokens: tier.above, rates: tier.rates });
    Ok(Price::new(row.from.unwrap_or(i64::MIN), row.daily, Arc::clone(source), row.rates, tiers.collect()))
}

pub(super) fn check_name(name: &str) -> Result<(), Flaw> {
    let fine = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(Flaw::Name) }
}

pub(super) fn is_size(tokens: &u64) -> bool {
    (1..=MAX_TOKENS).contains(tokens)
}

/// Writes a catalogue, the practice provider left out: a model to a line, so that a change of price is a change of lines.
pub(super) fn write(catalogue: &Catalogue) -> String {
    // Strings, integers and lists of them always have a JSON form.
    let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let line = |entry: &ModelEntry| serde_json::to_string(&write_model(entry)).unwrap_or_default();
    let shelf = |group: &[ModelEntry]| {
        let models: Vec<String> = group.iter().map(line).collect();
        format!("{{\"id\":{},\"models\":[\n{}\n]}}", json(&group[0].provider), models.join(",\n"))
    };
    let groups = catalogue.entries().chunk_by(|a, b| a.provider == b.provider);
    let shelves: Vec<String> = groups.filter(|group| &*group[0].provider != PRACTICE).map(shelf).collect();
    let as_of = catalogue.as_of().map(|day| format!("\"as_of\":{},", json(day))).unwrap_or_default();
    let (format, source) = (json(FORMAT), json(catalogue.source()));
    format!("{{\"format\":{format},\"source\":{source},{as_of}\"providers\":[\n{}\n]}}\n", shelves.join(",\n"))
}

fn write_model(entry: &ModelEntry) -> ModelRow {
    let only_id = Rule::Is(entry.id.clone()).folded() == entry.rule;
    ModelRow {
        id: entry.id.clone(),
        name: entry.name.clone(),
        rule: (!only_id).then(|| entry.rule.clone()),
        context: entry.context_window,
        output: entry.max_output,
        prices: entry.prices.iter().map(|price| write_price(price)).collect(),
        services: entry.services.iter().map(write_service).collect(),
    }
}

fn write_service(service: &Service) -> ServiceRow {
    ServiceRow { name: service.name.clone(), prices: service.prices.iter().map(|price| write_price(price)).collect() }
}

fn write_price(price: &Price) -> PriceRow {
    let tier = |tier: &Tier| TierRow { above: tier.above_input_tokens, rates: tier.rates };
    PriceRow {
        from: Some(price.valid_from()).filter(|from| *from != i64::MIN),
        daily: price.daily(),
        rates: *price.rates(),
        tiers: price.tiers().iter().map(tier).collect(),
    }
}
