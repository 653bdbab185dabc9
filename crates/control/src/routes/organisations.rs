//! `/organisations`: whose policy bounds the projects, members and keys in them.

use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Findings, Params, PathParam, body};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::shared;
use crate::routing::{Routes, routes};
use crate::tenancy::{self, ControlsBody, RulesBody, SentRules};
use crate::wire::time;
use anykey_core::OrganisationId;
use anykey_store::{NewOrganisation, OrganisationPatch, OrganisationRow, StoreError, TenancyFilter};
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

/// An organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = Organisation)]
struct OrganisationView {
    id: String,
    /// What people type; unique.
    slug: String,
    name: String,
    description: String,
    /// `active`, `disabled` or `deleted`.
    status: &'static str,
    /// Bounds everything in it.
    controls: ControlsBody,
    key_rules: RulesBody,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<OrganisationRow> for OrganisationView {
    fn from(row: OrganisationRow) -> Self {
        OrganisationView {
            id: row.id.to_string(),
            status: shared::status(row.disabled, row.deleted_at),
            controls: ControlsBody::from(&row.controls),
            key_rules: RulesBody::from(&row.rules),
            slug: row.slug,
            name: row.name,
            description: row.description,
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}

fn answer(row: OrganisationRow) -> Response {
    let version = row.version;
    tagged(OrganisationView::from(row), version)
}

/// The organisation of a path: an id, or the slug of one that is not deleted.
pub(super) async fn id_of(app: &App, text: &str) -> Result<OrganisationId> {
    match OrganisationId::parse(text) {
        Some(id) => Ok(id),
        None => match app.store().organisation_by_slug(text).await {
            Ok(row) => Ok(row.id),
            Err(StoreError::NotFound(_)) => Err(Problem::not_found("organisation")),
            Err(error) => Err(error.into()),
        },
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Found in the name or the slug.
    q: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List organisations, the newest first.
#[utoipa::path(get, path = "/organisations", operation_id = "list_organisations", tag = "organisations",
    params(ListParams), responses((status = 200, body = List<OrganisationView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<OrganisationView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), OrganisationId::parse, &mut findings);
    findings.end()?;
    let filter = TenancyFilter { within: power.sight(), q: params.q, ..TenancyFilter::default() };
    Ok(page::show(app.store().organisations(&filter, page).await?, OrganisationView::from))
}

body! {
    /// An organisation to be made.
    Create as NewOrganisation {
        required {
            name: String,
        }
        optional {
            /// 1 to 40 lower-case letters, digits and hyphens; made from the name where nothing is said.
            slug: String,
            description: String,
            controls: ControlsBody,
            key_rules: SentRules,
        }
    }
}

/// Make an organisation.
#[utoipa::path(post, path = "/organisations", operation_id = "create_organisation", tag = "organisations",
    request_body = Create, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = OrganisationView)))]
async fn create(State(app): State<App>, once: Once, body: Body<Create>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let name = body.value.name.required("name", f);
    let new = NewOrganisation {
        name: shared::name(name, f).unwrap_or_default(),
        slug: shared::slug(body.value.slug, f),
        description: shared::description(body.value.description, f).unwrap_or_default(),
        controls: tenancy::controls(body.value.controls, f).unwrap_or_default(),
        rules: tenancy::rules(body.value.key_rules, f).unwrap_or_default(),
    };
    findings.end()?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let row = work.store().create_organisation(new).await?;
        Reply::new(StatusCode::CREATED, &OrganisationView::from(row))
    })
    .await
}

/// Show an organisation, by its id or its slug.
#[utoipa::path(get, path = "/organisations/{id}", operation_id = "show_organisation", tag = "organisations",
    params(("id" = String, Path)), responses((status = 200, body = OrganisationView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().organisation(id_of(&app, &id).await?).await?))
}

body! {
    /// What shall change about an organisation. What is not named stays.
    Update as OrganisationChange {
        required {}
        optional {
            name: String,
            slug: String,
            description: String,
            /// The whole policy; what is not named is taken away.
            controls: ControlsBody,
            /// All rules for keys; what is not named is taken away. Keys that are there are not touched.
            key_rules: SentRules,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change an organisation. Its policy is in force for every key in it when this answers.
#[utoipa::path(patch, path = "/organisations/{id}", operation_id = "update_organisation", tag = "organisations",
    request_body = Update, params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrganisationView)))]
async fn update(
    State(app): State<App>,
    PathParam(id): PathParam,
    expected: IfMatch,
    Body { value: body, .. }: Body<Update>,
) -> Result<Response> {
    let id = id_of(&app, &id).await?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let expected = expected.or(body.version.given("version", f));
    let name = body.name.kept("name", f);
    let patch = OrganisationPatch {
        name: shared::name(name, f),
        slug: shared::slug(body.slug, f),
        description: shared::description(body.description, f),
        controls: tenancy::controls(body.controls, f),
        rules: tenancy::rules(body.key_rules, f),
        disabled: None,
    };
    findings.end()?;
    Ok(answer(app.store().update_organisation(id, expected, patch).await?))
}

/// Disable an organisation: the keys below are refused from now on, and calls that run on them end.
#[utoipa::path(post, path = "/organisations/{id}/disable", operation_id = "disable_organisation", tag = "organisations",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrganisationView)))]
async fn disable(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    let patch = OrganisationPatch { disabled: Some(true), ..OrganisationPatch::default() };
    Ok(answer(app.store().update_organisation(id_of(&app, &id).await?, expected, patch).await?))
}

/// Enable an organisation that was disabled.
#[utoipa::path(post, path = "/organisations/{id}/enable", operation_id = "enable_organisation", tag = "organisations",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrganisationView)))]
async fn enable(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    let patch = OrganisationPatch { disabled: Some(false), ..OrganisationPatch::default() };
    Ok(answer(app.store().update_organisation(id_of(&app, &id).await?, expected, patch).await?))
}

/// Delete an organisation. Every key in it is refused from now on; what is left says who it was.
#[utoipa::path(delete, path = "/organisations/{id}", operation_id = "delete_organisation", tag = "organisations",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = OrganisationView)))]
async fn delete(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    Ok(answer(app.store().delete_organisation(id_of(&app, &id).await?, expected).await?))
}
