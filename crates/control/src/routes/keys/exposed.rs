//! Keys that somebody found, told by whoever manages the installation: what they are, and an end to them.

use super::key_id;
use crate::input::{Body, Field, Findings, Named, PathParam, body};
use crate::page::List;
use crate::power::Power;
use crate::problem::Result;
use crate::routes::exposure::{self, MOST, Sighting, expose};
use crate::wire::time;
use crate::{App, ExposedAnd};
use anykey_store::Exposure;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key that was found, and where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Sighting)]
pub(super) struct FoundKey {
    /// The whole key: only who holds all of it has found it.
    key: String,
    /// A URL, or a file and line.
    #[serde(default)]
    #[schema(required = false)]
    place: String,
}

impl Named for Vec<FoundKey> {
    const WHAT: &str = "a list of objects with `key` and `place`";
}

body! {
    /// Keys that were found where they do not belong.
    Report as ExposedKeys {
        required {
            /// 1 to 1000.
            found: Vec<FoundKey>,
        }
        optional {
            /// `flag` (by default) marks the keys as exposed; `disable` also disables those that live.
            action: String,
        }
    }
}

/// What a found key is. The key may be alive on another secret while the one that was found is dead.
#[derive(Serialize, ToSchema)]
#[schema(as = ExposedKey)]
pub(super) struct Verdict {
    /// `unknown`: no key of this installation. Else what the secret was good for when this was asked: `active`, or
    /// `disabled`, `expired` or `revoked`; `disabled` also where this call has disabled it.
    state: &'static str,
    #[schema(required)]
    id: Option<String>,
    #[schema(required)]
    name: Option<String>,
    #[schema(required)]
    owner: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExposedKeyList)]
pub(super) struct Verdicts {
    /// In the order of the question.
    data: Vec<Verdict>,
}

/// Say of keys that were found what they are, mark them as exposed, and disable them on request.
#[utoipa::path(post, path = "/keys/exposed", operation_id = "report_exposed_keys", tag = "exposure",
    request_body = Report, responses((status = 200, body = Verdicts)))]
pub(super) async fn report(
    State(app): State<App>,
    power: Power,
    Body { value: body, .. }: Body<Report>,
) -> Result<Json<Verdicts>> {
    let mut findings = Findings::default();
    let and = action(body.action, &mut findings);
    let found = body.found.required("found", &mut findings).unwrap_or_default();
    if !(1..=MOST).contains(&found.len()) {
        findings.add("found", format!("holds 1 to {MOST} keys"));
    }
    findings.end()?;
    let mut data = Vec::with_capacity(found.len());
    for FoundKey { key, place } in &found {
        let exposed = expose(&app, &Sighting { token: key.trim(), place }, ("scan", &power.sight()), and).await?;
        data.push(exposed.map_or(Verdict { state: "unknown", id: None, name: None, owner: None }, |e| {
            let state = match (e.was_live, e.key.disabled, e.key.status.name()) {
                (true, false, _) => "active",
                (_, true, _) => "disabled",
                (false, _, "expired") => "expired",
                _ => "revoked",
            };
            Verdict { state, id: Some(e.key.id.to_string()), name: Some(e.key.name), owner: e.key.owner }
        }));
    }
    Ok(Json(Verdicts { data }))
}

fn action(field: Field<String>, findings: &mut Findings) -> ExposedAnd {
    match field.given("action", findings).as_deref() {
        None | Some("flag") => ExposedAnd::Flag,
        Some("disable") => ExposedAnd::Disable,
        Some(_) => {
            findings.add("action", "is flag or disable");
            ExposedAnd::Flag
        }
    }
}

/// Where a secret of a key was seen.
#[derive(Serialize, ToSchema)]
#[schema(as = Exposure)]
pub(super) struct ExposureView {
    /// Which of the key's secrets: the eight characters that its masked form shows.
    public_id: String,
    /// Who saw it: `github`, `scan`, or the name of a scanner.
    source: String,
    /// A URL, or a file and line.
    place: String,
    at: String,
}

impl From<Exposure> for ExposureView {
    fn from(seen: Exposure) -> Self {
        ExposureView { public_id: seen.public_id, source: seen.source, place: seen.place, at: time(seen.at) }
    }
}

/// List where a key's secrets were seen, the latest first; at most a thousand places.
#[utoipa::path(get, path = "/keys/{id}/exposures", operation_id = "list_exposures", tag = "exposure",
    params(("id" = String, Path)), responses((status = 200, body = List<ExposureView>)))]
pub(super) async fn list(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<List<ExposureView>>> {
    let seen = exposure::sightings(&app, key_id(&id)?).await?;
    Ok(Json(List { data: seen.into_iter().map(ExposureView::from).collect(), next: None }))
}
