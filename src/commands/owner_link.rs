//! `anykey owner-link`: the one way in that needs no password, made on the server's machine or with an admin key.

use crate::cli::client::ADMIN_BASE;
use crate::cli::table::plain;
use crate::cli::{Call, Failure, Session};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;

#[derive(Args, Debug)]
pub struct OwnerLinkArgs {
    /// For somebody who is known here to set their password [default: for the first owner to come in]
    #[arg(long, value_name = "E-MAIL")]
    pub email: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(deserialize_with = "hidden")]
    token: SecretString,
    expires_at: String,
}

fn hidden<'de, D: Deserializer<'de>>(input: D) -> Result<SecretString, D::Error> {
    String::deserialize(input).map(SecretString::from)
}

pub async fn run(args: OwnerLinkArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let body = args.email.as_ref().map_or_else(|| json!({}), |email| json!({ "email": email }));
    let answer = client.send(Call::post("/auth/links").json(&body)?).await?;
    if session.json() {
        return session.terminal.line(answer.text()?);
    }
    let link: Link = answer.read()?;
    let what = match &args.email {
        Some(email) => format!("a token by which {email} sets a password, once, until {}", link.expires_at),
        None => format!("a token by which the first owner comes in, once, until {}", link.expires_at),
    };
    session.terminal.note(&plain(&what));
    session.terminal.line(link.token.expose_secret())?;
    if session.terminal.out_is_tty {
        let who = if args.email.is_some() { "" } else { r#", "email": "you@example.com", "name": "You""# };
        session.terminal.note("Send it with the new password, which stays out of the shell's history so:");
        session.terminal.note(&format!(
            "  curl {}{ADMIN_BASE}/auth/links/use -H 'content-type: application/json' -d @- <<'END'",
            client.url()
        ));
        session.terminal.note(&format!(r#"  {{"token": "...", "password": "at least 12 characters"{who}}}"#));
        session.terminal.note("  END");
    }
    Ok(())
}
