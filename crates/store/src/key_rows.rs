//! Reading keys: one row, its secrets, and what is derived from them.

use crate::Store;
use crate::cache::{KeyParts, KeyState, SecretInfo};
use crate::controls;
use crate::db::{FromRow, Row, Tx, Value, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_types::{KeyRow, KeyStatus, SecretRow, SecretState};
use crate::levels::{Above, Level};
use crate::parents::Minted;
use crate::sql::{Conditions, dynamic};
use anykey_core::controls::{self as policy, Controls};
use anykey_core::key::KeyInfo;
use anykey_core::token::{Digest, PUBLIC_ID_LEN, masked};
use anykey_core::{
    KeyId, KeyKind, MemberId, Nanos, OrganisationId, OwnerId, Placement, ProjectId, Scopes, ServiceAccountId,
};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Keys whose secrets are read in one query.
const SECRETS_AT_ONCE: usize = 200;

macro_rules! key_columns {
    () => {
        "id, kind, name, description, tags, owner, creator, organisation_id, project_id, member_id, \
         service_account_id, controls, environment, scopes, disabled, deleted_at, expires_at, browser_allowed, \
         spend_limit, spent, note, rotation_interval_ms, review_at, exposed_at, rotation_asked_at, rotate_at, active_day, \
         version, created_at, updated_at, parent_id, minted_with, request_limit, \
         disabled_by"
    };
}
macro_rules! secret_columns {
    () => {
        "key_id, public_id, digest, imported, state, created_at, first_used_at, last_used_at, last_ip, \
         expires_at, rotation_id"
    };
}
pub(crate) use key_columns;

/// A row of `api_key`.
#[derive(Clone, Debug)]
pub(crate) struct KeyRecord {
    pub id: KeyId,
    pub kind: KeyKind,
    pub name: String,
    pub description: String,
    pub tags: BTreeMap<String, String>,
    pub owner: Option<String>,
    pub creator: Option<String>,
    pub placement: Placement,
    pub controls: Option<Controls>,
    pub environment: Option<String>,
    pub scopes: Scopes,
    pub disabled: bool,
    pub deleted_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub browser_allowed: bool,
    pub spend_limit: Option<Nanos>,
    pub spent: Nanos,
    pub note: String,
    pub rotation_interval_ms: Option<i64>,
    pub review_at: Option<i64>,
    pub exposed_at: Option<i64>,
    pub rotation_asked_at: Option<i64>,
    pub rotate_at: Option<i64>,
    pub active_day: i64,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
    /// How it was minted, where it is temporary.
    pub minted: Option<Minted>,
    pub disabled_by: Option<String>,
}

impl FromRow for KeyRecord {
    fn from_row(row: &mut Row) -> Result<Self> {
        let mut record = KeyRecord {
            id: KeyId(row.bytes()?),
            kind: row.name(KeyKind::from_name)?,
            name: row.take()?,
            description: row.take()?,
            tags: read_tags(&row.take::<String>()?)?,
            owner: row.take()?,
            creator: row.take()?,
            placement: read_placement(row)?,
            controls: controls::read(row)?,
            environment: row.take()?,
            scopes: row.name(|text| Scopes::from_text(text).ok())?,
            disabled: row.take()?,
            deleted_at: row.take()?,
            expires_at: row.take()?,
            browser_allowed: row.take()?,
            spend_limit: row.take::<Option<i64>>()?.map(Nanos),
            spent: Nanos(row.take()?),
            note: row.take()?,
            rotation_interval_ms: row.take()?,
            review_at: row.take()?,
            exposed_at: row.take()?,
            rotation_asked_at: row.take()?,
            rotate_at: row.take()?,
            active_day: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
            minted: read_minted(row)?,
            disabled_by: row.take()?,
        };
        (record.controls, record.spend_limit) = controls::split_total(record.controls, record.spend_limit);
        Ok(record)
    }
}

/// The parent, the secret that asked, and the number of requests.
pub(crate) fn read_minted(row: &mut Row) -> Result<Option<Minted>> {
    let parent: Option<Vec<u8>> = row.take()?;
    let (with, request_limit) = (row.take::<Option<String>>()?, row.take::<Option<i64>>()?);
    let Some(parent) = parent else { return Ok(None) };
    let parent = KeyId::from_slice(&parent).ok_or_else(|| damaged("the parent of a temporary key is no id"))?;
    let request_limit = request_limit.map(|n| u64::try_from(n).unwrap_or(0));
    Ok(Some(Minted { parent, with: public_id_bytes(with.as_deref().unwrap_or_default()), request_limit }))
}

/// Organisation, project, and the owner in one of two columns.
pub(crate) fn read_placement(row: &mut Row) -> Result<Placement> {
    let (organisation, project) = (OrganisationId(row.bytes()?), ProjectId(row.bytes()?));
    let mut id = || row.take::<Option<Vec<u8>>>();
    let (member, account) = (id()?, id()?);
    let member = member.as_deref().and_then(MemberId::from_slice).map(OwnerId::Member);
    let account = account.as_deref().and_then(ServiceAccountId::from_slice).map(OwnerId::ServiceAccount);
    Ok(Placement { organisation, project, owner: member.or(account) })
}

fn read_tags(text: &str) -> Result<BTreeMap<String, String>> {
    serde_json::from_str(text).map_err(|_| damaged("a key's tags are not a JSON object"))
}

impl KeyRecord {
    pub fn info(&self) -> KeyInfo {
        KeyInfo {
            id: self.id,
            kind: self.kind,
            name: self.name.as_str().into(),
            scopes: self.scopes,
            disabled: self.disabled,
            deleted: self.deleted_at.is_some(),
            expires_at: self.expires_at,
            browser_allowed: self.browser_allowed,
            spend_limit: self.spend_limit,
        }
    }

    /// What the cache holds of the key. `above` is what stands above it.
    pub fn state(&self, secrets: &[SecretRecord], above: Above) -> KeyState {
        let own = controls::bound(policy::Level::Key, self.id.0, &self.name, self.controls.as_ref());
        let key = KeyParts {
            info: self.info(),
            version: self.version,
            placement: self.placement,
            above,
            own,
            minted: self.minted,
        };
        KeyState { key, secrets: secrets.iter().map(SecretRecord::info).collect() }
    }

    /// What is shown; `secrets` newest first.
    pub fn show(self, secrets: &[SecretRecord], above: &[Arc<Level>], brand: &str, now_ms: i64) -> KeyRow {
        let label = |at: usize| above.get(at).map(|level| level.label.to_string());
        let closed = above.iter().find(|level| level.closed);
        let status = self.status(secrets, now_ms);
        let secrets: Vec<SecretRow> = secrets.iter().map(|s| s.show(brand, self.kind, now_ms)).collect();
        let mut controls = self.controls.unwrap_or_default();
        controls.spend.total = self.spend_limit;
        KeyRow {
            id: self.id,
            kind: self.kind,
            status,
            masked: secrets.first().map_or_else(String::new, |s| s.masked.clone()),
            last_used_at: secrets.iter().filter_map(|s| s.last_used_at).max(),
            name: self.name,
            description: self.description,
            tags: self.tags,
            owner: self.owner,
            owner_id: self.placement.owner,
            owner_label: label(2),
            creator: self.creator,
            organisation_id: self.placement.organisation,
            organisation: label(0).unwrap_or_default(),
            project_id: self.placement.project,
            project: label(1).unwrap_or_default(),
            controls,
            closed_by: closed.map(|level| format!("{} `{}`", level.id.level().words(), level.name)),
            environment: self.environment,
            scopes: self.scopes,
            disabled: self.disabled,
            disabled_by: self.disabled_by,
            deleted_at: self.deleted_at,
            expires_at: self.expires_at,
            browser_allowed: self.browser_allowed,
            spend_limit: self.spend_limit,
            spent: self.spent,
            note: self.note,
            rotation_interval_ms: self.rotation_interval_ms,
            review_at: self.review_at,
            exposed_at: self.exposed_at,
            rotation_asked_at: self.rotation_asked_at,
            rotate_at: self.rotate_at,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            parent_id: self.minted.map(|minted| minted.parent),
            request_limit: self.minted.and_then(|minted| minted.request_limit),
            secrets,
        }
    }

    fn status(&self, secrets: &[SecretRecord], now_ms: i64) -> KeyStatus {
        if self.deleted_at.is_some() {
            KeyStatus::Revoked
        } else if self.disabled {
            KeyStatus::Disabled
        } else if self.expires_at.is_some_and(|at| at <= now_ms) {
            KeyStatus::Expired
        } else if secrets.iter().filter(|s| s.lives_at(now_ms)).count() > 1 {
            KeyStatus::Rotating
        } else {
            KeyStatus::Active
        }
    }
}

/// A row of `secret`.
#[derive(Clone, Debug)]
pub(crate) struct SecretRecord {
    pub key: KeyId,
    pub public_id: String,
    pub digest: Digest,
    pub imported: bool,
    pub state: SecretState,
    pub created_at: i64,
    pub first_used_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub last_ip: Option<IpAddr>,
    pub expires_at: Option<i64>,
    pub rotation_id: Option<String>,
}

impl FromRow for SecretRecord {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(SecretRecord {
            key: KeyId(row.bytes()?),
            public_id: row.take()?,
            digest: Digest(row.bytes()?),
            imported: row.take()?,
            state: row.name(SecretState::from_name)?,
            created_at: row.take()?,
            first_used_at: row.take()?,
            last_used_at: row.take()?,
            last_ip: row.take::<Option<String>>()?.and_then(|ip| ip.parse().ok()),
            expires_at: row.take()?,
            rotation_id: row.take()?,
        })
    }
}

