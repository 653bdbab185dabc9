//! The keys in memory: what the path of a call asks first. Bounded, sharded, and never older than a change made here.
//!
//! A look-up reads the database without a lock, so a change can commit between its query and its insert. Each shard
//! counts the changes that touched it; an insert whose count is out of date is thrown away and asked again.

use crate::clock_map::ClockMap;
use crate::levels::{Above, Level, Levels};
use crate::parents::{self, Minted, Parent, Parents, Temp};
use anykey_core::controls::{self as policy, Bound};
use anykey_core::key::KeyInfo;
use anykey_core::token::{Digest, PUBLIC_ID_LEN};
use anykey_core::{Code, KeyId, Placement};
use parking_lot::RwLock;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A power of two, well above the number of threads that serve calls.
const SHARDS: usize = 64;
/// How long an unknown digest is refused without asking again.
const UNKNOWN_MS: i64 = 5_000;

/// What is known of a digest without asking the database.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// There is such a secret. Whether it may be used now is [`LiveKey::dead_at`].
    Live(Arc<LiveKey>),
    /// The database said within the last five seconds that there is none.
    Unknown,
    /// Memory cannot say: the database has to be asked, with [`crate::Store::look_up`].
    Ask,
}

/// One secret of a key, as the path of a call needs it. A change to the key makes a new one; a call that runs keeps its
/// own and watches [`LiveKey::cancelled`].
#[derive(Debug)]
pub struct LiveKey {
    pub info: KeyInfo,
    /// Which of the key's secrets this is.
    pub public_id: [u8; PUBLIC_ID_LEN],
    /// The key's version, of which this is a copy.
    pub version: i64,
    /// Where the key belongs.
    pub placement: Placement,
    /// What bounds it, the outermost first: organisation, project, owner, the key itself; only those that say something.
    pub bounds: Arc<[Bound]>,
    /// What it has beyond other keys where it was minted from one.
    pub temp: Option<Arc<Temp>>,
    above: Above,
    own: Option<Bound>,
    pulse: Arc<Pulse>,
}

/// What all copies of one secret share, so that a call that runs on an old copy hears of its end.
#[derive(Debug)]
struct Pulse {
    cancelled: AtomicBool,
    /// `i64::MAX` says never.
    expires_at: AtomicI64,
}

impl LiveKey {
    pub(crate) fn new(key: &KeyParts, secret: &SecretInfo) -> Self {
        LiveKey {
            info: key.info.clone(),
            public_id: secret.public_id,
            version: key.version,
            placement: key.placement,
            bounds: bounds(&key.above, None, key.own.as_ref()),
            temp: None,
            above: Arc::clone(&key.above),
            own: key.own.clone(),
            pulse: Arc::new(Pulse { cancelled: AtomicBool::new(false), expires_at: AtomicI64::new(secret.ends_at) }),
        }
    }

    /// The same of a key that was minted from another one, as its parent leaves it.
    pub(crate) fn minted(key: &KeyParts, secret: &SecretInfo, parent: &Arc<Parent>) -> Self {
        let (key, secret, temp) = parents::narrow(key, secret, parent);
        let new = LiveKey::new(&key, &secret);
        let above = temp.as_ref().and_then(|temp| temp.parent_own.as_ref());
        LiveKey { bounds: bounds(&new.above, above, new.own.as_ref()), temp: temp.map(Arc::new), ..new }
    }

    /// A newer version of the same secret.
    fn next(&self, key: &KeyParts, secret: &SecretInfo) -> Self {
        match &self.temp {
            Some(temp) => LiveKey::minted(key, secret, temp.alone().2),
            None => LiveKey::new(key, secret),
        }
    }

    /// The same under its parent as that stands, where the parent has changed.
    fn under_parent(&self) -> Option<Self> {
        let temp = self.temp.as_ref().filter(|temp| temp.is_behind())?;
        let (key, secret, parent) = temp.alone();
        Some(LiveKey::minted(key, secret, parent))
    }

