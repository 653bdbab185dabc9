//! Organisations: whose policy bounds their projects, members and keys.

use crate::access::Columns;
use crate::audit::Verb;
use crate::controls;
use crate::db::{FromRow, Row, Tx, Value, damaged, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::sql::Conditions;
use crate::tenancy::{AboveKeys, LevelStep, narrow_q, verb_of};
use crate::tenancy_types::{NewOrganisation, OrganisationPatch, OrganisationRow, TenancyFilter};
use crate::{Store, slug, valid};
use anykey_core::{KeyRules, LevelId, OrganisationId};

impl FromRow for OrganisationRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(OrganisationRow {
            id: OrganisationId(row.bytes()?),
            slug: row.take()?,
            name: row.take()?,
            description: row.take()?,
            controls: controls::read(row)?.unwrap_or_default(),
            rules: read_rules(row)?,
            disabled: row.take()?,
            deleted_at: row.take()?,
            version: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

pub(crate) fn read_rules(row: &mut Row) -> Result<KeyRules> {
    let text: Option<String> = row.take()?;
    let read =
        |text: String| serde_json::from_str(&text).map_err(|_| damaged("rules for keys are not what is written"));
    text.map_or(Ok(KeyRules::default()), read)
}

pub(crate) fn rules_text(rules: &KeyRules) -> Value {
    let text = (!rules.is_empty()).then(|| serde_json::to_string(rules).unwrap_or_default());
    Value::from(&text)
}

impl AboveKeys for OrganisationRow {
    const SELECT: &'static str = "SELECT id, slug, name, description, controls, key_rules, disabled, deleted_at, version, \
         created_at, updated_at FROM organisation";
    const ID: &'static str = "id";
    const TABLE: &'static str = "organisation";
    const NOUN: &'static str = "organisation";

    fn level(&self) -> LevelId {
        LevelId::Organisation(self.id)
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

/// Without it nobody could manage the installation any more.
const HOLDS_OWN_KEYS: &str =
    "the default organisation holds the installation's own keys; it cannot be disabled or deleted";

impl Store {
    pub async fn create_organisation(&self, new: NewOrganisation) -> Result<OrganisationRow> {
        let slug = new.slug.clone().unwrap_or_else(|| slug::of(&new.name));
        check(&slug, &new.name, &new.description)?;
        let id = OrganisationId::random(self.now())?;
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            tx.exec(
                "INSERT INTO organisation (id, slug, name, description, controls, key_rules, disabled, version, \
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, FALSE, 1, $7, $7)",
                params![
                    &id.0,
                    &slug,
                    &new.name,
                    &new.description,
                    controls::text(controls::of_new(new.controls, now)?.as_ref()),
                    rules_text(&new.rules),
                    now,
                ],
            )
            .await
            .map_err(|error| taken(error, &slug))?;
            store.made_row(tx, id.0, Verb::OrganisationCreate).await
        })
        .await
    }

    pub async fn organisation(&self, id: OrganisationId) -> Result<OrganisationRow> {
        self.row(id.0).await
    }

    /// By what people type; a deleted one has none.
    pub async fn organisation_by_slug(&self, slug: &str) -> Result<OrganisationRow> {
        let mut sql = Conditions::new(&format!("{} WHERE deleted_at IS NULL", OrganisationRow::SELECT));
        sql.and("slug = ", Value::from(slug));
        let (sql, values) = sql.finish("");
        self.db.one(crate::sql::dynamic(sql), values).await?.ok_or(StoreError::NotFound("organisation"))
    }

    pub async fn organisations(
        &self,
        filter: &TenancyFilter,
        page: Page<OrganisationId>,
    ) -> Result<Listed<OrganisationRow, OrganisationId>> {
        let mut sql = Conditions::new(&format!("{} WHERE deleted_at IS NULL", OrganisationRow::SELECT));
        sql.within(&filter.within, Columns { organisation: Some("id"), ..Columns::default() });
        narrow_q(&mut sql, filter.q.as_ref(), &["name", "slug"]);
        self.page_of(sql, "id", page, |id| id.0, |row: &OrganisationRow| row.id).await
    }

    pub async fn update_organisation(
        &self,
        id: OrganisationId,
        expected: Option<i64>,
        patch: OrganisationPatch,
    ) -> Result<OrganisationRow> {
        if patch.disabled == Some(true) && id == OrganisationId::DEFAULT {
            return Err(StoreError::conflict(HOLDS_OWN_KEYS));
        }
        let alone = patch.slug.is_none() && patch.name.is_none() && patch.description.is_none();
        let alone = alone && patch.controls.is_none() && patch.rules.is_none();
        let verbs = [Verb::OrganisationUpdate, Verb::OrganisationDisable, Verb::OrganisationEnable];
        let verb = verb_of(patch.disabled, alone, verbs);
        let step: LevelStep<OrganisationRow> =
            Box::new(move |store, tx, row| Box::pin(update(tx, row, patch, store.now())));
        self.change_row(id.0, expected, verb, step).await
    }

    /// A tombstone stays, so that keys and records keep a name.
    pub async fn delete_organisation(&self, id: OrganisationId, expected: Option<i64>) -> Result<OrganisationRow> {
        if id == OrganisationId::DEFAULT {
            return Err(StoreError::conflict(HOLDS_OWN_KEYS));
        }
        let step: LevelStep<OrganisationRow> = Box::new(move |store, tx, _| {
            Box::pin(async move {
                tx.exec("UPDATE organisation SET deleted_at = $2 WHERE id = $1", params![&id.0, store.now()])
                    .await
                    .map(|_| ())
            })
        });
        self.change_row(id.0, expected, Verb::OrganisationDelete, step).await
    }
}

async fn update(tx: &mut Tx, row: OrganisationRow, patch: OrganisationPatch, now: i64) -> Result<()> {
    let slug = patch.slug.unwrap_or(row.slug);
    let name = patch.name.unwrap_or(row.name);
    let description = patch.description.unwrap_or(row.description);
    check(&slug, &name, &description)?;
    let controls = controls::after(&row.controls, patch.controls, now)?;
    tx.exec(
        "UPDATE organisation SET slug = $2, name = $3, description = $4, controls = $5, key_rules = $6, disabled = $7 \
         WHERE id = $1",
        params![
            &row.id.0,
            &slug,
            &name,
            &description,
            controls::text(controls.as_ref()),
            rules_text(&patch.rules.unwrap_or(row.rules)),
            patch.disabled.unwrap_or(row.disabled),
        ],
    )
    .await
    .map_err(|error| taken(error, &slug))
    .map(|_| ())
}

pub(crate) fn check(slug: &str, name: &str, description: &str) -> Result<()> {
    if !slug::is_slug(slug) {
        return Err(StoreError::invalid("slug", "is 1 to 40 lower-case letters, digits and hyphens"));
    }
    valid::name("name", name, 200)?;
    valid::text("description", description, 2_000)
}

pub(crate) fn taken(error: StoreError, slug: &str) -> StoreError {
    match error {
        StoreError::Conflict(_) => StoreError::conflict(format!("`{slug}` is taken")),
        other => other,
    }
}
