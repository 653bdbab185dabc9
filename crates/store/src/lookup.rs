//! Finding a secret that is not in memory: one query, many waiters, and never an answer older than a change made here.

use crate::Store;
use crate::cache::{KeyParts, LiveKey, Lookup, SecretInfo};
use crate::controls;
use crate::db::{FromRow, Row, params};
use crate::error::{Result, StoreError};
use crate::key_rows::{ends_at, public_id_bytes, read_minted, read_placement};
use crate::key_types::SecretState;
use crate::levels::Above;
use crate::parents::Minted;
use anykey_core::controls::{Controls, Level};
use anykey_core::key::KeyInfo;
use anykey_core::token::Digest;
use anykey_core::{KeyId, KeyKind, Nanos, Placement, Scopes};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A shard changes at most a few times in the time of a query; more tries than this mean that something is wrong.
const TRIES: usize = 16;

type Flight = Arc<OnceCell<Result<Lookup>>>;

/// Look-ups under way, so that a thousand calls that start with one new key ask once.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<[u8; 32], Flight>>);

impl Flights {
    fn join(&self, digest: &Digest) -> Landing<'_> {
        let flight = Arc::clone(self.0.lock().entry(digest.0).or_default());
        Landing { flights: self, digest: digest.0, flight }
    }
}

/// Takes a flight off the list when its last waiter leaves, finished or not.
struct Landing<'a> {
    flights: &'a Flights,
    digest: [u8; 32],
    flight: Flight,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        let listed = flights.get(&self.digest).is_some_and(|f| Arc::ptr_eq(f, &self.flight));
        // A finished flight must not be joined: what it found is in the cache, or was an error.
        if listed && (self.flight.initialized() || Arc::strong_count(&self.flight) <= 2) {
            flights.remove(&self.digest);
        }
    }
}

/// A secret and its key, as one query finds them.
struct Found {
    digest: Digest,
    imported_unused: bool,
    public_id: String,
    state: SecretState,
    secret_expires_at: Option<i64>,
    version: i64,
    info: KeyInfo,
    placement: Placement,
    controls: Option<Controls>,
    minted: Option<Minted>,
}

impl Found {
    fn parts(self, above: Above) -> KeyParts {
        let own = controls::bound(Level::Key, self.info.id.0, &self.info.name, self.controls.as_ref());
        KeyParts { info: self.info, version: self.version, placement: self.placement, above, own, minted: self.minted }
    }
}

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self> {
        let mut found = Found {
            digest: Digest(row.bytes()?),
            imported_unused: row.take::<String>()? == "sha256",
            public_id: row.take()?,
            state: row.name(SecretState::from_name)?,
            secret_expires_at: row.take()?,
            version: row.take()?,
            info: KeyInfo {
                id: KeyId(row.bytes()?),
                kind: row.name(KeyKind::from_name)?,
                name: row.take::<String>()?.into(),
                scopes: row.name(|text| Scopes::from_text(text).ok())?,
                disabled: row.take()?,
                deleted: row.take::<Option<i64>>()?.is_some(),
                expires_at: row.take()?,
                browser_allowed: row.take()?,
                spend_limit: row.take::<Option<i64>>()?.map(Nanos),
            },
            placement: read_placement(row)?,
            controls: controls::read(row)?,
            minted: read_minted(row)?,
        };
        (found.controls, found.info.spend_limit) = controls::split_total(found.controls, found.info.spend_limit);
        Ok(found)
    }
}

/// CROSS JOIN keeps SQLite to this order: the secret by its digest, then its key, whatever it believes of the tables' sizes.
pub(crate) const LOOK_UP: &str = "SELECT s.digest, s.digest_kind, s.public_id, s.state, s.expires_at, k.version, k.id, \
     k.kind, k.name, k.scopes, k.disabled, k.deleted_at, k.expires_at, k.browser_allowed, k.spend_limit, \
     k.organisation_id, k.project_id, k.member_id, k.service_account_id, k.controls, \
     k.parent_id, k.minted_with, k.request_limit \
     FROM secret s CROSS JOIN api_key k WHERE k.id = s.key_id AND s.digest IN ($1, $2)";

impl Store {
    /// What memory knows of a digest. Says [`Lookup::Ask`] for everything once the database was out of reach for too long.
    pub fn known(&self, digest: &Digest, now_ms: i64) -> Lookup {
        if self.freshness.is_stale(now_ms) { Lookup::Ask } else { self.cache.get(digest, now_ms) }
    }

    /// Asks the database, then keeps the answer. Never [`Lookup::Ask`]; an error says nothing about the key (503).
    /// `plain` is the plain SHA-256 of the same token (`anykey_core::token::plain_sha256`), by which imported keys are
    /// known until their first use.
    pub async fn look_up(&self, digest: Digest, plain: Option<Digest>) -> Result<Lookup> {
        let landing = self.flights.join(&digest);
        let found = landing.flight.get_or_init(|| self.ask(digest, plain)).await.clone();
        drop(landing);
        match found {
            // The flight may have begun before a change that has ended since.
            Ok(Lookup::Live(key)) if key.cancelled() => self.ask(digest, plain).await,
            other => other,
        }
    }

    async fn ask(&self, digest: Digest, plain: Option<Digest>) -> Result<Lookup> {
        for _ in 0..TRIES {
            let seen = self.cache.generation(&digest);
            let Some(found) = self.find_secret(digest, plain).await? else {
                if self.cache.insert_unknown(digest, seen, self.now()) {
                    return Ok(Lookup::Unknown);
                }
                continue;
            };
            if found.imported_unused {
                self.hash_anew(digest, &found).await?;
                continue;
            }
            let secret = SecretInfo {
                digest,
                public_id: public_id_bytes(&found.public_id),
                ends_at: ends_at(found.state, found.secret_expires_at),
            };
            let above = self.above(&found.placement).await?;
            let key = match found.minted {
                None => LiveKey::new(&found.parts(above), &secret),
                Some(minted) => {
                    let parent = self.parent(minted.parent).await?;
                    LiveKey::minted(&found.parts(above), &secret, &parent)
                }
            };
            if let Some(key) = self.cache.insert(digest, seen, key, self.now()) {
                return Ok(Lookup::Live(key));
            }
        }
        Err(StoreError::Unavailable("the key is being changed".into()))
    }

    /// A digest of one kind never stands for the other: the plain hash of a text that somebody chose must not be taken
    /// for a peppered one.
    async fn find_secret(&self, digest: Digest, plain: Option<Digest>) -> Result<Option<Found>> {
        let plain = plain.unwrap_or(digest);
        let rows: Vec<Found> = self.db.all(LOOK_UP, params![&digest.0, &plain.0]).await?;
        Ok(rows.into_iter().find(|row| row.digest == if row.imported_unused { plain } else { digest }))
    }

    /// An imported key's first use: from now on it is known by its peppered digest like any other.
    async fn hash_anew(&self, digest: Digest, found: &Found) -> Result<()> {
        self.db
            .exec(
                "UPDATE secret SET digest = $1, digest_kind = 'hmac' WHERE public_id = $2 AND digest = $3 \
                 AND digest_kind = 'sha256'",
                params![&digest.0, &found.public_id, &found.digest.0],
            )
            .await
            .map(|_| ())
    }
}
