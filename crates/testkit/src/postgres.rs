//! A database of its own for a gateway, on the server that `ANYKEY_TEST_POSTGRES` names.

use sqlx::{Connection as _, PgConnection};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Dropped with this.
#[derive(Debug)]
pub struct ScratchDatabase {
    server: String,
    name: String,
}

impl ScratchDatabase {
    /// `None`, with a line in the test's output, where there is no server to test on.
    pub fn make() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("ANYKEY_TEST_POSTGRES") else {
            eprintln!("SKIPPED on PostgreSQL: ANYKEY_TEST_POSTGRES is not set");
            return None;
        };
        // A run that was broken off leaves databases behind, and process ids come again.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let name = format!("journey_{}_{now}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&server, &format!("CREATE DATABASE {name}"));
        Some(ScratchDatabase { server, name })
    }

    /// Takes the database away from whoever uses it, as a network or a failing server would.
    pub fn cut_off(&self) {
        run(&self.server, &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", self.name));
        let all = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name);
        run(&self.server, &all);
    }

    /// Gives it back.
    pub fn bring_back(&self) {
        run(&self.server, &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", self.name));
    }

    pub fn url(&self) -> String {
        let (server, options) = match self.server.split_once('?') {
            Some((server, options)) => (server, format!("?{options}")),
            None => (self.server.as_str(), String::new()),
        };
        let after_host = server.find("://").map_or(0, |at| at + 3);
        let base = server[after_host..].find('/').map_or(server, |at| &server[..after_host + at]);
        format!("{base}/{}{options}", self.name)
    }
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            run(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A statement on a SQLite file that nobody has open.
pub(crate) fn run_on_sqlite(file: &std::path::Path, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn run(server: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection =
            PgConnection::connect(server).await.expect("the PostgreSQL of ANYKEY_TEST_POSTGRES answers");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}
