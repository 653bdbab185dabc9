//! `/projects`: where the keys of one piece of work are kept together.

use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Findings, Params, PathParam, body};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::people::PersonView;
use crate::routes::shared;
use crate::routing::{Routes, routes};
use crate::tenancy::{self, ControlsBody, RulesBody, SentRules};
use crate::wire::time;
use anykey_core::{PersonId, Place, ProjectId};
use anykey_store::{NewProject, ProjectPatch, ProjectRow, TenancyFilter};
use axum::Json;
use axum::extract::{Path, State};
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
        .routes(routes!(owners, add_owner))
        .routes(routes!(remove_owner))
}

/// A project.
#[derive(Serialize, ToSchema)]
#[schema(as = Project)]
struct ProjectView {
    id: String,
    organisation_id: String,
    /// What people type; unique within the organisation.
    slug: String,
    name: String,
    description: String,
    /// `active`, `disabled` or `deleted`.
    status: &'static str,
    /// Bounds the keys in it; the organisation's bounds them as well.
    controls: ControlsBody,
    /// What the project asks of keys in it; the organisation's rules hold as well.
    key_rules: RulesBody,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<ProjectRow> for ProjectView {
    fn from(row: ProjectRow) -> Self {
        ProjectView {
            id: row.id.to_string(),
            organisation_id: row.organisation.to_string(),
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

fn answer(row: ProjectRow) -> Response {
    let version = row.version;
    tagged(ProjectView::from(row), version)
}

/// The project of a path: an id, or a slug that names one alone.
pub(super) async fn id_of(app: &App, power: &Power, text: &str) -> Result<ProjectId> {
    if let Some(id) = ProjectId::parse(text) {
        return Ok(id);
    }
    let mut findings = Findings::default();
    let found = tenancy::project(app, power, "id", text, &mut findings).await?;
    found.map(|row| row.id).ok_or_else(|| Problem::not_found("project"))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Found in the name or the slug.
    q: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// Only projects that this person owns.
    owner: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List projects, the newest first.
#[utoipa::path(get, path = "/projects", operation_id = "list_projects", tag = "projects", params(ListParams),
    responses((status = 200, body = List<ProjectView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<ProjectView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), ProjectId::parse, &mut findings);
    let mut filter = TenancyFilter { within: power.sight(), q: params.q, ..TenancyFilter::default() };
    filter.person =
        params.owner.and_then(|id| findings.check("owner", PersonId::parse(&id).ok_or("is the id of a person")));
    if let Some(text) = &params.organisation {
        filter.organisation =
            tenancy::organisation(&app, &power, "organisation", text, &mut findings).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().projects(&filter, page).await?, ProjectView::from))
}

body! {
    /// A project to be made.
    Create as NewProject {
        required {
            /// An id or a slug.
            organisation: String,
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

/// Make a project.
#[utoipa::path(post, path = "/projects", operation_id = "create_project", tag = "projects", request_body = Create,
    params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = ProjectView)))]
async fn create(State(app): State<App>, power: Power, once: Once, body: Body<Create>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let above = body.value.organisation.required("organisation", f);
    let name = body.value.name.required("name", f);
    let name = shared::name(name, f).unwrap_or_default();
    let slug = shared::slug(body.value.slug, f);
    let description = shared::description(body.value.description, f).unwrap_or_default();
    let controls = tenancy::controls(body.value.controls, f).unwrap_or_default();
    let rules = tenancy::rules(body.value.key_rules, f).unwrap_or_default();
    let above = match above {
        Some(text) => tenancy::organisation(&app, &power, "organisation", &text, f).await?,
        None => None,
    };
    if let Some(above) = &above {
        tenancy::within(&controls, &above.controls, f);
    }
    findings.end()?;
    if let Some(above) = &above {
        power.require(&Place::organisation(above.id))?;
    }
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let Some(organisation) = above.map(|row| row.id) else { return Err(Problem::not_found("organisation")) };
        let new = NewProject { organisation, slug, name, description, controls, rules };
        let row = work.store().create_project(new).await?;
        Reply::new(StatusCode::CREATED, &ProjectView::from(row))
    })
    .await
}

/// Show a project.
#[utoipa::path(get, path = "/projects/{id}", operation_id = "show_project", tag = "projects",
    params(("id" = String, Path)), responses((status = 200, body = ProjectView)))]
async fn show(State(app): State<App>, power: Power, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().project(id_of(&app, &power, &id).await?).await?))
}

