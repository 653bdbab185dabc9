//! Each command against a scripted admin API: what it sends, what it prints, how it ends.

mod audit;
mod calls;
mod errors;
mod help;
mod issuers;
mod keys;
mod limits;
mod notices;
mod people;
mod providers;
mod scan;
mod teams;

use crate::cli::Exit;
use crate::cli::testing::{Bench, Fake, HANG_UP, Ran};
use serde_json::json;

pub const KEY: &str = r#"{"id":"key_01kagsehr0000000000000000a","name":"ci","description":"builds","kind":"live","status":"active","masked":"ak-live-AbCd1234…","tags":{"team":"search"},"owner":"kai","creator":null,"project":null,"environment":null,"scopes":["completions:write","models:read"],"browser_allowed":false,"spend_limits":[{"window":"total","usd":"5"}],"spent_usd":"0.000045","expires_at":"2026-12-21T10:00:00Z","created_at":"2026-11-01T10:00:00Z","updated_at":"2026-11-01T10:00:00Z","last_used_at":"2026-11-21T09:59:00Z","note":"vault","rotation_interval_days":90,"review_at":null,"exposed_at":null,"version":3,"secrets":[{"masked":"ak-live-AbCd1234…","state":"live","created_at":"2026-11-01T10:00:00Z","first_used_at":"2026-11-02T10:00:00Z","last_used_at":"2026-11-21T09:59:00Z","last_ip":"10.0.4.7","expires_at":null}]}"#;
pub const KEY_ID: &str = "key_01kagsehr0000000000000000a";
pub const NO_KEYS: &str = r#"{"data":[],"next":null}"#;

/// The line with which a command reads the key that it means.
pub const GET_KEY: &str = "GET /admin/v1/keys/key_01kagsehr0000000000000000a";

pub fn list_of(items: &[&str]) -> String {
    format!(r#"{{"data":[{}],"next":null}}"#, items.join(","))
}

/// The line with which a command looks a name up.
pub fn by_name(name: &str) -> String {
    format!("GET /admin/v1/keys?name={name}&limit=20")
}

/// A key's object with the secret that the call made.
pub fn with_secret(key: &str) -> String {
    let open = key.strip_suffix('}').unwrap();
    format!(r#"{open},"secret":"ak-live-AbCd1234SECRET"}}"#)
}
