//! What a request is measured by where tokens are not the measure: documents, characters, pictures, seconds of sound.

use crate::audio::Length;
use crate::json::{Flaw, Kind, Scanner};

/// A piece of a document that a provider may count as one of its own, in bytes: short enough to be the least of all.
const PIECE: u64 = 100;
/// More of a document is not looked at unless a caller asks for it.
const LOOKED_AT: u64 = 4096;

/// Counts that stand for what a call will be charged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Bytes of the query of a rerank.
    pub query: u64,
    /// How many documents there are to rank.
    pub documents: u64,
    /// Into how many a provider can cut them at most, which then count as documents.
    pub pieces: u64,
    /// Characters that are spoken or drawn, and their bytes.
    pub characters: u64,
    pub text: u64,
    pub size: Option<String>,
    pub quality: Option<String>,
    pub format: Option<String>,
    /// Pictures that go in, and unfinished ones that come out.
    pub pictures: u64,
    pub partial: u64,
    /// How long the sound is that goes in.
    pub sound: Option<Length>,
    /// Of a body that is a form.
    pub boundary: Option<String>,
}

impl Items {
    pub(super) fn query(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        self.query = length(s)?;
        Ok(())
    }

    pub(super) fn text(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        if s.kind()? == Kind::String {
            self.spoken(&s.string()?.decode());
            return Ok(());
        }
        s.skip().map(|_| ())
    }

    pub(super) fn spoken(&mut self, text: &str) {
        self.characters = self.characters.saturating_add(text.chars().count() as u64);
        self.text = self.text.saturating_add(text.len() as u64);
    }

    /// One, or a list of them; each may be elsewhere, since a picture's tokens are bounded whatever its size.
    pub(super) fn pictures(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        match s.kind()? {
            Kind::Array => s.array(|s| {
                self.pictures += 1;
                s.skip().map(|_| ())
            }),
            Kind::Null => s.skip().map(|_| ()),
            _ => {
                self.pictures += 1;
                s.skip().map(|_| ())
            }
        }
    }

    /// Says whether one of them is elsewhere: a picture by its URL.
    pub(super) fn documents(&mut self, s: &mut Scanner<'_>) -> Result<bool, Flaw> {
        if s.kind()? != Kind::Array {
            return s.skip().map(|_| false);
        }
        let mut elsewhere = false;
        s.array(|s| {
            let start = s.position();
            if s.kind()? == Kind::Object {
                elsewhere |= points_away(s)?;
            } else {
                s.skip()?;
            }
            let bytes = (s.position() - start) as u64;
            self.documents += 1;
            self.pieces += bytes.min(LOOKED_AT).div_ceil(PIECE).max(1);
            Ok::<_, Flaw>(())
        })?;
        Ok(elsewhere)
    }
}

fn length(s: &mut Scanner<'_>) -> Result<u64, Flaw> {
    let (_, span) = s.value()?;
    Ok((span.end - span.start) as u64)
}

fn points_away(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    let mut found = false;
    s.object(|s, key| {
        let text = key.decode() == "text";
        let set = s.skip()? != Kind::Null;
        found |= set && !text;
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}
