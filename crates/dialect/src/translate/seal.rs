//! Signatures of thinking, on their way through a client that has never heard of them. A provider wants its own back on
//! the next turn, to the byte; so each travels where the client's dialect has a place for such a thing, marked with whose
//! it is, or else inside the id of the tool call that follows it, which every client returns.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Who can read a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Anthropic,
    /// All of a thinking that Anthropic shows to nobody, rather than the proof of one that is shown.
    Redacted,
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
/// In the place of an origin's letter: there are several.
const MANY: char = 'm';

impl Origin {
    const ALL: [Origin; 4] = [Origin::Anthropic, Origin::Redacted, Origin::OpenAi, Origin::Gemini];

    const fn letter(self) -> char {
        match self {
            Origin::Anthropic => 'a',
            Origin::Redacted => 'r',
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

    /// Whether it goes back to Anthropic.
    pub fn is_anthropics(&self) -> bool {
        matches!(self.origin, Origin::Anthropic | Origin::Redacted)
    }

    /// For a place that belongs to `native`'s dialect and takes any text.
    pub fn wrap(&self, native: Origin) -> String {
        if self.origin == native { self.data.clone() } else { self.marked() }
    }

    fn marked(&self) -> String {
        format!("{MARK}{}:{}", self.origin.letter(), self.data)
    }

    /// What stands in such a place.
    pub fn unwrap(text: String, native: Origin) -> Self {
        match read_marked(&text) {
            Some((letter, data)) if Origin::of(letter).is_some() => {
                Signature::new(Origin::of(letter).unwrap_or(native), data)
            }
            _ => Signature { origin: native, data: text },
        }
    }
}

/// For Gemini's place, which takes one text of base64; nothing for none.
pub fn wrap_bytes(signatures: &[Signature]) -> Option<String> {
    Some(match signatures {
        [] => return None,
        [Signature { origin: Origin::Gemini, data }] => data.clone(),
        [one] => STANDARD.encode(one.marked()),
        many => STANDARD.encode(format!("{MARK}{MANY}:{}", URL_SAFE_NO_PAD.encode(pack(many)))),
    })
}

/// What stands in Gemini's place. Its SDKs return another base64 than they were sent.
pub fn unwrap_bytes(text: &str) -> Vec<Signature> {
    let Some(bytes) = decode(text) else { return vec![Signature::new(Origin::Gemini, text)] };
    let ours = std::str::from_utf8(&bytes).ok().and_then(read_marked).and_then(|(letter, data)| match letter {
        MANY => unpack(&URL_SAFE_NO_PAD.decode(data).ok()?),
        letter => Some(vec![Signature::new(Origin::of(letter)?, data)]),
    });
    ours.unwrap_or_else(|| vec![Signature::new(Origin::Gemini, STANDARD.encode(bytes))])
}

/// The id of a tool call with these signatures in it, in the characters that every dialect takes.
pub fn ride(id: &str, signatures: &[Signature]) -> String {
    let (letter, payload) = match signatures {
        [] => return id.to_owned(),
        // Mostly base64 already, which would grow by a third.
        [one] => match STANDARD.decode(&one.data).ok().filter(|bytes| STANDARD.encode(bytes) == one.data) {
            Some(bytes) => (one.origin.letter().to_ascii_uppercase(), URL_SAFE_NO_PAD.encode(bytes)),
            None => (one.origin.letter(), URL_SAFE_NO_PAD.encode(&one.data)),
        },
        many => (MANY, URL_SAFE_NO_PAD.encode(pack(many))),
    };
    format!("{id}{JOINT}{letter}{payload}")
}

/// Takes the two apart again.
pub fn alight(id: &str) -> (&str, Vec<Signature>) {
    let Some((own, rider)) = id.split_once(JOINT) else { return (id, Vec::new()) };
    match read_rider(rider) {
        Some(signatures) => (own, signatures),
        None => (id, Vec::new()),
    }
}

fn read_marked(text: &str) -> Option<(char, &str)> {
    let rest = text.strip_prefix(MARK)?;
    let letter = rest.chars().next()?;
    Some((letter, rest.get(1..)?.strip_prefix(':')?))
}

fn read_rider(rider: &str) -> Option<Vec<Signature>> {
    let letter = rider.chars().next()?;
    let bytes = URL_SAFE_NO_PAD.decode(rider.get(1..)?).ok()?;
    if letter == MANY {
        return unpack(&bytes);
    }
    let origin = Origin::of(letter.to_ascii_lowercase())?;
    let data = if letter.is_ascii_uppercase() { STANDARD.encode(bytes) } else { String::from_utf8(bytes).ok()? };
    Some(vec![Signature { origin, data }])
}

/// Each with its letter and its length before it.
fn pack(signatures: &[Signature]) -> Vec<u8> {
    let mut out = Vec::new();
    for Signature { origin, data } in signatures {
        out.push(origin.letter() as u8);
        // No answer is as long as four GiB.
        out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(data.as_bytes());
    }
    out
}

fn unpack(mut bytes: &[u8]) -> Option<Vec<Signature>> {
    let mut out = Vec::new();
    while let Some((letter, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        out.push(Signature::new(Origin::of(char::from(*letter))?, std::str::from_utf8(data).ok()?));
        bytes = rest;
    }
    (!out.is_empty()).then_some(out)
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
            let id = ride("call_1", std::slice::from_ref(&signature));
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
            assert_eq!(alight(&id), ("call_1", vec![signature.clone()]));
            for native in Origin::ALL {
                assert_eq!(Signature::unwrap(signature.wrap(native), native), signature);
            }
        }
    }

    #[test]
    fn several_travel_together_and_in_order() {
        let id = ride("call_1", &all());
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
        assert_eq!(alight(&id), ("call_1", all()));
        assert_eq!(unwrap_bytes(&wrap_bytes(&all()).unwrap()), all());
        assert_eq!((alight(&ride("call_1", &[])), wrap_bytes(&[])), (("call_1", Vec::new()), None));
    }

    #[test]
    fn geminis_place_takes_both_spellings_of_base64() {
        for signature in all().into_iter().filter(|s| s.origin != Origin::Gemini) {
            let sent = wrap_bytes(std::slice::from_ref(&signature)).unwrap();
            assert_eq!(unwrap_bytes(&sent), std::slice::from_ref(&signature));
            let returned = URL_SAFE.encode(STANDARD.decode(&sent).unwrap());
            assert_eq!(unwrap_bytes(&returned), [signature]);
        }
        assert_eq!(unwrap_bytes("-_8="), [Signature::new(Origin::Gemini, "+/8=")]);
    }

    #[test]
    fn ids_without_a_rider_are_left_alone() {
        for id in ["call_1", "a-sig-", "a-sig-x", "a-sig-a!", "a-sig-m", "a-sig-mYQ", "a-sig-mYQAAAAl4", ""] {
            assert_eq!(alight(id), (id, Vec::new()));
        }
    }
}