impl SecretRecord {
    fn lives_at(&self, now_ms: i64) -> bool {
        self.state != SecretState::Dead && self.expires_at.is_none_or(|at| at > now_ms)
    }

    fn info(&self) -> SecretInfo {
        SecretInfo {
            digest: self.digest,
            public_id: public_id_bytes(&self.public_id),
            ends_at: ends_at(self.state, self.expires_at),
        }
    }

    fn show(&self, brand: &str, kind: KeyKind, now_ms: i64) -> SecretRow {
        SecretRow {
            public_id: self.public_id.clone(),
            masked: if self.imported {
                format!("imported-{}…", self.public_id)
            } else {
                masked(brand, kind, &self.public_id)
            },
            state: if self.lives_at(now_ms) { self.state } else { SecretState::Dead },
            created_at: self.created_at,
            first_used_at: self.first_used_at,
            last_used_at: self.last_used_at,
            last_ip: self.last_ip,
            expires_at: self.expires_at,
            rotation_id: self.rotation_id.clone(),
        }
    }
}

/// When a secret ends, as the cache keeps it.
pub(crate) fn ends_at(state: SecretState, expires_at: Option<i64>) -> i64 {
    if state == SecretState::Dead { 0 } else { expires_at.unwrap_or(i64::MAX) }
}

