//! `/people`: everybody, once each whatever the number of their organisations.

use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Findings, Params, PathParam, body};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::shared;
use crate::routing::{Routes, routes};
use crate::tenancy;
use crate::wire::time;
use anykey_core::PersonId;
use anykey_store::{NewPerson, PersonPatch, PersonRow, TenancyFilter};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(show, update, delete))
}

/// A person.
#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
pub(super) struct PersonView {
    id: String,
    email: String,
    name: String,
    /// Manages the installation itself.
    operator: bool,
    /// `active`, `disabled` or `deleted`.
    status: &'static str,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<PersonRow> for PersonView {
    fn from(row: PersonRow) -> Self {
        PersonView {
            id: row.id.to_string(),
            status: shared::status(row.disabled, row.deleted_at),
            email: row.email,
            name: row.name,
            operator: row.operator,
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}

fn answer(row: PersonRow) -> Response {
    let version = row.version;
    tagged(PersonView::from(row), version)
}

fn id_of(text: &str) -> Result<PersonId> {
    PersonId::parse(text).ok_or_else(|| Problem::not_found("person"))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Found in the name or the e-mail.
    q: Option<String>,
    /// Only its members: an id or a slug.
    organisation: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List people, the newest first.
#[utoipa::path(get, path = "/people", operation_id = "list_people", tag = "people", params(ListParams),
    responses((status = 200, body = List<PersonView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<PersonView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), PersonId::parse, &mut findings);
    let mut filter = TenancyFilter { within: power.sight(), q: params.q, ..TenancyFilter::default() };
    if let Some(text) = &params.organisation {
        filter.organisation =
            tenancy::organisation(&app, &power, "organisation", text, &mut findings).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().people(&filter, page).await?, PersonView::from))
}

body! {
    /// A person to be made.
    Create as NewPerson {
        required {
            /// Unique, whatever the case of its letters.
            email: String,
            name: String,
        }
        optional {
            operator: bool,
        }
    }
}

/// Make a person. They are a member of nothing yet.
#[utoipa::path(post, path = "/people", operation_id = "create_person", tag = "people", request_body = Create,
    params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = PersonView)))]
async fn create(State(app): State<App>, once: Once, body: Body<Create>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let email = body.value.email.required("email", f).unwrap_or_default();
    let name = body.value.name.required("name", f);
    let name = shared::name(name, f).unwrap_or_default();
    let operator = body.value.operator.given("operator", f).unwrap_or_default();
    findings.end()?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let row = work.store().create_person(NewPerson { email, name, operator }).await?;
        Reply::new(StatusCode::CREATED, &PersonView::from(row))
    })
    .await
}

/// Show a person.
#[utoipa::path(get, path = "/people/{id}", operation_id = "show_person", tag = "people",
    params(("id" = String, Path)), responses((status = 200, body = PersonView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().person(id_of(&id)?).await?))
}

body! {
    /// What shall change about a person. What is not named stays.
    Update as PersonChange {
        required {}
        optional {
            email: String,
            name: String,
            operator: bool,
            /// Whether they are shut out everywhere; the keys that they own are refused, in every organisation.
            disabled: bool,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a person.
#[utoipa::path(patch, path = "/people/{id}", operation_id = "update_person", tag = "people", request_body = Update,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PersonView)))]
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
    let patch = PersonPatch {
        email: body.email.kept("email", f),
        name: shared::name(name, f),
        operator: body.operator.kept("operator", f),
        disabled: body.disabled.kept("disabled", f),
    };
    findings.end()?;
    Ok(answer(app.store().update_person(id, expected, patch).await?))
}

/// Delete a person. They are a member of nothing any more, and the keys that they own are refused.
#[utoipa::path(delete, path = "/people/{id}", operation_id = "delete_person", tag = "people",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PersonView)))]
async fn delete(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    Ok(answer(app.store().delete_person(id_of(&id)?, expected).await?))
}
