//! An entry as it is shown.

use crate::wire::time;
use anykey_store::AuditEntry;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// One change.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct EntryView {
    /// Its number; numbers have no gaps.
    pub seq: i64,
    pub at: String,
    pub actor: ActorView,
    /// What was used: `api`, `cli`, `settings_file` or `system`.
    pub surface: String,
    /// Where the request came from.
    #[schema(required)]
    pub ip: Option<String>,
    /// What the client called itself.
    #[schema(required)]
    pub client: Option<String>,
    #[schema(required)]
    pub request_id: Option<String>,
    /// What was done, such as `key.disable`.
    pub verb: String,
    /// The organisation on whose behalf; null is the installation.
    #[schema(required)]
    pub organisation: Option<String>,
    pub object: ObjectView,
    /// What was, of what changed. Times are milliseconds since 1970.
    #[schema(required, value_type = Option<Object>)]
    pub before: Option<Box<RawValue>>,
    /// What is.
    #[schema(required, value_type = Option<Object>)]
    pub after: Option<Box<RawValue>>,
    /// SHA-256 over this entry and the hash of the one before it.
    pub hash: String,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditActor)]
pub(super) struct ActorView {
    /// `key`, `person` or `system`.
    pub kind: String,
    #[schema(required)]
    pub id: Option<String>,
    pub name: String,
}

/// What it was done to.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditObject)]
pub(super) struct ObjectView {
    pub kind: String,
    pub id: String,
    /// Its name at that time.
    pub name: String,
}

impl From<AuditEntry> for EntryView {
    fn from(entry: AuditEntry) -> Self {
        EntryView {
            seq: entry.seq,
            at: time(entry.at),
            actor: ActorView { kind: entry.actor_kind, id: entry.actor_id, name: entry.actor_name },
            surface: entry.surface,
            ip: entry.ip,
            client: entry.client,
            request_id: entry.request,
            verb: entry.verb,
            organisation: entry.organisation,
            object: ObjectView { kind: entry.object_kind, id: entry.object_id, name: entry.object_name },
            before: entry.before.and_then(raw),
            after: entry.after.and_then(raw),
            hash: entry.hash,
        }
    }
}

/// The bytes as they were hashed. What somebody made into something else than JSON is shown as text.
fn raw(text: String) -> Option<Box<RawValue>> {
    let quoted = serde_json::to_string(&text);
    RawValue::from_string(text).or_else(|_| RawValue::from_string(quoted?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hashed_is_shown_byte_for_byte() {
        let text = r#"{"b":1,"a":"é\u0007"}"#;
        assert_eq!(raw(text.to_owned()).unwrap().get(), text);
        assert_eq!(raw("{broken".to_owned()).unwrap().get(), r#""{broken""#);
    }
}