body! {
    /// What shall change about a project. What is not named stays.
    Update as ProjectChange {
        required {}
        optional {
            name: String,
            slug: String,
            description: String,
            /// The whole policy; what is not named is taken away.
            controls: ControlsBody,
            /// All of the rules; what is not named is taken away. Keys that are there are left as they are.
            key_rules: SentRules,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a project. Its policy is in force for every key in it when this answers.
#[utoipa::path(patch, path = "/projects/{id}", operation_id = "update_project", tag = "projects",
    request_body = Update, params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ProjectView)))]
async fn update(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    expected: IfMatch,
    Body { value: body, .. }: Body<Update>,
) -> Result<Response> {
    let row = app.store().project(id_of(&app, &power, &id).await?).await?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let expected = expected.or(body.version.given("version", f));
    let name = body.name.kept("name", f);
    let patch = ProjectPatch {
        name: shared::name(name, f),
        slug: shared::slug(body.slug, f),
        description: shared::description(body.description, f),
        controls: tenancy::controls(body.controls, f),
        rules: tenancy::rules(body.key_rules, f),
        disabled: None,
    };
    if let Some(controls) = &patch.controls {
        let above = app.store().organisation(row.organisation).await?;
        tenancy::within(controls, &above.controls, f);
    }
    findings.end()?;
    Ok(answer(app.store().update_project(row.id, expected, patch).await?))
}

/// Disable a project: the keys below are refused from now on, and calls that run on them end.
#[utoipa::path(post, path = "/projects/{id}/disable", operation_id = "disable_project", tag = "projects",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ProjectView)))]
async fn disable(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<Response> {
    let patch = ProjectPatch { disabled: Some(true), ..ProjectPatch::default() };
    Ok(answer(app.store().update_project(id_of(&app, &power, &id).await?, expected, patch).await?))
}

/// Enable a project that was disabled.
#[utoipa::path(post, path = "/projects/{id}/enable", operation_id = "enable_project", tag = "projects",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ProjectView)))]
async fn enable(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<Response> {
    let patch = ProjectPatch { disabled: Some(false), ..ProjectPatch::default() };
    Ok(answer(app.store().update_project(id_of(&app, &power, &id).await?, expected, patch).await?))
}

/// Delete a project. Every key in it is refused from now on; what is left says who it was.
#[utoipa::path(delete, path = "/projects/{id}", operation_id = "delete_project", tag = "projects",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ProjectView)))]
async fn delete(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<Response> {
    Ok(answer(app.store().delete_project(id_of(&app, &power, &id).await?, expected).await?))
}

/// List the people who own a project, by name.
#[utoipa::path(get, path = "/projects/{id}/owners", operation_id = "list_project_owners", tag = "projects",
    params(("id" = String, Path)), responses((status = 200, body = List<PersonView>)))]
async fn owners(State(app): State<App>, power: Power, PathParam(id): PathParam) -> Result<Json<List<PersonView>>> {
    let owners = app.store().project_owners(id_of(&app, &power, &id).await?).await?;
    Ok(Json(List { data: owners.into_iter().map(PersonView::from).collect(), next: None }))
}

body! {
    /// Who shall own a project as well.
    AddOwner as NewProjectOwner {
        required {
            /// The id of a person who is a member of the project's organisation.
            person_id: String,
        }
        optional {}
    }
}

/// Make a person an owner of a project.
#[utoipa::path(post, path = "/projects/{id}/owners", operation_id = "add_project_owner", tag = "projects",
    request_body = AddOwner, params(("id" = String, Path)), responses((status = 200, body = ProjectView)))]
async fn add_owner(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    Body { value: body, .. }: Body<AddOwner>,
) -> Result<Response> {
    let id = id_of(&app, &power, &id).await?;
    let mut findings = Findings::default();
    let person = body.person_id.required("person_id", &mut findings);
    let person = person.and_then(|text| {
        findings.check("person_id", PersonId::parse(&text).ok_or("is the id of a person (person_...)"))
    });
    findings.end()?;
    let Some(person) = person else { return Err(Problem::not_found("person")) };
    Ok(answer(app.store().add_project_owner(id, person).await?))
}

/// Take the ownership of a project from a person.
#[utoipa::path(delete, path = "/projects/{id}/owners/{person}", operation_id = "remove_project_owner", tag = "projects",
    params(("id" = String, Path), ("person" = String, Path)), responses((status = 200, body = ProjectView)))]
async fn remove_owner(
    State(app): State<App>,
    power: Power,
    Path((id, person)): Path<(String, String)>,
) -> Result<Response> {
    let id = id_of(&app, &power, &id).await?;
    let person = PersonId::parse(&person).ok_or_else(|| Problem::not_found("person"))?;
    Ok(answer(app.store().remove_project_owner(id, person).await?))
}
