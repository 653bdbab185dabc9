//! Whose roles are others than they were signs in anew: a session stands for somebody as they were when it began.

use super::sessions::end_others;
use crate::audit::{Deed, Facts, Object, ObjectKind, Verb, actor_id};
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use anykey_core::PersonId;

/// Ends somebody's sessions since their roles change, and says what is to be recorded of it after the change itself.
/// Whoever changes their own roles knows of it and goes on: what they may is read with each request.
pub(crate) async fn end_for_roles(tx: &mut Tx, owner: PersonId) -> Result<Option<Deed>> {
    if actor_id().is_some_and(|actor| actor == owner.to_string()) {
        return Ok(None);
    }
    end_for_claims(tx, owner).await
}

/// The same where an issuer's claims change them, with the sign-in that a new session comes from.
pub(super) async fn end_for_claims(tx: &mut Tx, owner: PersonId) -> Result<Option<Deed>> {
    let ended = end_others(tx, owner, None).await?;
    if ended == 0 {
        return Ok(None);
    }
    let email: Option<(String,)> = tx.one("SELECT email FROM person WHERE id = $1", params![&owner.0]).await?;
    let (email,) = email.ok_or(StoreError::NotFound("person"))?;
    let told = Facts::default().with("sessions_ended", ended).with("why", "the roles changed");
    Ok(Some(Deed::done(Verb::SessionEnd, Object::new(ObjectKind::Person, owner, email), told)))
}
