//! People as issuers of OpenID Connect know them: found by issuer and subject, and by an e-mail only where the settings
//! say so. Taking somebody in and giving them what their claims stand for is one transaction.

use super::claimed::{self, Recognised};
use super::roles::end_for_claims;
use super::{Account, ClaimedRole, Person};
use crate::Store;
use crate::audit::{Deed, Facts, Object, ObjectKind, Verb};
use crate::change::Change;
use crate::db::{Tx, params};
use crate::error::{Result, StoreError};
use crate::people;
use crate::tenancy_types::{NewPerson, PersonRow};
use anykey_core::PersonId;

/// Somebody for whom an issuer has vouched, and what its claims come to by the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The issuer's URL, exactly as its tokens have it.
    pub issuer: String,
    /// Its own name for them, which never changes and is never given to another.
    pub subject: String,
    /// Only one that the issuer has verified.
    pub email: Option<String>,
    pub name: String,
    /// The first for an organisation counts.
    pub roles: Vec<ClaimedRole>,
    pub operator: bool,
    /// Whether somebody who is not known yet is taken in.
    pub may_create: bool,
    /// Whether somebody who is known by the e-mail, and not at this issuer yet, is them.
    pub may_link: bool,
}

impl Store {
    /// Finds or takes in whom an issuer vouches for, and sets their roles by its claims.
    pub async fn recognise(&self, claimed: Claimed) -> Result<Recognised> {
        match self.recognise_once(claimed.clone()).await {
            // Of two first sign-ins at once one comes later, and finds what the other made.
            Err(StoreError::Conflict(_)) => self.recognise_once(claimed).await,
            done => done,
        }
    }

    async fn recognise_once(&self, claimed: Claimed) -> Result<Recognised> {
        let fresh = PersonId::random(self.now())?;
        self.detached(move |store| async move {
            let now = store.now();
            let mut tx = store.db.begin().await?;
            let mut deeds = Vec::new();
            let person = match find(&mut tx, &claimed, now).await? {
                Found::Person(person) => person,
                Found::Refused(refused) => return Ok(refused),
                Found::New { email } => {
                    let name = Some(claimed.name.trim()).filter(|name| !name.is_empty()).unwrap_or(&email).to_owned();
                    let new = NewPerson { email, name, operator: false };
                    let person = people::insert(&mut tx, fresh, &new, now).await?;
                    deeds.push(Deed::made(Verb::PersonCreate, &person));
                    link(&mut tx, &claimed, &person, now, &mut deeds).await?;
                    person
                }
                Found::ByEmail(person) => {
                    link(&mut tx, &claimed, &person, now, &mut deeds).await?;
                    person
                }
            };
            let levels = claimed::apply(&mut tx, &claimed, person.id, now, &mut deeds).await?;
            if deeds.iter().any(Deed::is_of_roles) {
                deeds.extend(end_for_claims(&mut tx, person.id).await?);
            }
            store.record_all(&mut tx, deeds).await?;
            for level in &levels {
                store.announce(&mut tx, Change::Level(level.id)).await?;
            }
            tx.commit().await?;
            for level in &levels {
                store.cache.level_changed(level, now);
            }
            Ok(Recognised::Known(store.account(person.id).await?))
        })
        .await
    }

    /// Notes that an issuer vouched for somebody who is not let in.
    pub async fn note_refused_at(&self, issuer: &str, subject: &str, why: &'static str) -> Result<()> {
        let object = Object::new(ObjectKind::Person, subject, issuer);
        let deed = Deed::done(Verb::SessionRefuse, object, Facts::default().with("why", why));
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            store.record(&mut tx, deed).await?;
            tx.commit().await
        })
        .await
    }
}

enum Found {
    Person(PersonRow),
    /// Somebody whom only their e-mail says to be known here.
    ByEmail(PersonRow),
    New {
        email: String,
    },
    Refused(Recognised),
}

async fn find(tx: &mut Tx, claimed: &Claimed, now: i64) -> Result<Found> {
    if let Some(id) = by_subject(tx, claimed, now).await? {
        let person = people::read(tx, id).await?;
        if person.disabled {
            return Ok(Found::Refused(Recognised::Disabled(shown(&person))));
        }
        if person.deleted_at.is_none() {
            return Ok(Found::Person(person));
        }
    }
    let Some(email) = claimed.email.clone() else { return Ok(Found::Refused(Recognised::Stranger)) };
    let sql = format!("{} WHERE email_key = $1 AND deleted_at IS NULL", people::SELECT);
    let by_email: Option<PersonRow> = tx.one(crate::sql::dynamic(sql), params![people::email_key(&email)]).await?;
    let Some(person) = by_email else {
        return Ok(if claimed.may_create { Found::New { email } } else { Found::Refused(Recognised::Stranger) });
    };
    if person.disabled {
        return Ok(Found::Refused(Recognised::Disabled(shown(&person))));
    }
    // Of two first sign-ins at once the other may have come in between the two looks.
    if by_subject(tx, claimed, now).await? == Some(person.id) {
        return Ok(Found::Person(person));
    }
    // Who runs the installation is not handed over with an address, unless the claims make them an operator anyway. And
    // an address that the issuer has given to somebody else since is not theirs.
    let safe = claimed.may_link && (!person.operator || claimed.operator) && !is_linked(tx, claimed, person.id).await?;
    Ok(if safe { Found::ByEmail(person) } else { Found::Refused(Recognised::EmailTaken(shown(&person))) })
}

/// Locks the row, so that two sign-ins of one person set their roles one after the other.
async fn by_subject(tx: &mut Tx, claimed: &Claimed, now: i64) -> Result<Option<PersonId>> {
    let seen: Option<(Vec<u8>,)> = tx
        .one(
            "UPDATE identity SET seen_at = $3 WHERE issuer = $1 AND subject = $2 RETURNING person_id",
            params![&claimed.issuer, &claimed.subject, now],
        )
        .await?;
    Ok(seen.and_then(|(id,)| PersonId::from_slice(&id)))
}

async fn is_linked(tx: &mut Tx, claimed: &Claimed, id: PersonId) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM identity WHERE person_id = $1 AND issuer = $2";
    let found: Option<(i64,)> = tx.one(sql, params![&id.0, &claimed.issuer]).await?;
    Ok(found.is_some_and(|(count,)| count > 0))
}

async fn link(tx: &mut Tx, claimed: &Claimed, person: &PersonRow, now: i64, deeds: &mut Vec<Deed>) -> Result<()> {
    // What is there is of somebody who was deleted.
    tx.exec(
        "INSERT INTO identity (issuer, subject, person_id, created_at, seen_at) VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (issuer, subject) DO UPDATE SET person_id = excluded.person_id, created_at = excluded.created_at",
        params![&claimed.issuer, &claimed.subject, &person.id.0, now],
    )
    .await?;
    let told = Facts::default().with("issuer", claimed.issuer.as_str()).with("subject", claimed.subject.as_str());
    deeds.push(Deed::done(Verb::IdentityLink, shown(person).object(), told));
    Ok(())
}

fn shown(person: &PersonRow) -> Person {
    Person { id: person.id, email: person.email.clone(), name: person.name.clone(), operator: person.operator }
}

impl Account {
    /// Whether a second factor is asked of them.
    pub fn has_second_factor(&self) -> bool {
        self.second_factor.as_ref().is_some_and(|factor| factor.on)
    }
}
