//! Providers and aliases as they are managed.

use secrecy::SecretString;

/// Who said that a thing exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The settings file; replaced as a whole when the file is read again, and changed only there.
    Config,
    /// The admin API.
    Api,
}

impl Origin {
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Config => "config",
            Origin::Api => "api",
        }
    }
}

/// A provider that is added, by the admin API or by the settings file.
#[derive(Clone, Debug)]
pub struct NewProvider {
    pub name: String,
    /// The name of a row of the provider catalogue.
    pub kind: String,
    /// `None` uses the kind's own.
    pub base_url: Option<String>,
    pub credential: Option<SecretString>,
    pub allow_private: bool,
    pub disabled: bool,
}

/// What shall change. `None` leaves a field as it is; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct ProviderPatch {
    pub kind: Option<String>,
    pub base_url: Option<Option<String>>,
    pub credential: Option<Option<SecretString>>,
    pub allow_private: Option<bool>,
    pub disabled: Option<bool>,
}

/// A provider as it is shown to those who manage it: never the credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    pub name: String,
    pub kind: String,
    pub base_url: Option<String>,
    pub has_credential: bool,
    pub allow_private: bool,
    pub disabled: bool,
    pub origin: Origin,
    /// What the provider's own list named when it was last asked.
    pub models: Vec<String>,
    pub tested_at: Option<i64>,
    pub test_error: Option<String>,
    /// 0 for those of the settings file.
    pub version: i64,
    pub created_at: Option<i64>,
    pub updated_at: Option<i64>,
}

/// Another name for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub target: String,
    pub origin: Origin,
}

/// A price catalogue that was loaded into the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueRow {
    pub id: i64,
    pub loaded_at: i64,
    /// The URL or the file's name, as the operator gave it.
    pub source: String,
    pub bytes: Vec<u8>,
}
