//! What is above keys, in memory: organisations, projects, members and service accounts, each as its newest change left
//! it, whoever reads an older one later.
//!
//! A key is read together with the ids above it, and what stands behind those ids is taken from here. A reader may bring
//! a row that a change has overtaken since; [`Levels::newest`] is asked while the shard of the key is locked, so either
//! the reader sees the change, or the change, which walks the shards after it was noted here, sees what the reader put in.

use crate::db::{Db, FromRow, Row, Tx, Value, params};
use crate::error::Result;
use anykey_core::controls::{Bound, Controls};
use anykey_core::{LevelId, Placement};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a level that no key in memory is under is remembered: longer than any query or transaction lasts, so that
/// none of them brings back what was before a change.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// Something above keys, as it stands.
#[derive(Debug)]
pub(crate) struct Level {
    pub id: LevelId,
    pub name: Box<str>,
    /// What people call it by: a slug, a member's e-mail, a service account's name.
    pub label: Box<str>,
    /// Disabled or deleted: the keys below are refused.
    pub closed: bool,
    /// `None` where it bounds nothing.
    pub bound: Option<Bound>,
    pub version: i64,
}

/// All that is above one key, the outermost first.
pub(crate) type Above = Arc<[Arc<Level>]>;

struct Known {
    level: Arc<Level>,
    noted: Instant,
}

#[derive(Default)]
pub(crate) struct Levels(RwLock<HashMap<LevelId, Known>>);

impl Levels {
    pub fn get(&self, id: LevelId) -> Option<Arc<Level>> {
        self.0.read().get(&id).map(|known| Arc::clone(&known.level))
    }

    /// The newest that is known of a level, which this one may be.
    pub fn newest(&self, level: &Arc<Level>) -> Arc<Level> {
        if let Some(known) = self.0.read().get(&level.id)
            && known.level.version >= level.version
        {
            return Arc::clone(&known.level);
        }
        self.note(level)
    }

    fn note(&self, level: &Arc<Level>) -> Arc<Level> {
        let mut levels = self.0.write();
        let new = || Known { level: Arc::clone(level), noted: Instant::now() };
        let known = levels.entry(level.id).or_insert_with(new);
        if known.level.version < level.version {
            *known = new();
        }
        Arc::clone(&known.level)
    }

    pub fn ids(&self) -> Vec<LevelId> {
        self.0.read().keys().copied().collect()
    }

    /// Forgets what no key in memory is under.
    pub fn sweep(&self) {
        self.0.write().retain(|_, known| Arc::strong_count(&known.level) > 1 || known.noted.elapsed() < REMEMBERED);
    }
}

/// The row of a level: its name, its policy, whether it is disabled or deleted, and its version. A member has the status
/// of the person as well.
fn query(id: LevelId) -> (&'static str, Vec<Value>) {
    match id {
        LevelId::Organisation(id) => (
            "SELECT name, slug, controls, disabled, disabled, deleted_at, deleted_at, version FROM organisation WHERE id = $1",
            params![&id.0],
        ),
        LevelId::Project(id) => (
            "SELECT name, slug, controls, disabled, disabled, deleted_at, deleted_at, version FROM project WHERE id = $1",
            params![&id.0],
        ),
        LevelId::Member(id) => (
            "SELECT p.name, p.email, m.controls, m.disabled, p.disabled, m.deleted_at, p.deleted_at, m.version \
             FROM membership m JOIN person p ON p.id = m.person_id WHERE m.id = $1",
            params![&id.0],
        ),
        LevelId::ServiceAccount(id) => (
            "SELECT name, name, controls, disabled, disabled, deleted_at, deleted_at, version FROM service_account \
             WHERE id = $1",
            params![&id.0],
        ),
    }
}

struct LevelRow {
    name: String,
    label: String,
    controls: Option<Controls>,
    closed: bool,
    version: i64,
}

