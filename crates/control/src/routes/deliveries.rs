//! `/deliveries`: notices on their way, what became of them, and sending one again.

use super::destinations;
use crate::App;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::power::Power;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use crate::tenancy;
use crate::wire::time;
use anykey_core::notice::Event;
use anykey_core::{DeliveryId, KeyId};
use anykey_store::{DeliveryFilter, DeliveryRow, DeliveryState};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(replay))
}

/// One notice on its way to one receiver.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryView {
    id: String,
    /// The message, as its receiver knows it: `webhook-id`.
    notice_id: String,
    event: &'static str,
    #[schema(required)]
    organisation_id: Option<String>,
    #[schema(required)]
    project_id: Option<String>,
    #[schema(required)]
    key_id: Option<String>,
    /// Null where it goes to somebody because the key is theirs. The destination may be deleted by now.
    #[schema(required)]
    destination_id: Option<String>,
    /// `webhook` or `email`.
    channel: &'static str,
    /// A mailbox, or the scheme and host of a URL.
    address: String,
    /// `waiting`, `sent` or `failed`.
    state: &'static str,
    /// How often it was tried.
    attempts: i64,
    /// When it is tried next; null where it is done with.
    #[schema(required)]
    next_at: Option<String>,
    /// What was answered last: a status of HTTP, or a code of SMTP.
    #[schema(required)]
    last_status: Option<i64>,
    #[schema(required)]
    last_error: Option<String>,
    #[schema(required)]
    done_at: Option<String>,
    created_at: String,
}

impl From<DeliveryRow> for DeliveryView {
    fn from(row: DeliveryRow) -> Self {
        DeliveryView {
            id: row.id.to_string(),
            notice_id: row.notice.to_string(),
            event: row.event.name(),
            organisation_id: row.organisation.map(|id| id.to_string()),
            project_id: row.project.map(|id| id.to_string()),
            key_id: row.key.map(|id| id.to_string()),
            destination_id: row.destination.map(|id| id.to_string()),
            channel: row.channel.name(),
            address: row.address,
            state: row.state.name(),
            attempts: row.attempts,
            next_at: (row.state == DeliveryState::Waiting).then(|| time(row.next_at)),
            last_status: row.last_status,
            last_error: row.last_error,
            done_at: row.done_at.map(time),
            created_at: time(row.created_at),
        }
    }
}

fn id_of(text: &str) -> Result<DeliveryId> {
    DeliveryId::parse(text).ok_or_else(|| Problem::not_found("delivery"))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// `waiting`, `sent` or `failed`.
    state: Option<String>,
    /// The id of a destination.
    destination: Option<String>,
    /// Such as `key.expiring`.
    event: Option<String>,
    /// The id of a key.
    key: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// An id, a slug, or `organisation/slug`.
    project: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List deliveries, the newest first. Those that are done with are kept for 30 days.
#[utoipa::path(get, path = "/deliveries", operation_id = "list_deliveries", tag = "notices", params(ListParams),
    responses((status = 200, body = List<DeliveryView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<DeliveryView>>> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), DeliveryId::parse, f);
    let mut filter = DeliveryFilter { within: power.sight(), ..Default::default() };
    if let Some(text) = &params.state {
        let state = DeliveryState::from_name(text).ok_or("is waiting, sent or failed");
        filter.state = f.check("state", state);
    }
    if let Some(text) = &params.destination {
        filter.destination = destinations::id_of(text).map_err(|_| f.add("destination", "is an id (dst_...)")).ok();
    }
    if let Some(text) = &params.event {
        filter.event = f.check("event", Event::from_name(text).ok_or("is not an event; see docs/NOTICES.md"));
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
    Ok(page::show(app.store().deliveries(&filter, page).await?, DeliveryView::from))
}

/// Show a delivery.
#[utoipa::path(get, path = "/deliveries/{id}", operation_id = "show_delivery", tag = "notices",
    params(("id" = String, Path)), responses((status = 200, body = DeliveryView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<DeliveryView>> {
    Ok(Json(app.store().delivery(id_of(&id)?).await?.into()))
}

/// Send a notice again that was sent or given up. Its receiver gets the same message, with the same id.
#[utoipa::path(post, path = "/deliveries/{id}/replay", operation_id = "replay_delivery", tag = "notices",
    params(("id" = String, Path)), responses((status = 200, body = DeliveryView)))]
async fn replay(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<DeliveryView>> {
    Ok(Json(app.store().replay_delivery(id_of(&id)?).await?.into()))
}
