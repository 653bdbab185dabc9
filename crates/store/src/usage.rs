//! Reports: sums of attempts, grouped as asked, from the daily sums alone.

use crate::Store;
use crate::db::{FromRow, Row, Value};
use crate::error::Result;
use crate::sql::{Conditions, dynamic};
use crate::sums::DAY_MS;
use crate::usage_types::{GroupBy, UsageQuery, UsageRow, UsageSums};
use anykey_core::{KeyId, Nanos};

/// A report is for people and spreadsheets; a larger one is asked for in parts.
const MOST_ROWS: i64 = 100_000;

/// A line of a report: the columns that group it come first, in this order, those that are not asked for as NULL.
struct Line(UsageRow);

impl FromRow for Line {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(Line(UsageRow {
            day: row.take::<Option<i64>>()?.map(|day| day.saturating_mul(DAY_MS)),
            key: row.take::<Option<Vec<u8>>>()?.and_then(|id| KeyId::from_slice(&id)),
            key_name: row.take()?,
            provider: row.take()?,
            model: row.take()?,
            sums: UsageSums {
                requests: row.take()?,
                errors: row.take()?,
                input: row.take()?,
                cache_read: row.take()?,
                cache_write: row.take()?,
                output: row.take()?,
                reasoning: row.take()?,
                cost: Nanos(row.take()?),
                unpriced: row.take()?,
                estimated: row.take()?,
            },
        }))
    }
}

impl Store {
    /// Sums over whole UTC days; newest day first, then the dearest. Without grouping it is one row, even over nothing.
    pub async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>> {
        let mut sql = Conditions::new(&select(query.group_by));
        sql.within_uses(&query.within, "d.key_id");
        if let Some(from) = query.from {
            sql.and("d.day >= ", Value::from(from.div_euclid(DAY_MS)));
        }
        if let Some(to) = query.to {
            sql.and("d.day < ", Value::from(to.saturating_add(DAY_MS - 1).div_euclid(DAY_MS)));
        }
        if let Some(key) = query.key {
            sql.and("d.key_id = ", Value::from(&key.0));
        }
        if let Some(model) = &query.model {
            sql.and("d.model = ", Value::from(model));
        }
        if let Some(provider) = &query.provider {
            sql.and("d.provider = ", Value::from(provider));
        }
        let limit = sql.bind(Value::from(MOST_ROWS));
        let (sql, values) = sql.finish(&format!("{} LIMIT {limit}", group_and_order(query.group_by)));
        let lines: Vec<Line> = self.db.all(dynamic(sql), values).await?;
        Ok(lines.into_iter().map(|line| line.0).collect())
    }
}

fn select(by: GroupBy) -> String {
    let or_null = |wanted, column: &'static str, null: &'static str| if wanted { column } else { null };
    let sums = [
        "requests",
        "errors",
        "input",
        "cache_read",
        "cache_write",
        "output",
        "reasoning",
        "cost",
        "unpriced",
        "estimated",
    ]
    // A sum of BIGINT is NUMERIC in PostgreSQL.
    .map(|name| format!("CAST(COALESCE(SUM(d.{name}), 0) AS BIGINT)"))
    .join(", ");
    format!(
        "SELECT {}, {}, {}, {}, {}, {sums} FROM usage_day d {} WHERE TRUE",
        or_null(by.day, "d.day", "CAST(NULL AS BIGINT)"),
        or_null(by.key, "d.key_id", "CAST(NULL AS BYTEA)"),
        or_null(by.key, "MIN(k.name)", "CAST(NULL AS TEXT)"),
        or_null(by.provider, "d.provider", "CAST(NULL AS TEXT)"),
        or_null(by.model, "d.model", "CAST(NULL AS TEXT)"),
        or_null(by.key, "LEFT JOIN api_key k ON k.id = d.key_id", ""),
    )
}

fn group_and_order(by: GroupBy) -> String {
    let columns: Vec<&str> =
        [(by.day, "d.day"), (by.key, "d.key_id"), (by.provider, "d.provider"), (by.model, "d.model")]
            .into_iter()
            .filter_map(|(wanted, column)| wanted.then_some(column))
            .collect();
    if columns.is_empty() {
        return String::new();
    }
    let day = if by.day { "d.day DESC, " } else { "" };
    format!(" GROUP BY {0} ORDER BY {day}SUM(d.cost) DESC, {0}", columns.join(", "))
}
