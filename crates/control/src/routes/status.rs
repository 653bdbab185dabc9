//! `/status` and `/openapi.json`: what this server is and what it understands.

use crate::App;
use crate::problem::Result;
use crate::routing::{Routes, routes};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show))
}

pub(crate) fn open_routes() -> Routes {
    Routes::new().routes(routes!(document))
}

#[derive(Serialize, ToSchema)]
struct Status {
    version: &'static str,
    uptime_s: u64,
    /// `sqlite` or `postgres`.
    database: &'static str,
    /// Keys that are not deleted.
    keys: i64,
    /// Providers, without the practice provider.
    providers: i64,
}

/// How the server is.
#[utoipa::path(get, path = "/status", operation_id = "show_status", tag = "status", responses((status = 200, body = Status)))]
async fn show(State(app): State<App>) -> Result<Json<Status>> {
    let counts = app.store().counts().await?;
    Ok(Json(Status {
        version: app.deps.version,
        uptime_s: app.started.elapsed().as_secs(),
        database: app.store().database(),
        keys: counts.keys,
        providers: counts.providers,
    }))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "show_openapi", tag = "status", responses((status = 200, body = Object)))]
async fn document(State(app): State<App>) -> impl IntoResponse {
    let document = app.document.get_or_init(|| serde_json::to_vec(&super::openapi()).unwrap_or_default().into());
    ([(header::CONTENT_TYPE, "application/json")], document.clone())
}
