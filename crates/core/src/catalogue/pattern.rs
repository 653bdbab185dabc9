//! The few regular expressions that price lists use to name dated snapshots of a model, matched in linear time.

/// `^`, `$`, literals, `\d`, `[set]` and `{n}`; everything else is refused, so a pattern cannot be made to backtrack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    from_start: bool,
    to_end: bool,
    atoms: Box<[Atom]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Atom {
    Char(char),
    Digit,
    Set(Box<str>),
}

/// Longer than any name of a model that a pattern needs to describe.
const MAX_ATOMS: usize = 256;

impl Pattern {
    /// Reads a pattern; `None` where it uses more than this module knows.
    pub fn parse(text: &str) -> Option<Pattern> {
        let body = text.strip_prefix('^').unwrap_or(text);
        let inner = body.strip_suffix('$').filter(|inner| !inner.ends_with('\\')).unwrap_or(body);
        Some(Pattern {
            from_start: body.len() < text.len(),
            to_end: inner.len() < body.len(),
            atoms: parse_atoms(inner)?.into(),
            text: text.into(),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the subject, already in lower case, matches.
    pub fn matches(&self, subject: &str) -> bool {
        let starts = subject.char_indices().map(|(at, _)| at).chain([subject.len()]);
        let starts = starts.take(if self.from_start { 1 } else { usize::MAX });
        starts.into_iter().any(|at| self.matches_at(&subject[at..]))
    }

    fn matches_at(&self, subject: &str) -> bool {
        let mut chars = subject.chars();
        let all = self.atoms.iter().all(|atom| chars.next().is_some_and(|c| atom.matches(c)));
        all && (!self.to_end || chars.next().is_none())
    }
}

impl Atom {
    fn matches(&self, c: char) -> bool {
        match self {
            Atom::Char(own) => *own == c,
            Atom::Digit => c.is_ascii_digit(),
            Atom::Set(set) => set.contains(c),
        }
    }
}

fn parse_atoms(text: &str) -> Option<Vec<Atom>> {
    let mut atoms: Vec<Atom> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => {
                let escaped = after.chars().next()?;
                atoms.push(match escaped {
                    'd' => Atom::Digit,
                    c if c.is_ascii_punctuation() => Atom::Char(c),
                    _ => return None,
                });
                &after[escaped.len_utf8()..]
            }
            '[' => {
                let (set, after) = after.split_once(']')?;
                atoms.push(Atom::Set(parse_set(set)?));
                after
            }
            '{' => {
                let (count, after) = after.split_once('}')?;
                let (count, last) = (count.parse::<usize>().ok()?, atoms.last()?.clone());
                if !(1..=MAX_ATOMS).contains(&count) {
                    return None;
                }
                atoms.extend(std::iter::repeat_n(last, count - 1));
                after
            }
            '.' | '*' | '+' | '?' | '(' | ')' | '|' | ']' | '}' | '^' | '$' => return None,
            c => {
                atoms.extend(c.to_lowercase().map(Atom::Char));
                after
            }
        };
        if atoms.len() > MAX_ATOMS {
            return None;
        }
    }
    Some(atoms)
}

/// The members of a set: single characters only, a `-` only at an end.
fn parse_set(set: &str) -> Option<Box<str>> {
    let inner = set.strip_prefix('-').unwrap_or(set);
    let inner = inner.strip_suffix('-').unwrap_or(inner);
    let plain = !set.is_empty() && !inner.contains(['-', '\\', '^', '[']);
    plain.then(|| set.to_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is(pattern: &str, subject: &str) -> bool {
        Pattern::parse(pattern).is_some_and(|p| p.matches(subject))
    }

    #[test]
    fn dated_snapshots() {
        assert!(is(r"^claude-opus-5[-@]\d{8}$", "claude-opus-5@20260401"));
        assert!(is(r"^claude-opus-5[-@]\d{8}$", "claude-opus-5-20260401"));
        assert!(!is(r"^claude-opus-5[-@]\d{8}$", "claude-opus-5-2026040"));
        assert!(!is(r"^claude-opus-5[-@]\d{8}$", "claude-opus-5-202604011"));
        assert!(!is(r"^claude-opus-5[-@]\d{8}$", "x-claude-opus-5-20260401"));
        assert!(is(r"^gpt-5\.4-\d{4}-\d{2}-\d{2}$", "gpt-5.4-2026-03-05"));
        assert!(!is(r"^gpt-5\.4-\d{4}-\d{2}-\d{2}$", "gpt-5x4-2026-03-05"));
        assert!(is(r"^gemini-4-argon-\d", "gemini-4-argon-001-exp"));
        assert!(is(r"^grok-4\.5\[fast=true\]$", "grok-4.5[fast=true]"));
        assert!(is("-tts-", "gemini-tts-x") && is("-tts$", "gemini-tts") && !is("-tts$", "gemini-ttsx"));
        assert!(is("", "anything") && is("^$", "") && !is("^$", "x"));
    }

    #[test]
    fn refuses_what_could_backtrack_or_mean_something_else() {
        for text in [
            "(a+)+$", "a*", "a|b", "(?!x)", r"\w", r"\x41", "a{2,}", "a{9999}", "{3}", "[a-z]", "[^a]", "[a", "a)",
            "a.b", r"\", "a{0}", "[]",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
        assert_eq!(Pattern::parse(&"a{200}".repeat(3)), None);
    }

    proptest! {
        #[test]
        fn noise_never_panics(pattern in r"\PC{0,30}", subject in r"\PC{0,30}") {
            let _ = is(&pattern, &subject);
        }

        #[test]
        fn an_escaped_text_matches_itself_only(text in "[a-z0-9.-]{1,20}", other in "[a-z0-9.-]{1,20}") {
            let pattern = format!("^{}$", text.replace('.', r"\."));
            prop_assert!(is(&pattern, &text));
            prop_assert_eq!(is(&pattern, &other), text == other);
        }
    }
}
