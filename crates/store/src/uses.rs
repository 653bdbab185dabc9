//! When, and from where, each secret was last used. A record of a call says so itself; other uses are noted here.

use crate::Store;
use crate::cache::{KeyState, LiveKey};
use crate::db::{Tx, Value};
use crate::error::Result;
use crate::rotation::start_overlaps;
use crate::sums::DAY_MS;
use anykey_core::token::PUBLIC_ID_LEN;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The uses of one secret in some span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub last_at: i64,
    pub last_ip: Option<IpAddr>,
    /// The first that was let in; a refused one does not start the clock of a rotation.
    pub first_at: Option<i64>,
}

/// In the order of public ids, so that two replicas lock rows in one order.
pub(crate) type UseMap = BTreeMap<[u8; PUBLIC_ID_LEN], Use>;

/// Uses that wait to be written.
#[derive(Default)]
pub(crate) struct Uses(Mutex<UseMap>);

pub(crate) fn note(uses: &mut UseMap, secret: [u8; PUBLIC_ID_LEN], at: i64, ip: Option<IpAddr>, let_in: bool) {
    let first = let_in.then_some(at);
    let entry = uses.entry(secret).or_insert(Use { last_at: at, last_ip: ip, first_at: first });
    if at >= entry.last_at {
        entry.last_at = at;
        entry.last_ip = ip;
    }
    entry.first_at = entry.first_at.into_iter().chain(first).min();
}

impl Store {
    /// Notes a use that leaves no record (the admin API); written in the background.
    pub fn note_use(&self, key: &LiveKey, at_ms: i64, from: Option<IpAddr>) {
        note(&mut self.uses.0.lock(), key.public_id, at_ms, from, true);
    }

    /// Writes the uses that were noted; on an error they are noted again.
    pub async fn write_uses(&self) -> Result<()> {
        let uses = std::mem::take(&mut *self.uses.0.lock());
        if uses.is_empty() {
            return Ok(());
        }
        let kept = uses.clone();
        let written = self
            .detached(move |store| async move {
                let mut tx = store.db.begin().await?;
                let states = store.store_uses(&mut tx, &uses).await?;
                tx.commit().await?;
                store.put_in_force(&states);
                Ok(())
            })
            .await;
        if written.is_err() {
            let mut uses = self.uses.0.lock();
            for (secret, kept) in kept {
                note(&mut uses, secret, kept.last_at, kept.last_ip, false);
                if let Some(first) = kept.first_at {
                    note(&mut uses, secret, first, kept.last_ip, true);
                }
            }
        }
        written
    }

    /// Writes uses in a transaction and starts the overlaps that they begin.
    pub(crate) async fn store_uses(&self, tx: &mut Tx, uses: &UseMap) -> Result<Vec<KeyState>> {
        let uses: Vec<_> = uses.iter().collect();
        self.bulk.uses.exec(tx, &uses, |(secret, used), values| values.extend(columns(secret, used))).await?;
        self.bulk
            .active
            .exec(tx, &uses, |(secret, used), values| {
                values.extend([name(secret), Value::from(used.last_at.div_euclid(DAY_MS))]);
            })
            .await?;
        start_overlaps(self, tx).await
    }

    pub(crate) fn put_in_force(&self, states: &[KeyState]) {
        for state in states {
            self.cache.changed(state, self.now());
        }
    }
}

fn name(secret: &[u8; PUBLIC_ID_LEN]) -> Value {
    Value::from(std::str::from_utf8(secret).unwrap_or_default())
}

fn columns(secret: &[u8; PUBLIC_ID_LEN], used: &Use) -> [Value; 4] {
    [name(secret), Value::from(used.last_at), Value::from(used.last_ip), Value::from(used.first_at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_and_the_first_that_was_let_in_are_kept() {
        let mut uses = UseMap::new();
        let ip = |n| Some(IpAddr::from([10, 0, 0, n]));
        note(&mut uses, *b"AbCd1234", 20, ip(2), false);
        note(&mut uses, *b"AbCd1234", 30, ip(3), true);
        note(&mut uses, *b"AbCd1234", 25, ip(4), true);
        assert_eq!(uses[b"AbCd1234"], Use { last_at: 30, last_ip: ip(3), first_at: Some(25) });
    }
}
