//! Reading recorded attempts: one request, or lists of them.

use crate::Store;
use crate::db::{FromRow, Row, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::record::{NAMES, StoredRecord};
use crate::sql::{Conditions, dynamic};
use crate::usage_types::{RequestCursor, RequestFilter, RequestRow, StatusFilter};
use anykey_core::RequestId;

/// A page looks at no more attempts than this.
const SCAN: i64 = 20_000;

impl FromRow for RequestRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(RequestRow { record: StoredRecord::from_row(row)?.0, key_name: row.take()? })
    }
}

const FIRST: [u8; 10] = [0; 10];

impl Store {
    /// The attempts of one request, first to last; [`StoreError::NotFound`] where there are none.
    pub async fn request(&self, id: RequestId) -> Result<Vec<RequestRow>> {
        let rows: Vec<RequestRow> =
            self.db.all(dynamic(format!("{} AND request = $1 ORDER BY attempt", select())), params![&id.0]).await?;
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

        let mut sql = Conditions::new(&select());
        span(&mut sql, filter, page.after);
        if let Some(floor) = floor {
            sql.and("request >= ", Value::from(&floor.0));
        }
        narrow(&mut sql, filter);
        let one_more = sql.bind(Value::from(limit + 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY request DESC, attempt DESC LIMIT {one_more}"));
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
        let mut sql = Conditions::new("SELECT request FROM usage WHERE TRUE");
        span(&mut sql, filter, after);
        let skip = sql.bind(Value::from(SCAN - 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY request DESC, attempt DESC LIMIT 1 OFFSET {skip}"));
        let floor: Option<(Vec<u8>,)> = self.db.one(dynamic(sql), values).await?;
        Ok(floor.and_then(|(request,)| RequestId::from_slice(&request)))
    }
}

/// Ends in a WHERE clause that something can be added to.
fn select() -> String {
    format!("SELECT {NAMES}, (SELECT k.name FROM api_key k WHERE k.id = usage.key_id) FROM usage WHERE TRUE")
}

/// What an index answers: the key, and the time that stands in each request's id.
fn span(sql: &mut Conditions, filter: &RequestFilter, after: Option<RequestCursor>) {
    sql.within_uses(&filter.within, "key_id");
    if let Some(key) = filter.key {
        sql.and("key_id = ", Value::from(&key.0));
    }
    if let Some(since) = filter.since {
        sql.and("request >= ", Value::from(&RequestId::new(since.max(0), FIRST).0));
    }
    if let Some(until) = filter.until {
        sql.and("request < ", Value::from(&RequestId::new(until.max(0), FIRST).0));
    }
    if let Some(after) = after {
        let request = sql.bind(Value::from(&after.request.0));
        let attempt = sql.bind(Value::from(i64::from(after.attempt)));
        sql.and_text(&format!("(request, attempt) < ({request}, {attempt})"));
    }
}

fn narrow(sql: &mut Conditions, filter: &RequestFilter) {
    if let Some(model) = &filter.model {
        let model = sql.bind(Value::from(model));
        sql.and_text(&format!("(model_asked = {model} OR model_sent = {model})"));
    }
    if let Some(provider) = &filter.provider {
        sql.and("provider = ", Value::from(provider));
    }
    if let Some(outcome) = filter.outcome {
        sql.and("outcome = ", Value::from(outcome as i64));
    }
    match filter.status {
        None => {}
        Some(StatusFilter::Exactly(status)) => sql.and("status = ", Value::from(i64::from(status))),
        Some(StatusFilter::Class(class)) => {
            sql.and("status >= ", Value::from(i64::from(class) * 100));
            sql.and("status < ", Value::from(i64::from(class) * 100 + 100));
        }
    }
}
