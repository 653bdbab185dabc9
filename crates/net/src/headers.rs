//! Header fields as they were written: one shared buffer and the spans of names and values in it.

use bytes::Bytes;

#[derive(Clone, Copy, Debug)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

/// The header fields of one message. Reading one is a scan: messages have a dozen, and each room looks at them once.
#[derive(Clone, Debug, Default)]
pub struct RawHeaders {
    text: Bytes,
    spans: Vec<Span>,
}

impl RawHeaders {
    /// `fields` must be slices of `text`, as the parser gives them.
    pub(crate) fn from_parsed(text: Bytes, fields: &[httparse::Header<'_>]) -> Self {
        let base = text.as_ptr() as usize;
        let span = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(base);
            (start as u32, (start + part.len()) as u32)
        };
        let spans = fields.iter().map(|f| Span { name: span(f.name.as_bytes()), value: span(f.value) }).collect();
        RawHeaders { text, spans }
    }

    /// Copies fields into a buffer of their own.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut text = Vec::with_capacity(512);
        let mut spans = Vec::with_capacity(16);
        for (name, value) in pairs {
            let start = text.len() as u32;
            text.extend_from_slice(name.as_bytes());
            let middle = text.len() as u32;
            text.extend_from_slice(value);
            spans.push(Span { name: (start, middle), value: (middle, text.len() as u32) });
        }
        RawHeaders { text: text.into(), spans }
    }

    /// All fields in the order in which they came. Names as they were written: compare them without case.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |(start, end): (u32, u32)| self.text.get(start as usize..end as usize).unwrap_or_default();
        self.spans.iter().map(move |s| (part(s.name), part(s.value)))
    }

    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}
