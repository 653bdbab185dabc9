//! An attempt as a row of `usage`: written by the books, read by lists.

use crate::db::{FromRow, Row, Value, damaged};
use crate::error::Result;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::usage::UsageSource;
use anykey_core::{Code, Dialect, Endpoint, KeyId, Nanos, RequestId, Unit, Usage};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) const COLUMNS: usize = 31;
/// In the order in which [`columns`] binds them and [`StoredRecord`] reads them.
pub(crate) const NAMES: &str = "request, attempt, key_id, secret, endpoint, dialect, stream, provider, model_asked, \
     model_sent, model_served, status, outcome, code, input, cache_read, cache_write_5m, output, reasoning, \
     other_units, usage_source, cost, hold, price_id, started_at, first_byte_us, total_us, bytes_in, bytes_out, \
     upstream_id, client";

/// Units with columns of their own, in the order of the columns; the rest is in `other_units`.
const HOT: [Unit; 5] = [Unit::Input, Unit::CacheRead, Unit::CacheWrite5m, Unit::Output, Unit::Reasoning];
const SOURCES: [UsageSource; 3] = [UsageSource::None, UsageSource::Reported, UsageSource::Estimated];

/// Appends the columns of one row.
pub(crate) fn columns(record: &AttemptRecord, values: &mut Vec<Value>) {
    values.extend([
        Value::from(&record.request.0),
        Value::from(i64::from(record.attempt)),
        Value::from(&record.key.0),
        Value::from(&record.secret),
        Value::from(record.endpoint as i64),
        Value::from(record.dialect as i64),
        Value::from(record.stream),
        text_or_null(&record.provider),
        text_or_null(&record.model_asked),
        text_or_null(&record.model_sent),
        text_or_null(&record.model_served),
        Value::from(i64::from(record.status)),
        Value::from(record.outcome as i64),
        if record.code.is_empty() { Value::Text(None) } else { Value::from(record.code) },
    ]);
    values.extend(HOT.map(|unit| count(record.usage.get(unit))));
    values.extend([
        other_units(&record.usage, record.usage_source),
        Value::from(record.usage_source as i64),
        Value::from(record.cost.map(|n| n.0)),
        Value::from(record.hold.0),
        // A version is bits, not a count: all 64 are kept.
        Value::from(record.price_id.cast_signed()),
        Value::from(record.started_at),
        count(record.first_byte_us),
        count(record.total_us),
        count(record.bytes_in),
        count(record.bytes_out),
        text_or_null(&record.upstream_id),
        Value::from(record.client),
    ]);
}

fn text_or_null(text: &Arc<str>) -> Value {
    if text.is_empty() { Value::Text(None) } else { Value::from(text) }
}

fn count(n: u64) -> Value {
    Value::from(i64::try_from(n).unwrap_or(i64::MAX))
}

/// `{"image_in":12}`, or NULL where there are none but what [`implied_requests`] says.
fn other_units(usage: &Usage, source: UsageSource) -> Value {
    let requests = usage.get(Unit::Request);
    let told = |unit: Unit| !HOT.contains(&unit) && (unit != Unit::Request || requests != implied_requests(source));
    let mut others: BTreeMap<&str, u64> =
        usage.iter().filter(|(unit, _)| told(*unit)).map(|(unit, n)| (unit.name(), n)).collect();
    if requests == 0 && told(Unit::Request) {
        others.insert(Unit::Request.name(), 0);
    }
    if others.is_empty() { Value::Text(None) } else { Value::from(serde_json::to_string(&others).unwrap_or_default()) }
}

/// Nearly every attempt that used anything was one request, so that is not written down for each.
fn implied_requests(source: UsageSource) -> u64 {
    u64::from(source != UsageSource::None)
}

/// A row of `usage`.
pub(crate) struct StoredRecord(pub AttemptRecord);

