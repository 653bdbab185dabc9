//! Back-channel logout: an issuer says that somebody's session there is over, and what was begun by it here ends too.

use crate::App;
use crate::caller::Trace;
use crate::input::PathParam;
use crate::problem::{Problem, Result};
use crate::sign_in::oidc::{Expected, Trouble};
use anykey_core::Code;
use anykey_store::{Actor, ActorKind, IssuerLogout};
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

/// How long a logout token is remembered: longer than one is taken.
const REMEMBERED_MS: i64 = 15 * 60 * 1000;

#[derive(Deserialize, ToSchema)]
#[schema(as = IssuerLogout)]
pub(super) struct LogoutForm {
    /// Signed by the issuer.
    logout_token: String,
}

/// Take an issuer's word that somebody's session there is over (OpenID Connect Back-Channel Logout 1.0).
#[utoipa::path(post, path = "/auth/issuers/{name}/logout", operation_id = "logout_by_issuer", tag = "auth",
    params(("name" = String, Path)),
    request_body(content = LogoutForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "Their sessions here are over")))]
pub(super) async fn logout(
    State(app): State<App>,
    PathParam(name): PathParam,
    trace: Trace,
    form: std::result::Result<axum::Form<LogoutForm>, FormRejection>,
) -> Result<StatusCode> {
    let issuer = app.issuers.named(&name).ok_or_else(|| Problem::not_found("issuer"))?;
    let axum::Form(form) = form.map_err(|_| refused())?;
    let now_ms = app.store().clock_ms();
    let claims = issuer.verify(&app.deps.fetch, now_ms, &form.logout_token).await.map_err(|why| {
        tracing::warn!(issuer = name, %why, "a logout token was not taken");
        match why {
            Trouble::Away(_) => Problem::new(Code::AuthUnavailable, "The issuer's keys cannot be fetched now."),
            _ => refused(),
        }
    })?;
    let settings = &issuer.settings;
    let expected = Expected { issuer: &settings.issuer, client_id: &settings.client_id, now_ms };
    let logout = claims.check_logout(&expected).map_err(|why| {
        tracing::warn!(issuer = name, %why, "a logout token was not taken");
        refused()
    })?;
    let word = IssuerLogout {
        once: format!("logout {} {}", settings.issuer, logout.id),
        until: now_ms + REMEMBERED_MS,
        issuer: settings.issuer.clone(),
        subject: logout.subject,
        session: logout.session,
    };
    let system = Actor { kind: ActorKind::System, id: None, name: format!("issuer {name}") };
    let ended = anykey_store::acting(trace.acting(system), app.store().end_sessions_at(word)).await?;
    ended.map(|_| StatusCode::OK).ok_or_else(refused)
}

fn refused() -> Problem {
    Problem::new(Code::InvalidParameter, "This is no logout token of this issuer for this server, made just now.")
}
