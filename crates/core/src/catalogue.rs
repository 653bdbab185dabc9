//! The catalogue of models: which exist at which kind of provider, how large they are and what they cost since when.

mod decimal;
mod file;
mod import;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

pub use decimal::{Decimal, DecimalError};
pub use pattern::Pattern;
pub use rule::Rule;

use crate::price::{Price, RateError};
use crate::provider;
use foldhash::{HashMap, HashMapExt as _};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// The most that a catalogue file may weigh.
pub const MAX_FILE: usize = 16 << 20;

/// Bounds several times those of the published data, so that no file makes its reading or a look-up slow.
const MAX_MODELS: usize = 20_000;
/// Models of one provider whose rule has to be tried, since it does not spell its names out.
const MAX_OPEN: usize = 1000;
/// Tests in one model's rule.
const MAX_RULE: usize = 100;

/// Why a file is not a catalogue. Nothing of such a file is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    #[error("the catalogue is larger than 16 MiB")]
    TooLarge,
    #[error("the catalogue is not valid: {0}")]
    Malformed(String),
    #[error("the catalogue is of a version that this release does not read")]
    Version,
    #[error("the catalogue has no model with a price")]
    Empty,
    #[error("{provider}/{model}: {why}")]
    Bad { provider: String, model: String, why: Flaw },
}

/// What is wrong with a model of a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("a price is {0}")]
    Number(#[from] DecimalError),
    #[error("{0}")]
    Rate(#[from] RateError),
    #[error("a price is not of the form that the data set documents")]
    Form,
    #[error("a date or time of day is not one")]
    Time,
    #[error("a tier begins at something other than a whole number of tokens")]
    Threshold,
    #[error("a name is empty or too long")]
    Name,
    #[error("a model is listed twice")]
    Twice,
    #[error("too many of them")]
    TooMany,
}

/// A model at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// The provider as the catalogue names it, which is [`provider::ProviderKind::catalogue`].
    pub provider: Arc<str>,
    pub id: Box<str>,
    /// As people write it, where it differs from the id.
    pub name: Option<Box<str>>,
    /// The names that stand for this model.
    pub rule: Rule,
    /// Tokens of input and output together.
    pub context_window: Option<u64>,
    /// Tokens that one answer can have.
    pub max_output: Option<u64>,
    /// Versions of the price; where several are in force at once the last one counts.
    pub prices: Vec<Arc<Price>>,
    /// Prices of service tiers that a caller may ask for (`priority`, `flex`).
    pub services: Vec<Service>,
}

/// What a model costs when it is called under a service tier other than the standard one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Box<str>,
    pub prices: Vec<Arc<Price>>,
}

impl ModelEntry {
    /// The standard price in force at a moment (milliseconds since 1970); `None` where the model has no price.
    pub fn price_at(&self, now_ms: i64) -> Option<&Arc<Price>> {
        in_force(&self.prices, now_ms)
    }

    /// The price in force under a service tier; the standard one where the catalogue knows no other.
    pub fn price_for(&self, service: &str, now_ms: i64) -> Option<&Arc<Price>> {
        let own = self.services.iter().find(|own| own.name.eq_ignore_ascii_case(service));
        own.and_then(|own| in_force(&own.prices, now_ms)).or_else(|| self.price_at(now_ms))
    }

    /// The price of a variant of the model's work, which the catalogue lists beside its service tiers.
    pub fn variant_at(&self, name: &str, now_ms: i64) -> Option<&Arc<Price>> {
        let own = self.services.iter().find(|own| *own.name == *name);
        own.and_then(|own| in_force(&own.prices, now_ms))
    }

    /// The prices in force under every service tier, the standard one first: a call whose tier the provider chooses must
    /// be held at the dearest of them.
    pub fn prices_in_force(&self, now_ms: i64) -> impl Iterator<Item = &Arc<Price>> {
        let services = self.services.iter().filter_map(move |own| in_force(&own.prices, now_ms));
        self.price_at(now_ms).into_iter().chain(services)
    }
}

