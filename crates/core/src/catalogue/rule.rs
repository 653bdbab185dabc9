//! Which names of a provider's models a catalogue entry stands for.

use super::pattern::Pattern;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A test of a model's name. Names are compared in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    Is(Box<str>),
    Starts(Box<str>),
    Ends(Box<str>),
    Has(Box<str>),
    Like(Pattern),
    Not(Box<Rule>),
    Any(Box<[Rule]>),
    All(Box<[Rule]>),
}

impl Rule {
    /// Whether the name, already in lower case, is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Rule::Is(own) => **own == *name,
            Rule::Starts(own) => name.starts_with(&**own),
            Rule::Ends(own) => name.ends_with(&**own),
            Rule::Has(own) => name.contains(&**own),
            Rule::Like(pattern) => pattern.matches(name),
            Rule::Not(rule) => !rule.matches(name),
            Rule::Any(rules) => rules.iter().any(|rule| rule.matches(name)),
            Rule::All(rules) => rules.iter().all(|rule| rule.matches(name)),
        }
    }

    /// The names that the rule spells out, and whether it may match others besides.
    pub(super) fn exact<'a>(&'a self, names: &mut Vec<&'a str>) -> bool {
        match self {
            Rule::Is(name) => {
                names.push(name);
                false
            }
            Rule::Any(rules) => rules.iter().fold(false, |open, rule| rule.exact(names) | open),
            _ => true,
        }
    }

    /// How many tests the rule is made of.
    pub(super) fn size(&self) -> usize {
        match self {
            Rule::Not(rule) => 1 + rule.size(),
            Rule::Any(rules) | Rule::All(rules) => 1 + rules.iter().map(Rule::size).sum::<usize>(),
            _ => 1,
        }
    }

    /// The same rule with every name in lower case.
    #[must_use]
    pub(super) fn folded(self) -> Rule {
        let fold =
            |text: Box<str>| if text.chars().any(char::is_uppercase) { text.to_lowercase().into() } else { text };
        let each = |rules: Box<[Rule]>| rules.into_iter().map(Rule::folded).collect();
        match self {
            Rule::Is(text) => Rule::Is(fold(text)),
            Rule::Starts(text) => Rule::Starts(fold(text)),
            Rule::Ends(text) => Rule::Ends(fold(text)),
            Rule::Has(text) => Rule::Has(fold(text)),
            Rule::Like(pattern) => Rule::Like(pattern),
            Rule::Not(rule) => Rule::Not(Box::new(rule.folded())),
            Rule::Any(rules) => Rule::Any(each(rules)),
            Rule::All(rules) => Rule::All(each(rules)),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::parse(&text).ok_or_else(|| serde::de::Error::custom("a pattern that is not understood"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str::<Rule>(json).expect("a rule").folded()
    }

    #[test]
    fn rules_combine() {
        let flash =
            rule(r#"{"all":[{"starts":"Gemini-3.8-flash"},{"not":{"any":[{"like":"-tts$"},{"has":"-tts-"}]}}]}"#);
        assert!(flash.matches("gemini-3.8-flash-preview") && flash.matches("gemini-3.8-flash"));
        assert!(!flash.matches("gemini-3.8-flash-tts") && !flash.matches("gemini-3.8-flash-tts-001"));
        assert!(rule(r#"{"ends":":free"}"#).matches("x:free"));
    }

    #[test]
    fn spelled_out_names_are_told_from_open_rules() {
        let mut names = Vec::new();
        let closed = rule(r#"{"any":[{"is":"A"},{"any":[{"is":"b"}]}]}"#);
        assert!(!closed.exact(&mut names));
        assert_eq!(names, ["a", "b"]);
        let open = rule(r#"{"any":[{"starts":"c"},{"is":"d"}]}"#);
        let mut names = Vec::new();
        assert!(open.exact(&mut names));
        assert_eq!(names, ["d"]);
    }
}
