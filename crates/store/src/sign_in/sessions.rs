//! Sessions: a cookie's digest, whose it is, and until when. Whoever is ended is out with the next request.

use super::{OneTime, Person, Purpose, person};
use crate::Store;
use crate::audit::{Deed, Facts, Object, ObjectKind, Verb};
use crate::db::{FromRow, Row, Tx, Value, params};
use crate::error::{Result, StoreError};
use crate::sql::{Conditions, dynamic};
use anykey_core::token::Digest;
use anykey_core::{PersonId, SessionId};
use std::net::IpAddr;

/// A session ends when nobody used it for so long, and after so long whatever happens.
const IDLE_MS: i64 = 8 * 60 * 60 * 1000;
const LONGEST_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Uses are noted to this.
const NOTED_MS: i64 = 60 * 1000;

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub created_at: i64,
    /// To the minute.
    pub seen_at: i64,
    /// When it ends at the latest.
    pub expires_at: i64,
    pub ip: Option<String>,
    pub client: Option<String>,
    /// The issuer of OpenID Connect that vouched for them.
    pub issuer: Option<String>,
}

/// The same session, as the issuer knows it that vouched for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtIssuer {
    pub issuer: String,
    pub subject: String,
    /// The issuer's name for its own session, where it has one.
    pub session: Option<String>,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub session: SessionRow,
    pub person: Person,
    digest: Digest,
}

impl SignedIn {
    /// What [`Store::set_password`] keeps.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// An issuer's word that somebody's session there is over: one of theirs, or all.
#[derive(Clone, Debug)]
pub struct IssuerLogout {
    /// The issuer's URL, exactly as its tokens have it.
    pub issuer: String,
    pub subject: Option<String>,
    pub session: Option<String>,
    /// What tells this word from every other, and until when that is remembered.
    pub once: String,
    pub until: i64,
}

impl FromRow for SessionRow {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(SessionRow {
            id: SessionId(row.bytes()?),
            created_at: row.take()?,
            seen_at: row.take()?,
            expires_at: row.take()?,
            ip: row.take()?,
            client: row.take()?,
            issuer: row.take()?,
        })
    }
}

struct Found(SessionRow, Person);

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(Found(SessionRow::from_row(row)?, Person::read(row)?))
    }
}

impl Store {
    /// Begins a session. The token goes into the cookie and nowhere else.
    pub async fn begin_session(
        &self,
        id: PersonId,
        how: &'static str,
        ip: Option<IpAddr>,
        client: Option<String>,
    ) -> Result<(SignedIn, OneTime)> {
        self.begin_session_of(id, how, ip, client, None).await
    }

    /// Begins a session of somebody for whom an issuer may have vouched.
    pub async fn begin_session_of(
        &self,
        id: PersonId,
        how: &'static str,
        ip: Option<IpAddr>,
        client: Option<String>,
        at: Option<AtIssuer>,
    ) -> Result<(SignedIn, OneTime)> {
        let token = OneTime::random()?;
        let digest = self.digest_of(Purpose::Session, token.expose().as_bytes());
        let signed_in = self
            .detached(move |store| async move {
                let mut tx = store.db.begin().await?;
                let signed_in = insert(&store, &mut tx, id, digest, how, (ip, client, at)).await?;
                tx.commit().await?;
                Ok(signed_in)
            })
            .await?;
        Ok((signed_in, token))
    }

    /// Who a cookie's token stands for, if it still does.
    pub async fn signed_in(&self, token: &str) -> Result<Option<SignedIn>> {
        let digest = self.digest_of(Purpose::Session, token.as_bytes());
        let now = self.now();
        let found: Option<Found> = self
            .db
            .one(
                "SELECT s.id, s.created_at, s.seen_at, s.expires_at, s.ip, s.client, s.issuer, p.id, p.email, p.name, p.operator \
                 FROM session s JOIN person p ON p.id = s.person_id WHERE s.digest = $1 AND s.expires_at > $2 \
                 AND s.seen_at > $3 AND NOT p.disabled AND p.deleted_at IS NULL",
                params![&digest.0, now, now - IDLE_MS],
            )
            .await?;
        let Some(Found(session, person)) = found else { return Ok(None) };
        if now - session.seen_at >= NOTED_MS {
            let seen = "UPDATE session SET seen_at = $2 WHERE digest = $1 AND seen_at < $2";
            self.db.exec(seen, params![&digest.0, now]).await?;
        }
        Ok(Some(SignedIn { session, person, digest }))
    }

    /// Whether somebody who was signed in still is, as who they were.
    pub async fn is_signed_in(&self, who: &SignedIn) -> Result<bool> {
        let found: Option<(bool,)> = self
            .db
            .one(
                "SELECT p.operator FROM session s JOIN person p ON p.id = s.person_id \
                 WHERE s.digest = $1 AND s.expires_at > $2 AND NOT p.disabled AND p.deleted_at IS NULL",
                params![&who.digest.0, self.now()],
            )
            .await?;
        Ok(found == Some((who.person.operator,)))
    }

    /// What a page must send along to change something, so that another site cannot do it with this one's cookie.
    pub fn csrf_token(&self, session: &SignedIn) -> String {
        crate::secrets_files::hex(&self.digest_of(Purpose::Csrf, &session.digest.0).0)
    }

    /// A person's sessions that are alive, the newest first.
    pub async fn sessions(&self, id: PersonId) -> Result<Vec<SessionRow>> {
        let now = self.now();
        self.db
            .all(
                "SELECT id, created_at, seen_at, expires_at, ip, client, issuer FROM session \
                 WHERE person_id = $1 AND expires_at > $2 AND seen_at > $3 ORDER BY created_at DESC, id",
                params![&id.0, now, now - IDLE_MS],
            )
            .await
    }

