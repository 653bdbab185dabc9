//! The public keys that a code host publishes for its reports: fetched when needed, kept for a while, never asked for
//! more often than once a minute however many reports name keys that do not exist.

use crate::App;
use crate::problem::{Problem, Result};
use anykey_core::Code;
use anykey_net::guard::Destination;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a list is taken to be true: a key that is no longer current is refused after this at the latest.
const KEPT: Duration = Duration::from_secs(60 * 60);
const BETWEEN_FETCHES: Duration = Duration::from_secs(60);
const LIST_LIMIT: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
/// The frame around an uncompressed P-256 point in a SubjectPublicKeyInfo (RFC 5480): algorithm, curve, bit string.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT: usize = 65;

type Named = (String, [u8; POINT]);

/// What was published, as of the last look.
#[derive(Default)]
pub(crate) struct Published(Mutex<Looked>);

#[derive(Default)]
struct Looked {
    /// When it was last asked for, whatever came of it.
    asked: Option<Instant>,
    fetched: Option<Instant>,
    keys: Vec<Named>,
}

impl Looked {
    fn key(&self, name: &str) -> Option<[u8; POINT]> {
        self.keys.iter().find(|(known, _)| known == name).map(|(_, point)| *point)
    }

    fn is_true(&self) -> bool {
        self.fetched.is_some_and(|at| at.elapsed() < KEPT)
    }
}

#[derive(Deserialize)]
struct Document {
    public_keys: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    key_identifier: String,
    key: String,
    is_current: bool,
}

impl Published {
    /// Whether `signature` over `body` is by the current key of that name.
    pub async fn verify(
        &self,
        app: &App,
        from: &Destination,
        name: &str,
        signature: &[u8],
        body: &[u8],
    ) -> Result<bool> {
        // Held while the list is fetched, so that many reports at once fetch it once.
        let mut list = self.0.lock().await;
        let may_ask = list.asked.is_none_or(|at| at.elapsed() >= BETWEEN_FETCHES);
        if may_ask && (!list.is_true() || list.key(name).is_none()) {
            list.asked = Some(Instant::now());
            match fetch(app, from).await {
                Ok(keys) => (list.keys, list.fetched) = (keys, list.asked),
                Err(why) => tracing::warn!(%why, "the public keys of secret scanning could not be fetched"),
            }
        }
        if !list.is_true() {
            let text = "The keys to check this report with cannot be fetched now. Send it again later.";
            return Err(Problem::new(Code::UpstreamUnavailable, text));
        }
        let Some(point) = list.key(name) else { return Ok(false) };
        drop(list);
        Ok(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(body, signature).is_ok())
    }
}

async fn fetch(app: &App, from: &Destination) -> std::result::Result<Vec<Named>, String> {
    let got = app.deps.fetch.get(from, "", b"", LIST_LIMIT, PATIENCE).await.map_err(|error| error.to_string())?;
    if got.status != 200 {
        return Err(format!("the answer was {}", got.status));
    }
    let document: Document = serde_json::from_slice(&got.body).map_err(|error| error.to_string())?;
    let current = document.public_keys.into_iter().filter(|entry| entry.is_current);
    Ok(current.filter_map(|entry| Some((entry.key_identifier, point(&entry.key)?))).collect())
}

/// The point in a PEM public key; `None` where it is not one of P-256.
fn point(pem: &str) -> Option<[u8; POINT]> {
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = body.split_whitespace().collect();
    let der = BASE64.decode(text).ok()?;
    der.strip_prefix(&SPKI)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ecparam -name prime256v1 -genkey | openssl ec -pubout`.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEy7o8Ybwi6XeftCQ1g53YDncZpWi\nty2erbm+3CQiQjn4JYbobkYP1BQRSY1KN3UXVbtb0jEU8LbXbF2ButKPXg==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn only_points_of_p256_are_read() {
        assert_eq!(point(PEM).map(|p| p[0]), Some(4), "uncompressed");
        for wrong in ["", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", &PEM.replace("MFkw", "MFkx")] {
            assert_eq!(point(wrong), None, "{wrong}");
        }
    }
}
