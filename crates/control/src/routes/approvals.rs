//! `/approvals`: asking for more than a key has, and deciding on that.

use crate::App;
use crate::caller::Caller;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Field, Findings, Named, Params, PathParam, body, text};
use crate::page::{self, List};
use crate::power::Power;
use crate::precondition::{IfMatch, tagged};
use crate::problem::{Problem, Result};
use crate::routes::keys::fields;
use crate::routing::{Routes, routes};
use crate::tenancy;
use crate::wire::{DAY_MS, now_ms, read_duration, read_time, time, usd};
use anykey_core::controls::{Controls, Limits, ModelGlob};
use anykey_core::wish::Wish;
use anykey_core::{ApprovalId, KeyId, Nanos};
use anykey_store::{ApprovalFilter, ApprovalRow, ApprovalState, Asker, Decision, NewApproval};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

const LAPSES_MS: i64 = 7 * DAY_MS;
const LAPSES_AT_MOST_MS: i64 = 90 * DAY_MS;
const MOST_MODELS: usize = 32;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, ask))
        .routes(routes!(show))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(withdraw))
}

/// Limits as they are sent and shown: `rpm`, `rph`, `rpd`, `tpm`, `tpd`, `concurrency`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = Limits, value_type = Object)]
pub(crate) struct LimitsBody(Map<String, Value>);

impl Named for LimitsBody {
    const WHAT: &str = "an object such as {\"rpm\": 600}";
}

/// What is asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Wish)]
struct WishView {
    /// Patterns, to be allowed beside those that are.
    models: Vec<String>,
    limits: LimitsBody,
    #[schema(required)]
    spend_limit_usd: Option<String>,
    #[schema(required)]
    expires_at: Option<String>,
}

/// Whoever asked or decided.
#[derive(Serialize, ToSchema)]
#[schema(as = Asker)]
struct AskerView {
    /// A person, or a key.
    id: String,
    name: String,
}

/// A request for more than a key has.
#[derive(Serialize, ToSchema)]
#[schema(as = Approval)]
struct ApprovalView {
    id: String,
    organisation_id: String,
    project_id: String,
    key_id: String,
    /// What is asked for, in a few words.
    wants: String,
    wish: WishView,
    /// Why it is asked for.
    reason: String,
    asked_by: AskerView,
    /// `waiting`, `approved`, `refused`, `withdrawn`, `lapsed`, or `ended`: what was granted for a time is over.
    state: &'static str,
    /// When it lapses, if nobody has decided by then.
    lapses_at: String,
    #[schema(required)]
    decided_by: Option<AskerView>,
    #[schema(required)]
    decided_at: Option<String>,
    /// What was said with the decision.
    #[schema(required)]
    answer: Option<String>,
    /// When what was granted ends; null is never.
    #[schema(required)]
    ends_at: Option<String>,
    created_at: String,
    updated_at: String,
    /// Goes up with every change; what `If-Match` names.
    version: i64,
}

impl From<Asker> for AskerView {
    fn from(who: Asker) -> Self {
        AskerView { id: who.id, name: who.name }
    }
}

impl From<ApprovalRow> for ApprovalView {
    fn from(row: ApprovalRow) -> Self {
        let limits = match serde_json::to_value(row.wish.limits) {
            Ok(Value::Object(limits)) => LimitsBody(limits),
            _ => LimitsBody::default(),
        };
        ApprovalView {
            id: row.id.to_string(),
            organisation_id: row.organisation.to_string(),
            project_id: row.project.to_string(),
            key_id: row.key.to_string(),
            wants: row.wish.to_string(),
            wish: WishView {
                models: row.wish.models.iter().map(ToString::to_string).collect(),
                limits,
                spend_limit_usd: row.wish.spend_limit.map(|nanos| usd(Nanos(nanos))),
                expires_at: row.wish.expires_at.map(time),
            },
            reason: row.reason,
            asked_by: row.asked_by.into(),
            state: row.state.name(),
            lapses_at: time(row.lapses_at),
            decided_by: row.decided_by.map(AskerView::from),
            decided_at: row.decided_at.map(time),
            answer: row.answer,
            ends_at: row.ends_at.map(time),
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
        }
    }
}

