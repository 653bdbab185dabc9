//! How people sign in: their credentials, sessions and one-time links, and how often somebody may try. What a password's
//! hash or a code is made of is the control plane's to know; here are digests, sealed texts and clocks.

mod claimed;
mod credentials;
mod identities;
mod links;
mod once;
mod roles;
mod sessions;
mod throttle;

pub use claimed::{ClaimedRole, Recognised};
pub use credentials::{Account, SecondFactor};
pub use identities::Claimed;
pub use links::{Link, NewOwner};
pub use once::CookieUse;
pub(crate) use roles::end_for_roles;
pub use sessions::{AtIssuer, IssuerLogout, SessionRow, SignedIn};

use crate::audit::{Object, ObjectKind};
use crate::db::{FromRow, Row, Tx, params};
use crate::error::{Result, StoreError};
use anykey_core::PersonId;
use anykey_core::token::Digest;
use zeroize::Zeroizing;

/// A person as far as signing in is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub email: String,
    pub name: String,
    /// Runs the installation.
    pub operator: bool,
}

impl Person {
    pub(crate) fn object(&self) -> Object {
        Object::new(ObjectKind::Person, self.id, &self.email)
    }

    fn read(row: &mut Row) -> Result<Self> {
        Ok(Person { id: PersonId(row.bytes()?), email: row.take()?, name: row.take()?, operator: row.take()? })
    }
}

impl FromRow for Person {
    fn from_row(row: &mut Row) -> Result<Self> {
        Person::read(row)
    }
}

/// A random token that is shown once. Only its digest is stored.
pub struct OneTime(Zeroizing<String>);

impl OneTime {
    /// 256 bits from the operating system.
    pub fn random() -> Result<Self> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(OneTime(Zeroizing::new(crate::secrets_files::hex(bytes.as_slice()))))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for OneTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneTime(..)")
    }
}

/// What a token is for goes into its digest, so that none can stand for another.
#[derive(Clone, Copy)]
enum Purpose {
    Session,
    Csrf,
    Link,
    Recovery,
    Spent,
}

impl crate::Store {
    fn digest_of(&self, purpose: Purpose, token: &[u8]) -> Digest {
        let mut text = Zeroizing::new(match purpose {
            Purpose::Session => b"anykey session\n".to_vec(),
            Purpose::Csrf => b"anykey csrf\n".to_vec(),
            Purpose::Link => b"anykey link\n".to_vec(),
            Purpose::Recovery => b"anykey recovery code\n".to_vec(),
            Purpose::Spent => b"anykey spent\n".to_vec(),
        });
        text.extend_from_slice(token);
        self.pepper.digest(&text)
    }
}

const PERSON: &str =
    "SELECT p.id, p.email, p.name, p.operator FROM person p WHERE NOT p.disabled AND p.deleted_at IS NULL";

/// Somebody who may sign in.
async fn person(tx: &mut Tx, id: PersonId) -> Result<Person> {
    tx.one(crate::sql::dynamic(format!("{PERSON} AND p.id = $1")), params![&id.0])
        .await?
        .ok_or(StoreError::NotFound("person"))
}
