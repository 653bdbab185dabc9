//! Reading the audit log: parts of it, newest first, or all of it, oldest first.

use super::entry::{AuditEntry, audit_columns};
use super::{ObjectKind, Verb};
use crate::Store;
use crate::db::{Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::sql::{Conditions, dynamic};
use anykey_core::Sight;

/// A page looks at no more entries than this, so that a filter that matches little stays quick.
const SCAN: i64 = 20_000;

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Any of these; all where it is empty.
    pub verbs: Vec<Verb>,
    pub object_kind: Option<ObjectKind>,
    /// The id of what was changed.
    pub object: Option<String>,
    /// The id of who changed it.
    pub actor: Option<String>,
    /// Milliseconds since 1970, included.
    pub from: Option<i64>,
    /// Not included.
    pub to: Option<i64>,
    /// Only what was done in this organisation.
    pub organisation: Option<String>,
    /// Only what whoever asks may reach.
    pub within: Sight,
}

impl AuditFilter {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.verbs.is_empty()
            && self.object_kind.is_none()
            && self.object.is_none()
            && self.actor.is_none()
            && self.from.is_none()
            && self.to.is_none()
            && self.organisation.is_none()
            && self.within == Sight::Everything
    }

    fn narrow(&self, sql: &mut Conditions) {
        if let Sight::Within(reached) = &self.within {
            sql.and_in("organisation", reached.organisations.iter().map(|id| Value::from(&id.to_string())));
        }
        if !self.verbs.is_empty() {
            sql.and_in("verb", self.verbs.iter().map(|verb| Value::from(verb.name())));
        }
        if let Some(kind) = self.object_kind {
            sql.and("object_kind = ", Value::from(kind.name()));
        }
        for (column, text) in
            [("object_id = ", &self.object), ("actor_id = ", &self.actor), ("organisation = ", &self.organisation)]
        {
            if let Some(text) = text {
                sql.and(column, Value::from(text));
            }
        }
        if let Some(from) = self.from {
            sql.and("at >= ", Value::from(from));
        }
        if let Some(to) = self.to {
            sql.and("at < ", Value::from(to));
        }
    }
}

const SELECT: &str = concat!("SELECT ", audit_columns!(), " FROM audit WHERE TRUE");

impl Store {
    /// Newest first. The cursor is a sequence number.
    pub async fn audit(&self, filter: &AuditFilter, page: Page<i64>) -> Result<Listed<AuditEntry, i64>> {
        let limit = i64::from(page.limit.clamp(1, 200));
        // Numbers have no gaps, so that the span of a page is known without a look.
        let newest = match page.after {
            Some(after) => after - 1,
            None => self.newest_entry().await?,
        };
        let floor = newest.saturating_sub(SCAN - 1).max(1);
        let mut sql = Conditions::new(SELECT);
        sql.and("seq <= ", Value::from(newest));
        // What an index finds needs no bound.
        let bounded = filter.object.is_none()
            && filter.actor.is_none()
            && filter.organisation.is_none()
            && filter.within == Sight::Everything;
        if bounded {
            sql.and("seq >= ", Value::from(floor));
        }
        filter.narrow(&mut sql);
        let one_more = sql.bind(Value::from(limit + 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY seq DESC LIMIT {one_more}"));
        let mut data: Vec<AuditEntry> = self.db.all(dynamic(sql), values).await?;
        let more = data.len() as i64 > limit;
        data.truncate(limit as usize);
        let next = if more { data.last().map(|entry| entry.seq) } else { (bounded && floor > 1).then_some(floor) };
        Ok(Listed { data, next })
    }

    pub async fn audit_entry(&self, seq: i64) -> Result<AuditEntry> {
        let sql = concat!("SELECT ", audit_columns!(), " FROM audit WHERE seq = $1");
        self.db.one(sql, params![seq]).await?.ok_or(StoreError::NotFound("audit entry"))
    }

    /// Oldest first, for exports: the entries that match among the next `scan` after `seq`, and where to go on, until
    /// there is nothing more.
    pub async fn audit_after(
        &self,
        filter: &AuditFilter,
        seq: i64,
        scan: u32,
    ) -> Result<(Vec<AuditEntry>, Option<i64>)> {
        let newest = self.newest_entry().await?;
        if seq >= newest {
            return Ok((Vec::new(), None));
        }
        let to = seq.saturating_add(i64::from(scan)).min(newest);
        let mut sql = Conditions::new(SELECT);
        sql.and("seq > ", Value::from(seq));
        sql.and("seq <= ", Value::from(to));
        filter.narrow(&mut sql);
        let (sql, values) = sql.finish(" ORDER BY seq");
        Ok((self.db.all(dynamic(sql), values).await?, Some(to)))
    }

    async fn newest_entry(&self) -> Result<i64> {
        let newest: Option<(i64,)> = self.db.one("SELECT COALESCE(MAX(seq), 0) FROM audit", params![]).await?;
        Ok(newest.map_or(0, |(seq,)| seq))
    }
}
