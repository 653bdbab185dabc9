//! Work that must not stop half-way, and what other replicas are told of it.

use crate::Store;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::sql::{Conditions, dynamic};
use anykey_core::{KeyId, LevelId, MemberId, OrganisationId, ProjectId, ServiceAccountId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A piece of work that borrows the transaction it is part of.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Held while a change is written to the feed, so that sequence numbers become visible in their order.
const FEED_LOCK: i64 = 0x616e_796b_6579_0002;

/// Changes that are written in one statement.
const AT_ONCE: usize = 500;

/// What another replica has to read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Key(KeyId),
    /// A digest that was unknown may be known now.
    Imported,
    /// Something above keys: its policy, its name or its end.
    Level(LevelId),
    /// Providers, aliases or the price catalogue.
    Routing,
}

impl Change {
    pub const fn kind(self) -> &'static str {
        match self {
            Change::Key(_) => "key",
            Change::Imported => "imported",
            Change::Level(id) => id.level().name(),
            Change::Routing => "routing",
        }
    }

    fn id(self) -> Vec<u8> {
        match self {
            Change::Key(id) => id.0.to_vec(),
            Change::Level(id) => id.bytes().to_vec(),
            Change::Imported | Change::Routing => Vec::new(),
        }
    }

    pub fn read(kind: &str, id: &[u8]) -> Option<Self> {
        match kind {
            "key" => KeyId::from_slice(id).map(Change::Key),
            "imported" => Some(Change::Imported),
            "routing" => Some(Change::Routing),
            "organisation" => OrganisationId::from_slice(id).map(LevelId::Organisation).map(Change::Level),
            "project" => ProjectId::from_slice(id).map(LevelId::Project).map(Change::Level),
            "member" => MemberId::from_slice(id).map(LevelId::Member).map(Change::Level),
            "service_account" => ServiceAccountId::from_slice(id).map(LevelId::ServiceAccount).map(Change::Level),
            _ => None,
        }
    }
}

impl Store {
    /// Writes a change to the feed, as the last thing before the commit: the lock is held until then, and nothing else is
    /// waited for while it is held. SQLite has one process and needs no feed.
    pub(crate) async fn announce(&self, tx: &mut Tx, change: Change) -> Result<()> {
        self.announce_all(tx, &[change]).await
    }

    /// The same of many, in their order.
    pub(crate) async fn announce_all(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        if !tx.is_postgres() || changes.is_empty() {
            return Ok(());
        }
        tx.exec("SELECT pg_advisory_xact_lock($1)", params![FEED_LOCK]).await?;
        for changes in changes.chunks(AT_ONCE) {
            let mut sql = Conditions::new("INSERT INTO change (kind, id, at) VALUES ");
            let now = self.now();
            sql.rows(changes.iter().map(|change| params![change.kind(), change.id().as_slice(), now]));
            let (sql, values) = sql.finish("");
            tx.exec(dynamic(sql), values).await?;
        }
        Ok(())
    }

    /// Runs work that changes something in a task of its own: a caller who goes away between the commit and the update of
    /// memory must not leave the one without the other.
    pub(crate) async fn detached<T, F, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
        W: FnOnce(Arc<Store>) -> F,
    {
        let store = self.me.upgrade().ok_or_else(|| StoreError::Unavailable("the store is closed".into()))?;
        match tokio::spawn(crate::audit::carried(work(store))).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Unavailable("the process is stopping".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_the_feed_is_read_from_it() {
        let id = [7; 16];
        for change in [
            Change::Key(KeyId(id)),
            Change::Level(LevelId::Organisation(OrganisationId(id))),
            Change::Level(LevelId::Project(ProjectId(id))),
            Change::Level(LevelId::Member(MemberId(id))),
            Change::Level(LevelId::ServiceAccount(ServiceAccountId(id))),
            Change::Imported,
            Change::Routing,
        ] {
            assert_eq!(Change::read(change.kind(), &id), Some(change));
        }
        assert_eq!(Change::read("later", &id), None);
    }
}
