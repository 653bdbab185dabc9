//! Changing keys and ending them.

use super::view::{KeyView, SpendLimit};
use super::{bounds, fields, key_id};
use crate::App;
use crate::caller::Caller;
use crate::input::{Body, Findings, PathParam, body};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::tenancy::{self, ControlsBody};
use anykey_core::{Code, Place};
use anykey_store::{KeyPatch, KeyRow};
use axum::extract::State;
use axum::response::Response;
use std::collections::BTreeMap;

body! {
    /// What shall change about a key. Null clears a field; what is not named stays.
    Update as KeyChange {
        required {}
        optional {
            name: String,
            description: String,
            /// All tags; those not named are taken away.
            tags: BTreeMap<String, String>,
            owner: String,
            owner_id: String,
            /// Another project of the same organisation.
            project: String,
            /// The whole policy; what is not named is taken away, but for `spend`, which null takes away.
            controls: ControlsBody,
            environment: String,
            scopes: Vec<String>,
            browser_allowed: bool,
            /// All limits; those not named are taken away. The same as `controls.spend`.
            spend_limits: Vec<SpendLimit>,
            expires_at: String,
            expires_in: String,
            note: String,
            rotation_interval_days: i64,
            review_at: String,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a key.
#[utoipa::path(patch, path = "/keys/{id}", operation_id = "update_key", tag = "keys", request_body = Update,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = KeyView)))]
pub(super) async fn update(
    State(app): State<App>,
    power: Power,
    PathParam(id): PathParam,
    expected: IfMatch,
    Body { value: body, .. }: Body<Update>,
) -> Result<Response> {
    let id = key_id(&id)?;
    let key = app.store().key(id).await?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let expected = expected.or(body.version.given("version", f));
    let name = body.name.kept("name", f);
    let fields::Policy { controls, keeps_spend, amounts } = fields::policy(body.controls, body.spend_limits, false, f);
    let project = body.project.kept("project", f);
    let mut patch = KeyPatch {
        name: fields::name(name, f),
        description: fields::long(body.description, "description", f),
        tags: fields::tags(body.tags, f),
        owner: fields::label(body.owner, "owner", f),
        project: None,
        owner_id: tenancy::owner(body.owner_id, f),
        controls,
        keeps_spend,
        amounts,
        environment: fields::label(body.environment, "environment", f),
        scopes: fields::scopes(body.scopes, key.kind, f),
        browser_allowed: body.browser_allowed.kept("browser_allowed", f),
        spend_limit: None,
        expires_at: fields::expiry(body.expires_at, body.expires_in, f),
        note: fields::long(body.note, "note", f),
        rotation_interval_ms: fields::rotation(body.rotation_interval_days, f),
        review_at: fields::review(body.review_at, f),
    };
    if let Some(text) = project {
        patch.project =
            tenancy::project(&app, &power, "project", &text, &mut findings).await?.map(|project| project.id);
    }
    let rules = app.store().key_rules(patch.project.unwrap_or(key.project_id)).await?;
    tenancy::hold_change(&rules, &key, &patch, &mut findings);
    if power.is_own_only(&key.place()) {
        bounds::hold_narrow(&key, &patch, &mut findings);
    }
    let after = key.placement_after(&patch);
    let policy = bounds::policy_after(&key, &patch);
    bounds::hold_bounds(&app, &power, &after, patch.scopes, policy.as_ref(), &mut findings).await?;
    findings.end()?;
    // Where it would be afterwards is for the caller to decide as well.
    power.require(&Place::of_key(patch.scopes.unwrap_or(key.scopes), &after))?;
    let limit_changes = patch.amounts.is_some();
    let key = app.store().update_key(id, expected, patch).await?;
    if limit_changes {
        app.deps.books.limit_changed(id, key.spend_limit);
    }
    Ok(answer(key))
}

/// Disable a key: it is refused from now on, and calls that run on it end.
#[utoipa::path(post, path = "/keys/{id}/disable", operation_id = "disable_key", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = KeyView)))]
pub(super) async fn disable(
    State(app): State<App>,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<Response> {
    Ok(answer(app.store().disable_key(key_id(&id)?, expected).await?))
}

/// Enable a key that was disabled.
#[utoipa::path(post, path = "/keys/{id}/enable", operation_id = "enable_key", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = KeyView)))]
pub(super) async fn enable(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<Response> {
    let id = key_id(&id)?;
    let key = app.store().key(id).await?;
    let mut expected = expected;
    if power.is_own_only(&key.place()) {
        if key.disabled && key.disabled_by != Some(caller.id()) {
            return Err(Problem::new(
                Code::RoleForbidden,
                "Somebody else disabled this key. Ask an owner of its project or an admin of the organisation to enable it.",
            ));
        }
        // Who disables it meanwhile is not overruled.
        expected = expected.or(Some(key.version));
    }
    Ok(answer(app.store().enable_key(id, expected).await?))
}

/// Delete a key. What is left says who it was, so that its records keep a name.
#[utoipa::path(delete, path = "/keys/{id}", operation_id = "delete_key", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = KeyView)))]
pub(super) async fn delete(
    State(app): State<App>,
    PathParam(id): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<Response> {
    Ok(answer(app.store().delete_key(key_id(&id)?, expected).await?))
}

fn answer(key: KeyRow) -> Response {
    let version = key.version;
    tagged(KeyView::from(key), version)
}
