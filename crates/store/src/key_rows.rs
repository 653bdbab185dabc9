//! Reading keys: one row, its secrets, what is derived from them, and lists of them.

use crate::Store;
use crate::cache::{KeyState, SecretInfo};
use crate::db::{FromRow, Row, Tx, Value, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_types::{KeyFilter, KeyRow, KeyStatus, Listed, Page, SecretRow, SecretState};
use crate::sql::{Conditions, contains_pattern, dynamic, like_text};
use anykey_core::key::KeyInfo;
use anykey_core::token::{Digest, PUBLIC_ID_LEN, masked};
use anykey_core::{KeyId, KeyKind, Nanos, Scopes};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// A page looks at no more keys than this, so that a search among millions stays quick.
const SCAN: i64 = 20_000;
/// Keys whose secrets are read in one query.
const SECRETS_AT_ONCE: usize = 200;

macro_rules! key_columns {
    () => {
        "id, kind, name, description, tags, owner, creator, project, environment, scopes, disabled, deleted_at, \
         expires_at, browser_allowed, spend_limit, spent, note, rotation_interval_ms, review_at, exposed_at, version, \
         created_at, updated_at"
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
    pub project: Option<String>,
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
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow for KeyRecord {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(KeyRecord {
            id: KeyId(row.bytes()?),
            kind: row.name(KeyKind::from_name)?,
            name: row.take()?,
            description: row.take()?,
            tags: read_tags(&row.take::<String>()?)?,
            owner: row.take()?,
            creator: row.take()?,
            project: row.take()?,
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
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
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

    pub fn state(&self, secrets: &[SecretRecord]) -> KeyState {
        KeyState { info: self.info(), version: self.version, secrets: secrets.iter().map(SecretRecord::info).collect() }
    }

    /// What is shown; `secrets` newest first.
    pub fn show(self, secrets: &[SecretRecord], brand: &str, now_ms: i64) -> KeyRow {
        let status = self.status(secrets, now_ms);
        let secrets: Vec<SecretRow> = secrets.iter().map(|s| s.show(brand, self.kind, now_ms)).collect();
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
            creator: self.creator,
            project: self.project,
            environment: self.environment,
            scopes: self.scopes,
            disabled: self.disabled,
            deleted_at: self.deleted_at,
            expires_at: self.expires_at,
            browser_allowed: self.browser_allowed,
            spend_limit: self.spend_limit,
            spent: self.spent,
            note: self.note,
            rotation_interval_ms: self.rotation_interval_ms,
            review_at: self.review_at,
            exposed_at: self.exposed_at,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
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

impl Store {
    pub async fn key(&self, id: KeyId) -> Result<KeyRow> {
        let record: KeyRecord = self
            .db
            .one(concat!("SELECT ", key_columns!(), " FROM api_key WHERE id = $1"), params![&id.0])
            .await?
            .ok_or(StoreError::NotFound("key"))?;
        Ok(self.show(vec![record]).await?.remove(0))
    }

    /// The key of which this is a secret's public id, whatever became of the secret.
    pub async fn key_by_public_id(&self, public_id: &str) -> Result<KeyRow> {
        let record: KeyRecord = self
            .db
            .one(
                concat!(
                    "SELECT ",
                    key_columns!(),
                    " FROM api_key WHERE id = (SELECT key_id FROM secret WHERE public_id = $1)"
                ),
                params![public_id],
            )
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

    pub async fn keys(&self, filter: &KeyFilter, page: Page<KeyId>) -> Result<Listed<KeyRow, KeyId>> {
        let after = page.after.map_or([0xff; 16], |id| id.0);
        let limit = i64::from(page.limit.clamp(1, 200));
        let floor = self.scan_floor(filter, &after).await?;

        let mut sql = Conditions::new(concat!("SELECT ", key_columns!(), " FROM api_key k WHERE TRUE"));
        sql.and("id < ", Value::from(&after));
        if let Some(floor) = floor {
            sql.and("id >= ", Value::from(&floor.0));
        }
        narrow(&mut sql, filter, self.now());
        let one_more = sql.bind(Value::from(limit + 1));
        let (sql, values) = sql.finish(&format!(" ORDER BY id DESC LIMIT {one_more}"));
        let mut records: Vec<KeyRecord> = self.db.all(dynamic(sql), values).await?;

        let more = records.len() as i64 > limit;
        records.truncate(limit as usize);
        let next = if more { records.last().map(|r| r.id) } else { floor };
        if let Some(tag) = &filter.tag {
            records.retain(|r| has_tag(&r.tags, tag));
        }
        Ok(Listed { data: self.show(records).await?, next })
    }

    /// The last key that this page looks at, when there are more behind it. An exact name has an index and needs none.
    async fn scan_floor(&self, filter: &KeyFilter, after: &[u8; 16]) -> Result<Option<KeyId>> {
        if filter.name.is_some() {
            return Ok(None);
        }
        let floor: Option<(Vec<u8>,)> = self
            .db
            .one("SELECT id FROM api_key WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2", params![after, SCAN - 1])
            .await?;
        Ok(floor.and_then(|(id,)| KeyId::from_slice(&id)))
    }

    /// Adds the secrets, in one query for many keys.
    async fn show(&self, records: Vec<KeyRecord>) -> Result<Vec<KeyRow>> {
        let mut by_key: HashMap<KeyId, Vec<SecretRecord>> = HashMap::with_capacity(records.len());
        for records in records.chunks(SECRETS_AT_ONCE) {
            for secret in self.secrets(records.iter().map(|r| r.id)).await? {
                by_key.entry(secret.key).or_default().push(secret);
            }
        }
        let now = self.now();
        Ok(records
            .into_iter()
            .map(|record| {
                let secrets = by_key.remove(&record.id).unwrap_or_default();
                record.show(&secrets, &self.brand, now)
            })
            .collect())
    }

    async fn secrets(&self, ids: impl Iterator<Item = KeyId>) -> Result<Vec<SecretRecord>> {
        let mut sql = Conditions::new(concat!("SELECT ", secret_columns!(), " FROM secret WHERE TRUE"));
        sql.and_in("key_id", ids.map(|id| Value::from(&id.0)));
        let (sql, values) = sql.finish(" ORDER BY key_id, created_at DESC, public_id");
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
            states.extend(records.iter().map(|record| {
                let own: Vec<_> = secrets.iter().filter(|s| s.key == record.id).cloned().collect();
                record.state(&own)
            }));
        }
        Ok(states)
    }
}

fn narrow(sql: &mut Conditions, filter: &KeyFilter, now: i64) {
    if let Some(name) = &filter.name {
        sql.and("name = ", Value::from(name));
    }
    if let Some(kind) = filter.kind {
        sql.and("kind = ", Value::from(kind.name()));
    }
    if let Some(owner) = &filter.owner {
        sql.and("owner = ", Value::from(owner));
    }
    if let Some(project) = &filter.project {
        sql.and("project = ", Value::from(project));
    }
    if let Some(tag) = &filter.tag {
        // Only narrows; the tag itself is compared where its JSON is read.
        let name = tag.split_once('=').map_or(tag.as_str(), |(name, _)| name);
        let json = serde_json::to_string(name).unwrap_or_default();
        sql.and_like("tags", contains_pattern(&json));
    }
    if let Some(q) = &filter.q {
        let pattern = sql.bind(Value::from(contains_pattern(q)));
        let exact = sql.bind(Value::from(q));
        sql.and_text(&format!(
            "({} OR {} OR EXISTS (SELECT 1 FROM secret s WHERE s.key_id = k.id AND s.public_id = {exact}))",
            like_text("name", &pattern),
            like_text("description", &pattern),
        ));
    }
    narrow_status(sql, filter.status, now);
}

fn narrow_status(sql: &mut Conditions, status: Option<KeyStatus>, now: i64) {
    sql.and_text(match status {
        None => "deleted_at IS NULL",
        Some(KeyStatus::Revoked) => "deleted_at IS NOT NULL",
        Some(KeyStatus::Disabled) => "deleted_at IS NULL AND disabled",
        Some(_) => "deleted_at IS NULL AND NOT disabled",
    });
    let Some(status @ (KeyStatus::Active | KeyStatus::Expired | KeyStatus::Rotating)) = status else { return };
    let now = sql.bind(Value::from(now));
    let expired = format!("(expires_at IS NOT NULL AND expires_at <= {now})");
    if status == KeyStatus::Expired {
        return sql.and_text(&expired);
    }
    sql.and_text(&format!("NOT {expired}"));
    let several = if status == KeyStatus::Rotating { "> 1" } else { "<= 1" };
    sql.and_text(&format!(
        "(SELECT COUNT(*) FROM secret s WHERE s.key_id = k.id AND s.state <> 'dead' \
         AND (s.expires_at IS NULL OR s.expires_at > {now})) {several}"
    ));
}

fn has_tag(tags: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => tags.get(name).is_some_and(|v| v == value),
        None => tags.contains_key(wanted),
    }
}
