//! Answers kept for a day, so that a create that is sent again gives the same answer, secret included.

use crate::Store;
use crate::db::params;
use crate::error::Result;
use crate::seal::Place;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// After this a request without an answer is taken to have died with its process.
const ABANDONED_MS: i64 = 60 * 1000;

/// A claim on an idempotency key; ended by [`Store::idempotency_finish`] or [`Store::idempotency_abandon`].
#[derive(Debug)]
#[must_use]
pub struct Claim {
    route: String,
    key: String,
    /// Tells this claim from one that took its place.
    ticket: i64,
}

/// What an idempotency key says of a request.
#[derive(Debug)]
pub enum Begun {
    /// The first of its kind: do it, then finish the claim.
    Fresh(Claim),
    /// It was done: give this answer again.
    Replay { status: u16, body: Vec<u8> },
    /// The key was used with another body: 409.
    OtherBody,
    /// The same request is being worked on: 409, try again.
    Running,
}

type Answer = (Vec<u8>, Option<i64>, Option<String>);

impl Store {
    /// `route` names the caller and the operation, so that two callers never share a key.
    pub async fn idempotency_begin(&self, route: &str, key: &str, body: &[u8]) -> Result<Begun> {
        let hash: [u8; 32] = Sha256::digest(body).into();
        let claim = Claim { route: route.to_owned(), key: key.to_owned(), ticket: ticket()? };
        let now = self.now();
        // One statement takes a free place, or one whose answer is too old or never came.
        let taken = self
            .db
            .exec(
                "INSERT INTO idempotency (route, key, body_hash, ticket, status, answer, started_at, expires_at) \
                 VALUES ($1, $2, $3, $4, NULL, NULL, $5, $6) \
                 ON CONFLICT (route, key) DO UPDATE SET body_hash = excluded.body_hash, ticket = excluded.ticket, \
                 status = NULL, answer = NULL, started_at = excluded.started_at, expires_at = excluded.expires_at \
                 WHERE idempotency.expires_at <= $5 \
                 OR (idempotency.status IS NULL AND idempotency.started_at <= $7)",
                params![route, key, &hash, claim.ticket, now, now + KEPT_MS, now - ABANDONED_MS],
            )
            .await?;
        if taken == 1 {
            return Ok(Begun::Fresh(claim));
        }
        let stored: Option<Answer> = self
            .db
            .one("SELECT body_hash, status, answer FROM idempotency WHERE route = $1 AND key = $2", params![route, key])
            .await?;
        match stored {
            Some((known, _, _)) if known != hash => Ok(Begun::OtherBody),
            Some((_, Some(status), Some(answer))) => {
                let row = row_name(route, key);
                let body = self.sealer.open(answer_of(&row), &answer)?;
                Ok(Begun::Replay { status: u16::try_from(status).unwrap_or(200), body: body.to_vec() })
            }
            _ => Ok(Begun::Running),
        }
    }

    /// Keeps the answer, sealed, since it may hold a secret.
    pub async fn idempotency_finish(&self, claim: Claim, status: u16, body: &[u8]) -> Result<()> {
        let row = row_name(&claim.route, &claim.key);
        let sealed = self.sealer.seal(answer_of(&row), body)?;
        self.db
            .exec(
                "UPDATE idempotency SET status = $4, answer = $5 WHERE route = $1 AND key = $2 AND ticket = $3",
                params![&claim.route, &claim.key, claim.ticket, i64::from(status), sealed],
            )
            .await
            .map(|_| ())
    }

    /// The operation failed: the same key may be tried again.
    pub async fn idempotency_abandon(&self, claim: Claim) -> Result<()> {
        self.db
            .exec(
                "DELETE FROM idempotency WHERE route = $1 AND key = $2 AND ticket = $3",
                params![&claim.route, &claim.key, claim.ticket],
            )
            .await
            .map(|_| ())
    }

    /// Throws out answers that are too old.
    pub(crate) async fn forget_answers(&self) -> Result<()> {
        self.db.exec("DELETE FROM idempotency WHERE expires_at <= $1", params![self.now()]).await.map(|_| ())
    }
}

/// Route and key cannot be mistaken for another pair.
fn row_name(route: &str, key: &str) -> String {
    format!("{}.{}", BASE64.encode(route), BASE64.encode(key))
}

const fn answer_of(row: &str) -> Place<'_> {
    Place { table: "idempotency", row, column: "answer" }
}

fn ticket() -> Result<i64> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}
