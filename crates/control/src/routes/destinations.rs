//! `/destinations`: where notices go to, a webhook or a mailbox, for the installation, an organisation or a project.

use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Field, Findings, Params, PathParam, body, text};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::shared;
use crate::routing::{Routes, routes};
use crate::tenancy;
use crate::wire::{DAY_MS, read_duration, time};
use anykey_core::notice::{Channel, Event};
use anykey_core::{DestinationId, Place};
use anykey_notices::BadAddress;
use anykey_store::{DestinationFilter, DestinationPatch, DestinationRow, NewDestination};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};

const MAX_OVERLAP_MS: i64 = 7 * DAY_MS;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(test))
        .routes(routes!(rotate))
}

/// Where notices go to.
#[derive(Serialize, ToSchema)]
#[schema(as = Destination)]
struct DestinationView {
    id: String,
    /// Whose notices it gets; null is those of all organisations.
    #[schema(required)]
    organisation_id: Option<String>,
    /// Of which project; null is all.
    #[schema(required)]
    project_id: Option<String>,
    name: String,
    /// `webhook` or `email`.
    channel: &'static str,
    /// A URL or an e-mail address.
    address: String,
    /// Which events; none is all.
    events: Vec<&'static str>,
    /// `active` or `disabled`. What waits for a disabled one goes out when it is enabled.
    status: &'static str,
    /// Until when messages are also signed with the secret before this one.
    #[schema(required)]
    old_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

/// A destination and the secret that its messages are signed with, which is shown in this answer and nowhere else.
#[derive(Serialize, ToSchema)]
#[schema(as = DestinationWithSecret)]
struct Shown {
    #[serde(flatten)]
    destination: DestinationView,
    /// `whsec_` and base64, as libraries for Standard Webhooks take it; null for a mailbox.
    #[schema(required)]
    secret: Option<String>,
}

/// What came of a test.
#[derive(Serialize, ToSchema)]
#[schema(as = DestinationTest)]
struct TestView {
    ok: bool,
    /// What the receiver answered: a status of HTTP, or a code of SMTP.
    #[schema(required)]
    status: Option<i64>,
    #[schema(required)]
    error: Option<String>,
}

impl From<DestinationRow> for DestinationView {
    fn from(row: DestinationRow) -> Self {
        DestinationView {
            id: row.id.to_string(),
            organisation_id: row.organisation.map(|id| id.to_string()),
            project_id: row.project.map(|id| id.to_string()),
            name: row.name,
            channel: row.channel.name(),
            address: row.address,
            events: row.events.iter().map(|event| event.name()).collect(),
            status: shared::status(row.disabled, None),
            old_secret_until: row.old_secret_until.map(time),
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}

impl Shown {
    fn new(row: DestinationRow, secret: Option<SecretString>) -> Self {
        let secret = secret.map(|secret| secret.expose_secret().to_owned());
        Shown { destination: DestinationView::from(row), secret }
    }
}

fn answer(row: DestinationRow) -> Response {
    let version = row.version;
    tagged(DestinationView::from(row), version)
}

pub(super) fn id_of(text: &str) -> Result<DestinationId> {
    DestinationId::parse(text).ok_or_else(|| Problem::not_found("destination"))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// An id or a slug.
    organisation: Option<String>,
    /// An id, a slug, or `organisation/slug`.
    project: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List destinations, the newest first.
#[utoipa::path(get, path = "/destinations", operation_id = "list_destinations", tag = "notices", params(ListParams),
    responses((status = 200, body = List<DestinationView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<DestinationView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), DestinationId::parse, &mut findings);
    let mut filter = DestinationFilter { within: power.sight(), ..Default::default() };
    if let Some(text) = &params.organisation {
        filter.organisation =
            tenancy::organisation(&app, &power, "organisation", text, &mut findings).await?.map(|row| row.id);
    }
    if let Some(text) = &params.project {
        filter.project = tenancy::project(&app, &power, "project", text, &mut findings).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().destinations(&filter, page).await?, DestinationView::from))
}

body! {
    /// A destination to be made: with a `url` or an `email`.
    Create as NewDestination {
        required {
            name: String,
        }
        optional {
            /// A webhook: https, on a public address.
            url: String,
            /// A mailbox.
            email: String,
            /// An id or a slug: the notices of this organisation alone.
            organisation: String,
            /// An id, a slug, or `organisation/slug`: the notices of this project alone.
            project: String,
            /// Names such as `key.expiring`; none named is all.
            events: Vec<String>,
        }
    }
}

/// Make a destination. The secret of a webhook is in this answer and nowhere else.
#[utoipa::path(post, path = "/destinations", operation_id = "create_destination", tag = "notices",
    request_body = Create, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Shown)))]
