//! From what a person wrote to the one key that is meant.

use super::{Key, KeyArg, view};
use crate::cli::client::segment;
use crate::cli::{Call, Client, Exit, Failure, Session, credential};
use anykey_core::token::{PUBLIC_ID_LEN, is_brand};
use anykey_core::{KeyId, KeyKind};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

/// A key, and its JSON as it came.
pub struct Found {
    pub key: Key,
    pub json: String,
}

/// Finds a key by id, by exact name, or by its masked form, in this order.
pub async fn find(client: &Client, which: &KeyArg) -> Result<Found, Failure> {
    let id = find_id(client, &which.key).await?;
    fetch(client, &id).await
}

/// Reads a key by its id. Lists lag behind by the calls that end now; one key is as it is.
async fn fetch(client: &Client, id: &str) -> Result<Found, Failure> {
    let answer = client.send(Call::get(format!("/keys/{}", segment(id)))).await;
    let answer = answer.map_err(|failure| failure.hint("anykey key list"))?;
    Ok(Found { key: answer.read()?, json: answer.text()?.to_string() })
}

pub async fn find_id(client: &Client, wanted: &str) -> Result<String, Failure> {
    let wanted = wanted.trim();
    if KeyId::parse(wanted).is_some() {
        return Ok(wanted.to_string());
    }
    refuse_secret(wanted)?;
    let named = client.list(Call::get("/keys").query("name", wanted), Some(20)).await?.read::<Key>()?;
    match (only_one(named, wanted)?, masked(wanted)) {
        (Some(key), _) => Ok(key.id),
        (None, Some(masked)) => ask_whois(client, masked).await,
        (None, None) => Err(nothing(wanted)),
    }
}

/// A name may be used again once its key is gone, so a key that lives wins over one that does not.
fn only_one(found: Vec<Key>, name: &str) -> Result<Option<Key>, Failure> {
    let (living, gone): (Vec<_>, Vec<_>) = found.into_iter().partition(|key| key.status.as_deref() != Some("revoked"));
    let mut candidates = if living.is_empty() { gone } else { living };
    match candidates.len() {
        0 | 1 => Ok(candidates.pop()),
        n => {
            let ids: Vec<&str> = candidates.iter().map(|key| key.id.as_str()).collect();
            Err(Failure::new(Exit::Conflict, format!("{n} keys are named {name}"))
                .detail(ids.join("  "))
                .hint("the same command with an id"))
        }
    }
}

fn nothing(wanted: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("there is no key with the name, id or masked form {wanted:?}"))
        .hint("anykey key list")
}

async fn ask_whois(client: &Client, key: &str) -> Result<String, Failure> {
    let answer = client.send(Call::post("/keys/whois").json(&json!({ "key": key }))?).await;
    let key: Key = answer.map_err(|failure| failure.hint("anykey key list"))?.read()?;
    Ok(key.id)
}

/// `ak-live-AbCd1234` or `imported-AbCd1234`, with or without the dots that stand for the rest.
fn masked(text: &str) -> Option<&str> {
    let text = text.trim_end_matches(['…', '.']);
    let own = || {
        let (brand, rest) = text.split_once('-')?;
        let (kind, public_id) = rest.split_once('-')?;
        KeyKind::from_name(kind).filter(|_| is_brand(brand)).map(|_| public_id)
    };
    let public_id = text.strip_prefix("imported-").or_else(own)?;
    let plain = public_id.len() == PUBLIC_ID_LEN && public_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(text)
}

/// A whole secret among the arguments is in the shell's history by now: say so instead of using it.
fn refuse_secret(text: &str) -> Result<(), Failure> {
    let mut parts = text.splitn(3, '-');
    let kind = parts.nth(1).and_then(KeyKind::from_name);
    let tail = parts.next().unwrap_or_default();
    if kind.is_none() || tail.len() <= PUBLIC_ID_LEN + 3 {
        return Ok(());
    }
    Err(Failure::usage("that looks like a whole secret, and arguments are kept in the shell's history")
        .detail("If it is real, treat it as leaked: anykey key rotate KEY --leaked")
        .hint("its name, its id or its masked form; to find them: anykey key whois -"))
}

#[derive(Args, Debug)]
pub struct WhoisArgs {
    /// A masked key (ak-live-AbCd1234), or `-` to read a key from stdin
    #[arg(value_name = "MASKED|-", default_value = "-", hide_default_value = true)]
    key: String,
}

pub async fn whois(args: WhoisArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let key = match args.key.as_str() {
        "-" if session.terminal.can_ask() => credential::one_line(&session.terminal.ask_secret("Key: ")?)?,
        "-" => credential::one_line(&session.terminal.read_input()?)?,
        given => {
            refuse_secret(given)?;
            let masked = masked(given).ok_or_else(|| {
                Failure::usage(format!("{given:?} is not a masked key such as ak-live-AbCd1234"))
                    .hint("anykey key show for a name or an id, or - to read a whole key from stdin")
            })?;
            masked.to_string().into()
        }
    };
    let id = ask_whois(&client, key.expose_secret()).await?;
    let found = fetch(&client, &id).await?;
    session.print_object(&found.json, view::details)
}

/// The path of a key.
pub fn path(key: &Key) -> String {
    format!("/keys/{}", segment(&key.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_forms_are_told_from_names() {
        assert_eq!(masked("ak-live-AbCd1234"), Some("ak-live-AbCd1234"));
        assert_eq!(masked("ak-live-AbCd1234…"), Some("ak-live-AbCd1234"));
        assert_eq!(masked("sk-plan-AbCd1234..."), Some("sk-plan-AbCd1234"));
        assert_eq!(masked("imported-AbCd1234…"), Some("imported-AbCd1234"));
        for name in ["ci", "search-prod", "ak-live-short", "ak-dead-AbCd1234", "my-live-AbCd123456", "AK-live-AbCd1234"]
        {
            assert_eq!(masked(name), None, "{name}");
        }
    }

    #[test]
    fn whole_secrets_are_refused_as_arguments() {
        let secret = anykey_core::Token::mint("ak", KeyKind::Live).unwrap();
        assert_eq!(refuse_secret(secret.expose()).unwrap_err().exit, Exit::Usage);
        for fine in ["ak-live-AbCd1234", "ak-live-AbCd1234…", "search-live", "ci", "search-live-eu"] {
            assert!(refuse_secret(fine).is_ok(), "{fine}");
        }
    }
}
