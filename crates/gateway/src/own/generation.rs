//! `GET generation/{id}`: what became of a call, by the request id of its answer. The shape is OpenRouter's, with more
//! in it. A key sees its own calls only.

use super::about_key::{Data, dollars};
use super::json;
use crate::Worker;
use crate::relay::Relay;
use anykey_core::endpoint::{Route, percent_decode};
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{Code, Dialect, Refusal, RequestId, Unit};
use anykey_net::server::Answer;
use anykey_store::{LiveKey, StoreError};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) async fn generation(
    worker: &Worker,
    key: &Arc<LiveKey>,
    route: &Route,
    query: &str,
    id: RequestId,
) -> Result<Answer<Relay>, Refusal> {
    let asked = match &route.subject {
        Some(subject) => Some(subject.clone()),
        None => query.split('&').find_map(|pair| pair.strip_prefix("id=")).and_then(percent_decode),
    };
    let asked = asked.ok_or_else(|| {
        Refusal::new(Code::InvalidParameter, "Name the call: GET generation/{id}, with the x-request-id of its answer.")
            .param("id")
    })?;
    let wanted = RequestId::parse(&asked).ok_or_else(not_found)?;
    let gateway = worker.gateway.clone();
    let found = worker
        .gateway
        .on_runtime(async move {
            let _ = gateway.ledger.flush().await;
            gateway.store.request(wanted).await
        })
        .await;
    let attempts = match found {
        Some(Ok(rows)) => rows,
        Some(Err(StoreError::NotFound(_))) => return Err(not_found()),
        Some(Err(_)) | None => {
            return Err(Refusal::new(
                Code::LedgerUnavailable,
                "The record could not be looked up. Try again in a moment.",
            )
            .retry_after(2));
        }
    };
    // Another key's call answers like one that does not exist.
    let last = attempts.last().map(|row| &row.record).filter(|r| r.key == key.info.id).ok_or_else(not_found)?;
    let mut answer = json(200, shown(last, attempts.len()), id, Dialect::OpenAi);
    answer.field("cache-control", b"no-store");
    Ok(answer)
}

fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "No call of this key has that id. It is the x-request-id of the call's answer.")
        .param("id")
}

fn shown(record: &AttemptRecord, attempts: usize) -> Vec<u8> {
    let (input, output) = (record.usage.input_tokens(), record.usage.output_tokens());
    let about = Generation {
        id: record.request.to_string(),
        created_at: jiff::Timestamp::from_millisecond(record.started_at).ok().map(|t| t.to_string()),
        model: &record.model_asked,
        model_sent: &record.model_sent,
        model_served: &record.model_served,
        provider_name: &record.provider,
        endpoint: record.endpoint.name(),
        api_type: record.dialect.name(),
        streamed: record.stream,
        cancelled: record.outcome == Outcome::ClientGone,
        outcome: record.outcome.name(),
        status: record.status,
        attempts,
        tokens_prompt: input,
        tokens_completion: output,
        native_tokens_prompt: input,
        native_tokens_completion: output,
        native_tokens_reasoning: record.usage.get(Unit::Reasoning),
        native_tokens_cached: record.usage.get(Unit::CacheRead),
        usage_by_unit: record.usage.iter().map(|(unit, n)| (unit.name(), n)).collect(),
        usage_source: record.usage_source.name(),
        total_cost: record.cost.and_then(dollars),
        usage: record.cost.and_then(dollars),
        latency: record.first_byte_us / 1000,
        generation_time: record.total_us.saturating_sub(record.first_byte_us) / 1000,
        upstream_id: &record.upstream_id,
    };
    serde_json::to_vec(&Data { data: about }).unwrap_or_default()
}

#[derive(Serialize)]
struct Generation<'a> {
    id: String,
    created_at: Option<String>,
    model: &'a str,
    model_sent: &'a str,
    model_served: &'a str,
    provider_name: &'a str,
    endpoint: &'static str,
    api_type: &'static str,
    streamed: bool,
    cancelled: bool,
    outcome: &'static str,
    status: u16,
    attempts: usize,
    tokens_prompt: u64,
    tokens_completion: u64,
    native_tokens_prompt: u64,
    native_tokens_completion: u64,
    native_tokens_reasoning: u64,
    native_tokens_cached: u64,
    usage_by_unit: BTreeMap<&'static str, u64>,
    usage_source: &'static str,
    /// Dollars; null where the model has no price.
    total_cost: Option<Box<RawValue>>,
    usage: Option<Box<RawValue>>,
    /// Milliseconds to the first byte, and from there to the end.
    latency: u64,
    generation_time: u64,
    upstream_id: &'a str,
}