async fn create(State(app): State<App>, power: Power, once: Once, body: Body<Create>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let name = body.value.name.required("name", f);
    let name = shared::name(name, f).unwrap_or_default();
    let url = body.value.url.given("url", f);
    let email = body.value.email.given("email", f);
    let (channel, field, address) = match (url, email) {
        (Some(url), None) => (Channel::Webhook, "url", url),
        (None, Some(email)) => (Channel::Email, "email", email),
        _ => {
            f.add("url", "or email is required, one of the two");
            (Channel::Webhook, "url", String::new())
        }
    };
    if !address.is_empty() {
        check_address(&app, channel, field, &address, f);
    }
    let events = events(body.value.events, f).unwrap_or_default();
    let organisation = match body.value.organisation.given("organisation", f) {
        Some(text) => tenancy::organisation(&app, &power, "organisation", &text, f).await?.map(|row| row.id),
        None => None,
    };
    let project = match body.value.project.given("project", f) {
        Some(text) => tenancy::project(&app, &power, "project", &text, f).await?,
        None => None,
    };
    findings.end()?;
    let organisation = organisation.or(project.as_ref().map(|project| project.organisation));
    let project = project.map(|project| project.id);
    power.require(&Place { organisation, project, member: None })?;
    let new = NewDestination { organisation, project, name, channel, address, events };
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let (row, secret) = work.store().create_destination(new).await?;
        Reply::new(StatusCode::CREATED, &Shown::new(row, secret))
    })
    .await
}

/// Show a destination.
#[utoipa::path(get, path = "/destinations/{id}", operation_id = "show_destination", tag = "notices",
    params(("id" = String, Path)), responses((status = 200, body = DestinationView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().destination(id_of(&id)?).await?))
}

body! {
    /// What shall change about a destination. What is not named stays.
    Update as DestinationChange {
        required {}
        optional {
            name: String,
            /// Another URL, for a webhook.
            url: String,
            /// Another mailbox, for one.
            email: String,
            /// All of them; null or none is every event.
            events: Vec<String>,
            disabled: bool,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a destination. What waits for it goes to where it is then.
#[utoipa::path(patch, path = "/destinations/{id}", operation_id = "update_destination", tag = "notices",
    request_body = Update, params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = DestinationView)))]
async fn update(
    State(app): State<App>,
    PathParam(id): PathParam,
    expected: IfMatch,
    Body { value: body, .. }: Body<Update>,
) -> Result<Response> {
    let id = id_of(&id)?;
    let row = app.store().destination(id).await?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let expected = expected.or(body.version.given("version", f));
    let name = body.name.kept("name", f);
    let (url, email) = (body.url.kept("url", f), body.email.kept("email", f));
    let (field, given, other) = match row.channel {
        Channel::Webhook => ("url", url, email.map(|_| "email")),
        Channel::Email => ("email", email, url.map(|_| "url")),
    };
    if let Some(other) = other {
        f.add(other, format!("is not what this destination has, which is a {}; make another", row.channel.name()));
    }
    if let Some(address) = &given {
        check_address(&app, row.channel, field, address, f);
    }
    let patch = DestinationPatch {
        name: shared::name(name, f),
        address: given,
        events: events(body.events, f),
        disabled: body.disabled.kept("disabled", f),
    };
    findings.end()?;
    Ok(answer(app.store().update_destination(id, expected, patch).await?))
}

