//! Finding keys in any bytes, offline: what a scanner of files, of git's history and of an input does with each piece.
//!
//! A key is told from noise by its form and its checksum alone, so what is found was made by an installation of that
//! brand (by chance once in four thousand million candidates), wherever it stands and whatever stands beside it.

use crate::key::KeyKind;
use crate::token::{self, MAX_BRAND_LEN, MAX_LEN, TAIL_LEN, TokenForm};
use memchr::memmem;
use std::borrow::Cow;
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// What to look for, prepared once and shared by all who look.
pub struct Finder {
    needles: Vec<Needle>,
}

struct Needle {
    search: memmem::Finder<'static>,
    brand: Brand,
}

enum Brand {
    /// The needle is the brand and its dash.
    Known(Box<str>),
    /// The needle is a kind between its dashes; the brand is what stands before it.
    Any(KeyKind),
}

/// A key in some bytes. Holds the secret, so it cannot be printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where it begins.
    pub at: usize,
    /// The whole key.
    pub token: &'a str,
    pub brand: &'a str,
    pub form: TokenForm<'a>,
}

impl Finder {
    /// Looks for keys of these brands.
    pub fn brands<'b>(brands: impl IntoIterator<Item = &'b str>) -> Self {
        let needle = |brand: &str| Needle {
            search: memmem::Finder::new(format!("{brand}-").as_bytes()).into_owned(),
            brand: Brand::Known(brand.into()),
        };
        Finder { needles: brands.into_iter().map(needle).collect() }
    }

    /// Looks for keys of whatever brand.
    pub fn any_brand() -> Self {
        let needle = |kind: KeyKind| Needle {
            search: memmem::Finder::new(format!("-{}-", kind.name()).as_bytes()).into_owned(),
            brand: Brand::Any(kind),
        };
        Finder { needles: KeyKind::ALL.into_iter().map(needle).collect() }
    }

    /// All keys in `bytes`, in the order of their places.
    pub fn find<'h>(&self, bytes: &'h [u8]) -> Vec<Found<'h>> {
        let mut found = Vec::new();
        for needle in &self.needles {
            for at in needle.search.find_iter(bytes) {
                match &needle.brand {
                    Brand::Known(brand) => found.extend(of_brand(bytes, at, brand.len())),
                    Brand::Any(kind) => found.extend(of_any_brand(bytes, at, *kind)),
                }
            }
        }
        found.sort_unstable_by_key(|f| (f.at, f.token.len()));
        found.dedup_by_key(|f| (f.at, f.token.len()));
        found
    }
}

/// The key whose brand of `len` bytes begins at `at`.
fn of_brand(bytes: &[u8], at: usize, len: usize) -> Option<Found<'_>> {
    let after = &bytes[at + len + 1..];
    let kind = KeyKind::ALL.into_iter().find(|kind| {
        let name = kind.name().as_bytes();
        after.starts_with(name) && after.get(name.len()) == Some(&b'-')
    })?;
    check(bytes, at, len, kind)
}

/// The keys whose kind stands at `dash`, each with as much of what is before it as makes the checksum right.
fn of_any_brand(bytes: &[u8], dash: usize, kind: KeyKind) -> impl Iterator<Item = Found<'_>> {
    let before = bytes[..dash].iter().rev().take(MAX_BRAND_LEN);
    let longest = before.take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).count();
    (1..=longest).filter_map(move |len| check(bytes, dash - len, len, kind))
}

/// Whatever follows the checksum does not matter: a key in the middle of other letters is as leaked as any.
fn check(bytes: &[u8], at: usize, brand_len: usize, kind: KeyKind) -> Option<Found<'_>> {
    let len = brand_len + 1 + kind.name().len() + 1 + TAIL_LEN;
    let token = std::str::from_utf8(bytes.get(at..at + len)?).ok()?;
    let brand = &token[..brand_len];
    Some(Found { at, token, brand, form: token::read(token, brand)? })
}

fn of_whatever_brand() -> &'static Finder {
    static ANY: LazyLock<Finder> = LazyLock::new(Finder::any_brand);
    &ANY
}

