//! The text of a key: minting it, reading it offline, and the digest that stands for it everywhere else.
//!
//! `ak-live-AbCd1234<32 base62><6 base62>`: brand, kind, public id, secret, CRC32 of everything before it. The checksum
//! lets the gateway and a scanner tell a real key from noise without asking a database.

use crate::key::KeyKind;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub const PUBLIC_ID_LEN: usize = 8;
const SECRET_LEN: usize = 32;
const CHECKSUM_LEN: usize = 6;
/// Public id, secret and checksum.
pub const TAIL_LEN: usize = PUBLIC_ID_LEN + SECRET_LEN + CHECKSUM_LEN;
/// What keys begin with where nobody has chosen another word.
pub const DEFAULT_BRAND: &str = "ak";
pub const MAX_BRAND_LEN: usize = 16;
/// No token that we made is longer: the longest brand and kind, and the tail.
pub const MAX_LEN: usize = MAX_BRAND_LEN + 1 + 6 + 1 + TAIL_LEN;

/// The whole text of a key. Cannot be printed; wiped when dropped.
pub struct Token(Zeroizing<String>);

/// What a token says of itself without its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenForm<'a> {
    pub kind: KeyKind,
    /// Eight base62 characters, shown wherever the key is shown.
    pub public_id: &'a str,
}

/// HMAC-SHA-256 of a whole token under the installation's pepper: what is stored and compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

impl Token {
    /// Makes a new token from the operating system's random source.
    pub fn mint(brand: &str, kind: KeyKind) -> Result<Token, getrandom::Error> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_LEN));
        text.push_str(brand);
        text.push('-');
        text.push_str(kind.name());
        text.push('-');
        push_random_base62(&mut text, PUBLIC_ID_LEN + SECRET_LEN)?;
        let sum = checksum(text.as_bytes());
        text.push_str(std::str::from_utf8(&sum).unwrap_or_default());
        Ok(Token(text))
    }

    /// The text itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn form<'a>(&'a self, brand: &str) -> Option<TokenForm<'a>> {
        read(&self.0, brand)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Reads a token's form offline: brand, kind and checksum must be right. `None` says that we never made it.
pub fn read<'a>(text: &'a str, brand: &str) -> Option<TokenForm<'a>> {
    if text.len() > MAX_LEN || !text.is_ascii() {
        return None;
    }
    let (kind, tail) = text.strip_prefix(brand)?.strip_prefix('-')?.split_once('-')?;
    let kind = KeyKind::from_name(kind)?;
    if tail.len() != TAIL_LEN || !tail.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let (body, sum) = text.split_at(text.len() - CHECKSUM_LEN);
    (checksum(body.as_bytes()) == sum.as_bytes()).then_some(TokenForm { kind, public_id: &tail[..PUBLIC_ID_LEN] })
}

/// How a key is shown everywhere but in the one answer that made it.
pub fn masked(brand: &str, kind: KeyKind, public_id: &str) -> String {
    format!("{brand}-{}-{public_id}…", kind.name())
}

/// Brands are short and plain, so that a token survives every shell and every double click.
pub fn is_brand(text: &str) -> bool {
    (1..=MAX_BRAND_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// CRC32 (IEEE), big-endian, as six digits of base62.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut n = crc32fast::hash(bytes);
    let mut text = [b'0'; CHECKSUM_LEN];
    for slot in text.iter_mut().rev() {
        *slot = BASE62[(n % 62) as usize];
        n /= 62;
    }
    text
}

/// Rejection sampling: a byte at or above 248 would favour the first eight digits, so it is thrown away.
fn push_random_base62(text: &mut String, mut count: usize) -> Result<(), getrandom::Error> {
    let mut bytes = Zeroizing::new([0u8; 64]);
    while count > 0 {
        getrandom::fill(&mut *bytes)?;
        for b in bytes.iter().filter(|b| **b < 248).take(count) {
            text.push(BASE62[usize::from(b % 62)] as char);
            count -= 1;
        }
    }
    Ok(())
}

/// The installation's pepper, ready to digest tokens. Cannot be printed.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    pub fn new(bytes: &[u8; 32]) -> Self {
        // An HMAC takes a key of any length, so this cannot fail for 32 bytes.
        Pepper(Hmac::new_from_slice(bytes).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")))
    }

    pub fn digest(&self, token: &[u8]) -> Digest {
        let mut mac = self.0.clone();
        mac.update(token);
        Digest(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// Plain SHA-256 of a token: how keys imported from other systems are recognised until their first use.
pub fn plain_sha256(token: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(Sha256::digest(token).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_minted_token_reads_back() {
        for kind in KeyKind::ALL {
            let token = Token::mint("ak", kind).unwrap();
            let form = token.form("ak").unwrap();
            assert_eq!(form.kind, kind);
            assert_eq!(token.expose().len(), "ak--".len() + kind.name().len() + TAIL_LEN);
            assert!(token.expose().contains(form.public_id));
            assert_eq!(read(token.expose(), "sk"), None);
            assert_eq!(format!("{token:?}"), "Token(..)");
        }
    }

    /// Computed with another implementation: python's zlib.crc32 and divmod by 62.
    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(&checksum(b"ak-live-AbCd123400000000000000000000000000000000"), b"0eNbuB");
        assert_eq!(&checksum(b""), b"000000");
    }

    proptest! {
        #[test]
        fn a_mistyped_token_is_refused(at in 0usize..54, to in 0usize..62) {
            let token = Token::mint("ak", KeyKind::Live).unwrap();
            let mut bytes = token.expose().as_bytes().to_vec();
            prop_assume!(bytes[at] != BASE62[to]);
            bytes[at] = BASE62[to];
            prop_assert_eq!(read(std::str::from_utf8(&bytes).unwrap(), "ak"), None);
        }

        #[test]
        fn noise_never_panics(text in ".{0,200}") {
            let _ = read(&text, "ak");
        }
    }
}
