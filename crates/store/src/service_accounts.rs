//! Service accounts: owners of keys that nobody's leaving ends.

use crate::access::Columns;
use crate::audit::Verb;
use crate::controls;
use crate::db::{FromRow, Row, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::organisations::taken;
use crate::projects::expect_open;
use crate::sql::Conditions;
use crate::tenancy::{AboveKeys, LevelStep, narrow_q, verb_of};
use crate::tenancy_types::{NewServiceAccount, ServiceAccountPatch, ServiceAccountRow, TenancyFilter};
use crate::{Store, valid};
use anykey_core::{LevelId, OrganisationId, ProjectId, ServiceAccountId};

impl FromRow for ServiceAccountRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(ServiceAccountRow {
            id: ServiceAccountId(row.bytes()?),
            organisation: OrganisationId(row.bytes()?),
            project: row.take::<Option<Vec<u8>>>()?.as_deref().and_then(ProjectId::from_slice),
            name: row.take()?,
            description: row.take()?,
            controls: controls::read(row)?.unwrap_or_default(),
            disabled: row.take()?,
            deleted_at: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

impl AboveKeys for ServiceAccountRow {
    const SELECT: &'static str = "SELECT id, organisation_id, project_id, name, description, controls, disabled, \
         deleted_at, version, created_at, updated_at FROM service_account";
    const ID: &'static str = "id";
    const TABLE: &'static str = "service_account";
    const NOUN: &'static str = "service account";

    fn level(&self) -> LevelId {
        LevelId::ServiceAccount(self.id)
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

impl Store {
    pub async fn create_service_account(&self, new: NewServiceAccount) -> Result<ServiceAccountRow> {
        check(&new.name, &new.description)?;
        let id = ServiceAccountId::random(self.now())?;
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            expect_open(&mut tx, new.organisation).await?;
            if let Some(project) = new.project {
                let found: Option<(Vec<u8>, Option<i64>)> = tx
                    .one("SELECT organisation_id, deleted_at FROM project WHERE id = $1", params![&project.0])
                    .await?;
                if !matches!(found, Some((organisation, None)) if organisation == new.organisation.0) {
                    return Err(StoreError::invalid("project", "is not a project of this organisation"));
                }
            }
            tx.exec(
                "INSERT INTO service_account (id, organisation_id, project_id, name, description, controls, disabled, \
                 version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, FALSE, 1, $7, $7)",
                params![
                    &id.0,
                    &new.organisation.0,
                    new.project.map(|id| id.0),
                    &new.name,
                    &new.description,
                    controls::text(controls::of_new(new.controls, now)?.as_ref()),
                    now,
                ],
            )
            .await
            .map_err(|error| taken(error, &new.name))?;
            store.made_row(tx, id.0, Verb::ServiceAccountCreate).await
        })
        .await
    }

    pub async fn service_account(&self, id: ServiceAccountId) -> Result<ServiceAccountRow> {
        self.row(id.0).await
    }

    pub async fn service_accounts(
        &self,
        filter: &TenancyFilter,
        page: Page<ServiceAccountId>,
    ) -> Result<Listed<ServiceAccountRow, ServiceAccountId>> {
        let mut sql = Conditions::new(&format!("{} WHERE deleted_at IS NULL", ServiceAccountRow::SELECT));
        let columns = Columns { organisation: Some("organisation_id"), project: Some("project_id"), member: None };
        sql.within(&filter.within, columns);
        narrow_q(&mut sql, filter.q.as_ref(), &["name"]);
        if let Some(organisation) = filter.organisation {
            sql.and("organisation_id = ", Value::from(&organisation.0));
        }
        if let Some(project) = filter.project {
            sql.and("project_id = ", Value::from(&project.0));
        }
        self.page_of(sql, "id", page, |id| id.0, |row: &ServiceAccountRow| row.id).await
    }

    pub async fn update_service_account(
        &self,
        id: ServiceAccountId,
        expected: Option<i64>,
        patch: ServiceAccountPatch,
    ) -> Result<ServiceAccountRow> {
        let alone = patch.name.is_none() && patch.description.is_none() && patch.controls.is_none();
        let verbs = [Verb::ServiceAccountUpdate, Verb::ServiceAccountDisable, Verb::ServiceAccountEnable];
        let verb = verb_of(patch.disabled, alone, verbs);
        let step: LevelStep<ServiceAccountRow> = Box::new(move |store, tx, row| {
            let now = store.now();
            Box::pin(async move {
                let name = patch.name.unwrap_or(row.name);
                let description = patch.description.unwrap_or(row.description);
                check(&name, &description)?;
                tx.exec(
                    "UPDATE service_account SET name = $2, description = $3, controls = $4, disabled = $5 WHERE id = $1",
                    params![
                        &row.id.0,
                        &name,
                        &description,
                        controls::text(controls::after(&row.controls, patch.controls, now)?.as_ref()),
                        patch.disabled.unwrap_or(row.disabled),
                    ],
                )
                .await
                .map_err(|error| taken(error, &name))
                .map(|_| ())
            })
        });
        self.change_row(id.0, expected, verb, step).await
    }

    /// A tombstone stays, so that keys and records keep a name. Its keys are refused.
    pub async fn delete_service_account(
        &self,
        id: ServiceAccountId,
        expected: Option<i64>,
    ) -> Result<ServiceAccountRow> {
        let step: LevelStep<ServiceAccountRow> = Box::new(move |store, tx, _| {
            Box::pin(async move {
                tx.exec("UPDATE service_account SET deleted_at = $2 WHERE id = $1", params![&id.0, store.now()])
                    .await
                    .map(|_| ())
            })
        });
        self.change_row(id.0, expected, Verb::ServiceAccountDelete, step).await
    }
}

fn check(name: &str, description: &str) -> Result<()> {
    valid::name("name", name, 200)?;
    valid::text("description", description, 2_000)
}
