//! Sealing of what must be kept but not read: XChaCha20-Poly1305 under the key-encrypting key, bound to its place.
//!
//! A sealed value is `v1.<key id>.<nonce>.<ciphertext>`. Table, row and column are associated data, so a value that is
//! copied to another row does not open.

use crate::error::{Result, StoreError};
use crate::secrets_files::{Secret, SecretFile};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const NONCE_LEN: usize = 24;

/// Where a sealed value lives.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub table: &'static str,
    pub row: &'a str,
    pub column: &'static str,
}

pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    /// Says under which key a value was sealed, without saying anything of the key.
    kid: String,
}

impl Sealer {
    pub fn new(kek: &Secret, file: &SecretFile) -> Self {
        Sealer { cipher: XChaCha20Poly1305::new((&**kek).into()), kid: file.fingerprint(kek)[..8].to_owned() }
    }

    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<String> {
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let aad = self.associated_data(place);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad })
            .map_err(|_| StoreError::SecretUnavailable(place.table))?;
        Ok(format!("v1.{}.{}.{}", self.kid, BASE64.encode(nonce), BASE64.encode(sealed)))
    }

    /// Fails closed: a value that was altered, moved or sealed under another key gives nothing.
    pub fn open(&self, place: Place<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
        self.try_open(place, sealed).ok_or(StoreError::SecretUnavailable(place.table))
    }

    fn try_open(&self, place: Place<'_>, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let mut parts = sealed.split('.');
        let (version, kid, nonce, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "v1" || kid != self.kid || parts.next().is_some() {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = BASE64.decode(nonce).ok()?.try_into().ok()?;
        let text = BASE64.decode(text).ok()?;
        let aad = self.associated_data(place);
        self.cipher.decrypt(&XNonce::from(nonce), Payload { msg: &text, aad: &aad }).ok().map(Zeroizing::new)
    }

    /// Length-prefixed, so that no two places spell the same bytes.
    fn associated_data(&self, place: Place<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in ["anykey v1", &self.kid, place.table, place.row, place.column] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&Zeroizing::new([byte; 32]), &SecretFile::new("kek", Path::new(""), None))
    }

    const HERE: Place<'static> = Place { table: "provider", row: "openai", column: "sealed_key" };

    #[test]
    fn it_opens_where_it_was_sealed_and_nowhere_else() {
        let sealed = sealer(1).seal(HERE, b"sk-secret").unwrap();
        assert_eq!(&**sealer(1).open(HERE, &sealed).unwrap(), b"sk-secret");
        assert!(sealer(2).open(HERE, &sealed).is_err());
        for place in [
            Place { row: "openai2", ..HERE },
            Place { table: "provider2", ..HERE },
            Place { column: "sealed", ..HERE },
            Place { table: "providero", row: "penai", ..HERE },
        ] {
            assert_eq!(sealer(1).open(place, &sealed), Err(StoreError::SecretUnavailable(place.table)));
        }
    }

    #[test]
    fn any_altered_character_fails() {
        let sealed = sealer(1).seal(HERE, b"sk-secret").unwrap();
        for i in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            assert!(sealer(1).open(HERE, std::str::from_utf8(&bytes).unwrap()).is_err(), "byte {i}");
        }
        for text in ["", "v1", "v1...", "sk-secret", &format!("{sealed}.x")] {
            assert!(sealer(1).open(HERE, text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_text_never_seals_alike() {
        assert_ne!(sealer(1).seal(HERE, b"x").unwrap(), sealer(1).seal(HERE, b"x").unwrap());
    }
}