/// The column holds eight characters; anything else cannot be a secret of ours and matches no record.
pub(crate) fn public_id_bytes(text: &str) -> [u8; PUBLIC_ID_LEN] {
    text.as_bytes().try_into().unwrap_or([0; PUBLIC_ID_LEN])
}

/// The secrets of one key, newest first.
pub(crate) async fn secrets_of(tx: &mut Tx, id: KeyId) -> Result<Vec<SecretRecord>> {
    tx.all(
        concat!("SELECT ", secret_columns!(), " FROM secret WHERE key_id = $1 ORDER BY created_at DESC, public_id"),
        params![&id.0],
    )
    .await
}

/// The same of many keys, in one query.
pub(crate) async fn secrets_of_all(tx: &mut Tx, ids: &[KeyId]) -> Result<HashMap<KeyId, Vec<SecretRecord>>> {
    let mut by_key: HashMap<KeyId, Vec<SecretRecord>> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(SECRETS_AT_ONCE) {
        let (sql, values) = select_secrets(ids.iter().copied());
        for secret in tx.all::<SecretRecord>(dynamic(sql), values).await? {
            by_key.entry(secret.key).or_default().push(secret);
        }
    }
    Ok(by_key)
}

fn select_secrets(ids: impl Iterator<Item = KeyId>) -> (String, Vec<Value>) {
    let mut sql = Conditions::new(concat!("SELECT ", secret_columns!(), " FROM secret WHERE TRUE"));
    sql.and_in("key_id", ids.map(|id| Value::from(&id.0)));
    sql.finish(" ORDER BY key_id, created_at DESC, public_id")
}