fn in_force(prices: &[Arc<Price>], now_ms: i64) -> Option<&Arc<Price>> {
    prices.iter().rev().find(|price| price.holds_at(now_ms))
}

/// All models, read once and then only looked up.
#[derive(Debug)]
pub struct Catalogue {
    version: String,
    source: Arc<str>,
    as_of: Option<String>,
    notes: Vec<String>,
    entries: Vec<ModelEntry>,
    providers: HashMap<Arc<str>, Shelf>,
}

/// The models of one provider.
#[derive(Debug, Default)]
struct Shelf {
    entries: Range<usize>,
    /// Names that rules spell out, in lower case, with the entry that they lead to.
    exact: HashMap<Box<str>, u32>,
    /// Entries whose rule may match other names, in order.
    open: Vec<u32>,
}

impl Catalogue {
    /// The catalogue that is compiled in.
    ///
    /// # Panics
    ///
    /// Never in a build that passed its tests: they read the same bytes.
    pub fn bundled() -> Arc<Catalogue> {
        static BUNDLED: LazyLock<Arc<Catalogue>> = LazyLock::new(|| {
            let bytes = include_bytes!("../catalogue/models.json");
            Arc::new(file::parse(bytes).expect("the catalogue that is compiled in is valid"))
        });
        Arc::clone(&BUNDLED)
    }

