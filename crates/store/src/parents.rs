//! The keys that temporary keys were minted from, in memory, each as its newest change left it. A temporary key in memory
//! is made of its own terms and of its parent, and made anew when either changes, so it shrinks and dies with its parent
//! at once and the path of a call need not look at both.

use crate::cache::{KeyParts, KeyState, SecretInfo};
use anykey_core::controls::Bound;
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::{KeyId, Nanos};
use arc_swap::ArcSwapOption;
use parking_lot::RwLock;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Parents that no temporary key in memory has any more are thrown out when there are more than this.
const KEPT: usize = 1024;

/// A parent, shared by all its temporary keys.
#[derive(Debug, Default)]
pub(crate) struct Parent(ArcSwapOption<KeyState>);

#[derive(Default)]
pub(crate) struct Parents(RwLock<HashMap<KeyId, Arc<Parent>>>);

impl Parents {
    /// The place of a parent, made before it is read: a change that comes in between finds it.
    pub fn place(&self, id: KeyId) -> Arc<Parent> {
        if let Some(parent) = self.0.read().get(&id) {
            return Arc::clone(parent);
        }
        let mut parents = self.0.write();
        if parents.len() >= KEPT {
            parents.retain(|_, parent| Arc::strong_count(parent) > 1);
        }
        Arc::clone(parents.entry(id).or_default())
    }

    /// Notes a change of a key; says whether temporary keys in memory may have been minted from it.
    pub fn changed(&self, state: &KeyState) -> bool {
        let known = self.0.read().get(&state.key.info.id).cloned();
        known.is_some_and(|parent| {
            parent.note(state);
            true
        })
    }

    pub fn ids(&self) -> HashSet<KeyId> {
        self.0.read().keys().copied().collect()
    }
}

impl Parent {
    /// Takes over a state unless a newer one is there.
    pub fn note(&self, state: &KeyState) {
        self.0.rcu(|known| match known {
            Some(known) if known.key.version >= state.key.version => Some(Arc::clone(known)),
            _ => Some(Arc::new(state.clone())),
        });
    }

    pub fn is_known(&self) -> bool {
        self.0.load().is_some()
    }

    fn version(&self) -> i64 {
        self.0.load().as_ref().map_or(i64::MIN, |state| state.key.version)
    }
}

/// How a key was minted from another one. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minted {
    pub parent: KeyId,
    /// The parent's secret that asked: the key lives as long as that.
    pub with: [u8; PUBLIC_ID_LEN],
    /// How many requests it may make in its life.
    pub request_limit: Option<u64>,
}

/// What a temporary key in memory has beyond other keys.
#[derive(Debug)]
pub struct Temp {
    pub parent_id: KeyId,
    pub parent_name: Box<str>,
    /// What its parent may spend: the same money.
    pub parent_spend_limit: Option<Nanos>,
    /// How many requests it may make in its life.
    pub request_limit: Option<u64>,
    pub(crate) parent_disabled: bool,
    /// The parent's own policy, which bounds it too: what is counted under it is counted for both.
    pub(crate) parent_own: Option<Bound>,
    /// The key by itself, before its parent narrows it.
    alone: (KeyParts, SecretInfo),
    parent: Arc<Parent>,
    /// The version of the parent that it was made with.
    made_with: i64,
}

impl Temp {
    /// Whether the parent has changed since.
    pub(crate) fn is_behind(&self) -> bool {
        self.made_with < self.parent.version()
    }

    pub(crate) fn alone(&self) -> (&KeyParts, &SecretInfo, &Arc<Parent>) {
        (&self.alone.0, &self.alone.1, &self.parent)
    }
}

/// A temporary key under its parent as it stands: no scope, no hour and no place that the parent does not have.
pub(crate) fn narrow(
    key: &KeyParts,
    secret: &SecretInfo,
    parent: &Arc<Parent>,
) -> (KeyParts, SecretInfo, Option<Temp>) {
    let (mut key, mut secret) = (key.clone(), secret.clone());
    let Some(minted) = key.minted else { return (key, secret, None) };
    let mut alone = (key.clone(), secret.clone());
    let state = parent.0.load_full();
    let of_secret = |state: &KeyState| state.secrets.iter().find(|s| s.public_id == minted.with).map(|s| s.ends_at);
    // A secret that is not there any more was dead for long.
    secret.ends_at = secret.ends_at.min(state.as_deref().and_then(of_secret).unwrap_or(0));
    let above = state.as_deref().map(|state| &state.key);
    if let Some(above) = above {
        key.info.scopes = key.info.scopes.and(above.info.scopes);
        key.info.deleted |= above.info.deleted;
        key.info.expires_at = earlier(key.info.expires_at, above.info.expires_at);
        key.placement = above.placement;
        key.above = Arc::clone(&above.above);
        // As it is stored: what was ended with its parent's end gets no more time when its parent does.
        alone.0.info.expires_at = key.info.expires_at;
    }
    let temp = Temp {
        parent_id: minted.parent,
        parent_name: above.map_or_else(|| "".into(), |above| above.info.name.clone()),
        parent_spend_limit: above.and_then(|above| above.info.spend_limit),
        request_limit: minted.request_limit,
        parent_disabled: above.is_none_or(|above| above.info.disabled),
        parent_own: above.and_then(|above| above.own.clone()),
        alone,
        parent: Arc::clone(parent),
        made_with: above.map_or(i64::MIN, |above| above.version),
    };
    (key, secret, Some(temp))
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
