//! Leases of budgets: the one place where it is decided which process may spend how much, and how the books of a budget
//! that several spend from move with the records.
//!
//! Two locks make that exact. A budget's row in `budget_window` is held by whoever asks or settles, so what is spent and
//! what is leased are seen as they are together. And while such a row is made, by adding up what is stored, no batch is
//! between its records and its budgets ([`BOOKS_LOCK`]).

use crate::Store;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::sql::{Conditions, dynamic};
use anykey_core::controls::Level;
use anykey_core::lease::{Ask, Lease, Loan, ReplicaId, Standing};
use anykey_core::{BudgetId, KeyId, Nanos, Span, Subject, Window};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

/// Taken by all batches together, or by whoever makes a row for a budget.
const BOOKS_LOCK: i64 = 0x616e_796b_6579_0002;
/// As long as somebody who waits for a budget is heeded; whoever waits longer asks again.
const WANTED_MS: i64 = 2_000;
/// A process that was silent for so long is not waited for, and counts no more among those who share.
const SILENT_MS: i64 = 30_000;
/// How often a process says that it is there.
const SEEN_MS: i64 = 5_000;
/// How long windows are kept after their end, for records that come late.
const KEPT_MS: i64 = 2 * 24 * 60 * 60 * 1_000;
/// Keys or budgets in one query.
const AT_ONCE: usize = 200;

const PLACE: &str = "subject = $1 AND level = $2 AND span = $3 AND window_start = $4";

/// Who this process is towards others.
#[derive(Default)]
pub(crate) struct Standpoint(Mutex<Option<Me>>);

#[derive(Clone, Copy)]
struct Me {
    replica: ReplicaId,
    run: [u8; 16],
    said_at: i64,
}

/// What an attempt cost, and when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub key: KeyId,
    pub began: i64,
    pub amount: i64,
}

/// The row of a budget in a window.
type Place = (Vec<u8>, i64, i64, i64);

impl Store {
    /// Says who asks for leases from now on. All records of its earlier runs are stored, so what they had leased is free.
    pub async fn begin_leases(&self, replica: ReplicaId) -> Result<()> {
        let mut run = [0; 16];
        getrandom::fill(&mut run)?;
        let mut tx = self.db.begin().await?;
        let now = self.time(&mut tx).await?;
        tx.exec(
            "INSERT INTO replica (id, run, seen_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET run = excluded.run, seen_at = excluded.seen_at",
            params![&replica.0, &run, now],
        )
        .await?;
        tx.exec("DELETE FROM budget_lease WHERE replica = $1", params![&replica.0]).await?;
        tx.commit().await?;
        *self.standpoint.0.lock() = Some(Me { replica, run, said_at: now });
        Ok(())
    }

    /// Grants what is asked of a budget where all that is spent and leased is at most the limit then.
    pub async fn lease(&self, ask: &Ask) -> Result<Loan> {
        let me = self.me_now()?;
        let mut tx = self.db.begin().await?;
        let tail = if tx.is_postgres() { " FOR SHARE" } else { "" };
        let newest = format!("SELECT seen_at FROM replica WHERE id = $1 AND run = $2{tail}");
        let known: Vec<(i64,)> = tx.all(dynamic(newest), params![&me.replica.0, &me.run]).await?;
        if known.is_empty() {
            return Err(StoreError::Refused(
                "another process runs with a copy of this one's journal; it is lent nothing more".into(),
            ));
        }
        let spent = self.settled(&mut tx, ask.kept.id, ask.kept.window).await?;
        let now = self.time(&mut tx).await?;
        let standing = standing(&mut tx, &me, ask, spent, now).await?;
        let loan = ask.decide(standing);
        let amount = ask.kept.amount.saturating_add(loan.granted);
        keep(&mut tx, &me, &Lease { amount, ..ask.kept }, now).await?;
        if ask.may_come(standing) {
            let sql = format!("UPDATE budget_window SET wanted_until = $5 WHERE {PLACE}");
            let mut values = place(ask.kept.id, ask.kept.window);
            values.push((now + WANTED_MS).into());
            tx.exec(dynamic(sql), values).await?;
        }
        tx.commit().await?;
        Ok(loan)
    }

