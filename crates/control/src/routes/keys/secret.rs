//! New secrets for keys that exist.

use super::key_id;
use super::view::Shown;
use crate::App;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Findings, PathParam, body};
use crate::precondition::IfMatch;
use crate::problem::Result;
use crate::wire::read_duration;
use anykey_store::Rotation;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

/// Give a key a new secret. The old ones are dead when this answers.
#[utoipa::path(post, path = "/keys/{id}/regenerate", operation_id = "regenerate_key", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Shown)))]
pub(super) async fn regenerate(
    State(app): State<App>,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
    once: Once,
) -> Result<Response> {
    let id = key_id(&id)?;
    let work = app.clone();
    once.run(&app, b"", async move {
        let (key, token) = work.store().regenerate_key(id, expected).await?;
        Reply::new(StatusCode::OK, &Shown::new(key, token))
    })
    .await
}

body! {
    /// How a key shall be rotated.
    Rotate as KeyRotation {
        required {}
        optional {
            /// How long the old secret lives once the new one is used: `15m`, `1h`, `24h` (by default), `7d` or `none`.
            overlap: String,
            /// The old secret is known to others: it ends at once.
            leaked: bool,
        }
    }
}

/// Give a key a second secret. Both live until the new one is used; then the old one lives on for the overlap.
#[utoipa::path(post, path = "/keys/{id}/rotate", operation_id = "rotate_key", tag = "keys", request_body = Option<Rotate>,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Shown)))]
pub(super) async fn rotate(
    State(app): State<App>,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
    once: Once,
    body: Body<Rotate>,
) -> Result<Response> {
    let id = key_id(&id)?;
    let mut findings = Findings::default();
    let leaked = body.value.leaked.given("leaked", &mut findings).unwrap_or_default();
    let overlap = body.value.overlap.given("overlap", &mut findings).and_then(|text| overlap(&text, &mut findings));
    findings.end()?;
    let rotation = Rotation { overlap_ms: overlap.unwrap_or(Rotation::DEFAULT_OVERLAP_MS), leaked };
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let rotated = work.store().rotate_key(id, expected, rotation).await?;
        Reply::new(StatusCode::OK, &Shown::new(rotated.key, rotated.token).of_rotation(rotated.rotation_id))
    })
    .await
}

fn overlap(text: &str, findings: &mut Findings) -> Option<i64> {
    if text == "none" {
        return Some(0);
    }
    let span = findings.check("overlap", read_duration(text))?;
    findings.check("overlap", if span <= Rotation::MAX_OVERLAP_MS { Ok(span) } else { Err("is at most 7d") })
}
