//! Lists of keys: filters that the database answers from its indexes, and cursors.

use crate::Store;
use crate::db::Value;
use crate::error::Result;
use crate::key_rows::{KeyRecord, key_columns};
use crate::key_types::{KeyCursor, KeyFilter, KeyRow, KeyStatus, Listed, Page};
use crate::sql::{Conditions, contains_pattern, dynamic};
use crate::sums::DAY_MS;
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::{KeyId, KeyKind, OwnerId};

/// A query looks at no more keys than this, so that a page that is full early costs little.
const SCAN: i64 = 20_000;

/// What a list is sorted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The newest first.
    Made,
    /// What is longest ago, or comes soonest, first.
    By(&'static str),
}

impl Order {
    fn of(filter: &KeyFilter) -> Order {
        if filter.unused_since.is_some() {
            Order::By("k.active_day")
        } else if filter.expiring_before.is_some() {
            Order::By("k.expires_at")
        } else if filter.review_before.is_some() {
            Order::By("k.review_at")
        } else if filter.rotation_before.is_some() {
            Order::By("k.rotate_at")
        } else {
            Order::Made
        }
    }

    fn text(self) -> String {
        match self {
            Order::Made => " ORDER BY k.id DESC".to_owned(),
            Order::By(column) => format!(" ORDER BY {column}, k.id"),
        }
    }

    fn after(self, sql: &mut Conditions, cursor: Option<KeyCursor>) {
        let Some(cursor) = cursor else { return };
        let id = sql.bind(Value::from(&cursor.id.0));
        match (self, cursor.at) {
            (Order::By(column), Some(at)) => {
                let at = sql.bind(Value::from(at));
                sql.and_text(&format!("({column}, k.id) > ({at}, {id})"));
            }
            _ => sql.and_text(&format!("k.id < {id}")),
        }
    }

    fn cursor(self, key: &KeyRecord, filter: &KeyFilter) -> KeyCursor {
        let at = match self {
            Order::Made => None,
            Order::By(_) if filter.unused_since.is_some() => Some(key.active_day),
            Order::By(_) if filter.expiring_before.is_some() => key.expires_at,
            Order::By(_) if filter.review_before.is_some() => key.review_at,
            Order::By(_) => key.rotate_at,
        };
        KeyCursor { at, id: key.id }
    }
}

impl Store {
    /// Keys that match a filter: the newest first, or those first that are unused longest, end soonest or are to be
    /// reviewed or rotated soonest, where the filter asks for such.
    pub async fn keys(&self, filter: &KeyFilter, page: Page<KeyCursor>) -> Result<Listed<KeyRow, KeyCursor>> {
        let limit = i64::from(page.limit.clamp(1, 200));
        let order = Order::of(filter);
        let (mut records, mut after, mut floor) = (Vec::<KeyRecord>::new(), page.after, None);
        for _ in 0..self.page_reach.div_euclid(SCAN).max(1) {
            floor = if order == Order::Made { self.scan_floor(filter, after).await? } else { None };
            let missing = limit + 1 - records.len() as i64;
            let (sql, values) = list_query(filter, after, floor, missing, &self.words());
            records.extend(self.db.all::<KeyRecord>(dynamic(sql), values).await?);
            match floor {
                Some(id) if records.len() as i64 <= limit => after = Some(KeyCursor { at: None, id }),
                _ => break,
            }
        }
        let more = records.len() as i64 > limit;
        records.truncate(limit as usize);
        let next = if more {
            records.last().map(|record| order.cursor(record, filter))
        } else {
            floor.map(|id| KeyCursor { at: None, id })
        };
        Ok(Listed { data: self.show(records).await?, next })
    }

