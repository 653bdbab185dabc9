//! An issuer's published keys (RFC 7517): those that could have signed a token are kept, all others are passed over.

use super::token::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

/// More are a mistake.
const MOST: usize = 100;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// What a key says of itself; what is of no use here is left out.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A public key that tokens may be signed with.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub kid: Option<String>,
    /// Where the key is for one algorithm alone.
    only: Option<Algorithm>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256([u8; 65]),
    Ed25519([u8; 32]),
}

impl Key {
    /// Whether the key is one for that algorithm. The key decides, never the token: what was published for RSA is never
    /// taken as a secret.
    pub fn takes(&self, algorithm: Algorithm) -> bool {
        let fits = match self.public {
            Public::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
            Public::P256(_) => algorithm == Algorithm::Es256,
            Public::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        fits && self.only.is_none_or(|only| only == algorithm)
    }

    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.public, algorithm) {
            (Public::Rsa { n, e }, Algorithm::Rs256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Public::Rsa { n, e }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Public::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Public::Ed25519(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

/// The keys of a set that can be used. A set that cannot be read is an error; a key that cannot is another kind of key.
pub(crate) fn read(set: &[u8]) -> Result<Vec<Key>, serde_json::Error> {
    let set: Set = serde_json::from_slice(set)?;
    Ok(set.keys.into_iter().take(MOST).filter_map(|entry| key(serde_json::from_value(entry).ok()?)).collect())
}

fn key(entry: Entry) -> Option<Key> {
    let for_signing = entry.r#use.as_deref().is_none_or(|usage| usage == "sig")
        && entry.key_ops.as_ref().is_none_or(|all| all.iter().any(|op| op == "verify"));
    // A key for an algorithm that is not taken here is of no use.
    let only = match entry.alg.as_deref() {
        None => None,
        Some("Ed25519") => Some(Algorithm::EdDsa),
        Some(name) => Some(Algorithm::from_name(name)?),
    };
    let bytes = |text: &Option<String>| BASE64URL.decode(text.as_deref()?).ok();
    let public = match (entry.kty.as_str(), entry.crv.as_deref()) {
        ("RSA", _) => Public::Rsa { n: unsigned(bytes(&entry.n)?), e: unsigned(bytes(&entry.e)?) },
        ("EC", Some("P-256")) => {
            let (x, y): ([u8; 32], [u8; 32]) = (bytes(&entry.x)?.try_into().ok()?, bytes(&entry.y)?.try_into().ok()?);
            let mut point = [4; 65];
            point[1..33].copy_from_slice(&x);
            point[33..].copy_from_slice(&y);
            Public::P256(point)
        }
        ("OKP", Some("Ed25519")) => Public::Ed25519(bytes(&entry.x)?.try_into().ok()?),
        _ => return None,
    };
    for_signing.then_some(Key { kid: entry.kid, only, public })
}

/// Some write a zero before a number whose first bit is set.
fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}
