//! The part of the second migration that SQL cannot say: the free texts that keys had for a project become projects, and
//! what searches look at is put in the lower case of every script.

use crate::change::Boxed;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::slug;
use anykey_core::{OrganisationId, ProjectId};

pub(crate) fn adopt(tx: &mut Tx, now_ms: i64) -> Boxed<'_, ()> {
    Box::pin(async move {
        adopt_projects(tx, now_ms).await?;
        lower(tx).await
    })
}

async fn adopt_projects(tx: &mut Tx, now_ms: i64) -> Result<()> {
    let names: Vec<(String,)> = tx
        .all(
            "SELECT DISTINCT project FROM api_key WHERE project IS NOT NULL AND project <> '' ORDER BY project",
            params![],
        )
        .await?;
    let mut taken = vec!["default".to_owned()];
    for (name,) in names {
        let id = ProjectId::random(now_ms)?;
        let slug = slug::free(&slug::of(&name), |slug| taken.iter().any(|known| known == slug));
        tx.exec(
            "INSERT INTO project (id, organisation_id, slug, name, description, disabled, version, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, '', FALSE, 1, $5, $5)",
            params![&id.0, &OrganisationId::DEFAULT.0, &slug, &name, now_ms],
        )
        .await?;
        tx.exec("UPDATE api_key SET project_id = $1 WHERE project = $2", params![&id.0, &name]).await?;
        taken.push(slug);
    }
    // From now on the project's own row says what it is called.
    tx.exec("UPDATE api_key SET project = NULL WHERE project IS NOT NULL", params![]).await.map(|_| ())
}

/// SQLite's LOWER knows ASCII only.
async fn lower(tx: &mut Tx) -> Result<()> {
    let rows: Vec<(Vec<u8>, String)> = tx.all("SELECT id, search FROM api_key", params![]).await?;
    for (id, search) in rows {
        let lower = search.to_lowercase();
        if lower != search {
            tx.exec("UPDATE api_key SET search = $2 WHERE id = $1", params![id.as_slice(), &lower]).await?;
        }
    }
    Ok(())
}
