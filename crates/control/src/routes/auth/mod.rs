//! `/auth`: how people come in and go, and what they prove themselves by.

mod issuer;
mod issuer_logout;
mod link;
mod password;
mod session;
mod totp;

use crate::App;
use crate::caller::{Trace, person};
use crate::problem::{Own, Problem, Result};
use crate::routing::{Routes, routes};
use crate::sign_in::totp as codes;
use anykey_core::Code;
use anykey_store::{Account, AtIssuer, OneTime, Person, SignedIn};
use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Serialize;
use session::SessionView;
use utoipa::ToSchema;

/// Nothing here needs more, and strangers may send it.
pub(crate) const MAX_BODY: usize = 16 << 10;

/// Where strangers become somebody.
const DOORS: [&str; 3] = ["/admin/v1/auth/sign-in", "/admin/v1/auth/links/use", "/admin/v1/auth/second-factor"];

/// Whether a body is read here although whoever sends it is not known yet.
pub(crate) fn is_door(path: &str) -> bool {
    let logout = path.strip_prefix("/admin/v1/auth/issuers/").and_then(|rest| rest.strip_suffix("/logout"));
    DOORS.contains(&path) || logout.is_some_and(|name| !name.contains('/'))
}

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(session::show))
        .routes(routes!(session::list))
        .routes(routes!(session::end))
        .routes(routes!(session::sign_out))
        .routes(routes!(password::change))
        .routes(routes!(totp::begin))
        .routes(routes!(totp::confirm))
        .routes(routes!(totp::remove))
        .routes(routes!(link::make))
        .body_limit(MAX_BODY)
}

pub(crate) fn open_routes() -> Routes {
    Routes::new()
        .routes(routes!(session::sign_in))
        .routes(routes!(link::redeem))
        .routes(routes!(issuer::list))
        .routes(routes!(issuer::start))
        .routes(routes!(issuer::back))
        .routes(routes!(issuer::finish))
        .routes(routes!(issuer_logout::logout))
        .body_limit(MAX_BODY)
}

/// Somebody, as they see themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct PersonView {
    id: String,
    email: String,
    name: String,
    /// Whether they run the installation.
    operator: bool,
}

impl From<&Person> for PersonView {
    fn from(person: &Person) -> Self {
        PersonView {
            id: person.id.to_string(),
            email: person.email.clone(),
            name: person.name.clone(),
            operator: person.operator,
        }
    }
}

/// Who is signed in. The session itself is in the cookie.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedIn)]
struct SignedInView {
    person: PersonView,
    session: SessionView,
    /// To be sent as `x-csrf-token` with whatever changes something.
    csrf_token: String,
}

impl SignedInView {
    fn new(app: &App, signed_in: &SignedIn) -> Self {
        SignedInView {
            person: PersonView::from(&signed_in.person),
            session: SessionView::new(&signed_in.session, true),
            csrf_token: app.store().csrf_token(signed_in),
        }
    }
}

/// Begins a session and puts it into the browser.
async fn begin(app: &App, trace: &Trace, who: &Person, how: &'static str) -> Result<Response> {
    let (signed_in, token) = begin_of(app, trace, who, how, None).await?;
    let mut response = Json(SignedInView::new(app, &signed_in)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, app.web.set(token.expose()));
    Ok(response)
}

/// Begins a session; how it gets into the browser is the caller's to say.
async fn begin_of(
    app: &App,
    trace: &Trace,
    who: &Person,
    how: &'static str,
    at: Option<AtIssuer>,
) -> Result<(SignedIn, OneTime)> {
    let begun = app.store().begin_session_of(who.id, how, trace.ip, trace.client.clone(), at);
    Ok(anykey_store::acting(trace.acting(person(who)), begun).await?)
}

/// Counts an attempt to prove oneself, or refuses it for now.
async fn attempt(app: &App, email: &str, trace: &Trace) -> Result<()> {
    app.store().attempt_sign_in(email, trace.ip).await?.map_err(wait)
}

/// The same where nobody has said yet who they are.
async fn attempt_from(app: &App, trace: &Trace) -> Result<()> {
    app.store().attempt_from(trace.ip).await?.map_err(wait)
}

fn wait(wait_ms: i64) -> Problem {
    let seconds = u32::try_from(wait_ms.unsigned_abs().div_ceil(1000)).unwrap_or(u32::MAX);
    let text = format!("Too many attempts failed. The next is looked at in {seconds} s.");
    Problem { retry_after: Some(seconds), ..Problem::new(Code::RateLimited, text) }
}

fn refused() -> Problem {
    Problem::new(Own::SignInRefused, "The e-mail, the password or the code is wrong.")
}

/// Whether it is their password; takes as long where there is nobody of that name.
async fn has_password(app: &App, account: Option<&Account>, password: SecretString) -> Result<bool> {
    app.passwords.verify(password, account.and_then(|account| account.password.clone())).await
}

/// How a second factor was shown.
enum Shown {
    /// None is asked for.
    Unneeded,
    Code,
    Recovery,
}

/// Uses up the code of a second factor, where one is on.
async fn second_factor(app: &App, account: &Account, code: Option<&str>) -> Result<Shown> {
    let Some(factor) = account.second_factor.as_ref().filter(|factor| factor.on) else { return Ok(Shown::Unneeded) };
    let Some(code) = code else {
        return Err(Problem::new(
            Own::SecondFactorRequired,
            "Send `code` as well: what the authenticator shows now, or a recovery code.",
        ));
    };
    let id = account.person.id;
    if let Some(step) = codes::step_of(&factor.secret, code, app.store().clock_ms(), factor.step) {
        // Of two requests with one code, one comes in.
        return if app.store().use_totp_step(id, step).await? { Ok(Shown::Code) } else { Err(refused()) };
    }
    match codes::recovery_code(code) {
        Some(code) if app.store().use_recovery_code(id, &code).await? => Ok(Shown::Recovery),
        _ => Err(refused()),
    }
}