    /// The budgets that others wait for, of those that this process has leased something of. Says on the way that it is
    /// there.
    pub async fn recalled(&self) -> Result<Vec<(BudgetId, i64)>> {
        let me = self.me_now()?;
        let mut tx = self.db.begin().await?;
        let now = self.time(&mut tx).await?;
        if now.saturating_sub(me.said_at) >= SEEN_MS {
            tx.exec("UPDATE replica SET seen_at = $3 WHERE id = $1 AND run = $2", params![&me.replica.0, &me.run, now])
                .await?;
        }
        let rows: Vec<Place> = tx
            .all(
                "SELECT w.subject, w.level, w.span, w.window_start FROM budget_lease AS l \
                 JOIN budget_window AS w ON w.subject = l.subject AND w.level = l.level AND w.span = l.span \
                 AND w.window_start = l.window_start \
                 WHERE l.replica = $1 AND l.amount > 0 AND w.wanted_until > $2",
                params![&me.replica.0, now],
            )
            .await?;
        tx.commit().await?;
        if let Some(me) = &mut *self.standpoint.0.lock()
            && now.saturating_sub(me.said_at) >= SEEN_MS
        {
            me.said_at = now;
        }
        Ok(rows
            .iter()
            .filter_map(|(subject, level, span, start)| Some((read(subject, *level, *span)?, *start)))
            .collect())
    }

    fn me_now(&self) -> Result<Me> {
        (*self.standpoint.0.lock()).ok_or_else(|| StoreError::Refused("leases have not begun".into()))
    }

    /// The time of the books: one clock for all who share them.
    async fn time(&self, tx: &mut Tx) -> Result<i64> {
        if !tx.is_postgres() {
            return Ok(self.now());
        }
        let now: Option<(i64,)> =
            tx.one("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)", params![]).await?;
        Ok(now.map_or_else(|| self.now(), |(now,)| now))
    }

    /// What was spent of a budget, whose row is held until the end of the transaction and made if it is not there.
    async fn settled(&self, tx: &mut Tx, id: BudgetId, window: Window) -> Result<Nanos> {
        let tail = if tx.is_postgres() { " FOR UPDATE" } else { "" };
        let sql = format!("SELECT settled FROM budget_window WHERE {PLACE}{tail}");
        let row: Option<(i64,)> = tx.one(dynamic(sql.clone()), place(id, window)).await?;
        if let Some((settled,)) = row {
            return Ok(Nanos(settled));
        }
        if tx.is_postgres() {
            tx.exec("SELECT pg_advisory_xact_lock($1)", params![BOOKS_LOCK]).await?;
        }
        let spent = self.sum_within(tx, id, window).await?;
        let mut values = place(id, window);
        values.extend(params![window.end, spent.0]);
        tx.exec(
            "INSERT INTO budget_window (subject, level, span, window_start, window_end, settled, wanted_until) \
             VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT DO NOTHING",
            values,
        )
        .await?;
        let row: Option<(i64,)> = tx.one(dynamic(sql), place(id, window)).await?;
        Ok(row.map_or(spent, |(settled,)| Nanos(settled)))
    }

