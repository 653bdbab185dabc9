//! What bodies and queries say of organisations, projects, owners and policies, and what is meant by it.

use crate::App;
use crate::input::{Field, Findings, Named, echo};
use crate::power::Power;
use crate::problem::Result;
use anykey_core::controls::{Controls, Limits};
use anykey_core::key_rules::{KeyFacts, KeyField, RulesAbove};
use anykey_core::{KeyRules, Nanos, OrganisationId, OwnerId, Permission, Place, ProjectId, Scope, Span};
use anykey_store::{KeyPatch, KeyRow, NewKey, OrganisationRow, ProjectRow, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// A policy as it is sent and shown: `scopes`, `endpoints`, `models`, `routing`, `ips`, `limits`, `model_limits`, `spend`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = Controls, value_type = Object)]
pub(crate) struct ControlsBody(Map<String, Value>);

impl Named for ControlsBody {
    const WHAT: &str = "an object";
}

impl From<&Controls> for ControlsBody {
    fn from(controls: &Controls) -> Self {
        match serde_json::to_value(controls) {
            Ok(Value::Object(map)) => ControlsBody(map),
            _ => ControlsBody::default(),
        }
    }
}

/// What was sent; null takes the policy away.
pub(crate) fn controls(field: Field<ControlsBody>, findings: &mut Findings) -> Option<Controls> {
    let sent = field.change("controls", findings)?.unwrap_or_default();
    let read = serde_json::from_value(Value::Object(sent.0));
    findings.check("controls", read.map_err(|error: serde_json::Error| wrong(&error.to_string())))
}

/// The same of a key, with whether it says anything of money; null says that there are no limits of it.
pub(crate) fn key_controls(field: Field<ControlsBody>, findings: &mut Findings) -> Option<(Controls, bool)> {
    let sent = field.change("controls", findings)?;
    let of_money = sent.as_ref().is_none_or(|sent| sent.0.contains_key("spend"));
    let read = serde_json::from_value(Value::Object(sent.unwrap_or_default().0));
    let read = findings.check("controls", read.map_err(|error: serde_json::Error| wrong(&error.to_string())))?;
    Some((read, of_money))
}

/// A reader's complaint. What it repeats of the body is cut like every other echo.
fn wrong(error: &str) -> String {
    let long = error.split('`').skip(1).step_by(2).any(|quoted| quoted.len() > anykey_core::refusal::ECHO_LIMIT);
    if long { "is wrong: it has a field or value that is not known here".into() } else { format!("is wrong: {error}") }
}

/// Whether a project's policy is inside its organisation's where that can be told: scopes, endpoints, plain limits and money.
/// What cannot be told, as of two patterns, is no matter, since both hold at once.
pub(crate) fn within(project: &Controls, organisation: &Controls, findings: &mut Findings) {
    let Limits { rpm, rph, rpd, tpm, tpd, concurrency } = project.limits;
    let above = &organisation.limits;
    // What the project leaves open is bounded by its organisation, and so is inside it.
    let told = Controls {
        scopes: project.scopes.or(organisation.scopes),
        endpoints: project.endpoints.or(organisation.endpoints),
        limits: Limits {
            rpm: rpm.or(above.rpm),
            rph: rph.or(above.rph),
            rpd: rpd.or(above.rpd),
            tpm: tpm.or(above.tpm),
            tpd: tpd.or(above.tpd),
            concurrency: concurrency.or(above.concurrency),
        },
        spend: project.spend.under(&organisation.spend),
        ..Controls::default()
    };
    let bounds = Controls {
        scopes: organisation.scopes,
        endpoints: organisation.endpoints,
        limits: organisation.limits,
        spend: organisation.spend.clone(),
        ..Controls::default()
    };
    if let Err(wider) = told.within(&bounds) {
        findings.add("controls", format!("allows more than the organisation does in `{}`", wider.field));
    }
}

/// What an organisation asks of keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = KeyRules)]
pub(crate) struct RulesBody {
    /// Of `owner_id`, `description`, `environment`, `note`, `expires_at`, `review_at`, `rotation_interval_days`,
    /// `spend_limits`.
    pub required: BTreeSet<String>,
    /// Names of tags that every key has.
    pub required_tags: BTreeSet<String>,
    /// A key ends within so many days.
    #[schema(required)]
    pub max_expiry_days: Option<u32>,
    /// A key is rotated at least so often.
    #[schema(required)]
    pub max_rotation_days: Option<u32>,
    /// A key may spend at most so much, in dollars.
    #[schema(required)]
    pub max_spend_usd: Option<String>,
    /// The scopes that keys may have; null is any.
    #[schema(required)]
    pub scopes: Option<BTreeSet<String>>,
    /// No key may be used in web pages.
    pub no_browser: bool,
}

/// Rules as they were sent, before their fields are read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = RulesBody)]
pub(crate) struct SentRules(Value);

impl Named for SentRules {
    const WHAT: &str = "an object";
}

impl From<&KeyRules> for RulesBody {
    fn from(rules: &KeyRules) -> Self {
        RulesBody {
            required: rules.required.iter().map(|field| field.name().to_owned()).collect(),
            required_tags: rules.required_tags.clone(),
            max_expiry_days: rules.max_expiry_days,
            max_rotation_days: rules.max_rotation_days,
            max_spend_usd: rules.max_spend.map(|most| Nanos(most).to_string()),
            scopes: rules.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| scope.name().to_owned()).collect()),
            no_browser: rules.no_browser,
        }
    }
}

