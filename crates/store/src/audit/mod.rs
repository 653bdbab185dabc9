//! The audit log: who did what to what, written in the transaction that does it, each entry chained to the one before.
//!
//! Every way to change something ends in [`Store::record`]. Who is acting stands in the task ([`acting`]), so that no
//! layer between a request and a change can leave it out.

mod acting;
mod entry;
mod facts;
mod read;
mod verb;
mod verify;

pub(crate) use acting::actor_id;
pub use acting::{Acting, Actor, ActorKind, Surface, acting, carried};
pub use entry::{AuditEntry, hash_entry, unhex as read_hash};
pub use read::AuditFilter;
pub use verb::{ObjectKind, Verb};
pub use verify::{AuditBreak, AuditReport};

pub(crate) use facts::{Audited, Facts, inert as inert_text, policy, told};

use crate::Store;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::secrets_files::hex;
use anykey_core::OrganisationId;
use entry::{GENESIS, unhex};
use facts::{changed, inert};

/// One change, as whoever makes it tells it.
pub(crate) struct Deed {
    verb: Verb,
    object: Object,
    before: Option<Facts>,
    after: Option<Facts>,
}

/// What a change was made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub kind: ObjectKind,
    pub id: String,
    pub name: String,
    /// The organisation that it is in; `None` where it is the installation's.
    pub organisation: Option<OrganisationId>,
}

impl Deed {
    /// Something is there that was not.
    pub fn made(verb: Verb, after: &impl Audited) -> Self {
        Deed { verb, object: after.object(), before: None, after: Some(after.facts().known()) }
    }

    /// Something is another than it was; only what differs is kept.
    pub fn changed<T: Audited>(verb: Verb, before: &T, after: &T) -> Self {
        let (old, new) = changed(before.facts(), after.facts());
        Deed { verb, object: after.object(), before: Some(old), after: Some(new) }
    }

    /// Something is gone.
    pub fn removed(verb: Verb, before: &impl Audited) -> Self {
        Deed { verb, object: before.object(), before: Some(before.facts().known()), after: None }
    }

    /// Something was done to an object that is no change of its fields.
    pub fn done(verb: Verb, object: Object, facts: Facts) -> Self {
        Deed { verb, object, before: None, after: Some(facts) }
    }

    /// Whether somebody is given or loses a role by it.
    pub fn is_of_roles(&self) -> bool {
        use Verb::{MemberAdd, MemberRemove, MemberUpdate, PersonUpdate};
        matches!(self.verb, MemberAdd | MemberRemove | MemberUpdate | PersonUpdate)
    }

    /// The same of facts that were gathered by hand.
    pub fn differing(verb: Verb, object: Object, before: Facts, after: Facts) -> Self {
        let (old, new) = changed(before, after);
        Deed { verb, object, before: Some(old), after: Some(new) }
    }
}

/// The end of the chain, while it is locked.
struct Head {
    seq: i64,
    hash: [u8; 32],
    /// Whether it is the end that this installation wrote.
    whole: bool,
}

impl Store {
    /// Writes an entry as part of the change that it tells of. To be called after the last row of the change is locked
    /// and before [`Store::announce`]: writers queue here, so whoever waits must hold nothing that others still want.
    pub(crate) async fn record(&self, tx: &mut Tx, deed: Deed) -> Result<()> {
        self.record_all(tx, vec![deed]).await
    }

    /// Several entries of one change, in their order.
    pub(crate) async fn record_all(&self, tx: &mut Tx, deeds: Vec<Deed>) -> Result<()> {
        if deeds.is_empty() {
            return Ok(());
        }
        let mut head = self.lock_head(tx).await?;
        let who = acting::current();
        if !head.whole {
            // Whoever cleans up after an intruder must be able to disable keys, so a damaged log stops nothing. It says so
            // from here on, and verifying finds both this entry and what was done.
            tracing::error!(
                seq = head.seq,
                "the end of the audit log is not the one that was written; see anykey audit verify"
            );
            let found = Facts::default().with("seq", head.seq).with("hash", hex(&head.hash));
            let deed = Deed::done(Verb::AuditBroken, Object::log(), found);
            self.append(tx, &mut head, &Acting::system(), deed).await?;
        }
        for deed in deeds {
            self.append(tx, &mut head, &who, deed).await?;
        }
        let seal = self.audit_seal(head.seq, &head.hash);
        tx.exec(
            "UPDATE audit_head SET seq = $1, hash = $2, seal = $3 WHERE one = 1",
            params![head.seq, hex(&head.hash), seal],
        )
        .await
        .map(|_| ())
    }

