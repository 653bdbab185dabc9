//! The memory of anykey: SQLite or PostgreSQL behind one set of queries, the key cache and the snapshot that calls read.
//! The only room that knows SQL.
#![forbid(unsafe_code)]

mod cache;
mod error;
mod idempotency;
mod key_types;
mod options;
mod provider_types;
mod snapshot;
mod usage_types;

pub use cache::{LiveKey, Lookup};
pub use error::{Result, StoreError};
pub use idempotency::{Begun, Claim};
pub use key_types::{
    KeyFilter, KeyPatch, KeyRow, KeyStatus, Listed, NewKey, Page, Rotated, Rotation, SecretRow, SecretState,
};
pub use options::{Clock, Database, Options};
pub use provider_types::{Alias, CatalogueRow, NewProvider, Origin, ProviderPatch, ProviderRow};
pub use snapshot::{Credential, Declared, Provider, Snapshot};
pub use usage_types::{
    GroupBy, RequestCursor, RequestFilter, RequestRow, StatusFilter, UsageQuery, UsageRow, UsageSums,
};

use anykey_core::record::AttemptRecord;
use anykey_core::token::{Digest, Pepper};
use anykey_core::{KeyId, Nanos, RequestId, Token};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub struct Store {
    pepper: Pepper,
    brand: String,
}

fn soon<T>() -> Result<T> {
    Err(StoreError::Unavailable("this part is being built".into()))
}

impl Store {
    /// Opens the database, brings it up to date, and loads the pepper and the key-encrypting key. Loads no keys.
    pub async fn open(_options: Options) -> Result<Arc<Store>> { soon() }
    /// Writes what is still in memory, stops the background work and closes the connections.
    pub async fn close(&self) {}
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> { soon() }
    /// Whether keys in memory are trusted: false once the database was out of reach for `auth_max_stale`.
    pub fn is_fresh(&self) -> bool { true }
    pub fn pepper(&self) -> &Pepper { &self.pepper }
    pub fn brand(&self) -> &str { &self.brand }
    /// `sqlite` or `postgres`.
    pub fn database(&self) -> &'static str { "sqlite" }
    /// Keys that are not deleted, and providers.
    pub async fn counts(&self) -> Result<Counts> { soon() }

    // ---- the path of a call
    pub fn known(&self, _digest: &Digest, _now_ms: i64) -> Lookup { Lookup::Ask }
    /// One query, then the answer is kept. Never [`Lookup::Ask`]. `plain` is the plain SHA-256 of the same token
    /// (`anykey_core::token::plain_sha256`), by which imported keys are known until their first use.
    pub async fn look_up(&self, _digest: Digest, _plain: Option<Digest>) -> Result<Lookup> { soon() }
    /// Notes a use that leaves no record (the admin API); written in the background.
    pub fn note_use(&self, _key: &LiveKey, _at_ms: i64, _from: Option<IpAddr>) {}
    pub fn snapshot(&self) -> Arc<Snapshot> { Arc::default() }

    // ---- keys
    pub async fn create_key(&self, _new: NewKey) -> Result<(KeyRow, Token)> { soon() }
    /// `sha256` is the plain SHA-256 of a key of another system.
    pub async fn import_key(&self, _sha256: Digest, _new: NewKey) -> Result<KeyRow> { soon() }
    pub async fn key(&self, _id: KeyId) -> Result<KeyRow> { soon() }
    pub async fn keys(&self, _filter: &KeyFilter, _page: Page<KeyId>) -> Result<Listed<KeyRow, KeyId>> { soon() }
    pub async fn key_by_public_id(&self, _public_id: &str) -> Result<KeyRow> { soon() }
    pub async fn key_names(&self, _ids: &[KeyId]) -> Result<HashMap<KeyId, String>> { soon() }
    /// `expected` is the version that the caller saw (`If-Match`); `None` takes whatever is there.
    pub async fn update_key(&self, _id: KeyId, _expected: Option<i64>, _patch: KeyPatch) -> Result<KeyRow> { soon() }
    pub async fn disable_key(&self, _id: KeyId, _expected: Option<i64>) -> Result<KeyRow> { soon() }
    pub async fn enable_key(&self, _id: KeyId, _expected: Option<i64>) -> Result<KeyRow> { soon() }
    /// Leaves a tombstone, so that records keep a name.
    pub async fn delete_key(&self, _id: KeyId, _expected: Option<i64>) -> Result<KeyRow> { soon() }
    /// All older secrets are dead when this returns.
    pub async fn regenerate_key(&self, _id: KeyId, _expected: Option<i64>) -> Result<(KeyRow, Token)> { soon() }
    pub async fn rotate_key(&self, _id: KeyId, _expected: Option<i64>, _rotation: Rotation) -> Result<Rotated> { soon() }
    /// The key's text was seen where secrets do not belong; the first time is kept.
    pub async fn flag_exposed(&self, _id: KeyId) -> Result<()> { soon() }

