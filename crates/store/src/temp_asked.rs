//! How a temporary key is asked for: one JSON object, read alike in both planes.

use crate::error::{Result, StoreError};
use crate::temp::NewTemp;
use anykey_core::controls::{ModelGlob, Models};
use anykey_core::find::holds_key;
use anykey_core::{Nanos, Scope, Scopes};
use serde::Deserialize;
use std::net::IpAddr;

const NAME_LIMIT: usize = 128;
const MOST_MODELS: usize = 64;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    name: Option<String>,
    expires_in: Option<Span>,
    spend_limit_usd: Option<String>,
    max_requests: Option<u64>,
    scopes: Option<Vec<String>>,
    models: Option<Vec<String>>,
    max_concurrent: Option<u64>,
    ip: Option<String>,
    browser_allowed: Option<bool>,
}

/// `15m`, or seconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Span {
    Seconds(i64),
    Text(String),
}

impl NewTemp {
    /// What [`NewTemp::from_json`] knows. The schema of the admin API has the same.
    pub const FIELDS: [&str; 9] = [
        "name",
        "expires_in",
        "spend_limit_usd",
        "max_requests",
        "scopes",
        "models",
        "max_concurrent",
        "ip",
        "browser_allowed",
    ];

    /// A key with its parent's power for the usual time.
    pub fn usual() -> Self {
        NewTemp {
            name: "temporary".into(),
            scopes: None,
            spend_limit: None,
            request_limit: None,
            lives_ms: Self::DEFAULT_LIFE_MS,
            ip: None,
            models: None,
            routing: None,
            concurrency: None,
            browser_allowed: false,
            creator: None,
        }
    }

    /// Reads `{"name", "expires_in", "spend_limit_usd", "max_requests", "scopes", "models", "max_concurrent", "ip",
    /// "browser_allowed"}`, all of them optional; no body at all asks for the usual. `caller` is the address that `"ip": "caller"` means.
    pub fn from_json(json: &[u8], caller: Option<IpAddr>) -> Result<Self> {
        let asked: Asked = match json.trim_ascii() {
            [] => Asked::default(),
            // A list would be taken for the fields in their order.
            [b'{', ..] => serde_json::from_slice(json).map_err(|error| not_read(&error))?,
            _ => return Err(StoreError::Invalid { field: "body", message: "is not a JSON object".into() }),
        };
        let usual = Self::usual();
        Ok(NewTemp {
            name: asked.name.map_or(Ok(usual.name), name)?,
            lives_ms: asked.expires_in.map_or(Ok(usual.lives_ms), lives)?,
            spend_limit: asked.spend_limit_usd.map(money).transpose()?,
            request_limit: asked.max_requests.map(requests).transpose()?,
            scopes: asked.scopes.map(scopes).transpose()?,
            models: asked.models.map(models).transpose()?,
            routing: None,
            concurrency: asked.max_concurrent.map(at_once).transpose()?,
            ip: asked.ip.map(|text| address(&text, caller)).transpose()?,
            browser_allowed: asked.browser_allowed.unwrap_or(false),
            creator: None,
        })
    }
}

fn not_read(error: &serde_json::Error) -> StoreError {
    // What serde says quotes the caller; its place does not.
    let place = format!("line {}, column {}", error.line(), error.column());
    let what = match error.classify() {
        serde_json::error::Category::Data => "has a field that is not known or not of its type",
        _ => "is not a JSON object",
    };
    StoreError::Invalid { field: "body", message: format!("{what}, at {place}") }
}

fn invalid(field: &'static str, message: impl Into<String>) -> StoreError {
    StoreError::Invalid { field, message: message.into() }
}

fn name(text: String) -> Result<String> {
    if holds_key(&text) {
        return Err(invalid("name", "holds an API key, and a name is shown to others"));
    }
    let plain = !text.trim().is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    if plain && text.chars().count() <= NAME_LIMIT { Ok(text) } else { Err(invalid("name", "is one line of text")) }
}

fn lives(span: Span) -> Result<i64> {
    let millis = match span {
        Span::Seconds(seconds) => seconds.checked_mul(1000),
        Span::Text(text) => text.char_indices().last().and_then(|(at, unit)| {
            let unit: i64 = match unit {
                's' => 1000,
                'm' => 60_000,
                'h' => 3_600_000,
                _ => return None,
            };
            text[..at].parse::<u32>().ok().and_then(|n| unit.checked_mul(i64::from(n)))
        }),
    };
    let fits = millis.filter(|ms| (1000..=NewTemp::LONGEST_LIFE_MS).contains(ms));
    fits.ok_or_else(|| invalid("expires_in", "is from 1s to 24h, such as 15m or 4h, or a number of seconds"))
}

