//! What is written of a key: its row, its tags, its secrets, and what they may hold.

use crate::controls;
use crate::db::{Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, key_columns};
use crate::key_types::{KeyPatch, NewKey};
use crate::keys::NewSecret;
use crate::parents::Minted;
use crate::sums::DAY_MS;
use crate::temp::end_minted;
use crate::valid;
use anykey_core::controls::Controls;
use anykey_core::spend::Amounts;
use anykey_core::{KeyId, KeyKind, Nanos, OwnerId, Placement, Scopes};
use std::collections::BTreeMap;

pub(crate) async fn insert_record(tx: &mut Tx, key: &KeyRecord) -> Result<()> {
    tx.exec(
        concat!(
            "INSERT INTO api_key (",
            key_columns!(),
            ", search) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
             $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35)"
        ),
        params![
            &key.id.0,
            key.kind.name(),
            &key.name,
            &key.description,
            tags_text(&key.tags),
            &key.owner,
            &key.creator,
            &key.placement.organisation.0,
            &key.placement.project.0,
            member_of(&key.placement),
            account_of(&key.placement),
            controls::text(key.controls.as_ref()),
            &key.environment,
            key.scopes.to_text(),
            key.disabled,
            key.deleted_at,
            key.expires_at,
            key.browser_allowed,
            key.spend_limit.map(|n| n.0),
            key.spent.0,
            &key.note,
            key.rotation_interval_ms,
            key.review_at,
            key.exposed_at,
            key.rotation_asked_at,
            key.rotate_at,
            key.active_day,
            key.version,
            key.created_at,
            key.updated_at,
            key.minted.map(|minted| minted.parent.0),
            &key.minted.map(|minted| String::from_utf8_lossy(&minted.with).into_owned()),
            key.minted.and_then(|minted| minted.request_limit).map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            &key.disabled_by,
            search_text(&key.name, &key.description),
        ],
    )
    .await?;
    insert_tags(tx, key).await
}

/// What a search looks at.
fn search_text(name: &str, description: &str) -> String {
    format!("{name}\n{description}").to_lowercase()
}

async fn insert_tags(tx: &mut Tx, key: &KeyRecord) -> Result<()> {
    for (name, value) in &key.tags {
        tx.exec("INSERT INTO key_tag (key_id, name, value) VALUES ($1, $2, $3)", params![&key.id.0, name, value])
            .await?;
    }
    Ok(())
}

fn member_of(placement: &Placement) -> Option<[u8; 16]> {
    match placement.owner {
        Some(OwnerId::Member(id)) => Some(id.0),
        _ => None,
    }
}

fn account_of(placement: &Placement) -> Option<[u8; 16]> {
    match placement.owner {
        Some(OwnerId::ServiceAccount(id)) => Some(id.0),
        _ => None,
    }
}

/// Secrets of one key are made at least a millisecond apart, so that their order is known.
pub(crate) async fn insert_secret(tx: &mut Tx, key: KeyId, secret: &NewSecret, now: i64) -> Result<()> {
    let newest: Option<(i64,)> = tx
        .one("SELECT created_at FROM secret WHERE key_id = $1 ORDER BY created_at DESC LIMIT 1", params![&key.0])
        .await?;
    let created_at = newest.map_or(now, |(newest,)| now.max(newest + 1));
    tx.exec(
        "INSERT INTO secret (public_id, digest, digest_kind, imported, key_id, state, pending, created_at, expires_at, \
         overlap_ms, rotation_id) VALUES ($1, $2, $3, $4, $5, 'live', $6, $7, $8, $9, $10)",
        params![
            &secret.public_id,
            &secret.digest.0,
            if secret.imported { "sha256" } else { "hmac" },
            secret.imported,
            &key.0,
            secret.pending,
            created_at,
            secret.expires_at,
            secret.overlap_ms,
            &secret.rotation_id,
        ],
    )
    .await
    .map(|_| ())
}

/// Ends every secret of a key, and the temporary keys that were minted with them.
pub(crate) async fn kill_secrets(tx: &mut Tx, id: KeyId, now: i64) -> Result<()> {
    tx.exec("UPDATE secret SET state = 'dead', pending = FALSE WHERE key_id = $1 AND state <> 'dead'", params![&id.0])
        .await?;
    end_minted(tx, id, None, now).await
}

/// A key as a change would leave it, where it may be so.
pub(crate) fn patched(mut key: KeyRecord, patch: KeyPatch) -> Result<KeyRecord> {
    // When the row was locked for this change.
    let now = key.updated_at;
    apply(&mut key, patch, now)?;
    check(&Checked::of(&key))?;
    Ok(key)
}

pub(crate) async fn patch_key(tx: &mut Tx, key: KeyRecord, patch: KeyPatch) -> Result<()> {
    let retagged = patch.tags.is_some();
    let moved = patch.project.is_some() || patch.owner_id.is_some();
    let new_end = patch.expires_at.flatten();
    let key = patched(key, patch)?;
    if moved {
        check_placement(tx, &key.placement).await?;
    }
    write(tx, &key).await?;
    if moved {
        follow(tx, &key).await?;
    }
    if let Some(at) = new_end {
        // What was minted from it ends no later, also if it is given more time again.
        end_minted(tx, key.id, None, at).await?;
    }
    if retagged {
        tx.exec("DELETE FROM key_tag WHERE key_id = $1", params![&key.id.0]).await?;
        insert_tags(tx, &key).await?;
    }
    Ok(())
}

