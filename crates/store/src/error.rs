//! How the store says no: one error for every caller above it, free of SQL, secrets and connection strings.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be asked now. Says nothing about whether a thing exists; a caller answers 503.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another transaction was in the way; the same thing may be tried again at once.
    #[error("the database was busy with another change of the same rows")]
    Contended,
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// What was asked contradicts what is stored.
    #[error("{0}")]
    Conflict(String),
    /// The object was changed since the version that the caller saw.
    #[error("the {what} was changed since: its version is {found}, not {expected}")]
    VersionMismatch { what: &'static str, expected: i64, found: i64 },
    #[error("{field}: {message}")]
    Invalid { field: &'static str, message: String },
    /// A sealed value does not open with this installation's key: moved, altered, or sealed under another key.
    #[error("the sealed {0} cannot be opened with this installation's key")]
    SecretUnavailable(&'static str),
    /// Another process has the data folder or the database file.
    #[error("another process is using {}", .0.display())]
    Locked(PathBuf),
    /// Starting would do harm; the text says why and what to do, never a value.
    #[error("{0}")]
    Refused(String),
    /// What the database holds is not what was written.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    #[error("the operating system gave no random bytes")]
    NoRandom,
}

impl StoreError {
    /// The exit code of a process that cannot go on because of this (sysexits.h).
    pub const fn exit_code(&self) -> i32 {
        match self {
            StoreError::Refused(_) => 78,
            StoreError::Locked(_) => 75,
            StoreError::Unavailable(_) => 69,
            StoreError::Corrupt(_) => 65,
            StoreError::NoRandom => 71,
            _ => 1,
        }
    }

    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        StoreError::Invalid { field, message: message.into() }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        StoreError::Conflict(message.into())
    }
}

impl From<getrandom::Error> for StoreError {
    fn from(_: getrandom::Error) -> Self {
        StoreError::NoRandom
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        let Some(db) = error.as_database_error() else {
            return match error {
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
                    StoreError::Corrupt("a stored value has another type than it was written with".into())
                }
                sqlx::Error::PoolTimedOut => StoreError::Unavailable("no connection became free in time".into()),
                sqlx::Error::PoolClosed => StoreError::Unavailable("the store is closed".into()),
                sqlx::Error::Io(io) => StoreError::Unavailable(io.kind().to_string()),
                sqlx::Error::Tls(_) => StoreError::Unavailable("the TLS handshake failed".into()),
                _ => StoreError::Unavailable("the connection failed".into()),
            };
        };
        match (db.kind(), db.code().as_deref()) {
            (ErrorKind::UniqueViolation, _) => StoreError::conflict("a thing of that name exists"),
            // PostgreSQL's serialization failure, deadlock and lock timeout; SQLITE_BUSY and its extended forms.
            (_, Some("40001" | "40P01" | "55P03" | "5" | "261" | "517" | "773")) => StoreError::Contended,
            // SQLITE_CORRUPT and SQLITE_NOTADB, with their extended forms, and PostgreSQL's class of data corruption.
            (_, Some("11" | "26" | "267" | "523" | "779" | "XX001" | "XX002")) => {
                StoreError::Corrupt(db.message().to_owned())
            }
            _ => StoreError::Unavailable(db.message().to_owned()),
        }
    }
}
