//! One query text, two databases: a concrete `Db` over sqlx, so that every query above it is written once.
//!
//! What the two understand alike: `$1`, `ON CONFLICT`, `RETURNING`, row values, partial indexes. What they do not, and is
//! therefore kept out: `SUM` without a cast, integer literals as results, `LIKE` without `LOWER`, NULLs in an order.

use crate::error::{Result, StoreError};
use crate::options::Options;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Database, Decode, Encode, Postgres, Row as _, SqlSafeStr, Sqlite, Type,
};
use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// SQLite before this can corrupt a database that several connections use in WAL mode.
const SQLITE_FLOOR: [u32; 3] = [3, 51, 3];
/// A slow list must not keep a key's look-up waiting, and more than these only take memory: each knows the whole schema.
const SQLITE_READERS: RangeInclusive<usize> = 2..=4;
/// How long a caller waits for a connection before it hears that the database is not available.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) enum Db {
    /// SQLite takes one writer at a time; a pool of one makes writers wait in turn instead of failing.
    Lite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Pg(PgPool),
}

pub(crate) enum Tx {
    Lite(sqlx::Transaction<'static, Sqlite>),
    Pg(sqlx::Transaction<'static, Postgres>),
}

enum AnyRow {
    Lite(SqliteRow),
    Pg(PgRow),
}

/// A type that a column of either database can be read as.
pub(crate) trait Cell:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}
impl<T> Cell for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

/// A row, read column by column from the left.
pub(crate) struct Row {
    row: AnyRow,
    next: usize,
}

impl Row {
    pub fn take<T: Cell>(&mut self) -> Result<T> {
        let i = self.next;
        self.next += 1;
        Ok(match &self.row {
            AnyRow::Lite(row) => row.try_get(i)?,
            AnyRow::Pg(row) => row.try_get(i)?,
        })
    }

    /// An id of 16 bytes or a digest of 32.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take::<Vec<u8>>()?.try_into().map_err(|_| damaged("an id or digest has another length"))
    }

    /// A name of a closed set.
    pub fn name<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        let text: String = self.take()?;
        read(&text).ok_or_else(|| damaged("a name is not one of its closed set"))
    }
}

/// For what a row holds that this program never writes.
pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

/// Something that is read from a row.
pub(crate) trait FromRow: Sized {
    fn from_row(row: &mut Row) -> Result<Self>;
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Cell),*> FromRow for ($($name,)*) {
            fn from_row(row: &mut Row) -> Result<Self> {
                Ok(($(row.take::<$name>()?,)*))
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);

/// A value on its way into a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<Arc<str>>),
    Bytes(Vec<u8>),
    /// NULL where bytes could be.
    NoBytes,
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(Some(n))
    }
}
impl From<Option<i64>> for Value {
    fn from(n: Option<i64>) -> Self {
        Value::Int(n)
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(Some(clean(text).into()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::from(text.as_str())
    }
}
impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::from(text.as_str())
    }
}
impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Self {
        match clean(text) {
            Cow::Borrowed(_) => Value::Text(Some(Arc::clone(text))),
            Cow::Owned(text) => Value::Text(Some(text.into())),
        }
    }
}
impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        text.as_ref().map_or(Value::Text(None), Value::from)
    }
}
impl From<Option<IpAddr>> for Value {
    fn from(ip: Option<IpAddr>) -> Self {
        Value::Text(ip.map(|ip| ip.to_string().into()))
    }
}
impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(bytes.to_vec())
    }
}
impl From<Option<[u8; 16]>> for Value {
    fn from(id: Option<[u8; 16]>) -> Self {
        id.map_or(Value::NoBytes, |id| Value::from(&id))
    }
}
impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Value::Bytes(bytes.to_vec())
    }
}

/// PostgreSQL refuses NUL in text, and one such character would keep a whole batch from being stored.
fn clean(text: &str) -> Cow<'_, str> {
    if text.as_bytes().contains(&0) { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}
pub(crate) use params;

fn arguments<D: Database>(values: Vec<Value>) -> Result<D::Arguments>
where
    D::Arguments: Default,
    Option<i64>: for<'q> Encode<'q, D> + Type<D>,
    i64: for<'q> Encode<'q, D> + Type<D>,
    bool: for<'q> Encode<'q, D> + Type<D>,
    Option<Arc<str>>: for<'q> Encode<'q, D> + Type<D>,
    Arc<str>: for<'q> Encode<'q, D> + Type<D>,
    Vec<u8>: for<'q> Encode<'q, D> + Type<D>,
    Option<Vec<u8>>: for<'q> Encode<'q, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    arguments.reserve(values.len(), values.len() * 16);
    for value in values {
        match value {
            Value::Int(Some(n)) => arguments.add(n),
            Value::Int(None) => arguments.add(None::<i64>),
            Value::Bool(b) => arguments.add(b),
            Value::Text(Some(text)) => arguments.add(text),
            Value::Text(None) => arguments.add(None::<Arc<str>>),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::NoBytes => arguments.add(None::<Vec<u8>>),
        }
        .map_err(|_| StoreError::Unavailable("a value could not be encoded".into()))?;
    }
    Ok(arguments)
}

