//! `/audit`: who did what to what; lists, exports, and whether the log is as it was written.

mod export;
mod view;

use crate::App;
use crate::input::{Findings, Params};
use crate::page::{self, List};
use crate::power::Power;
use crate::problem::Result;
use crate::routing::{Routes, routes};
use crate::tenancy;
use crate::wire::read_time;
use anykey_store::{AuditFilter, AuditReport, ObjectKind, Verb};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use view::EntryView;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(export::export)).routes(routes!(verify))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// What was done, such as `key.disable`; several, with commas.
    verb: Option<String>,
    /// What kind of thing was changed: `key`, `provider`, `alias` and so on.
    kind: Option<String>,
    /// The id of what was changed.
    object: Option<String>,
    /// The id of who changed it.
    actor: Option<String>,
    /// Only what was done in this organisation: an id or a slug.
    organisation: Option<String>,
    /// A time or a date, included.
    from: Option<String>,
    /// A time or a date, not included.
    to: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// The part of a query that says which entries.
struct Wanted {
    verb: Option<String>,
    kind: Option<String>,
    object: Option<String>,
    actor: Option<String>,
    organisation: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl Wanted {
    /// Reads the filter, of what the caller reaches.
    async fn read(self, app: &App, power: &Power, findings: &mut Findings) -> Result<AuditFilter> {
        let organisation = match &self.organisation {
            Some(text) => tenancy::organisation(app, power, "organisation", text, findings).await?,
            None => None,
        };
        let organisation = organisation.map(|row| row.id.to_string());
        let mut verbs = Vec::new();
        for name in self.verb.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
            match Verb::from_name(name) {
                Some(verb) => verbs.push(verb),
                None => findings.add("verb", "has verbs such as key.create and provider.update, with commas"),
            }
        }
        let object_kind = self.kind.and_then(|text| {
            let names = ObjectKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
            findings.check("kind", ObjectKind::from_name(&text).ok_or_else(|| format!("is one of {names}")))
        });
        let mut time = |name, text: Option<String>| text.and_then(|text| findings.check(name, read_time(&text)));
        let (from, to) = (time("from", self.from), time("to", self.to));
        let within = power.sight();
        Ok(AuditFilter { verbs, object_kind, object: self.object, actor: self.actor, from, to, organisation, within })
    }
}

/// List what was changed, the newest first.
#[utoipa::path(get, path = "/audit", operation_id = "list_audit", tag = "audit", params(ListParams),
    responses((status = 200, body = List<EntryView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<EntryView>>> {
    let mut findings = Findings::default();
    let cursor = |text: &str| text.parse::<i64>().ok().filter(|seq| *seq > 0);
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), cursor, &mut findings);
    let ListParams { verb, kind, object, actor, organisation, from, to, .. } = params;
    let wanted = Wanted { verb, kind, object, actor, organisation, from, to };
    let filter = wanted.read(&app, &power, &mut findings).await?;
    findings.end()?;
    Ok(page::show(app.store().audit(&filter, page).await?, EntryView::from))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct VerifyParams {
    /// The number of an entry that was noted earlier, together with `hash`.
    seq: Option<String>,
    /// Its hash, as 64 hexadecimal digits.
    hash: Option<String>,
}

/// What became of the log.
#[derive(Serialize, ToSchema)]
struct AuditVerified {
    /// Whether every entry is as it was written and none is missing.
    ok: bool,
    /// Entries that are as they were written, from the first on.
    count: i64,
    /// The hash of the last of them. Noted somewhere else, it can be asked for later.
    head_hash: String,
    #[schema(required)]
    broken: Option<AuditBroken>,
    /// Entries by which the server told that it found the end of the log damaged.
    alarms: Vec<i64>,
}

/// The first thing that is wrong with the log.
#[derive(Serialize, ToSchema)]
struct AuditBroken {
    /// `missing`, `altered`, `beyond`, `head` or `not_noted`.
    kind: &'static str,
    /// The entry at which it shows.
    #[schema(required)]
    seq: Option<i64>,
    message: String,
}

impl From<AuditReport> for AuditVerified {
    fn from(report: AuditReport) -> Self {
        AuditVerified {
            ok: report.is_whole(),
            count: report.count,
            head_hash: report.head_hash,
            broken: report.broken.map(|found| AuditBroken {
                kind: found.name(),
                seq: found.seq(),
                message: found.to_string(),
            }),
            alarms: report.alarms,
        }
    }
}

/// Read the whole log and check that nothing in it was altered, moved or taken away.
#[utoipa::path(get, path = "/audit/verify", operation_id = "verify_audit", tag = "audit", params(VerifyParams),
    responses((status = 200, body = AuditVerified)))]
async fn verify(State(app): State<App>, Params(params): Params<VerifyParams>) -> Result<Json<AuditVerified>> {
    let mut findings = Findings::default();
    let seq = params.seq.map(|text| text.parse::<i64>().map_err(|_| "is the number of an entry"));
    let seq = seq.and_then(|seq| findings.check("seq", seq));
    let hash = params.hash.map(|text| anykey_store::read_hash(&text).ok_or("is 64 hexadecimal digits"));
    let hash = hash.and_then(|hash| findings.check("hash", hash));
    if seq.is_some() != hash.is_some() {
        findings.add("hash", "and seq are given together");
    }
    findings.end()?;
    Ok(Json(app.store().verify_audit(seq.zip(hash)).await?.into()))
}