    /// Ends one of a person's sessions.
    pub async fn end_session(&self, owner: PersonId, id: SessionId) -> Result<()> {
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            let gone = "DELETE FROM session WHERE id = $1 AND person_id = $2";
            if tx.exec(gone, params![&id.0, &owner.0]).await? == 0 {
                return Err(StoreError::NotFound("session"));
            }
            let object = Object::new(ObjectKind::Session, id, "");
            store.record(&mut tx, Deed::done(Verb::SessionEnd, object, Facts::default())).await?;
            tx.commit().await
        })
        .await
    }

    /// Ends what somebody has begun by way of an issuer, who says so. How many sessions it were; `None` where the issuer's
    /// word was used before. It is used up with what it ends or not at all, so that one that failed can be sent again.
    pub async fn end_sessions_at(&self, logout: IssuerLogout) -> Result<Option<usize>> {
        let IssuerLogout { issuer, subject, session, once, until } = logout;
        let digest = self.digest_of(super::Purpose::Spent, once.as_bytes());
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            if !super::once::spend_in(&mut tx, digest, until).await? {
                return Ok(None);
            }
            let mut sql = Conditions::new("SELECT id FROM session WHERE TRUE");
            sql.and("issuer = ", Value::from(&issuer));
            if let Some(subject) = &subject {
                sql.and("issuer_subject = ", Value::from(subject));
            }
            if let Some(session) = &session {
                sql.and("issuer_session = ", Value::from(session));
            }
            // Without either it would be everybody's.
            if subject.is_none() && session.is_none() {
                return Ok(Some(0));
            }
            let (sql, values) = sql.finish(" ORDER BY id");
            let found: Vec<(Vec<u8>,)> = tx.all(dynamic(sql), values).await?;
            let mut deeds = Vec::with_capacity(found.len());
            for id in found.iter().filter_map(|(id,)| SessionId::from_slice(id)) {
                tx.exec("DELETE FROM session WHERE id = $1", params![&id.0]).await?;
                let object = Object::new(ObjectKind::Session, id, "");
                deeds.push(Deed::done(Verb::SessionEnd, object, Facts::default().with("issuer", issuer.as_str())));
            }
            let ended = deeds.len();
            store.record_all(&mut tx, deeds).await?;
            tx.commit().await?;
            Ok(Some(ended))
        })
        .await
    }

    /// Notes that somebody who is known tried and failed.
    pub async fn note_refused(&self, person: &Person, why: &'static str) -> Result<()> {
        let deed = Deed::done(Verb::SessionRefuse, person.object(), Facts::default().with("why", why));
        self.detached(move |store| async move {
            let mut tx = store.db.begin().await?;
            store.record(&mut tx, deed).await?;
            tx.commit().await
        })
        .await
    }

    /// Throws out what is over. Ended by time, sessions leave no entry: their end was said when they began.
    pub(crate) async fn forget_sessions(&self) -> Result<()> {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        let now = self.now();
        self.db
            .exec("DELETE FROM session WHERE expires_at <= $1 OR seen_at <= $2", params![now, now - IDLE_MS])
            .await?;
        self.db.exec("DELETE FROM spent WHERE expires_at <= $1", params![now]).await?;
        self.db.exec("DELETE FROM throttle WHERE last_at <= $1", params![now - DAY_MS]).await?;
        // A used link is remembered as such for a day after its end, so that a second use is told as one.
        self.db.exec("DELETE FROM sign_in_link WHERE expires_at <= $1", params![now - DAY_MS]).await.map(|_| ())
    }
}

pub(super) async fn insert(
    store: &Store,
    tx: &mut Tx,
    owner: PersonId,
    digest: Digest,
    how: &'static str,
    (ip, client, at): (Option<IpAddr>, Option<String>, Option<AtIssuer>),
) -> Result<SignedIn> {
    let now = store.now();
    let person = person(tx, owner).await?;
    let session = SessionRow {
        id: SessionId::random(now)?,
        created_at: now,
        seen_at: now,
        expires_at: now + LONGEST_MS,
        ip: ip.map(|ip| ip.to_string()),
        client,
        issuer: at.as_ref().map(|at| at.issuer.clone()),
    };
    tx.exec(
        "INSERT INTO session (digest, id, person_id, created_at, seen_at, expires_at, ip, client, issuer, \
         issuer_subject, issuer_session) VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10)",
        params![
            &digest.0,
            &session.id.0,
            &owner.0,
            now,
            session.expires_at,
            &session.ip,
            &session.client,
            &session.issuer,
            &at.as_ref().map(|at| at.subject.clone()),
            &at.and_then(|at| at.session),
        ],
    )
    .await?;
    let object = Object::new(ObjectKind::Session, session.id, &person.email);
    let told = Facts::default().with("by", how).with("issuer", session.issuer.clone());
    let told = told.with("expires_at", session.expires_at);
    store.record(tx, Deed::done(Verb::SessionBegin, object, told)).await?;
    Ok(SignedIn { session, person, digest })
}

/// Ends a person's sessions but one, and says how many.
pub(super) async fn end_others(tx: &mut Tx, owner: PersonId, keep: Option<Digest>) -> Result<u64> {
    // No digest is empty, so without one to keep all of them differ.
    let keep = keep.map_or_else(Vec::new, |digest| digest.0.to_vec());
    tx.exec("DELETE FROM session WHERE person_id = $1 AND digest <> $2", params![&owner.0, keep.as_slice()]).await
}
