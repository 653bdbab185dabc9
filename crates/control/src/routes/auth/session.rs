//! Signing in and out, and one's sessions.

use super::{Shown, SignedInView, attempt, begin, has_password, refused, second_factor};
use crate::App;
use crate::caller::{Myself, Trace};
use crate::input::{Body, Findings, PathParam, body};
use crate::page::List;
use crate::problem::{Problem, Result};
use crate::wire::time;
use anykey_core::SessionId;
use anykey_store::{Account, SessionRow};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

/// Longer e-mails are none.
const LONGEST_EMAIL: usize = 254;

/// One time that somebody signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView {
    id: String,
    created_at: String,
    /// To the minute.
    last_used_at: String,
    /// When it ends at the latest; unused it ends after eight hours.
    expires_at: String,
    #[schema(required)]
    ip: Option<String>,
    #[schema(required)]
    client: Option<String>,
    /// The issuer that vouched for them; null where they came in by a password or a link.
    #[schema(required)]
    issuer: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

impl SessionView {
    pub fn new(session: &SessionRow, current: bool) -> Self {
        SessionView {
            id: session.id.to_string(),
            created_at: time(session.created_at),
            last_used_at: time(session.seen_at),
            expires_at: time(session.expires_at),
            ip: session.ip.clone(),
            client: session.client.clone(),
            issuer: session.issuer.clone(),
            current,
        }
    }
}

body! {
    /// Somebody who wants to come in.
    SignIn as SignIn {
        required {
            email: String,
            password: String,
        }
        optional {
            /// Where a second factor is on: what the authenticator shows, or a recovery code.
            code: String,
        }
    }
}

/// Sign in. The session is in the cookie of the answer.
#[utoipa::path(post, path = "/auth/sign-in", operation_id = "sign_in", tag = "auth", request_body = SignIn,
    responses((status = 200, body = SignedInView)))]
pub(super) async fn sign_in(
    State(app): State<App>,
    trace: Trace,
    headers: HeaderMap,
    Body { value: body, .. }: Body<SignIn>,
) -> Result<Response> {
    app.web.check_site(&headers)?;
    let mut findings = Findings::default();
    let email = body.email.required("email", &mut findings);
    let password = body.password.required("password", &mut findings).map(SecretString::from);
    let code = body.code.given("code", &mut findings);
    if email.as_deref().is_some_and(|email| email.len() > LONGEST_EMAIL) {
        findings.add("email", "is an e-mail address");
    }
    findings.end()?;
    let (Some(email), Some(password)) = (email, password) else { return Err(refused()) };
    attempt(&app, &email, &trace).await?;
    let account = app.store().account_by_email(&email).await?;
    let known = has_password(&app, account.as_ref(), password).await?;
    if !known {
        note(&app, &trace, account.as_ref(), "password");
    }
    let Some(account) = account.as_ref().filter(|_| known) else { return Err(refused()) };
    let shown = anykey_store::acting(trace.stranger(), second_factor(&app, account, code.as_deref())).await;
    let how = match shown {
        Ok(Shown::Unneeded) => "password",
        Ok(Shown::Code) => "password and code",
        Ok(Shown::Recovery) => "password and recovery code",
        Err(problem) => {
            if code.is_some() {
                note(&app, &trace, Some(account), "code");
            }
            return Err(problem);
        }
    };
    app.store().forgive_sign_in(&email, trace.ip).await?;
    begin(&app, &trace, &account.person, how).await
}

/// Records that somebody failed who is known. The answer does not wait for it, or its time would tell who is.
fn note(app: &App, trace: &Trace, account: Option<&Account>, why: &'static str) {
    let Some(person) = account.map(|account| account.person.clone()) else { return };
    let (app, who) = (app.clone(), trace.stranger());
    tokio::spawn(async move {
        if let Err(error) = anykey_store::acting(who, app.store().note_refused(&person, why)).await {
            tracing::warn!(%error, "a refused sign-in could not be recorded");
        }
    });
}

/// Show who is signed in.
#[utoipa::path(get, path = "/auth/session", operation_id = "show_session", tag = "auth",
    responses((status = 200, body = SignedInView)))]
pub(super) async fn show(State(app): State<App>, Myself(me): Myself) -> Json<SignedInView> {
    Json(SignedInView::new(&app, &me))
}

/// List one's sessions, the newest first.
#[utoipa::path(get, path = "/auth/sessions", operation_id = "list_sessions", tag = "auth",
    responses((status = 200, body = List<SessionView>)))]
pub(super) async fn list(State(app): State<App>, Myself(me): Myself) -> Result<Json<List<SessionView>>> {
    let sessions = app.store().sessions(me.person.id).await?;
    let data = sessions.iter().map(|session| SessionView::new(session, session.id == me.session.id)).collect();
    Ok(Json(List { data, next: None }))
}

/// End one of one's sessions.
#[utoipa::path(delete, path = "/auth/sessions/{id}", operation_id = "end_session", tag = "auth",
    params(("id" = String, Path)), responses((status = 204, description = "It is over")))]
pub(super) async fn end(State(app): State<App>, Myself(me): Myself, PathParam(id): PathParam) -> Result<StatusCode> {
    let id = SessionId::parse(&id).ok_or_else(|| Problem::not_found("session"))?;
    app.store().end_session(me.person.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The session is over here; the issuer has one of its own.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedOut)]
struct SignedOutView {
    /// Where the browser goes to end that too.
    issuer_sign_out_url: String,
}

/// Sign out: the session is over when this answers.
#[utoipa::path(post, path = "/auth/sign-out", operation_id = "sign_out", tag = "auth",
    responses((status = 200, body = SignedOutView, description = "The session is over here, and goes on at the issuer"),
        (status = 204, description = "The session is over")))]
pub(super) async fn sign_out(State(app): State<App>, Myself(me): Myself) -> Result<Response> {
    app.store().end_session(me.person.id, me.session.id).await?;
    let cleared = [(header::SET_COOKIE, app.web.clear())];
    Ok(match issuer_sign_out(&app, me.session.issuer.as_deref()).await {
        Some(issuer_sign_out_url) => (cleared, Json(SignedOutView { issuer_sign_out_url })).into_response(),
        None => (StatusCode::NO_CONTENT, cleared).into_response(),
    })
}

/// Where the issuer's own session ends, where there is such a place. An issuer that is away keeps nobody signed in here.
async fn issuer_sign_out(app: &App, issuer: Option<&str>) -> Option<String> {
    let issuer = app.issuers.of_url(issuer?)?;
    let document = issuer.document(&app.deps.fetch, app.store().clock_ms()).await.ok()?;
    issuer.sign_out_url(&document)
}
