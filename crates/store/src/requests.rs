//! Reading recorded attempts: one request, or lists of them.

use crate::Store;
use crate::db::{FromRow, Row, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::sql::{Conditions, dynamic};
use crate::usage_types::{RequestCursor, RequestFilter, RequestRow, StatusFilter};
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::usage::UsageSource;
use anykey_core::{Code, Dialect, Endpoint, KeyId, Nanos, RequestId, Unit, Usage};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A page looks at no more attempts than this.
const SCAN: i64 = 20_000;

macro_rules! record_columns {
    () => {
        "u.request, u.attempt, u.key_id, u.secret, u.endpoint, u.dialect, u.stream, u.provider, u.model_asked, \
         u.model_sent, u.model_served, u.status, u.outcome, u.code, u.units, u.usage_source, u.cost, u.hold, u.price_id, \
         u.started_at, u.first_byte_us, u.total_us, u.bytes_in, u.bytes_out, u.upstream_id, u.client"
    };
}
pub(crate) use record_columns;

/// A row of `usage`.
pub(crate) struct StoredRecord(pub AttemptRecord);

impl FromRow for StoredRecord {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(StoredRecord(AttemptRecord {
            request: RequestId(row.bytes()?),
            attempt: small(row)?,
            key: KeyId(row.bytes()?),
            secret: row.name(|text| Some(<[u8; PUBLIC_ID_LEN]>::try_from(text.as_bytes()).unwrap_or_default()))?,
            endpoint: row.name(Endpoint::from_name)?,
            dialect: row.name(Dialect::from_name)?,
            stream: row.take()?,
            provider: text(row)?,
            model_asked: text(row)?,
            model_sent: text(row)?,
            model_served: text(row)?,
            status: small(row)?,
            outcome: row.name(Outcome::from_name)?,
            code: code(&row.take::<String>()?),
            usage: units(&row.take::<String>()?)?,
            usage_source: row.name(UsageSource::from_name)?,
            cost: row.take::<Option<i64>>()?.map(Nanos),
            hold: Nanos(row.take()?),
            price_id: row.take::<i64>()?.cast_unsigned(),
            started_at: row.take()?,
            first_byte_us: count(row)?,
            total_us: count(row)?,
            bytes_in: count(row)?,
            bytes_out: count(row)?,
            upstream_id: text(row)?,
            client: row.take::<Option<String>>()?.and_then(|ip| ip.parse().ok()),
        }))
    }
}

impl FromRow for RequestRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(RequestRow { record: StoredRecord::from_row(row)?.0, key_name: row.take()? })
    }
}

fn small<T: TryFrom<i64>>(row: &mut Row) -> Result<T> {
    row.take::<i64>()?.try_into().map_err(|_| crate::db::damaged("a number is out of its range"))
}

fn count(row: &mut Row) -> Result<u64> {
    small(row)
}

fn text(row: &mut Row) -> Result<Arc<str>> {
    Ok(row.take::<String>()?.into())
}

/// Codes are a closed list; one that another release wrote is not in ours.
fn code(text: &str) -> &'static str {
    match Code::from_name(text) {
        Some(code) => code.name(),
        None if text.is_empty() => "",
        None => "unknown",
    }
}

/// Units that another release wrote and that this one does not know are left out.
fn units(json: &str) -> Result<Usage> {
    let counts: BTreeMap<String, u64> =
        serde_json::from_str(json).map_err(|_| crate::db::damaged("an attempt's units are not a JSON object"))?;
    Ok(counts.into_iter().filter_map(|(name, n)| Some((Unit::from_name(&name)?, n))).collect())
}

const FIRST: [u8; 10] = [0; 10];

