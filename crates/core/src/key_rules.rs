//! What an organisation or a project asks of the keys that are made in it: fields that must be filled in, and upper bounds.

use crate::{Nanos, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A field of a key that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyField {
    /// A member or a service account that answers for it.
    OwnerId,
    Description,
    Environment,
    /// Where the secret is stored.
    Note,
    ExpiresAt,
    ReviewAt,
    RotationIntervalDays,
    SpendLimits,
}

impl KeyField {
    pub const ALL: [KeyField; 8] = [
        KeyField::OwnerId,
        KeyField::Description,
        KeyField::Environment,
        KeyField::Note,
        KeyField::ExpiresAt,
        KeyField::ReviewAt,
        KeyField::RotationIntervalDays,
        KeyField::SpendLimits,
    ];

    /// As the admin API names it.
    pub const fn name(self) -> &'static str {
        match self {
            KeyField::OwnerId => "owner_id",
            KeyField::Description => "description",
            KeyField::Environment => "environment",
            KeyField::Note => "note",
            KeyField::ExpiresAt => "expires_at",
            KeyField::ReviewAt => "review_at",
            KeyField::RotationIntervalDays => "rotation_interval_days",
            KeyField::SpendLimits => "spend_limits",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// The rules of an organisation or a project. Empty rules ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRules {
    /// Fields that every key has.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub required: BTreeSet<KeyField>,
    /// Tags that every key has.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub required_tags: BTreeSet<String>,
    /// A key ends within so many days of the moment at which its end is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_expiry_days: Option<u32>,
    /// A key is rotated at least so often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rotation_days: Option<u32>,
    /// A key may spend at most so much, in nano-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_spend: Option<i64>,
    /// Scopes that keys may have; `None` is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Scope>>,
    /// No key may be used in web pages.
    #[serde(skip_serializing_if = "is_false")]
    pub no_browser: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What the rules look at in a key.
#[derive(Clone, Debug)]
pub struct KeyFacts<'a> {
    pub has_owner: bool,
    pub description: &'a str,
    pub environment: Option<&'a str>,
    pub note: &'a str,
    pub tags: Vec<&'a str>,
    pub expires_at: Option<i64>,
    pub review_at: Option<i64>,
    pub rotation_interval_ms: Option<i64>,
    /// In all.
    pub spend_limit: Option<Nanos>,
    /// Whether days, weeks or months are limited.
    pub spends_by_calendar: bool,
    pub scopes: crate::Scopes,
    pub browser_allowed: bool,
}

/// A rule that a key breaks: the field as the admin API names it, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// `organisation` or `project`.
    pub whose: &'static str,
    pub field: &'static str,
    pub message: String,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl KeyRules {
    pub fn is_empty(&self) -> bool {
        *self == KeyRules::default()
    }

    /// Everything in which a key breaks the rules of `whose` at `now_ms`.
    fn breaches(&self, whose: &'static str, key: &KeyFacts<'_>, now_ms: i64) -> Vec<Breach> {
        let mut found = Vec::new();
        let mut add = |field, what: String| {
            found.push(Breach { whose, field, message: format!("{what} by the {whose}'s rules for keys") });
        };
        for field in self.required.iter().filter(|field| !key.has(**field)) {
            add(field.name(), "is required".to_owned());
        }
        for tag in self.required_tags.iter().filter(|tag| !key.tags.contains(&tag.as_str())) {
            add("tags", format!("must hold the tag `{tag}`"));
        }
        if let Some(days) = self.max_expiry_days {
            let latest = now_ms.saturating_add(i64::from(days) * DAY_MS);
            // An end that is asked for in days is reckoned a moment before it is checked.
            if key.expires_at.is_none_or(|at| at > latest) {
                add("expires_at", format!("is at most {days} days away"));
            }
        }
        if let Some(days) = self.max_rotation_days
            && key.rotation_interval_ms.is_none_or(|ms| ms > i64::from(days) * DAY_MS)
        {
            add("rotation_interval_days", format!("is at most {days}"));
        }
        if let Some(most) = self.max_spend
            && key.spend_limit.is_none_or(|limit| limit.0 > most)
        {
            let most = Nanos(most);
            add("spend_limits", format!("bounds the key to at most {most} dollars"));
        }
        if let Some(scopes) = &self.scopes
            && let Some(beyond) = key.scopes.iter().find(|scope| !scopes.contains(scope))
        {
            add("scopes", format!("cannot hold `{}`", beyond.name()));
        }
        if self.no_browser && key.browser_allowed {
            add("browser_allowed", "cannot be true".to_owned());
        }
        found
    }
}

/// The rules above a key: those of its organisation and those of its project. Both hold, so that neither widens the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesAbove {
    pub organisation: KeyRules,
    pub project: KeyRules,
}

impl RulesAbove {
    /// Everything in which a key breaks them at `now_ms`, each with whose rule it is.
    pub fn breaches(&self, key: &KeyFacts<'_>, now_ms: i64) -> Vec<Breach> {
        let mut found = self.organisation.breaches("organisation", key, now_ms);
        found.extend(self.project.breaches("project", key, now_ms));
        found
    }

    /// Whose rule it is that no key is used in web pages, if there is such a rule.
    pub const fn no_browser(&self) -> Option<&'static str> {
        match (self.organisation.no_browser, self.project.no_browser) {
            (true, _) => Some("organisation"),
            (false, true) => Some("project"),
            (false, false) => None,
        }
    }
}