    /// Begins the log of a new installation, so that a log without any entry is one that was emptied.
    pub(crate) async fn begin_audit(&self) -> Result<()> {
        let begun: Option<(i64,)> = self.db.one("SELECT seq FROM audit ORDER BY seq DESC LIMIT 1", params![]).await?;
        if begun.is_some() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        // Another replica may have begun it while this one waited for the lock.
        let head = self.lock_head(&mut tx).await?;
        if head.seq == 0 {
            self.record(&mut tx, Deed::done(Verb::AuditBegin, Object::log(), Facts::default())).await?;
        }
        tx.commit().await
    }

    async fn lock_head(&self, tx: &mut Tx) -> Result<Head> {
        const LOCK: &str = "UPDATE audit_head SET seq = seq WHERE one = 1 RETURNING seq, hash, seal";
        let found: Option<(i64, String, String)> = tx.one(LOCK, params![]).await?;
        let (seq, hash, seal) = found.unwrap_or_default();
        // In a statement of its own, which sees what was committed while the lock was waited for.
        let (last,): (i64,) = tx.one("SELECT COALESCE(MAX(seq), 0) FROM audit", params![]).await?.unwrap_or_default();
        let hash = unhex(&hash);
        let whole = match (seq, hash) {
            (0, Some(GENESIS)) => seal.is_empty() && last == 0,
            (_, Some(hash)) => seal == self.audit_seal(seq, &hash) && last == seq,
            (_, None) => false,
        };
        if hash.is_none() {
            let absent =
                "INSERT INTO audit_head (one, seq, hash, seal) VALUES (1, 0, '', '') ON CONFLICT (one) DO NOTHING";
            tx.exec(absent, params![]).await?;
        }
        Ok(Head { seq: seq.max(last), hash: hash.unwrap_or(GENESIS), whole })
    }

    async fn append(&self, tx: &mut Tx, head: &mut Head, who: &Acting, deed: Deed) -> Result<()> {
        let mut entry = self.entry(head.seq + 1, who, deed);
        let hash = hash_entry(&head.hash, &entry);
        entry.hash = hex(&hash);
        tx.exec(
            "INSERT INTO audit (seq, at, actor_kind, actor_id, actor_name, surface, ip, client, request, verb, \
             organisation, object_kind, object_id, object_name, before, after, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            params![
                entry.seq,
                entry.at,
                &entry.actor_kind,
                &entry.actor_id,
                &entry.actor_name,
                &entry.surface,
                &entry.ip,
                &entry.client,
                &entry.request,
                &entry.verb,
                &entry.organisation,
                &entry.object_kind,
                &entry.object_id,
                &entry.object_name,
                &entry.before,
                &entry.after,
                &entry.hash,
            ],
        )
        .await?;
        *head = Head { seq: entry.seq, hash, whole: true };
        Ok(())
    }

    fn entry(&self, seq: i64, who: &Acting, deed: Deed) -> AuditEntry {
        let text = |text: &str| inert(text, &self.brand);
        AuditEntry {
            seq,
            at: self.now(),
            actor_kind: who.actor.kind.name().to_owned(),
            actor_id: who.actor.id.as_deref().map(text),
            actor_name: text(&who.actor.name),
            surface: who.surface.name().to_owned(),
            ip: who.ip.map(|ip| ip.to_string()),
            client: who.client.as_deref().map(text),
            request: who.request.map(|id| id.to_string()),
            verb: deed.verb.name().to_owned(),
            organisation: deed.object.organisation.map(|id| id.to_string()).or_else(|| who.organisation.clone()),
            object_kind: deed.object.kind.name().to_owned(),
            object_id: text(&deed.object.id),
            object_name: text(&deed.object.name),
            before: deed.before.map(|facts| facts.into_json(&self.brand)),
            after: deed.after.map(|facts| facts.into_json(&self.brand)),
            hash: String::new(),
        }
    }

    /// Says that the chain ended here; only a holder of the pepper can make it.
    fn audit_seal(&self, seq: i64, hash: &[u8; 32]) -> String {
        let mut text = b"anykey audit head 1\n".to_vec();
        text.extend_from_slice(&seq.to_be_bytes());
        text.extend_from_slice(hash);
        hex(&self.pepper.digest(&text).0)
    }
}

/// Who is acting, as people know them.
pub(crate) fn who_acts() -> String {
    acting::current().actor.name.clone()
}

impl Object {
    pub fn new(kind: ObjectKind, id: impl std::fmt::Display, name: impl Into<String>) -> Self {
        Object { kind, id: id.to_string(), name: name.into(), organisation: None }
    }

    /// The same inside an organisation, whose log its changes are in.
    pub fn within(self, organisation: Option<OrganisationId>) -> Self {
        Object { organisation, ..self }
    }

    fn log() -> Self {
        Object::new(ObjectKind::Installation, "audit", "audit log")
    }
}
