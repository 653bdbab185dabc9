//! `/members`: people in organisations, each with a role and a policy of their own there.

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
use anykey_core::{Code, MemberId, OrganisationId, PersonId, Place, Role, Sight};
use anykey_store::{MemberPatch, MemberRow, NewMember, NewPerson, StoreError, TenancyFilter};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(show, update, remove))
        .routes(routes!(disable))
        .routes(routes!(enable))
}

/// A person in an organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    id: String,
    organisation_id: String,
    person_id: String,
    email: String,
    name: String,
    /// `admin`, `member`, `viewer` or `auditor`.
    role: &'static str,
    /// `active`, `disabled` or `deleted`; disabled also where the person is, everywhere.
    status: &'static str,
    /// Bounds the keys that they own; the organisation's and the project's bound them as well.
    controls: ControlsBody,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<MemberRow> for MemberView {
    fn from(row: MemberRow) -> Self {
        MemberView {
            id: row.id.to_string(),
            organisation_id: row.organisation.to_string(),
            person_id: row.person.to_string(),
            status: shared::status(row.disabled || row.person_disabled, row.deleted_at),
            controls: ControlsBody::from(&row.controls),
            email: row.email,
            name: row.name,
            role: row.role.name(),
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}

fn answer(row: MemberRow) -> Response {
    let version = row.version;
    tagged(MemberView::from(row), version)
}

fn id_of(text: &str) -> Result<MemberId> {
    MemberId::parse(text).ok_or_else(|| Problem::not_found("member"))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Found in the name or the e-mail.
    q: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// Only this person's memberships.
    person: Option<String>,
    role: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List members, the newest first.
#[utoipa::path(get, path = "/members", operation_id = "list_members", tag = "members", params(ListParams),
    responses((status = 200, body = List<MemberView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<MemberView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), MemberId::parse, &mut findings);
    let mut filter = TenancyFilter { within: power.sight(), q: params.q, ..TenancyFilter::default() };
    filter.role = params.role.and_then(|text| shared::role(&text, &mut findings));
    filter.person =
        params.person.and_then(|id| findings.check("person", PersonId::parse(&id).ok_or("is the id of a person")));
    if let Some(text) = &params.organisation {
        filter.organisation =
            tenancy::organisation(&app, &power, "organisation", text, &mut findings).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().members(&filter, page).await?, MemberView::from))
}

body! {
    /// Who shall be in an organisation.
    Add as NewMember {
        required {
            /// An id or a slug.
            organisation: String,
            /// Of a person who is here, or who is made with `name`. Somebody who is known to the installation, and was
            /// never in any of the caller's organisations, is taken in by an operator.
            email: String,
        }
        optional {
            /// Needed where nobody has the e-mail yet, and from whoever does not operate the installation.
            name: String,
            /// `member` (by default), `admin`, `viewer` or `auditor`.
            role: String,
            controls: ControlsBody,
        }
    }
}

/// Take a person into an organisation. One who left comes back as the same member.
#[utoipa::path(post, path = "/members", operation_id = "add_member", tag = "members", request_body = Add,
    params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = MemberView)))]
async fn add(State(app): State<App>, power: Power, once: Once, body: Body<Add>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let above = body.value.organisation.required("organisation", f);
    let email = body.value.email.required("email", f).unwrap_or_default();
    let name = body.value.name.given("name", f);
    let name = shared::name(name, f);
    let role = body.value.role.given("role", f).and_then(|text| shared::role(&text, f)).unwrap_or(Role::Member);
    let controls = tenancy::controls(body.value.controls, f).unwrap_or_default();
    let above = match above {
        Some(text) => tenancy::organisation(&app, &power, "organisation", &text, f).await?,
        None => None,
    };
    if name.is_none() && power.sight() != Sight::Everything {
        // Otherwise the answer would tell who is known in other organisations.
        f.add("name", "is required");
    }
    findings.end()?;
    if let Some(above) = &above {
        power.require(&Place::organisation(above.id))?;
    }
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let Some(organisation) = above.map(|row| row.id) else { return Err(Problem::not_found("organisation")) };
        let person = person(&work, &power, organisation, email, name).await?;
        let row = work.store().add_member(NewMember { organisation, person, role, controls }).await?;
        Reply::new(StatusCode::CREATED, &MemberView::from(row))
    })
    .await
}

/// The person of an e-mail, made where there is none.
///
/// Whoever does not operate the installation sees of a member their name and what else is known of them, so they take in
/// nobody whom they do not know already. That somebody has the e-mail cannot be hidden from whoever may make people by
/// theirs; nothing else is told.
async fn person(
    app: &App,
    power: &Power,
    organisation: OrganisationId,
    email: String,
    name: Option<String>,
) -> Result<PersonId> {
    let store = app.store();
    match (store.person_by_email(&email).await, name) {
        (Ok(person), _) => {
            let sight = power.sight();
            let known = sight == Sight::Everything
                || store.was_member(organisation, person.id).await?
                || store.places_of_person(person.id).await?.iter().any(|place| sight.covers(place));
            if known { Ok(person.id) } else { Err(elsewhere()) }
        }
        (Err(StoreError::NotFound(_)), Some(name)) => {
            Ok(store.create_person(NewPerson { email, name, operator: false }).await?.id)
        }
        (Err(StoreError::NotFound(_)), None) => {
            Err(Problem::field("name", "is needed, since nobody here has that e-mail yet"))
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn elsewhere() -> Problem {
    let text = "Somebody who is in none of your organisations has this e-mail. An operator of the installation can take \
                them in.";
    Problem::new(Code::RoleForbidden, text)
}

/// Show a member.
#[utoipa::path(get, path = "/members/{id}", operation_id = "show_member", tag = "members",
    params(("id" = String, Path)), responses((status = 200, body = MemberView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().member(id_of(&id)?).await?))
}

body! {
    /// What shall change about a member. What is not named stays.
    Update as MemberChange {
        required {}
        optional {
            role: String,
            /// The whole policy; what is not named is taken away.
            controls: ControlsBody,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a member. Their policy is in force for every key that they own when this answers.
#[utoipa::path(patch, path = "/members/{id}", operation_id = "update_member", tag = "members", request_body = Update,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
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
    let role = body.role.kept("role", f).and_then(|text| shared::role(&text, f));
    let controls = tenancy::controls(body.controls, f);
    findings.end()?;
    let patch = MemberPatch { role, controls, disabled: None };
    Ok(answer(app.store().update_member(id, expected, patch).await?))
}

/// Disable a member: the keys below are refused from now on, and calls that run on them end.
#[utoipa::path(post, path = "/members/{id}/disable", operation_id = "disable_member", tag = "members",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
async fn disable(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    let patch = MemberPatch { disabled: Some(true), ..MemberPatch::default() };
    Ok(answer(app.store().update_member(id_of(&id)?, expected, patch).await?))
}

/// Enable a member that was disabled.
#[utoipa::path(post, path = "/members/{id}/enable", operation_id = "enable_member", tag = "members",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
async fn enable(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    let patch = MemberPatch { disabled: Some(false), ..MemberPatch::default() };
    Ok(answer(app.store().update_member(id_of(&id)?, expected, patch).await?))
}

/// Take a person out of an organisation. The keys that they own there are refused until they are given to another owner.
#[utoipa::path(delete, path = "/members/{id}", operation_id = "remove_member", tag = "members",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = MemberView)))]
async fn remove(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    Ok(answer(app.store().remove_member(id_of(&id)?, expected).await?))
}