impl KeyFacts<'_> {
    fn has(&self, field: KeyField) -> bool {
        match field {
            KeyField::OwnerId => self.has_owner,
            KeyField::Description => !self.description.is_empty(),
            KeyField::Environment => self.environment.is_some_and(|text| !text.is_empty()),
            KeyField::Note => !self.note.is_empty(),
            KeyField::ExpiresAt => self.expires_at.is_some(),
            KeyField::ReviewAt => self.review_at.is_some(),
            KeyField::RotationIntervalDays => self.rotation_interval_ms.is_some(),
            KeyField::SpendLimits => self.spend_limit.is_some() || self.spends_by_calendar,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scopes;

    fn bare() -> KeyFacts<'static> {
        KeyFacts {
            has_owner: false,
            description: "",
            environment: None,
            note: "",
            tags: Vec::new(),
            expires_at: None,
            review_at: None,
            rotation_interval_ms: None,
            spend_limit: None,
            spends_by_calendar: false,
            scopes: Scopes::DEFAULT,
            browser_allowed: true,
        }
    }

    fn strict() -> KeyRules {
        KeyRules {
            required: KeyField::ALL.into(),
            required_tags: ["team".to_owned()].into(),
            max_expiry_days: Some(90),
            max_rotation_days: Some(30),
            max_spend: Some(Nanos::dollars(5).0),
            scopes: Some([Scope::ModelsRead, Scope::CompletionsWrite, Scope::EmbeddingsWrite].into()),
            no_browser: true,
        }
    }

    #[test]
    fn empty_rules_ask_for_nothing_and_strict_ones_for_everything_at_once() {
        assert_eq!(RulesAbove::default().breaches(&bare(), 0), []);
        let fields: BTreeSet<_> =
            strict().breaches("organisation", &bare(), 0).into_iter().map(|breach| breach.field).collect();
        let all = KeyField::ALL.iter().map(|field| field.name()).chain(["tags", "scopes", "browser_allowed"]);
        assert_eq!(fields, all.collect());
    }

    #[test]
    fn bounds_hold_at_their_edge_and_not_beyond() {
        let good = KeyFacts {
            has_owner: true,
            description: "d",
            environment: Some("prod"),
            note: "vault",
            tags: vec!["team"],
            expires_at: Some(1_000 + 90 * DAY_MS),
            review_at: Some(5),
            rotation_interval_ms: Some(30 * DAY_MS),
            spend_limit: Some(Nanos::dollars(5)),
            spends_by_calendar: false,
            scopes: Scopes::NONE.with(Scope::ModelsRead),
            browser_allowed: false,
        };
        assert_eq!(strict().breaches("organisation", &good, 1_000), []);
        let beyond = KeyFacts {
            expires_at: Some(1_001 + 90 * DAY_MS),
            rotation_interval_ms: Some(31 * DAY_MS),
            spend_limit: Some(Nanos(Nanos::dollars(5).0 + 1)),
            ..good
        };
        let fields: Vec<_> =
            strict().breaches("organisation", &beyond, 1_000).into_iter().map(|breach| breach.field).collect();
        assert_eq!(fields, ["expires_at", "rotation_interval_days", "spend_limits"]);
    }

    #[test]
    fn both_hold_and_each_breach_says_whose_rule_it_is() {
        let of = |days| KeyRules { max_expiry_days: Some(days), ..KeyRules::default() };
        let key = KeyFacts { expires_at: Some(60 * DAY_MS), ..bare() };
        let said = |organisation, project| {
            let above = RulesAbove { organisation: of(organisation), project: of(project) };
            above.breaches(&key, 0).into_iter().map(|breach| breach.message).collect::<Vec<_>>()
        };
        let by = |days, whose| format!("is at most {days} days away by the {whose}'s rules for keys");
        assert_eq!(said(90, 60), [""; 0]);
        assert_eq!(said(90, 30), [by(30, "project")]);
        assert_eq!(said(30, 90), [by(30, "organisation")], "a project cannot widen what is set above it");
        assert_eq!(said(30, 7), [by(30, "organisation"), by(7, "project")]);
        let browsers = |organisation, project| {
            let of = |no_browser| KeyRules { no_browser, ..KeyRules::default() };
            RulesAbove { organisation: of(organisation), project: of(project) }.no_browser()
        };
        assert_eq!(
            [browsers(false, false), browsers(false, true), browsers(true, true)],
            [None, Some("project"), Some("organisation")]
        );
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        let text = serde_json::to_string(&strict()).unwrap();
        assert_eq!(serde_json::from_str::<KeyRules>(&text).unwrap(), strict());
        assert_eq!(serde_json::to_string(&KeyRules::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<KeyRules>(r#"{"max_days":1}"#).is_err());
    }
}
