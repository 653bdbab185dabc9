//! Patterns for the names of models, in which `*` stands for any text. They are matched without regard to the case of
//! ASCII letters, since some providers take a model's name in any.

use crate::model::PRACTICE;
use crate::refusal::echo;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// As long as a model's name with its provider may be.
const GLOB_LIMIT: usize = 300;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGlob {
    #[error("a pattern for models is a name such as `openai/gpt-4o-mini`, `openai/*` or `gpt-*`, and it is empty")]
    Empty,
    #[error("the pattern `{0}` is longer than {GLOB_LIMIT} bytes")]
    TooLong(String),
    #[error("the pattern `{0}` holds a blank, a control character or one of ? [ ] {{ }} \\; the only wildcard is *")]
    Character(String),
    #[error(
        "the pattern `{0}` lacks the provider or the model: write `provider/model`, `provider/*`, or a model alone"
    )]
    HalfEmpty(String),
}

fn check(text: &str) -> Result<(), BadGlob> {
    if text.is_empty() {
        Err(BadGlob::Empty)
    } else if text.len() > GLOB_LIMIT {
        Err(BadGlob::TooLong(echo(text)))
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace() || "?{}[]\\".contains(c)) {
        Err(BadGlob::Character(echo(text)))
    } else {
        Ok(())
    }
}

/// A pattern for a model as it is served: `provider/model`. Without a slash it matches the model at any provider, also
/// where a provider resells it under a prefix (`gpt-*` matches `openrouter/openai/gpt-4o`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelGlob {
    text: Box<str>,
    /// In lower case and always with a provider: `gpt-*` is `*/gpt-*`.
    full: Box<str>,
}

impl ModelGlob {
    pub fn parse(text: &str) -> Result<Self, BadGlob> {
        check(text)?;
        let lower = text.to_ascii_lowercase();
        let full = match lower.split_once('/') {
            Some(("", _) | (_, "")) => return Err(BadGlob::HalfEmpty(echo(text))),
            Some(_) => lower,
            None => format!("*/{lower}"),
        };
        Ok(ModelGlob { text: text.into(), full: full.into() })
    }

    /// Whether the pattern covers a model.
    pub fn matches(&self, provider: &str, model: &str) -> bool {
        wild(self.full.as_bytes(), &Target { provider, model: plain(model) })
    }

    /// Whether an allow list with this pattern lets a model through. A wildcard never stands for the practice provider:
    /// a key for production has to name it.
    pub fn allows(&self, provider: &str, model: &str) -> bool {
        (provider != PRACTICE || self.names_practice()) && self.matches(provider, model)
    }

    fn names_practice(&self) -> bool {
        self.full.strip_prefix(PRACTICE).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether everything that `narrower` matches is matched.
    pub(crate) fn covers(&self, narrower: &ModelGlob) -> bool {
        includes(&self.full, &narrower.full)
    }

    /// The same of what both let through as entries of allow lists.
    pub(crate) fn covers_allowed(&self, narrower: &ModelGlob) -> bool {
        self.covers(narrower) && (self.names_practice() || !narrower.names_practice())
    }

    /// Whether some name could match both.
    pub(crate) fn meets(&self, other: &ModelGlob) -> bool {
        overlaps(self.full.as_bytes(), other.full.as_bytes())
    }
}

/// Some providers take Gemini's names with their collection before them.
fn plain(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

/// A pattern for a name as callers write it: a model, an alias, a routing group.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameGlob {
    text: Box<str>,
    lower: Box<str>,
}

impl NameGlob {
    pub fn parse(text: &str) -> Result<Self, BadGlob> {
        check(text)?;
        Ok(NameGlob { text: text.into(), lower: text.to_ascii_lowercase().into() })
    }

    pub fn matches(&self, name: &str) -> bool {
        wild(self.lower.as_bytes(), name)
    }

