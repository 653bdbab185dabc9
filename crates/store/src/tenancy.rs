//! What changes of organisations, projects, members and service accounts have in common: the row is locked, changed, put
//! in force for all keys below, and shown. Their own files say what each holds.

use crate::Store;
use crate::audit::{Audited, Deed, Verb};
use crate::change::{Boxed, Change};
use crate::db::{FromRow, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::levels;
use crate::sql::{Conditions, contains_pattern, dynamic, like_text};
use anykey_core::LevelId;

/// What a change does inside the transaction, after the row is locked and before it is read again. It is given the row.
pub(crate) type LevelStep<R> = Box<dyn for<'a> FnOnce(&'a Store, &'a mut Tx, R) -> Boxed<'a, ()> + Send>;

/// Whether a change is one of the switch alone, which has a verb of its own.
pub(crate) fn verb_of(disabled: Option<bool>, alone: bool, [update, disable, enable]: [Verb; 3]) -> Verb {
    match disabled {
        Some(true) if alone => disable,
        Some(false) if alone => enable,
        _ => update,
    }
}

/// A row that is above keys.
pub(crate) trait AboveKeys: FromRow + Audited + Clone + Send + 'static {
    /// `SELECT ... WHERE id = $1` but for what follows WHERE.
    const SELECT: &'static str;
    /// The column of the id, with the alias that `SELECT` gives its table.
    const ID: &'static str;
    const TABLE: &'static str;
    const NOUN: &'static str;

    fn level(&self) -> LevelId;
    fn version(&self) -> i64;
    fn is_deleted(&self) -> bool;
}

pub(crate) async fn read_row<R: AboveKeys>(tx: &mut Tx, id: [u8; 16]) -> Result<R> {
    let sql = format!("{} WHERE {} = $1", R::SELECT, R::ID);
    tx.one(dynamic(sql), params![&id]).await?.ok_or(StoreError::NotFound(R::NOUN))
}

impl Store {
    pub(crate) async fn row<R: AboveKeys>(&self, id: [u8; 16]) -> Result<R> {
        let sql = format!("{} WHERE {} = $1", R::SELECT, R::ID);
        self.db.one(dynamic(sql), params![&id]).await?.ok_or(StoreError::NotFound(R::NOUN))
    }

    /// One change of one row: locked and its version counted up, changed, committed, and in force for every key below it
    /// when this returns.
    pub(crate) async fn change_row<R: AboveKeys>(
        &self,
        id: [u8; 16],
        expected: Option<i64>,
        verb: Verb,
        step: LevelStep<R>,
    ) -> Result<R> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let sql = format!("UPDATE {} SET version = version + 1, updated_at = $2 WHERE id = $1", R::TABLE);
            if tx.exec(dynamic(sql), params![&id, now]).await? == 0 {
                return Err(StoreError::NotFound(R::NOUN));
            }
            let before: R = read_row(&mut tx, id).await?;
            let found = before.version() - 1;
            match expected {
                _ if before.is_deleted() => return Err(StoreError::conflict(format!("the {} is deleted", R::NOUN))),
                Some(expected) if expected != found => {
                    return Err(StoreError::VersionMismatch { what: R::NOUN, expected, found });
                }
                _ => {}
            }
            step(&store, &mut tx, before.clone()).await?;
            let after: R = read_row(&mut tx, id).await?;
            let level = levels::read_in(&mut tx, after.level()).await?;
            store.record(&mut tx, Deed::changed(verb, &before, &after)).await?;
            store.announce(&mut tx, Change::Level(level.id)).await?;
            tx.commit().await?;
            store.cache.level_changed(&level, now);
            Ok(after)
        })
        .await
    }

    /// The first of a row, once it is inserted: recorded, committed and shown.
    pub(crate) async fn made_row<R: AboveKeys>(&self, mut tx: Tx, id: [u8; 16], verb: Verb) -> Result<R> {
        let row: R = read_row(&mut tx, id).await?;
        self.record(&mut tx, Deed::made(verb, &row)).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// A page of rows, the newest first. `sql` has the conditions of the filter.
    pub(crate) async fn page_of<R: FromRow, I: Copy>(
        &self,
        mut sql: Conditions,
        id_column: &str,
        page: Page<I>,
        bytes: impl Fn(I) -> [u8; 16],
        id: impl Fn(&R) -> I,
    ) -> Result<Listed<R, I>> {
        let limit = i64::from(page.limit.clamp(1, 200));
        if let Some(after) = page.after {
            sql.and(&format!("{id_column} < "), Value::from(&bytes(after)));
        }
        let one_more = sql.bind(Value::from(limit + 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY {id_column} DESC LIMIT {one_more}"));
        let mut data: Vec<R> = self.db.all(dynamic(sql), values).await?;
        let more = data.len() as i64 > limit;
        data.truncate(limit as usize);
        let next = if more { data.last().map(id) } else { None };
        Ok(Listed { data, next })
    }
}

/// Narrows a list to rows that hold a text in one of several columns.
pub(crate) fn narrow_q(sql: &mut Conditions, q: Option<&String>, columns: &[&str]) {
    let Some(q) = q else { return };
    let pattern = sql.bind(Value::from(contains_pattern(q)));
    let any: Vec<String> = columns.iter().map(|column| like_text(column, &pattern)).collect();
    sql.and_text(&format!("({})", any.join(" OR ")));
}
