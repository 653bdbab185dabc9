//! People, once each whatever the number of their organisations. How they sign in is kept elsewhere.

use crate::access::Columns;
use crate::audit::{Deed, Verb};
use crate::change::Change;
use crate::db::{FromRow, Row, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::levels::{self, Level};
use crate::sign_in::end_for_roles;
use crate::sql::{Conditions, dynamic};
use crate::tenancy::narrow_q;
use crate::tenancy_types::{NewPerson, PersonPatch, PersonRow, TenancyFilter};
use crate::{Store, valid};
use anykey_core::{LevelId, MemberId, PersonId, Sight};
use std::sync::Arc;

pub(crate) const SELECT: &str =
    "SELECT id, email, name, operator, disabled, deleted_at, version, created_at, updated_at FROM person";

impl FromRow for PersonRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(PersonRow {
            id: PersonId(row.bytes()?),
            email: row.take()?,
            name: row.take()?,
            operator: row.take()?,
            disabled: row.take()?,
            deleted_at: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

impl Store {
    pub async fn create_person(&self, new: NewPerson) -> Result<PersonRow> {
        check(&new.email, &new.name)?;
        let now = self.now();
        let id = PersonId::random(now)?;
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let person = insert(&mut tx, id, &new, now).await?;
            store.record(&mut tx, Deed::made(Verb::PersonCreate, &person)).await?;
            tx.commit().await?;
            Ok(person)
        })
        .await
    }

    pub async fn person(&self, id: PersonId) -> Result<PersonRow> {
        let sql = format!("{SELECT} WHERE id = $1");
        self.db.one(dynamic(sql), params![&id.0]).await?.ok_or(StoreError::NotFound("person"))
    }

    /// Whatever the case of the letters; a deleted person is not found.
    pub async fn person_by_email(&self, email: &str) -> Result<PersonRow> {
        let sql = format!("{SELECT} WHERE email_key = $1 AND deleted_at IS NULL");
        self.db.one(dynamic(sql), params![email_key(email)]).await?.ok_or(StoreError::NotFound("person"))
    }

    pub async fn people(&self, filter: &TenancyFilter, page: Page<PersonId>) -> Result<Listed<PersonRow, PersonId>> {
        let mut sql = Conditions::new(&format!("{SELECT} WHERE deleted_at IS NULL"));
        if filter.within != Sight::Everything {
            sql.and_text("id IN (SELECT own.person_id FROM membership own WHERE own.deleted_at IS NULL");
            let columns = Columns { organisation: Some("own.organisation_id"), project: None, member: Some("own.id") };
            sql.within(&filter.within, columns);
            sql.close();
        }
        narrow_q(&mut sql, filter.q.as_ref(), &["name", "email"]);
        if let Some(organisation) = filter.organisation {
            let organisation = sql.bind(Value::from(&organisation.0));
            sql.and_text(&format!(
                "id IN (SELECT person_id FROM membership WHERE organisation_id = {organisation} AND deleted_at IS NULL)"
            ));
        }
        self.page_of(sql, "id", page, |id| id.0, |row: &PersonRow| row.id).await
    }

    /// A person's end is the end of the keys that they own, in every organisation, when this returns.
    pub async fn update_person(&self, id: PersonId, expected: Option<i64>, patch: PersonPatch) -> Result<PersonRow> {
        self.change_person(id, expected, Some(patch)).await
    }

    /// A tombstone stays, so that keys and records keep a name.
    pub async fn delete_person(&self, id: PersonId, expected: Option<i64>) -> Result<PersonRow> {
        self.change_person(id, expected, None).await
    }

    /// `None` deletes.
    async fn change_person(
        &self,
        id: PersonId,
        expected: Option<i64>,
        patch: Option<PersonPatch>,
    ) -> Result<PersonRow> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let person = lock(&mut tx, id, expected, now).await?;
            let before = person.clone();
            let verb = match patch {
                Some(patch) => update(&mut tx, person, patch).await.map(|()| Verb::PersonUpdate)?,
                None => delete(&mut tx, id, now).await.map(|()| Verb::PersonDelete)?,
            };
            let levels = touch_memberships(&mut tx, id, now).await?;
            let after = read(&mut tx, id).await?;
            let is = |person: &PersonRow| (person.operator, person.disabled, person.deleted_at);
            let ended = if is(&before) == is(&after) { None } else { end_for_roles(&mut tx, id).await? };
            let deeds = std::iter::once(Deed::changed(verb, &before, &after)).chain(ended).collect();
            store.record_all(&mut tx, deeds).await?;
            for level in &levels {
                store.announce(&mut tx, Change::Level(level.id)).await?;
            }
            tx.commit().await?;
            for level in &levels {
                store.cache.level_changed(level, now);
            }
            Ok(after)
        })
        .await
    }
}

