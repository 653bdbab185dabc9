//! What an entry tells of an object: facts taken from what is shown of it, never from a request, and never a secret.

use super::{Object, ObjectKind};
use crate::key_types::{KeyRow, SecretRow};
use crate::provider_types::{Alias, NewProvider};
use crate::providers::ProviderRecord;
use anykey_core::controls::Controls;
use anykey_core::token::{TAIL_LEN, masked, read};
use anykey_core::{KeyKind, Scope};
use serde_json::{Map, Value};

/// Longer texts are cut: who writes a novel into a note need not have it twice.
const LONGEST_TEXT: usize = 2_000;

/// Something that changes of it are recorded of.
pub(crate) trait Audited {
    fn object(&self) -> Object;
    /// What is worth telling. Implementations take the value apart by name, so that a new field must be decided on.
    fn facts(&self) -> Facts;
}

/// Facts by their names. A value comes in by what JSON can hold; a secret's type is not among it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(Map<String, Value>);

impl Facts {
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// These and others.
    pub fn and(mut self, others: Facts) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Without what is empty: of an object that is new or gone, what it has not needs no telling.
    pub fn known(mut self) -> Self {
        self.0.retain(|_, value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        });
        self
    }

    /// The text that is stored, and hashed as it stands.
    pub(super) fn into_json(self, brand: &str) -> String {
        let mut value = Value::Object(self.0);
        clean(&mut value, brand);
        value.to_string()
    }

    /// What [`Facts::stored`] wrote.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Facts)
    }

    /// As text that can be compared later.
    pub(crate) fn stored(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".into())
    }
}

/// What differs, as it was and as it is.
pub(super) fn changed(mut before: Facts, mut after: Facts) -> (Facts, Facts) {
    let same: Vec<String> = before
        .0
        .iter()
        .filter(|(name, value)| after.0.get(*name) == Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in same {
        before.0.remove(&name);
        after.0.remove(&name);
    }
    (before, after)
}

fn clean(value: &mut Value, brand: &str) {
    match value {
        Value::String(text) => *text = inert(text, brand),
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, brand)),
        Value::Object(map) => map.values_mut().for_each(|value| clean(value, brand)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text without the secrets that people paste into names and notes: a whole key of this installation is masked.
pub(crate) fn inert(text: &str, brand: &str) -> String {
    // NUL would be stored as something else than was hashed.
    let mut text: String = text.chars().take(LONGEST_TEXT).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
    let mut from = 0;
    while let Some(at) = text[from..].find(brand).map(|at| at + from) {
        match token_at(&text[at..], brand) {
            Some((len, mask)) => {
                text.replace_range(at..at + len, &mask);
                from = at + mask.len();
            }
            None => from = at + brand.len(),
        }
    }
    text
}

/// The length of the token that a text begins with, and its masked form.
fn token_at(text: &str, brand: &str) -> Option<(usize, String)> {
    KeyKind::ALL.into_iter().find_map(|kind| {
        let len = brand.len() + kind.name().len() + TAIL_LEN + 2;
        let form = read(text.get(..len)?, brand)?;
        Some((len, masked(brand, form.kind, form.public_id)))
    })
}

impl Audited for KeyRow {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Key, self.id, &self.name).within(Some(self.organisation_id))
    }

    fn facts(&self) -> Facts {
        decided(self);
        whose(self).and(terms(self))
    }
}

/// Every field by name, so that a new one must be decided on: it is in [`whose`], in [`terms`], or here with the reason why
/// it is not told.
const fn decided(key: &KeyRow) {
    let KeyRow {
        kind: _,
        name: _,
        description: _,
        tags: _,
        owner: _,
        owner_id: _,
        owner_label: _,
        creator: _,
        organisation: _,
        project: _,
        controls: _,
        environment: _,
        scopes: _,
        disabled: _,
        deleted_at: _,
        expires_at: _,
        browser_allowed: _,
        spend_limit: _,
        note: _,
        rotation_interval_ms: _,
        review_at: _,
        exposed_at: _,
        rotation_asked_at: _,
        parent_id: _,
        request_limit: _,
        secrets: _,
        // The entry's object and its organisation.
        id: _,
        organisation_id: _,
        project_id: _,
        // Made of what is told.
        status: _,
        masked: _,
        rotate_at: _,
        // What is above the key tells of it itself.
        closed_by: _,
        // The entry says who acted and when.
        disabled_by: _,
        version: _,
        created_at: _,
        updated_at: _,
        // Calls move them, not people.
        spent: _,
        last_used_at: _,
    } = key;
}