    /// Moves the budgets that stored attempts are paid from, and says what this process keeps of its leases after that.
    /// Comes last in the transaction of a batch.
    pub(crate) async fn settle_budgets(&self, tx: &mut Tx, costs: &[Cost], leases: &[Lease]) -> Result<()> {
        if !costs.is_empty() {
            if tx.is_postgres() {
                tx.exec("SELECT pg_advisory_xact_lock_shared($1)", params![BOOKS_LOCK]).await?;
            }
            let mut of_subject: HashMap<Subject, Vec<Cost>> = HashMap::new();
            for (payers, cost) in payers_of(tx, costs).await? {
                for payer in payers {
                    of_subject.entry(payer).or_default().push(cost);
                }
            }
            for (place, amount) in moved(tx, &of_subject).await? {
                let sql = format!("UPDATE budget_window SET settled = settled + $5 WHERE {PLACE}");
                tx.exec(dynamic(sql), params![place.0.as_slice(), place.1, place.2, place.3, amount]).await?;
            }
        }
        if leases.is_empty() {
            return Ok(());
        }
        let me = self.me_now()?;
        let now = self.time(tx).await?;
        for lease in leases {
            keep(tx, &me, lease, now).await?;
        }
        Ok(())
    }

    /// Throws out windows that are over for long.
    pub(crate) async fn sweep_windows(&self) -> Result<()> {
        let until = self.now() - KEPT_MS;
        let old = "FROM budget_window WHERE window_end < $1";
        let of_old = format!(
            "DELETE FROM budget_lease WHERE (subject, level, span, window_start) IN \
             (SELECT subject, level, span, window_start {old})"
        );
        self.db.exec(dynamic(of_old), params![until]).await?;
        self.db.exec(dynamic(format!("DELETE {old}")), params![until]).await.map(drop)
    }
}

fn place(id: BudgetId, window: Window) -> Vec<crate::db::Value> {
    params![&id.subject.id, id.subject.level as i64, id.span as i64, window.start]
}

fn read(subject: &[u8], level: i64, span: i64) -> Option<BudgetId> {
    let level = Level::ALL.into_iter().find(|known| *known as i64 == level)?;
    let span = Span::ALL.into_iter().find(|known| *known as i64 == span)?;
    Some(BudgetId { subject: Subject { level, id: subject.try_into().ok()? }, span })
}

/// Writes what a process keeps, unless a newer run has its name.
async fn keep(tx: &mut Tx, me: &Me, lease: &Lease, now: i64) -> Result<()> {
    let mut values = place(lease.id, lease.window);
    values.extend(params![&me.replica.0, lease.amount.0.max(0), lease.is_firm.then_some(now), &me.run]);
    tx.exec(
        "INSERT INTO budget_lease (subject, level, span, window_start, replica, amount, firm_at) \
         SELECT $1, $2, $3, $4, $5, $6, $7 FROM replica WHERE id = $5 AND run = $8 \
         ON CONFLICT (subject, level, span, window_start, replica) \
         DO UPDATE SET amount = excluded.amount, firm_at = excluded.firm_at",
        values,
    )
    .await
    .map(drop)
}

async fn standing(tx: &mut Tx, me: &Me, ask: &Ask, spent: Nanos, now: i64) -> Result<Standing> {
    let mut values = place(ask.kept.id, ask.kept.window);
    values.push((&me.replica.0).into());
    let others: Vec<(i64, Option<i64>, Option<i64>)> = tx
        .all(
            "SELECT l.amount, l.firm_at, r.seen_at FROM budget_lease AS l LEFT JOIN replica AS r ON r.id = l.replica \
             WHERE l.subject = $1 AND l.level = $2 AND l.span = $3 AND l.window_start = $4 AND l.replica <> $5 \
             AND l.amount > 0",
            values,
        )
        .await?;
    let is_heard = |firm_at: Option<i64>, seen_at: Option<i64>| {
        let is_silent = seen_at.is_none_or(|at| now.saturating_sub(at) > SILENT_MS);
        is_silent || firm_at.zip(ask.since).is_some_and(|(firm, since)| firm >= since)
    };
    let sum = |amounts: &mut dyn Iterator<Item = i64>| Nanos(amounts.fold(0, i64::saturating_add));
    let wanted = format!("SELECT wanted_until FROM budget_window WHERE {PLACE}");
    let wanted: Option<(i64,)> = tx.one(dynamic(wanted), place(ask.kept.id, ask.kept.window)).await?;
    let replicas: Option<(i64,)> =
        tx.one("SELECT COUNT(*) FROM replica WHERE seen_at >= $1", params![now - SILENT_MS]).await?;
    Ok(Standing {
        spent,
        elsewhere: sum(&mut others.iter().map(|(amount, ..)| *amount)),
        unheard: sum(&mut others.iter().filter(|(_, firm, seen)| !is_heard(*firm, *seen)).map(|(amount, ..)| *amount)),
        replicas: replicas.map_or(1, |(n,)| u32::try_from(n).unwrap_or(u32::MAX)),
        crowded: wanted.is_some_and(|(until,)| until > now),
        now,
    })
}