    /// Reads a catalogue: this project's own format, or the data file of genai-prices as it is published. A file with
    /// any flaw is refused whole. The practice provider's models are in every catalogue.
    pub fn parse(bytes: &[u8]) -> Result<Catalogue, CatalogueError> {
        if bytes.len() > MAX_FILE {
            return Err(CatalogueError::TooLarge);
        }
        match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'[') => {
                let mut catalogue = import::import(bytes, "genai-prices")?;
                catalogue.fill_limits(&Self::bundled());
                Ok(catalogue)
            }
            _ => file::parse(bytes),
        }
    }

    /// Reads the data file of genai-prices alone, under a source's name and date.
    pub fn import(bytes: &[u8], source: &str, as_of: Option<&str>) -> Result<Catalogue, CatalogueError> {
        if bytes.len() > MAX_FILE {
            return Err(CatalogueError::TooLarge);
        }
        let mut catalogue = import::import(bytes, source)?;
        catalogue.as_of = as_of.map(str::to_owned);
        Ok(catalogue)
    }

    /// The catalogue in the project's own format, without the practice provider.
    pub fn to_json(&self) -> String {
        file::write(self)
    }

    /// Names this content: the same on every replica that read the same file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The data set that the prices come from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The day of the data set, as it says itself.
    pub fn as_of(&self) -> Option<&str> {
        self.as_of.as_deref()
    }

    /// What the file holds that could not be carried over, for the operator who loads it.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// All models, grouped by provider, in the order of the file.
    pub fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    /// The models at a kind of provider, in the order of the file.
    pub fn models(&self, kind: &str) -> &[ModelEntry] {
        self.shelf(kind).map_or(&[], |shelf| &self.entries[shelf.entries.clone()])
    }

    /// The model that a name stands for at a kind of provider. A name that a rule spells out costs two look-ups in hash
    /// maps; others are tried against the provider's open rules in the order of the file.
    pub fn find(&self, kind: &str, model: &str) -> Option<&ModelEntry> {
        let shelf = self.shelf(kind)?;
        let name = fold(model);
        let exact = shelf.exact.get(&*name).copied();
        let at = exact.or_else(|| shelf.open.iter().copied().find(|at| self.entries[*at as usize].rule.matches(&name)));
        at.map(|at| &self.entries[at as usize])
    }

    /// The kinds of provider at which a bare name is known, in the order of the table of kinds. The practice provider
    /// is never among them: its models must be named as its own.
    pub fn kinds_of(&self, model: &str) -> Vec<&'static str> {
        let kinds = provider::kinds().iter().filter(|kind| kind.name != crate::model::PRACTICE);
        kinds.filter(|kind| self.find(kind.name, model).is_some()).map(|kind| kind.name).collect()
    }

    /// Sizes of models, from another catalogue, where this one says nothing of them.
    pub fn fill_limits(&mut self, from: &Catalogue) {
        for entry in &mut self.entries {
            let Some(known) = from.find(&entry.provider, &entry.id) else { continue };
            entry.context_window = entry.context_window.or(known.context_window);
            entry.max_output = entry.max_output.or(known.max_output);
        }
    }

    /// Sets the sizes of one model, for the tool that prepares the bundled file.
    pub fn set_limits(&mut self, at: usize, context_window: Option<u64>, max_output: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.context_window = context_window.filter(file::is_size);
            entry.max_output = max_output.filter(file::is_size);
        }
    }

    /// Kinds are looked up under the name that the catalogue has for them; its own names work too.
    fn shelf(&self, kind: &str) -> Option<&Shelf> {
        let name = provider::kind(kind).map_or(kind, |kind| kind.catalogue);
        self.providers.get(name)
    }

    /// Adds the practice provider, whatever the file says of it, and puts the models, which are grouped by provider, on
    /// their shelves.
    fn assemble(
        version: String,
        source: Arc<str>,
        as_of: Option<String>,
        notes: Vec<String>,
        mut entries: Vec<ModelEntry>,
    ) -> Result<Catalogue, CatalogueError> {
        entries.retain(|entry| &*entry.provider != crate::model::PRACTICE);
        if entries.iter().all(|entry| entry.prices.is_empty()) {
            return Err(CatalogueError::Empty);
        }
        if entries.len() > MAX_MODELS {
            return Err(bad("models", "", Flaw::TooMany));
        }
        if let Some(entry) = entries.iter().find(|entry| entry.rule.size() > MAX_RULE) {
            return Err(bad(&entry.provider, &entry.id, Flaw::TooMany));
        }
        let practice = file::practice()?;
        entries.reserve_exact(practice.len());
        entries.extend(practice);
        let mut providers = HashMap::new();
        let mut start = 0;
        for group in entries.chunk_by(|a, b| a.provider == b.provider) {
            let provider = Arc::clone(&group[0].provider);
            let shelf = Shelf::new(start, group).ok_or_else(|| bad(&provider, "", Flaw::TooMany))?;
            if providers.insert(provider, shelf).is_some() {
                return Err(bad(&group[0].provider, "", Flaw::Twice));
            }
            start += group.len();
        }
        Ok(Catalogue { version, source, as_of, notes, entries, providers })
    }
}

impl Shelf {
    /// `None` where too many rules would have to be tried one after the other.
    fn new(start: usize, entries: &[ModelEntry]) -> Option<Shelf> {
        let mut shelf = Shelf { entries: start..start + entries.len(), ..Shelf::default() };
        let mut names = Vec::new();
        for (entry, at) in entries.iter().zip(start as u32..) {
            names.clear();
            let open = entry.rule.exact(&mut names);
            for name in &names {
                if shelf.exact.contains_key(*name) {
                    continue;
                }
                // The first entry that matches wins, as it does in the data set: an open rule may come before.
                let first = shelf.open.iter().find(|at| entries[**at as usize - start].rule.matches(name));
                shelf.exact.insert((*name).into(), first.copied().unwrap_or(at));
            }
            if open {
                shelf.open.push(at);
            }
            if shelf.open.len() > MAX_OPEN {
                return None;
            }
        }
        Some(shelf)
    }
}

fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

/// An error that names the model, within bounds: the text is the file's.
fn bad(provider: &str, model: &str, why: impl Into<Flaw>) -> CatalogueError {
    let clip = |text: &str| text.chars().filter(|c| !c.is_control()).take(64).collect();
    CatalogueError::Bad { provider: clip(provider), model: clip(model), why: why.into() }
}