fn money(text: String) -> Result<Nanos> {
    Nanos::parse_usd(&text).map_err(|why| invalid("spend_limit_usd", format!("is wrong: {why}")))
}

fn requests(most: u64) -> Result<u64> {
    if (1..=i64::MAX as u64).contains(&most) { Ok(most) } else { Err(invalid("max_requests", "is at least 1")) }
}

fn at_once(most: u64) -> Result<u64> {
    const MOST: u64 = 1_000_000;
    let wrong = || invalid("max_concurrent", format!("is from 1 to {MOST}"));
    (1..=MOST).contains(&most).then_some(most).ok_or_else(wrong)
}

fn scopes(names: Vec<String>) -> Result<Scopes> {
    let known = |name: &String| Scope::from_name(name).filter(|scope| *scope != Scope::Admin);
    let scopes: Option<Scopes> = names.iter().map(known).collect();
    scopes
        .filter(|scopes| *scopes != Scopes::NONE)
        .ok_or_else(|| invalid("scopes", "names scopes of the key that it is minted from"))
}

fn models(names: Vec<String>) -> Result<Models> {
    if names.iter().any(|name| holds_key(name)) {
        return Err(invalid("models", "holds an API key"));
    }
    if !(1..=MOST_MODELS).contains(&names.len()) {
        return Err(invalid("models", format!("names 1 to {MOST_MODELS} models")));
    }
    let globs: std::result::Result<Box<[ModelGlob]>, _> = names.iter().map(|name| ModelGlob::parse(name)).collect();
    globs.map(Models::Allow).map_err(|why| invalid("models", why.to_string()))
}

fn address(text: &str, caller: Option<IpAddr>) -> Result<IpAddr> {
    let named = if text == "caller" { caller } else { text.parse().ok() };
    named.map(|ip| ip.to_canonical()).ok_or_else(|| invalid("ip", "is an address, or `caller`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_and_the_rest_is_usual() {
        let caller = Some("::ffff:10.0.0.1".parse().unwrap());
        for usual in ["", "{}", " {\"name\":null} "] {
            let temp = NewTemp::from_json(usual.as_bytes(), caller).unwrap();
            assert_eq!((temp.lives_ms, temp.browser_allowed, temp.scopes), (15 * 60 * 1000, false, None));
        }
        let json =
            br#"{"name":"agent","expires_in":"4h","spend_limit_usd":"5","max_requests":7,"scopes":["models:read"],
            "models":["openai/gpt-*"],"ip":"caller","browser_allowed":true}"#;
        let temp = NewTemp::from_json(json, caller).unwrap();
        assert_eq!((temp.name.as_str(), temp.lives_ms, temp.request_limit), ("agent", 4 * 3_600_000, Some(7)));
        assert_eq!(temp.spend_limit, Some(Nanos::dollars(5)));
        assert_eq!(temp.ip, Some("10.0.0.1".parse().unwrap()));
        assert!(temp.browser_allowed && temp.models.is_some_and(|m| m.permits("openai", "gpt-4o")));
        assert_eq!(NewTemp::from_json(br#"{"expires_in":90}"#, None).unwrap().lives_ms, 90_000);
    }

    #[test]
    fn the_fields_are_those_that_are_read() {
        let Err(error) = serde_json::from_str::<Asked>(r#"{"unknown":1}"#) else { panic!("an unknown field was read") };
        let error = error.to_string();
        let (_, known) = error.split_once("expected one of ").unwrap();
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert_eq!(known, NewTemp::FIELDS);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, wrong) in [
            (r#"{"expires_in":"25h"}"#, "expires_in"),
            (r#"{"expires_in":"0s"}"#, "expires_in"),
            (r#"{"expires_in":-1}"#, "expires_in"),
            (r#"{"expires_in":"\u00e9"}"#, "expires_in"),
            (r#"{"spend_limit_usd":"-1"}"#, "spend_limit_usd"),
            (r#"{"max_requests":0}"#, "max_requests"),
            (r#"{"max_concurrent":0}"#, "max_concurrent"),
            (r#"{"scopes":["admin:*"]}"#, "scopes"),
            (r#"{"scopes":[]}"#, "scopes"),
            (r#"{"models":[]}"#, "models"),
            (r#"{"models":["/"]}"#, "models"),
            (r#"{"ip":"caller"}"#, "ip"),
            (r#"{"ip":"10.0.0.0/8"}"#, "ip"),
            (r#"{"name":""}"#, "name"),
            (r#"{"max_requests":1,"max_requests":9}"#, "body"),
            (r#"{"admin":true}"#, "body"),
            (r#"[]"#, "body"),
            (r#"{"#, "body"),
        ] {
            match NewTemp::from_json(json.as_bytes(), None) {
                Err(StoreError::Invalid { field, .. }) => assert_eq!(field, wrong, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }
}