    /// What a filter is read with.
    pub(crate) fn words(&self) -> Words<'_> {
        Words { brand: &self.brand, now: self.now(), postgres: self.db.is_postgres() }
    }

    /// The last key that a query looks at, when there are more behind it. An exact name has an index and needs none.
    async fn scan_floor(&self, filter: &KeyFilter, after: Option<KeyCursor>) -> Result<Option<KeyId>> {
        if filter.name.is_some() || filter.tag.is_some() {
            return Ok(None);
        }
        let mut sql = Conditions::new("SELECT k.id FROM api_key k WHERE TRUE");
        Order::Made.after(&mut sql, after);
        narrow_exactly(&mut sql, filter);
        let skip = sql.bind(Value::from(SCAN - 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY k.id DESC LIMIT 1 OFFSET {skip}"));
        let floor: Option<(Vec<u8>,)> = self.db.one(dynamic(sql), values).await?;
        Ok(floor.and_then(|(id,)| KeyId::from_slice(&id)))
    }

    /// The plan's text: how the database would run a list. For tests, which hold the indexes to their purpose.
    #[doc(hidden)]
    pub async fn explain_keys(&self, filter: &KeyFilter, after: Option<KeyCursor>) -> Result<String> {
        let floor = if Order::of(filter) == Order::Made { self.scan_floor(filter, after).await? } else { None };
        let (sql, values) = list_query(filter, after, floor, 51, &self.words());
        self.db.explain(&sql, values).await
    }
}

/// What a filter is read with: the brand of keys, the time, and whose words the database speaks.
pub(crate) struct Words<'a> {
    brand: &'a str,
    now: i64,
    postgres: bool,
}

/// The condition of a job's selection, without an order: what `INSERT ... SELECT` takes.
pub(crate) fn selection(
    select: &str,
    values: Vec<Value>,
    filter: &KeyFilter,
    words: &Words<'_>,
) -> (String, Vec<Value>) {
    let mut sql = Conditions::with(&format!("{select} FROM api_key k WHERE TRUE"), values);
    narrow_exactly(&mut sql, filter);
    narrow(&mut sql, filter, words);
    if let Some(tag) = &filter.tag {
        let tagged = tag_query(&mut sql, tag);
        sql.and_text(&format!("k.id IN ({tagged})"));
    }
    sql.finish("")
}

fn list_query(
    filter: &KeyFilter,
    after: Option<KeyCursor>,
    floor: Option<KeyId>,
    limit: i64,
    words: &Words<'_>,
) -> (String, Vec<Value>) {
    let order = Order::of(filter);
    let mut sql = Conditions::new(concat!("SELECT ", key_columns!(), " FROM api_key k WHERE TRUE"));
    order.after(&mut sql, after);
    if let Some(floor) = floor {
        sql.and("k.id >= ", Value::from(&floor.0));
    }
    narrow_exactly(&mut sql, filter);
    narrow(&mut sql, filter, words);
    if let Some(tag) = &filter.tag {
        let tagged = tag_query(&mut sql, tag);
        sql.and_text(&format!("k.id IN ({tagged})"));
    }
    let limit = sql.bind(Value::from(limit));
    sql.finish(&format!("{} LIMIT {limit}", order.text()))
}

/// `name` or `name=value`.
fn tag_query(sql: &mut Conditions, tag: &str) -> String {
    match tag.split_once('=') {
        Some((name, value)) => {
            let (name, value) = (sql.bind(Value::from(name)), sql.bind(Value::from(value)));
            format!("SELECT t.key_id FROM key_tag t WHERE t.name = {name} AND t.value = {value}")
        }
        None => {
            let name = sql.bind(Value::from(tag));
            format!("SELECT t.key_id FROM key_tag t WHERE t.name = {name}")
        }
    }
}

/// What an index answers by itself, in the order of ids.
fn narrow_exactly(sql: &mut Conditions, filter: &KeyFilter) {
    sql.within_keys(&filter.within, "k");
    if let Some(id) = filter.organisation {
        sql.and("k.organisation_id = ", Value::from(&id.0));
    }
    if let Some(id) = filter.project {
        sql.and("k.project_id = ", Value::from(&id.0));
    }
    match filter.owner_id {
        Some(OwnerId::Member(id)) => sql.and("k.member_id = ", Value::from(&id.0)),
        Some(OwnerId::ServiceAccount(id)) => sql.and("k.service_account_id = ", Value::from(&id.0)),
        None => {}
    }
    if let Some(owner) = &filter.owner {
        sql.and("k.owner = ", Value::from(owner));
    }
    if let Some(kind) = filter.kind {
        sql.and("k.kind = ", Value::from(kind.name()));
    }
    if let Some(id) = filter.parent {
        sql.and("k.parent_id = ", Value::from(&id.0));
    }
    if let Some(environment) = &filter.environment {
        sql.and("k.environment = ", Value::from(environment));
    }
    if let Some(name) = &filter.name {
        sql.and("k.name = ", Value::from(name));
    }
}

