//! One-time links, by which the first owner comes in and a password is set anew: short-lived, used once, stored hashed.

use super::credentials::{put_password, take_totp_away};
use super::{OneTime, Person, Purpose, person, sessions};
use crate::Store;
use crate::audit::{Deed, Facts, Object, ObjectKind, Verb};
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::valid;
use anykey_core::PersonId;

/// How long a link can be used.
const LIVES_MS: i64 = 60 * 60 * 1000;

/// A link that was made; its token is shown once.
#[derive(Debug)]
pub struct Link {
    pub token: OneTime,
    pub expires_at: i64,
    /// Whose password it sets; `None` makes the first owner.
    pub person: Option<Person>,
}

/// Who the first owner says that they are.
#[derive(Clone, Debug)]
pub struct NewOwner {
    pub email: String,
    pub name: String,
}

impl Store {
    /// Whether somebody runs this installation who can sign in.
    pub async fn has_owner(&self) -> Result<bool> {
        let found: Option<(i64,)> = self
            .db
            .one(
                "SELECT COUNT(*) FROM person p LEFT JOIN credential c ON c.person_id = p.id \
                 WHERE p.operator AND NOT p.disabled AND p.deleted_at IS NULL AND (c.password IS NOT NULL \
                 OR EXISTS (SELECT 1 FROM identity i WHERE i.person_id = p.id))",
                params![],
            )
            .await?;
        Ok(found.is_some_and(|(count,)| count > 0))
    }

    /// Makes a link for the first owner, or, by an e-mail, for somebody to set their password. Older links for the same
    /// end with it.
    pub async fn make_link(&self, email: Option<&str>) -> Result<Link> {
        let person = match email {
            Some(email) => Some(self.account_by_email(email).await?.ok_or(StoreError::NotFound("person"))?.person),
            None if self.has_owner().await? => {
                return Err(StoreError::conflict(
                    "the installation has an owner; name the e-mail of whoever shall set their password",
                ));
            }
            None => None,
        };
        let token = OneTime::random()?;
        let digest = self.digest_of(Purpose::Link, token.expose().as_bytes());
        let expires_at = self.now() + LIVES_MS;
        let of = person.clone();
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            match &of {
                Some(person) => {
                    tx.exec("DELETE FROM sign_in_link WHERE person_id = $1 AND used_at IS NULL", params![&person.id.0])
                        .await?
                }
                None => {
                    tx.exec("DELETE FROM sign_in_link WHERE person_id IS NULL AND used_at IS NULL", params![]).await?
                }
            };
            let owner = crate::db::Value::from(of.as_ref().map_or(&[][..], |person| &person.id.0));
            let sql = if of.is_some() {
                "INSERT INTO sign_in_link (digest, expires_at, person_id) VALUES ($1, $2, $3)"
            } else {
                "INSERT INTO sign_in_link (digest, expires_at) VALUES ($1, $2)"
            };
            let mut values = params![&digest.0, expires_at];
            if of.is_some() {
                values.push(owner);
            }
            tx.exec(sql, values).await?;
            store.record(&mut tx, Deed::done(Verb::LinkMake, object(of.as_ref()), ends(expires_at))).await?;
            tx.commit().await
        })
        .await?;
        Ok(Link { token, expires_at, person })
    }

    /// Whether a link could be used now, and whose password it would set. Asked before a password is hashed, which costs
    /// more than a stranger may have.
    pub async fn link_owner(&self, token: &str) -> Result<Option<PersonId>> {
        let digest = self.digest_of(Purpose::Link, token.as_bytes());
        let found: Option<(Option<Vec<u8>>, i64, Option<i64>)> = self
            .db
            .one("SELECT person_id, expires_at, used_at FROM sign_in_link WHERE digest = $1", params![&digest.0])
            .await?;
        match found {
            Some((owner, expires_at, None)) if expires_at > self.now() => {
                Ok(owner.and_then(|id| PersonId::from_slice(&id)))
            }
            Some(_) => Err(StoreError::conflict("the link was used or has run out")),
            None => Err(StoreError::NotFound("link")),
        }
    }

    /// Uses a link up: the password is set, older sessions are over, and the second factor is taken away, since whoever
    /// lost a password has often lost that too. Without a person the link makes the first owner.
    pub async fn use_link(&self, token: &str, hash: String, owner: Option<NewOwner>) -> Result<Person> {
        let digest = self.digest_of(Purpose::Link, token.as_bytes());
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let used: Option<(Option<Vec<u8>>,)> = tx
                .one(
                    "UPDATE sign_in_link SET used_at = $2 WHERE digest = $1 AND used_at IS NULL AND expires_at > $2 \
                     RETURNING person_id",
                    params![&digest.0, now],
                )
                .await?;
            let (id,) = used.ok_or_else(|| StoreError::conflict("the link was used or has run out"))?;
            let id = match (id.and_then(|id| PersonId::from_slice(&id)), owner) {
                (Some(id), _) => id,
                (None, Some(owner)) => insert_owner(&mut tx, owner, now).await?,
                (None, None) => return Err(StoreError::invalid("email", "is required")),
            };
            let person = person(&mut tx, id).await?;
            put_password(&mut tx, id, &hash).await?;
            take_totp_away(&mut tx, id).await?;
            let ended = sessions::end_others(&mut tx, id, None).await?;
            let told = Facts::default().with("sessions_ended", ended).with("operator", person.operator);
            store.record(&mut tx, Deed::done(Verb::LinkUse, person.object(), told)).await?;
            tx.commit().await?;
            Ok(person)
        })
        .await
    }
}

fn object(person: Option<&Person>) -> Object {
    match person {
        Some(person) => person.object(),
        None => Object::new(ObjectKind::Installation, "owner", "first owner"),
    }
}

fn ends(at: i64) -> Facts {
    Facts::default().with("expires_at", at)
}

/// The e-mail may be that of somebody who is known already, but cannot sign in yet.
async fn insert_owner(tx: &mut Tx, owner: NewOwner, now: i64) -> Result<PersonId> {
    valid::name("name", &owner.name, 200)?;
    let id = PersonId::random(now)?;
    let made: Option<(Vec<u8>,)> = tx
        .one(
            "INSERT INTO person (id, email, email_key, name, operator, disabled, version, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, TRUE, FALSE, 1, $5, $5) \
             ON CONFLICT (email_key) WHERE deleted_at IS NULL \
             DO UPDATE SET operator = TRUE, disabled = FALSE, version = person.version + 1, updated_at = $5 RETURNING id",
            params![&id.0, &owner.email, owner.email.to_lowercase(), &owner.name, now],
        )
        .await?;
    let id = made.and_then(|(id,)| PersonId::from_slice(&id));
    let id = id.ok_or_else(|| crate::db::damaged("an insert returned nothing"))?;
    crate::people::by_hand(tx, id).await?;
    Ok(id)
}
