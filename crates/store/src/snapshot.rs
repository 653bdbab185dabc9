//! What calls are routed by: providers with their credentials, aliases and the price catalogue in force, swapped whole.

use crate::provider_types::{NewProvider, Origin};
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;

/// A provider's credential, opened.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The provider needs none.
    None,
    Open(SecretString),
    /// It is stored but does not open with this installation's key; calls answer 503 `upstream_unavailable`.
    Unavailable,
}

/// A provider as calls use it.
#[derive(Debug)]
pub struct Provider {
    pub name: Arc<str>,
    pub kind: Box<str>,
    pub base_url: Option<Box<str>>,
    pub credential: Credential,
    pub allow_private: bool,
    pub disabled: bool,
    pub origin: Origin,
    /// What the provider's own list named when it was last asked.
    pub models: Arc<[Box<str>]>,
    /// Goes up with every change made through the admin API; 0 for those of the settings file.
    pub version: i64,
}

/// One consistent view of all that calls are routed by.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Goes up by one with every change in this process.
    pub generation: u64,
    pub providers: HashMap<Arc<str>, Arc<Provider>, foldhash::fast::RandomState>,
    /// Name to target.
    pub aliases: HashMap<Box<str>, Arc<str>, foldhash::fast::RandomState>,
    /// The price catalogue that the operator loaded last; `None` is the one built in.
    pub catalogue: Option<i64>,
}

/// What the settings file declares. Kept in memory only: the file is where it is stored.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    pub providers: Vec<NewProvider>,
    /// Name and target.
    pub aliases: Vec<(String, String)>,
}
