//! `/service-accounts`: owners of keys that nobody's leaving ends.

use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Findings, Params, PathParam, body};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::shared;
use crate::routing::{Routes, routes};
use crate::tenancy::{self, ControlsBody};
use crate::wire::time;
use anykey_core::{Place, ServiceAccountId};
use anykey_store::{NewServiceAccount, ServiceAccountPatch, ServiceAccountRow, TenancyFilter};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(disable))
        .routes(routes!(enable))
}

/// A service account.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceAccount)]
struct ServiceAccountView {
    id: String,
    organisation_id: String,
    /// The project whose keys it may own; null is every project of the organisation.
    #[schema(required)]
    project_id: Option<String>,
    /// Unique within the organisation.
    name: String,
    description: String,
    /// `active`, `disabled` or `deleted`.
    status: &'static str,
    /// Bounds the keys that it owns; the organisation's and the project's bound them as well.
    controls: ControlsBody,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<ServiceAccountRow> for ServiceAccountView {
    fn from(row: ServiceAccountRow) -> Self {
        ServiceAccountView {
            id: row.id.to_string(),
            organisation_id: row.organisation.to_string(),
            project_id: row.project.map(|id| id.to_string()),
            status: shared::status(row.disabled, row.deleted_at),
            controls: ControlsBody::from(&row.controls),
            name: row.name,
            description: row.description,
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}

fn answer(row: ServiceAccountRow) -> Response {
    let version = row.version;
    tagged(ServiceAccountView::from(row), version)
}

fn id_of(text: &str) -> Result<ServiceAccountId> {
    ServiceAccountId::parse(text).ok_or_else(|| Problem::not_found("service account"))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Found in the name.
    q: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// An id, a slug, or `organisation/slug`.
    project: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List service accounts, the newest first.
#[utoipa::path(get, path = "/service-accounts", operation_id = "list_service_accounts", tag = "service accounts",
    params(ListParams), responses((status = 200, body = List<ServiceAccountView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<ServiceAccountView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), ServiceAccountId::parse, &mut findings);
    let mut filter = TenancyFilter { within: power.sight(), q: params.q, ..TenancyFilter::default() };
    if let Some(text) = &params.organisation {
        filter.organisation =
            tenancy::organisation(&app, &power, "organisation", text, &mut findings).await?.map(|row| row.id);
    }
    if let Some(text) = &params.project {
        filter.project = tenancy::project(&app, &power, "project", text, &mut findings).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().service_accounts(&filter, page).await?, ServiceAccountView::from))
}

body! {
    /// A service account to be made, in an organisation or in one of its projects.
    Create as NewServiceAccount {
        required {
            name: String,
        }
        optional {
            /// An id or a slug; needed where no project is named.
            organisation: String,
            /// An id, a slug, or `organisation/slug`: the account owns keys of this project alone.
            project: String,
            description: String,
            controls: ControlsBody,
        }
    }
}

/// Make a service account.
#[utoipa::path(post, path = "/service-accounts", operation_id = "create_service_account", tag = "service accounts",
    request_body = Create, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = ServiceAccountView)))]
async fn create(State(app): State<App>, power: Power, once: Once, body: Body<Create>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let name = body.value.name.required("name", f);
    let name = shared::name(name, f).unwrap_or_default();
    let description = shared::description(body.value.description, f).unwrap_or_default();
    let controls = tenancy::controls(body.value.controls, f).unwrap_or_default();
    let organisation = match body.value.organisation.given("organisation", f) {
        Some(text) => tenancy::organisation(&app, &power, "organisation", &text, f).await?.map(|row| row.id),
        None => None,
    };
    let project = match body.value.project.given("project", f) {
        Some(text) => tenancy::project(&app, &power, "project", &text, f).await?,
        None => None,
    };
    let above = organisation.or(project.as_ref().map(|project| project.organisation));
    if above.is_none() {
        f.add("organisation", "or a project is required");
    }
    findings.end()?;
    if let Some(organisation) = above {
        let project = project.as_ref().map(|project| project.id);
        power.require(&Place { project, ..Place::organisation(organisation) })?;
    }
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let Some(organisation) = above else { return Err(Problem::not_found("organisation")) };
        let project = project.map(|project| project.id);
        let new = NewServiceAccount { organisation, project, name, description, controls };
        let row = work.store().create_service_account(new).await?;
        Reply::new(StatusCode::CREATED, &ServiceAccountView::from(row))
    })
    .await
}

/// Show a service account.
#[utoipa::path(get, path = "/service-accounts/{id}", operation_id = "show_service_account", tag = "service accounts",
    params(("id" = String, Path)), responses((status = 200, body = ServiceAccountView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().service_account(id_of(&id)?).await?))
}

body! {
    /// What shall change about a service account. What is not named stays.
    Update as ServiceAccountChange {
        required {}
        optional {
            name: String,
            description: String,
            /// The whole policy; what is not named is taken away.
            controls: ControlsBody,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a service account. Its policy is in force for every key that it owns when this answers.
#[utoipa::path(patch, path = "/service-accounts/{id}", operation_id = "update_service_account",
    tag = "service accounts", request_body = Update,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ServiceAccountView)))]
async fn update(
    State(app): State<App>,
    PathParam(id): PathParam,
    expected: IfMatch,
    Body { value: body, .. }: Body<Update>,
) -> Result<Response> {
    let id = id_of(&id)?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let expected = expected.or(body.version.given("version", f));
    let name = body.name.kept("name", f);
    let patch = ServiceAccountPatch {
        name: shared::name(name, f),
        description: shared::description(body.description, f),
        controls: tenancy::controls(body.controls, f),
        disabled: None,
    };
    findings.end()?;
    Ok(answer(app.store().update_service_account(id, expected, patch).await?))
}

/// Disable a service account: the keys below are refused from now on, and calls that run on them end.
#[utoipa::path(post, path = "/service-accounts/{id}/disable", operation_id = "disable_service_account", tag = "service accounts",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ServiceAccountView)))]
async fn disable(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    let patch = ServiceAccountPatch { disabled: Some(true), ..ServiceAccountPatch::default() };
    Ok(answer(app.store().update_service_account(id_of(&id)?, expected, patch).await?))
}

/// Enable a service account that was disabled.
#[utoipa::path(post, path = "/service-accounts/{id}/enable", operation_id = "enable_service_account", tag = "service accounts",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ServiceAccountView)))]
async fn enable(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    let patch = ServiceAccountPatch { disabled: Some(false), ..ServiceAccountPatch::default() };
    Ok(answer(app.store().update_service_account(id_of(&id)?, expected, patch).await?))
}

/// Delete a service account. The keys that it owns are refused until they are given to another owner.
#[utoipa::path(delete, path = "/service-accounts/{id}", operation_id = "delete_service_account",
    tag = "service accounts", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ServiceAccountView)))]
async fn delete(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    Ok(answer(app.store().delete_service_account(id_of(&id)?, expected).await?))
}
