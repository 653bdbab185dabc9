//! New secrets for keys, and showing a secret the one time that it exists in the clear.

use super::{Key, KeyArg, find};
use crate::cli::table::plain;
use crate::cli::values::{self, Overlap};
use crate::cli::{Answer, Call, Failure, Session};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// The answer to a call that made a secret.
#[derive(Deserialize)]
pub struct NewSecret {
    #[serde(flatten)]
    pub key: Key,
    #[serde(deserialize_with = "hidden")]
    pub secret: SecretString,
}

fn hidden<'de, D: Deserializer<'de>>(input: D) -> Result<SecretString, D::Error> {
    String::deserialize(input).map(SecretString::from)
}

/// JSON unchanged, else the secret alone on stdout, with what a person needs to know beside it.
pub fn show(session: &mut Session, answer: &Answer, done: &str, url: &str) -> Result<(), Failure> {
    if session.json() {
        return session.terminal.line(answer.text()?);
    }
    let made: NewSecret = answer.read()?;
    session.terminal.note(&plain(&format!("{done} {}", made.key.label())));
    session.terminal.line(made.secret.expose_secret())?;
    if session.terminal.out_is_tty {
        session.terminal.note("Shown once: store it now. It stays in this terminal's scrollback.");
        if made.key.kind.as_deref() != Some("admin") {
            session.terminal.note(&format!("Callers use it with the base URL {url}/v1; for more: anykey env"));
        }
    }
    Ok(())
}

#[derive(Args, Debug)]
pub struct RegenerateArgs {
    #[command(flatten)]
    which: KeyArg,

    /// Do not ask; only a terminal is asked
    #[arg(long, short)]
    yes: bool,
}

pub async fn regenerate(args: RegenerateArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let found = find::find(&client, &args.which).await?;
    let question = format!("Give {} a new secret? The old one stops working at once.", plain(&found.key.label()));
    session.terminal.confirm(&question, args.yes || !session.terminal.can_ask())?;
    let call = Call::post(format!("{}/regenerate", find::path(&found.key))).once()?;
    let answer = client.send(call).await?;
    show(session, &answer, "the old secret is dead; a new one for", &client.url())
}

#[derive(Args, Debug)]
pub struct RotateArgs {
    #[command(flatten)]
    which: KeyArg,

    /// How long the old secret lives once the new one is used: 15m, 1h, 24h, 7d or none [default: 24h]
    #[arg(long, value_name = "SPAN", value_parser = values::overlap, conflicts_with = "leaked")]
    overlap: Option<Overlap>,

    /// The old secret is known to others: end it at once
    #[arg(long, alias = "now")]
    leaked: bool,
}

pub async fn rotate(args: RotateArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let found = find::find(&client, &args.which).await?;
    let mut body = json!({});
    if let Some(overlap) = args.overlap {
        body["overlap"] = json!(overlap.to_string());
    }
    if args.leaked {
        body["leaked"] = json!(true);
    }
    let call = Call::post(format!("{}/rotate", find::path(&found.key))).json(&body)?.once()?;
    let answer = client.send(call).await?;
    let done = if args.leaked { "the old secret is dead; a new one for" } else { "a second secret for" };
    show(session, &answer, done, &client.url())?;
    if !args.leaked && !session.json() {
        let overlap = args.overlap.map_or_else(|| "24h".into(), |overlap| overlap.to_string());
        session.terminal.note(&match overlap.as_str() {
            "none" => "The old one ends when the new one is first used.".to_string(),
            span => format!("Both work. The old one ends {span} after the new one is first used."),
        });
    }
    Ok(())
}
