//! `/requests`: single attempts, as they were recorded and as they finish.

mod filter;
mod tail;
mod view;

use crate::App;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::power::Power;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use anykey_core::RequestId;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use view::RequestView;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(tail::tail)).routes(routes!(show))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// A key's id.
    key: Option<String>,
    /// As it was asked or as it was sent.
    model: Option<String>,
    provider: Option<String>,
    /// One status, such as `404`, or a class: `4xx`, `5xx`.
    status: Option<String>,
    /// `completed`, `refused`, `upstream_error`, `upstream_failed`, `broken`, `client_gone`, `cut` or `unresolved`.
    outcome: Option<String>,
    /// From when on: a time or a date.
    since: Option<String>,
    /// Until when: a time or a date, not included.
    until: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List attempts, the newest first.
#[utoipa::path(get, path = "/requests", operation_id = "list_requests", tag = "requests", params(ListParams),
    responses((status = 200, body = List<RequestView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<RequestView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), |text| text.parse().ok(), &mut findings);
    let asked = filter::Asked {
        key: params.key,
        model: params.model,
        provider: params.provider,
        status: params.status,
        outcome: params.outcome,
        since: params.since,
        until: params.until,
    };
    let filter = asked.read(&power, &mut findings);
    findings.end()?;
    app.settle().await?;
    Ok(page::show(app.store().requests(&filter, page).await?, |row| RequestView::new(&row.record, row.key_name)))
}

/// The attempts of one request.
#[derive(Serialize, ToSchema)]
struct Attempts {
    /// First to last.
    data: Vec<RequestView>,
}

/// Show a request: each of its attempts.
#[utoipa::path(get, path = "/requests/{id}", operation_id = "show_request", tag = "requests",
    params(("id" = String, Path)), responses((status = 200, body = Attempts)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<Attempts>> {
    let id = RequestId::parse(&id).ok_or_else(|| Problem::not_found("request"))?;
    app.settle().await?;
    let rows = app.store().request(id).await?;
    Ok(Json(Attempts { data: rows.into_iter().map(|row| RequestView::new(&row.record, row.key_name)).collect() }))
}
