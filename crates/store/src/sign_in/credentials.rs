//! What somebody proves themselves by: a password's hash, a sealed second factor, recovery codes.

use super::{Person, Purpose, person};
use crate::Store;
use crate::audit::{Deed, Facts, Verb};
use crate::db::{FromRow, Row, Tx, params};
use crate::error::{Result, StoreError};
use crate::seal::Place;
use crate::sql::dynamic;
use anykey_core::PersonId;
use anykey_core::token::Digest;
use zeroize::Zeroizing;

/// Somebody who may sign in, and what they prove it by.
#[derive(Debug)]
pub struct Account {
    pub person: Person,
    /// The Argon2id hash as text. Without one there is no signing in by password.
    pub password: Option<String>,
    pub second_factor: Option<SecondFactor>,
}

/// The secret of a second factor, opened.
pub struct SecondFactor {
    pub secret: Zeroizing<Vec<u8>>,
    /// Whether it is asked for; before that it is being set up.
    pub on: bool,
    /// The last step of time whose code was used: a code works once.
    pub step: i64,
}

impl std::fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecondFactor").field("on", &self.on).finish_non_exhaustive()
    }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "credential", row, column: "totp" }
}

struct Found {
    person: Person,
    password: Option<String>,
    totp: Option<String>,
    totp_on: Option<bool>,
    totp_step: Option<i64>,
}

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(Found {
            person: Person::read(row)?,
            password: row.take()?,
            totp: row.take()?,
            totp_on: row.take()?,
            totp_step: row.take()?,
        })
    }
}

/// One query, so that somebody who is there takes no longer than somebody who is not.
const ACCOUNT: &str = "SELECT p.id, p.email, p.name, p.operator, c.password, c.totp, c.totp_on, c.totp_step \
     FROM person p LEFT JOIN credential c ON c.person_id = p.id WHERE NOT p.disabled AND p.deleted_at IS NULL";

