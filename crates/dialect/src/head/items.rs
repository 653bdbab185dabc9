//! What a request is measured by where tokens are not the measure: queries and documents.

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
}

impl Items {
    pub(super) fn query(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        self.query = length(s)?;
        Ok(())
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
