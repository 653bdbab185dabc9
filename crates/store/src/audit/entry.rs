//! An entry as it is stored, and the bytes that its hash is taken over.

use crate::db::{FromRow, Row};
use crate::error::Result;
use sha2::{Digest as _, Sha256};

/// What the first entry is chained to.
pub(super) const GENESIS: [u8; 32] = [0; 32];

/// One entry. All of it but `hash` is what the hash is taken over. Names are kept as they are stored, so that an entry
/// that somebody altered can still be read and told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEntry {
    pub seq: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub actor_name: String,
    pub surface: String,
    pub ip: Option<String>,
    pub client: Option<String>,
    pub request: Option<String>,
    pub verb: String,
    pub organisation: Option<String>,
    pub object_kind: String,
    pub object_id: String,
    pub object_name: String,
    /// What was, of what changed: a JSON object.
    pub before: Option<String>,
    /// What is.
    pub after: Option<String>,
    /// 64 hexadecimal digits.
    pub hash: String,
}

macro_rules! audit_columns {
    () => {
        "seq, at, actor_kind, actor_id, actor_name, surface, ip, client, request, verb, organisation, object_kind, \
         object_id, object_name, before, after, hash"
    };
}
pub(super) use audit_columns;

impl FromRow for AuditEntry {
    fn from_row(row: &mut Row) -> Result<Self> {
        Ok(AuditEntry {
            seq: row.take()?,
            at: row.take()?,
            actor_kind: row.take()?,
            actor_id: row.take()?,
            actor_name: row.take()?,
            surface: row.take()?,
            ip: row.take()?,
            client: row.take()?,
            request: row.take()?,
            verb: row.take()?,
            organisation: row.take()?,
            object_kind: row.take()?,
            object_id: row.take()?,
            object_name: row.take()?,
            before: row.take()?,
            after: row.take()?,
            hash: row.take()?,
        })
    }
}

/// The hash of an entry that follows one with the hash `previous` (32 zero bytes for the first). The form is public
/// (docs/AUDIT.md), so that an export can be checked without this program; it never changes.
pub fn hash_entry(previous: &[u8; 32], entry: &AuditEntry) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"anykey audit 1\n");
    hash.update(previous);
    hash.update(entry.seq.to_be_bytes());
    hash.update(entry.at.to_be_bytes());
    let fields: [Option<&str>; 14] = [
        Some(&entry.actor_kind),
        entry.actor_id.as_deref(),
        Some(&entry.actor_name),
        Some(&entry.surface),
        entry.ip.as_deref(),
        entry.client.as_deref(),
        entry.request.as_deref(),
        Some(&entry.verb),
        entry.organisation.as_deref(),
        Some(&entry.object_kind),
        Some(&entry.object_id),
        Some(&entry.object_name),
        entry.before.as_deref(),
        entry.after.as_deref(),
    ];
    for field in fields {
        // A field that is absent and one that is empty are not the same.
        let Some(text) = field else {
            hash.update([0]);
            continue;
        };
        hash.update([1]);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

/// Reads 64 hexadecimal digits in lower case.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0u8; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets_files::hex;

    fn sample() -> AuditEntry {
        AuditEntry {
            seq: 7,
            at: 1_790_000_000_123,
            actor_kind: "key".into(),
            actor_id: Some("key_1".into()),
            actor_name: "boß".into(),
            surface: "cli".into(),
            ip: Some("203.0.113.9".into()),
            verb: "key.disable".into(),
            object_kind: "key".into(),
            object_id: "key_2".into(),
            before: Some(r#"{"disabled":false}"#.into()),
            after: Some(r#"{"disabled":true}"#.into()),
            ..AuditEntry::default()
        }
    }

    /// Computed with another implementation: python's hashlib over the form that docs/AUDIT.md tells.
    #[test]
    fn the_form_of_the_hash_is_the_published_one() {
        assert_eq!(
            hex(&hash_entry(&[9; 32], &sample())),
            "fcbebb16a10cc622d48b3d4f05003a9cee092a47004b16a26264bdc29bda445e"
        );
    }

    #[test]
    fn every_field_counts_and_none_runs_into_the_next() {
        let base = hash_entry(&GENESIS, &sample());
        let variants = [
            AuditEntry { seq: 8, ..sample() },
            AuditEntry { at: 0, ..sample() },
            AuditEntry { actor_kind: "keykey_1".into(), actor_id: Some(String::new()), ..sample() },
            AuditEntry { actor_id: None, ..sample() },
            AuditEntry { client: Some(String::new()), ..sample() },
            AuditEntry { request: Some("x".into()), ..sample() },
            AuditEntry { organisation: Some("x".into()), ..sample() },
            AuditEntry { object_name: "x".into(), ..sample() },
            AuditEntry { before: None, ..sample() },
            AuditEntry { after: None, ..sample() },
        ];
        for variant in variants {
            assert_ne!(hash_entry(&GENESIS, &variant), base, "{variant:?}");
        }
        assert_ne!(hash_entry(&[1; 32], &sample()), base);
        let hashed = AuditEntry { hash: "x".into(), ..sample() };
        assert_eq!(hash_entry(&GENESIS, &hashed), base, "the hash is not part of what it is taken over");
    }

    #[test]
    fn hexadecimal_is_read_in_one_spelling() {
        assert_eq!(unhex(&hex(&[0xa5; 32])), Some([0xa5; 32]));
        for text in ["", "0", &"A5".repeat(32), &"a5".repeat(33), &"g5".repeat(32), &"é".repeat(32)] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
