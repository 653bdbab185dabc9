//! Strings: how far one goes, and what its escapes stand for.

use crate::head::Span;
use std::borrow::Cow;

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Between the quotes, escapes and all.
    pub raw: &'a str,
    pub escaped: bool,
    /// With the quotes.
    pub span: Span,
}

impl<'a> Text<'a> {
    #[inline]
    pub fn decode(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

#[inline]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The place of the first quote, backslash or control character among eight bytes. A borrow can only mark a byte above
/// one that is marked rightly, so the lowest mark is always right.
#[inline]
fn first_special(bytes: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(bytes);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let marks = (zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | control) & HIGHS;
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

/// How many bytes of a string pass before a quote, a backslash or a control character. Most strings are names and end
/// within one word.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    match bytes.first_chunk::<8>() {
        Some(word) => first_special(*word).unwrap_or_else(|| 8 + longer_run(&bytes[8..])),
        None => short_run(bytes),
    }
}

#[inline(never)]
fn longer_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        if let Some(here) = first_special(*word) {
            return at + here;
        }
        at += 8;
        at += plain_blocks(&bytes[at..]);
    }
    at + short_run(&bytes[at..])
}

fn short_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| is_special(*b)).unwrap_or(bytes.len())
}

/// How many bytes pass in whole blocks that hold nothing special. Each of the three is zero for one sort of special byte,
/// so their least is; written so, the compiler looks at 16 bytes at once.
#[inline]
fn plain_blocks(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<32>();
    let least = |b: u8| (b ^ b'"').min(b ^ b'\\').min(b & 0xE0);
    let plain = |block: &&[u8; 32]| block.iter().fold(u8::MAX, |so_far, b| so_far.min(least(*b))) != 0;
    blocks.iter().take_while(plain).count() * 32
}

/// Resolves the escapes of a string that a scanner has accepted.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        let c = match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (c, length) = code_point(rest);
                rest = &rest[length..];
                c
            }
            other => other as char,
        };
        out.push(c);
    }
    out.push_str(rest);
    out
}

pub(super) fn hex(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |n, d| Some(n << 4 | (*d as char).to_digit(16)? as u16))
}

/// The character of the escape whose digits begin `rest`, and how many bytes it takes.
fn code_point(rest: &str) -> (char, usize) {
    let unit = |at: usize| rest.as_bytes().get(at..at + 4).and_then(hex).unwrap_or(0xFFFD);
    let first = unit(0);
    if !matches!(first, 0xD800..=0xDBFF) {
        return (char::from_u32(first as u32).unwrap_or(char::REPLACEMENT_CHARACTER), 4);
    }
    let c = char::decode_utf16([first, unit(6)]).next().and_then(Result::ok);
    (c.unwrap_or(char::REPLACEMENT_CHARACTER), 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition, with a special byte of each kind, and its neighbours, at every place.
    #[test]
    fn a_run_ends_where_the_definition_says() {
        for special in [b'"', b'\\', 0, 0x1F, 0x20, b'!', b'#', 0x7F, 0x80, 0xFF, 0xA2, 0xDC] {
            for length in 0..150 {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = special;
                    // A mark that a borrow might leave above must not be taken for the first.
                    if at + 1 < length {
                        bytes[at + 1] = special ^ 1;
                    }
                    let expected = bytes.iter().position(|b| is_special(*b)).unwrap_or(length);
                    assert_eq!(plain_run(&bytes), expected, "{special:#x} at {at} of {length}");
                }
            }
        }
    }
}
