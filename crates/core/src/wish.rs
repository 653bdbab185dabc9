//! What is asked for beyond what a key has, and what becomes of the key when it is granted: only ever more, and, where it
//! was for a time, back to what was, without touching what was changed since.

use crate::Nanos;
use crate::controls::{Controls, Dimension, Limits, ModelGlob, Models};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Models, limits, money and time that somebody asks for. What is not named is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// To be allowed beside those that are.
    pub models: Vec<ModelGlob>,
    /// At least these.
    pub limits: Limits,
    /// A spend limit of this, in nano-dollars.
    pub spend_limit: Option<i64>,
    /// To live until then, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// What a grant looks at of a key and may change of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub controls: Controls,
    pub spend_limit: Option<Nanos>,
    pub expires_at: Option<i64>,
}

/// What a grant changed: what was before it and what it made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Granted {
    /// Added to an allow list.
    pub allowed: Vec<ModelGlob>,
    /// Taken out of a block list.
    pub unblocked: Vec<ModelGlob>,
    /// By name: `rpm`, `tpd`, ...
    pub limits: BTreeMap<String, Option<Raised>>,
    pub spend_limit: Option<Raised>,
    pub expires_at: Option<Raised>,
}

/// A number that was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    pub from: i64,
    pub to: i64,
}

/// Why a wish cannot be granted to a key by changing the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("asks for nothing that the key does not have")]
    Nothing,
    /// A pattern of the block list covers the model, and is not the model itself.
    #[error("asks for {0}, which the pattern {1} of the key's block list keeps out; the list itself has to be changed")]
    Blocked(ModelGlob, ModelGlob),
}

impl Wish {
    pub fn is_empty(&self) -> bool {
        *self == Wish::default()
    }