fn narrow(sql: &mut Conditions, filter: &KeyFilter, words: &Words<'_>) {
    let now = words.now;
    if let Some(since) = filter.unused_since {
        sql.and("k.active_day < ", Value::from(since.div_euclid(DAY_MS)));
    }
    if let Some(before) = filter.expiring_before {
        sql.and("k.expires_at < ", Value::from(before));
        if filter.status.is_none() {
            // What has ended is not ending.
            sql.and("k.expires_at > ", Value::from(now));
        }
    }
    if let Some(before) = filter.review_before {
        sql.and("k.review_at < ", Value::from(before));
    }
    if let Some(before) = filter.rotation_before {
        sql.and("k.rotate_at < ", Value::from(before));
    }
    if let Some(q) = &filter.q {
        narrow_text(sql, q, words);
    }
    narrow_status(sql, filter.status, now);
}

/// Text in the name or description, or the beginning of what is visible of a secret.
fn narrow_text(sql: &mut Conditions, q: &str, words: &Words<'_>) {
    let pattern = sql.bind(Value::from(contains_pattern(&q.to_lowercase())));
    let text = format!("k.search LIKE {pattern} ESCAPE '\\'");
    let Some(public_id) = visible(q, words.brand) else { return sql.and_text(&text) };
    // The operators of bytes, which the index of each database answers; there are only letters and digits in it.
    let (from, below) = if words.postgres { ("~>=~", "~<~") } else { (">=", "<") };
    let (first, end) = (sql.bind(Value::from(public_id)), sql.bind(Value::from(after_all(public_id))));
    sql.and_text(&format!(
        "({text} OR k.id IN (SELECT s.key_id FROM secret s WHERE s.public_id {from} {first} AND s.public_id {below} \
         {end}))"
    ));
}

/// What comes after everything that begins with a text of letters and digits.
fn after_all(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What may be the beginning of a public id: `AbCd`, `ak-live-AbCd` or `ak-live-AbCd1234…`.
fn visible<'a>(q: &'a str, brand: &str) -> Option<&'a str> {
    let q = q.trim_end_matches(['…', '.']);
    let own = || {
        let (kind, id) = q.strip_prefix(brand)?.strip_prefix('-')?.split_once('-')?;
        KeyKind::from_name(kind).map(|_| id)
    };
    let id = q.strip_prefix("imported-").or_else(own).unwrap_or(q);
    ((1..=PUBLIC_ID_LEN).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(id)
}

fn narrow_status(sql: &mut Conditions, status: Option<KeyStatus>, now: i64) {
    sql.and_text(match status {
        None => "k.deleted_at IS NULL",
        Some(KeyStatus::Revoked) => "k.deleted_at IS NOT NULL",
        Some(KeyStatus::Disabled) => "k.deleted_at IS NULL AND k.disabled",
        Some(_) => "k.deleted_at IS NULL AND NOT k.disabled",
    });
    let Some(status @ (KeyStatus::Active | KeyStatus::Expired | KeyStatus::Rotating)) = status else { return };
    let now = sql.bind(Value::from(now));
    if status == KeyStatus::Expired {
        return sql.and_text(&format!("k.expires_at <= {now}"));
    }
    sql.and_text(&format!("(k.expires_at IS NULL OR k.expires_at > {now})"));
    let living = format!(
        "(SELECT COUNT(*) FROM secret s WHERE s.key_id = k.id AND s.state <> 'dead' \
         AND (s.expires_at IS NULL OR s.expires_at > {now}))"
    );
    if status == KeyStatus::Rotating {
        sql.and_text(
            "k.id IN (SELECT s.key_id FROM secret s WHERE s.state <> 'dead' AND (s.pending OR s.state = 'superseded'))",
        );
        sql.and_text(&format!("{living} > 1"));
    } else {
        sql.and_text(&format!("{living} <= 1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_part_of_a_key_is_read_as_such() {
        for (q, id) in [
            ("AbCd", Some("AbCd")),
            ("ak-live-AbCd", Some("AbCd")),
            ("ak-live-AbCd1234…", Some("AbCd1234")),
            ("imported-AbCd1234", Some("AbCd1234")),
            ("ak-live-", None),
            ("two words", None),
            ("AbCd12345", None),
            ("sk-live-AbCd", None),
        ] {
            assert_eq!(visible(q, "ak"), id, "{q}");
        }
    }

    #[test]
    fn a_range_holds_what_begins_with_a_text_and_nothing_else() {
        for prefix in ["A", "AbCd", "zz", "9"] {
            let end = after_all(prefix);
            assert!(prefix < end.as_str() && format!("{prefix}zzzz") < end, "{prefix} {end}");
            assert!(!end.starts_with(prefix));
        }
    }
}