/// Runs one statement on an executor of either kind.
macro_rules! run {
    ($executor:expr, $database:ty, $sql:expr, $values:expr, $method:ident) => {{
        let sql = $sql.into_sql_str();
        // The text alone; what is bound to it may be anybody's.
        tracing::trace!(target: "anykey_store::sql", statement = sql.as_str());
        sqlx::query_with(sql, arguments::<$database>($values)?).$method($executor).await?
    }};
}

fn read<T: FromRow>(row: AnyRow) -> Result<T> {
    T::from_row(&mut Row { row, next: 0 })
}

impl Db {
    pub async fn open(options: &Options, sqlite_file: Option<&Path>) -> Result<Db> {
        match (&options.database, sqlite_file) {
            (crate::Database::Postgres(url), _) => open_postgres(url.expose_secret(), options.max_connections).await,
            (crate::Database::Sqlite(_), Some(file)) => open_sqlite(file).await,
            (crate::Database::Sqlite(_), None) => Err(StoreError::Refused("the database file has no path".into())),
        }
    }

    pub const fn is_postgres(&self) -> bool {
        matches!(self, Db::Pg(_))
    }

    /// Runs a statement that changes something, in a transaction of its own.
    pub async fn exec(&self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<u64> {
        Ok(match self {
            Db::Lite { writer, .. } => run!(writer, Sqlite, sql, values, execute).rows_affected(),
            Db::Pg(pool) => run!(pool, Postgres, sql, values, execute).rows_affected(),
        })
    }

    pub async fn all<T: FromRow>(&self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<T>> {
        match self {
            Db::Lite { readers, .. } => {
                run!(readers, Sqlite, sql, values, fetch_all).into_iter().map(|row| read(AnyRow::Lite(row))).collect()
            }
            Db::Pg(pool) => {
                run!(pool, Postgres, sql, values, fetch_all).into_iter().map(|row| read(AnyRow::Pg(row))).collect()
            }
        }
    }

    pub async fn one<T: FromRow>(&self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<Option<T>> {
        match self {
            Db::Lite { readers, .. } => run!(readers, Sqlite, sql, values, fetch_optional).map(AnyRow::Lite),
            Db::Pg(pool) => run!(pool, Postgres, sql, values, fetch_optional).map(AnyRow::Pg),
        }
        .map(read)
        .transpose()
    }

    /// How the database would run a query.
    pub async fn explain(&self, sql: &str, values: Vec<Value>) -> Result<String> {
        let sql = match self {
            Db::Lite { .. } => AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")),
            Db::Pg(_) => AssertSqlSafe(format!("EXPLAIN {sql}")),
        };
        let lines: Vec<String> = match self {
            Db::Lite { readers, .. } => run!(readers, Sqlite, sql, values, fetch_all)
                .iter()
                .map(|row| row.try_get::<String, _>(3))
                .collect::<std::result::Result<_, _>>()?,
            Db::Pg(pool) => run!(pool, Postgres, sql, values, fetch_all)
                .iter()
                .map(|row| row.try_get::<String, _>(0))
                .collect::<std::result::Result<_, _>>()?,
        };
        Ok(lines.join("\n"))
    }

    /// Begins a transaction that writes.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            // A deferred transaction that turns into a writing one can fail at once, without waiting its turn.
            Db::Lite { writer, .. } => Tx::Lite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Db::Pg(pool) => Tx::Pg(pool.begin().await?),
        })
    }

    /// Gives back the memory in which SQLite's writer keeps pages that it has read or written.
    pub async fn forget_pages(&self) -> Result<()> {
        match self {
            Db::Lite { .. } => self.exec("PRAGMA shrink_memory", params![]).await.map(drop),
            Db::Pg(_) => Ok(()),
        }
    }

    pub async fn close(&self) {
        match self {
            Db::Lite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Pg(pool) => pool.close().await,
        }
    }

    /// The placeholders of `rows` rows of `columns` values. SQLite's are nameless: it looks each name up in a list, which
    /// for thousands of them costs more than the insert.
    pub fn placeholders(&self, rows: usize, columns: usize) -> String {
        let mut text = String::with_capacity(rows * (columns * 4 + 3));
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..columns {
                if column > 0 {
                    text.push(',');
                }
                match self {
                    Db::Lite { .. } => text.push('?'),
                    Db::Pg(_) => text.push_str(&format!("${}", row * columns + column + 1)),
                }
            }
            text.push(')');
        }
        text
    }
}