    /// The same secret under what is above it by now.
    fn under(&self, above: Above) -> Self {
        LiveKey {
            info: self.info.clone(),
            public_id: self.public_id,
            version: self.version,
            placement: self.placement,
            bounds: bounds(&above, self.temp.as_ref().and_then(|t| t.parent_own.as_ref()), self.own.as_ref()),
            temp: self.temp.clone(),
            above,
            own: self.own.clone(),
            pulse: Arc::new(Pulse {
                cancelled: AtomicBool::new(false),
                expires_at: AtomicI64::new(self.secret_expires_at()),
            }),
        }
    }

    /// The outermost of what is above the key that is disabled or deleted, and its name; the key is refused for it. Above
    /// a temporary key is also the key that it was minted from.
    pub fn closed_by(&self) -> Option<(policy::Level, &str)> {
        let parent = || self.temp.as_ref().filter(|temp| temp.parent_disabled);
        let closed = self.above.iter().find(|level| level.closed);
        closed
            .map(|level| (level.id.level(), &*level.name))
            .or_else(|| parent().map(|temp| (policy::Level::Key, &*temp.parent_name)))
    }

    /// Puts what is known to be newest in the place of what a reader brought. The caller has the shard locked.
    fn catch_up(self, levels: &Levels) -> Self {
        match self.anew(levels) {
            Ok(newer) => newer,
            Err(newest) => LiveKey { above: newest, ..self },
        }
    }

    /// The same by what is known now of its parent and of what is above it; where nothing has changed, only that.
    fn anew(&self, levels: &Levels) -> Result<Self, Above> {
        if let Some(key) = self.under_parent() {
            return Ok(key.catch_up(levels));
        }
        let newest: Above = self.above.iter().map(|level| levels.newest(level)).collect();
        let same = newest.iter().zip(self.above.iter()).all(|(a, b)| a.version == b.version);
        if same { Err(newest) } else { Ok(self.under(newest)) }
    }

    /// Whether a change has taken the secret's power away; calls that run on it end.
    pub fn cancelled(&self) -> bool {
        self.pulse.cancelled.load(Ordering::Relaxed)
    }

    /// When this secret (not the key) ends, milliseconds since 1970; `i64::MAX` says never.
    pub fn secret_expires_at(&self) -> i64 {
        self.pulse.expires_at.load(Ordering::Relaxed)
    }

    /// Why the secret cannot be used at `now_ms`, if it cannot.
    pub fn dead_at(&self, now_ms: i64) -> Option<Code> {
        self.info
            .dead_at(now_ms)
            .or_else(|| (self.secret_expires_at() <= now_ms).then_some(Code::KeyRevoked))
            .or_else(|| self.closed_by().map(|_| Code::KeyDisabled))
    }

    /// Takes the place of an older copy of the same secret.
    fn succeed(&mut self, old: &LiveKey, now_ms: i64) {
        let ends_at = self.secret_expires_at();
        old.pulse.expires_at.store(ends_at, Ordering::Relaxed);
        if self.dead_at(now_ms).is_some() {
            old.pulse.cancelled.store(true, Ordering::Relaxed);
        }
        // A key that was enabled again starts afresh; the calls that its end cut stay cut.
        if !old.cancelled() || self.dead_at(now_ms).is_some() {
            self.pulse = Arc::clone(&old.pulse);
        }
    }

    /// Whether a call holds this copy or an older one.
    fn in_use(this: &Arc<LiveKey>) -> bool {
        Arc::strong_count(this) > 1 || Arc::strong_count(&this.pulse) > 1
    }
}

fn bounds(above: &[Arc<Level>], parent: Option<&Bound>, own: Option<&Bound>) -> Arc<[Bound]> {
    above.iter().filter_map(|level| level.bound.as_ref()).chain(parent).chain(own).cloned().collect()
}

/// A key without its secrets, as a change or a look-up read it.
#[derive(Clone, Debug)]
pub(crate) struct KeyParts {
    pub info: KeyInfo,
    pub version: i64,
    pub placement: Placement,
    pub above: Above,
    /// The key's own policy.
    pub own: Option<Bound>,
    pub minted: Option<Minted>,
}

/// One secret, as a change or a look-up read it.
#[derive(Clone, Debug)]
pub(crate) struct SecretInfo {
    pub digest: Digest,
    pub public_id: [u8; PUBLIC_ID_LEN],
    /// `i64::MAX` says never; 0 is dead.
    pub ends_at: i64,
}

