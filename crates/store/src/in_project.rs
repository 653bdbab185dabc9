//! Who is in a project: those who own it, the service accounts that are of it, and whoever owns keys in it.

use crate::Store;
use crate::db::{FromRow, Row, Value, damaged};
use crate::error::Result;
use crate::key_types::{Listed, Page};
use crate::sql::Conditions;
use anykey_core::{MemberId, OwnerId, PersonId, ProjectId, Role, ServiceAccountId};

/// Somebody who is in a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InProject {
    pub id: OwnerId,
    /// Of a member.
    pub person: Option<PersonId>,
    pub name: String,
    pub email: Option<String>,
    /// Their role in the organisation.
    pub role: Option<Role>,
    pub disabled: bool,
    /// Of a member whether they own the project, of a service account whether it is of this project alone.
    pub of_project: bool,
    /// The keys that they own in it, temporary ones left out.
    pub keys: i64,
}

impl FromRow for InProject {
    fn from_row(row: &mut Row) -> Result<Self> {
        let bytes = row.bytes()?;
        let person: Option<Vec<u8>> = row.take()?;
        Ok(InProject {
            id: if person.is_some() { OwnerId::Member(MemberId(bytes)) } else { account(bytes) },
            person: person.as_deref().and_then(PersonId::from_slice),
            name: row.take()?,
            email: row.take()?,
            role: match row.take::<Option<String>>()? {
                Some(name) => Some(Role::from_name(&name).ok_or_else(|| damaged("a role is none"))?),
                None => None,
            },
            disabled: row.take()?,
            of_project: row.take()?,
            keys: row.take()?,
        })
    }
}

const fn account(id: [u8; 16]) -> OwnerId {
    OwnerId::ServiceAccount(ServiceAccountId(id))
}

const fn bytes(id: OwnerId) -> [u8; 16] {
    match id {
        OwnerId::Member(id) => id.0,
        OwnerId::ServiceAccount(id) => id.0,
    }
}

/// The living keys of an owner in the project, temporary ones left out, as the indexes `api_key_of_member` and
/// `api_key_of_account` have them.
macro_rules! keys {
    ($column:literal, $owner:literal) => {
        concat!(
            "FROM api_key k WHERE k.project_id = $1 AND k.",
            $column,
            " = ",
            $owner,
            " AND k.deleted_at IS NULL AND k.parent_id IS NULL"
        )
    };
}

const SELECT: &str = concat!(
    "SELECT who.id, who.person_id, who.name, who.email, who.role, who.disabled, who.of_project, who.keys FROM (\
     SELECT m.id AS id, m.person_id AS person_id, p.name AS name, p.email AS email, m.role AS role, \
     (m.disabled OR p.disabled) AS disabled, (r.person_id IS NOT NULL) AS of_project, (SELECT COUNT(*) ",
    keys!("member_id", "m.id"),
    ") AS keys FROM project j \
     JOIN membership m ON m.organisation_id = j.organisation_id AND m.deleted_at IS NULL \
     JOIN person p ON p.id = m.person_id \
     LEFT JOIN project_role r ON r.project_id = j.id AND r.person_id = m.person_id \
     WHERE j.id = $1 AND (r.person_id IS NOT NULL OR EXISTS (SELECT 1 ",
    keys!("member_id", "m.id"),
    ")) UNION ALL \
     SELECT s.id, NULL, s.name, NULL, NULL, s.disabled, (s.project_id IS NOT NULL), (SELECT COUNT(*) ",
    keys!("service_account_id", "s.id"),
    ") FROM project j \
     JOIN service_account s ON s.organisation_id = j.organisation_id AND s.deleted_at IS NULL \
     WHERE j.id = $1 AND (s.project_id = j.id OR EXISTS (SELECT 1 ",
    keys!("service_account_id", "s.id"),
    "))) AS who WHERE TRUE"
);

impl Store {
    /// Who is in a project, the newest first. Whoever has left the organisation is in none of its projects.
    pub async fn in_project(&self, id: ProjectId, page: Page<OwnerId>) -> Result<Listed<InProject, OwnerId>> {
        let sql = Conditions::with(SELECT, vec![Value::from(&id.0)]);
        self.page_of(sql, "who.id", page, bytes, |row: &InProject| row.id).await
    }

    /// How the database would run that. For tests.
    #[doc(hidden)]
    pub async fn explain_in_project(&self, id: ProjectId) -> Result<String> {
        let (sql, values) = Conditions::with(SELECT, vec![Value::from(&id.0)]).finish(" ORDER BY who.id DESC LIMIT 51");
        self.db.explain(&sql, values).await
    }
}