fn answer(row: ApprovalRow) -> Response {
    let version = row.version;
    tagged(ApprovalView::from(row), version)
}

fn id_of(text: &str) -> Result<ApprovalId> {
    ApprovalId::parse(text).ok_or_else(|| Problem::not_found("request"))
}

/// Who the caller is, told from others: whoever made the key that asks is no other than who holds it.
async fn asker(app: &App, caller: &Caller) -> Result<Asker> {
    let name = caller.actor(app).name;
    let id = match caller {
        Caller::Person(_) => caller.id(),
        Caller::Key(key) => {
            let creator = app.store().key(key.info.id).await?.creator;
            creator.filter(|creator| anykey_core::PersonId::parse(creator).is_some()).unwrap_or_else(|| caller.id())
        }
    };
    Ok(Asker { id, name })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// `waiting`, `approved`, `refused`, `withdrawn`, `lapsed` or `ended`.
    state: Option<String>,
    /// The id of a key.
    key: Option<String>,
    /// An id or a slug.
    organisation: Option<String>,
    /// An id, a slug, or `organisation/slug`.
    project: Option<String>,
    /// The id of a person, or of a key that asked.
    asked_by: Option<String>,
    /// 1 to 200; 50 by default.
    limit: Option<String>,
    /// `next` of the part before.
    after: Option<String>,
}

/// List requests, the newest first.
#[utoipa::path(get, path = "/approvals", operation_id = "list_approvals", tag = "approvals", params(ListParams),
    responses((status = 200, body = List<ApprovalView>)))]
async fn list(
    State(app): State<App>,
    power: Power,
    Params(params): Params<ListParams>,
) -> Result<Json<List<ApprovalView>>> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let page = page::read(params.limit.as_deref(), params.after.as_deref(), ApprovalId::parse, f);
    let mut filter = ApprovalFilter { within: power.sight(), asked_by: params.asked_by, ..ApprovalFilter::default() };
    if let Some(text) = &params.state {
        let known = ApprovalState::from_name(text);
        filter.state = f.check("state", known.ok_or("is waiting, approved, refused, withdrawn, lapsed or ended"));
    }
    if let Some(text) = &params.key {
        filter.key = f.check("key", KeyId::parse(text).ok_or("is an id (key_...)"));
    }
    if let Some(text) = &params.organisation {
        filter.organisation = tenancy::organisation(&app, &power, "organisation", text, f).await?.map(|row| row.id);
    }
    if let Some(text) = &params.project {
        filter.project = tenancy::project(&app, &power, "project", text, f).await?.map(|row| row.id);
    }
    findings.end()?;
    Ok(page::show(app.store().approvals(&filter, page).await?, ApprovalView::from))
}

body! {
    /// A request for more than a key has. At least one of `models`, `limits`, `spend_limit_usd` and an end is named.
    Ask as NewApproval {
        required {
            /// The id of the key.
            key: String,
            /// Why, for whoever decides.
            reason: String,
        }
        optional {
            /// Patterns such as `openai/gpt-4o*`, to be allowed beside those that are.
            models: Vec<String>,
            /// Limits of at least so much.
            limits: LimitsBody,
            /// A spend limit of so much.
            spend_limit_usd: String,
            /// To live until then.
            expires_at: String,
            /// To live so long from now: `90d`.
            expires_in: String,
            /// How long it waits for a decision: `7d` by default, at most `90d`.
            lapses_in: String,
        }
    }
}

/// Ask for more than a key has. What anything above the key forbids is refused at once.
#[utoipa::path(post, path = "/approvals", operation_id = "ask_approval", tag = "approvals", request_body = Ask,
    params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = ApprovalView)))]