/// Delete a destination. What waits for it is given up.
#[utoipa::path(delete, path = "/destinations/{id}", operation_id = "delete_destination", tag = "notices",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = DestinationView)))]
async fn delete(State(app): State<App>, PathParam(id): PathParam, IfMatch(expected): IfMatch) -> Result<Response> {
    Ok(answer(app.store().delete_destination(id_of(&id)?, expected).await?))
}

/// Send a test to a destination now, and tell what it answered.
#[utoipa::path(post, path = "/destinations/{id}/test", operation_id = "test_destination", tag = "notices",
    params(("id" = String, Path)), responses((status = 200, body = TestView)))]
async fn test(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<TestView>> {
    let id = id_of(&id)?;
    let receiver = app.store().receiver(id).await?;
    let tried = app.deps.courier.test(&receiver).await?;
    app.store().destination_tested(id, tried.error.clone()).await?;
    Ok(Json(TestView { ok: tried.error.is_none(), status: tried.status, error: tried.error }))
}

body! {
    /// How a secret is changed for another.
    Rotate as DestinationRotation {
        required {}
        optional {
            /// How long messages are signed with the old secret too: `24h` by default, `none`, at most `7d`.
            overlap: String,
        }
    }
}

/// Give a webhook a new secret. It is in this answer and nowhere else.
#[utoipa::path(post, path = "/destinations/{id}/rotate", operation_id = "rotate_destination", tag = "notices",
    request_body = Rotate,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Shown)))]
async fn rotate(
    State(app): State<App>,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
    once: Once,
    body: Body<Rotate>,
) -> Result<Response> {
    let id = id_of(&id)?;
    let mut findings = Findings::default();
    let overlap = match body.value.overlap.given("overlap", &mut findings).as_deref() {
        None => Some(DAY_MS),
        Some("none") => Some(0),
        Some(text) => findings.check("overlap", read_duration(text)),
    };
    let overlap = findings.check("overlap", overlap.filter(|ms| *ms <= MAX_OVERLAP_MS).ok_or("is at most 7d"));
    findings.end()?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let (row, secret) = work.store().rotate_destination(id, expected, overlap.unwrap_or(DAY_MS)).await?;
        Reply::new(StatusCode::OK, &Shown::new(row, Some(secret)))
    })
    .await
}

fn check_address(app: &App, channel: Channel, field: &'static str, address: &str, findings: &mut Findings) {
    if text(field, Some(address.to_owned()), 2_000, findings).is_none() {
        return;
    }
    match app.deps.courier.check(channel, address) {
        Ok(()) => {}
        Err(BadAddress::Url(why)) => findings.forbid(field, why),
        Err(BadAddress::Mail(_)) => findings.add(field, "is an e-mail address such as team@example.com"),
        Err(BadAddress::NoMail) => findings.add(field, "cannot be used: the settings name no mail server ([smtp])"),
    }
}

/// All events that are wanted; null is every one.
fn events(field: Field<Vec<String>>, findings: &mut Findings) -> Option<BTreeSet<Event>> {
    let names = field.change("events", findings)?.unwrap_or_default();
    let mut events = BTreeSet::new();
    for name in names {
        match Event::from_name(&name) {
            Some(event) => drop(events.insert(event)),
            None => {
                let known: Vec<&str> = Event::ALL.iter().map(|event| event.name()).collect();
                let name = crate::input::echo(&name);
                findings.add("events", format!("has an unknown event `{name}`; there are {}", known.join(", ")));
                return None;
            }
        }
    }
    Some(events)
}
