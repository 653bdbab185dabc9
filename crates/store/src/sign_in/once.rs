//! What a browser keeps for the server between two requests: sealed, so that it can be neither read nor made up, and
//! marked as spent when it was used. Nothing is stored for a stranger who only begins.

use super::Purpose;
use crate::Store;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::seal::Place;
use anykey_core::token::Digest;

/// What a sealed cookie is for; one does not open as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieUse {
    /// Somebody is on their way to an issuer and back.
    Flow,
    /// Somebody for whom an issuer has vouched and who owes a second factor.
    Half,
}

impl CookieUse {
    const fn place(self) -> Place<'static> {
        let row = match self {
            CookieUse::Flow => "flow",
            CookieUse::Half => "half",
        };
        Place { table: "cookie", row, column: "value" }
    }
}

impl Store {
    pub fn seal_cookie(&self, purpose: CookieUse, text: &[u8]) -> Result<String> {
        self.sealer.seal(purpose.place(), text)
    }

    /// `None` for what was not sealed here for this.
    pub fn open_cookie(&self, purpose: CookieUse, sealed: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.sealer.open(purpose.place(), sealed).ok()
    }

    /// Uses something up that can be used once, until it runs out; false where it was used before.
    pub async fn spend(&self, once: &str, expires_at: i64) -> Result<bool> {
        let digest = self.digest_of(Purpose::Spent, once.as_bytes());
        Ok(self.db.exec(SPEND, params![&digest.0, expires_at]).await? == 1)
    }
}

const SPEND: &str = "INSERT INTO spent (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";

/// The same as part of what it is used for.
pub(super) async fn spend_in(tx: &mut Tx, digest: Digest, expires_at: i64) -> Result<bool> {
    Ok(tx.exec(SPEND, params![&digest.0, expires_at]).await? == 1)
}
