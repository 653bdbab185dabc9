//! Small tools for text: token counts, filler, cutting at character boundaries, JSON strings, percent-decoding and ids.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

/// One token is four bytes of UTF-8, begun tokens counting whole.
pub(crate) const TOKEN_BYTES: usize = 4;

pub(crate) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(TOKEN_BYTES) as u64
}

/// 64 bytes, so that 4-byte pieces fit without a remainder when it is repeated.
const LOREM: &str = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, morbi. ";

/// Filler of exactly this many bytes.
pub(crate) fn lorem(bytes: usize) -> String {
    repeat_to(LOREM, bytes)
}

/// The text repeated, or cut, to at most this many bytes; short of them only by the rest of a character.
pub(crate) fn repeat_to(text: &str, bytes: usize) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut out = String::with_capacity(bytes + text.len());
    while out.len() < bytes {
        out.push_str(text);
    }
    out.truncate(out.floor_char_boundary(bytes));
    out
}

/// Writes the text as a JSON string, quotes included.
pub(crate) fn push_json(out: &mut BytesMut, text: &str) {
    // Writing a string into memory has no way to fail.
    let _ = serde_json::to_writer(out.writer(), text);
}

/// The text as a JSON string, quotes included.
pub(crate) fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let decoded = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(decoded.unwrap_or(bytes[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An id in the form that a provider uses: a prefix and `length` base-62 digits drawn from `seed`.
pub(crate) fn id(prefix: &str, length: usize, seed: u64) -> String {
    let mut out = String::with_capacity(prefix.len() + length);
    out.push_str(prefix);
    let mut state = seed;
    let mut pool = 0u64;
    for place in 0..length {
        if place % 10 == 0 {
            pool = split_mix(&mut state);
        }
        out.push(char::from(BASE62[(pool % 62) as usize]));
        pool /= 62;
    }
    out
}

/// SplitMix64: a small generator whose every seed gives a distinct stream.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_fits_tokens() {
        assert_eq!(LOREM.len() % TOKEN_BYTES, 0);
        assert_eq!(lorem(400).len(), 400);
        assert_eq!(repeat_to("é", 5), "éé");
    }

    #[test]
    fn percent_decoding_leaves_broken_escapes_alone() {
        assert_eq!(percent_decode("echo%3Fdelay=1"), "echo?delay=1");
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%C3%A9"), "%zzé");
    }

    #[test]
    fn ids_differ() {
        assert_ne!(id("x-", 24, 1), id("x-", 24, 2));
        assert_eq!(id("x-", 24, 1).len(), 26);
    }
}
