//! Asking for more than a key has, or for a key that one may not make.

use super::asker;
use super::view::ApprovalView;
use crate::App;
use crate::caller::Caller;
use crate::idempotency::{Once, Reply};
use crate::input::{Body, Field, Findings, Named, body, text};
use crate::power::Power;
use crate::problem::{Problem, Result};
use crate::routes::keys::{fields, make::place};
use crate::wire::{DAY_MS, now_ms, read_duration};
use anykey_core::controls::{Controls, Limits, ModelGlob};
use anykey_core::wish::Wish;
use anykey_core::{KeyId, Nanos, OwnerId, Place, Placement, Scopes};
use anykey_store::{About, KeyWish, NewApproval};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

const LAPSES_MS: i64 = 7 * DAY_MS;
const LAPSES_AT_MOST_MS: i64 = 90 * DAY_MS;
const MOST_MODELS: usize = 32;

/// Limits as they are sent and shown: `rpm`, `rph`, `rpd`, `tpm`, `tpd`, `concurrency`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = Limits, value_type = Object)]
pub(crate) struct LimitsBody(pub(super) Map<String, Value>);

impl Named for LimitsBody {
    const WHAT: &str = "an object such as {\"rpm\": 600}";
}

body! {
    /// A request: with the id of a `key` that shall have more, or the `name` of one that is to be made for whoever asks. For
    /// more, at least one of `models`, `limits`, `spend_limit_usd` and an end is named.
    Ask as NewApproval {
        required {
            /// Why, for whoever decides.
            reason: String,
        }
        optional {
            /// The id of the key that shall have more.
            key: String,
            /// How the key shall be called that is to be made.
            name: String,
            /// Of a key to be made: an id, a slug, or `organisation/slug`; the default project where nothing is said.
            project: String,
            /// Of a key to be made.
            description: String,
            /// Of a key to be made.
            environment: String,
            /// Of a key to be made.
            tags: BTreeMap<String, String>,
            /// Of a key to be made: where its secret will be stored.
            note: String,
            /// Of a key to be made: when somebody shall look at it again.
            review_at: String,
            /// Of a key to be made: how often it shall be rotated.
            rotation_interval_days: i64,
            /// Patterns such as `openai/gpt-4o*`, to be allowed beside those that are, or alone for a key to be made.
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

/// Ask for more than a key has, or for a key. What anything above it forbids is refused at once.
#[utoipa::path(post, path = "/approvals", operation_id = "ask_approval", tag = "approvals", request_body = Ask,
    params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = ApprovalView)))]
pub(super) async fn ask(
    State(app): State<App>,
    caller: Caller,
    power: Power,
    once: Once,
    body: Body<Ask>,
) -> Result<Response> {
    let mut findings = Findings::default();
    let asked = body.value.read(&app, &power, &mut findings).await?;
    findings.end()?;
    let Some(Asked { about, wish, reason, lapses }) = asked else { return Err(Problem::not_found("key")) };
    // A key that they do not reach is none; one that is to be made is where they may ask.
    match &about {
        About::Key(id) => {
            let place = app.store().place_of_key(*id).await?;
            if !place.is_some_and(|place| power.sight().covers(&place)) {
                return Err(Problem::not_found("key"));
            }
        }
        About::New(placement, _) => power.require(&Place::of_key(Scopes::DEFAULT, placement))?,
    }
    let asked_by = asker(&app, &caller).await?;
    let work = app.clone();
    once.run(&app, &body.raw, async move {
        let lapses_at = now_ms().saturating_add(lapses);
        let row = work.store().ask_approval(NewApproval { about, wish, reason, asked_by, lapses_at }).await?;
        Reply::new(StatusCode::CREATED, &ApprovalView::from(row))
    })
    .await
}

/// What a body says.
struct Asked {
    about: About,
    wish: Wish,
    reason: String,
    lapses: i64,
}

impl Ask {
    /// `None` only beside a finding.
    async fn read(self, app: &App, power: &Power, f: &mut Findings) -> Result<Option<Asked>> {
        let reason = self.reason.required("reason", f);
        let reason = text("reason", reason, 2_000, f).unwrap_or_default();
        if reason.trim().is_empty() {
            f.add("reason", "says why, for whoever decides");
        }
        let wish = Wish {
            models: models(self.models, f),
            limits: limits(self.limits, f),
            spend_limit: spend(self.spend_limit_usd, f),
            expires_at: fields::expiry(self.expires_at, self.expires_in, f).flatten(),
        };
        let lapses = match self.lapses_in.given("lapses_in", f) {
            Some(text) => f.check("lapses_in", read_duration(&text)),
            None => Some(LAPSES_MS),
        };
        let lapses = f.check("lapses_in", lapses.filter(|ms| *ms <= LAPSES_AT_MOST_MS).ok_or("is at most 90d"));
        let project = fields::label(self.project, "project", f).flatten();
        let new = KeyWish {
            name: String::new(),
            description: fields::long(self.description, "description", f).unwrap_or_default(),
            environment: fields::label(self.environment, "environment", f).flatten(),
            tags: fields::tags(self.tags, f).unwrap_or_default(),
            note: fields::long(self.note, "note", f).unwrap_or_default(),
            review_at: fields::review(self.review_at, f).flatten(),
            rotation_interval_ms: fields::rotation(self.rotation_interval_days, f).flatten(),
        };
        let about = match (self.key.given("key", f), self.name.given("name", f)) {
            (Some(key), None) => {
                if project.is_some() || new != KeyWish::default() {
                    f.add("key", "is there already, so nothing is said of what it is: project, description, tags, ...");
                }
                if wish.is_empty() {
                    f.add("models", "or limits, spend_limit_usd or an end is required");
                }
                f.check("key", KeyId::parse(&key).ok_or("is an id (key_...)")).map(About::Key)
            }
            (None, Some(name)) => {
                let name = fields::name(Some(name), f).unwrap_or_default();
                wanted(app, power, project, KeyWish { name, ..new }, f).await?
            }
            _ => {
                f.add("key", "or name is required, one of the two: a key that shall have more, or one to be made");
                None
            }
        };
        Ok(about.zip(lapses).map(|(about, lapses)| Asked { about, wish, reason, lapses }))
    }
}

/// A key to be made for whoever asks.
async fn wanted(
    app: &App,
    power: &Power,
    project: Option<String>,
    key: KeyWish,
    findings: &mut Findings,
) -> Result<Option<About>> {
    let mut placement = Placement::default();
    if !place(app, power, project, &mut placement, findings).await? {
        return Ok(None);
    }
    placement.owner = power.grant().membership_in(placement.organisation).map(OwnerId::Member);
    if placement.owner.is_none() {
        findings.add("name", "is asked for by members of the organisation, for themselves; others make the key");
        return Ok(None);
    }
    Ok(Some(About::New(placement, key)))
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
