//! The keys that temporary keys were minted from, in memory, each as its newest change left it: what a temporary key may
//! do is looked up there at every call, so it dies and shrinks with its parent at once.

use crate::cache::KeyState;
use anykey_core::key::KeyInfo;
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::{Code, KeyId, Nanos};
use arc_swap::ArcSwapOption;
use parking_lot::RwLock;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
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

    pub fn changed(&self, state: &KeyState) {
        if let Some(parent) = self.0.read().get(&state.info.id) {
            parent.note(state);
        }
    }

    pub fn ids(&self) -> HashSet<KeyId> {
        self.0.read().keys().copied().collect()
    }
}

impl Parent {
    /// Takes over a state unless a newer one is there.
    pub fn note(&self, state: &KeyState) {
        self.0.rcu(|known| match known {
            Some(known) if known.version >= state.version => Some(Arc::clone(known)),
            _ => Some(Arc::new(state.clone())),
        });
    }

    pub fn is_known(&self) -> bool {
        self.0.load().is_some()
    }
}

/// What a temporary key has beyond other keys.
#[derive(Clone, Debug)]
pub struct Temp {
    pub parent_id: KeyId,
    /// How many requests it may make in its life.
    pub request_limit: Option<u64>,
    /// The one address that may use it.
    pub ip: Option<IpAddr>,
    /// What it may call, of what its parent may.
    pub models: Option<anykey_core::controls::Models>,
    /// The secret that it was minted with: it lives as long as that.
    pub(crate) minted_with: [u8; PUBLIC_ID_LEN],
    pub(crate) parent: Arc<Parent>,
}

impl Temp {
    /// The parent as it stands.
    pub fn parent(&self) -> Option<ParentNow> {
        self.parent.0.load_full().map(ParentNow)
    }

    /// Why it cannot be used because of its parent, if so.
    pub(crate) fn dead_at(&self, now_ms: i64) -> Option<Code> {
        let Some(parent) = self.parent.0.load_full() else { return Some(Code::KeyRevoked) };
        parent.info.dead_at(now_ms).or_else(|| (self.secret_ends_at(&parent) <= now_ms).then_some(Code::KeyRevoked))
    }

    /// Whether calls that run on it end.
    pub(crate) fn is_cut(&self) -> bool {
        self.parent
            .0
            .load()
            .as_ref()
            .is_none_or(|parent| parent.info.disabled || parent.info.deleted || self.secret_ends_at(parent) == 0)
    }

    fn secret_ends_at(&self, parent: &KeyState) -> i64 {
        parent.secrets.iter().find(|secret| secret.public_id == self.minted_with).map_or(0, |secret| secret.ends_at)
    }
}

/// A parent at one moment.
pub struct ParentNow(Arc<KeyState>);

impl ParentNow {
    pub fn info(&self) -> &KeyInfo {
        &self.0.info
    }

    pub fn spend_limit(&self) -> Option<Nanos> {
        self.0.info.spend_limit
    }
}
