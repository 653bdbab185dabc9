//! The second factor: setting it up, showing that it works, taking it away.

use super::password::prove;
use super::{attempt, refused};
use crate::App;
use crate::caller::{Myself, Trace};
use crate::input::{Body, Findings, body};
use crate::problem::{Own, Problem, Result};
use crate::sign_in::totp;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

body! {
    /// The password of whoever asks.
    Password as Password {
        required {
            password: String,
        }
        optional {}
    }
}

impl Password {
    fn read(self) -> Result<SecretString> {
        let mut findings = Findings::default();
        let password = self.password.required("password", &mut findings);
        findings.end()?;
        password.map(SecretString::from).ok_or_else(refused)
    }
}

/// What an authenticator needs. Shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewSecondFactor)]
pub(super) struct NewFactor {
    /// To be typed.
    secret: String,
    /// To be shown as a picture.
    url: String,
}

/// Begin to set up a second factor. It is asked for only once a code of it was confirmed.
#[utoipa::path(post, path = "/auth/totp", operation_id = "begin_totp", tag = "auth", request_body = Password,
    responses((status = 200, body = NewFactor)))]
pub(super) async fn begin(
    State(app): State<App>,
    Myself(me): Myself,
    trace: Trace,
    Body { value: body, .. }: Body<Password>,
) -> Result<Json<NewFactor>> {
    prove(&app, &me, &trace, body.read()?).await?;
    let secret = totp::secret().ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    app.store().begin_totp(me.person.id, &secret).await?;
    let url = totp::url(&secret, &me.person.email).to_string();
    Ok(Json(NewFactor { secret: totp::base32(&secret).to_string(), url }))
}

body! {
    /// A code that the authenticator shows.
    Confirm as CodeToConfirm {
        required {
            code: String,
        }
        optional {}
    }
}

/// For the day when the authenticator is lost; each works once. Shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
pub(super) struct Codes {
    recovery_codes: Vec<String>,
}

/// Show that the second factor works. From now on it is asked for.
#[utoipa::path(post, path = "/auth/totp/confirm", operation_id = "confirm_totp", tag = "auth", request_body = Confirm,
    responses((status = 200, body = Codes)))]
pub(super) async fn confirm(
    State(app): State<App>,
    Myself(me): Myself,
    trace: Trace,
    Body { value: body, .. }: Body<Confirm>,
) -> Result<Json<Codes>> {
    let mut findings = Findings::default();
    let code = body.code.required("code", &mut findings);
    findings.end()?;
    attempt(&app, &me.person.email, &trace).await?;
    let account = app.store().account(me.person.id).await?;
    let Some(factor) = account.second_factor.filter(|factor| !factor.on) else {
        return Err(Problem::new(
            Own::Conflict,
            "No second factor is being set up. Begin with POST /admin/v1/auth/totp.",
        ));
    };
    let step = code.and_then(|code| totp::step_of(&factor.secret, &code, app.store().clock_ms(), factor.step));
    let step = step.ok_or_else(refused)?;
    let codes = totp::recovery_codes().ok_or_else(|| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    app.store().enable_totp(me.person.id, step, &codes).await?;
    app.store().forgive_sign_in(&me.person.email, trace.ip).await?;
    Ok(Json(Codes { recovery_codes: codes }))
}

/// Take the second factor away, and its recovery codes.
#[utoipa::path(post, path = "/auth/totp/remove", operation_id = "remove_totp", tag = "auth", request_body = Password,
    responses((status = 204, description = "It is gone")))]
pub(super) async fn remove(
    State(app): State<App>,
    Myself(me): Myself,
    trace: Trace,
    Body { value: body, .. }: Body<Password>,
) -> Result<StatusCode> {
    prove(&app, &me, &trace, body.read()?).await?;
    app.store().disable_totp(me.person.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
