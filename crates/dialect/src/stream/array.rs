//! A JSON array that is written piece by piece: finds where an element and where the array ends, without parsing.

use memchr::memchr2;

/// A frame here is an element with the bracket or comma before it, or the closing bracket.
pub(super) struct Elements {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Elements {
    pub fn new() -> Self {
        Elements { depth: 0, in_string: false, escaped: false }
    }

    /// The position behind the first frame that ends at or after `from`.
    pub fn next(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while at < bytes.len() {
            if self.in_string {
                at = self.string(bytes, at);
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth <= 1 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Goes to the end of the string or of the bytes.
    fn string(&mut self, bytes: &[u8], from: usize) -> usize {
        if self.escaped {
            self.escaped = false;
            return from + 1;
        }
        let Some(length) = memchr2(b'"', b'\\', &bytes[from..]) else { return bytes.len() };
        let at = from + length;
        if bytes[at] == b'"' {
            self.in_string = false;
        } else {
            self.escaped = true;
        }
        at + 1
    }
}

/// What a frame holds without the punctuation and white space around it. Empty for the closing bracket.
pub(super) fn element(frame: &[u8]) -> &[u8] {
    let frame = frame.trim_ascii();
    let inner = frame.strip_prefix(b"[").or(frame.strip_prefix(b",")).unwrap_or(frame).trim_ascii();
    if inner == b"]" { b"" } else { inner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_the_end_are_found() {
        let text = br#"[{"a":"]},{\"\\"},{"b":[1,{"c":2}]} , {} ]"#;
        let (mut elements, mut from, mut found) = (Elements::new(), 0, Vec::new());
        while let Some(end) = elements.next(text, from) {
            found.push(std::str::from_utf8(element(&text[from..end])).unwrap());
            from = end;
        }
        assert_eq!(found, [r#"{"a":"]},{\"\\"}"#, r#"{"b":[1,{"c":2}]}"#, "{}", ""]);
        assert_eq!(from, text.len());
    }
}
