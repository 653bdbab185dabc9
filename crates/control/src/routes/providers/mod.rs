//! `/providers`: the upstreams, their credentials, and whether they answer.

mod change;
mod make;
mod probe;
mod settings;
mod view;

use crate::App;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::precondition::tagged;
use crate::problem::{Own, Problem, Result};
use crate::routing::{Routes, routes};
use anykey_core::model;
use anykey_store::{Origin, ProviderRow, StoreError};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use view::ProviderView;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, make::add))
        .routes(routes!(show, change::update, change::remove))
        .routes(routes!(change::test))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List providers, by name.
#[utoipa::path(get, path = "/providers", operation_id = "list_providers", tag = "providers", params(ListParams),
    responses((status = 200, body = List<ProviderView>)))]
async fn list(State(app): State<App>, Params(params): Params<ListParams>) -> Result<Json<List<ProviderView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), |s| Some(s.to_owned()), &mut findings);
    findings.end()?;
    let mut rows = app.store().providers().await?;
    if let Some(practice) = practice(&app).filter(|_| rows.iter().all(|row| row.name != model::PRACTICE)) {
        rows.push(practice);
    }
    let views = rows.into_iter().map(|row| view::show(&app, row)).collect();
    Ok(page::cut(views, &page, |provider: &ProviderView| &provider.name))
}

/// Show a provider. Its credential is never shown.
#[utoipa::path(get, path = "/providers/{name}", operation_id = "show_provider", tag = "providers",
    params(("name" = String, Path)), responses((status = 200, body = ProviderView)))]
async fn show(State(app): State<App>, PathParam(name): PathParam) -> Result<Response> {
    let row = find(&app, &name).await?;
    let version = row.version;
    Ok(tagged(view::show(&app, row), version))
}

async fn find(app: &App, name: &str) -> Result<ProviderRow> {
    match app.store().provider(name).await {
        Err(StoreError::NotFound(_)) if name == model::PRACTICE => {
            practice(app).ok_or_else(|| Problem::not_found("provider"))
        }
        found => Ok(found?),
    }
}

/// The practice provider, which is part of the binary.
fn practice(app: &App) -> Option<ProviderRow> {
    Some(ProviderRow {
        name: model::PRACTICE.into(),
        kind: model::PRACTICE.into(),
        base_url: Some(app.deps.practice_url.clone()?),
        has_credential: false,
        allow_private: true,
        disabled: false,
        origin: Origin::Config,
        models: Vec::new(),
        tested_at: None,
        test_error: None,
        version: 0,
        created_at: None,
        updated_at: None,
    })
}

/// The practice provider cannot be changed here, whoever declared it.
fn not_practice(name: &str) -> Result<()> {
    if name == model::PRACTICE {
        return Err(Problem::new(
            Own::Conflict,
            "The practice provider is part of the server and cannot be changed here.",
        ));
    }
    Ok(())
}
