//! Keys that somebody asks for because they may not make them: made when somebody who may agrees, with a secret that
//! nobody knows, and given another one that whoever asked collects, once.

use crate::Store;
use crate::approval_types::{ApprovalRow, ApprovalState, Asker, KeyWish};
use crate::audit::Verb;
use crate::db::{Tx, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_types::{KeyRow, NewKey};
use crate::key_write::{check_new, check_placement};
use crate::keys::Step;
use crate::projects::rules_above;
use crate::rotation::replace_secret;
use crate::temp::settled;
use anykey_core::controls::{Controls, Models};
use anykey_core::wish::Wish;
use anykey_core::{ApprovalId, KeyKind, Nanos, OwnerId, Placement, Token};

impl Store {
    /// Gives whoever asked for a key, and was granted it, a secret of it. The one that it was made with is dead then.
    pub async fn collect_approval(&self, id: ApprovalId, by: &str) -> Result<(KeyRow, Token)> {
        let row = self.approval(id).await?;
        if row.asked_by.id != by {
            return Err(StoreError::conflict("only whoever asked for a key collects its secret"));
        }
        let (Some(key), Some(_), ApprovalState::Approved) = (row.key, &row.new_key, row.state) else {
            return Err(StoreError::conflict("there is no secret to collect: no key was made, or its time is over"));
        };
        let step: Step<Token> = Box::new(move |store, tx, key| {
            Box::pin(async move {
                settled(key)?;
                claim(tx, id, store.now()).await?;
                replace_secret(store, tx, key).await
            })
        });
        self.change_key(key, None, Verb::KeyRegenerate, step).await
    }

    /// The key that is asked for, if nothing forbids it.
    pub(super) async fn makeable(
        &self,
        tx: &mut Tx,
        placement: Placement,
        wished: &KeyWish,
        wish: &Wish,
        until: Option<i64>,
    ) -> Result<NewKey> {
        if wish.expires_at.is_some_and(|at| at <= self.now()) {
            return Err(StoreError::invalid("expires_at", "is in the past"));
        }
        let models: Box<[_]> = wish.models.iter().cloned().collect();
        let new = NewKey {
            placement,
            description: wished.description.clone(),
            environment: wished.environment.clone(),
            tags: wished.tags.clone(),
            note: wished.note.clone(),
            review_at: wished.review_at,
            rotation_interval_ms: wished.rotation_interval_ms,
            controls: Controls {
                models: Some(Models::Allow(models)).filter(|_| !wish.models.is_empty()),
                limits: wish.limits,
                ..Controls::default()
            },
            spend_limit: wish.spend_limit.map(Nanos),
            expires_at: [wish.expires_at, until].into_iter().flatten().min(),
            ..NewKey::new(KeyKind::Live, wished.name.clone())
        };
        check_new(&new)?;
        check_placement(tx, &placement).await?;
        self.expect_within(tx, &placement, &new.controls).await?;
        let rules = rules_above(tx, placement.project).await?;
        match rules.breaches(&new.facts(), self.now()).into_iter().next() {
            Some(breach) => Err(StoreError::invalid(breach.field, breach.message)),
            None => Ok(new),
        }
    }

    pub(super) async fn make_key(
        &self,
        tx: &mut Tx,
        row: &ApprovalRow,
        wished: &KeyWish,
        by: &Asker,
        until: Option<i64>,
    ) -> Result<KeyRow> {
        let owner = row.member.map(OwnerId::Member).ok_or_else(|| damaged("a request for a key is nobody's"))?;
        let placement = Placement { organisation: row.organisation, project: row.project, owner: Some(owner) };
        let mut new = self.makeable(tx, placement, wished, &row.wish, until).await?;
        new.creator = Some(by.id.clone());
        let (_, secret) = self.mint(new.kind)?;
        self.put_key(tx, new, None, &secret).await
    }
}

/// Whoever comes second gets nothing.
async fn claim(tx: &mut Tx, id: ApprovalId, now: i64) -> Result<()> {
    const CLAIM: &str = "UPDATE approval SET collected_at = $2, version = version + 1, updated_at = $2 \
         WHERE id = $1 AND collected_at IS NULL AND state = 'approved'";
    if tx.exec(CLAIM, params![&id.0, now]).await? == 1 {
        return Ok(());
    }
    Err(StoreError::conflict("the secret was collected already; whoever manages the key can give it another"))
}
