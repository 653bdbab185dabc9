//! Providers and aliases as they are managed. Credentials are sealed before they are stored and never read back here.

use crate::Store;
use crate::audit::{Audited as _, Deed, Facts, Object, ObjectKind, Verb};
use crate::change::{Boxed, Change};
use crate::db::{FromRow, Row, Tx, params};
use crate::error::{Result, StoreError};
use crate::provider_types::{Alias, NewProvider, Origin, ProviderPatch, ProviderRow};
use crate::seal::Place;
use crate::valid;
use anykey_core::model::is_provider_name;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;

/// A row of `provider`, the credential still sealed.
#[derive(Clone)]
pub(crate) struct ProviderRecord {
    pub name: String,
    pub kind: String,
    pub base_url: Option<String>,
    pub sealed_key: Option<String>,
    pub allow_private: bool,
    pub disabled: bool,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow for ProviderRecord {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(ProviderRecord {
            name: row.take()?,
            kind: row.take()?,
            base_url: row.take()?,
            sealed_key: row.take()?,
            allow_private: row.take()?,
            disabled: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

/// What the last test of a provider found.
#[derive(Clone, Default)]
pub(crate) struct TestRecord {
    pub models: Vec<String>,
    pub tested_at: Option<i64>,
    pub error: Option<String>,
}

macro_rules! provider_columns {
    () => {
        "name, kind, base_url, sealed_key, allow_private, disabled, version, created_at, updated_at"
    };
}

pub(crate) const fn credential_of(name: &str) -> Place<'_> {
    Place { table: "provider", row: name, column: "sealed_key" }
}

impl Store {
    /// By name, those of the settings file included.
    pub async fn providers(&self) -> Result<Vec<ProviderRow>> {
        let tests = self.provider_tests().await?;
        let declared = self.routing.declared();
        let mut rows: Vec<ProviderRow> = self
            .provider_records()
            .await?
            .into_iter()
            .filter(|record| !declared.providers.iter().any(|d| d.name == record.name))
            .map(|record| show(record, &tests))
            .collect();
        rows.extend(declared.providers.iter().map(|provider| show_declared(provider, &tests)));
        rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    pub async fn provider(&self, name: &str) -> Result<ProviderRow> {
        self.providers().await?.into_iter().find(|row| row.name == name).ok_or(StoreError::NotFound("provider"))
    }

    pub async fn add_provider(&self, new: NewProvider) -> Result<ProviderRow> {
        check(&new.name, &new.kind, new.base_url.as_deref())?;
        self.refuse_declared(&new.name)?;
        let sealed = self.seal_credential(&new.name, new.credential.as_ref())?;
        let now = self.now();
        let record = ProviderRecord {
            name: new.name,
            kind: new.kind,
            base_url: new.base_url,
            sealed_key: sealed,
            allow_private: new.allow_private,
            disabled: new.disabled,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        self.change_routing(move |_, tx| {
            Box::pin(async move {
                // What was known of a provider that had this name says nothing of the new one.
                tx.exec("DELETE FROM provider_test WHERE name = $1", params![&record.name]).await?;
                let inserted = tx
                    .exec(
                        concat!(
                            "INSERT INTO provider (",
                            provider_columns!(),
                            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING"
                        ),
                        params![
                            &record.name,
                            &record.kind,
                            &record.base_url,
                            &record.sealed_key,
                            record.allow_private,
                            record.disabled,
                            record.version,
                            record.created_at,
                            record.updated_at,
                        ],
                    )
                    .await?;
                if inserted == 0 {
                    return Err(StoreError::conflict(format!("there is a provider named {} already", record.name)));
                }
                let deed = Deed::made(Verb::ProviderAdd, &record);
                Ok((show(record, &HashMap::new()), deed))
            })
        })
        .await
    }

    /// `expected` is the version that the caller saw; `None` takes whatever is there.
    pub async fn update_provider(
        &self,
        name: &str,
        expected: Option<i64>,
        patch: ProviderPatch,
    ) -> Result<ProviderRow> {
        self.refuse_declared(name)?;
        let sealed = match &patch.credential {
            Some(credential) => Some(self.seal_credential(name, credential.as_ref())?),
            None => None,
        };
        let owned = name.to_owned();
        self.change_routing(move |store, tx| {
            Box::pin(async move {
                let before = lock_provider(tx, &owned, expected, store.now()).await?;
                let mut record = before.clone();
                record.kind = patch.kind.unwrap_or(record.kind);
                record.base_url = patch.base_url.unwrap_or(record.base_url);
                record.sealed_key = sealed.unwrap_or(record.sealed_key);
                record.allow_private = patch.allow_private.unwrap_or(record.allow_private);
                record.disabled = patch.disabled.unwrap_or(record.disabled);
                check(&record.name, &record.kind, record.base_url.as_deref())?;
                tx.exec(
                    "UPDATE provider SET kind = $2, base_url = $3, sealed_key = $4, allow_private = $5, disabled = $6 \
                 WHERE name = $1",
                    params![
                        &record.name,
                        &record.kind,
                        &record.base_url,
                        &record.sealed_key,
                        record.allow_private,
                        record.disabled,
                    ],
                )
                .await?;
                Ok(((), updated(&before, &record)))
            })
        })
        .await?;
        self.provider(name).await
    }

    pub async fn remove_provider(&self, name: &str, expected: Option<i64>) -> Result<()> {
        self.refuse_declared(name)?;
        let owned = name.to_owned();
        self.change_routing(move |store, tx| {
            Box::pin(async move {
                let record = lock_provider(tx, &owned, expected, store.now()).await?;
                tx.exec("DELETE FROM provider WHERE name = $1", params![&owned]).await?;
                tx.exec("DELETE FROM provider_test WHERE name = $1", params![&owned]).await?;
                Ok(((), Deed::removed(Verb::ProviderRemove, &record)))
            })
        })
        .await
    }

    /// What a test of the provider found: the models that it listed, or why it failed (the models known before stay).
    pub async fn set_provider_test(
        &self,
        name: &str,
        found: std::result::Result<Vec<String>, String>,
    ) -> Result<ProviderRow> {
        self.provider(name).await?;
        let (models, error) = match found {
            Ok(models) => (Some(models), None),
            Err(error) => (None, Some(error)),
        };
        let object = Object::new(ObjectKind::Provider, name, name);
        let told = Facts::default().with("models", models.as_ref().map(Vec::len)).with("error", error.clone()).known();
        let models = models.map(|models| serde_json::to_string(&models).unwrap_or_else(|_| "[]".into()));
        let owned = name.to_owned();
        self.change_routing(move |store, tx| Box::pin(async move {
            tx.exec(
                "INSERT INTO provider_test (name, models, tested_at, test_error) VALUES ($1, COALESCE($2, '[]'), $3, $4) \
                 ON CONFLICT (name) DO UPDATE SET models = COALESCE($2, provider_test.models), \
                 tested_at = excluded.tested_at, test_error = excluded.test_error",
                params![&owned, &models, store.now(), &error],
            )
            .await?;
            Ok(((), Deed::done(Verb::ProviderTest, object, told)))
        }))
        .await?;
        self.provider(name).await
    }

    /// By name, those of the settings file included.
    pub async fn aliases(&self) -> Result<Vec<Alias>> {
        let declared = self.routing.declared();
        let mut aliases: Vec<Alias> = self
            .alias_rows()
            .await?
            .into_iter()
            .filter(|(name, _)| !declared.aliases.iter().any(|(d, _)| d == name))
            .map(|(name, target)| Alias { name, target, origin: Origin::Api })
            .collect();
        aliases.extend(declared.aliases.iter().map(|(name, target)| Alias {
            name: name.clone(),
            target: target.clone(),
            origin: Origin::Config,
        }));
        aliases.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(aliases)
    }

    /// Makes an alias, or points it elsewhere.
    pub async fn set_alias(&self, name: &str, target: &str) -> Result<Alias> {
        check_alias(name, target)?;
        self.refuse_declared_alias(name)?;
        let alias = Alias { name: name.to_owned(), target: target.to_owned(), origin: Origin::Api };
        self.change_routing(move |_, tx| {
            Box::pin(async move {
                let before = stored_alias(tx, &alias.name).await?;
                tx.exec(
                    "INSERT INTO alias (name, target) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET target = excluded.target",
                    params![&alias.name, &alias.target],
                )
                .await?;
                let deed = match &before {
                    Some(before) => Deed::changed(Verb::AliasSet, before, &alias),
                    None => Deed::made(Verb::AliasSet, &alias),
                };
                Ok((alias, deed))
            })
        })
        .await
    }

    pub async fn remove_alias(&self, name: &str) -> Result<()> {
        self.refuse_declared_alias(name)?;
        let owned = name.to_owned();
        self.change_routing(move |_, tx| {
            Box::pin(async move {
                let before = stored_alias(tx, &owned).await?.ok_or(StoreError::NotFound("alias"))?;
                match tx.exec("DELETE FROM alias WHERE name = $1", params![&owned]).await? {
                    0 => Err(StoreError::NotFound("alias")),
                    _ => Ok(((), Deed::removed(Verb::AliasRemove, &before))),
                }
            })
        })
        .await
    }

    pub(crate) async fn provider_records(&self) -> Result<Vec<ProviderRecord>> {
        self.db.all(concat!("SELECT ", provider_columns!(), " FROM provider ORDER BY name"), params![]).await
    }

    pub(crate) async fn provider_tests(&self) -> Result<HashMap<String, TestRecord>> {
        let rows: Vec<(String, String, i64, Option<String>)> =
            self.db.all("SELECT name, models, tested_at, test_error FROM provider_test", params![]).await?;
        Ok(rows
            .into_iter()
            .map(|(name, models, tested_at, error)| {
                let models = serde_json::from_str(&models).unwrap_or_default();
                (name, TestRecord { models, tested_at: Some(tested_at), error })
            })
            .collect())
    }

    pub(crate) async fn alias_rows(&self) -> Result<Vec<(String, String)>> {
        self.db.all("SELECT name, target FROM alias ORDER BY name", params![]).await
    }

    fn seal_credential(&self, name: &str, credential: Option<&SecretString>) -> Result<Option<String>> {
        credential.map(|secret| self.sealer.seal(credential_of(name), secret.expose_secret().as_bytes())).transpose()
    }

    fn refuse_declared(&self, name: &str) -> Result<()> {
        if self.routing.declared().providers.iter().any(|p| p.name == name) {
            return Err(StoreError::conflict(format!(
                "the provider {name} is declared in the settings file; change it there"
            )));
        }
        Ok(())
    }

    fn refuse_declared_alias(&self, name: &str) -> Result<()> {
        if self.routing.declared().aliases.iter().any(|(declared, _)| declared == name) {
            return Err(StoreError::conflict(format!(
                "the alias {name} is declared in the settings file; change it there"
            )));
        }
        Ok(())
    }

    /// One change of what calls are routed by: recorded, committed, then in the snapshot, before this returns.
    pub(crate) async fn change_routing<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a Store, &'a mut Tx) -> Boxed<'a, (T, Deed)> + Send + 'static,
    {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let (made, deed) = work(&store, &mut tx).await?;
            store.record(&mut tx, deed).await?;
            store.announce(&mut tx, Change::Routing).await?;
            tx.commit().await?;
            store.rebuild_snapshot().await?;
            Ok(made)
        })
        .await
    }
}

async fn lock_provider(tx: &mut Tx, name: &str, expected: Option<i64>, now: i64) -> Result<ProviderRecord> {
    let locked: Option<ProviderRecord> = tx
        .one(
            concat!(
                "UPDATE provider SET version = version + 1, updated_at = $2 WHERE name = $1 RETURNING ",
                provider_columns!()
            ),
            params![name, now],
        )
        .await?;
    let record = locked.ok_or(StoreError::NotFound("provider"))?;
    let found = record.version - 1;
    match expected {
        Some(expected) if expected != found => Err(StoreError::VersionMismatch { what: "provider", expected, found }),
        _ => Ok(record),
    }
}

/// A credential that took another's place is told as such, since neither can be.
fn updated(before: &ProviderRecord, after: &ProviderRecord) -> Deed {
    let replaced = before.sealed_key.is_some() && after.sealed_key.is_some() && before.sealed_key != after.sealed_key;
    let (old, mut new) = (before.facts(), after.facts());
    if replaced {
        new = new.with("credential", "replaced");
    }
    Deed::differing(Verb::ProviderUpdate, after.object(), old, new)
}

async fn stored_alias(tx: &mut Tx, name: &str) -> Result<Option<Alias>> {
    let found: Option<(String,)> = tx.one("SELECT target FROM alias WHERE name = $1", params![name]).await?;
    Ok(found.map(|(target,)| Alias { name: name.to_owned(), target, origin: Origin::Api }))
}

fn show(record: ProviderRecord, tests: &HashMap<String, TestRecord>) -> ProviderRow {
    let test = tests.get(&record.name).cloned().unwrap_or_default();
    ProviderRow {
        has_credential: record.sealed_key.is_some(),
        name: record.name,
        kind: record.kind,
        base_url: record.base_url,
        allow_private: record.allow_private,
        disabled: record.disabled,
        origin: Origin::Api,
        models: test.models,
        tested_at: test.tested_at,
        test_error: test.error,
        version: record.version,
        created_at: Some(record.created_at),
        updated_at: Some(record.updated_at),
    }
}

fn show_declared(provider: &NewProvider, tests: &HashMap<String, TestRecord>) -> ProviderRow {
    let test = tests.get(&provider.name).cloned().unwrap_or_default();
    ProviderRow {
        name: provider.name.clone(),
        kind: provider.kind.clone(),
        base_url: provider.base_url.clone(),
        has_credential: provider.credential.is_some(),
        allow_private: provider.allow_private,
        disabled: provider.disabled,
        origin: Origin::Config,
        models: test.models,
        tested_at: test.tested_at,
        test_error: test.error,
        version: 0,
        created_at: None,
        updated_at: None,
    }
}

/// Whether the URL may be called at all is the gateway's guard to say; here it is only a line of text.
pub(crate) fn check(name: &str, kind: &str, base_url: Option<&str>) -> Result<()> {
    if !is_provider_name(name) {
        return Err(StoreError::invalid("name", "is 1 to 40 lower-case letters, digits, - and _"));
    }
    valid::name("kind", kind, 40)?;
    base_url.map_or(Ok(()), |url| valid::name("base_url", url, 2_000))
}

pub(crate) fn check_alias(name: &str, target: &str) -> Result<()> {
    for (field, text) in [("name", name), ("target", target)] {
        valid::name(field, text, 256)?;
        if text.chars().any(char::is_whitespace) {
            return Err(StoreError::invalid(field, "holds a space"));
        }
    }
    if name == target {
        return Err(StoreError::invalid("target", "is the alias itself"));
    }
    Ok(())
}
