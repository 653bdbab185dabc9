//! Server-sent events by bytes: where a frame ends, and what its fields are.

use memchr::memchr2;
use std::borrow::Cow;

/// Finds the blank line that ends a frame, wherever reads cut the bytes. Lines end with LF, CRLF or CR, in any mixture.
pub(crate) struct Boundary {
    /// Nothing stands on the current line yet.
    blank: bool,
    /// The byte before was a CR; an LF now belongs to it.
    after_cr: bool,
}

impl Boundary {
    pub fn new() -> Self {
        Boundary { blank: true, after_cr: false }
    }

    /// The position behind the first frame that ends at or after `from`. Where a frame ends with the last byte, a CR, the
    /// LF that may follow is the caller's to add.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(length) = memchr2(b'\n', b'\r', &bytes[at..]) {
            let end = at + length;
            let is_cr = bytes[end] == b'\r';
            let second_half = length == 0 && self.after_cr && !is_cr;
            at = end + 1;
            if second_half {
                self.after_cr = false;
                continue;
            }
            let frame_ends = self.blank && length == 0;
            self.blank = true;
            self.after_cr = is_cr;
            if frame_ends {
                self.after_cr = false;
                return Some(at + usize::from(is_cr && bytes.get(at) == Some(&b'\n')));
            }
        }
        if at < bytes.len() {
            self.blank = false;
            self.after_cr = false;
        }
        None
    }
}

/// The fields of a frame.
pub(crate) struct Event<'a> {
    pub name: &'a [u8],
    pub data: Cow<'a, [u8]>,
}

impl<'a> Event<'a> {
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Self {
        let mut event = Event { name: b"", data: Cow::Borrowed(b"") };
        let mut has_data = false;
        let mut rest = frame.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(frame);
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            // The LF of a CRLF makes an empty line here, which means nothing.
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(value) = field(line, b"data") {
                if has_data {
                    let data = event.data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                } else {
                    event.data = Cow::Borrowed(value);
                    has_data = true;
                }
            } else if let Some(value) = field(line, b"event") {
                event.name = value;
            }
        }
        event
    }
}

#[inline]
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Vec<&[u8]> {
        let (mut boundary, mut from, mut found) = (Boundary::new(), 0, Vec::new());
        while let Some(end) = boundary.next(bytes, from) {
            found.push(&bytes[from..end]);
            from = end;
        }
        found
    }

    #[test]
    fn every_mixture_of_line_ends() {
        let ends = ["\n", "\r\n", "\r"];
        for first in ends {
            for second in ends {
                let frame = format!("event: a{first}data: b{first}{second}");
                // A CR and an LF are one line end, not two.
                let expected: Vec<&[u8]> =
                    if first == "\r" && second == "\n" { Vec::new() } else { vec![frame.as_bytes()] };
                assert_eq!(frames(frame.as_bytes()), expected, "{frame:?}");
            }
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let event = Event::parse(b"\xEF\xBB\xBF: note\r\nevent:x\r\ndata: a\r\ndata:  b\r\nid: 7\r\ndatax: c\r\n\r\n");
        assert_eq!(event.name, b"x");
        assert_eq!(&*event.data, b"a\n b");
    }
}
