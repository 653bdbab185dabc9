//! `/projects/{id}/members`: who is in a project, for whoever manages it.

use crate::App;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::power::Power;
use crate::problem::Result;
use crate::routes::{projects, shared};
use crate::routing::{Routes, routes};
use anykey_core::{OwnerId, Role};
use anykey_store::InProject;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// Somebody who is in a project.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectMember)]
struct InProjectView {
    /// `member` or `service_account`.
    kind: &'static str,
    /// What `owner_id` of a key names: `mem_...` or `svc_...`.
    id: String,
    /// Of a member.
    #[schema(required)]
    person_id: Option<String>,
    name: String,
    #[schema(required)]
    email: Option<String>,
    /// In the organisation: `admin`, `member`, `viewer` or `auditor`.
    #[schema(required)]
    role: Option<&'static str>,
    /// Whether they own the project, and manage the keys in it.
    owner: bool,
    /// `active` or `disabled`; disabled also where the person is, everywhere.
    status: &'static str,
    /// How many keys they own in it; temporary keys are not counted.
    keys: i64,
}

impl From<InProject> for InProjectView {
    fn from(row: InProject) -> Self {
        let is_member = matches!(row.id, OwnerId::Member(_));
        InProjectView {
            kind: if is_member { "member" } else { "service_account" },
            id: row.id.to_string(),
            person_id: row.person.map(|id| id.to_string()),
            name: row.name,
            email: row.email,
            role: row.role.map(Role::name),
            owner: is_member && row.of_project,
            status: shared::status(row.disabled, None),
            keys: row.keys,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List who is in a project, the newest first: those who own it, the service accounts of it, and whoever owns keys in it.
#[utoipa::path(get, path = "/projects/{id}/members", operation_id = "list_project_members", tag = "projects",
    params(("id" = String, Path), ListParams), responses((status = 200, body = List<InProjectView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    Params(params): Params<ListParams>,
) -> Result<Json<List<InProjectView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), OwnerId::parse, &mut findings);
    findings.end()?;
    let project = app.store().project(projects::id_of(&app, &power, &id).await?).await?;
    Ok(page::show(app.store().in_project(project.id, page).await?, InProjectView::from))
}
