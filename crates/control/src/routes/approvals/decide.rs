//! Deciding on requests, taking one back, and collecting what was granted.

use super::view::ApprovalView;
use super::{answer, asker, id_of};
use crate::App;
use crate::caller::Caller;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Field, Findings, PathParam, body, text};
use crate::power::Power;
use crate::precondition::IfMatch;
use crate::problem::{Problem, Result};
use crate::routes::keys::view::Shown;
use crate::wire::{now_ms, read_duration, read_time};
use anykey_store::Decision;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

body! {
    /// A grant.
    Approve as Approve {
        required {}
        optional {
            /// The key goes back to what it was then; one that is made ends then.
            until: String,
            /// So long from now: `7d`.
            lasts: String,
            /// A word to whoever asked.
            answer: String,
        }
    }
}

/// Grant what is asked for. It is in force when this answers.
#[utoipa::path(post, path = "/approvals/{id}/approve", operation_id = "approve_approval", tag = "approvals",
    request_body = Approve, params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ApprovalView)))]
pub(super) async fn approve(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
    Body { value: body, .. }: Body<Approve>,
) -> Result<Response> {
    let id = id_of(&id)?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let until = until(body.until, body.lasts, f);
    let said = body.answer.given("answer", f);
    let said = text("answer", said, 2_000, f);
    findings.end()?;
    let by = asker(&app, &caller).await?;
    // The key may be in another project by now than when it was asked.
    if let Some(key) = app.store().approval(id).await?.key {
        power.require(&app.store().place_of_key(key).await?.ok_or_else(|| Problem::not_found("key"))?)?;
    }
    let decision = Decision::Approve { until, answer: said };
    let decided = app.store().decide_approval(id, expected, by, decision).await?;
    if let Some(key) = &decided.key {
        app.deps.books.limit_changed(key.id, key.spend_limit);
    }
    Ok(answer(decided.approval))
}

body! {
    /// A refusal.
    Refuse as Refuse {
        required {
            /// Why, for whoever asked.
            reason: String,
        }
        optional {}
    }
}

/// Refuse what is asked for.
#[utoipa::path(post, path = "/approvals/{id}/refuse", operation_id = "refuse_approval", tag = "approvals",
    request_body = Refuse, params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ApprovalView)))]
pub(super) async fn refuse(
    State(app): State<App>,
    caller: Caller,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
    Body { value: body, .. }: Body<Refuse>,
) -> Result<Response> {
    let id = id_of(&id)?;
    let mut findings = Findings::default();
    let reason = body.reason.required("reason", &mut findings);
    let reason = text("reason", reason, 2_000, &mut findings).unwrap_or_default();
    if reason.trim().is_empty() {
        findings.add("reason", "says why, for whoever asked");
    }
    findings.end()?;
    let by = asker(&app, &caller).await?;
    let decided = app.store().decide_approval(id, expected, by, Decision::Refuse { reason }).await?;
    Ok(answer(decided.approval))
}

/// Take a request back that one made and that still waits.
#[utoipa::path(post, path = "/approvals/{id}/withdraw", operation_id = "withdraw_approval", tag = "approvals",
    params(("id" = String, Path)), responses((status = 200, body = ApprovalView)))]
pub(super) async fn withdraw(State(app): State<App>, caller: Caller, PathParam(id): PathParam) -> Result<Response> {
    let id = id_of(&id)?;
    let by = asker(&app, &caller).await?;
    Ok(answer(app.store().withdraw_approval(id, &by.id).await?))
}

/// Collect the secret of a key that one asked for and that was granted. It is in this answer and nowhere else.
#[utoipa::path(post, path = "/approvals/{id}/collect", operation_id = "collect_approval", tag = "approvals",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Shown)))]
pub(super) async fn collect(
    State(app): State<App>,
    caller: Caller,
    PathParam(id): PathParam,
    once: Once,
) -> Result<Response> {
    let id = id_of(&id)?;
    let by = asker(&app, &caller).await?;
    let work = app.clone();
    once.run(&app, b"", async move {
        let (key, token) = work.store().collect_approval(id, &by.id).await?;
        Reply::new(StatusCode::OK, &Shown::new(key, token))
    })
    .await
}

fn until(at: Field<String>, within: Field<String>, findings: &mut Findings) -> Option<i64> {
    match (at.given("until", findings), within.given("lasts", findings)) {
        (Some(_), Some(_)) => {
            findings.add("lasts", "cannot stand beside until");
            None
        }
        (Some(text), None) => findings.check("until", read_time(&text)),
        (None, Some(text)) => findings.check("lasts", read_duration(&text)).map(|span| now_ms().saturating_add(span)),
        (None, None) => None,
    }
}
