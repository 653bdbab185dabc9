//! The store itself: opening it in the right order, its background work, closing it.

use crate::bulk::Bulks;
use crate::cache::Cache;
use crate::db::{Db, params};
use crate::error::{Result, StoreError};
use crate::feed::{self, Freshness};
use crate::leases::Standpoint;
use crate::lookup::Flights;
use crate::notices::Outbox;
use crate::options::{Clock, Database, Options};
use crate::routing::Routing;
use crate::seal::Sealer;
use crate::secrets_files::{Secret, SecretFile};
use crate::uses::Uses;
use crate::{folder, migrate};
use anykey_core::token::{Pepper, is_brand};
use parking_lot::Mutex;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often uses that leave no record are written, and old answers thrown out.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The memory of an installation. One per process; share it by `Arc`.
pub struct Store {
    pub(crate) db: Db,
    pub(crate) cache: Cache,
    pub(crate) flights: Flights,
    pub(crate) freshness: Freshness,
    pub(crate) routing: Routing,
    pub(crate) sealer: Sealer,
    pub(crate) pepper: Pepper,
    pub(crate) brand: String,
    pub(crate) page_reach: i64,
    pub(crate) uses: Uses,
    pub(crate) bulk: Bulks,
    pub(crate) outbox: Outbox,
    pub(crate) standpoint: Standpoint,
    /// Whether a key of another system was ever imported.
    pub(crate) foreign_keys: AtomicBool,
    /// Whether a temporary key was ever minted; spares the books a question.
    pub(crate) temp_keys: AtomicBool,
    pub(crate) me: Weak<Store>,
    clock: Clock,
    pub(crate) stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Keep other processes out for as long as they are open.
    _locks: Vec<File>,
}

const FOREIGN_KEYS: &str = "foreign_keys";

