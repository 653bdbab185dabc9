//! A place for one test: a data folder, a database of its own, a clock that the test moves.

use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::token::{Digest, plain_sha256};
use anykey_core::usage::UsageSource;
use anykey_core::{Dialect, Endpoint, KeyId, KeyKind, Nanos, RequestId, Token, Unit, Usage};
use anykey_store::{Clock, Database, KeyRow, LiveKey, Lookup, NewKey, Options, Result, Store};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use tempfile::TempDir;

/// Runs each test on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&$crate::home::Home::sqlite()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let Some(home) = $crate::home::Home::postgres().await else { return };
                    super::$name(&home).await;
                    home.clean().await;
                }
            )*
        }
    };
}

/// Runs each test of `cases` on PostgreSQL, for what only several processes can do.
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(home) = $crate::home::Home::postgres().await else { return };
            cases::$name(&home).await;
            home.clean().await;
        }
    )* };
}

pub const START: i64 = 1_790_000_000_000;
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub struct Home {
    dir: TempDir,
    database: Database,
    clock: Arc<AtomicI64>,
    /// The schema of the test and how to get rid of it.
    schema: Option<(String, String)>,
}

impl Home {
    pub fn sqlite() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
            database: Database::parse("sqlite:").unwrap(),
            clock: Arc::new(AtomicI64::new(START)),
            schema: None,
        }
    }

    /// `None` where no server was named; the test then says so and passes.
    pub async fn postgres() -> Option<Home> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("ANYKEY_TEST_POSTGRES") else {
            eprintln!("skipped: ANYKEY_TEST_POSTGRES is not set");
            return None;
        };
        let schema = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&server, &format!("CREATE SCHEMA {schema}")).await;
        let sign = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{sign}options[search_path]={schema}");
        Some(Home {
            dir: tempfile::tempdir().unwrap(),
            database: Database::parse(&url).unwrap(),
            clock: Arc::new(AtomicI64::new(START)),
            schema: Some((server, schema)),
        })
    }

    pub async fn clean(self) {
        if let Some((server, schema)) = &self.schema {
            run(server, &format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn wait(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn options(&self) -> Options {
        let clock = Arc::clone(&self.clock);
        Options {
            clock: Clock::Driven(Arc::new(move || clock.load(Ordering::Relaxed))),
            max_connections: 4,
            ..Options::new(self.dir(), self.database.clone())
        }
    }

    pub async fn open(&self) -> Arc<Store> {
        Store::open(self.options()).await.unwrap()
    }

    /// A statement past the store, as an operator or an attacker with the database would send it.
    pub async fn sql(&self, sql: &str) {
        match &self.schema {
            Some((server, schema)) => run(server, &format!("SET search_path = {schema}; {sql}")).await,
            None => {
                let pool = self.sqlite_pool().await;
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
                pool.close().await;
            }
        }
    }

    /// The same of a statement that the database may refuse.
    pub async fn try_sql(&self, sql: &str) -> std::result::Result<(), String> {
        match &self.schema {
            Some((server, schema)) => {
                let pool = sqlx::PgPool::connect(server).await.unwrap();
                let sql = format!("SET search_path = {schema}; {sql}");
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await;
                pool.close().await;
                done.map(|_| ()).map_err(|error| error.to_string())
            }
            None => {
                let pool = self.sqlite_pool().await;
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await;
                pool.close().await;
                done.map(|_| ()).map_err(|error| error.to_string())
            }
        }
    }

    pub const fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    /// How the database would run a query.
    pub async fn plan(&self, sql: &str) -> String {
        use sqlx::Row as _;
        match &self.schema {
            Some((server, schema)) => {
                let pool = sqlx::PgPool::connect(server).await.unwrap();
                let mut tx = pool.begin().await.unwrap();
                let settings = format!("SET LOCAL search_path = {schema}; SET LOCAL enable_seqscan = off");
                sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(&mut *tx).await.unwrap();
                let sql = format!("EXPLAIN (GENERIC_PLAN) {sql}").replace("(GENERIC_PLAN) ", "");
                let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
            }
            None => {
                let pool = self.sqlite_pool().await;
                let sql = format!("EXPLAIN QUERY PLAN {sql}");
                let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// A connection of one's own to the PostgreSQL database of the test.
    pub async fn connection(&self) -> sqlx::PgConnection {
        use sqlx::Connection as _;
        let (server, schema) = self.schema.as_ref().expect("a test of PostgreSQL alone");
        let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
        let sql = format!("SET search_path = {schema}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection
    }

    async fn sqlite_pool(&self) -> sqlx::SqlitePool {
        let file = sqlx::sqlite::SqliteConnectOptions::new().filename(self.dir().join("anykey.db"));
        sqlx::SqlitePool::connect_with(file).await.unwrap()
    }
}

async fn run(server: &str, sql: &str) {
    let pool = sqlx::PgPool::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    pool.close().await;
}

pub async fn make(store: &Store, name: &str) -> (KeyRow, Token) {
    store.create_key(NewKey::new(KeyKind::Live, name)).await.unwrap()
}

pub fn digest(store: &Store, token: &Token) -> Digest {
    store.pepper().digest(token.expose().as_bytes())
}

/// What a call does: memory first, then the database.
pub async fn identify(store: &Store, token: &str, now: i64) -> Result<Lookup> {
    let digest = store.pepper().digest(token.as_bytes());
    match store.known(&digest, now) {
        Lookup::Ask => store.look_up(digest, Some(plain_sha256(token.as_bytes()))).await,
        known => Ok(known),
    }
}

pub async fn live(store: &Store, token: &Token, now: i64) -> Arc<LiveKey> {
    match identify(store, token.expose(), now).await.unwrap() {
        Lookup::Live(key) => key,
        other => panic!("not known: {other:?}"),
    }
}

/// Whether a call with the token would be let in.
pub async fn works(store: &Store, token: &Token, now: i64) -> bool {
    matches!(identify(store, token.expose(), now).await.unwrap(), Lookup::Live(key) if key.dead_at(now).is_none())
}

/// A finished call: 100 tokens in, 20 out, 1 millionth of a dollar.
pub fn call(key: KeyId, secret: [u8; 8], at: i64) -> AttemptRecord {
    AttemptRecord {
        request: RequestId::random(at).unwrap(),
        attempt: 1,
        key,
        secret,
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        stream: true,
        provider: "openai".into(),
        model_asked: "fast".into(),
        model_sent: "gpt-4o-mini".into(),
        model_served: "gpt-4o-mini-2024-07-18".into(),
        status: 200,
        outcome: Outcome::Completed,
        code: "",
        usage: Usage::default().with(Unit::Input, 100).with(Unit::Output, 20),
        usage_source: UsageSource::Reported,
        cost: Some(Nanos(1_000)),
        hold: Nanos(5_000),
        price_id: u64::MAX - 1,
        started_at: at,
        first_byte_us: 1_500,
        total_us: 20_000,
        bytes_in: 512,
        bytes_out: 4_096,
        upstream_id: "req-upstream".into(),
        client: Some(IpAddr::from([203, 0, 113, 7])),
    }
}

pub fn public_id(key: &KeyRow) -> [u8; 8] {
    key.secrets[0].public_id.as_bytes().try_into().unwrap()
}
