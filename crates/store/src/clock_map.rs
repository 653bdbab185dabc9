//! A bounded map from digests that throws out what was not asked for lately: the second-chance ("clock") algorithm.

use anykey_core::token::Digest;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use subtle::ConstantTimeEq;

pub(crate) struct ClockMap<V> {
    index: HashMap<Entry, usize, AlreadyHashed>,
    slots: Vec<Slot<V>>,
    hand: usize,
    capacity: usize,
    /// Whether a value must stay although there is no room.
    in_use: fn(&V) -> bool,
}

struct Slot<V> {
    digest: Digest,
    value: V,
    /// Asked for since the hand last passed.
    touched: AtomicBool,
}

impl<V> ClockMap<V> {
    pub fn new(capacity: usize, in_use: fn(&V) -> bool) -> Self {
        ClockMap {
            index: HashMap::with_hasher(AlreadyHashed),
            slots: Vec::new(),
            hand: 0,
            capacity: capacity.max(1),
            in_use,
        }
    }

    pub fn get(&self, digest: &Digest) -> Option<&V> {
        let slot = &self.slots[*self.index.get(&Entry(*digest))?];
        // Written only when it changes, so that readers on many cores share the line.
        if !slot.touched.load(Ordering::Relaxed) {
            slot.touched.store(true, Ordering::Relaxed);
        }
        Some(&slot.value)
    }

    pub fn get_mut(&mut self, digest: &Digest) -> Option<&mut V> {
        let at = *self.index.get(&Entry(*digest))?;
        Some(&mut self.slots[at].value)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.iter().map(|slot| &slot.value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().map(|slot| &mut slot.value)
    }

    pub fn insert(&mut self, digest: Digest, value: V) {
        if let Some(old) = self.get_mut(&digest) {
            *old = value;
            return;
        }
        let slot = Slot { digest, value, touched: AtomicBool::new(false) };
        let at = match self.room() {
            Some(at) => {
                self.index.remove(&Entry(self.slots[at].digest));
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.index.insert(Entry(digest), at);
        self.shrink();
    }

    pub fn remove(&mut self, digest: &Digest) {
        if let Some(at) = self.index.remove(&Entry(*digest)) {
            self.slots.swap_remove(at);
            if let Some(moved) = self.slots.get(at) {
                self.index.insert(Entry(moved.digest), at);
            }
        }
    }

    pub fn clear(&mut self) {
        self.index.clear();
        self.slots.clear();
    }

    /// The slot to write over; `None` while there is room, or when all that is there is in use.
    fn room(&mut self) -> Option<usize> {
        if self.slots.len() < self.capacity {
            return None;
        }
        // Twice round: the first may only take second chances away.
        for _ in 0..2 * self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &self.slots[self.hand];
            if !slot.touched.swap(false, Ordering::Relaxed) && !(self.in_use)(&slot.value) {
                return Some(self.hand);
            }
        }
        None
    }

    /// Gives back, one at a time, what was taken beyond the bound while everything was in use.
    fn shrink(&mut self) {
        if self.slots.len() > self.capacity + 1
            && let Some(at) = self.room()
        {
            let digest = self.slots[at].digest;
            self.remove(&digest);
        }
    }
}

/// A digest as a map's key: hashed by itself, compared in constant time.
#[derive(Clone, Copy)]
struct Entry(Digest);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.0.ct_eq(&other.0.0).into()
    }
}
impl Eq for Entry {}
impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.0);
    }
}

/// Digests are an HMAC's output, which nobody outside can steer: eight of their bytes are a hash.
#[derive(Clone, Copy, Default)]
struct AlreadyHashed;

struct FirstBytes(u64);

impl BuildHasher for AlreadyHashed {
    type Hasher = FirstBytes;
    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let mut map = ClockMap::new(10, |_: &u8| false);
        for n in 0..200u8 {
            map.insert(digest(n), n);
            assert_eq!(map.get(&digest(0)), Some(&0), "at {n}");
        }
        assert_eq!(map.slots.len(), 10);
    }

    proptest! {
        /// The map never says anything that a plain one would not, and keeps its bound.
        #[test]
        fn it_is_a_bounded_map(steps in proptest::collection::vec((0u8..3, 0u8..20, any::<u16>()), 0..200)) {
            let mut map = ClockMap::new(8, |_: &u16| false);
            let mut plain = std::collections::HashMap::new();
            for (what, n, value) in steps {
                match what {
                    0 => { map.insert(digest(n), value); plain.insert(n, value); }
                    1 => { map.remove(&digest(n)); plain.remove(&n); }
                    _ => if let Some(found) = map.get(&digest(n)) { prop_assert_eq!(plain.get(&n), Some(found)); }
                }
                prop_assert!(map.slots.len() <= 8);
                prop_assert_eq!(map.slots.len(), map.index.len());
                for (entry, at) in &map.index {
                    prop_assert_eq!(entry.0, map.slots[*at].digest);
                }
            }
        }
    }
}
