//! Fields that organisations, projects and the people in them have in common.

use crate::input::{Field, Findings, text};
use anykey_core::Role;
use anykey_core::tenancy::MEMBER_ROLES;

pub(super) fn status(disabled: bool, deleted_at: Option<i64>) -> &'static str {
    match (deleted_at, disabled) {
        (Some(_), _) => "deleted",
        (None, true) => "disabled",
        (None, false) => "active",
    }
}

pub(super) fn name(name: Option<String>, findings: &mut Findings) -> Option<String> {
    let name = text("name", name, 128, findings)?;
    if name.trim().is_empty() || name.trim() != name || name.contains(['\n', '\t']) {
        findings.add("name", "is one line of text that neither begins nor ends with a space");
        return None;
    }
    Some(name)
}

pub(super) fn slug(field: Field<String>, findings: &mut Findings) -> Option<String> {
    let slug = field.given("slug", findings)?;
    let plain = slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let good = (1..=40).contains(&slug.len()) && plain && !slug.starts_with('-') && !slug.ends_with('-');
    let what = "is 1 to 40 lower-case letters, digits and hyphens, with no hyphen at either end";
    findings.check("slug", if good { Ok(slug) } else { Err(what) })
}

pub(super) fn description(field: Field<String>, findings: &mut Findings) -> Option<String> {
    let given = field.change("description", findings)?.unwrap_or_default();
    text("description", Some(given), 2_000, findings)
}

pub(super) fn role(text: &str, findings: &mut Findings) -> Option<Role> {
    let known = Role::from_name(text).filter(|role| MEMBER_ROLES.contains(role));
    findings.check("role", known.ok_or("is admin, member, viewer or auditor"))
}