/// All of a key that the cache can hold, after a change.
#[derive(Clone, Debug)]
pub(crate) struct KeyState {
    pub key: KeyParts,
    pub secrets: Vec<SecretInfo>,
}

/// The count of changes of a shard when a look-up began.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

struct Shard {
    generation: Generation,
    live: ClockMap<Arc<LiveKey>>,
    /// Until when each is taken to be unknown.
    unknown: ClockMap<i64>,
}

pub(crate) struct Cache {
    shards: Box<[RwLock<Shard>]>,
    pub levels: Levels,
    /// The keys that temporary keys were minted from.
    pub parents: Parents,
}

impl Cache {
    pub fn new(known: usize, unknown: usize) -> Self {
        let shard = || {
            RwLock::new(Shard {
                generation: Generation(0),
                live: ClockMap::new(known.div_ceil(SHARDS), LiveKey::in_use),
                unknown: ClockMap::new(unknown.div_ceil(SHARDS), |_| false),
            })
        };
        Cache { shards: (0..SHARDS).map(|_| shard()).collect(), levels: Levels::default(), parents: Parents::default() }
    }

    /// A digest is as good as random, so any of its bits choose the shard; the map within uses others.
    fn shard(&self, digest: &Digest) -> &RwLock<Shard> {
        &self.shards[usize::from(digest.0[31]) % SHARDS]
    }

    pub fn get(&self, digest: &Digest, now_ms: i64) -> Lookup {
        let shard = self.shard(digest).read();
        if let Some(key) = shard.live.get(digest) {
            return Lookup::Live(Arc::clone(key));
        }
        match shard.unknown.get(digest) {
            // The upper bound holds when the clock was set back.
            Some(until) if now_ms < *until && *until <= now_ms + UNKNOWN_MS => Lookup::Unknown,
            _ => Lookup::Ask,
        }
    }

    pub fn generation(&self, digest: &Digest) -> Generation {
        self.shard(digest).read().generation
    }

    /// Keeps what a look-up found; `None` when the shard has changed since the look-up began.
    pub fn insert(&self, digest: Digest, seen: Generation, mut key: LiveKey, now_ms: i64) -> Option<Arc<LiveKey>> {
        let mut shard = self.shard(&digest).write();
        if shard.generation != seen {
            return None;
        }
        key = key.catch_up(&self.levels);
        if let Some(old) = shard.live.get(&digest) {
            if old.version >= key.version {
                // It may be newer than what was read, and its parent and what is above it may have been read anew.
                match old.anew(&self.levels) {
                    Ok(newer) => key = newer,
                    Err(_) => return Some(Arc::clone(old)),
                }
            }
            key.succeed(old, now_ms);
        }
        let key = Arc::new(key);
        shard.live.insert(digest, Arc::clone(&key));
        shard.unknown.remove(&digest);
        Some(key)
    }

    /// Remembers that there is no such key; `false` when the shard has changed since the look-up began.
    pub fn insert_unknown(&self, digest: Digest, seen: Generation, now_ms: i64) -> bool {
        let mut shard = self.shard(&digest).write();
        if shard.generation != seen {
            return false;
        }
        shard.unknown.insert(digest, now_ms + UNKNOWN_MS);
        true
    }

    /// Puts a committed change in force. Changes of one key may come out of order; the newest version stays.
    pub fn changed(&self, state: &KeyState, now_ms: i64) {
        // Noted before the walk: who reads the parent while it goes on sees the change, or is seen by the walk.
        let minted_from = self.parents.changed(state);
        for secret in &state.secrets {
            let mut shard = self.shard(&secret.digest).write();
            shard.generation.0 += 1;
            shard.unknown.remove(&secret.digest);
            let Some(old) = shard.live.get_mut(&secret.digest) else { continue };
            if old.version < state.key.version {
                let mut new = old.next(&state.key, secret).catch_up(&self.levels);
                new.succeed(old, now_ms);
                *old = Arc::new(new);
            }
        }
        if minted_from {
            self.parent_changed(state.key.info.id, now_ms);
        }
    }

