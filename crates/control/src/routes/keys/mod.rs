//! `/keys`: making, showing, changing and ending keys.

mod bounds;
mod change;
mod exposed;
pub(super) mod fields;
mod filter;
mod limits;
pub(super) mod make;
mod many;
mod secret;
mod temp;
pub(super) mod view;
mod whois;

use crate::App;
use crate::input::{Findings, Params, PathParam};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::tagged;
use crate::problem::{Problem, Result};
use crate::routing::{Routes, routes};
use anykey_core::KeyId;
use anykey_store::KeyCursor;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use view::KeyView;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, make::create))
        .routes(routes!(make::import))
        .routes(routes!(whois::whois))
        .routes(routes!(many::bulk))
        .routes(routes!(many::transfer))
        .routes(routes!(exposed::report))
        .routes(routes!(exposed::list))
        .routes(routes!(show, change::update, change::delete))
        .routes(routes!(limits::limits))
        .routes(routes!(change::disable))
        .routes(routes!(change::enable))
        .routes(routes!(secret::regenerate))
        .routes(routes!(secret::rotate))
        .routes(routes!(temp::mint))
}

/// A key's id out of a path. What is not an id names no key.
fn key_id(text: &str) -> Result<KeyId> {
    KeyId::parse(text).ok_or_else(|| Problem::not_found("key"))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Found in the name or the description, or the start of a public id.
    q: Option<String>,
    /// The exact name.
    name: Option<String>,
    /// `active`, `disabled`, `expired`, `rotating` or `revoked`. Without it, revoked keys are left out.
    status: Option<String>,
    /// `live`, `test`, `plan`, `custom`, `temp` or `admin`.
    kind: Option<String>,
    /// Who uses it, in words, or the id of a member or a service account.
    owner: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// An id, a slug, or `organisation/slug`.
    project: Option<String>,
    environment: Option<String>,
    /// The id of a key: its temporary keys.
    parent: Option<String>,
    /// A time or a duration such as `30d`: neither used nor made since. What is unused longest comes first.
    unused: Option<String>,
    /// A time or a duration such as `14d`: ends within it. What ends soonest comes first.
    expiring: Option<String>,
    /// A time or a duration such as `7d`: to be reviewed within it. What is due soonest comes first.
    review: Option<String>,
    /// A time or a duration such as `7d`: to be rotated within it. What is due soonest comes first.
    rotation: Option<String>,
    /// `name` or `name=value`.
    tag: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List keys, the newest first.
#[utoipa::path(get, path = "/keys", operation_id = "list_keys", tag = "keys", params(ListParams),
    responses((status = 200, body = List<KeyView>)))]
async fn list(State(app): State<App>, power: Power, Params(params): Params<ListParams>) -> Result<Json<List<KeyView>>> {
    let mut findings = Findings::default();
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), KeyCursor::parse, &mut findings);
    let filter = params.read(&app, &power, &mut findings).await?;
    findings.end()?;
    Ok(page::show(app.store().keys(&filter, page).await?, KeyView::from))
}

/// Show a key. Its secrets are masked.
#[utoipa::path(get, path = "/keys/{id}", operation_id = "show_key", tag = "keys", params(("id" = String, Path)),
    responses((status = 200, body = KeyView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    let id = key_id(&id)?;
    // What was spent is shown as the caller saw it end. A key can be looked at while the books are away all the same: it is
    // then that somebody may have to end it.
    let _ = app.settle().await;
    let key = app.store().key(id).await?;
    let version = key.version;
    Ok(tagged(KeyView::from(key), version))
}