    pub(super) fn covers(&self, narrower: &NameGlob) -> bool {
        includes(&self.lower, &narrower.lower)
    }
}

macro_rules! as_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.text, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $type::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl std::str::FromStr for $type {
            type Err = BadGlob;

            fn from_str(text: &str) -> Result<Self, BadGlob> {
                $type::parse(text)
            }
        }
    };
}
as_text!(ModelGlob);
as_text!(NameGlob);

/// What is matched: bytes by place, so that `provider/model` need not be put together first.
trait Subject {
    fn at(&self, place: usize) -> Option<u8>;
}

impl Subject for str {
    fn at(&self, place: usize) -> Option<u8> {
        self.as_bytes().get(place).copied()
    }
}

struct Target<'a> {
    provider: &'a str,
    model: &'a str,
}

impl Subject for Target<'_> {
    fn at(&self, place: usize) -> Option<u8> {
        match place.checked_sub(self.provider.len()) {
            None => self.provider.at(place),
            Some(0) => Some(b'/'),
            Some(n) => self.model.at(n - 1),
        }
    }
}

/// Matches the whole subject. On a mismatch only the last `*` takes one byte more, so the work is bounded by the product
/// of the lengths.
fn wild<S: Subject + ?Sized>(pattern: &[u8], subject: &S) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = subject.at(s) {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, s));
                p += 1;
                continue;
            }
            Some(wanted) if *wanted == byte.to_ascii_lowercase() => {
                p += 1;
                s += 1;
                continue;
            }
            _ => {}
        }
        let Some((after_star, taken)) = retry else { return false };
        (p, s) = (after_star, taken + 1);
        retry = Some((after_star, s));
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// Whether `outer` matches everything that `inner` does. The `*` of `inner` is read as a letter that no pattern writes:
/// only a `*` of `outer` can take it, and one that takes it takes whatever it stands for.
fn includes(outer: &str, inner: &str) -> bool {
    wild(outer.as_bytes(), inner)
}

