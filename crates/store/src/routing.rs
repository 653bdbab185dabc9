//! Builds the snapshot anew after each change of providers, aliases or prices, and swaps it in.

use crate::Store;
use crate::audit::{Acting, Deed, Facts, Object, ObjectKind, Verb, acting, told};
use crate::db::params;
use crate::error::Result;
use crate::provider_types::{CatalogueRow, NewProvider, Origin};
use crate::providers::{ProviderRecord, TestRecord, check, check_alias, credential_of};
use crate::snapshot::{Credential, Declared, Provider, Snapshot};
use anykey_core::model::PRACTICE;
use arc_swap::ArcSwap;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;

/// Catalogues that are kept; a megabyte each.
const CATALOGUES_KEPT: i64 = 10;

/// The setting that holds what the settings file declared when it was last read.
const DECLARED: &str = "declared";

#[derive(Default)]
pub(crate) struct Routing {
    current: ArcSwap<Snapshot>,
    declared: ArcSwap<Declared>,
    /// Held while a snapshot is built, so that an older view never replaces a newer one.
    building: tokio::sync::Mutex<()>,
}

impl Routing {
    pub fn declared(&self) -> Arc<Declared> {
        self.declared.load_full()
    }
}

impl Store {
    /// What calls are routed by, at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.routing.current.load_full()
    }

    /// The same for a short look, without counting references; not to be held across an await.
    pub fn snapshot_guard(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.routing.current.load()
    }

    /// What the settings file declares; replaces what it declared before. A provider or alias of the same name that was
    /// made through the admin API steps back until the declaration is gone.
    pub async fn set_declared(&self, declared: Declared) -> Result<()> {
        for provider in &declared.providers {
            check(&provider.name, &provider.kind, provider.base_url.as_deref())?;
        }
        for (name, target) in &declared.aliases {
            check_alias(name, target)?;
        }
        let told = declared_facts(&declared);
        acting(Acting::settings_file(), self.detached(|store| async move { store.record_declared(told).await }))
            .await?;
        self.routing.declared.store(Arc::new(declared));
        self.detached(|store| async move { store.rebuild_snapshot().await }).await
    }

    /// Notes what the settings file declares, where it is something else than when it was last read.
    async fn record_declared(&self, now: Facts) -> Result<()> {
        let known = self.setting(DECLARED).await?.as_deref().and_then(Facts::read).unwrap_or_default();
        if known == now {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        tx.exec(
            "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![DECLARED, now.stored()],
        )
        .await?;
        let object = Object::new(ObjectKind::Settings, "settings", "settings file");
        self.record(&mut tx, Deed::differing(Verb::SettingsApply, object, known, now)).await?;
        tx.commit().await
    }

    /// The price catalogue that was loaded last.
    pub async fn catalogue(&self) -> Result<Option<CatalogueRow>> {
        let row: Option<(i64, i64, String, Vec<u8>)> = self
            .db
            .one("SELECT id, loaded_at, source, bytes FROM catalogue ORDER BY id DESC LIMIT 1", params![])
            .await?;
        Ok(row.map(|(id, loaded_at, source, bytes)| CatalogueRow { id, loaded_at, source, bytes }))
    }

    /// Stores a price catalogue, in force from now on; its bytes are the caller's to check.
    pub async fn set_catalogue(&self, source: &str, bytes: Vec<u8>) -> Result<i64> {
        let source = source.to_owned();
        self.change_routing(move |store, tx| {
            Box::pin(async move {
                let made: Option<(i64,)> = tx
                    .one(
                        "INSERT INTO catalogue (loaded_at, source, bytes) VALUES ($1, $2, $3) RETURNING id",
                        params![store.now(), &source, bytes.as_slice()],
                    )
                    .await?;
                tx.exec(
                    "DELETE FROM catalogue WHERE id NOT IN (SELECT id FROM catalogue ORDER BY id DESC LIMIT $1)",
                    params![CATALOGUES_KEPT],
                )
                .await?;
                let (id,) = made.ok_or_else(|| crate::db::damaged("an insert returned nothing"))?;
                let object = Object::new(ObjectKind::Prices, id, "price list");
                let told = Facts::default().with("source", source).with("bytes", bytes.len());
                Ok((id, Deed::done(Verb::PriceLoad, object, told)))
            })
        })
        .await
    }

    /// Reads all anew; what was committed before this is called is in the snapshot when it returns.
    pub(crate) async fn rebuild_snapshot(&self) -> Result<()> {
        let _building = self.routing.building.lock().await;
        let tests = self.provider_tests().await?;
        let records = self.provider_records().await?;
        let aliases = self.alias_rows().await?;
        let catalogue: Option<(i64,)> =
            self.db.one("SELECT id FROM catalogue ORDER BY id DESC LIMIT 1", params![]).await?;
        let declared = self.routing.declared();

        let mut snapshot = Snapshot {
            generation: self.routing.current.load().generation + 1,
            catalogue: catalogue.map(|(id,)| id),
            ..Snapshot::default()
        };
        let mut closed = Vec::new();
        for record in records {
            let provider = self.stored_provider(&record, &tests);
            if matches!(provider.credential, Credential::Unavailable) {
                closed.push(record);
            }
            snapshot.providers.insert(Arc::clone(&provider.name), Arc::new(provider));
        }
        for provider in declared.providers.iter().map(|provider| declared_provider(provider, &tests)) {
            snapshot.providers.insert(Arc::clone(&provider.name), Arc::new(provider));
        }
        for (name, target) in aliases.iter().chain(&declared.aliases) {
            snapshot.aliases.insert(name.as_str().into(), target.as_str().into());
        }
        self.routing.current.store(Arc::new(snapshot));
        self.tell_of_unopened(&closed).await;
        Ok(())
    }

    fn stored_provider(&self, record: &ProviderRecord, tests: &HashMap<String, TestRecord>) -> Provider {
        Provider {
            credential: self.open_credential(record),
            models: models(&record.name, tests),
            name: record.name.as_str().into(),
            kind: record.kind.as_str().into(),
            base_url: record.base_url.as_deref().map(Into::into),
            allow_private: record.allow_private,
            disabled: record.disabled,
            origin: Origin::Api,
            version: record.version,
        }
    }

    fn open_credential(&self, record: &ProviderRecord) -> Credential {
        let Some(sealed) = &record.sealed_key else { return Credential::None };
        let opened = self.sealer.open(credential_of(&record.name), sealed).ok();
        match opened.as_deref().and_then(|plain| std::str::from_utf8(plain).ok()) {
            Some(plain) => Credential::Open(SecretString::from(plain)),
            None => {
                tracing::error!(
                    provider = record.name,
                    "the stored credential does not open with this installation's key; calls to it are refused"
                );
                Credential::Unavailable
            }
        }
    }
}

/// What is worth telling of a settings file. The practice provider is the server's own, on another port each time.
fn declared_facts(declared: &Declared) -> Facts {
    let providers = declared.providers.iter().filter(|provider| provider.kind != PRACTICE);
    let facts = providers
        .fold(Facts::default(), |facts, provider| facts.with(format!("provider {}", provider.name), told(provider)));
    declared.aliases.iter().fold(facts, |facts, (name, target)| facts.with(format!("alias {name}"), target.as_str()))
}

fn declared_provider(provider: &NewProvider, tests: &HashMap<String, TestRecord>) -> Provider {
    Provider {
        name: provider.name.as_str().into(),
        kind: provider.kind.as_str().into(),
        base_url: provider.base_url.as_deref().map(Into::into),
        credential: provider.credential.clone().map_or(Credential::None, Credential::Open),
        allow_private: provider.allow_private,
        disabled: provider.disabled,
        origin: Origin::Config,
        models: models(&provider.name, tests),
        version: 0,
    }
}

fn models(name: &str, tests: &HashMap<String, TestRecord>) -> Arc<[Box<str>]> {
    tests.get(name).map_or_else(|| Arc::from([]), |test| test.models.iter().map(|m| m.as_str().into()).collect())
}
