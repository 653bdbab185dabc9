//! Signatures of thinking, on their way through a client that has never heard of them. A provider wants its own back on
//! the next turn, to the byte; so each travels where the client's dialect has a place for such a thing, marked with whose
//! it is, or else inside the id of the tool call that follows it, which every client returns.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Who can read a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Anthropic,
    OpenAi,
    Gemini,
}

/// What a provider signed or encrypted, opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub origin: Origin,
    pub data: String,
}

/// In front of a signature that stands in another dialect's place.
const MARK: &str = "anykey1:";
/// Between a tool call's id and the signature that it carries.
const JOINT: &str = "-sig-";

impl Origin {
    const ALL: [Origin; 3] = [Origin::Anthropic, Origin::OpenAi, Origin::Gemini];

    const fn letter(self) -> char {
        match self {
            Origin::Anthropic => 'a',
            Origin::OpenAi => 'o',
            Origin::Gemini => 'g',
        }
    }

    fn of(letter: char) -> Option<Origin> {
        Origin::ALL.into_iter().find(|o| o.letter() == letter)
    }
}

impl Signature {
    pub fn new(origin: Origin, data: impl Into<String>) -> Self {
        Signature { origin, data: data.into() }
    }

    /// For a place that belongs to `native`'s dialect and takes any text.
    pub fn wrap(&self, native: Origin) -> String {
        if self.origin == native { self.data.clone() } else { format!("{MARK}{}:{}", self.origin.letter(), self.data) }
    }

    /// What stands in such a place.
    pub fn unwrap(text: String, native: Origin) -> Self {
        marked(&text).unwrap_or(Signature { origin: native, data: text })
    }

    /// For Gemini's place, which takes base64.
    pub fn wrap_bytes(&self) -> String {
        match self.origin {
            Origin::Gemini => self.data.clone(),
            _ => STANDARD.encode(self.wrap(Origin::Gemini)),
        }
    }

    /// What stands in Gemini's place. Its SDKs return another base64 than they were sent.
    pub fn unwrap_bytes(text: &str) -> Self {
        let Some(bytes) = decode(text) else { return Signature::new(Origin::Gemini, text) };
        let ours = std::str::from_utf8(&bytes).ok().and_then(marked);
        ours.unwrap_or_else(|| Signature::new(Origin::Gemini, STANDARD.encode(bytes)))
    }

    /// The id of a tool call with this signature in it, in the characters that every dialect takes.
    pub fn ride(&self, id: &str) -> String {
        // Mostly base64 already, which would grow by a third.
        let exact = STANDARD.decode(&self.data).ok().filter(|bytes| STANDARD.encode(bytes) == self.data);
        let (letter, payload) = match exact {
            Some(bytes) => (self.origin.letter().to_ascii_uppercase(), URL_SAFE_NO_PAD.encode(bytes)),
            None => (self.origin.letter(), URL_SAFE_NO_PAD.encode(&self.data)),
        };
        format!("{id}{JOINT}{letter}{payload}")
    }

    /// Takes the two apart again.
    pub fn alight(id: &str) -> (&str, Option<Signature>) {
        let Some((own, rider)) = id.split_once(JOINT) else { return (id, None) };
        match read_rider(rider) {
            Some(signature) => (own, Some(signature)),
            None => (id, None),
        }
    }
}

fn marked(text: &str) -> Option<Signature> {
    let rest = text.strip_prefix(MARK)?;
    let letter = rest.chars().next()?;
    let data = rest.get(1..)?.strip_prefix(':')?;
    Some(Signature::new(Origin::of(letter)?, data))
}

fn read_rider(rider: &str) -> Option<Signature> {
    let letter = rider.chars().next()?;
    let origin = Origin::of(letter.to_ascii_lowercase())?;
    let bytes = URL_SAFE_NO_PAD.decode(rider.get(1..)?).ok()?;
    let data = if letter.is_ascii_uppercase() { STANDARD.encode(bytes) } else { String::from_utf8(bytes).ok()? };
    Some(Signature { origin, data })
}

/// Any of the spellings of base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Signature> {
        let mut all = Vec::new();
        for origin in Origin::ALL {
            for data in ["c2lnbmF0dXJlLg==", "not base64!", "ErUB+/8=", "rs_1:gAAAA_-x", ""] {
                all.push(Signature::new(origin, data));
            }
        }
        all
    }

    #[test]
    fn every_carrier_brings_back_what_it_was_given() {
        for signature in all() {
            let id = signature.ride("call_1");
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
            assert_eq!(Signature::alight(&id), ("call_1", Some(signature.clone())));
            for native in Origin::ALL {
                assert_eq!(Signature::unwrap(signature.wrap(native), native), signature);
            }
        }
    }

    #[test]
    fn geminis_place_takes_both_spellings_of_base64() {
        for signature in all().into_iter().filter(|s| s.origin != Origin::Gemini) {
            let sent = signature.wrap_bytes();
            assert_eq!(Signature::unwrap_bytes(&sent), signature);
            let returned = URL_SAFE.encode(STANDARD.decode(&sent).unwrap());
            assert_eq!(Signature::unwrap_bytes(&returned), signature);
        }
        assert_eq!(Signature::unwrap_bytes("-_8="), Signature::new(Origin::Gemini, "+/8="));
    }

    #[test]
    fn ids_without_a_rider_are_left_alone() {
        for id in ["call_1", "a-sig-", "a-sig-x", "a-sig-a!", ""] {
            assert_eq!(Signature::alight(id), (id, None));
        }
    }
}
