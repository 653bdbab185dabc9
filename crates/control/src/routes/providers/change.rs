//! Changing, testing and removing providers.

use super::make::Force;
use super::view::{ProviderView, Tested};
use super::{find, not_practice, probe, settings, view};
use crate::App;
use crate::input::{self, Body, Findings, Params, PathParam, body};
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Own, Problem, Result};
use anykey_core::provider;
use anykey_net::guard::Destination;
use anykey_store::{Credential, Origin, ProviderPatch, ProviderRow, StoreError};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use secrecy::SecretString;

body! {
    /// What shall change about a provider. What is not named stays.
    Update as ProviderChange {
        required {}
        optional {
            kind: String,
            /// Null uses the kind's own. With another host, `api_key` has to be given again.
            base_url: String,
            /// Null takes the credential away.
            api_key: String,
            allow_private_network: bool,
            disabled: bool,
            /// The version that the change is meant for, instead of `If-Match`.
            version: i64,
        }
    }
}

/// Change a provider. Where its address or its credential changes it is asked for its models first.
#[utoipa::path(patch, path = "/providers/{name}", operation_id = "update_provider", tag = "providers",
    request_body = Update, params(("name" = String, Path), Force, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ProviderView), (status = 422, description = "The provider refused the credential")))]
pub(super) async fn update(
    State(app): State<App>,
    PathParam(name): PathParam,
    Params(params): Params<Force>,
    expected: IfMatch,
    Body { value: body, .. }: Body<Update>,
) -> Result<Response> {
    not_practice(&name)?;
    let row = app.store().provider(&name).await?;
    let mut findings = Findings::default();
    let f = &mut findings;
    let force = input::flag("force", params.force.as_deref(), f);
    let expected = expected.or(body.version.given("version", f));
    let kind = body.kind.kept("kind", f).and_then(|kind| settings::kind(&kind, f));
    let base_url = body.base_url.change("base_url", f);
    let credential = match body.api_key.change("api_key", f) {
        Some(Some(text)) => settings::credential(text, f).map(Some),
        Some(None) => Some(None),
        None => None,
    };
    let patch = ProviderPatch {
        kind: kind.map(|kind| kind.name.to_owned()),
        base_url,
        credential,
        allow_private: body.allow_private_network.kept("allow_private_network", f),
        disabled: body.disabled.kept("disabled", f),
    };
    let target = target(&app, &row, &patch, f);
    findings.end()?;
    if let Some(found) = expected.filter(|version| *version != row.version) {
        return Err(StoreError::VersionMismatch { what: "provider", expected: found, found: row.version }.into());
    }
    let calls_elsewhere =
        patch.kind.is_some() || patch.base_url.is_some() || patch.credential.is_some() || patch.allow_private.is_some();
    // A provider of the settings file is changed there: the store says so, and nothing is called for it.
    let asked = match target.filter(|_| calls_elsewhere && row.origin == Origin::Api) {
        Some(target) => Some(probe::ask(&app, &target).await),
        None => None,
    };
    if let Some(probe) = &asked {
        probe.check(force)?;
    }
    // What was tested is what is changed: the version that was read, whatever the caller knew.
    let version = (row.version > 0).then_some(row.version);
    let mut row = app.store().update_provider(&name, expected.or(version), patch).await?;
    if let Some(outcome) = asked.and_then(probe::Probe::outcome) {
        row = app.store().set_provider_test(&name, outcome).await?;
    }
    let version = row.version;
    Ok(tagged(view::show(&app, row), version))
}

/// The provider as it would be with the change. `None` where something is wrong, or where its credential cannot be opened.
fn target(app: &App, row: &ProviderRow, patch: &ProviderPatch, findings: &mut Findings) -> Option<probe::Target> {
    let kind = provider::kind(patch.kind.as_deref().unwrap_or(&row.kind))?;
    let url = patch.base_url.clone().unwrap_or_else(|| row.base_url.clone());
    let private = patch.allow_private.unwrap_or(row.allow_private);
    let destination = settings::destination(kind, url.as_deref(), private, findings)?;
    let credential = match &patch.credential {
        Some(changed) => changed.clone(),
        None if row.has_credential => {
            // Otherwise whoever may change a provider could have its credential sent to a host of theirs.
            if !same_host(row, &destination) {
                findings.add("api_key", "has to be given again when the base URL leads to another host");
                return None;
            }
            Some(stored(app, &row.name)?)
        }
        None => None,
    };
    settings::target(kind, destination, credential, findings)
}

fn same_host(row: &ProviderRow, to: &Destination) -> bool {
    let url = row.base_url.as_deref().or_else(|| provider::kind(&row.kind)?.base_url);
    let now = url.and_then(|url| Destination::parse(url, true).ok());
    now.is_some_and(|now| now.tls == to.tls && now.host == to.host && now.port == to.port)
}

fn stored(app: &App, name: &str) -> Option<SecretString> {
    match &app.store().snapshot().providers.get(name)?.credential {
        Credential::Open(secret) => Some(secret.clone()),
        Credential::None | Credential::Unavailable => None,
    }
}

/// Ask a provider for its models with its credential.
#[utoipa::path(post, path = "/providers/{name}/test", operation_id = "test_provider", tag = "providers",
    params(("name" = String, Path)), responses((status = 200, body = Tested)))]
pub(super) async fn test(State(app): State<App>, PathParam(name): PathParam) -> Result<Json<Tested>> {
    let row = find(&app, &name).await?;
    let kind = provider::kind(&row.kind)
        .ok_or_else(|| Problem::field("kind", "of this provider is not known to this release"))?;
    let mut findings = Findings::default();
    let destination = settings::destination(kind, row.base_url.as_deref(), row.allow_private, &mut findings);
    findings.end()?;
    let Some(destination) = destination else { return Err(Problem::not_found("provider")) };
    let credential = stored(&app, &name);
    if row.has_credential && credential.is_none() {
        return Err(Problem::new(
            Own::SecretUnavailable,
            "The stored credential cannot be opened with this installation's key. Set it again.",
        ));
    }
    let probe = probe::ask(&app, &probe::Target { kind, destination, credential }).await;
    let view = probe.view();
    let row = match probe.outcome() {
        // The practice provider needs no row of its own, so there may be none to note the test in.
        Some(outcome) => match app.store().set_provider_test(&name, outcome).await {
            Err(StoreError::NotFound(_)) => row,
            noted => noted?,
        },
        None => row,
    };
    Ok(Json(Tested::new(&app, row, view)))
}

/// Remove a provider and its credential.
#[utoipa::path(delete, path = "/providers/{name}", operation_id = "remove_provider", tag = "providers",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn remove(
    State(app): State<App>,
    PathParam(name): PathParam,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode> {
    not_practice(&name)?;
    app.store().remove_provider(&name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
