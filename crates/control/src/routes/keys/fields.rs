//! The fields of a key as they are sent: each is checked on its own, and all findings are told.

use super::view::SpendLimit;
use crate::input::{Field, Findings, Named, echo};
use crate::tenancy::{self, ControlsBody};
use crate::wire::{DAY_MS, now_ms, read_duration, read_time};
use anykey_core::controls::Controls;
use anykey_core::spend::Amounts;
use anykey_core::{KeyKind, Nanos, Scope, Scopes, Span};
use std::collections::BTreeMap;

const MAX_TAGS: usize = 64;
const MAX_TAG: usize = 128;
const MAX_ROTATION_DAYS: i64 = 3650;

impl Named for Vec<SpendLimit> {
    const WHAT: &str = "a list of {\"window\": \"monthly\", \"usd\": \"5\"}";
}

pub(in crate::routes) fn name(name: Option<String>, findings: &mut Findings) -> Option<String> {
    let name = crate::input::text("name", name, 128, findings)?;
    if name.trim().is_empty() || name.trim() != name || name.contains(['\n', '\t']) {
        findings.add("name", "is one line of text that neither begins nor ends with a space");
        return None;
    }
    Some(name)
}

/// Short text that can be cleared.
pub(in crate::routes) fn label(
    field: Field<String>,
    name: &'static str,
    findings: &mut Findings,
) -> Option<Option<String>> {
    match field.change(name, findings)? {
        Some(text) if text.is_empty() => Some(None),
        Some(text) => crate::input::text(name, Some(text), 128, findings).map(Some),
        None => Some(None),
    }
}

pub(in crate::routes) fn long(field: Field<String>, name: &'static str, findings: &mut Findings) -> Option<String> {
    let text = field.change(name, findings)?.unwrap_or_default();
    crate::input::text(name, Some(text), 4096, findings)
}

pub(in crate::routes) fn tags(
    field: Field<BTreeMap<String, String>>,
    findings: &mut Findings,
) -> Option<BTreeMap<String, String>> {
    let tags = field.change("tags", findings)?.unwrap_or_default();
    let fits = |text: &str| text.chars().count() <= MAX_TAG && !text.chars().any(char::is_control);
    if tags.len() > MAX_TAGS {
        findings.add("tags", format!("has at most {MAX_TAGS} entries"));
    } else if let Some((name, _)) =
        tags.iter().find(|(name, value)| name.is_empty() || name.contains('=') || !fits(name) || !fits(value))
    {
        let message =
            format!("has names without `=` and values, each at most {MAX_TAG} characters on one line: {}", echo(name));
        findings.add("tags", message);
    } else {
        return Some(tags);
    }
    None
}

/// The scopes of a key of this kind. Managing and calling are kept apart: no key can do both.
pub(super) fn scopes(field: Field<Vec<String>>, kind: KeyKind, findings: &mut Findings) -> Option<Scopes> {
    let names = field.kept("scopes", findings)?;
    let mut scopes = Scopes::NONE;
    for name in &names {
        match Scope::from_name(name) {
            Some(scope) => scopes = scopes.with(scope),
            None => {
                let known = Scope::ALL.map(Scope::name).join(", ");
                findings.add("scopes", format!("has an unknown scope `{}`; there are {known}", echo(name)));
                return None;
            }
        }
    }
    let fits = match kind {
        KeyKind::Admin => scopes.is_of_admin(),
        _ => scopes != Scopes::NONE && scopes.managing().is_none(),
    };
    if !fits {
        let message = match kind {
            KeyKind::Admin => {
                "of an admin key is one of admin:*, admin:organisation and admin:project: it cannot call models"
            }
            _ => "names at least one scope, and none of admin, which only keys of the kind admin have",
        };
        findings.add("scopes", message);
        return None;
    }
    Some(scopes)
}

/// What a body says of a key's policy and of its money, which has two names: `spend_limits` and `controls.spend`. Where a
/// key is made they complete each other; where one is changed each of them is all there is, so they have to agree.
#[derive(Default)]
pub(super) struct Policy {
    pub controls: Option<Controls>,
    /// `controls` say nothing of money.
    pub keeps_spend: bool,
    /// All amounts.
    pub amounts: Option<Amounts>,
}

