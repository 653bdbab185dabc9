//! Members: people in organisations, each with a role and a policy of their own there.

use crate::Store;
use crate::access::Columns;
use crate::audit::{Deed, Verb};
use crate::change::Change;
use crate::controls;
use crate::db::{FromRow, Row, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::levels;
use crate::projects::expect_open;
use crate::sign_in::end_for_roles;
use crate::sql::Conditions;
use crate::tenancy::{AboveKeys, LevelStep, narrow_q, read_row, verb_of};
use crate::tenancy_types::{MemberPatch, MemberRow, NewMember, TenancyFilter};
use anykey_core::tenancy::MEMBER_ROLES;
use anykey_core::{LevelId, MemberId, OrganisationId, PersonId, Role};

impl FromRow for MemberRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(MemberRow {
            id: MemberId(row.bytes()?),
            organisation: OrganisationId(row.bytes()?),
            person: PersonId(row.bytes()?),
            email: row.take()?,
            name: row.take()?,
            person_disabled: row.take()?,
            role: row.name(Role::from_name)?,
            controls: controls::read(row)?.unwrap_or_default(),
            disabled: row.take()?,
            deleted_at: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

impl AboveKeys for MemberRow {
    const SELECT: &'static str = "SELECT m.id, m.organisation_id, m.person_id, p.email, p.name, p.disabled, m.role, \
         m.controls, m.disabled, m.deleted_at, m.version, m.created_at, m.updated_at \
         FROM membership m JOIN person p ON p.id = m.person_id";
    const ID: &'static str = "m.id";
    const TABLE: &'static str = "membership";
    const NOUN: &'static str = "member";

    fn level(&self) -> LevelId {
        LevelId::Member(self.id)
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

impl Store {
    /// Takes a person into an organisation. One who was there before comes back as the same member, with their keys.
    pub async fn add_member(&self, new: NewMember) -> Result<MemberRow> {
        check_role(new.role)?;
        let fresh = MemberId::random(self.now())?;
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            expect_open(&mut tx, new.organisation).await?;
            let id = insert(&mut tx, fresh, new, now).await?;
            let member: MemberRow = read_row(&mut tx, id.0).await?;
            let level = levels::read_in(&mut tx, LevelId::Member(id)).await?;
            let ended = end_for_roles(&mut tx, member.person).await?;
            let deeds = std::iter::once(Deed::made(Verb::MemberAdd, &member)).chain(ended).collect();
            store.record_all(&mut tx, deeds).await?;
            store.announce(&mut tx, Change::Level(level.id)).await?;
            tx.commit().await?;
            store.cache.level_changed(&level, now);
            Ok(member)
        })
        .await
    }

    pub async fn member(&self, id: MemberId) -> Result<MemberRow> {
        self.row(id.0).await
    }

    /// What a person is in an organisation; one who has left is not found.
    pub async fn member_of(&self, organisation: OrganisationId, person: PersonId) -> Result<MemberRow> {
        let mut sql = Conditions::new(&format!("{} WHERE m.deleted_at IS NULL", MemberRow::SELECT));
        sql.and("m.organisation_id = ", Value::from(&organisation.0));
        sql.and("m.person_id = ", Value::from(&person.0));
        let (sql, values) = sql.finish("");
        self.db.one(crate::sql::dynamic(sql), values).await?.ok_or(StoreError::NotFound("member"))
    }

    /// Whether a person is or ever was in an organisation.
    pub async fn was_member(&self, organisation: OrganisationId, person: PersonId) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM membership WHERE organisation_id = $1 AND person_id = $2";
        let found: Option<(i64,)> = self.db.one(sql, params![&organisation.0, &person.0]).await?;
        Ok(found.is_some_and(|(count,)| count > 0))
    }

    pub async fn members(&self, filter: &TenancyFilter, page: Page<MemberId>) -> Result<Listed<MemberRow, MemberId>> {
        let mut sql = Conditions::new(&format!("{} WHERE m.deleted_at IS NULL", MemberRow::SELECT));
        let columns = Columns { organisation: Some("m.organisation_id"), project: None, member: Some("m.id") };
        sql.within(&filter.within, columns);
        narrow_q(&mut sql, filter.q.as_ref(), &["p.name", "p.email"]);
        if let Some(organisation) = filter.organisation {
            sql.and("m.organisation_id = ", Value::from(&organisation.0));
        }
        if let Some(person) = filter.person {
            sql.and("m.person_id = ", Value::from(&person.0));
        }
        if let Some(role) = filter.role {
            sql.and("m.role = ", Value::from(role.name()));
        }
        self.page_of(sql, "m.id", page, |id| id.0, |row: &MemberRow| row.id).await
    }

    pub async fn update_member(&self, id: MemberId, expected: Option<i64>, patch: MemberPatch) -> Result<MemberRow> {
        if let Some(role) = patch.role {
            check_role(role)?;
        }
        let verbs = [Verb::MemberUpdate, Verb::MemberDisable, Verb::MemberEnable];
        let verb = verb_of(patch.disabled, patch.role.is_none() && patch.controls.is_none(), verbs);
        let step: LevelStep<MemberRow> = Box::new(move |store, tx, row| {
            let now = store.now();
            Box::pin(async move {
                tx.exec(
                    "UPDATE membership SET role = $2, controls = $3, disabled = $4 WHERE id = $1",
                    params![
                        &row.id.0,
                        patch.role.unwrap_or(row.role).name(),
                        controls::text(controls::after(&row.controls, patch.controls, now)?.as_ref()),
                        patch.disabled.unwrap_or(row.disabled),
                    ],
                )
                .await?;
                let is = (patch.role.unwrap_or(row.role), patch.disabled.unwrap_or(row.disabled));
                if is == (row.role, row.disabled) { Ok(()) } else { store.sign_in_anew(tx, row.person).await }
            })
        });
        self.change_row(id.0, expected, verb, step).await
    }

    /// Takes a person out of an organisation, and out of the ownership of its projects. Keys that they own there are
    /// refused until they are given to somebody else.
    pub async fn remove_member(&self, id: MemberId, expected: Option<i64>) -> Result<MemberRow> {
        let step: LevelStep<MemberRow> = Box::new(move |store, tx, row| {
            Box::pin(async move {
                tx.exec("UPDATE membership SET deleted_at = $2 WHERE id = $1", params![&id.0, store.now()]).await?;
                // Whoever takes them in again does so by hand, whatever an issuer's claims once said.
                tx.exec(
                    "DELETE FROM issuer_membership WHERE person_id = $1 AND organisation_id = $2",
                    params![&row.person.0, &row.organisation.0],
                )
                .await?;
                tx.exec(
                    "DELETE FROM project_role WHERE person_id = $1 \
                     AND project_id IN (SELECT id FROM project WHERE organisation_id = $2)",
                    params![&row.person.0, &row.organisation.0],
                )
                .await?;
                store.sign_in_anew(tx, row.person).await
            })
        });
        self.change_row(id.0, expected, Verb::MemberRemove, step).await
    }
}

impl Store {
    /// For a change of one row, which records itself afterwards.
    async fn sign_in_anew(&self, tx: &mut Tx, person: PersonId) -> Result<()> {
        let ended = end_for_roles(tx, person).await?;
        self.record_all(tx, ended.into_iter().collect()).await
    }
}

fn check_role(role: Role) -> Result<()> {
    if MEMBER_ROLES.contains(&role) {
        return Ok(());
    }
    Err(StoreError::invalid("role", "is admin, member, viewer or auditor"))
}

async fn insert(tx: &mut Tx, fresh: MemberId, new: NewMember, now: i64) -> Result<MemberId> {
    let person: Option<(Option<i64>,)> =
        tx.one("SELECT deleted_at FROM person WHERE id = $1", params![&new.person.0]).await?;
    if !matches!(person, Some((None,))) {
        return Err(StoreError::invalid("person", "is nobody here"));
    }
    let made: Option<(Vec<u8>,)> = tx
        .one(
            "INSERT INTO membership (id, organisation_id, person_id, role, controls, disabled, version, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, FALSE, 1, $6, $6) \
             ON CONFLICT (organisation_id, person_id) DO UPDATE SET role = excluded.role, controls = excluded.controls, \
             disabled = FALSE, deleted_at = NULL, version = membership.version + 1, updated_at = excluded.updated_at \
             WHERE membership.deleted_at IS NOT NULL RETURNING id",
            params![
                &fresh.0,
                &new.organisation.0,
                &new.person.0,
                new.role.name(),
                controls::text(controls::of_new(new.controls, now)?.as_ref()),
                now,
            ],
        )
        .await?;
    let (id,) = made.ok_or_else(|| StoreError::conflict("this person is a member of the organisation already"))?;
    MemberId::from_slice(&id).ok_or_else(|| crate::db::damaged("an id has another length"))
}
