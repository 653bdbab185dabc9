//! `GET key`: what a key is told about itself. The shape is OpenRouter's, with more in it.

use super::json;
use crate::Worker;
use crate::relay::Relay;
use anykey_core::applies::{self, Facts, Purse, Report};
use anykey_core::spend::{self, Spend, SpendLimits};
use anykey_core::{Code, Dialect, KeyId, Level, Nanos, Refusal, RequestId, Scope, Span, token};
use anykey_net::server::Answer;
use anykey_store::LiveKey;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

pub(crate) async fn about_key(worker: &Worker, key: &Arc<LiveKey>, id: RequestId) -> Result<Answer<Relay>, Refusal> {
    let Spends { own: spent, parent: parent_spent, policies } = spends(worker, key).await?;
    let info = &key.info;
    let public_id = std::str::from_utf8(&key.public_id).unwrap_or_default();
    let masked = token::masked(&worker.gateway.options.brand, info.kind, public_id);
    let now = worker.now_ms();
    let own = info.spend_limit.map(|limit| of_key(key, info.id, &info.name, (limit, spent), now));
    let parents = key.temp.as_ref().and_then(|temp| {
        Some(of_key(key, temp.parent_id, &temp.parent_name, (temp.parent_spend_limit?, parent_spent), now))
    });
    let mut purses = applies::purses(&key.bounds, &policies, now);
    purses.extend(parents.into_iter().chain(own));
    let remaining = purses.iter().filter(|purse| !purse.warn_only).map(Purse::left).min();
    let expires_at = info.expires_at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map(|t| t.to_string());
    let facts = Facts {
        name: &info.name,
        // A key that cannot be used is not answered.
        dead: None,
        scopes: info.scopes,
        browser_allowed: info.browser_allowed,
        purses,
        expires_at: expires_at.clone(),
        environment: None,
    };
    let about = AboutKey {
        id: info.id.to_string(),
        name: &info.name,
        label: masked,
        kind: info.kind.name(),
        scopes: info.scopes.iter().map(Scope::name).collect(),
        usage: dollars(spent),
        limit: info.spend_limit.and_then(dollars),
        limit_remaining: remaining.and_then(dollars),
        limit_reset: None,
        is_free_tier: false,
        expires_at,
        browser_allowed: info.browser_allowed,
        parent_id: key.temp.as_ref().map(|temp| temp.parent_id.to_string()),
        max_requests: key.temp.as_ref().and_then(|temp| temp.request_limit),
        limits: applies::report(&facts, &key.bounds, &worker.gateway.limiter),
    };
    let body = serde_json::to_vec(&Data { data: about }).unwrap_or_default();
    let mut answer = json(200, body, id, Dialect::OpenAi);
    answer.field("cache-control", b"no-store");
    Ok(answer)
}

/// A limit over all time, of the key or of that which it was minted from.
fn of_key<'k>(key: &LiveKey, id: KeyId, name: &'k str, (limit, spent): (Nanos, Nanos), now: i64) -> Purse<'k> {
    let limit = limit.saturating_add(spend::extra_of_key(&key.bounds, id, now));
    let usual = SpendLimits::default();
    let warning = spend::own(&key.bounds, id).unwrap_or(&usual).warning(spent, limit);
    let warn_only = spend::key_warns_only(&key.bounds, id);
    Purse { level: Level::Key, name, span: Span::Total, limit, spent, resets_at: None, warning, warn_only }
}

/// What was spent, as far as callers have seen it.
struct Spends {
    own: Nanos,
    /// By the key that it was minted from, whose money it spends too.
    parent: Nanos,
    /// Of each limit that a policy sets.
    policies: Vec<Spend>,
}

async fn spends(worker: &Worker, key: &LiveKey) -> Result<Spends, Refusal> {
    let gateway = worker.gateway.clone();
    let bounds = key.bounds.clone();
    let (key_id, parent_id) = (key.info.id, key.temp.as_ref().map(|temp| temp.parent_id));
    let found = worker.gateway.on_runtime(async move {
        // What callers have seen end is counted, so the flush comes first.
        gateway.ledger.flush().await.ok()?;
        let parent = match parent_id {
            Some(id) => gateway.store.spent(id).await.ok()?,
            None => Nanos::ZERO,
        };
        let policies = gateway.store.spends(&bounds).await.ok()?;
        Some(Spends { own: gateway.store.spent(key_id).await.ok()?, parent, policies })
    });
    found.await.flatten().ok_or_else(|| {
        Refusal::new(Code::LedgerUnavailable, "The spend of this key could not be looked up. Try again in a moment.")
            .retry_after(2)
    })
}

/// A JSON number of dollars, digit by digit: how a client reads it is the client's.
pub(super) fn dollars(amount: Nanos) -> Option<Box<RawValue>> {
    RawValue::from_string(amount.to_string()).ok()
}

#[derive(Serialize)]
pub(super) struct Data<T> {
    pub data: T,
}

#[derive(Serialize)]
struct AboutKey<'a> {
    id: String,
    name: &'a str,
    label: String,
    kind: &'static str,
    scopes: Vec<&'static str>,
    usage: Option<Box<RawValue>>,
    limit: Option<Box<RawValue>>,
    limit_remaining: Option<Box<RawValue>>,
    limit_reset: Option<&'static str>,
    is_free_tier: bool,
    expires_at: Option<String>,
    browser_allowed: bool,
    /// The key that it was minted from, and how many requests it may make in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_requests: Option<u64>,
    /// Whether a call would be let in now, and every control with its source, use and reset.
    limits: Report,
}
