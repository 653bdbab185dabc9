//! What a grant makes of a key, within what is above it, and how it is taken back.

use super::SELECT;
use crate::Store;
use crate::approval_types::ApprovalRow;
use crate::cache::KeyState;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{KeyRecord, secrets_of};
use crate::key_types::{KeyPatch, KeyRow};
use crate::key_write::patch_key;
use crate::keys::{lock_key, reread};
use crate::levels::Above;
use crate::projects::rules_above;
use crate::sql::dynamic;
use anykey_core::controls::{Controls, Limits, Models};
use anykey_core::key_rules::KeyFacts;
use anykey_core::wish::{Granted, Held, Wish};
use anykey_core::{KeyId, KeyKind, Placement};

/// What a decision, or an end, did.
pub(super) enum Effect {
    Nothing,
    /// What was granted, unless it was taken back.
    Changed(Option<Granted>, Box<Changed>),
    Made(Box<KeyRow>),
}

impl Effect {
    pub fn granted(&self) -> Option<&Granted> {
        match self {
            Effect::Changed(granted, _) => granted.as_ref(),
            Effect::Nothing | Effect::Made(_) => None,
        }
    }

    /// The key as it is now.
    pub fn key(&self) -> Option<&KeyRow> {
        match self {
            Effect::Nothing => None,
            Effect::Changed(_, changed) => Some(&changed.after),
            Effect::Made(key) => Some(key),
        }
    }

    pub fn into_key(self) -> Option<KeyRow> {
        match self {
            Effect::Nothing => None,
            Effect::Changed(_, changed) => Some(changed.after),
            Effect::Made(key) => Some(*key),
        }
    }
}

/// A key before and after, and what memory is to hold of it.
pub(super) struct Changed {
    pub before: KeyRow,
    pub after: KeyRow,
    pub state: KeyState,
}

impl Store {
    /// Gives a key what is asked for.
    pub(super) async fn grant(&self, tx: &mut Tx, id: KeyId, wish: &Wish, now: i64) -> Result<(Granted, Changed)> {
        let key = lock_key(tx, id, None, now).await?;
        let granted = self.grantable(tx, &key, wish).await?;
        let mut held = held(&key);
        granted.apply(&mut held);
        let changed = self.write_held(tx, key, held).await?;
        Ok((granted, changed))
    }

    /// Takes back what a grant gave; the grants of the same key that still run keep theirs.
    pub(super) async fn ungrant(&self, tx: &mut Tx, over: &ApprovalRow, key: KeyRecord) -> Result<Effect> {
        let Some(granted) = over.granted.clone() else { return Ok(Effect::Nothing) };
        let running: Vec<ApprovalRow> = tx
            .all(
                dynamic(format!(
                    "{SELECT} WHERE key_id = $1 AND id <> $2 AND state = 'approved' AND granted IS NOT NULL ORDER BY id"
                )),
                params![&key.id.0, &over.id.0],
            )
            .await?;
        let mut others: Vec<(Wish, Granted)> =
            running.iter().map(|row| (row.wish.clone(), row.granted.clone().unwrap_or_default())).collect();
        let mut held = held(&key);
        granted.take_back(&mut held, &mut others);
        for (row, (_, granted)) in running.iter().zip(others) {
            if row.granted.as_ref() != Some(&granted) {
                let text = serde_json::to_string(&granted).unwrap_or_default();
                tx.exec("UPDATE approval SET granted = $2 WHERE id = $1", params![&row.id.0, &text]).await?;
            }
        }
        Ok(Effect::Changed(None, Box::new(self.write_held(tx, key, held).await?)))
    }

    async fn write_held(&self, tx: &mut Tx, key: KeyRecord, held: Held) -> Result<Changed> {
        let now = self.now();
        let id = key.id;
        let above = self.above_in(tx, &key.placement).await?;
        let before = key.clone().show(&secrets_of(tx, id).await?, &above, &self.brand, now);
        let patch = KeyPatch {
            controls: Some(held.controls),
            spend_limit: Some(held.spend_limit),
            expires_at: Some(held.expires_at),
            ..KeyPatch::default()
        };
        patch_key(tx, key, patch).await?;
        let key = reread(tx, id).await?;
        let secrets = secrets_of(tx, id).await?;
        let state = key.state(&secrets, Above::clone(&above));
        let after = key.show(&secrets, &above, &self.brand, now);
        Ok(Changed { before, after, state })
    }