    /// Makes the temporary keys of a key that has changed anew.
    fn parent_changed(&self, parent: KeyId, now_ms: i64) {
        for shard in &self.shards {
            let mut shard = shard.write();
            for key in shard.live.values_mut() {
                if key.temp.as_ref().is_none_or(|temp| temp.parent_id != parent) {
                    continue;
                }
                let Some(new) = key.under_parent() else { continue };
                let mut new = new.catch_up(&self.levels);
                new.succeed(key, now_ms);
                *key = Arc::new(new);
            }
        }
    }

    /// Puts a committed change of something above keys in force for all keys below it. Changes may come out of order; the
    /// newest version stays.
    pub fn level_changed(&self, level: &Arc<Level>, now_ms: i64) {
        let newest = self.levels.newest(level);
        for shard in &self.shards {
            let mut shard = shard.write();
            for key in shard.live.values_mut() {
                let Some(at) = key.above.iter().position(|known| known.id == newest.id) else { continue };
                if key.above[at].version >= newest.version {
                    continue;
                }
                let mut above = key.above.to_vec();
                above[at] = Arc::clone(&newest);
                let mut new = key.under(above.into());
                new.succeed(key, now_ms);
                *key = Arc::new(new);
            }
        }
    }

    /// Digests that were unknown may be known now: an imported key's is not told by its import.
    pub fn forget_unknown(&self) {
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.generation.0 += 1;
            shard.unknown.clear();
        }
    }

    /// The keys in memory, for when the changes of other replicas were missed.
    pub fn ids(&self) -> HashSet<KeyId> {
        let live = self.shards.iter().flat_map(|s| s.read().live.values().map(|k| k.info.id).collect::<Vec<_>>());
        live.chain(self.parents.ids()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::{KeyKind, LevelId, OrganisationId, Scopes};

    fn info(id: u8) -> KeyInfo {
        KeyInfo {
            id: KeyId([id; 16]),
            kind: KeyKind::Live,
            name: "k".into(),
            scopes: Scopes::DEFAULT,
            disabled: false,
            deleted: false,
            expires_at: None,
            browser_allowed: false,
            spend_limit: None,
        }
    }

    fn digest(n: u32) -> Digest {
        let mut bytes = [0u8; 32];
        bytes[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_le_bytes());
        Digest(bytes)
    }

    fn secret(n: u32) -> SecretInfo {
        SecretInfo { digest: digest(n), public_id: *b"AbCd1234", ends_at: i64::MAX }
    }

    fn live(cache: &Cache, n: u32) -> Arc<LiveKey> {
        match cache.get(&digest(n), 0) {
            Lookup::Live(key) => key,
            other => panic!("{other:?}"),
        }
    }

    fn put(cache: &Cache, n: u32, version: i64) -> Arc<LiveKey> {
        let seen = cache.generation(&digest(n));
        cache.insert(digest(n), seen, LiveKey::new(&parts(version, false), &secret(n)), 0).unwrap()
    }

    fn parts(version: i64, disabled: bool) -> KeyParts {
        let info = KeyInfo { disabled, ..info(1) };
        let above = Arc::from([organisation(1, false)]);
        KeyParts { info, version, placement: Placement::default(), above, own: None, minted: None }
    }

    fn organisation(version: i64, closed: bool) -> Arc<Level> {
        let id = LevelId::Organisation(OrganisationId::DEFAULT);
        Arc::new(Level { id, name: "Acme".into(), label: "acme".into(), closed, bound: None, version })
    }

    fn state(version: i64, disabled: bool) -> KeyState {
        KeyState { key: parts(version, disabled), secrets: vec![secret(1)] }
    }

    #[test]
    fn a_change_between_query_and_insert_wins() {
        let cache = Cache::new(64, 64);
        let seen = cache.generation(&digest(1));
        cache.changed(&state(2, true), 0);
        assert!(cache.insert(digest(1), seen, LiveKey::new(&parts(1, false), &secret(1)), 0).is_none());
        assert!(!cache.insert_unknown(digest(1), seen, 0));
        assert!(matches!(cache.get(&digest(1), 0), Lookup::Ask));
    }

    #[test]
    fn changes_that_arrive_out_of_order_leave_the_newest() {
        let cache = Cache::new(64, 64);
        put(&cache, 1, 1);
        cache.changed(&state(3, true), 0);
        cache.changed(&state(2, false), 0);
        assert!(live(&cache, 1).info.disabled);
        assert_eq!(put(&cache, 1, 2).version, 3);
    }

    #[test]
    fn a_call_on_any_older_copy_hears_of_the_end_and_a_new_one_starts_afresh() {
        let cache = Cache::new(64, 64);
        let first = put(&cache, 1, 1);
        cache.changed(&state(2, false), 0);
        let second = live(&cache, 1);
        assert!(!first.cancelled() && !second.cancelled());
        cache.changed(&state(3, true), 0);
        assert!(first.cancelled() && second.cancelled());
        assert_eq!(live(&cache, 1).dead_at(0), Some(Code::KeyDisabled));
        cache.changed(&state(4, false), 0);
        assert!(first.cancelled() && second.cancelled());
        assert!(!live(&cache, 1).cancelled());
        assert_eq!(live(&cache, 1).dead_at(0), None);
    }

    #[test]
    fn a_secret_that_gets_an_end_tells_the_copies_in_use() {
        let cache = Cache::new(64, 64);
        let first = put(&cache, 1, 1);
        let ending = KeyState { secrets: vec![SecretInfo { ends_at: 100, ..secret(1) }], ..state(2, false) };
        cache.changed(&ending, 0);
        assert!(!first.cancelled());
        assert_eq!((first.dead_at(99), first.dead_at(100)), (None, Some(Code::KeyRevoked)));
    }

    #[test]
    fn unknown_is_believed_for_five_seconds_and_not_after_the_clock_was_set_back() {
        let cache = Cache::new(64, 64);
        assert!(cache.insert_unknown(digest(1), cache.generation(&digest(1)), 10_000));
        assert!(matches!(cache.get(&digest(1), 14_999), Lookup::Unknown));
        assert!(matches!(cache.get(&digest(1), 15_000), Lookup::Ask));
        assert!(matches!(cache.get(&digest(1), 9_999), Lookup::Ask));
        cache.forget_unknown();
        assert!(matches!(cache.get(&digest(1), 10_000), Lookup::Ask));
    }

    #[test]
    fn the_end_of_an_organisation_ends_the_keys_below_and_their_calls() {
        let cache = Cache::new(64, 64);
        let running = put(&cache, 1, 1);
        cache.level_changed(&organisation(2, true), 0);
        assert!(running.cancelled());
        let ended = live(&cache, 1);
        assert_eq!((ended.dead_at(0), ended.closed_by().unwrap().1), (Some(Code::KeyDisabled), "Acme"));
        cache.level_changed(&organisation(3, false), 0);
        let again = live(&cache, 1);
        assert!(running.cancelled() && !again.cancelled());
        assert_eq!(again.dead_at(0), None);
        // What is older changes nothing any more.
        cache.level_changed(&organisation(2, true), 0);
        assert_eq!(live(&cache, 1).dead_at(0), None);
    }

    #[test]
    fn whoever_read_before_a_change_above_a_key_sees_it_all_the_same() {
        let cache = Cache::new(64, 64);
        let seen = cache.generation(&digest(1));
        cache.level_changed(&organisation(2, true), 0);
        // The look-up read the first version of the organisation.
        let late = cache.insert(digest(1), seen, LiveKey::new(&parts(1, false), &secret(1)), 0).unwrap();
        assert_eq!(late.dead_at(0), Some(Code::KeyDisabled));
        // So did a change of the key itself.
        cache.changed(&state(2, false), 0);
        assert_eq!((live(&cache, 1).version, live(&cache, 1).dead_at(0)), (2, Some(Code::KeyDisabled)));
    }

    #[test]
    fn what_a_call_holds_is_never_evicted() {
        let cache = Cache::new(SHARDS, SHARDS);
        // All of these digests fall into one shard, which has room for one.
        let held = put(&cache, 1, 1);
        for n in 2..100 {
            put(&cache, n, 1);
        }
        assert!(Arc::ptr_eq(&held, &live(&cache, 1)));
        drop(held);
        for n in 100..200 {
            put(&cache, n, 1);
        }
        assert!(matches!(cache.get(&digest(1), 0), Lookup::Ask));
        assert!(cache.ids().len() <= 2);
    }
}
