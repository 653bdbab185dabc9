//! Temporary keys: minted from a key by whoever manages it. A key can also mint them itself, under `/v1/key/temp`.

use super::key_id;
use super::view::Shown;
use crate::caller::Caller;
use crate::idempotency::{Once, Reply};
use crate::input::PathParam;
use crate::problem::Result;
use crate::{App, PeerAddr};
use anykey_store::NewTemp;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

/// A temporary key to be minted: as much as its parent may, or less.
#[derive(ToSchema)]
#[schema(as = NewTempKey)]
#[expect(dead_code, reason = "it is read by the store, for both planes alike")]
pub(super) struct Asked {
    /// `temporary` by default.
    name: Option<String>,
    /// `15m` by default, at most `24h`. Never longer than its parent lives.
    #[schema(inline)]
    expires_in: Option<Span>,
    /// Dollars; at most what its parent may still spend. What it spends is its parent's spend as well.
    spend_limit_usd: Option<String>,
    /// How many requests it may make in its life.
    max_requests: Option<u64>,
    /// Of those of its parent.
    scopes: Option<Vec<String>>,
    /// Patterns such as `openai/gpt-*`, matched on the model that would serve.
    models: Option<Vec<String>>,
    /// How many calls or sessions may run at a time.
    max_concurrent: Option<u64>,
    /// The one address that may use it, or `caller`.
    ip: Option<String>,
    /// Whether a web page may use it; false by default.
    browser_allowed: Option<bool>,
}

/// `15m`, or a number of seconds.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is read by the store, for both planes alike")]
enum Span {
    Text(String),
    Seconds(i64),
}

/// Mint a temporary key from a key. Its secret is in this answer and nowhere else. It dies with its parent.
#[utoipa::path(post, path = "/keys/{id}/temp", operation_id = "mint_temp_key", tag = "keys",
    request_body = Option<Asked>,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Shown)))]
pub(super) async fn mint(
    State(app): State<App>,
    caller: Caller,
    PathParam(id): PathParam,
    peer: Option<Extension<PeerAddr>>,
    once: Once,
    body: Bytes,
) -> Result<Response> {
    let parent = key_id(&id)?;
    let mut new =
        NewTemp::from_json(&body, peer.and_then(|Extension(PeerAddr(client))| client.known.then_some(client.address)))?;
    new.creator = Some(caller.id());
    // What is left of the parent's money is as its callers saw it.
    app.settle().await?;
    let work = app.clone();
    once.run(&app, &body, async move {
        let (key, token) = work.store().mint_temp(parent, None, new).await?;
        Reply::new(StatusCode::CREATED, &Shown::new(key, token))
    })
    .await
}
