//! `/approvals`: asking for more than a key has, or for a key, and deciding on that.

mod ask;
mod decide;
mod view;

use crate::App;
use crate::caller::Caller;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::tagged;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::tenancy;
use anykey_core::{ApprovalId, KeyId};
use anykey_store::{ApprovalFilter, ApprovalRow, ApprovalState, Asker};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use view::ApprovalView;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, ask::ask))
        .routes(routes!(show))
        .routes(routes!(decide::approve))
        .routes(routes!(decide::refuse))
        .routes(routes!(decide::withdraw))
        .routes(routes!(decide::collect))
}

fn answer(row: ApprovalRow) -> Response {
    let version = row.version;
    tagged(ApprovalView::from(row), version)
}

fn id_of(text: &str) -> Result<ApprovalId> {
    ApprovalId::parse(text).ok_or_else(|| Problem::not_found("request"))
}

/// Who the caller is, told from others: whoever made the key that asks is no other than who holds it.
async fn asker(app: &App, caller: &Caller) -> Result<Asker> {
    let name = caller.actor(app).name;
    let id = match caller {
        Caller::Person(_) => caller.id(),
        Caller::Key(key) => {
            let creator = app.store().key(key.info.id).await?.creator;
            creator.filter(|creator| anykey_core::PersonId::parse(creator).is_some()).unwrap_or_else(|| caller.id())
        }
    };
    Ok(Asker { id, name })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// `waiting`, `approved`, `refused`, `withdrawn`, `lapsed` or `ended`.
    state: Option<String>,
    /// The id of a key.
    key: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// An id, a slug, or `organisation/slug`.
    project: Option<String>,
    /// The id of a person, or of a key that asked.
    asked_by: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List requests, the newest first.
#[utoipa::path(get, path = "/approvals", operation_id = "list_approvals", tag = "approvals", params(ListParams),
    responses((status = 200, body = List<ApprovalView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<ApprovalView>>> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), ApprovalId::parse, f);
    let mut filter = ApprovalFilter { within: power.sight(), asked_by: params.asked_by, ..ApprovalFilter::default() };
    if let Some(text) = &params.state {
        let known = ApprovalState::from_name(text);
        filter.state = f.check("state", known.ok_or("is waiting, approved, refused, withdrawn, lapsed or ended"));
    }
    if let Some(text) = &params.key {
        filter.key = f.check("key", KeyId::parse(text).ok_or("is an id (key_...)"));
    }
    if let Some(text) = &params.organisation {
        filter.organisation = tenancy::organisation(&app, &power, "organisation", text, f).await?.map(|row| row.id);
    }
    if let Some(text) = &params.project {
        filter.project = tenancy::project(&app, &power, "project", text, f).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().approvals(&filter, page).await?, ApprovalView::from))
}

/// Show a request.
#[utoipa::path(get, path = "/approvals/{id}", operation_id = "show_approval", tag = "approvals",
    params(("id" = String, Path)), responses((status = 200, body = ApprovalView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().approval(id_of(&id)?).await?))
}