/// Whether a text holds a whole key, of this installation or of another one: what is kept and shown must not.
pub fn holds_key(text: &str) -> bool {
    text.len() > TAIL_LEN && !of_whatever_brand().find(text.as_bytes()).is_empty()
}

/// The text with the keys in it masked, for what is kept of texts that are not refused for it.
pub fn without_keys(text: &str) -> Cow<'_, str> {
    let found = if text.len() > TAIL_LEN { of_whatever_brand().find(text.as_bytes()) } else { Vec::new() };
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut from) = (String::with_capacity(text.len()), 0);
    for key in &found {
        // Of two that begin in one text at most one is a key; whichever it is, none of it is kept.
        kept.push_str(text.get(from..key.at).unwrap_or_default());
        if key.at >= from {
            kept.push_str(&token::masked(key.brand, key.form.kind, key.form.public_id));
        }
        from = from.max(key.at + key.token.len());
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(kept)
}

/// A key in a stream, and its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Bytes before it.
    pub offset: u64,
    /// Counted from one.
    pub line: u64,
    /// Bytes, counted from one.
    pub column: u64,
    pub token: &'a str,
    pub brand: &'a str,
    pub form: TokenForm<'a>,
}

/// Looks through bytes that come in pieces of any size: a key that is split between two is found as one that is not.
pub struct Stream<'f> {
    finder: &'f Finder,
    /// The end of what has passed, in which a key may have begun.
    tail: Zeroizing<Vec<u8>>,
    passed: u64,
    line: u64,
    line_began: u64,
}

impl<'f> Stream<'f> {
    pub fn new(finder: &'f Finder) -> Self {
        Stream { finder, tail: Zeroizing::new(Vec::with_capacity(2 * MAX_LEN)), passed: 0, line: 1, line_began: 0 }
    }

    /// Starts again with another file.
    pub fn reset(&mut self) {
        self.tail.clear();
        (self.passed, self.line, self.line_began) = (0, 1, 0);
    }

    /// Looks through the next piece. Each key is told once, with the piece that holds its last byte.
    pub fn feed(&mut self, piece: &[u8], tell: &mut dyn FnMut(Hit<'_>)) {
        self.across_the_border(piece, tell);
        // Lines are counted up to a key, and at the end of the piece: a piece without keys is counted at one go.
        let mut counted = 0;
        for found in self.finder.find(piece) {
            self.count_lines(&piece[counted..found.at], self.passed + counted as u64);
            counted = found.at;
            tell(self.hit(&found, self.passed + found.at as u64));
        }
        self.count_lines(&piece[counted..], self.passed + counted as u64);
        self.passed += piece.len() as u64;
        self.keep_tail(piece);
    }

    /// Keys that began in an earlier piece. No key holds a line break, so they stand in the line that the piece begins in.
    fn across_the_border(&self, piece: &[u8], tell: &mut dyn FnMut(Hit<'_>)) {
        if self.tail.is_empty() {
            return;
        }
        let mut joined = Zeroizing::new(Vec::with_capacity(2 * MAX_LEN));
        joined.extend_from_slice(&self.tail);
        joined.extend_from_slice(&piece[..piece.len().min(MAX_LEN - 1)]);
        let border = self.tail.len();
        for found in self.finder.find(&joined) {
            if found.at < border && found.at + found.token.len() > border {
                tell(self.hit(&found, self.passed - (border - found.at) as u64));
            }
        }
    }

    fn hit<'a>(&self, found: &Found<'a>, offset: u64) -> Hit<'a> {
        let Found { token, brand, form, .. } = *found;
        Hit { offset, line: self.line, column: offset - self.line_began + 1, token, brand, form }
    }

    fn count_lines(&mut self, bytes: &[u8], at: u64) {
        if let Some(last) = memchr::memrchr(b'\n', bytes) {
            self.line += memchr::memchr_iter(b'\n', &bytes[..=last]).count() as u64;
            self.line_began = at + last as u64 + 1;
        }
    }

    fn keep_tail(&mut self, piece: &[u8]) {
        const KEPT: usize = MAX_LEN - 1;
        if piece.len() >= KEPT {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - KEPT..]);
            return;
        }
        self.tail.extend_from_slice(piece);
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