fn apply(key: &mut KeyRecord, patch: KeyPatch, now: i64) -> Result<()> {
    fn set<T>(field: &mut T, new: Option<T>) {
        if let Some(new) = new {
            *field = new;
        }
    }
    set(&mut key.name, patch.name);
    set(&mut key.description, patch.description);
    set(&mut key.tags, patch.tags);
    set(&mut key.owner, patch.owner);
    set(&mut key.placement.project, patch.project);
    set(&mut key.placement.owner, patch.owner_id);
    change_policy(key, patch.controls, patch.keeps_spend, patch.amounts, now)?;
    set(&mut key.environment, patch.environment);
    set(&mut key.scopes, patch.scopes);
    set(&mut key.browser_allowed, patch.browser_allowed);
    set(&mut key.spend_limit, patch.spend_limit);
    set(&mut key.expires_at, patch.expires_at);
    set(&mut key.note, patch.note);
    set(&mut key.rotation_interval_ms, patch.rotation_interval_ms);
    set(&mut key.review_at, patch.review_at);
    Ok(())
}

/// The limit over all time is a column, whichever way it was said.
fn change_policy(
    key: &mut KeyRecord,
    new: Option<Controls>,
    keeps_spend: bool,
    amounts: Option<Amounts>,
    now: i64,
) -> Result<()> {
    if let Some(mut new) = new {
        let old = key.controls.take().unwrap_or_default();
        if keeps_spend {
            new.spend = old.spend.clone();
        }
        let mut new = controls::adopt(&old, new, now)?;
        key.spend_limit = new.spend.total.take().or(key.spend_limit);
        key.controls = controls::some(new);
    }
    if let Some(amounts) = amounts {
        let mut policy = key.controls.take().unwrap_or_default();
        policy.spend.set_amounts(amounts);
        key.spend_limit = policy.spend.total.take();
        key.controls = controls::some(policy);
    }
    Ok(())
}

/// What a change of a key may have changed, but for its tags as rows of their own.
async fn write(tx: &mut Tx, key: &KeyRecord) -> Result<()> {
    tx.exec(
        "UPDATE api_key SET name = $2, description = $3, tags = $4, owner = $5, project_id = $6, environment = $7, \
         scopes = $8, browser_allowed = $9, spend_limit = $10, expires_at = $11, note = $12, \
         rotation_interval_ms = $13, review_at = $14, member_id = $15, service_account_id = $16, controls = $17, \
         search = $18 WHERE id = $1",
        params![
            &key.id.0,
            &key.name,
            &key.description,
            tags_text(&key.tags),
            &key.owner,
            &key.placement.project.0,
            &key.environment,
            key.scopes.to_text(),
            key.browser_allowed,
            key.spend_limit.map(|n| n.0),
            key.expires_at,
            &key.note,
            key.rotation_interval_ms,
            key.review_at,
            member_of(&key.placement),
            account_of(&key.placement),
            controls::text(key.controls.as_ref()),
            search_text(&key.name, &key.description),
        ],
    )
    .await
    .map(|_| ())
}

/// Temporary keys belong where their parent does.
async fn follow(tx: &mut Tx, parent: &KeyRecord) -> Result<()> {
    tx.exec(
        "UPDATE api_key SET project_id = $2, member_id = $3, service_account_id = $4 WHERE parent_id = $1",
        params![&parent.id.0, &parent.placement.project.0, member_of(&parent.placement), account_of(&parent.placement)],
    )
    .await
    .map(|_| ())
}

pub(crate) fn tags_text(tags: &BTreeMap<String, String>) -> Value {
    Value::from(serde_json::to_string(tags).unwrap_or_else(|_| "{}".into()))
}

impl KeyRecord {
    /// A key that is about to be written.
    pub fn new(id: KeyId, new: NewKey, minted: Option<Minted>, now: i64) -> Self {
        let (controls, spend_limit) = controls::split_total(Some(new.controls), new.spend_limit);
        KeyRecord {
            id,
            kind: new.kind,
            name: new.name,
            description: new.description,
            tags: new.tags,
            owner: new.owner,
            creator: new.creator,
            placement: new.placement,
            controls,
            environment: new.environment,
            scopes: new.scopes,
            disabled: false,
            deleted_at: None,
            expires_at: new.expires_at,
            browser_allowed: new.browser_allowed,
            spend_limit,
            spent: Nanos::ZERO,
            note: new.note,
            rotation_interval_ms: new.rotation_interval_ms,
            review_at: new.review_at,
            exposed_at: None,
            rotation_asked_at: None,
            rotate_at: new.rotation_interval_ms.map(|interval| now.saturating_add(interval)),
            active_day: now.div_euclid(DAY_MS),
            version: 1,
            created_at: now,
            updated_at: now,
            minted,
            disabled_by: None,
        }
    }
}