impl Store {
    /// Whoever has this e-mail, in any case of letters, and may sign in.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>> {
        let sql = dynamic(format!("{ACCOUNT} AND p.email_key = $1"));
        let found: Option<Found> = self.db.one(sql, params![email.to_lowercase()]).await?;
        found.map(|found| self.account_of(found)).transpose()
    }

    pub async fn account(&self, id: PersonId) -> Result<Account> {
        let sql = dynamic(format!("{ACCOUNT} AND p.id = $1"));
        let found: Option<Found> = self.db.one(sql, params![&id.0]).await?;
        self.account_of(found.ok_or(StoreError::NotFound("person"))?)
    }

    fn account_of(&self, found: Found) -> Result<Account> {
        let second_factor = match found.totp {
            Some(sealed) => Some(SecondFactor {
                secret: self.sealer.open(place(&found.person.id.to_string()), &sealed)?,
                on: found.totp_on.unwrap_or_default(),
                step: found.totp_step.unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Account { person: found.person, password: found.password, second_factor })
    }

    /// Sets a password and ends every session but `keep`, in one go.
    pub async fn set_password(&self, id: PersonId, hash: String, keep: Option<Digest>) -> Result<()> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let person = person(&mut tx, id).await?;
            put_password(&mut tx, id, &hash).await?;
            let ended = super::sessions::end_others(&mut tx, id, keep).await?;
            let told = Facts::default().with("sessions_ended", ended);
            store.record(&mut tx, Deed::done(Verb::PasswordSet, person.object(), told)).await?;
            tx.commit().await
        })
        .await
    }

    /// Keeps the secret of a second factor that is being set up; it is asked for from [`Store::enable_totp`] on.
    pub async fn begin_totp(&self, id: PersonId, secret: &[u8]) -> Result<()> {
        let sealed = self.sealer.seal(place(&id.to_string()), secret)?;
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let person = person(&mut tx, id).await?;
            let begin = "UPDATE credential SET totp = $2, totp_step = 0 WHERE person_id = $1 AND NOT totp_on";
            if tx.exec(begin, params![&id.0, sealed]).await? == 0 {
                return Err(StoreError::conflict("a second factor is on; take it away first"));
            }
            store.record(&mut tx, Deed::done(Verb::TotpBegin, person.object(), Facts::default())).await?;
            tx.commit().await
        })
        .await
    }

    /// From now on the second factor is asked for. `step` is that of the code by which it was shown to work.
    pub async fn enable_totp(&self, id: PersonId, step: i64, recovery: &[String]) -> Result<()> {
        let digests: Vec<Digest> =
            recovery.iter().map(|code| self.digest_of(Purpose::Recovery, code.as_bytes())).collect();
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let person = person(&mut tx, id).await?;
            let on = "UPDATE credential SET totp_on = TRUE, totp_step = $2 \
                      WHERE person_id = $1 AND NOT totp_on AND totp IS NOT NULL";
            if tx.exec(on, params![&id.0, step]).await? == 0 {
                return Err(StoreError::conflict("no second factor is being set up"));
            }
            tx.exec("DELETE FROM recovery_code WHERE person_id = $1", params![&id.0]).await?;
            for digest in &digests {
                tx.exec("INSERT INTO recovery_code (person_id, digest) VALUES ($1, $2)", params![&id.0, &digest.0])
                    .await?;
            }
            store.record(&mut tx, Deed::done(Verb::TotpEnable, person.object(), Facts::default())).await?;
            tx.commit().await
        })
        .await
    }

    pub async fn disable_totp(&self, id: PersonId) -> Result<()> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let person = person(&mut tx, id).await?;
            take_totp_away(&mut tx, id).await?;
            store.record(&mut tx, Deed::done(Verb::TotpDisable, person.object(), Facts::default())).await?;
            tx.commit().await
        })
        .await
    }

    /// Uses up a step of time; false where it, or a later one, was used before.
    pub async fn use_totp_step(&self, id: PersonId, step: i64) -> Result<bool> {
        let used = "UPDATE credential SET totp_step = $2 WHERE person_id = $1 AND totp_on AND totp_step < $2";
        Ok(self.db.exec(used, params![&id.0, step]).await? == 1)
    }

    /// Uses up a recovery code; false where there is none such.
    pub async fn use_recovery_code(&self, id: PersonId, code: &str) -> Result<bool> {
        let digest = self.digest_of(Purpose::Recovery, code.as_bytes());
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let gone = "DELETE FROM recovery_code WHERE person_id = $1 AND digest = $2";
            if tx.exec(gone, params![&id.0, &digest.0]).await? == 0 {
                return Ok(false);
            }
            let person = person(&mut tx, id).await?;
            let left: Option<(i64,)> =
                tx.one("SELECT COUNT(*) FROM recovery_code WHERE person_id = $1", params![&id.0]).await?;
            let told = Facts::default().with("left", left.map(|(left,)| left));
            store.record(&mut tx, Deed::done(Verb::RecoveryUse, person.object(), told)).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }
}

pub(super) async fn put_password(tx: &mut Tx, id: PersonId, hash: &str) -> Result<()> {
    tx.exec(
        "INSERT INTO credential (person_id, password, totp_on, totp_step) VALUES ($1, $2, FALSE, 0) \
         ON CONFLICT (person_id) DO UPDATE SET password = excluded.password",
        params![&id.0, hash],
    )
    .await
    .map(|_| ())
}

pub(super) async fn take_totp_away(tx: &mut Tx, id: PersonId) -> Result<()> {
    let off = "UPDATE credential SET totp = NULL, totp_on = FALSE, totp_step = 0 WHERE person_id = $1";
    tx.exec(off, params![&id.0]).await?;
    tx.exec("DELETE FROM recovery_code WHERE person_id = $1", params![&id.0]).await.map(|_| ())
}
