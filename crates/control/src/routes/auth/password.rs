//! Changing one's password.

use super::{attempt, has_password, refused};
use crate::App;
use crate::caller::{Myself, Trace};
use crate::input::{Body, Findings, body};
use crate::problem::Result;
use crate::sign_in::password::chosen;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;

body! {
    /// The password that is, and the one that shall be.
    ChangePassword as PasswordChange {
        required {
            current_password: String,
            /// At least 12 characters.
            new_password: String,
        }
        optional {}
    }
}

/// Change one's password. All other sessions are over when this answers.
#[utoipa::path(post, path = "/auth/password", operation_id = "change_password", tag = "auth",
    request_body = ChangePassword, responses((status = 204, description = "It is changed")))]
pub(super) async fn change(
    State(app): State<App>,
    Myself(me): Myself,
    trace: Trace,
    Body { value: body, .. }: Body<ChangePassword>,
) -> Result<StatusCode> {
    let mut findings = Findings::default();
    let current = body.current_password.required("current_password", &mut findings).map(SecretString::from);
    let new = body.new_password.required("new_password", &mut findings);
    let new = chosen("new_password", new, &mut findings);
    findings.end()?;
    let (Some(current), Some(new)) = (current, new) else { return Err(refused()) };
    prove(&app, &me, &trace, current).await?;
    let hash = app.passwords.hash(new).await?;
    app.store().set_password(me.person.id, hash, Some(me.digest())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever sits before a browser that was left open does not know the password.
pub(super) async fn prove(
    app: &App,
    me: &anykey_store::SignedIn,
    trace: &Trace,
    password: SecretString,
) -> Result<anykey_store::Account> {
    attempt(app, &me.person.email, trace).await?;
    let account = app.store().account(me.person.id).await?;
    if !has_password(app, Some(&account), password).await? {
        app.store().note_refused(&me.person, "password").await?;
        return Err(refused());
    }
    app.store().forgive_sign_in(&me.person.email, trace.ip).await?;
    Ok(account)
}
