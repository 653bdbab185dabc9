//! A strict JSON scanner over text: it validates what it walks past, allocates nothing and recurses nowhere on its own.
//! Stands below everything that reads requests, answers and frames.

mod flaw;
#[cfg(test)]
mod tests;
mod text;

pub use flaw::{Flaw, What};
pub use text::Text;

use crate::head::Span;
use text::{hex, plain_run};

/// Deeper nesting is refused; it also is what fits the bit stack of [`Scanner::skip`].
pub const MAX_DEPTH: u32 = 128;

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
    /// Goes on at a place that an earlier pass over the same text found.
    pub fn skip_to(&mut self, at: usize) {
        self.at = at;
    }

    pub fn position(&self) -> usize {
        self.at
    }

    #[cold]
    fn flaw(&self, what: What) -> Flaw {
        Flaw::new(self.at, what)
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
            Some(_) => Err(self.flaw(What::NoValue)),
            None => Err(self.flaw(What::EndsBeforeValue)),
        }
    }

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<(), Flaw> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.flaw(What::AfterEnd)),
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
                _ => return Err(self.flaw(What::NoCommaOrBrace).into()),
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
                _ => return Err(self.flaw(What::NoCommaOrBracket).into()),
            }
        }
        self.close();
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), Flaw> {
        if self.peek() != Some(bracket) {
            return Err(self.flaw(if bracket == b'{' { What::NoObject } else { What::NoArray }));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.flaw(What::TooDeep));
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
            return Err(self.flaw(What::NoMember));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    #[inline]
    fn pass_key(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw(What::NoMember));
        }
        self.pass_string()?;
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b':') {
            return Err(self.flaw(What::NoColon));
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
                _ if in_object => return Err(self.flaw(What::NoCommaOrBrace)),
                _ => return Err(self.flaw(What::NoCommaOrBracket)),
            }
            *levels >>= 1;
            if self.depth == outside {
                return Ok(true);
            }
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Flaw> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.flaw(What::NoValue));
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
                return Err(self.flaw(What::LeadingZero));
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
        if self.at == start { Err(self.flaw(What::NoDigit)) } else { Ok(()) }
    }

    /// Reads a string.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw(What::NoString));
        }
        let start = self.at;
        let escaped = self.pass_string()?;
        let span = Span { start, end: self.at };
        Ok(Text { raw: &self.text[start + 1..self.at - 1], escaped, span })
    }

    /// Goes past a string that begins here, and says whether it holds escapes.
    #[inline]
    fn pass_string(&mut self) -> Result<bool, Flaw> {
        self.at += 1;
        self.at += plain_run(&self.text.as_bytes()[self.at..]);
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.pass_escapes()
    }

    /// Goes on behind the first byte of a string that is not plain.
    #[inline(never)]
    fn pass_escapes(&mut self) -> Result<bool, Flaw> {
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.flaw(What::ControlCharacter)),
                None => return Err(self.flaw(What::EndsInString)),
            }
            self.at += plain_run(&self.text.as_bytes()[self.at..]);
        }
        self.at += 1;
        Ok(true)
    }

    #[inline]
    fn escape(&mut self) -> Result<(), Flaw> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            _ => Err(self.flaw(What::NoSuchEscape)),
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
                    return Err(Flaw::new(high, What::LoneSurrogate));
                }
            }
            0xDC00..=0xDFFF => return Err(self.flaw(What::LoneSurrogate)),
            _ => {}
        }
        self.at += 6;
        Ok(())
    }

    /// The value of `\uXXXX` at the current position, which stays.
    fn code_unit(&self) -> Result<u16, Flaw> {
        let digits = self.text.as_bytes().get(self.at + 2..self.at + 6);
        digits.and_then(hex).ok_or_else(|| self.flaw(What::NoHexDigits))
    }
}

/// Whether a text is one JSON document.
pub fn is_valid(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip().and_then(|_| scanner.end()).is_ok()
}
