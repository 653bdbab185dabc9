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

/// The bytes of all values behind the anchor.
#[inline]
pub(super) fn after(anchor: &Finder<'_>, data: &[u8]) -> u64 {
    let mut at = 0;
    let mut total = 0;
    while let Some(hit) = anchor.find(&data[at..]) {
        at += hit + anchor.needle().len();
        let (bytes, length) = value(&data[at..]);
        total += bytes;
        at += length;
    }
    at_least(total)
}

pub(super) fn at_least(bytes: u64) -> u64 {
    if bytes == 0 { 0 } else { bytes.max(LEAST) }
}

/// The bytes of the strings in the value that begins here, keys and envelope left out, and the value's length.
pub(super) fn value(data: &[u8]) -> (u64, usize) {
    let (mut at, mut depth, mut total) = (0, 0usize, 0u64);
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
                    total += (end - start) as u64;
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
    (total, at.min(data.len()))
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
}