    /// What would change of a key, if nothing above it and none of its organisation's rules forbids that.
    pub(super) async fn grantable(&self, tx: &mut Tx, key: &KeyRecord, wish: &Wish) -> Result<Granted> {
        if key.deleted_at.is_some() {
            return Err(StoreError::conflict("the key is deleted"));
        }
        if matches!(key.kind, KeyKind::Temp | KeyKind::Admin) {
            return Err(StoreError::invalid(
                "key",
                format!("is of the kind {}, of which no more can be asked", key.kind.name()),
            ));
        }
        let now = self.now();
        if wish.expires_at.is_some_and(|at| at <= now) {
            return Err(StoreError::invalid("expires_at", "is in the past"));
        }
        let mut after = held(key);
        let granted = wish.against(&after).map_err(|why| StoreError::invalid("wish", why.to_string()))?;
        granted.apply(&mut after);
        self.expect_within(tx, &key.placement, &asked(&granted, &after.controls)).await?;
        self.hold_to_rules(tx, key, &granted, &after).await?;
        Ok(granted)
    }

    /// That nothing above a place forbids what is asked for there.
    pub(super) async fn expect_within(&self, tx: &mut Tx, placement: &Placement, asked: &Controls) -> Result<()> {
        for level in self.above_in(tx, placement).await?.iter() {
            let Some(bound) = &level.bound else { continue };
            if let Err(wider) = asked.filled_from(&bound.controls).within(&bound.controls) {
                let message = format!(
                    "asks for more than the {} `{}` lets keys have, in `{}`",
                    bound.level.words(),
                    bound.name,
                    wider.field
                );
                return Err(StoreError::invalid("wish", message));
            }
        }
        Ok(())
    }

    /// The rules above the key for what a grant touches.
    async fn hold_to_rules(&self, tx: &mut Tx, key: &KeyRecord, granted: &Granted, after: &Held) -> Result<()> {
        let rules = rules_above(tx, key.placement.project).await?;
        let facts = KeyFacts {
            expires_at: after.expires_at,
            spend_limit: after.controls.spend.enforced_total(after.spend_limit),
            spends_by_calendar: after.controls.spend.has_windows(),
            ..key.facts()
        };
        let touched = |field: &str| match field {
            "expires_at" => granted.expires_at.is_some(),
            "spend_limits" => granted.spend_limit.is_some(),
            _ => false,
        };
        match rules.breaches(&facts, self.now()).into_iter().find(|breach| touched(breach.field)) {
            Some(breach) => Err(StoreError::invalid("wish", format!("{} {}", breach.field, breach.message))),
            None => Ok(()),
        }
    }
}

fn held(key: &KeyRecord) -> Held {
    Held {
        controls: key.controls.clone().unwrap_or_default(),
        spend_limit: key.spend_limit,
        expires_at: key.expires_at,
    }
}

/// Of a key's policy what a grant gives: what the key had before is not the request's to answer for.
fn asked(granted: &Granted, after: &Controls) -> Controls {
    let raised = |name: &str, now: Option<u64>| now.filter(|_| granted.limits.contains_key(name));
    let Limits { rpm, rph, rpd, tpm, tpd, concurrency } = after.limits;
    let models: Box<[_]> = granted.allowed.iter().cloned().collect();
    Controls {
        models: if models.is_empty() {
            after.models.clone().filter(|_| !granted.unblocked.is_empty())
        } else {
            Some(Models::Allow(models))
        },
        limits: Limits {
            rpm: raised("rpm", rpm),
            rph: raised("rph", rph),
            rpd: raised("rpd", rpd),
            tpm: raised("tpm", tpm),
            tpd: raised("tpd", tpd),
            concurrency: raised("concurrency", concurrency),
        },
        ..Controls::default()
    }
}
