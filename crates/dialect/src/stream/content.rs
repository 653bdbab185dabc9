//! Counts the bytes that a model generated in a frame, for the case that no counts ever come. It only has to be near: it
//! looks at the strings behind an anchor such as `"delta":` and leaves out the envelope.

use memchr::memchr2;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// A frame with content holds at least one token, which the estimate takes for four bytes.
const LEAST: u64 = 4;

pub(super) static DELTA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"delta\":"));
pub(super) static TEXT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"text\":"));

/// Members that no one generated, or whose bytes are not tokens.
const ENVELOPE: [&[u8]; 9] = [
    b"type",
    b"role",
    b"id",
    b"index",
    b"mimeType",
    b"signature",
    b"thoughtSignature",
    b"thought_signature",
    b"encrypted_content",
];

/// Members whose bytes are no text that a model wrote: images and sounds, and what a program that it ran printed.
const NO_TEXT: [&[u8]; 3] = [b"data", b"output", b"partial_image_b64"];

/// The bytes of all values behind the anchor.
#[inline]
pub(super) fn after(anchor: &Finder<'_>, data: &[u8]) -> u64 {
    let mut total = 0;
    behind(anchor, data, |string, _| total += string.len() as u64);
    at_least(total)
}

/// The characters of text in all values behind the anchor.
pub(super) fn characters_after(anchor: &Finder<'_>, data: &[u8]) -> u64 {
    let mut total = 0;
    behind(anchor, data, |string, key| total += text(string, key));
    total
}

#[inline]
fn behind<'d>(anchor: &Finder<'_>, data: &'d [u8], mut each: impl FnMut(&'d [u8], &'d [u8])) {
    let mut at = 0;
    while let Some(hit) = anchor.find(&data[at..]) {
        at += hit + anchor.needle().len();
        at += strings(&data[at..], &mut each);
    }
}

pub(super) fn at_least(bytes: u64) -> u64 {
    if bytes == 0 { 0 } else { bytes.max(LEAST) }
}

/// The bytes of the strings in a value.
pub(super) fn value(data: &[u8]) -> u64 {
    let mut total = 0;
    strings(data, &mut |string, _| total += string.len() as u64);
    total
}

/// The characters of text in a value.
pub(super) fn characters(data: &[u8]) -> u64 {
    let mut total = 0;
    strings(data, &mut |string, key| total += text(string, key));
    total
}

fn text(string: &[u8], key: &[u8]) -> u64 {
    if NO_TEXT.contains(&key) { 0 } else { changes(string) }
}

/// How many characters there are, where one that is repeated counts once: a row of blanks or dashes, however long, may be
/// few tokens. What is escaped is one character.
fn changes(string: &[u8]) -> u64 {
    let (mut total, mut at, mut before) = (0, 0, &string[..0]);
    while at < string.len() {
        let length = match string[at] {
            b'\\' if string.get(at + 1) == Some(&b'u') => 6,
            b'\\' => 2,
            0x00..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        let end = string.len().min(at + length);
        let character = &string[at..end];
        total += u64::from(character != before);
        (at, before) = (end, character);
    }
    total
}

/// Hands over the strings in the value that begins here with the names of their members, keys and envelope left out.
/// Returns the value's length.
#[inline]
fn strings<'d>(data: &'d [u8], each: &mut impl FnMut(&'d [u8], &'d [u8])) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    let mut key: &[u8] = b"";
    while at < data.len() {
        match data[at] {
            b'"' => {
                let start = at + 1;
                let end = string_end(data, start);
                at = end + 1;
                if data.get(at) == Some(&b':') {
                    key = &data[start..end];
                } else if !ENVELOPE.contains(&key) {
                    each(&data[start..end], key);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b' ' | b'\n' | b'\r' | b'\t' | b':' => {
                at += 1;
                continue;
            }
            // A number or a word; at the outermost level it is the whole value.
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(data.len())
}

/// The position of the closing quote, or the end.
fn string_end(data: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(length) = data.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += length;
        if data[at] == b'"' {
            return at;
        }
        at += 2;
    }
    data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_generated_counts() {
        for (data, bytes) in [
            (r#"{"id":"x","choices":[{"delta":{"role":"assistant","content":""}}]}"#, 0),
            (r#"{"choices":[{"delta":{"content":"Hello"}}],"obfuscation":"abc"}"#, 5),
            (r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"\"}{"}}]}"#, 5),
            (r#"{"choices":[{"delta":{"content":"a"}}]}"#, 4),
            (r#"{"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"get","arguments":"{}"}}]}}"#, 5),
            (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}"#, 5),
            (r#"{"type":"response.output_text.delta","delta":"Hello","logprobs":[]}"#, 5),
            (r#"{"delta": "Hello"#, 5),
            (r#"{"delta":null,"x":"y"}"#, 0),
        ] {
            assert_eq!(after(&DELTA, data.as_bytes()), bytes, "{data}");
        }
    }

    #[test]
    fn characters_are_counted_however_they_are_written() {
        for (data, count) in [
            (r#"{"delta":{"content":"Hello"}}"#, 4),
            (r#"{"delta":{"content":"a          ---------b"}}"#, 4),
            (r#"{"delta":{"content":"\u6771\u4eac\n\""}}"#, 4),
            (r#"{"delta":{"content":"東京 नमस्ते"}}"#, 9),
            (r#"{"delta":{"content":"é"},"x":"y"}"#, 1),
            (r#"{"delta":{"audio":{"data":"AAECAwQFBgc","transcript":"ab"}}}"#, 2),
            (r#"{"delta":{"role":"assistant","content":""}}"#, 0),
            (r#"{"delta":"broken \"#, 8),
        ] {
            assert_eq!(characters_after(&DELTA, data.as_bytes()), count, "{data}");
        }
        assert_eq!(
            characters(br#"{"parts":[{"text":"abc"},{"inlineData":{"mimeType":"image/png","data":"abc"}}]}"#),
            3
        );
    }

    #[test]
    fn what_is_cut_off_anywhere_is_counted_without_a_fault() {
        let whole = "{\"delta\":{\"content\":\"a\\u00e9é東🎉\\\"\"}}".as_bytes();
        for end in 0..=whole.len() {
            assert!(characters_after(&DELTA, &whole[..end]) <= end as u64, "{end}");
        }
    }
}