    // ---- the books
    /// Stores finished attempts. Each counts once however often it comes; an unresolved one is replaced once by its truth.
    pub async fn apply(&self, _batch: Vec<AttemptRecord>) -> Result<()> { soon() }
    /// All that was ever charged to the key and is stored.
    pub async fn spent(&self, _key: KeyId) -> Result<Nanos> { soon() }
    pub async fn usage(&self, _query: &UsageQuery) -> Result<Vec<UsageRow>> { soon() }
    pub async fn requests(&self, _filter: &RequestFilter, _page: Page<RequestCursor>) -> Result<Listed<RequestRow, RequestCursor>> { soon() }
    /// The attempts of one request, first to last; [`StoreError::NotFound`] where there are none.
    pub async fn request(&self, _id: RequestId) -> Result<Vec<RequestRow>> { soon() }

    // ---- providers, aliases, prices
    pub async fn add_provider(&self, _new: NewProvider) -> Result<ProviderRow> { soon() }
    /// By name.
    pub async fn providers(&self) -> Result<Vec<ProviderRow>> { soon() }
    pub async fn provider(&self, _name: &str) -> Result<ProviderRow> { soon() }
    pub async fn update_provider(&self, _name: &str, _expected: Option<i64>, _patch: ProviderPatch) -> Result<ProviderRow> { soon() }
    pub async fn remove_provider(&self, _name: &str, _expected: Option<i64>) -> Result<()> { soon() }
    /// What a test of the provider found: the models it listed, or why it failed (then the models known before stay).
    pub async fn set_provider_test(&self, _name: &str, _found: std::result::Result<Vec<String>, String>) -> Result<ProviderRow> { soon() }
    pub async fn aliases(&self) -> Result<Vec<Alias>> { soon() }
    /// Makes an alias, or points it elsewhere.
    pub async fn set_alias(&self, _name: &str, _target: &str) -> Result<Alias> { soon() }
    pub async fn remove_alias(&self, _name: &str) -> Result<()> { soon() }
    /// What the settings file declares; replaces what it declared before.
    pub async fn set_declared(&self, _declared: Declared) -> Result<()> { soon() }
    /// The price catalogue that was loaded last.
    pub async fn catalogue(&self) -> Result<Option<CatalogueRow>> { soon() }
    pub async fn set_catalogue(&self, _source: &str, _bytes: Vec<u8>) -> Result<i64> { soon() }

    // ---- settings, idempotency
    pub async fn setting(&self, _name: &str) -> Result<Option<String>> { soon() }
    pub async fn set_setting(&self, _name: &str, _value: &str) -> Result<()> { soon() }
    /// `route` names the caller and the operation, so that two callers never share a key.
    pub async fn idempotency_begin(&self, _route: &str, _key: &str, _body: &[u8]) -> Result<Begun> { soon() }
    pub async fn idempotency_finish(&self, _claim: Claim, _status: u16, _body: &[u8]) -> Result<()> { soon() }
    /// The operation failed: the same key may be tried again.
    pub async fn idempotency_abandon(&self, _claim: Claim) -> Result<()> { soon() }
}

/// How much is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub keys: i64,
    pub providers: i64,
}