/// How much is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that are not deleted.
    pub keys: i64,
    pub providers: i64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &self.database()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, brings it up to date, and loads the pepper and the key-encrypting key. Loads no keys.
    pub async fn open(options: Options) -> Result<Arc<Store>> {
        if !is_brand(&options.brand) {
            return Err(StoreError::invalid("brand", "is 1 to 16 lower-case letters and digits"));
        }
        folder::prepare(&options.data_dir)?;
        let mut locks = vec![folder::lock(&options.data_dir.join("lock"))?];
        let file = match &options.database {
            Database::Sqlite(named) => {
                let file = named.clone().unwrap_or_else(|| options.data_dir.join("anykey.db"));
                locks.push(folder::lock(&folder::beside(&file, ".lock"))?);
                folder::create_database(&file)?;
                Some(file)
            }
            Database::Postgres(_) => None,
        };
        let db = Db::open(&options, file.as_deref()).await?;
        let now = options.clock.now_ms();
        if let Some(file) = &file {
            check_pages(&db, file).await?;
        }
        migrate::run(&db, now).await?;

        let pepper_file = SecretFile::new("pepper", &options.data_dir, options.pepper_file.as_deref());
        let kek_file = SecretFile::new("kek", &options.data_dir, options.kek_file.as_deref());
        let pepper = load_secret(&db, &pepper_file).await?;
        let kek = load_secret(&db, &kek_file).await?;

        let freshness = feed::start_point(&db, options.auth_max_stale).await?;
        let foreign_keys = setting(&db, FOREIGN_KEYS).await?.is_some();
        let temp_keys = crate::temp::any(&db).await?;
        let store = Arc::new_cyclic(|me| Store {
            cache: Cache::new(options.known_keys, options.unknown_keys),
            flights: Flights::default(),
            freshness,
            routing: Routing::default(),
            sealer: Sealer::new(&kek, &kek_file),
            pepper: Pepper::new(&pepper),
            brand: options.brand.clone(),
            page_reach: options.page_reach,
            uses: Uses::default(),
            bulk: Bulks::new(&db),
            outbox: Outbox::default(),
            standpoint: Standpoint::default(),
            foreign_keys: AtomicBool::new(foreign_keys),
            temp_keys: AtomicBool::new(temp_keys),
            me: me.clone(),
            clock: options.clock.clone(),
            stop: CancellationToken::new(),
            tasks: Mutex::new(Vec::new()),
            _locks: locks,
            db,
        });
        store.begin_audit().await?;
        store.reclaim_deliveries().await?;
        store.rebuild_snapshot().await?;
        store.start_background(options.feed_interval).await?;
        Ok(store)
    }

    /// Writes what is still in memory, stops the background work and closes the connections.
    pub async fn close(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task of the store ended badly");
            }
        }
        if let Err(error) = self.write_uses().await {
            tracing::warn!(%error, "the last uses of keys could not be written");
        }
        self.db.close().await;
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.setting("pepper_fingerprint").await.map(|_| ())
    }

    /// Whether keys in memory are trusted: false once the database was out of reach for `auth_max_stale`.
    pub fn is_fresh(&self) -> bool {
        !self.freshness.is_stale(self.now())
    }

    /// What digests of tokens are made with.
    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    pub fn brand(&self) -> &str {
        &self.brand
    }

    /// `sqlite` or `postgres`.
    pub fn database(&self) -> &'static str {
        if self.db.is_postgres() { "postgres" } else { "sqlite" }
    }

    /// Whether other processes may be at work on the same database.
    pub fn is_shared(&self) -> bool {
        self.db.is_postgres()
    }

    pub async fn counts(&self) -> Result<Counts> {
        let keys: Option<(i64,)> =
            self.db.one("SELECT COUNT(*) FROM api_key WHERE deleted_at IS NULL", params![]).await?;
        Ok(Counts { keys: keys.map_or(0, |(n,)| n), providers: self.snapshot().providers.len() as i64 })
    }

    /// Whether a token that is not of this installation's form can be anybody's: only after keys were imported. Without
    /// any, such a token is refused offline. On PostgreSQL another replica learns of a first import when it starts.
    pub fn has_foreign_keys(&self) -> bool {
        self.foreign_keys.load(Ordering::Relaxed)
    }

    pub(crate) async fn note_foreign_key(&self) -> Result<()> {
        self.set_setting(FOREIGN_KEYS, "yes").await?;
        self.foreign_keys.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub async fn setting(&self, name: &str) -> Result<Option<String>> {
        setting(&self.db, name).await
    }

    pub async fn set_setting(&self, name: &str, value: &str) -> Result<()> {
        self.db
            .exec(
                "INSERT INTO setting (name, value) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                params![name, value],
            )
            .await
            .map(|_| ())
    }

    /// What time it is for this store, in milliseconds since 1970.
    pub fn clock_ms(&self) -> i64 {
        self.now()
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    async fn start_background(self: &Arc<Self>, feed_interval: Duration) -> Result<()> {
        let mut tasks = vec![tokio::spawn(housekeeping(Arc::downgrade(self), self.stop.clone()))];
        self.resume_jobs().await?;
        if self.db.is_postgres() {
            // One round before anything is answered, so that the first call finds memory fresh.
            self.read_feed().await?;
            tasks.push(tokio::spawn(feed::follow(Arc::downgrade(self), feed_interval, self.stop.clone())));
        }
        self.tasks.lock().extend(tasks);
        Ok(())
    }

    /// Keeps work in the background, so that closing waits for it.
    pub(crate) fn track(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }
}

async fn housekeeping(store: Weak<Store>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.write_uses().await {
            tracing::warn!(%error, "the last uses of keys could not be written; they are kept");
        }
        store.cache.levels.sweep();
        if let Err(error) = store.forget_answers().await {
            tracing::warn!(%error, "old answers could not be thrown out");
        }
        if let Err(error) = store.bury_temp_keys().await {
            tracing::warn!(%error, "temporary keys that have ended could not be buried");
        }
        if let Err(error) = store.forget_sessions().await {
            tracing::warn!(%error, "sessions that are over could not be thrown out");
        }
        if let Err(error) = store.forget_notices().await {
            tracing::warn!(%error, "notices that were dealt with long ago could not be thrown out");
        }
        if let Err(error) = store.forget_reports().await {
            tracing::warn!(%error, "old reports of exposed keys could not be thrown out");
        }
    }
}

pub(crate) async fn setting(db: &Db, name: &str) -> Result<Option<String>> {
    Ok(db.one::<(String,)>("SELECT value FROM setting WHERE name = $1", params![name]).await?.map(|(value,)| value))
}

/// Loads a secret and makes sure that it is the one that the database was made with. Of two replicas that start together
/// on a new database with secrets of their own, one is refused.
async fn load_secret(db: &Db, file: &SecretFile) -> Result<Secret> {
    let name = format!("{}_fingerprint", file.name);
    let secret = file.load(setting(db, &name).await?.as_deref())?;
    db.exec(
        "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        params![&name, file.fingerprint(&secret)],
    )
    .await?;
    file.load(setting(db, &name).await?.as_deref())
}

/// Looks for damaged pages, where that takes less than a moment; a large database is checked by its backups.
async fn check_pages(db: &Db, file: &Path) -> Result<()> {
    const AT_MOST: u64 = 64 << 20;
    if std::fs::metadata(file).is_ok_and(|meta| meta.len() > AT_MOST) {
        return Ok(());
    }
    let found: Option<(String,)> = db.one("PRAGMA quick_check(1)", params![]).await?;
    match found {
        Some((text,)) if text == "ok" => Ok(()),
        Some((text,)) => Err(StoreError::Corrupt(format!("{text}; restore a backup"))),
        None => Ok(()),
    }
}