pub(crate) fn check_new(new: &NewKey) -> Result<()> {
    if !new.controls.spend.increases.is_empty() {
        return Err(StoreError::invalid("controls", "`spend.increases` are granted to a key that is there"));
    }
    check(&Checked {
        kind: new.kind,
        name: &new.name,
        tags: &new.tags,
        scopes: new.scopes,
        spend_limit: new.spend_limit,
        rotation_interval_ms: new.rotation_interval_ms,
        texts: [
            ("description", Some(&new.description)),
            ("note", Some(&new.note)),
            ("owner", new.owner.as_ref()),
            ("environment", new.environment.as_ref()),
        ],
    })
}

struct Checked<'a> {
    kind: KeyKind,
    name: &'a str,
    tags: &'a BTreeMap<String, String>,
    scopes: Scopes,
    spend_limit: Option<Nanos>,
    rotation_interval_ms: Option<i64>,
    texts: [(&'static str, Option<&'a String>); 4],
}

impl<'a> Checked<'a> {
    fn of(key: &'a KeyRecord) -> Self {
        Checked {
            kind: key.kind,
            name: &key.name,
            tags: &key.tags,
            scopes: key.scopes,
            spend_limit: key.spend_limit,
            rotation_interval_ms: key.rotation_interval_ms,
            texts: [
                ("description", Some(&key.description)),
                ("note", Some(&key.note)),
                ("owner", key.owner.as_ref()),
                ("environment", key.environment.as_ref()),
            ],
        }
    }
}

fn check(key: &Checked<'_>) -> Result<()> {
    valid::name("name", key.name, 200)?;
    for (field, text) in key.texts {
        valid::text(field, text.map_or("", String::as_str), 2_000)?;
    }
    if key.tags.len() > 50 {
        return Err(StoreError::invalid("tags", "at most 50"));
    }
    for (name, value) in key.tags {
        valid::name("tags", name, 100)?;
        valid::text("tags", value, 500)?;
        if name.contains('=') {
            return Err(StoreError::invalid("tags", "a tag's name has no ="));
        }
    }
    if key.spend_limit.is_some_and(|limit| limit.0 < 0) {
        return Err(StoreError::invalid("spend_limit", "an amount cannot be negative"));
    }
    if key.rotation_interval_ms.is_some_and(|ms| ms <= 0) {
        return Err(StoreError::invalid("rotation_interval_ms", "is longer than nothing"));
    }
    if key.kind == KeyKind::Admin && !key.scopes.is_of_admin() {
        return Err(StoreError::invalid("scopes", "an admin key has one of the admin scopes and no other"));
    }
    if key.kind != KeyKind::Admin && key.scopes.managing().is_some() {
        return Err(StoreError::invalid("scopes", "only an admin key has an admin scope"));
    }
    Ok(())
}

/// Dead secrets beyond the newest few are forgotten: a key that is regenerated every hour would gather thousands.
pub(crate) async fn forget_old_secrets(tx: &mut Tx, id: KeyId) -> Result<()> {
    const KEPT: i64 = 10;
    tx.exec(
        "DELETE FROM secret WHERE key_id = $1 AND state = 'dead' AND public_id NOT IN \
         (SELECT public_id FROM secret WHERE key_id = $1 AND state = 'dead' \
          ORDER BY created_at DESC, public_id LIMIT $2)",
        params![&id.0, KEPT],
    )
    .await
    .map(|_| ())
}

/// Whether a key may belong there: the project is in the organisation, and so is the owner; a service account of one
/// project owns keys of that project alone. Nothing of it may be gone.
pub(crate) async fn check_placement(tx: &mut Tx, placement: &Placement) -> Result<()> {
    let project: Option<(Vec<u8>, Option<i64>)> =
        tx.one("SELECT organisation_id, deleted_at FROM project WHERE id = $1", params![&placement.project.0]).await?;
    match project {
        Some((organisation, None)) if organisation == placement.organisation.0 => {}
        _ => return Err(StoreError::invalid("project", "is not a project of this organisation")),
    }
    let stray = || StoreError::invalid("owner_id", "is not a member or service account that may own keys here");
    let Some(owner) = placement.owner else { return Ok(()) };
    let (organisation, project, deleted) = match owner {
        OwnerId::Member(id) => tx
            .one::<(Vec<u8>, Option<i64>)>(
                "SELECT organisation_id, deleted_at FROM membership WHERE id = $1",
                params![&id.0],
            )
            .await?
            .map(|(organisation, deleted)| (organisation, None, deleted)),
        OwnerId::ServiceAccount(id) => {
            tx.one::<(Vec<u8>, Option<Vec<u8>>, Option<i64>)>(
                "SELECT organisation_id, project_id, deleted_at FROM service_account WHERE id = $1",
                params![&id.0],
            )
            .await?
        }
    }
    .ok_or_else(stray)?;
    let elsewhere = organisation != placement.organisation.0 || project.is_some_and(|id| id != placement.project.0);
    if elsewhere || deleted.is_some() { Err(stray()) } else { Ok(()) }
}
