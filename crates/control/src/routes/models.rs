//! `/models`: everything that can be called, with its size and its price.

use crate::App;
use crate::input::{Findings, Params};
use crate::page::{self, List};
use crate::problem::Result;
use crate::routing::{Routes, routes};
use crate::wire::{now_ms, rates};
use anykey_core::catalogue::Catalogue;
use anykey_core::provider;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// A model that can be called.
#[derive(Serialize, ToSchema)]
struct Model {
    /// `provider/model`, as a caller names it.
    id: String,
    provider: String,
    model: String,
    dialect: &'static str,
    /// Tokens of input and output together.
    #[schema(required)]
    context_window: Option<u64>,
    /// Tokens that one answer can have.
    #[schema(required)]
    max_output: Option<u64>,
    /// Dollars per unit, at the price in force. Longer prompts may cost more; see `/prices/models`.
    prices: BTreeMap<&'static str, String>,
    /// Whether the price is known.
    priced: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only models of this provider.
    provider: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List the models that can be called, by id.
#[utoipa::path(get, path = "/models", operation_id = "list_models", tag = "models", params(ListParams),
    responses((status = 200, body = List<Model>)))]
async fn list(State(app): State<App>, Params(params): Params<ListParams>) -> Result<Json<List<Model>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), |s| Some(s.to_owned()), &mut findings);
    findings.end()?;
    let all = offered(&app, params.provider.as_deref());
    Ok(page::cut(all, &page, |model: &Model| &model.id))
}

/// What a provider's own list names, or, where it gave none, what the catalogue knows of its kind.
fn offered(app: &App, only: Option<&str>) -> Vec<Model> {
    let catalogue = app.deps.catalogue.load();
    let snapshot = app.store().snapshot();
    let now = now_ms();
    let mut models = Vec::new();
    let mut offer = |provider: &str, kind: &str, listed: &[Box<str>]| {
        if only.is_some_and(|only| only != provider) {
            return;
        }
        if listed.is_empty() {
            models.extend(
                catalogue.models(kind).iter().filter_map(|entry| model(&catalogue, provider, kind, &entry.id, now)),
            );
        } else {
            models.extend(listed.iter().filter_map(|name| model(&catalogue, provider, kind, name, now)));
        }
    };
    for provider in snapshot.providers.values().filter(|provider| !provider.disabled) {
        offer(&provider.name, &provider.kind, &provider.models);
    }
    let practice = anykey_core::model::PRACTICE;
    if app.deps.practice_url.is_some() && !snapshot.providers.contains_key(practice) {
        offer(practice, practice, &[]);
    }
    models
}

fn model(catalogue: &Catalogue, provider: &str, kind: &str, model: &str, now_ms: i64) -> Option<Model> {
    let dialect = provider::kind(kind)?.dialect.name();
    let entry = catalogue.find(kind, model);
    let price = entry.and_then(|entry| entry.price_at(now_ms));
    Some(Model {
        id: format!("{provider}/{model}"),
        provider: provider.to_owned(),
        model: model.to_owned(),
        dialect,
        context_window: entry.and_then(|entry| entry.context_window),
        max_output: entry.and_then(|entry| entry.max_output),
        prices: price.map(|price| rates(price.rates())).unwrap_or_default(),
        priced: price.is_some(),
    })
}