/// Rules for keys; null takes them away.
pub(crate) fn rules(field: Field<SentRules>, findings: &mut Findings) -> Option<KeyRules> {
    const NAME: &str = "key_rules";
    let Some(sent) = field.change(NAME, findings)? else { return Some(KeyRules::default()) };
    let sent: RulesBody =
        findings.check(NAME, serde_json::from_value(sent.0).map_err(|error| wrong(&error.to_string())))?;
    let required = sent
        .required
        .iter()
        .map(|name| KeyField::from_name(name).ok_or_else(|| format!("asks for an unknown field `{}`", echo(name))))
        .collect::<std::result::Result<_, _>>();
    let scopes = sent.scopes.map(|names| {
        names
            .iter()
            .map(|name| Scope::from_name(name).ok_or_else(|| format!("names an unknown scope `{}`", echo(name))))
            .collect::<std::result::Result<_, _>>()
    });
    let max_spend = sent.max_spend_usd.map(|usd| Nanos::parse_usd(&usd).map_err(|why| format!("is wrong: {why}")));
    if sent.max_expiry_days == Some(0) || sent.max_rotation_days == Some(0) {
        findings.add(NAME, "has bounds of at least one day");
    }
    Some(KeyRules {
        required: findings.check(NAME, required)?,
        required_tags: sent.required_tags,
        max_expiry_days: sent.max_expiry_days,
        max_rotation_days: sent.max_rotation_days,
        max_spend: findings.check(NAME, max_spend.transpose())?.map(|most| most.0),
        scopes: findings.check(NAME, scopes.transpose())?,
        no_browser: sent.no_browser,
    })
}

/// Holds a new key to the rules of its organisation and of its project.
pub(crate) fn hold_new(rules: &RulesAbove, new: &NewKey, findings: &mut Findings) {
    for breach in rules.breaches(&new.facts(), crate::wire::now_ms()) {
        findings.add(breach.field, breach.message);
    }
}

/// Holds a change to the rules: only what it touches, since a key that is older than a rule can still be renamed. `rules`
/// are those of where it is afterwards; one that moves to another project is held to all that this project asks.
pub(crate) fn hold_change(rules: &RulesAbove, key: &KeyRow, patch: &KeyPatch, findings: &mut Findings) {
    fn after<'a, T: ?Sized>(new: Option<&'a T>, old: &'a T) -> &'a T {
        new.unwrap_or(old)
    }
    let after_spend = key.spend_after(patch);
    let facts = KeyFacts {
        has_owner: patch.owner_id.unwrap_or(key.owner_id).is_some(),
        description: after(patch.description.as_deref(), &key.description),
        environment: after(patch.environment.as_ref(), &key.environment).as_deref(),
        note: after(patch.note.as_deref(), &key.note),
        tags: after(patch.tags.as_ref(), &key.tags).keys().map(String::as_str).collect(),
        expires_at: patch.expires_at.unwrap_or(key.expires_at),
        review_at: patch.review_at.unwrap_or(key.review_at),
        rotation_interval_ms: patch.rotation_interval_ms.unwrap_or(key.rotation_interval_ms),
        spend_limit: after_spend.most(Span::Total),
        spends_by_calendar: after_spend.has_windows(),
        scopes: patch.scopes.unwrap_or(key.scopes),
        browser_allowed: patch.browser_allowed.unwrap_or(key.browser_allowed),
    };
    let moves = patch.project.is_some_and(|project| project != key.project_id);
    let touched = |field: &str| match field {
        "owner_id" => patch.owner_id.is_some(),
        "description" => patch.description.is_some(),
        "environment" => patch.environment.is_some(),
        "note" => patch.note.is_some(),
        "tags" => patch.tags.is_some(),
        "expires_at" => patch.expires_at.is_some(),
        "review_at" => patch.review_at.is_some(),
        "rotation_interval_days" => patch.rotation_interval_ms.is_some(),
        "spend_limits" => after_spend != key.controls.spend,
        "scopes" => patch.scopes.is_some(),
        _ => patch.browser_allowed.is_some(),
    };
    for breach in rules.breaches(&facts, crate::wire::now_ms()) {
        if touched(breach.field) || (moves && breach.whose == "project") {
            findings.add(breach.field, breach.message);
        }
    }
}

