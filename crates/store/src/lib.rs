//! The memory of anykey: SQLite or PostgreSQL behind one set of queries, the key cache and the snapshot that calls read.
//! The only room that knows SQL.
#![forbid(unsafe_code)]

mod audit;
mod books;
mod bulk;
mod cache;
mod change;
mod clock_map;
mod db;
mod error;
mod exposure;
mod feed;
mod folder;
mod idempotency;
mod key_rows;
mod key_types;
mod keys;
mod lookup;
mod migrate;
mod options;
mod parents;
mod provider_types;
mod providers;
mod record;
mod requests;
mod rotation;
mod routing;
mod seal;
mod secrets_files;
mod snapshot;
mod sql;
mod store;
mod sums;
mod temp;
mod temp_asked;
mod usage;
mod usage_types;
mod uses;
mod valid;

pub use audit::{
    Acting, Actor, ActorKind, AuditBreak, AuditEntry, AuditFilter, AuditReport, ObjectKind, Surface, Verb, acting,
    carried, hash_entry, read_hash,
};
pub use cache::{LiveKey, Lookup};
pub use error::{Result, StoreError};
pub use exposure::Exposure;
pub use idempotency::{Begun, Claim};
pub use key_types::{
    KeyFilter, KeyPatch, KeyRow, KeyStatus, Listed, NewKey, Page, Rotated, Rotation, SecretRow, SecretState,
};
pub use options::{Clock, Database, Options};
pub use parents::{ParentNow, Temp};
pub use provider_types::{Alias, CatalogueRow, NewProvider, Origin, ProviderPatch, ProviderRow};
pub use snapshot::{Credential, Declared, Provider, Snapshot};
pub use store::{Counts, Store};
pub use temp::NewTemp;
pub use usage_types::{
    GroupBy, RequestCursor, RequestFilter, RequestRow, StatusFilter, UsageQuery, UsageRow, UsageSums,
};