pub(super) fn policy(
    controls: Field<ControlsBody>,
    limits: Field<Vec<SpendLimit>>,
    new: bool,
    findings: &mut Findings,
) -> Policy {
    let sent = tenancy::key_controls(controls, findings);
    let (keeps_spend, controls) = (sent.as_ref().is_some_and(|(_, of_money)| !of_money), sent.map(|(it, _)| it));
    let named = controls.as_ref().filter(|_| !keeps_spend).map(|controls| controls.spend.amounts());
    let listed = amounts(limits, findings);
    let Some((named, listed)) = named.zip(listed) else {
        return Policy { controls, keeps_spend, amounts: listed.or(named) };
    };
    let both = Span::ALL.map(|span| listed[span as usize].or(named[span as usize]));
    let agree = if new {
        Span::ALL.map(|span| named[span as usize].or(listed[span as usize])) == both
    } else {
        named == listed
    };
    if !agree {
        findings.add("spend_limits", "says something else than `controls.spend`, which is the same; send one of them");
    }
    Policy { controls, keeps_spend, amounts: Some(both) }
}

/// The amounts of all windows; those that are not listed are none.
fn amounts(field: Field<Vec<SpendLimit>>, findings: &mut Findings) -> Option<Amounts> {
    const NAME: &str = "spend_limits";
    let mut amounts = Amounts::default();
    for limit in field.change(NAME, findings)?.unwrap_or_default() {
        let windows = Span::ALL.map(Span::word).join(", ");
        let span = findings.check(NAME, Span::parse(&limit.window).ok_or(format!("has the windows {windows}")))?;
        let usd = Nanos::parse_usd(&limit.usd).map_err(|why| format!("is wrong: {why}"));
        let usd = findings.check(NAME, usd)?;
        if amounts[span as usize].replace(usd).is_some() {
            findings.add(NAME, "has each window once");
            return None;
        }
    }
    Some(amounts)
}

/// `expires_at` or `expires_in`; a moment in the past is most likely a mistake.
pub(in crate::routes) fn expiry(
    at: Field<String>,
    within: Field<String>,
    findings: &mut Findings,
) -> Option<Option<i64>> {
    let at = at.change("expires_at", findings);
    let within = within.given("expires_in", findings);
    match (at, within) {
        (Some(_), Some(_)) => {
            findings.add("expires_in", "cannot stand beside expires_at");
            None
        }
        (Some(Some(text)), None) => future("expires_at", &text, findings).map(Some),
        (None, Some(text)) => {
            let span = findings.check("expires_in", read_duration(&text))?;
            findings.check("expires_in", bounded(now_ms().checked_add(span)).ok_or("is too long")).map(Some)
        }
        (at, None) => at.map(|_| None),
    }
}

pub(in crate::routes) fn review(field: Field<String>, findings: &mut Findings) -> Option<Option<i64>> {
    match field.change("review_at", findings)? {
        Some(text) => findings.check("review_at", read_time(&text)).map(Some),
        None => Some(None),
    }
}

fn future(name: &'static str, text: &str, findings: &mut Findings) -> Option<i64> {
    let at = findings.check(name, read_time(text))?;
    findings.check(name, if at > now_ms() { Ok(at) } else { Err("is in the past") })
}

/// Times that have a spelling.
fn bounded(at: Option<i64>) -> Option<i64> {
    at.filter(|ms| !crate::wire::time(*ms).is_empty())
}

pub(in crate::routes) fn rotation(field: Field<i64>, findings: &mut Findings) -> Option<Option<i64>> {
    const NAME: &str = "rotation_interval_days";
    match field.change(NAME, findings)? {
        Some(days @ 1..=MAX_ROTATION_DAYS) => Some(Some(days * DAY_MS)),
        Some(_) => {
            findings.add(NAME, format!("is from 1 to {MAX_ROTATION_DAYS}"));
            None
        }
        None => Some(None),
    }
}
