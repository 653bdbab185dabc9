//! Prices as they are shown: dollars per unit, exactly.

use crate::wire::{rates, time};
use anykey_core::catalogue::{Catalogue, ModelEntry};
use anykey_core::price::Price;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The price catalogue in force.
#[derive(Serialize, ToSchema)]
#[schema(as = Catalogue)]
pub(crate) struct CatalogueView {
    /// Names the content: the same wherever the same list is loaded.
    version: String,
    /// The day of the data set, as it says itself.
    #[schema(required)]
    as_of: Option<String>,
    source: String,
    /// How many models it has.
    models: usize,
}

impl CatalogueView {
    pub fn new(catalogue: &Catalogue) -> Self {
        CatalogueView {
            version: catalogue.version().to_owned(),
            as_of: catalogue.as_of().map(str::to_owned),
            source: catalogue.source().to_owned(),
            models: catalogue.entries().len(),
        }
    }
}

/// One version of a price.
#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct PriceView {
    id: u64,
    /// Null where the list names no date.
    #[schema(required)]
    valid_from: Option<String>,
    /// Seconds after midnight UTC, where the price holds for a part of the day only.
    #[serde(skip_serializing_if = "Option::is_none")]
    daily: Option<DailyView>,
    source: String,
    /// Dollars per unit.
    rates: BTreeMap<&'static str, String>,
    /// What longer prompts cost, all of them.
    tiers: Vec<TierView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Daily)]
pub(crate) struct DailyView {
    start: u32,
    end: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Tier)]
pub(crate) struct TierView {
    above_input_tokens: u64,
    /// Dollars per unit.
    rates: BTreeMap<&'static str, String>,
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        let tiers = price.tiers().iter();
        PriceView {
            id: price.id(),
            valid_from: (price.valid_from() != i64::MIN).then(|| time(price.valid_from())),
            daily: price.daily().map(|daily| DailyView { start: daily.start, end: daily.end }),
            source: price.source().to_string(),
            rates: rates(price.rates()),
            tiers: tiers
                .map(|t| TierView { above_input_tokens: t.above_input_tokens, rates: rates(&t.rates) })
                .collect(),
        }
    }
}

/// The prices of a service tier that a caller may ask for.
#[derive(Serialize, ToSchema)]
#[schema(as = ServicePrice)]
pub(crate) struct ServiceView {
    name: String,
    #[schema(required)]
    price: Option<PriceView>,
}

/// A model and what it costs.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelPrices {
    kind: String,
    /// The catalogue's own name of it.
    model: String,
    #[schema(required)]
    name: Option<String>,
    #[schema(required)]
    context_window: Option<u64>,
    #[schema(required)]
    max_output: Option<u64>,
    /// The price in force; null where none is known.
    #[schema(required)]
    price: Option<PriceView>,
    /// All versions, those to come among them.
    history: Vec<PriceView>,
    /// What other service tiers cost now.
    services: Vec<ServiceView>,
}

impl ModelPrices {
    pub fn new(kind: &str, entry: &ModelEntry, now_ms: i64) -> Self {
        let service = |name: &str| ServiceView {
            name: name.to_owned(),
            price: entry.price_for(name, now_ms).map(|price| PriceView::from(&**price)),
        };
        ModelPrices {
            kind: kind.to_owned(),
            model: entry.id.to_string(),
            name: entry.name.as_deref().map(str::to_owned),
            context_window: entry.context_window,
            max_output: entry.max_output,
            price: entry.price_at(now_ms).map(|price| PriceView::from(&**price)),
            history: entry.prices.iter().map(|price| PriceView::from(&**price)).collect(),
            services: entry.services.iter().map(|own| service(&own.name)).collect(),
        }
    }
}