/// The organisation of an id or a slug. One that is not there, or that the caller does not see, is a finding, or, where the store cannot be asked, a refusal.
pub(crate) async fn organisation(
    app: &App,
    power: &Power,
    field: &'static str,
    text: &str,
    findings: &mut Findings,
) -> Result<Option<OrganisationRow>> {
    let sight = power.sees(Permission::OrganisationsRead);
    let seen = |id| sight.covers(&Place::organisation(id));
    let found = match OrganisationId::parse(text) {
        Some(id) => app.store().organisation(id).await,
        None => app.store().organisation_by_slug(text).await,
    };
    match found {
        Ok(row) if row.deleted_at.is_none() && seen(row.id) => Ok(Some(row)),
        Ok(_) | Err(StoreError::NotFound(_)) => {
            findings.add(field, format!("names no organisation: {}", echo(text)));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The project of an id, a slug that only one organisation has, or `organisation/slug`, among those that the caller sees.
pub(crate) async fn project(
    app: &App,
    power: &Power,
    field: &'static str,
    text: &str,
    findings: &mut Findings,
) -> Result<Option<ProjectRow>> {
    let unknown = |findings: &mut Findings| findings.add(field, format!("names no project: {}", echo(text)));
    let sight = power.sees(Permission::ProjectsRead);
    if let Some(id) = ProjectId::parse(text) {
        return match app.store().project(id).await {
            Ok(row) if row.deleted_at.is_none() && sight.covers(&Place::project(row.organisation, id)) => Ok(Some(row)),
            Ok(_) | Err(StoreError::NotFound(_)) => {
                unknown(findings);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        };
    }
    let (above, slug) = match text.split_once('/') {
        Some((above, slug)) => match organisation(app, power, field, above, findings).await? {
            Some(row) => (Some(row.id), slug),
            None => return Ok(None),
        },
        None => (None, text),
    };
    let mut rows = app.store().projects_by_slug(slug, above, &sight).await?;
    match rows.len() {
        1 => Ok(rows.pop()),
        0 => {
            unknown(findings);
            Ok(None)
        }
        _ => {
            findings.add(field, "names projects of several organisations; write organisation/project, or the id");
            Ok(None)
        }
    }
}

/// The owner of an id. Whether they may own keys there is the store's to say.
pub(crate) fn owner(field: Field<String>, findings: &mut Findings) -> Option<Option<OwnerId>> {
    match field.change("owner_id", findings)? {
        Some(text) => {
            let read = OwnerId::parse(&text).ok_or("is the id of a member (mem_...) or a service account (svc_...)");
            findings.check("owner_id", read).map(Some)
        }
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Controls {
        Controls::from_json(json).unwrap()
    }

    #[test]
    fn a_project_is_held_to_what_can_be_told() {
        let organisation = read(r#"{"limits":{"rpm":100},"models":{"allow":["openai/*"]}}"#);
        let fault = |project: &str| {
            let mut findings = Findings::default();
            within(&read(project), &organisation, &mut findings);
            findings.end().is_err()
        };
        assert!(fault(r#"{"limits":{"rpm":101}}"#));
        for fine in ["{}", r#"{"limits":{"rpm":100}}"#, r#"{"limits":{"tpm":5}}"#, r#"{"models":{"allow":["*"]}}"#] {
            assert!(!fault(fine), "{fine}");
        }
    }

    #[test]
    fn a_complaint_repeats_little_of_the_body() {
        assert_eq!(wrong("unknown field `x`"), "is wrong: unknown field `x`");
        assert!(!wrong(&format!("unknown field `{}`", "s".repeat(65))).contains("sss"));
    }
}