/// What a key is called and whom it belongs to.
fn whose(key: &KeyRow) -> Facts {
    let tags: Map<String, Value> = key.tags.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    Facts::default()
        .with("kind", key.kind.name())
        .with("name", key.name.as_str())
        .with("description", key.description.as_str())
        .with("tags", tags)
        .with("owner", key.owner.clone())
        .with("creator", key.creator.clone())
        .with("owner_id", key.owner_id.map(|id| id.to_string()))
        .with("owner_label", key.owner_label.clone())
        .with("organisation", key.organisation.as_str())
        .with("project", key.project.as_str())
        .with("environment", key.environment.clone())
        .with("note", key.note.as_str())
        .with("parent_id", key.parent_id.map(|id| id.to_string()))
}

/// What it may do, how long, and by which secrets.
fn terms(key: &KeyRow) -> Facts {
    Facts::default()
        .with("controls", policy(&key.controls))
        .with("scopes", key.scopes.iter().map(Scope::name).collect::<Vec<_>>())
        .with("disabled", key.disabled)
        .with("deleted_at", key.deleted_at)
        .with("expires_at", key.expires_at)
        .with("browser_allowed", key.browser_allowed)
        .with("spend_limit_usd", key.spend_limit.map(|limit| limit.to_string()))
        .with("rotation_interval_ms", key.rotation_interval_ms)
        .with("review_at", key.review_at)
        .with("exposed_at", key.exposed_at)
        .with("rotation_asked_at", key.rotation_asked_at)
        .with("request_limit", key.request_limit)
        .with("secrets", key.secrets.iter().map(secret).collect::<Vec<_>>())
}

/// A policy, as it is shown.
pub(crate) fn policy(controls: &Controls) -> Value {
    serde_json::to_value(controls).unwrap_or_default()
}

fn secret(secret: &SecretRow) -> Value {
    let SecretRow { masked, state, expires_at, .. } = secret;
    let facts =
        Facts::default().with("masked", masked.as_str()).with("state", state.name()).with("expires_at", *expires_at);
    Value::Object(facts.known().0)
}

impl Audited for ProviderRecord {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Provider, &self.name, &self.name)
    }

    fn facts(&self) -> Facts {
        let ProviderRecord {
            name,
            kind,
            base_url,
            sealed_key,
            allow_private,
            disabled,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Facts::default()
            .with("name", name.as_str())
            .with("kind", kind.as_str())
            .with("base_url", base_url.clone())
            .with("credential", if sealed_key.is_some() { "set" } else { "none" })
            .with("allow_private_network", *allow_private)
            .with("disabled", *disabled)
    }
}

/// A provider of the settings file.
pub(crate) fn told(provider: &NewProvider) -> Value {
    let NewProvider { name: _, kind, base_url, credential, allow_private, disabled } = provider;
    let facts = Facts::default()
        .with("kind", kind.as_str())
        .with("base_url", base_url.clone())
        .with("credential", if credential.is_some() { "set" } else { "none" })
        .with("allow_private_network", *allow_private)
        .with("disabled", *disabled);
    Value::Object(facts.known().0)
}

impl Audited for Alias {
    fn object(&self) -> Object {
        Object::new(ObjectKind::Alias, &self.name, &self.name)
    }

    fn facts(&self) -> Facts {
        let Alias { name, target, origin: _ } = self;
        Facts::default().with("name", name.as_str()).with("target", target.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::Token;
    use proptest::prelude::*;

    #[test]
    fn only_what_differs_is_told() {
        let before = Facts::default().with("a", 1).with("b", 2).with("gone", true);
        let after = Facts::default().with("a", 1).with("b", 3).with("new", "x");
        let (before, after) = changed(before, after);
        assert_eq!(before.into_json("ak"), r#"{"b":2,"gone":true}"#);
        assert_eq!(after.into_json("ak"), r#"{"b":3,"new":"x"}"#);
    }

    #[test]
    fn a_key_that_was_pasted_is_masked_wherever_it_stands() {
        for brand in ["ak", "a", "live"] {
            let token = Token::mint(brand, KeyKind::Live).unwrap();
            let other = Token::mint(brand, KeyKind::Admin).unwrap();
            let text = format!("é{}x ak-live- {}\n{brand}", token.expose(), other.expose());
            let clean = inert(&text, brand);
            assert!(!clean.contains(token.expose()) && !clean.contains(other.expose()), "{clean}");
            assert_eq!(clean.matches('…').count(), 2, "{clean}");
            assert!(
                clean.starts_with(&format!("é{brand}-live-")) && clean.ends_with(&format!("…\n{brand}")),
                "{clean}"
            );
            let nested = Facts::default().with("list", vec![token.expose()]).into_json(brand);
            assert!(!nested.contains(token.expose()), "{nested}");
        }
    }

    #[test]
    fn texts_are_bounded_and_without_nul() {
        assert_eq!(inert("a\0b", "ak"), "a\u{fffd}b");
        assert_eq!(inert(&"é".repeat(5_000), "ak").chars().count(), LONGEST_TEXT);
    }

    proptest! {
        #[test]
        fn any_text_without_a_key_stays(text in "[^\0]{0,200}") {
            prop_assert_eq!(inert(&text, "ak"), text);
        }
    }
}
