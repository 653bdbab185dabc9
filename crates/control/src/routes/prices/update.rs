//! Taking a newer price catalogue: checked whole, stored, then put in force.

use crate::App;
use crate::input;
use crate::problem::{Own, Problem, Result};
use anykey_core::Code;
use anykey_core::catalogue::{Catalogue, MAX_FILE, ModelEntry};
use anykey_net::FetchError;
use anykey_net::client::SendError;
use anykey_net::guard::Destination;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

const TIMEOUT: Duration = Duration::from_secs(60);
/// More notes than anybody reads.
const MAX_NOTES: usize = 50;

/// Where a newer price list is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceSource {
    /// An address that the server reads.
    url: String,
}

/// What an update did.
#[derive(Serialize, ToSchema)]
pub(crate) struct PriceUpdate {
    /// The version that was in force.
    before: String,
    /// The version that is in force now.
    after: String,
    /// How many models have another price, are new, or are gone.
    changed: usize,
    /// How many models there are now.
    models: usize,
    #[schema(required)]
    as_of: Option<String>,
    source: String,
    /// What the list holds that could not be carried over.
    notes: Vec<String>,
}

/// Take a newer price list: this project's own format, or the data file of genai-prices. One with a flaw is refused whole.
#[utoipa::path(post, path = "/prices/update", operation_id = "update_prices", tag = "prices",
    request_body(content = PriceSource, description = "Where the list is; or the list itself"),
    responses((status = 200, body = PriceUpdate), (status = 422, description = "The list has a flaw; nothing of it is used")))]
pub(super) async fn update(State(app): State<App>, request: Request) -> Result<Json<PriceUpdate>> {
    let body = input::bytes(request, &()).await?;
    let (source, bytes) = match serde_json::from_slice::<PriceSource>(&body) {
        // Where the list came from is kept and shown.
        Ok(PriceSource { url }) if anykey_core::find::holds_key(&url) => {
            return Err(Problem::field("url", "holds an API key, and is kept and shown to others"));
        }
        Ok(PriceSource { url }) => {
            let bytes = load(&app, &url).await?;
            (url, bytes)
        }
        Err(_) => ("upload".to_owned(), body.to_vec()),
    };
    // Runs to its end even when the caller hangs up: what is stored is what is in force.
    let work = tokio::spawn(anykey_store::carried(take(app, source, bytes)));
    work.await.map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?.map(Json)
}

async fn load(app: &App, url: &str) -> Result<Vec<u8>> {
    let forbidden = |why: String| Problem { kind: Own::DestinationForbidden.into(), ..Problem::field("url", why) };
    let to = Destination::parse(url, false).map_err(|why| forbidden(format!("cannot be used: {why}")))?;
    let path = if to.prefix.is_empty() { "/" } else { "" };
    let answer = app.deps.fetch.get(&to, path, b"", MAX_FILE, TIMEOUT).await.map_err(|error| match error {
        FetchError::Send(SendError::Forbidden(why)) => forbidden(format!("cannot be used: {why}")),
        other => Problem::new(Code::UpstreamError, format!("The price list could not be read: {other}.")),
    })?;
    if answer.status != 200 {
        let status = answer.status;
        return Err(Problem::new(
            Code::UpstreamError,
            format!("The price list could not be read: its server answered {status}."),
        ));
    }
    Ok(answer.body.to_vec())
}

async fn take(app: App, source: String, bytes: Vec<u8>) -> Result<PriceUpdate> {
    let parsed = tokio::task::spawn_blocking(move || (Catalogue::parse(&bytes), bytes)).await;
    let (parsed, bytes) = parsed.map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    let new = parsed.map_err(|why| {
        Problem::new(
            Own::CatalogueInvalid,
            format!("The price list was refused whole, and nothing has changed: {why}."),
        )
    })?;
    let _turn = app.pricing.lock().await;
    let before = app.deps.catalogue.load_full();
    if new.version() != before.version() {
        app.store().set_catalogue(&source, bytes).await?;
    }
    let update = PriceUpdate {
        before: before.version().to_owned(),
        after: new.version().to_owned(),
        changed: changed(&before, &new),
        models: new.entries().len(),
        as_of: new.as_of().map(str::to_owned),
        source: new.source().to_owned(),
        notes: new.notes().iter().take(MAX_NOTES).cloned().collect(),
    };
    app.deps.catalogue.store(Arc::new(new));
    Ok(update)
}

/// How many models cost something else than before, counting those that came and those that went.
fn changed(before: &Catalogue, after: &Catalogue) -> usize {
    let (before, after) = (prices(before), prices(after));
    let gone = before.keys().filter(|model| !after.contains_key(*model)).count();
    gone + after.iter().filter(|(model, prices)| before.get(*model) != Some(prices)).count()
}

/// The versions of the prices of each model.
fn prices(catalogue: &Catalogue) -> HashMap<(&str, &str), Vec<u64>> {
    let versions = |entry: &ModelEntry| {
        let services = entry.services.iter().flat_map(|own| &own.prices);
        entry.prices.iter().chain(services).map(|price| price.id()).collect()
    };
    catalogue.entries().iter().map(|entry| ((&*entry.provider, &*entry.id), versions(entry))).collect()
}
