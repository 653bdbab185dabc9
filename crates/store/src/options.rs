//! What the store is opened with.

use crate::error::{Result, StoreError};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which database, and where.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file of this path, or `anykey.db` in the data folder.
    Sqlite(Option<PathBuf>),
    /// The connection string; it may hold a password.
    Postgres(SecretString),
}

impl Database {
    /// Reads `sqlite:`, `sqlite:PATH` or `postgres://...`.
    pub fn parse(text: &str) -> Result<Database> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Database::Postgres(SecretString::from(text)));
        }
        match text.strip_prefix("sqlite:") {
            Some("" | "//") => Ok(Database::Sqlite(None)),
            Some(path) => Ok(Database::Sqlite(Some(Path::new(path.strip_prefix("//").unwrap_or(path)).to_owned()))),
            None => Err(StoreError::invalid("database", "is sqlite: or postgres://user@host/name")),
        }
    }
}

/// Where the store reads the time, in milliseconds since 1970.
#[derive(Clone)]
pub enum Clock {
    System,
    /// A clock that a test or a simulation moves.
    Driven(Arc<dyn Fn() -> i64 + Send + Sync>),
}

impl Clock {
    pub fn now_ms(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Clock::Driven(now) => now(),
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Clock::System => "System",
            Clock::Driven(_) => "Driven",
        })
    }
}

/// What [`crate::Store::open`] needs to know. [`Options::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Made with mode 0700 where it is missing.
    pub data_dir: PathBuf,
    pub database: Database,
    /// The first part of every key that is made here.
    pub brand: String,
    /// A pepper that is kept elsewhere; it must exist. Otherwise `pepper` in the data folder.
    pub pepper_file: Option<PathBuf>,
    /// A key-encrypting key that is kept elsewhere; it must exist. Otherwise `kek` in the data folder.
    pub kek_file: Option<PathBuf>,
    /// How many secrets are kept in memory.
    pub known_keys: usize,
    /// How many digests are remembered as unknown.
    pub unknown_keys: usize,
    /// How long the database may be out of reach before keys in memory are no longer trusted (PostgreSQL).
    pub auth_max_stale: Duration,
    /// How often the changes of other replicas are read (PostgreSQL).
    pub feed_interval: Duration,
    /// Connections to PostgreSQL.
    pub max_connections: u32,
    /// How many keys a page of a list looks at: all of those that most installations have, and few enough that a search
    /// among millions comes back soon, with what it has and where it goes on.
    pub page_reach: i64,
    pub clock: Clock,
}

impl Options {
    pub fn new(data_dir: impl Into<PathBuf>, database: Database) -> Self {
        Options {
            data_dir: data_dir.into(),
            database,
            brand: "ak".into(),
            pepper_file: None,
            kek_file: None,
            known_keys: 100_000,
            unknown_keys: 10_000,
            auth_max_stale: Duration::from_secs(30),
            feed_interval: Duration::from_millis(250),
            max_connections: 10,
            page_reach: 200_000,
            clock: Clock::System,
        }
    }
}
