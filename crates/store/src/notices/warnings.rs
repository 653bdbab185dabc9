//! Warnings that a spend limit is nearly used up: each share once in each window of each limit.

use super::reminders::mark;
use super::{Draft, member_mail, owners_mail, placement};
use crate::Store;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::key_rows::secrets_of;
use crate::keys::reread;
use crate::levels;
use crate::notice_types::{SpendWarning, Warned};
use anykey_core::notice::{Event, Reminder};
use anykey_core::{LevelId, OrganisationId};
use serde_json::{Map, Value, json};

impl Store {
    /// Tells of a share of a spend limit that is used up; says whether it was not told before. To be called as often as one
    /// likes, by every replica that sees it.
    pub async fn warn_of_spend(&self, warning: SpendWarning) -> Result<bool> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let subject = match warning.of {
                Warned::Key(id) => id.0.to_vec(),
                Warned::Level(id) => [id.level().name().as_bytes(), &id.bytes()[..]].concat(),
            };
            let once = Reminder { event: Event::SpendWarning, stage: warning.percent, due: warning.window_start };
            if !mark(&mut tx, &subject, once, store.now()).await? {
                return Ok(false);
            }
            let mut draft = store.warned(&mut tx, warning.of).await?;
            draft.data.insert(
                "limit".into(),
                json!({
                    "percent": warning.percent,
                    "window": warning.window,
                    "used_usd": warning.used.to_string(),
                    "limit_usd": warning.limit.to_string(),
                    "resets_at": warning.resets_at,
                }),
            );
            store.post(&mut tx, draft).await?;
            tx.commit().await?;
            store.wake_outbox();
            Ok(true)
        })
        .await
    }

    /// Whom a warning concerns, and how they are called.
    async fn warned(&self, tx: &mut Tx, of: Warned) -> Result<Draft> {
        let id = match of {
            Warned::Key(id) => {
                let key = reread(tx, id).await?;
                let above = self.above_in(tx, &key.placement).await?;
                let secrets = secrets_of(tx, id).await?;
                let row = key.show(&secrets, &above, &self.brand, self.now());
                let to = self.answerable(tx, &placement(&row)).await?;
                return Ok(Draft::of_key(Event::SpendWarning, &row, self.key_data(&row), to));
            }
            Warned::Level(id) => id,
        };
        let level = levels::read_in(tx, id).await?;
        let about = json!({
            "kind": id.level().name(),
            "id": id.to_string(),
            "name": super::inert_text(&level.name, &self.brand),
        });
        let (organisation, project, to) = match id {
            LevelId::Organisation(organisation) => (organisation, None, Vec::new()),
            LevelId::Project(project) => {
                let to = owners_mail(tx, project).await?;
                (organisation_of(tx, "project", &project.0).await?, Some(project), to)
            }
            LevelId::Member(member) => {
                let organisation = organisation_of(tx, "membership", &member.0).await?;
                (organisation, None, member_mail(tx, member).await?)
            }
            LevelId::ServiceAccount(account) => {
                (organisation_of(tx, "service_account", &account.0).await?, None, Vec::new())
            }
        };
        let data: Map<String, Value> = Map::from_iter([("scope".to_owned(), about)]);
        Ok(Draft { event: Event::SpendWarning, organisation: Some(organisation), project, key: None, data, to })
    }
}

async fn organisation_of(tx: &mut Tx, table: &'static str, id: &[u8; 16]) -> Result<OrganisationId> {
    let sql = crate::sql::dynamic(format!("SELECT organisation_id FROM {table} WHERE id = $1"));
    let found: Option<(Vec<u8>,)> = tx.one(sql, params![id]).await?;
    found.and_then(|(id,)| OrganisationId::from_slice(&id)).ok_or(StoreError::NotFound("organisation"))
}
