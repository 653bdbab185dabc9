//! Statements over many rows at once, in a few fixed sizes: their texts are made once and stay prepared.

use crate::db::{Db, Tx, Value};
use crate::error::Result;
use sqlx::AssertSqlSafe;
use std::sync::Arc;

/// One statement over rows of `columns` values.
pub(crate) struct Bulk {
    columns: usize,
    /// Largest first, one row last.
    statements: Vec<(usize, Arc<str>)>,
}

impl Bulk {
    /// `sql` makes the statement from the placeholders of its rows.
    fn new(db: &Db, sizes: &[usize], columns: usize, sql: impl Fn(&str) -> String) -> Self {
        let statements = sizes.iter().map(|size| (*size, sql(&db.placeholders(*size, columns)).into())).collect();
        Bulk { columns, statements }
    }

    /// Runs it over all rows and says how many were affected. `values` appends the columns of one row.
    pub async fn exec<T>(&self, tx: &mut Tx, rows: &[T], values: impl Fn(&T, &mut Vec<Value>)) -> Result<u64> {
        let mut rest = rows;
        let mut affected = 0;
        for (size, sql) in &self.statements {
            while rest.len() >= *size {
                let (chunk, tail) = rest.split_at(*size);
                rest = tail;
                let mut bound = Vec::with_capacity(size * self.columns);
                chunk.iter().for_each(|row| values(row, &mut bound));
                affected += tx.exec(AssertSqlSafe(Arc::clone(sql)), bound).await?;
            }
        }
        Ok(affected)
    }
}

/// The statements of the books.
pub(crate) struct Bulks {
    pub usage: Bulk,
    pub days: Bulk,
    pub spent: Bulk,
    pub uses: Bulk,
    /// The day of a key's last use; a row that has it already is not written.
    pub active: Bulk,
}

/// PostgreSQL takes at most 65,535 values in a statement, SQLite 32,766.
const LARGE: &[usize] = &[128, 32, 8, 1];
const SMALL: &[usize] = &[64, 16, 4, 1];

impl Bulks {
    pub fn new(db: &Db) -> Self {
        Bulks {
            usage: Bulk::new(db, LARGE, crate::record::COLUMNS, |rows| {
                format!("INSERT INTO usage ({}) VALUES {rows} ON CONFLICT DO NOTHING", crate::record::NAMES)
            }),
            days: Bulk::new(db, SMALL, crate::sums::DAY_COLUMNS, |rows| {
                let sums: Vec<String> = [
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
                .iter()
                .map(|name| {
                    format!("{name} = {}", saturating(&format!("usage_day.{name}"), &format!("excluded.{name}")))
                })
                .collect();
                format!(
                    "INSERT INTO usage_day (day, key_id, provider, model, requests, errors, input, cache_read, \
                     cache_write, output, reasoning, cost, unpriced, estimated) VALUES {rows} \
                     ON CONFLICT (day, key_id, provider, model) DO UPDATE SET {}",
                    sums.join(", ")
                )
            }),
            spent: Bulk::new(db, SMALL, 2, |rows| {
                format!(
                    "UPDATE api_key SET spent = {} FROM (VALUES {rows}) AS v WHERE api_key.id = v.column1",
                    saturating("spent", "v.column2")
                )
            }),
            // Both databases call the columns of VALUES column1, column2 and so on.
            uses: Bulk::new(db, SMALL, 4, |rows| {
                format!(
                    "UPDATE secret SET first_used_at = COALESCE(first_used_at, v.column4), \
                     last_ip = CASE WHEN last_used_at IS NULL OR last_used_at <= v.column2 \
                     THEN v.column3 ELSE last_ip END, \
                     last_used_at = CASE WHEN last_used_at IS NULL OR last_used_at <= v.column2 \
                     THEN v.column2 ELSE last_used_at END \
                     FROM (VALUES {rows}) AS v WHERE secret.public_id = v.column1"
                )
            }),
            active: Bulk::new(db, SMALL, 2, |rows| {
                format!(
                    "UPDATE api_key SET active_day = v.column2 FROM (VALUES {rows}) AS v CROSS JOIN secret AS s \
                     WHERE s.public_id = v.column1 AND api_key.id = s.key_id AND api_key.active_day < v.column2"
                )
            }),
        }
    }
}

/// A sum that sticks at its end: one absurd number from a provider must not keep a batch from being stored. The sum so
/// far is never negative, so only the upper end can be passed.
fn saturating(sum: &str, more: &str) -> String {
    format!("{sum} + CASE WHEN {more} > {max} - {sum} THEN {max} - {sum} ELSE {more} END", max = i64::MAX)
}
