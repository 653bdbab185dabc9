//! The routing table: every provider that can be called, ready to be called, and the names that lead to it. Built anew
//! when settings change, then only read.

use super::Offered;
use anykey_core::catalogue::{Catalogue, ModelEntry};
use anykey_core::price::Price;
use anykey_core::provider::{self, ProviderKind};
use anykey_core::{Dialect, Endpoint, model};
use anykey_net::guard::Destination;
use anykey_store::{Credential, Snapshot};
use foldhash::{HashMap, HashSet};
use secrecy::{ExposeSecret, SecretBox};
use std::sync::Arc;

/// A provider with its credential ready to be written into a request.
pub(crate) struct Provider {
    pub name: Arc<str>,
    pub kind: &'static ProviderKind,
    pub destination: Arc<Destination>,
    /// The Host field.
    pub authority: String,
    /// `name: value` lines with the credential, by dialect. Wiped when the table goes; cannot be printed.
    credential: [SecretBox<Vec<u8>>; Dialect::ALL.len()],
    /// Its credential is stored but cannot be opened with this installation's key: it cannot be called.
    pub sealed: bool,
    /// What the provider's own list said.
    models: HashSet<Box<str>>,
}

impl Provider {
    fn new(config: &anykey_store::Provider) -> Option<Self> {
        let kind = provider::kind(&config.kind)?;
        let base = config.base_url.as_deref().or(kind.base_url)?;
        // The URL was checked when it was entered; one that no longer passes is not called.
        let destination = Destination::parse(base, config.allow_private).ok()?;
        let credential = Dialect::ALL.map(|dialect| {
            let auth = kind.auth_for(dialect);
            SecretBox::new(Box::new(match &config.credential {
                Credential::Open(secret) => {
                    format!("{}: {}{}\r\n", auth.header(), auth.prefix(), secret.expose_secret()).into_bytes()
                }
                Credential::None | Credential::Unavailable => Vec::new(),
            }))
        });
        Some(Provider {
            name: config.name.clone(),
            kind,
            sealed: matches!(config.credential, Credential::Unavailable),
            authority: destination.authority(),
            destination: Arc::new(destination),
            credential,
            models: config.models.iter().cloned().collect(),
        })
    }

    /// The credential's header line in a dialect; empty where the provider asks for none.
    pub fn credential_line(&self, dialect: Dialect) -> &[u8] {
        self.credential[dialect as usize].expose_secret()
    }

    /// Whether the provider's own list has the model.
    pub fn lists(&self, model: &str) -> bool {
        self.models.contains(model)
    }

    pub fn is_practice(&self) -> bool {
        self.kind.name == model::PRACTICE
    }

    /// Writes the path of an endpoint at this provider. The practice provider's base URL has no version, and every dialect.
    pub fn write_path(&self, head: &mut Vec<u8>, endpoint: Endpoint, dialect: Dialect, model: &str) {
        head.extend_from_slice(self.destination.prefix.as_bytes());
        if dialect == Dialect::OpenAi && self.is_practice() {
            head.extend_from_slice(b"/v1");
        }
        head.extend_from_slice(self.kind.path_to(endpoint).as_bytes());
        head.extend_from_slice(endpoint.upstream_path(model).as_bytes());
    }
}

/// What names mean right now.
pub(crate) struct Table {
    providers: Vec<Arc<Provider>>,
    by_name: HashMap<Box<str>, Arc<Provider>>,
    aliases: HashMap<Box<str>, Box<str>>,
    /// The price of what a provider does for nothing.
    pub nothing: Arc<Price>,
    pub catalogue: Arc<Catalogue>,
}

impl Table {
    pub fn new(snapshot: &Snapshot, catalogue: Arc<Catalogue>) -> Self {
        let usable = snapshot.providers.values().filter(|p| !p.disabled);
        let mut providers: Vec<_> = usable.filter_map(|p| Provider::new(p)).map(Arc::new).collect();
        // A bare name that two providers know goes to the first by name, on every replica alike.
        providers.sort_by(|a, b| a.name.cmp(&b.name));
        let by_name = providers.iter().map(|p| (Box::from(&*p.name), p.clone())).collect();
        let aliases = snapshot.aliases.iter().map(|(name, target)| (name.clone(), Box::from(&**target))).collect();
        Table { providers, by_name, aliases, nothing: Arc::new(Price::free()), catalogue }
    }

    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.by_name.get(name)
    }

    pub fn alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(name).map(|t| &**t)
    }

    pub fn has_kind(&self, kind: &str) -> bool {
        self.providers.iter().any(|p| p.kind.name == kind)
    }

    /// The catalogue's kinds that know a bare name, whether or not they are set up.
    pub fn kinds_knowing<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'static str> {
        self.catalogue.kinds_of(name).into_iter()
    }

    /// Providers that know a bare name: first those whose own list has it, then those whose kind the catalogue says
    /// serves it. The practice provider's models have to be named as its own.
    pub fn knowing<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Provider>> {
        let real = || self.providers.iter().filter(|p| !p.is_practice());
        let listed = real().filter(move |p| p.models.contains(name));
        let catalogued =
            real().filter(move |p| !p.models.contains(name) && self.catalogue.find(p.kind.name, name).is_some());
        listed.chain(catalogued)
    }

    pub fn entry(&self, provider: &Provider, model: &str) -> Option<&ModelEntry> {
        self.catalogue.find(provider.kind.name, model)
    }

    /// Every model that can be called: the provider's own list where it gave one, the catalogue's otherwise, and
    /// aliases under their own names.
    pub fn offered(&self) -> impl Iterator<Item = (String, Offered<'_>)> {
        let models = self.providers.iter().flat_map(move |provider| {
            let mut names: Vec<&str> = if provider.models.is_empty() {
                self.catalogue.models(provider.kind.name).iter().map(|e| &*e.id).collect()
            } else {
                provider.models.iter().map(|m| &**m).collect()
            };
            names.sort_unstable();
            names.into_iter().map(move |model| {
                let entry = self.entry(provider, model);
                (format!("{}/{model}", provider.name), Offered { provider, model, entry })
            })
        });
        let aliases = self.aliases.iter().filter_map(|(name, target)| {
            let (first, model) = target.split_once('/')?;
            let provider = self.provider(first)?;
            Some((name.to_string(), Offered { provider, model, entry: self.entry(provider, model) }))
        });
        aliases.chain(models)
    }
}
