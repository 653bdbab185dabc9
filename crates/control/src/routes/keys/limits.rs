//! What applies to a key: the verdict first, then every control with its source, use and reset.

use super::key_id;
use crate::App;
use crate::input::PathParam;
use crate::problem::Result;
use crate::wire::time;
use anykey_core::applies::{self, Amount, Applied, Facts, Purse, RefusedBy, Report};
use anykey_core::{Code, Level, Refusal, Span};
use anykey_store::{KeyRow, KeyStatus};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether a call with the key would be let in now, and what bounds it.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyLimits)]
pub(crate) struct LimitsView {
    /// Whether a call that comes now, from an address and to a model that the lists allow, would be let in.
    allowed: bool,
    /// The same in a sentence.
    verdict: String,
    /// The control that would refuse it.
    #[schema(required)]
    refused_by: Option<RefusedView>,
    /// Outermost first.
    controls: Vec<ControlView>,
}

/// The control that would refuse a call now.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusedBy)]
pub(crate) struct RefusedView {
    control: &'static str,
    level: &'static str,
    name: String,
    /// The code that the call would get.
    code: &'static str,
    /// Seconds until it would be let in, where that is only a question of time.
    #[schema(required)]
    retry_after: Option<u32>,
}

/// One control and how it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyControl)]
pub(crate) struct ControlView {
    /// `rpm`, `rph`, `rpd`, `tpm`, `tpd`, `concurrency`, `models`, `routing`, `endpoints`, `scopes`, `ips`, `browser`,
    /// `environment`, `expires_at`, `spend_limit`, `spend.day`, `spend.week` or `spend.month`.
    control: &'static str,
    /// Where it is set: `installation`, `organisation`, `project`, `member`, `service_account` or `key`.
    level: &'static str,
    /// The name of what it is set on.
    name: String,
    /// The models that a limit is for, where it is not for all.
    #[schema(required)]
    models: Option<String>,
    /// What a list says.
    #[schema(required)]
    value: Option<String>,
    #[schema(required)]
    limit: Option<AmountView>,
    #[schema(required)]
    used: Option<AmountView>,
    #[schema(required)]
    remaining: Option<AmountView>,
    /// Seconds until nothing of the limit is used any more.
    #[schema(required)]
    resets_in: Option<u64>,
    /// The moment, of a window of the calendar.
    #[schema(required)]
    resets_at: Option<String>,
    /// The largest share of a limit of money, in percent, that is used up and worth a warning.
    #[schema(required)]
    warning: Option<u8>,
    /// A limit of money that warns and refuses nothing.
    warn_only: bool,
}

/// A count as a number, or dollars as text.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Amount)]
pub(crate) enum AmountView {
    Count(u64),
    Usd(String),
}

impl From<Amount> for AmountView {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Count(n) => AmountView::Count(n),
            Amount::Usd(usd) => AmountView::Usd(usd),
        }
    }
}

impl From<Report> for LimitsView {
    fn from(report: Report) -> Self {
        let Report { allowed, verdict, refused_by, controls } = report;
        let refused = |RefusedBy { control, level, name, code, retry_after }| RefusedView {
            control,
            level,
            name,
            code,
            retry_after,
        };
        let control = |Applied {
                           control,
                           level,
                           name,
                           models,
                           value,
                           limit,
                           used,
                           remaining,
                           resets_in,
                           resets_at,
                           warning,
                           warn_only,
                       }| {
            ControlView {
                control,
                level,
                name,
                models,
                value,
                limit: limit.map(AmountView::from),
                used: used.map(AmountView::from),
                remaining: remaining.map(AmountView::from),
                resets_in,
                resets_at,
                warning,
                warn_only,
            }
        };
        LimitsView {
            allowed,
            verdict,
            refused_by: refused_by.map(refused),
            controls: controls.into_iter().map(control).collect(),
        }
    }
}

/// What applies to a key: whether a call would be let in now, and every control with its source, use and reset.
#[utoipa::path(get, path = "/keys/{id}/limits", operation_id = "key_limits", tag = "keys",
    params(("id" = String, Path)), responses((status = 200, body = LimitsView)))]
pub(super) async fn limits(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<LimitsView>> {
    let id = key_id(&id)?;
    // The spend is shown as the caller saw it end; the rest is in memory and does not wait for the books.
    let _ = app.settle().await;
    let key = app.store().key(id).await?;
    let parent = match key.parent_id {
        Some(id) => Some(app.store().key(id).await?),
        None => None,
    };
    let bounds = app.store().bounds_of(&key).await?;
    let now = crate::wire::now_ms();
    let mut purses = applies::purses(&bounds, &app.store().spends(&bounds).await?, now);
    purses.extend(parent.as_ref().into_iter().chain([&key]).filter_map(|key| purse(key, now)));
    let facts = Facts {
        name: &key.name,
        dead: dead(&key),
        scopes: key.scopes,
        browser_allowed: key.browser_allowed,
        purses,
        expires_at: key.expires_at.map(time),
        environment: key.environment.as_deref(),
    };
    Ok(Json(applies::report(&facts, &bounds, &app.deps.limiter).into()))
}

fn purse(key: &KeyRow, now: i64) -> Option<Purse<'_>> {
    let limit = key.spend_limit?.saturating_add(key.controls.spend.extra(Span::Total, now));
    let warning = key.controls.spend.warning(key.spent, limit);
    let (name, spent) = (key.name.as_str(), key.spent);
    let warn_only = key.controls.spend.warn_only.contains(Span::Total);
    Some(Purse { level: Level::Key, name, span: Span::Total, limit, spent, resets_at: None, warning, warn_only })
}

/// Why no call can be made with the key, whatever it asks for.
fn dead(key: &KeyRow) -> Option<Refusal> {
    let name = &key.name;
    match (key.status, &key.closed_by) {
        (KeyStatus::Revoked, _) => {
            Some(Refusal::new(Code::KeyRevoked, format!("The API key `{name}` was deleted. Make a new one.")))
        }
        (KeyStatus::Disabled, _) if key.disabled => Some(Refusal::new(
            Code::KeyDisabled,
            format!("The API key `{name}` is disabled. Its owner or an admin can enable it."),
        )),
        (KeyStatus::Expired, _) => Some(Refusal::new(
            Code::KeyExpired,
            format!("The API key `{name}` has expired. Give it a longer life, or make a new one."),
        )),
        (_, Some(above)) => Some(Refusal::new(
            Code::KeyDisabled,
            format!("The API key `{name}` cannot be used: {above}, which is above it, is disabled or gone."),
        )),
        _ => None,
    }
}
