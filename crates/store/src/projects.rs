//! Projects: where the keys of one piece of work are kept together, inside an organisation.

use crate::access::Columns;
use crate::audit::{Audited, Deed, Facts, Verb};
use crate::controls;
use crate::db::{FromRow, Row, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::key_types::{Listed, Page};
use crate::organisations::{check, read_rules, rules_text, taken};
use crate::sign_in::end_for_roles;
use crate::sql::{Conditions, dynamic};
use crate::tenancy::{AboveKeys, LevelStep, narrow_q, read_row, verb_of};
use crate::tenancy_types::{NewProject, OrganisationRow, PersonRow, ProjectPatch, ProjectRow, TenancyFilter};
use crate::{Store, slug};
use anykey_core::key_rules::RulesAbove;
use anykey_core::{LevelId, OrganisationId, PersonId, ProjectId, Sight};

impl FromRow for ProjectRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(ProjectRow {
            id: ProjectId(row.bytes()?),
            organisation: OrganisationId(row.bytes()?),
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

impl AboveKeys for ProjectRow {
    const SELECT: &'static str = "SELECT id, organisation_id, slug, name, description, controls, key_rules, disabled, \
         deleted_at, version, created_at, updated_at FROM project";
    const ID: &'static str = "id";
    const TABLE: &'static str = "project";
    const NOUN: &'static str = "project";

    fn level(&self) -> LevelId {
        LevelId::Project(self.id)
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

const COLUMNS: Columns = Columns { organisation: Some("organisation_id"), project: Some("id"), member: None };

/// Without it nobody could manage the installation any more.
const HOLDS_OWN_KEYS: &str = "the default project holds the installation's own keys; it cannot be disabled or deleted";

impl Store {
    pub async fn create_project(&self, new: NewProject) -> Result<ProjectRow> {
        let slug = new.slug.clone().unwrap_or_else(|| slug::of(&new.name));
        check(&slug, &new.name, &new.description)?;
        let id = ProjectId::random(self.now())?;
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            expect_open(&mut tx, new.organisation).await?;
            tx.exec(
                "INSERT INTO project (id, organisation_id, slug, name, description, controls, key_rules, disabled, \
                 version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, 1, $8, $8)",
                params![
                    &id.0,
                    &new.organisation.0,
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
            store.made_row(tx, id.0, Verb::ProjectCreate).await
        })
        .await
    }

    pub async fn project(&self, id: ProjectId) -> Result<ProjectRow> {
        self.row(id.0).await
    }

    /// Projects of this slug that somebody reaches: at most one in each organisation, at most two in all, since more than
    /// one is no answer.
    pub async fn projects_by_slug(
        &self,
        slug: &str,
        organisation: Option<OrganisationId>,
        within: &Sight,
    ) -> Result<Vec<ProjectRow>> {
        let mut sql = Conditions::new(&format!("{} WHERE deleted_at IS NULL", ProjectRow::SELECT));
        sql.within(within, COLUMNS);
        sql.and("slug = ", Value::from(slug));
        if let Some(organisation) = organisation {
            sql.and("organisation_id = ", Value::from(&organisation.0));
        }
        let (sql, values) = sql.finish(" ORDER BY id LIMIT 2");
        self.db.all(dynamic(sql), values).await
    }

    pub async fn projects(
        &self,
        filter: &TenancyFilter,
        page: Page<ProjectId>,
    ) -> Result<Listed<ProjectRow, ProjectId>> {
        let mut sql = Conditions::new(&format!("{} WHERE deleted_at IS NULL", ProjectRow::SELECT));
        sql.within(&filter.within, COLUMNS);
        narrow_q(&mut sql, filter.q.as_ref(), &["name", "slug"]);
        if let Some(organisation) = filter.organisation {
            sql.and("organisation_id = ", Value::from(&organisation.0));
        }
        if let Some(person) = filter.person {
            let person = sql.bind(Value::from(&person.0));
            sql.and_text(&format!("id IN (SELECT project_id FROM project_role WHERE person_id = {person})"));
        }
        self.page_of(sql, "id", page, |id| id.0, |row: &ProjectRow| row.id).await
    }

    pub async fn update_project(
        &self,
        id: ProjectId,
        expected: Option<i64>,
        patch: ProjectPatch,
    ) -> Result<ProjectRow> {
        if patch.disabled == Some(true) && id == ProjectId::DEFAULT {
            return Err(StoreError::conflict(HOLDS_OWN_KEYS));
        }
        let alone = patch.slug.is_none() && patch.name.is_none() && patch.description.is_none();
        let verbs = [Verb::ProjectUpdate, Verb::ProjectDisable, Verb::ProjectEnable];
        let alone = alone && patch.controls.is_none() && patch.rules.is_none();
        let verb = verb_of(patch.disabled, alone, verbs);
        let step: LevelStep<ProjectRow> = Box::new(move |store, tx, row| Box::pin(update(tx, row, patch, store.now())));
        self.change_row(id.0, expected, verb, step).await
    }

    /// A tombstone stays, so that keys and records keep a name.
    pub async fn delete_project(&self, id: ProjectId, expected: Option<i64>) -> Result<ProjectRow> {
        if id == ProjectId::DEFAULT {
            return Err(StoreError::conflict(HOLDS_OWN_KEYS));
        }
        let step: LevelStep<ProjectRow> = Box::new(move |store, tx, _| {
            Box::pin(async move {
                tx.exec("UPDATE project SET deleted_at = $2 WHERE id = $1", params![&id.0, store.now()])
                    .await
                    .map(|_| ())
            })
        });
        self.change_row(id.0, expected, Verb::ProjectDelete, step).await
    }

    /// What the organisation of a project and the project itself ask of keys there.
    pub async fn key_rules(&self, project: ProjectId) -> Result<RulesAbove> {
        let found = self.db.one::<BothRules>(BOTH_RULES, params![&project.0]).await?;
        found.map(|rules| rules.0).ok_or(StoreError::NotFound("project"))
    }

    /// The people who own a project, by name.
    pub async fn project_owners(&self, id: ProjectId) -> Result<Vec<PersonRow>> {
        let sql = format!(
            "{} WHERE deleted_at IS NULL AND id IN (SELECT person_id FROM project_role WHERE project_id = $1) \
             ORDER BY name, id",
            crate::people::SELECT
        );
        self.db.all(dynamic(sql), params![&id.0]).await
    }

    /// Makes a member of the organisation an owner of one of its projects.
    pub async fn add_project_owner(&self, id: ProjectId, person: PersonId) -> Result<ProjectRow> {
        self.change_owners(id, person, true).await
    }

    pub async fn remove_project_owner(&self, id: ProjectId, person: PersonId) -> Result<ProjectRow> {
        self.change_owners(id, person, false).await
    }

    /// Who owns a project says nothing of its keys, so nothing in memory changes.
    async fn change_owners(&self, id: ProjectId, person: PersonId, add: bool) -> Result<ProjectRow> {
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let locked = "UPDATE project SET updated_at = $2 WHERE id = $1 AND deleted_at IS NULL";
            if tx.exec(locked, params![&id.0, now]).await? == 0 {
                return Err(StoreError::NotFound("project"));
            }
            let row: ProjectRow = read_row(&mut tx, id.0).await?;
            let changed = if add {
                add_owner(&mut tx, &row, person, now).await?
            } else {
                let remove = "DELETE FROM project_role WHERE project_id = $1 AND person_id = $2";
                match tx.exec(remove, params![&id.0, &person.0]).await? {
                    0 => return Err(StoreError::NotFound("project owner")),
                    _ => true,
                }
            };
            if changed {
                let verb = if add { Verb::ProjectOwnerAdd } else { Verb::ProjectOwnerRemove };
                let facts = Facts::default().with("person_id", person.to_string());
                let ended = end_for_roles(&mut tx, person).await?;
                let deeds = std::iter::once(Deed::done(verb, row.object(), facts)).chain(ended).collect();
                store.record_all(&mut tx, deeds).await?;
            }
            tx.commit().await?;
            Ok(row)
        })
        .await
    }
}

const BOTH_RULES: &str = "SELECT o.key_rules, p.key_rules FROM project p JOIN organisation o ON o.id = \
     p.organisation_id WHERE p.id = $1";

struct BothRules(RulesAbove);

impl FromRow for BothRules {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(BothRules(RulesAbove { organisation: read_rules(row)?, project: read_rules(row)? }))
    }
}

/// The same in the middle of a change.
pub(crate) async fn rules_above(tx: &mut Tx, project: ProjectId) -> Result<RulesAbove> {
    let found = tx.one::<BothRules>(BOTH_RULES, params![&project.0]).await?;
    found.map(|rules| rules.0).ok_or(StoreError::NotFound("project"))
}

/// Says whether they were not an owner before.
async fn add_owner(tx: &mut Tx, row: &ProjectRow, person: PersonId, now: i64) -> Result<bool> {
    let member: Option<(Vec<u8>,)> = tx
        .one(
            "SELECT id FROM membership WHERE organisation_id = $1 AND person_id = $2 AND deleted_at IS NULL",
            params![&row.organisation.0, &person.0],
        )
        .await?;
    if member.is_none() {
        return Err(StoreError::invalid("person", "is not a member of the project's organisation"));
    }
    let added = tx
        .exec(
            "INSERT INTO project_role (project_id, person_id, role, created_at) VALUES ($1, $2, 'owner', $3) \
             ON CONFLICT (project_id, person_id) DO NOTHING",
            params![&row.id.0, &person.0, now],
        )
        .await?;
    Ok(added == 1)
}

async fn update(tx: &mut Tx, row: ProjectRow, patch: ProjectPatch, now: i64) -> Result<()> {
    let slug = patch.slug.unwrap_or(row.slug);
    let name = patch.name.unwrap_or(row.name);
    let description = patch.description.unwrap_or(row.description);
    check(&slug, &name, &description)?;
    let controls = controls::after(&row.controls, patch.controls, now)?;
    tx.exec(
        "UPDATE project SET slug = $2, name = $3, description = $4, controls = $5, key_rules = $6, disabled = $7 \
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

/// Nothing new is made in an organisation that is gone.
pub(crate) async fn expect_open(tx: &mut Tx, id: OrganisationId) -> Result<()> {
    match read_row::<OrganisationRow>(tx, id.0).await {
        Ok(row) if row.deleted_at.is_none() => Ok(()),
        Ok(_) | Err(StoreError::NotFound(_)) => Err(StoreError::invalid("organisation", "is not an organisation here")),
        Err(error) => Err(error),
    }
}