/// Who pays for each of these costs.
async fn payers_of(tx: &mut Tx, costs: &[Cost]) -> Result<Vec<(Vec<Subject>, Cost)>> {
    let mut keys: Vec<KeyId> = costs.iter().map(|cost| cost.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut payers: HashMap<KeyId, Vec<Subject>> = HashMap::new();
    for keys in keys.chunks(AT_ONCE) {
        let mut sql = Conditions::new(
            "SELECT id, parent_id, organisation_id, project_id, member_id, service_account_id FROM api_key WHERE TRUE",
        );
        sql.and_in("id", keys.iter().map(|key| crate::db::Value::from(&key.0)));
        let (sql, values) = sql.finish("");
        type Row = (Vec<u8>, Option<Vec<u8>>, Vec<u8>, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);
        let rows: Vec<Row> = tx.all(dynamic(sql), values).await?;
        for (key, parent, organisation, project, member, account) in rows {
            let Some(id) = KeyId::from_slice(&key) else { continue };
            let levels = [
                (Level::Installation, Some(vec![0; 16])),
                (Level::Organisation, Some(organisation)),
                (Level::Project, Some(project)),
                (Level::Member, member),
                (Level::ServiceAccount, account),
                (Level::Key, parent),
                (Level::Key, Some(key)),
            ];
            let subject = |(level, id): (Level, Option<Vec<u8>>)| Some(Subject { level, id: id?.try_into().ok()? });
            payers.insert(id, levels.into_iter().filter_map(subject).collect());
        }
    }
    let of = |cost: &Cost| (payers.get(&cost.key).cloned().unwrap_or_else(|| vec![cost.key.into()]), *cost);
    Ok(costs.iter().map(of).collect())
}

/// The budgets that these costs are paid from, held until the end of the transaction in one order for all, and by how much
/// each moves.
async fn moved(tx: &mut Tx, of_subject: &HashMap<Subject, Vec<Cost>>) -> Result<BTreeMap<Place, i64>> {
    let mut subjects: Vec<&Subject> = of_subject.keys().collect();
    subjects.sort_unstable_by_key(|subject| (subject.id, subject.level as i64));
    let tail = if tx.is_postgres() { " FOR UPDATE" } else { "" };
    let mut moved = BTreeMap::new();
    for subjects in subjects.chunks(AT_ONCE) {
        let mut sql =
            Conditions::new("SELECT subject, level, span, window_start, window_end FROM budget_window WHERE TRUE");
        sql.and_in("subject", subjects.iter().map(|subject| crate::db::Value::from(&subject.id)));
        let (sql, values) = sql.finish(&format!(" ORDER BY subject, level, span, window_start{tail}"));
        let rows: Vec<(Vec<u8>, i64, i64, i64, i64)> = tx.all(dynamic(sql), values).await?;
        for (subject, level, span, start, end) in rows {
            let Some(id) = read(&subject, level, span) else { continue };
            let window = Window { start, end };
            let costs = of_subject.get(&id.subject).into_iter().flatten();
            let amount = costs
                .filter(|cost| window.contains(cost.began))
                .fold(0i64, |sum, cost| sum.saturating_add(cost.amount));
            if amount != 0 {
                moved.insert((subject, level, span, start), amount);
            }
        }
    }
    Ok(moved)
}
