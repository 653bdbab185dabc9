//! Reading the chain from its first entry to its end, and telling the first place where it is not what was written.

use super::entry::{AuditEntry, GENESIS, hash_entry, unhex};
use super::{AuditFilter, Verb};
use crate::Store;
use crate::db::params;
use crate::error::Result;
use crate::secrets_files::hex;
use std::fmt;

const AT_ONCE: u32 = 1_000;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// Entries that are as they were written, from the first on.
    pub count: i64,
    /// The hash of the last of them, as 64 hexadecimal digits. Noted somewhere else, it proves later what was there.
    pub head_hash: String,
    /// The first thing that is wrong.
    pub broken: Option<AuditBreak>,
    /// Entries by which the server itself told of a damaged end.
    pub alarms: Vec<i64>,
}

impl AuditReport {
    pub fn is_whole(&self) -> bool {
        self.broken.is_none() && self.alarms.is_empty()
    }
}

/// How the log differs from what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditBreak {
    /// There is no entry of this number, though there are later ones, or the end says that there were.
    Missing(i64),
    /// The entry and its hash do not agree: it was altered, moved or put in, or the one before it was.
    Altered(i64),
    /// The entry is after the end.
    Beyond(i64),
    /// The end is missing or was not made by this installation.
    Head,
    /// The entry that was noted earlier is not in the log any more.
    NotNoted(i64),
}

impl AuditBreak {
    /// The entry at which it shows.
    pub const fn seq(&self) -> Option<i64> {
        match self {
            AuditBreak::Missing(seq)
            | AuditBreak::Altered(seq)
            | AuditBreak::Beyond(seq)
            | AuditBreak::NotNoted(seq) => Some(*seq),
            AuditBreak::Head => None,
        }
    }

    /// One word for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            AuditBreak::Missing(_) => "missing",
            AuditBreak::Altered(_) => "altered",
            AuditBreak::Beyond(_) => "beyond",
            AuditBreak::Head => "head",
            AuditBreak::NotNoted(_) => "not_noted",
        }
    }
}

impl fmt::Display for AuditBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuditBreak::Missing(seq) => write!(f, "entry {seq} is missing"),
            AuditBreak::Altered(seq) => {
                write!(
                    f,
                    "entry {seq} does not agree with its hash: it or the one before it was altered, moved or put in"
                )
            }
            AuditBreak::Beyond(seq) => write!(f, "entry {seq} comes after the end of the log"),
            AuditBreak::Head => f.write_str("the end of the log is missing or was not written by this installation"),
            AuditBreak::NotNoted(seq) => write!(f, "entry {seq} is not the one that was noted"),
        }
    }
}

/// What is walked along the chain.
struct Walk {
    seq: i64,
    hash: [u8; 32],
    alarms: Vec<i64>,
}

impl Walk {
    fn step(&mut self, entry: &AuditEntry) -> std::result::Result<(), AuditBreak> {
        let expected = self.seq + 1;
        if entry.seq != expected {
            return Err(AuditBreak::Missing(expected));
        }
        let hash = hash_entry(&self.hash, entry);
        if unhex(&entry.hash) != Some(hash) {
            return Err(AuditBreak::Altered(expected));
        }
        if entry.verb == Verb::AuditBroken.name() {
            self.alarms.push(entry.seq);
        }
        self.seq = expected;
        self.hash = hash;
        Ok(())
    }
}

impl Store {
    /// Reads the whole log. `noted` is an entry's number and hash that were kept elsewhere: whoever has the database and
    /// the pepper can write another log, but not one that holds what was noted.
    pub async fn verify_audit(&self, noted: Option<(i64, [u8; 32])>) -> Result<AuditReport> {
        // Entries that are written from here on are no part of what is verified.
        let sql = "SELECT h.seq, h.hash, h.seal, (SELECT COALESCE(MAX(a.seq), 0) FROM audit a) FROM audit_head h WHERE h.one = 1";
        let head: Option<(i64, String, String, i64)> = self.db.one(sql, params![]).await?;
        let mut walk = Walk { seq: 0, hash: GENESIS, alarms: Vec::new() };
        let broken = self.walk(&mut walk, head.as_ref(), noted).await?;
        Ok(AuditReport { count: walk.seq, head_hash: hex(&walk.hash), broken, alarms: walk.alarms })
    }

    async fn walk(
        &self,
        walk: &mut Walk,
        head: Option<&(i64, String, String, i64)>,
        noted: Option<(i64, [u8; 32])>,
    ) -> Result<Option<AuditBreak>> {
        let Some((seq, hash, seal, last)) = head else { return Ok(Some(AuditBreak::Head)) };
        let (seq, last) = (*seq, *last);
        // The log begins with an entry of its own, so an end without any is none.
        let sealed = unhex(hash).is_some_and(|hash| seq > 0 && *seal == self.audit_seal(seq, &hash));
        let end = seq.max(last);
        while walk.seq < end {
            let (entries, _) = self.audit_after(&AuditFilter::default(), walk.seq, AT_ONCE).await?;
            if entries.is_empty() {
                return Ok(Some(AuditBreak::Missing(walk.seq + 1)));
            }
            for entry in entries.iter().filter(|entry| entry.seq <= end) {
                if sealed && entry.seq > seq {
                    return Ok(Some(AuditBreak::Beyond(entry.seq)));
                }
                if let Err(found) = walk.step(entry) {
                    return Ok(Some(found));
                }
                if noted.is_some_and(|(seq, hash)| seq == walk.seq && hash != walk.hash) {
                    return Ok(Some(AuditBreak::NotNoted(walk.seq)));
                }
            }
        }
        if !sealed {
            return Ok(Some(AuditBreak::Head));
        }
        if unhex(hash) != Some(walk.hash) {
            return Ok(Some(AuditBreak::Altered(seq)));
        }
        Ok(noted.filter(|(seq, _)| *seq > walk.seq || *seq < 1).map(|(seq, _)| AuditBreak::NotNoted(seq)))
    }
}