impl FromRow for StoredRecord {
    fn from_row(row: &mut Row) -> Result<Self> {
        let others: Option<String>;
        let mut record = AttemptRecord {
            request: RequestId(row.bytes()?),
            attempt: number(row)?,
            key: KeyId(row.bytes()?),
            secret: row.bytes::<PUBLIC_ID_LEN>()?,
            endpoint: one_of(row, &Endpoint::ALL)?,
            dialect: one_of(row, &Dialect::ALL)?,
            stream: row.take()?,
            provider: text(row)?,
            model_asked: text(row)?,
            model_sent: text(row)?,
            model_served: text(row)?,
            status: number(row)?,
            outcome: one_of(row, &Outcome::ALL)?,
            code: code(row.take()?),
            usage: hot_units(row)?,
            usage_source: {
                others = row.take()?;
                one_of(row, &SOURCES)?
            },
            cost: row.take::<Option<i64>>()?.map(Nanos),
            hold: Nanos(row.take()?),
            price_id: row.take::<i64>()?.cast_unsigned(),
            started_at: row.take()?,
            first_byte_us: number(row)?,
            total_us: number(row)?,
            bytes_in: number(row)?,
            bytes_out: number(row)?,
            upstream_id: text(row)?,
            client: row.take::<Option<String>>()?.and_then(|ip| ip.parse::<IpAddr>().ok()),
        };
        add_others(&mut record, others)?;
        Ok(StoredRecord(record))
    }
}

fn number<T: TryFrom<i64>>(row: &mut Row) -> Result<T> {
    row.take::<i64>()?.try_into().map_err(|_| damaged("a number is out of its range"))
}

fn one_of<T: Copy>(row: &mut Row, all: &[T]) -> Result<T> {
    all.get(number::<usize>(row)?).copied().ok_or_else(|| damaged("a number is not one of its closed set"))
}

fn text(row: &mut Row) -> Result<Arc<str>> {
    Ok(row.take::<Option<String>>()?.unwrap_or_default().into())
}

/// Codes are a closed list; one that another release wrote is not in ours.
fn code(text: Option<String>) -> &'static str {
    text.map_or("", |text| Code::from_name(&text).map_or("unknown", Code::name))
}

fn hot_units(row: &mut Row) -> Result<Usage> {
    let mut usage = Usage::default();
    for unit in HOT {
        usage.set(unit, number(row)?);
    }
    Ok(usage)
}

fn add_others(record: &mut AttemptRecord, json: Option<String>) -> Result<()> {
    record.usage.set(Unit::Request, implied_requests(record.usage_source));
    let Some(json) = json else { return Ok(()) };
    let others: BTreeMap<String, u64> =
        serde_json::from_str(&json).map_err(|_| damaged("an attempt's units are not a JSON object"))?;
    // Units that another release wrote and that this one does not know are left out.
    others.iter().filter_map(|(name, n)| Some((Unit::from_name(name)?, *n))).for_each(|(u, n)| record.usage.set(u, n));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows hold these numbers, so a variant that moved would change the meaning of what is stored.
    #[test]
    fn numbers_of_closed_sets_are_their_places() {
        assert!(Endpoint::ALL.into_iter().enumerate().all(|(i, e)| e as usize == i));
        assert!(Dialect::ALL.into_iter().enumerate().all(|(i, d)| d as usize == i));
        assert!(Outcome::ALL.into_iter().enumerate().all(|(i, o)| o as usize == i));
        assert!(SOURCES.into_iter().enumerate().all(|(i, s)| s as usize == i));
        assert_eq!(
            (
                Endpoint::Generation as u8,
                Dialect::Gemini as u8,
                Outcome::Unresolved as u8,
                UsageSource::Estimated as u8
            ),
            (14, 2, 7, 2)
        );
    }

    /// What is not written down must be what was; a record that says otherwise is written as it is.
    #[test]
    fn requests_are_written_only_where_they_are_not_implied() {
        let written = |requests, source| match other_units(&Usage::default().with(Unit::Request, requests), source) {
            Value::Text(text) => text.map(|t| t.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(written(1, UsageSource::Reported), None);
        assert_eq!(written(1, UsageSource::Estimated), None);
        assert_eq!(written(0, UsageSource::None), None);
        assert_eq!(written(0, UsageSource::Reported).as_deref(), Some(r#"{"request":0}"#));
        assert_eq!(written(1, UsageSource::None).as_deref(), Some(r#"{"request":1}"#));
        assert_eq!(written(3, UsageSource::Reported).as_deref(), Some(r#"{"request":3}"#));
    }

    #[test]
    fn names_and_columns_agree() {
        assert_eq!(NAMES.split(", ").count(), COLUMNS);
    }
}