    /// What has to change for a key to have all of it. A number that is as high already, and a model that is allowed
    /// already, stay as they are.
    pub fn against(&self, held: &Held) -> Result<Granted, Unfit> {
        let mut granted = Granted::default();
        for model in &self.models {
            match &held.controls.models {
                None => {}
                Some(Models::Allow(allowed)) if allowed.iter().any(|glob| glob.covers_allowed(model)) => {}
                Some(Models::Allow(_)) => granted.allowed.push(model.clone()),
                Some(Models::Block(blocked)) => {
                    for glob in blocked.iter().filter(|glob| glob.meets(model)) {
                        // Taking out a wider pattern would let in what nobody asked for.
                        if !model.covers(glob) {
                            return Err(Unfit::Blocked(model.clone(), glob.clone()));
                        }
                        granted.unblocked.push(glob.clone());
                    }
                }
            }
        }
        for (dimension, wanted) in self.limits.iter() {
            if let Some(now) = held.controls.limits.get(dimension).filter(|now| *now < wanted) {
                let raised = Raised { from: signed(now), to: signed(wanted) };
                granted.limits.insert(dimension.field().to_owned(), Some(raised));
            }
        }
        let raised = |now: Option<i64>, wanted: Option<i64>| {
            let (from, to) = (now?, wanted?);
            (from < to).then_some(Raised { from, to })
        };
        granted.spend_limit = raised(held.spend_limit.map(|n| n.0), self.spend_limit);
        granted.expires_at = raised(held.expires_at, self.expires_at);
        if granted == Granted::default() { Err(Unfit::Nothing) } else { Ok(granted) }
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Granted {
    /// Whether there is anything to take back.
    pub fn is_empty(&self) -> bool {
        *self == Granted::default()
    }

    /// The key with the grant.
    pub fn apply(&self, held: &mut Held) {
        match &mut held.controls.models {
            Some(Models::Allow(allowed)) => {
                let new = self.allowed.iter().filter(|glob| !allowed.contains(glob)).cloned();
                *allowed = allowed.iter().cloned().chain(new).collect();
            }
            Some(Models::Block(blocked)) => {
                *blocked = blocked.iter().filter(|glob| !self.unblocked.contains(glob)).cloned().collect();
            }
            None => {}
        }
        for (name, raised) in &self.limits {
            if let Some(raised) = raised {
                set_limit(&mut held.controls.limits, name, raised.to);
            }
        }
        if let Some(raised) = self.spend_limit {
            held.spend_limit = Some(Nanos(raised.to));
        }
        if let Some(raised) = self.expires_at {
            held.expires_at = Some(raised.to);
        }
    }

    /// The key without the grant. Only what is still as the grant left it goes back; what is another value by now was
    /// changed since, or belongs to one of `others`, the grants of the same key that still run: those are made to go back
    /// to what was before this one, and keep what this one gave and they asked for as well.
    pub fn take_back(self, held: &mut Held, others: &mut [(Wish, Granted)]) {
        self.take_back_models(held, others);
        for (name, mine) in &self.limits {
            let now = limit(&held.controls.limits, name);
            let wished = |wish: &Wish| limit(&wish.limits, name);
            if let Some(back) = back(*mine, now, others, wished, |it| it.limits.entry(name.clone()).or_default()) {
                set_limit(&mut held.controls.limits, name, back);
            }
        }
        let now = held.spend_limit.map(|n| n.0);
        if let Some(back) = back(self.spend_limit, now, others, |wish| wish.spend_limit, |it| &mut it.spend_limit) {
            held.spend_limit = Some(Nanos(back));
        }
        if let Some(back) =
            back(self.expires_at, held.expires_at, others, |wish| wish.expires_at, |it| &mut it.expires_at)
        {
            held.expires_at = Some(back);
        }
    }

    fn take_back_models(&self, held: &mut Held, others: &mut [(Wish, Granted)]) {
        let mut handed_on = |glob: &ModelGlob, allowed: bool| {
            let heir =
                others.iter_mut().find(|(wish, _)| wish.models.iter().any(|it| glob.covers(it) || it.covers(glob)));
            let Some((_, heir)) = heir else { return false };
            let list = if allowed { &mut heir.allowed } else { &mut heir.unblocked };
            if !list.contains(glob) {
                list.push(glob.clone());
            }
            true
        };
        match &mut held.controls.models {
            Some(Models::Allow(allowed)) => {
                let gone: Vec<&ModelGlob> = self.allowed.iter().filter(|glob| !handed_on(glob, true)).collect();
                *allowed = allowed.iter().filter(|glob| !gone.contains(glob)).cloned().collect();
            }
            Some(Models::Block(blocked)) => {
                let back = self.unblocked.iter().filter(|glob| !handed_on(glob, false));
                let back: Vec<ModelGlob> = back.filter(|glob| !blocked.contains(glob)).cloned().collect();
                *blocked = blocked.iter().cloned().chain(back).collect();
            }
            None => {}
        }
    }
}

/// What a number goes back to; `None` leaves it as it is.
fn back(
    mine: Option<Raised>,
    now: Option<i64>,
    others: &mut [(Wish, Granted)],
    wished: impl Fn(&Wish) -> Option<i64>,
    slot: impl Fn(&mut Granted) -> &mut Option<Raised>,
) -> Option<i64> {
    let mine = mine?;
    // Raised once more on top of this: that one goes back to what was before both.
    for (_, other) in others.iter_mut() {
        if let Some(raised) = slot(other)
            && raised.from == mine.to
        {
            raised.from = mine.from;
            return None;
        }
    }
    if now != Some(mine.to) {
        return None;
    }
    // Whoever asked for less than this gave had it without a change, and has to have it still.
    let heir = others.iter_mut().filter_map(|(wish, other)| Some((wished(wish)?, other)));
    match heir.filter(|(wanted, _)| *wanted > mine.from).max_by_key(|(wanted, _)| *wanted) {
        Some((wanted, other)) => {
            let to = wanted.min(mine.to);
            *slot(other) = Some(Raised { from: mine.from, to });
            Some(to)
        }
        None => Some(mine.from),
    }
}

fn dimension(name: &str) -> Option<Dimension> {
    Dimension::ALL.into_iter().find(|dimension| dimension.field() == name)
}

fn limit(limits: &Limits, name: &str) -> Option<i64> {
    limits.get(dimension(name)?).map(signed)
}

fn set_limit(limits: &mut Limits, name: &str, to: i64) {
    let to = u64::try_from(to).ok();
    let Some(dimension) = dimension(name) else { return };
    let slot = match dimension {
        Dimension::Rpm => &mut limits.rpm,
        Dimension::Rph => &mut limits.rph,
        Dimension::Rpd => &mut limits.rpd,
        Dimension::Tpm => &mut limits.tpm,
        Dimension::Tpd => &mut limits.tpd,
        Dimension::Concurrency => &mut limits.concurrency,
    };
    *slot = to;
}

/// What is asked for, in a few words.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.models.iter().map(|glob| format!("the model {glob}")).collect();
        parts.extend(self.limits.iter().map(|(dimension, n)| format!("{n} {}", dimension.words())));
        parts.extend(self.spend_limit.map(|nanos| format!("a spend limit of {} dollars", Nanos(nanos))));
        if self.expires_at.is_some() {
            parts.push("a longer life".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> ModelGlob {
        ModelGlob::parse(text).unwrap()
    }

    fn held(controls: &str) -> Held {
        Held { controls: Controls::from_json(controls).unwrap(), spend_limit: Some(Nanos(5)), expires_at: Some(1_000) }
    }

    fn wish(models: &[&str], rpm: Option<u64>) -> Wish {
        Wish {
            models: models.iter().map(|text| glob(text)).collect(),
            limits: Limits { rpm, ..Limits::default() },
            ..Wish::default()
        }
    }

    #[test]
    fn what_the_key_has_is_not_granted_again() {
        let key = held(r#"{"models":{"allow":["openai/*"]},"limits":{"rpm":10}}"#);
        assert_eq!(wish(&["openai/gpt-4o"], Some(10)).against(&key), Err(Unfit::Nothing));
        assert_eq!(wish(&["openai/gpt-4o"], None).against(&held("{}")), Err(Unfit::Nothing), "it has no list");
        assert_eq!(wish(&[], Some(99)).against(&held("{}")), Err(Unfit::Nothing), "it has no limit");
        let less = Wish { spend_limit: Some(5), expires_at: Some(999), ..Wish::default() };
        assert_eq!(less.against(&key), Err(Unfit::Nothing));
    }

    #[test]
    fn a_grant_gives_what_was_asked_and_goes_back_to_what_was() {
        let before = held(r#"{"models":{"allow":["openai/*"]},"limits":{"rpm":10,"tpm":7}}"#);
        let asked = Wish { spend_limit: Some(9), expires_at: Some(2_000), ..wish(&["anthropic/*"], Some(20)) };
        let granted = asked.against(&before).unwrap();
        let mut key = before.clone();
        granted.apply(&mut key);
        assert!(key.controls.permits_model("anthropic", "claude") && key.controls.permits_model("openai", "gpt-4o"));
        assert_eq!((key.controls.limits.rpm, key.controls.limits.tpm), (Some(20), Some(7)));
        assert_eq!((key.spend_limit, key.expires_at), (Some(Nanos(9)), Some(2_000)));
        granted.take_back(&mut key, &mut []);
        assert_eq!(key, before);
    }

    #[test]
    fn a_block_list_gives_up_what_is_asked_for_and_no_more() {
        let before = held(r#"{"models":{"block":["openai/o1","anthropic/*"]}}"#);
        assert!(matches!(wish(&["anthropic/claude"], None).against(&before), Err(Unfit::Blocked(..))));
        let granted = wish(&["openai/o1"], None).against(&before).unwrap();
        let mut key = before.clone();
        granted.apply(&mut key);
        assert!(key.controls.permits_model("openai", "o1") && !key.controls.permits_model("anthropic", "claude"));
        granted.take_back(&mut key, &mut []);
        assert_eq!(
            key.controls.models.map(|models| matches!(models, Models::Block(list) if list.len() == 2)),
            Some(true)
        );
    }

    #[test]
    fn what_was_changed_since_stays() {
        let before = held(r#"{"models":{"allow":["a/*"]},"limits":{"rpm":10}}"#);
        let asked = Wish { spend_limit: Some(9), ..wish(&["b/*"], Some(20)) };
        let granted = asked.against(&before).unwrap();
        let mut key = before.clone();
        granted.apply(&mut key);
        // Somebody sets other values by hand, and another list.
        key.controls = Controls::from_json(r#"{"models":{"allow":["c/*","b/*"]},"limits":{"rpm":3}}"#).unwrap();
        key.spend_limit = None;
        granted.take_back(&mut key, &mut []);
        assert_eq!(key.controls, Controls::from_json(r#"{"models":{"allow":["c/*"]},"limits":{"rpm":3}}"#).unwrap());
        assert_eq!(key.spend_limit, None);
    }

    #[test]
    fn two_grants_end_in_either_order_and_leave_nothing() {
        let before = held(r#"{"models":{"allow":["a/*"]},"limits":{"rpm":10}}"#);
        let (first, second) = (wish(&["b/*", "c/*"], Some(20)), wish(&["b/*", "d/*"], Some(50)));
        for first_ends_first in [true, false] {
            let mut key = before.clone();
            let one = first.against(&key).unwrap();
            one.apply(&mut key);
            let two = second.against(&key).unwrap();
            two.apply(&mut key);
            let (ends, stays, wished) =
                if first_ends_first { (one, two, second.clone()) } else { (two, one, first.clone()) };
            let mut others = [(wished.clone(), stays)];
            ends.take_back(&mut key, &mut others);
            assert!(key.controls.permits_model("b", "x"), "the one that runs still has it");
            assert_eq!(key.controls.permits_model("d", "x"), first_ends_first);
            assert_eq!(key.controls.permits_model("c", "x"), !first_ends_first);
            assert_eq!(key.controls.limits.rpm, Some(if first_ends_first { 50 } else { 20 }));
            let [(_, stays)] = others;
            stays.take_back(&mut key, &mut []);
            assert_eq!(key, before);
        }
    }

    proptest! {
        /// However grants of the same limits begin and end, what is left at the end is what was at the beginning, and
        /// while any runs the key has at least what it was granted.
        #[test]
        fn grants_of_any_order_leave_the_key_as_it_was(steps in proptest::collection::vec((any::<bool>(), 1u64..60, 0usize..8), 1..40)) {
            let before = held(r#"{"models":{"allow":["a/*"]},"limits":{"rpm":10}}"#);
            let mut key = before.clone();
            let mut running: Vec<(Wish, Granted)> = Vec::new();
            for (begin, rpm, which) in steps {
                if begin || running.is_empty() {
                    let asked = wish(&[["b/*", "c/*", "d/*"][which % 3]], Some(rpm));
                    if let Ok(granted) = asked.against(&key) {
                        granted.apply(&mut key);
                        running.push((asked, granted));
                    }
                } else {
                    let (_, ended) = running.remove(which % running.len());
                    ended.take_back(&mut key, &mut running);
                }
                for (asked, _) in &running {
                    prop_assert!(key.controls.limits.rpm >= asked.limits.rpm);
                    for glob in &asked.models {
                        prop_assert!(key.controls.permits_model(&glob.to_string()[..1], "x"));
                    }
                }
            }
            while !running.is_empty() {
                let (_, ended) = running.remove(0);
                ended.take_back(&mut key, &mut running);
            }
            prop_assert_eq!(key, before);
        }
    }
}