impl Store {
    pub async fn key(&self, id: KeyId) -> Result<KeyRow> {
        let record: KeyRecord = self
            .db
            .one(concat!("SELECT ", key_columns!(), " FROM api_key WHERE id = $1"), params![&id.0])
            .await?
            .ok_or(StoreError::NotFound("key"))?;
        Ok(self.show(vec![record]).await?.remove(0))
    }

    /// Names of keys, deleted ones included; ids that are not stored are left out.
    pub async fn key_names(&self, ids: &[KeyId]) -> Result<HashMap<KeyId, String>> {
        let mut names = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(SECRETS_AT_ONCE) {
            let mut sql = Conditions::new("SELECT id, name FROM api_key WHERE TRUE");
            sql.and_in("id", ids.iter().map(|id| Value::from(&id.0)));
            let (sql, values) = sql.finish("");
            let rows: Vec<(Vec<u8>, String)> = self.db.all(dynamic(sql), values).await?;
            names.extend(rows.into_iter().filter_map(|(id, name)| Some((KeyId::from_slice(&id)?, name))));
        }
        Ok(names)
    }

    /// Adds the secrets, in one query for many keys.
    pub(crate) async fn show(&self, records: Vec<KeyRecord>) -> Result<Vec<KeyRow>> {
        let mut by_key: HashMap<KeyId, Vec<SecretRecord>> = HashMap::with_capacity(records.len());
        for records in records.chunks(SECRETS_AT_ONCE) {
            for secret in self.secrets(records.iter().map(|r| r.id)).await? {
                by_key.entry(secret.key).or_default().push(secret);
            }
        }
        let now = self.now();
        let parents = records.iter().filter_map(|record| record.minted).map(|minted| minted.parent).collect();
        let disabled = self.disabled_among(&parents).await?;
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let above = self.above(&record.placement).await?;
            let secrets = by_key.remove(&record.id).unwrap_or_default();
            let mut row = record.show(&secrets, &above, &self.brand, now);
            if let Some(parent) = row.parent_id.and_then(|id| disabled.get(&id)) {
                row.closed_by.get_or_insert_with(|| format!("API key `{parent}`"));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    async fn secrets(&self, ids: impl Iterator<Item = KeyId>) -> Result<Vec<SecretRecord>> {
        let (sql, values) = select_secrets(ids);
        self.db.all(dynamic(sql), values).await
    }

    /// What the cache holds of these keys, read anew. A key that is gone is left out.
    pub(crate) async fn key_states(&self, ids: &[KeyId]) -> Result<Vec<KeyState>> {
        let mut states = Vec::with_capacity(ids.len());
        for ids in ids.chunks(SECRETS_AT_ONCE) {
            // Keys first: a change in between gives an old version with new secrets, and the change's own entry in the
            // feed puts that right. The other order could mark old secrets with the new version for good.
            let mut sql = Conditions::new(concat!("SELECT ", key_columns!(), " FROM api_key WHERE TRUE"));
            sql.and_in("id", ids.iter().map(|id| Value::from(&id.0)));
            let (sql, values) = sql.finish("");
            let records: Vec<KeyRecord> = self.db.all(dynamic(sql), values).await?;
            let secrets = self.secrets(ids.iter().copied()).await?;
            for record in &records {
                let own: Vec<_> = secrets.iter().filter(|s| s.key == record.id).cloned().collect();
                states.push(record.state(&own, self.above(&record.placement).await?));
            }
        }
        Ok(states)
    }
}