pub(crate) async fn insert(tx: &mut Tx, id: PersonId, new: &NewPerson, now: i64) -> Result<PersonRow> {
    tx.exec(
        "INSERT INTO person (id, email, email_key, name, operator, disabled, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, FALSE, 1, $6, $6)",
        params![&id.0, &new.email, email_key(&new.email), &new.name, new.operator, now],
    )
    .await
    .map_err(|error| taken(error, &new.email))?;
    read(tx, id).await
}

pub(crate) async fn read(tx: &mut Tx, id: PersonId) -> Result<PersonRow> {
    tx.one(dynamic(format!("{SELECT} WHERE id = $1")), params![&id.0]).await?.ok_or(StoreError::NotFound("person"))
}

async fn lock(tx: &mut Tx, id: PersonId, expected: Option<i64>, now: i64) -> Result<PersonRow> {
    tx.exec("UPDATE person SET version = version + 1, updated_at = $2 WHERE id = $1", params![&id.0, now]).await?;
    let person = read(tx, id).await?;
    let found = person.version - 1;
    match expected {
        _ if person.deleted_at.is_some() => Err(StoreError::conflict("the person is deleted")),
        Some(expected) if expected != found => Err(StoreError::VersionMismatch { what: "person", expected, found }),
        _ => Ok(person),
    }
}

async fn update(tx: &mut Tx, person: PersonRow, patch: PersonPatch) -> Result<()> {
    let email = patch.email.unwrap_or(person.email);
    let name = patch.name.unwrap_or(person.name);
    check(&email, &name)?;
    if patch.operator.is_some() {
        by_hand(tx, person.id).await?;
    }
    tx.exec(
        "UPDATE person SET email = $2, email_key = $3, name = $4, operator = $5, disabled = $6 WHERE id = $1",
        params![
            &person.id.0,
            &email,
            email_key(&email),
            &name,
            patch.operator.unwrap_or(person.operator),
            patch.disabled.unwrap_or(person.disabled),
        ],
    )
    .await
    .map_err(|error| taken(error, &email))
    .map(|_| ())
}

/// Whether somebody runs the installation was said by hand, so it is no issuer's to take away any more.
pub(crate) async fn by_hand(tx: &mut Tx, id: PersonId) -> Result<()> {
    tx.exec("DELETE FROM issuer_operator WHERE person_id = $1", params![&id.0]).await.map(|_| ())
}

async fn delete(tx: &mut Tx, id: PersonId, now: i64) -> Result<()> {
    tx.exec("UPDATE person SET deleted_at = $2 WHERE id = $1", params![&id.0, now]).await?;
    tx.exec("DELETE FROM project_role WHERE person_id = $1", params![&id.0]).await.map(|_| ())
}

/// Counts up the versions of a person's memberships, and says how they stand now.
async fn touch_memberships(tx: &mut Tx, id: PersonId, now: i64) -> Result<Vec<Arc<Level>>> {
    tx.exec("UPDATE membership SET version = version + 1, updated_at = $2 WHERE person_id = $1", params![&id.0, now])
        .await?;
    let ids: Vec<(Vec<u8>,)> =
        tx.all("SELECT id FROM membership WHERE person_id = $1 ORDER BY id", params![&id.0]).await?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids.iter().filter_map(|(id,)| MemberId::from_slice(id)) {
        found.push(levels::read_in(tx, LevelId::Member(id)).await?);
    }
    Ok(found)
}

/// Two spellings of one address that differ in the case of letters alone are one.
pub(crate) fn email_key(email: &str) -> String {
    email.to_lowercase()
}

pub(crate) fn check(email: &str, name: &str) -> Result<()> {
    let parts = email.rsplit_once('@');
    let good = parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.starts_with('.'));
    if !good || email.len() > 254 || email.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(StoreError::invalid("email", "is an e-mail address such as ada@example.com"));
    }
    valid::name("name", name, 200)
}

fn taken(error: StoreError, email: &str) -> StoreError {
    match error {
        StoreError::Conflict(_) => StoreError::conflict(format!("there is a person with the e-mail {email} already")),
        other => other,
    }
}
