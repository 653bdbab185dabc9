//! What was spent in a window of time, by a key or by all keys below somebody: what a budget begins with when it comes into
//! memory.

use crate::Store;
use crate::db::{Tx, Value, params};
use crate::error::Result;
use crate::sql::dynamic;
use crate::sums::DAY_MS;
use anykey_core::controls::{Bound, Level};
use anykey_core::spend::{self, Spend};
use anykey_core::{BudgetId, KeyId, Nanos, RequestId, Span, Subject, Window};

impl Store {
    /// The costs of all stored attempts that began in a window: the sums of the days that lie in it whole, and before them
    /// the attempts one by one. A window is asked for while it lasts, so nothing is stored behind its end.
    pub async fn spent_within(&self, id: BudgetId, window: Window) -> Result<Nanos> {
        let Subject { level, id: subject } = id.subject;
        if level == Level::Key && id.span == Span::Total {
            return self.spent(KeyId(subject)).await;
        }
        let (sql, values) = sum_of(level, &subject, window);
        let sum: Option<(i64,)> = self.db.one(dynamic(sql), values).await?;
        Ok(Nanos(sum.map_or(0, |(sum,)| sum)))
    }

    /// The same as a transaction sees it.
    pub(crate) async fn sum_within(&self, tx: &mut Tx, id: BudgetId, window: Window) -> Result<Nanos> {
        let Subject { level, id: subject } = id.subject;
        let (sql, values) = if level == Level::Key && id.span == Span::Total {
            ("SELECT spent FROM api_key WHERE id = $1".to_owned(), params![&subject])
        } else {
            sum_of(level, &subject, window)
        };
        let sum: Option<(i64,)> = tx.one(dynamic(sql), values).await?;
        Ok(Nanos(sum.map_or(0, |(sum,)| sum)))
    }
}

fn sum_of(level: Level, subject: &[u8; 16], window: Window) -> (String, Vec<Value>) {
    let start = window.start.max(0);
    let first_day = start / DAY_MS + i64::from(start % DAY_MS != 0);
    let (days, keys) = (of_days(level), crate::recent::keys_of(level));
    let sql = format!(
        "SELECT CAST(COALESCE(SUM(cost), 0) AS BIGINT) FROM (\
         SELECT cost FROM usage_day WHERE day >= $1 AND {days} \
         UNION ALL \
         SELECT cost FROM usage WHERE request >= $3 AND request < $4 AND {keys}) AS spent"
    );
    let at = |ms| RequestId::new(ms, [0; 10]);
    let (from, until) = (at(start), at(first_day * DAY_MS));
    (sql, params![first_day, subject, &from.0, &until.0])
}

impl Store {
    /// What was spent of each limit of a chain, in the order of [`spend::limits_of`].
    pub async fn spends(&self, bounds: &[Bound]) -> Result<Vec<Spend>> {
        let now = self.now();
        let mut spends = Vec::new();
        for limit in spend::limits_of(bounds) {
            let window = limit.window(now);
            spends.push(Spend { window, spent: self.spent_within(limit.id(), window).await? });
        }
        Ok(spends)
    }
}

/// The sums of a temporary key's days are its parent's already.
fn of_days(level: Level) -> &'static str {
    match level {
        Level::Key => "key_id = $2",
        level => crate::recent::keys_of(level),
    }
}