/// Whether some text matches both patterns.
fn overlaps(a: &[u8], b: &[u8]) -> bool {
    // reach[j]: whether the part of `a` read so far and the first j bytes of `b` have a text in common.
    let mut reach = vec![false; b.len() + 1];
    reach[0] = true;
    for j in 1..=b.len() {
        reach[j] = reach[j - 1] && b[j - 1] == b'*';
    }
    for x in a {
        let mut diagonal = reach[0];
        reach[0] = diagonal && *x == b'*';
        for j in 1..=b.len() {
            let y = b[j - 1];
            let above = reach[j];
            reach[j] = if *x == b'*' || y == b'*' { above || reach[j - 1] } else { diagonal && *x == y };
            diagonal = above;
        }
    }
    reach[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> ModelGlob {
        ModelGlob::parse(text).unwrap()
    }

    #[test]
    fn a_pattern_covers_models_at_the_providers_it_says() {
        for (pattern, provider, model, expected) in [
            ("openai/*", "openai", "gpt-4o", true),
            ("openai/*", "openai2", "gpt-4o", false),
            ("a/*", "ab", "x", false),
            ("openai/*", "openrouter", "openai/gpt-4o", false),
            ("*/openai/*", "openrouter", "openai/gpt-4o", true),
            ("gpt-4o", "openai", "gpt-4o", true),
            ("gpt-4o", "openai", "gpt-4o-mini", false),
            ("gpt-4o*", "azure", "gpt-4o-mini", true),
            ("gpt-4o", "openrouter", "openai/gpt-4o", true),
            ("GPT-4o", "openai", "gpt-4O", true),
            ("gemini-2.5-pro", "gemini", "models/gemini-2.5-pro", true),
            ("*-mini", "openai", "gpt-4o-mini", true),
            ("*", "openai", "gpt-4o", true),
            ("openai/gpt-*-mini", "openai", "gpt-4o-mini-mini", true),
            ("openai/gpt-*-mini", "openai", "gpt-mini", false),
        ] {
            assert_eq!(glob(pattern).matches(provider, model), expected, "{pattern} {provider}/{model}");
        }
    }

    #[test]
    fn only_a_pattern_that_names_the_practice_provider_allows_it() {
        for (pattern, allowed) in [("*", false), ("*/*", false), ("echo", false), ("sim/*", true), ("SIM/echo", true)] {
            assert_eq!(glob(pattern).allows("sim", "echo"), allowed, "{pattern}");
            assert!(glob(pattern).matches("sim", "echo"), "{pattern}");
        }
        assert!(!glob("simple/*").allows("sim", "echo"));
    }

    #[test]
    fn what_is_no_pattern_is_told_so() {
        for (text, says) in [
            ("", "empty"),
            ("openai/", "lacks the provider or the model"),
            ("/gpt", "lacks the provider or the model"),
            ("gpt 4", "holds a blank"),
            ("gpt-?", "the only wildcard is *"),
            ("gpt-[45]", "the only wildcard is *"),
            (&"a".repeat(301), "longer than"),
        ] {
            let error = ModelGlob::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn inclusion_and_overlap() {
        for (outer, inner) in
            [("*", "openai/gpt-4o"), ("openai/*", "openai/gpt-*"), ("gpt-*", "openai/gpt-4*"), ("*/*", "*")]
        {
            assert!(glob(outer).covers(&glob(inner)), "{outer} {inner}");
        }
        for (outer, inner) in [("openai/gpt-*", "openai/*"), ("openai/*", "gpt-4o"), ("gpt-4o", "*"), ("a*b", "a*c*")] {
            assert!(!glob(outer).covers(&glob(inner)), "{outer} {inner}");
        }
        assert!(glob("*").covers(&glob("sim/echo")) && !glob("*").covers_allowed(&glob("sim/echo")));
        assert!(glob("sim/*").covers_allowed(&glob("sim/echo")));
        assert!(glob("openai/*").meets(&glob("gpt-4o")));
        assert!(!glob("openai/*").meets(&glob("anthropic/*")));
    }

    /// The obvious, slow way.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => slowly(rest, text) || (!text.is_empty() && slowly(pattern, &text[1..])),
            ([p, rest @ ..], [t, tail @ ..]) => p == t && slowly(rest, tail),
            _ => false,
        }
    }

    /// All texts of up to five letters of an alphabet that patterns of `a`, `b`, `/` do not use up.
    fn texts() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..5 {
            last = last.iter().flat_map(|t| ["a", "b", "/", "c"].map(|c| format!("{t}{c}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    proptest! {
        #[test]
        fn matching_is_what_the_obvious_way_says(pattern in "[ab*/]{0,8}", text in "[ab/]{0,8}") {
            prop_assert_eq!(wild(pattern.as_bytes(), text.as_str()), slowly(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn inclusion_is_never_claimed_in_vain(outer in "[ab*/]{0,4}", inner in "[ab*/]{0,4}") {
            let escapes = texts().into_iter().find(|t| wild(inner.as_bytes(), t.as_str()) && !wild(outer.as_bytes(), t.as_str()));
            prop_assert_eq!(includes(&outer, &inner), escapes.is_none(), "{:?}", escapes);
        }

        #[test]
        fn overlap_is_a_text_that_matches_both(a in "[ab*/]{0,4}", b in "[ab*/]{0,4}") {
            // Patterns of four bytes each that overlap do so in some text of eight; five are enough where stars are few.
            let both = texts().into_iter().any(|t| wild(a.as_bytes(), t.as_str()) && wild(b.as_bytes(), t.as_str()));
            if both {
                prop_assert!(overlaps(a.as_bytes(), b.as_bytes()));
            } else if a.bytes().chain(b.bytes()).filter(|c| *c != b'*').count() <= 5 {
                prop_assert!(!overlaps(a.as_bytes(), b.as_bytes()));
            }
        }

        #[test]
        fn a_target_reads_like_its_text(provider in "[a-z]{1,6}", model in "[a-z/]{0,8}", pattern in "[a-z*/]{0,10}") {
            let text = format!("{provider}/{model}");
            let target = Target { provider: &provider, model: &model };
            prop_assert_eq!(wild(pattern.as_bytes(), &target), wild(pattern.as_bytes(), text.as_str()));
        }
    }
}
