//! One-time links: how the first owner comes in, and how a password is set anew.

use super::{PersonView, SignedInView, begin};
use crate::App;
use crate::caller::Trace;
use crate::input::{self, Body, Findings, body};
use crate::problem::{Own, Problem, Result};
use crate::sign_in::password::chosen;
use crate::wire::time;
use anykey_store::{NewOwner, StoreError};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

const MAX_NAME: usize = 200;
const MAX_EMAIL: usize = 254;

body! {
    /// Whose password shall be set.
    MakeLink as NewLink {
        required {}
        optional {
            /// Without it the link makes the first owner of the installation.
            email: String,
        }
    }
}

/// A link, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = Link)]
struct LinkView {
    /// To be sent to `POST /admin/v1/auth/links/use`.
    token: String,
    expires_at: String,
    /// Whose password it sets; null makes the first owner.
    #[schema(required)]
    person: Option<PersonView>,
}

/// Make a one-time link, by which the first owner comes in or somebody sets their password. It works once, for an hour.
/// Whoever has it becomes that person, with all that they are and will be; so only operators make one.
#[utoipa::path(post, path = "/auth/links", operation_id = "make_link", tag = "auth", request_body = Option<MakeLink>,
    responses((status = 201, body = LinkView)))]
pub(super) async fn make(State(app): State<App>, Body { value: body, .. }: Body<MakeLink>) -> Result<Response> {
    let mut findings = Findings::default();
    let email = body.email.given("email", &mut findings);
    findings.end()?;
    let link = app.store().make_link(email.as_deref()).await?;
    let view = LinkView {
        token: link.token.expose().to_owned(),
        expires_at: time(link.expires_at),
        person: link.person.as_ref().map(PersonView::from),
    };
    Ok((StatusCode::CREATED, axum::Json(view)).into_response())
}

body! {
    /// A link and what it is used for.
    UseLink as LinkUse {
        required {
            token: String,
            /// At least 12 characters.
            password: String,
        }
        optional {
            /// Of the first owner.
            email: String,
            name: String,
        }
    }
}

/// Use a one-time link: the password is set, older sessions and the second factor are gone, and whoever asks is signed in.
#[utoipa::path(post, path = "/auth/links/use", operation_id = "use_link", tag = "auth", request_body = UseLink,
    responses((status = 200, body = SignedInView), (status = 410, description = "It was used, or has run out")))]
pub(super) async fn redeem(
    State(app): State<App>,
    trace: Trace,
    headers: HeaderMap,
    Body { value: body, .. }: Body<UseLink>,
) -> Result<Response> {
    app.web.check_site(&headers)?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let token = body.token.required("token", f);
    let password = body.password.required("password", f);
    let password = chosen("password", password, f);
    let email = body.email.given("email", f);
    let email = input::text("email", email, MAX_EMAIL, f);
    let name = body.name.given("name", f);
    let name = input::text("name", name, MAX_NAME, f);
    findings.end()?;
    let (Some(token), Some(password)) = (token, password) else { return Err(gone()) };
    let owner = match app.store().link_owner(&token).await.map_err(used)? {
        Some(_) => None,
        None => Some(first_owner(email, name)?),
    };
    let hash = app.passwords.hash(password).await?;
    let used_up = app.store().use_link(&token, hash, owner);
    let person = anykey_store::acting(trace.stranger(), used_up).await.map_err(used)?;
    begin(&app, &trace, &person, "link").await
}

fn first_owner(email: Option<String>, name: Option<String>) -> Result<NewOwner> {
    let mut findings = Findings::default();
    let email = email.filter(|email| is_email(email));
    if email.is_none() {
        findings.add("email", "is an e-mail address such as ada@example.com");
    }
    let name = name.filter(|name| !name.trim().is_empty());
    if name.is_none() {
        findings.add("name", "is required");
    }
    findings.end()?;
    let (Some(email), Some(name)) = (email, name) else { return Err(gone()) };
    Ok(NewOwner { email, name: name.trim().to_owned() })
}

fn is_email(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    plain
        && text
            .rsplit_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.starts_with('.'))
}

fn gone() -> Problem {
    Problem::new(Own::LinkUsed, "The link was used or has run out. Ask for another: anykey owner-link.")
}

fn used(error: StoreError) -> Problem {
    match error {
        StoreError::Conflict(_) => gone(),
        other => other.into(),
    }
}