impl FromRow for LevelRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        let (name, label) = (row.take()?, row.take()?);
        let controls = crate::controls::read(row)?;
        let disabled = row.take::<bool>()? | row.take::<bool>()?;
        let deleted = row.take::<Option<i64>>()?.is_some() | row.take::<Option<i64>>()?.is_some();
        Ok(LevelRow { name, label, controls, closed: disabled || deleted, version: row.take()? })
    }
}

fn level(id: LevelId, row: Option<LevelRow>) -> Result<Arc<Level>> {
    let row = row.ok_or_else(|| crate::db::damaged("a key is under something that is not stored"))?;
    Ok(Arc::new(Level {
        id,
        bound: crate::controls::bound(id.level(), id.bytes(), &row.name, row.controls.as_ref()),
        name: row.name.into(),
        label: row.label.into(),
        closed: row.closed,
        version: row.version,
    }))
}

pub(crate) async fn read(db: &Db, id: LevelId) -> Result<Arc<Level>> {
    let (sql, values) = query(id);
    level(id, db.one(sql, values).await?)
}

pub(crate) async fn read_in(tx: &mut Tx, id: LevelId) -> Result<Arc<Level>> {
    let (sql, values) = query(id);
    level(id, tx.one(sql, values).await?)
}

/// The limit over all time is a field of the key beside it.
fn own_bound(key: &crate::KeyRow) -> Bound {
    let mut controls = key.controls.clone();
    controls.spend.total = None;
    Bound { level: anykey_core::Level::Key, id: key.id.0, name: key.name.as_str().into(), controls: Arc::new(controls) }
}

impl crate::Store {
    /// What bounds a key, outermost first, as the path of a call would find it.
    pub async fn bounds_of(&self, key: &crate::KeyRow) -> Result<Arc<[Bound]>> {
        let placement = Placement { organisation: key.organisation_id, project: key.project_id, owner: key.owner_id };
        let above = self.above(&placement).await?;
        let parent = match key.parent_id {
            Some(id) => Some(own_bound(&self.key(id).await?)),
            None => None,
        };
        let own = parent.into_iter().chain([own_bound(key)]);
        Ok(Bound::chain(above.iter().filter_map(|level| level.bound.clone()).chain(own)))
    }

    /// What would bound a key there beside its own policy, outermost first. Nothing of the place may be made up.
    pub async fn bounds_above(&self, placement: &Placement) -> Result<Arc<[Bound]>> {
        Ok(Bound::chain(self.above(placement).await?.iter().filter_map(|level| level.bound.clone())))
    }

    /// What is above a key: from memory, or else read now; also where memory may be behind.
    pub(crate) async fn above(&self, placement: &Placement) -> Result<Above> {
        let fresh = self.is_fresh();
        let mut above = Vec::with_capacity(3);
        for id in placement.levels() {
            above.push(match self.cache.levels.get(id) {
                Some(level) if fresh => level,
                _ => self.cache.levels.newest(&read(&self.db, id).await?),
            });
        }
        Ok(above.into())
    }

    /// The same inside a transaction, which must not wait for another connection.
    pub(crate) async fn above_in(&self, tx: &mut Tx, placement: &Placement) -> Result<Above> {
        let mut above = Vec::with_capacity(3);
        for id in placement.levels() {
            above.push(match self.cache.levels.get(id) {
                Some(level) => level,
                // Not noted before the commit: a transaction may read what it wrote itself.
                None => read_in(tx, id).await?,
            });
        }
        Ok(above.into())
    }

    /// Reads levels anew and puts them in force. One that no key in memory is under is noted all the same: a look-up that
    /// read it before its change may still be under way.
    pub(crate) async fn reread_levels(&self, ids: impl IntoIterator<Item = LevelId>) -> Result<()> {
        for id in ids {
            let level = read(&self.db, id).await?;
            self.cache.level_changed(&level, self.now());
        }
        Ok(())
    }
}
