//! An attempt as it is shown.

use crate::wire::{millis, some, time, usd};
use anykey_core::record::AttemptRecord;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One attempt at one call.
#[derive(Serialize, ToSchema)]
#[schema(as = Request)]
pub(crate) struct RequestView {
    request_id: String,
    /// 0 for a refusal before anything was sent; 1, 2, ... for attempts at providers.
    attempt: u8,
    key_id: String,
    #[schema(required)]
    key_name: Option<String>,
    endpoint: &'static str,
    dialect: &'static str,
    stream: bool,
    /// Null where none was reached.
    #[schema(required)]
    provider: Option<String>,
    /// As the caller wrote it.
    #[schema(required)]
    model_asked: Option<String>,
    #[schema(required)]
    model_sent: Option<String>,
    /// As the provider named it in its answer.
    #[schema(required)]
    model_served: Option<String>,
    /// What the caller got; 0 where they got none.
    status: u16,
    outcome: &'static str,
    /// The code of a refusal.
    #[schema(required)]
    code: Option<&'static str>,
    /// Counts by unit. The units are disjoint.
    usage: BTreeMap<&'static str, u64>,
    /// `reported`, `estimated` or `none`.
    usage_source: &'static str,
    /// Null says unpriced, which is not the same as free.
    #[schema(required)]
    cost_usd: Option<String>,
    /// What was set aside for it.
    hold_usd: String,
    /// The version of the price.
    #[schema(required)]
    price_id: Option<u64>,
    started_at: String,
    #[schema(required)]
    first_byte_ms: Option<f64>,
    total_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    /// The provider's own id of the request.
    #[schema(required)]
    upstream_id: Option<String>,
    /// The caller's address.
    #[schema(required)]
    client: Option<String>,
}

impl RequestView {
    pub fn new(record: &AttemptRecord, key_name: Option<String>) -> Self {
        RequestView {
            request_id: record.request.to_string(),
            attempt: record.attempt,
            key_id: record.key.to_string(),
            key_name,
            endpoint: record.endpoint.name(),
            dialect: record.dialect.name(),
            stream: record.stream,
            provider: some(&record.provider),
            model_asked: some(&record.model_asked),
            model_sent: some(&record.model_sent),
            model_served: some(&record.model_served),
            status: record.status,
            outcome: record.outcome.name(),
            code: (!record.code.is_empty()).then_some(record.code),
            usage: record.usage.iter().map(|(unit, count)| (unit.name(), count)).collect(),
            usage_source: record.usage_source.name(),
            cost_usd: record.cost.map(usd),
            hold_usd: usd(record.hold),
            price_id: (record.price_id != 0).then_some(record.price_id),
            started_at: time(record.started_at),
            first_byte_ms: (record.first_byte_us != 0).then(|| millis(record.first_byte_us)),
            total_ms: millis(record.total_us),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            upstream_id: some(&record.upstream_id),
            client: record.client.map(|ip| ip.to_string()),
        }
    }
}
