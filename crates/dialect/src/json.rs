//! A strict JSON scanner over text: it validates what it walks past, allocates nothing and recurses nowhere on its own.
//! Stands below everything that reads requests, answers and frames.

use crate::head::Span;
use std::borrow::Cow;

/// Deeper nesting is refused; it also is what fits the bit stack of [`Scanner::skip`].
pub const MAX_DEPTH: u32 = 128;

/// Where and why a text is not JSON as we accept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub at: usize,
    pub what: &'static str,
}

/// What a value begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool(bool),
    Null,
}

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
    pub fn decode(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0, depth: 0 }
    }

    /// The position behind what was read last.
    pub fn position(&self) -> usize {
        self.at
    }

    fn flaw(&self, what: &'static str) -> Flaw {
        Flaw { at: self.at, what }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips white space and looks at the next byte.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                b => return Some(b),
            }
        }
    }

    /// What the next value is, without reading it.
    pub fn kind(&mut self) -> Result<Kind, Flaw> {
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't') => Ok(Kind::Bool(true)),
            Some(b'f') => Ok(Kind::Bool(false)),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.flaw("a value was expected")),
            None => Err(self.flaw("the text ends where a value was expected")),
        }
    }

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<(), Flaw> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.flaw("there is something after the end of the document")),
        }
    }

    /// Reads an object; `member` is called behind each colon and must read the value.
    pub fn object<E: From<Flaw>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        if self.peek() == Some(b'}') {
            self.close();
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.flaw("`,` or `}` was expected").into()),
            }
        }
        self.close();
        Ok(())
    }

    /// Reads an array; `element` must read one value per call.
    pub fn array<E: From<Flaw>>(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.open(b'[')?;
        if self.peek() == Some(b']') {
            self.close();
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.flaw("`,` or `]` was expected").into()),
            }
        }
        self.close();
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), Flaw> {
        if self.peek() != Some(bracket) {
            return Err(self.flaw(if bracket == b'{' { "an object was expected" } else { "an array was expected" }));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.flaw("nesting is deeper than 128 levels"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    /// A member's name and its colon.
    #[inline]
    fn key(&mut self) -> Result<Text<'a>, Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw("a member's name in quotes was expected"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    #[inline]
    fn pass_key(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw("a member's name in quotes was expected"));
        }
        self.pass_string()?;
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b':') {
            return Err(self.flaw("`:` was expected"));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a value and tells where it stands.
    pub fn value(&mut self) -> Result<(Kind, Span), Flaw> {
        self.peek();
        let start = self.at;
        let kind = self.skip()?;
        Ok((kind, Span { start, end: self.at }))
    }

    /// Reads a value of any kind. Nesting costs a bit, not a stack frame.
    pub fn skip(&mut self) -> Result<Kind, Flaw> {
        let kind = self.kind()?;
        if matches!(kind, Kind::Object | Kind::Array) {
            self.skip_nested()?
        } else {
            self.scalar(kind)?
        }
        Ok(kind)
    }

    #[inline]
    fn scalar(&mut self, kind: Kind) -> Result<(), Flaw> {
        match kind {
            Kind::String => self.pass_string().map(|_| ()),
            Kind::Number => self.pass_number(),
            Kind::Bool(true) => self.literal("true"),
            Kind::Bool(false) => self.literal("false"),
            _ => self.literal("null"),
        }
    }

    fn skip_nested(&mut self) -> Result<(), Flaw> {
        // One bit a level, set for an object; the innermost is the lowest.
        let mut levels: u128 = 0;
        let outside = self.depth;
        loop {
            let kind = self.kind()?;
            let closed = match kind {
                Kind::Object => {
                    self.open(b'{')?;
                    levels = levels << 1 | 1;
                    let empty = self.peek() == Some(b'}');
                    if !empty {
                        self.pass_key()?;
                    }
                    empty
                }
                Kind::Array => {
                    self.open(b'[')?;
                    levels <<= 1;
                    self.peek() == Some(b']')
                }
                scalar => {
                    self.scalar(scalar)?;
                    true
                }
            };
            if closed && self.after_value(&mut levels, outside)? {
                return Ok(());
            }
        }
    }

    /// Goes past commas and closing brackets to the next value; true when the outermost bracket has closed.
    #[inline]
    fn after_value(&mut self, levels: &mut u128, outside: u32) -> Result<bool, Flaw> {
        loop {
            let in_object = *levels & 1 == 1;
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if in_object {
                        self.pass_key()?;
                    }
                    return Ok(false);
                }
                Some(b'}') if in_object => self.close(),
                Some(b']') if !in_object => self.close(),
                _ if in_object => return Err(self.flaw("`,` or `}` was expected")),
                _ => return Err(self.flaw("`,` or `]` was expected")),
            }
            *levels >>= 1;
            if self.depth == outside {
                return Ok(true);
            }
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Flaw> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.flaw("a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a number and returns it as written.
    pub fn number(&mut self) -> Result<&'a str, Flaw> {
        self.peek();
        let start = self.at;
        self.pass_number()?;
        Ok(&self.text[start..self.at])
    }

    /// Goes past a number that begins here.
    #[inline]
    fn pass_number(&mut self) -> Result<(), Flaw> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
            if matches!(self.byte(), Some(b'0'..=b'9')) {
                return Err(self.flaw("a number may not begin with a zero"));
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.flaw("a digit was expected")) } else { Ok(()) }
    }

    /// Reads a string.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw("a string was expected"));
        }
        let start = self.at;
        let escaped = self.pass_string()?;
        let span = Span { start, end: self.at };
        Ok(Text { raw: &self.text[start + 1..self.at - 1], escaped, span })
    }

    /// Goes past a string that begins here, and says whether it holds escapes.
    fn pass_string(&mut self) -> Result<bool, Flaw> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_run(&self.text.as_bytes()[self.at..]);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.flaw("a control character stands in a string without an escape")),
                None => return Err(self.flaw("the text ends inside a string")),
            }
        }
        self.at += 1;
        Ok(escaped)
    }

    #[inline]
    fn escape(&mut self) -> Result<(), Flaw> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            _ => Err(self.flaw("there is no such escape")),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), Flaw> {
        let unit = self.code_unit()?;
        match unit {
            0xD800..=0xDBFF => {
                let pair = self.text.as_bytes()[self.at + 6..].starts_with(b"\\u");
                let high = self.at;
                if pair {
                    self.at += 6;
                }
                if !pair || !matches!(self.code_unit()?, 0xDC00..=0xDFFF) {
                    return Err(Flaw { at: high, what: "a lone surrogate stands in a string" });
                }
            }
            0xDC00..=0xDFFF => return Err(self.flaw("a lone surrogate stands in a string")),
            _ => {}
        }
        self.at += 6;
        Ok(())
    }

    /// The value of `\uXXXX` at the current position, which stays.
    fn code_unit(&self) -> Result<u16, Flaw> {
        let digits = self.text.as_bytes().get(self.at + 2..self.at + 6);
        digits.and_then(hex).ok_or(self.flaw("four hexadecimal digits were expected after `\\u`"))
    }
}

fn hex(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |n, d| Some(n << 4 | (*d as char).to_digit(16)? as u16))
}

/// How many bytes of a string pass before a quote, a backslash or a control character.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    let special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for (i, block) in blocks.iter().enumerate() {
        // A byte of ones for each special byte. Without branches, so that the compiler looks at all 16 at once.
        let marks = u128::from_le_bytes(block.map(|b| if special(b) { 0xFF } else { 0 }));
        if marks != 0 {
            return i * 16 + marks.trailing_zeros() as usize / 8;
        }
    }
    blocks.len() * 16 + tail.iter().position(|b| special(*b)).unwrap_or(tail.len())
}

/// Resolves the escapes of a string that a [`Scanner`] has accepted.
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

/// Whether a text is one JSON document.
pub fn is_valid(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip().and_then(|_| scanner.end()).is_ok()
}

#[cfg(test)]
mod tests;
