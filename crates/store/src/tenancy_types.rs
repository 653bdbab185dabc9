//! Organisations, projects, people and service accounts as they are managed: what is asked for, what is shown.

use anykey_core::controls::Controls;
use anykey_core::{KeyRules, MemberId, OrganisationId, PersonId, ProjectId, Role, ServiceAccountId, Sight};

#[derive(Clone, Debug)]
pub struct NewOrganisation {
    /// What people type; `None` makes one from the name.
    pub slug: Option<String>,
    pub name: String,
    pub description: String,
    pub controls: Controls,
    pub rules: KeyRules,
}

/// `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct OrganisationPatch {
    pub slug: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub controls: Option<Controls>,
    pub rules: Option<KeyRules>,
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OrganisationRow {
    pub id: OrganisationId,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub controls: Controls,
    pub rules: KeyRules,
    pub disabled: bool,
    pub deleted_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Debug)]
pub struct NewProject {
    pub organisation: OrganisationId,
    pub slug: Option<String>,
    pub name: String,
    pub description: String,
    pub controls: Controls,
    pub rules: KeyRules,
}

/// `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProjectPatch {
    pub slug: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub controls: Option<Controls>,
    pub rules: Option<KeyRules>,
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProjectRow {
    pub id: ProjectId,
    pub organisation: OrganisationId,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub controls: Controls,
    pub rules: KeyRules,
    pub disabled: bool,
    pub deleted_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Debug)]
pub struct NewPerson {
    pub email: String,
    pub name: String,
    /// Manages the installation itself.
    pub operator: bool,
}

/// `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct PersonPatch {
    pub email: Option<String>,
    pub name: Option<String>,
    pub operator: Option<bool>,
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRow {
    pub id: PersonId,
    pub email: String,
    pub name: String,
    pub operator: bool,
    pub disabled: bool,
    pub deleted_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Debug)]
pub struct NewMember {
    pub organisation: OrganisationId,
    pub person: PersonId,
    pub role: Role,
    pub controls: Controls,
}

/// `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct MemberPatch {
    pub role: Option<Role>,
    pub controls: Option<Controls>,
    pub disabled: Option<bool>,
}

/// A person in an organisation.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberRow {
    pub id: MemberId,
    pub organisation: OrganisationId,
    pub person: PersonId,
    pub email: String,
    pub name: String,
    /// The person is disabled everywhere.
    pub person_disabled: bool,
    pub role: Role,
    pub controls: Controls,
    pub disabled: bool,
    pub deleted_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Debug)]
pub struct NewServiceAccount {
    pub organisation: OrganisationId,
    /// `None` lets it own keys in every project of the organisation.
    pub project: Option<ProjectId>,
    pub name: String,
    pub description: String,
    pub controls: Controls,
}

/// `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ServiceAccountPatch {
    pub name: Option<String>,
    pub description: Option<String>,
    pub controls: Option<Controls>,
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceAccountRow {
    pub id: ServiceAccountId,
    pub organisation: OrganisationId,
    pub project: Option<ProjectId>,
    pub name: String,
    pub description: String,
    pub controls: Controls,
    pub disabled: bool,
    pub deleted_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// Which of them to list; those that are deleted are left out. A field that a list does not know is not looked at.
#[derive(Clone, Debug, Default)]
pub struct TenancyFilter {
    /// Only what whoever asks may reach.
    pub within: Sight,
    /// Found in the name, the slug or the e-mail, in any case.
    pub q: Option<String>,
    pub organisation: Option<OrganisationId>,
    pub project: Option<ProjectId>,
    pub person: Option<PersonId>,
    pub role: Option<Role>,
}
