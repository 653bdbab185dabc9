//! Who is told of a request: those who can decide when it comes in, whoever asked of what became of it.

use crate::Store;
use crate::approval_types::ApprovalRow;
use crate::audit::inert_text;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::key_rows::secrets_of;
use crate::keys::reread;
use crate::notices::{Draft, owners_mail};
use anykey_core::PersonId;
use anykey_core::notice::Event;
use serde_json::{Map, json};

impl Store {
    /// Tells those who can decide, or whoever asked, and the destinations.
    pub(super) async fn tell_of_approval(
        &self,
        tx: &mut Tx,
        event: Event,
        row: &ApprovalRow,
        to: Vec<String>,
    ) -> Result<bool> {
        let text = |text: &str| inert_text(text, &self.brand);
        let mut draft = match row.key {
            Some(id) => {
                let key = reread(tx, id).await?;
                let above = self.above_in(tx, &key.placement).await?;
                let key = key.show(&secrets_of(tx, id).await?, &above, &self.brand, self.now());
                Draft::of_key(event, &key, self.key_data(&key), to)
            }
            None => {
                let (organisation, project) = (Some(row.organisation), Some(row.project));
                Draft { event, organisation, project, key: None, data: Map::new(), to }
            }
        };
        draft.data.insert(
            "request".into(),
            json!({
                "id": row.id.to_string(),
                "asked_by": text(&row.asked_by.name),
                "wants": text(&row.wants()),
                "new_key": row.new_key.as_ref().map(|key| text(&key.name)),
                "reason": text(&row.reason),
                "state": row.state.name(),
                "decided_by": row.decided_by.as_ref().map(|who| text(&who.name)),
                "answer": row.answer.as_deref().map(text),
                "until_at": row.ends_at,
                "lapses_at": row.lapses_at,
            }),
        );
        self.post(tx, draft).await
    }

    /// The mailboxes of those who can decide: who owns the project, or else the admins of the organisation. Whoever asked
    /// is not among them.
    pub(super) async fn deciders(&self, tx: &mut Tx, row: &ApprovalRow) -> Result<Vec<String>> {
        let asker = asker_mail(tx, row).await?;
        let mut found = owners_mail(tx, row.project).await?;
        found.retain(|address| !asker.contains(address));
        if found.is_empty() {
            let admins: Vec<(String,)> = tx
                .all(
                    "SELECT p.email FROM membership m JOIN person p ON p.id = m.person_id \
                     WHERE m.organisation_id = $1 AND m.role = 'admin' AND m.deleted_at IS NULL AND NOT m.disabled \
                     AND p.deleted_at IS NULL AND NOT p.disabled ORDER BY p.email",
                    params![&row.organisation.0],
                )
                .await?;
            found = admins.into_iter().map(|(email,)| email).filter(|address| !asker.contains(address)).collect();
        }
        Ok(found)
    }
}

pub(super) async fn asker_mail(tx: &mut Tx, row: &ApprovalRow) -> Result<Vec<String>> {
    let Some(person) = PersonId::parse(&row.asked_by.id) else { return Ok(Vec::new()) };
    let found: Vec<(String,)> = tx
        .all("SELECT email FROM person WHERE id = $1 AND deleted_at IS NULL AND NOT disabled", params![&person.0])
        .await?;
    Ok(found.into_iter().map(|(email,)| email).collect())
}