async fn ask(State(app): State<App>, caller: Caller, power: Power, once: Once, body: Body<Ask>) -> Result<Response> {
    let mut findings = Findings::default();
    let f = &mut findings;
    let key = body.value.key.required("key", f);
    let key = key.and_then(|text| f.check("key", KeyId::parse(&text).ok_or("is an id (key_...)")));
    let reason = body.value.reason.required("reason", f);
    let reason = text("reason", reason, 2_000, f).unwrap_or_default();
    if reason.trim().is_empty() {
        f.add("reason", "says why, for whoever decides");
    }
    let wish = Wish {
        models: models(body.value.models, f),
        limits: limits(body.value.limits, f),
        spend_limit: spend(body.value.spend_limit_usd, f),
        expires_at: fields::expiry(body.value.expires_at, body.value.expires_in, f).flatten(),
    };
    let lapses = match body.value.lapses_in.given("lapses_in", f) {
        Some(text) => f.check("lapses_in", read_duration(&text)),
        None => Some(LAPSES_MS),
    };
    let lapses = f.check("lapses_in", lapses.filter(|ms| *ms <= LAPSES_AT_MOST_MS).ok_or("is at most 90d"));
    if wish.is_empty() {
        f.add("models", "or limits, spend_limit_usd or an end is required");
    }
    findings.end()?;
    // A key that they do not reach is none.
    let place = match key {
        Some(key) => app.store().place_of_key(key).await?,
        None => None,
    };
    if !place.is_some_and(|place| power.sight().covers(&place)) {
        return Err(Problem::not_found("key"));
    }
    let asked_by = asker(&app, &caller).await?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let Some(key) = key else { return Err(Problem::not_found("key")) };
        let lapses_at = now_ms().saturating_add(lapses.unwrap_or(LAPSES_MS));
        let row = work.store().ask_approval(NewApproval { key, wish, reason, asked_by, lapses_at }).await?;
        Reply::new(StatusCode::CREATED, &ApprovalView::from(row))
    })
    .await
}

/// Show a request.
#[utoipa::path(get, path = "/approvals/{id}", operation_id = "show_approval", tag = "approvals",
    params(("id" = String, Path)), responses((status = 200, body = ApprovalView)))]
async fn show(State(app): State<App>, PathParam(id): PathParam) -> Result<Response> {
    Ok(answer(app.store().approval(id_of(&id)?).await?))
}

body! {
    /// A grant.
    Approve as Approve {
        required {}
        optional {
            /// The key goes back to what it was then.
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
async fn approve(
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
    let key = app.store().approval(id).await?.key;
    power.require(&app.store().place_of_key(key).await?.ok_or_else(|| Problem::not_found("key"))?)?;
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
async fn refuse(
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
async fn withdraw(State(app): State<App>, caller: Caller, PathParam(id): PathParam) -> Result<Response> {
    let id = id_of(&id)?;
    let by = asker(&app, &caller).await?;
    Ok(answer(app.store().withdraw_approval(id, &by.id).await?))
}

fn models(field: Field<Vec<String>>, findings: &mut Findings) -> Vec<ModelGlob> {
    let names = field.given("models", findings).unwrap_or_default();
    if names.len() > MOST_MODELS {
        findings.add("models", format!("has at most {MOST_MODELS} entries"));
    }
    let read = names.iter().map(|name| ModelGlob::parse(name).map_err(|why| why.to_string())).collect();
    findings.check("models", read).unwrap_or_default()
}

fn limits(field: Field<LimitsBody>, findings: &mut Findings) -> Limits {
    let sent = field.given("limits", findings).unwrap_or_default();
    let read = serde_json::from_value::<Controls>(json!({ "limits": sent.0 }));
    findings.check("limits", read.map_err(|error| format!("is wrong: {error}"))).unwrap_or_default().limits
}

fn spend(field: Field<String>, findings: &mut Findings) -> Option<i64> {
    let text = field.given("spend_limit_usd", findings)?;
    let read = Nanos::parse_usd(&text).map_err(|why| format!("is wrong: {why}"));
    findings.check("spend_limit_usd", read).map(|amount| amount.0)
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