impl Tx {
    pub async fn exec(&mut self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<u64> {
        Ok(match self {
            Tx::Lite(tx) => run!(&mut **tx, Sqlite, sql, values, execute).rows_affected(),
            Tx::Pg(tx) => run!(&mut **tx, Postgres, sql, values, execute).rows_affected(),
        })
    }

    pub async fn all<T: FromRow>(&mut self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<T>> {
        match self {
            Tx::Lite(tx) => {
                run!(&mut **tx, Sqlite, sql, values, fetch_all).into_iter().map(|row| read(AnyRow::Lite(row))).collect()
            }
            Tx::Pg(tx) => {
                run!(&mut **tx, Postgres, sql, values, fetch_all).into_iter().map(|row| read(AnyRow::Pg(row))).collect()
            }
        }
    }

    pub async fn one<T: FromRow>(&mut self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<Option<T>> {
        match self {
            Tx::Lite(tx) => run!(&mut **tx, Sqlite, sql, values, fetch_optional).map(AnyRow::Lite),
            Tx::Pg(tx) => run!(&mut **tx, Postgres, sql, values, fetch_optional).map(AnyRow::Pg),
        }
        .map(read)
        .transpose()
    }

    /// Runs several statements that take no values.
    pub async fn script(&mut self, sql: String) -> Result<()> {
        match self {
            Tx::Lite(tx) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map(|_| ())?,
            Tx::Pg(tx) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map(|_| ())?,
        }
        Ok(())
    }

    pub const fn is_postgres(&self) -> bool {
        matches!(self, Tx::Pg(_))
    }

    pub async fn commit(self) -> Result<()> {
        match self {
            Tx::Lite(tx) => tx.commit().await?,
            Tx::Pg(tx) => tx.commit().await?,
        }
        Ok(())
    }

    pub async fn roll_back(self) -> Result<()> {
        match self {
            Tx::Lite(tx) => tx.rollback().await?,
            Tx::Pg(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

async fn open_sqlite(file: &Path) -> Result<Db> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        // The cost of FULL is nil with batches of a hundred rows, and it keeps what was acknowledged.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Statements over many rows keep what they may have to undo; in a file that was a quarter of the cost of a batch.
        .pragma("temp_store", "MEMORY")
        // A burst must not leave a log of its size behind.
        .pragma("journal_size_limit", "67108864")
        .busy_timeout(ACQUIRE_TIMEOUT)
        .disable_statement_logging();
    // No statistics are kept (`PRAGMA optimize`): those of a young installation, with its handful of keys, would make the
    // planner scan the tables of a grown one. Without any it takes the indexes, which is always right here.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options.clone())
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(sqlite_readers())
        .min_connections(1)
        // A file does not hang up; asking first would double the cost of a look-up.
        .test_before_acquire(false)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.read_only(true));
    let db = Db::Lite { writer, readers };
    let (version,): (String,) = db
        .one("SELECT sqlite_version()", params![])
        .await?
        .ok_or_else(|| StoreError::Refused("SQLite does not say which version it is".into()))?;
    check_sqlite_version(&version)?;
    Ok(db)
}

fn sqlite_readers() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.clamp(*SQLITE_READERS.start(), *SQLITE_READERS.end()) as u32
}

fn check_sqlite_version(version: &str) -> Result<()> {
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    if parts.as_slice() >= SQLITE_FLOOR.as_slice() {
        return Ok(());
    }
    let [a, b, c] = SQLITE_FLOOR;
    Err(StoreError::Refused(format!(
        "SQLite {version} can corrupt a database in WAL mode; {a}.{b}.{c} or newer is needed"
    )))
}

async fn open_postgres(url: &str, max_connections: u32) -> Result<Db> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Refused("the connection string of the database cannot be read".into()))?
        .application_name("anykey")
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(max_connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await?;
    Ok(Db::Pg(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_corrupts_is_refused() {
        for version in ["3.51.2", "3.46.0", "2.99.99", "", "x"] {
            assert!(matches!(check_sqlite_version(version), Err(StoreError::Refused(_))), "{version}");
        }
        for version in ["3.51.3", "3.52", "3.52.0", "4.0.0"] {
            assert_eq!(check_sqlite_version(version), Ok(()), "{version}");
        }
    }

    #[test]
    fn nul_never_reaches_a_statement() {
        let Value::Text(Some(text)) = Value::from("a\0b") else { panic!("not text") };
        assert_eq!(&*text, "a\u{fffd}b");
    }
}