impl Store {
    /// The attempts of one request, first to last; [`StoreError::NotFound`] where there are none.
    pub async fn request(&self, id: RequestId) -> Result<Vec<RequestRow>> {
        let rows: Vec<RequestRow> = self
            .db
            .all(
                concat!(
                    "SELECT ",
                    record_columns!(),
                    ", k.name FROM usage u LEFT JOIN api_key k ON k.id = u.key_id \
                     WHERE u.request = $1 ORDER BY u.attempt"
                ),
                params![&id.0],
            )
            .await?;
        if rows.is_empty() { Err(StoreError::NotFound("request")) } else { Ok(rows) }
    }

    /// Newest first.
    pub async fn requests(
        &self,
        filter: &RequestFilter,
        page: Page<RequestCursor>,
    ) -> Result<Listed<RequestRow, RequestCursor>> {
        let limit = i64::from(page.limit.clamp(1, 200));
        let floor = self.request_floor(filter, page.after).await?;

        let mut sql = Conditions::new(concat!(
            "SELECT ",
            record_columns!(),
            ", k.name FROM usage u LEFT JOIN api_key k ON k.id = u.key_id WHERE TRUE"
        ));
        span(&mut sql, filter, page.after);
        if let Some(floor) = floor {
            sql.and("u.request >= ", Value::from(&floor.0));
        }
        narrow(&mut sql, filter);
        let one_more = sql.bind(Value::from(limit + 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY u.request DESC, u.attempt DESC LIMIT {one_more}"));
        let mut data: Vec<RequestRow> = self.db.all(dynamic(sql), values).await?;

        let more = data.len() as i64 > limit;
        data.truncate(limit as usize);
        let next = if more {
            data.last().map(|row| RequestCursor { request: row.record.request, attempt: row.record.attempt })
        } else {
            floor.map(|request| RequestCursor { request, attempt: 0 })
        };
        Ok(Listed { data, next })
    }

    /// The last request that this page looks at, when there are more behind it.
    async fn request_floor(&self, filter: &RequestFilter, after: Option<RequestCursor>) -> Result<Option<RequestId>> {
        let mut sql = Conditions::new("SELECT u.request FROM usage u WHERE TRUE");
        span(&mut sql, filter, after);
        let skip = sql.bind(Value::from(SCAN - 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY u.request DESC, u.attempt DESC LIMIT 1 OFFSET {skip}"));
        let floor: Option<(Vec<u8>,)> = self.db.one(dynamic(sql), values).await?;
        Ok(floor.and_then(|(request,)| RequestId::from_slice(&request)))
    }
}

/// What an index answers: the key, and the time that stands in each request's id.
fn span(sql: &mut Conditions, filter: &RequestFilter, after: Option<RequestCursor>) {
    if let Some(key) = filter.key {
        sql.and("u.key_id = ", Value::from(&key.0));
    }
    if let Some(since) = filter.since {
        sql.and("u.request >= ", Value::from(&RequestId::new(since.max(0), FIRST).0));
    }
    if let Some(until) = filter.until {
        sql.and("u.request < ", Value::from(&RequestId::new(until.max(0), FIRST).0));
    }
    if let Some(after) = after {
        let request = sql.bind(Value::from(&after.request.0));
        let attempt = sql.bind(Value::from(i64::from(after.attempt)));
        sql.and_text(&format!("(u.request, u.attempt) < ({request}, {attempt})"));
    }
}

fn narrow(sql: &mut Conditions, filter: &RequestFilter) {
    if let Some(model) = &filter.model {
        let model = sql.bind(Value::from(model));
        sql.and_text(&format!("(u.model_asked = {model} OR u.model_sent = {model})"));
    }
    if let Some(provider) = &filter.provider {
        sql.and("u.provider = ", Value::from(provider));
    }
    if let Some(outcome) = filter.outcome {
        sql.and("u.outcome = ", Value::from(outcome.name()));
    }
    match filter.status {
        None => {}
        Some(StatusFilter::Exactly(status)) => sql.and("u.status = ", Value::from(i64::from(status))),
        Some(StatusFilter::Class(class)) => {
            sql.and("u.status >= ", Value::from(i64::from(class) * 100));
            sql.and("u.status < ", Value::from(i64::from(class) * 100 + 100));
        }
    }
}
