//! `anykey ask`: a question to a model through the gateway, in any of the dialects, as a caller would send it.

mod dialect;

use crate::cli::credential;
use crate::cli::table::plain;
use crate::cli::{Call, Client, Exit, Failure, Session, sse};
use crate::commands::key;
use clap::Args;
use dialect::Speech;
use http::HeaderMap;
use secrecy::SecretString;

#[derive(Args, Debug)]
pub struct AskArgs {
    /// What to ask; `-` reads it from stdin
    question: String,

    /// The model, as provider/model or an alias
    #[arg(long, short, default_value = "sim/echo")]
    model: String,

    /// The dialect to ask in
    #[arg(long = "as", default_value = "openai", value_name = "DIALECT")]
    speech: Speech,

    /// The most tokens to answer with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,

    /// Print the request and the answer's headers on stderr
    #[arg(long)]
    show_wire: bool,
}

pub async fn run(args: AskArgs, session: &mut Session) -> Result<(), Failure> {
    let question = match args.question.as_str() {
        "-" => session.terminal.read_input()?,
        text => text.to_string(),
    };
    let asked = dialect::Question { model: &args.model, text: &question, max_tokens: args.max_tokens };
    match session.env("ANYKEY_API_KEY") {
        Some(key) => {
            let caller = caller(session, credential::one_line(&key)?)?;
            put(&args, &asked, &caller, session).await
        }
        None => with_short_lived_key(&args, &asked, session).await,
    }
}

/// A client for calls alone: an admin key is not needed where the caller has a key.
fn caller(session: &Session, key: SecretString) -> Result<Client, Failure> {
    Ok(Client::new(crate::cli::server::Server::find(session)?, key, session.globals.debug))
}

/// Whoever may make keys can ask without having one: one is made for this question. It ends by itself soon, should this
/// process not live to delete it.
async fn with_short_lived_key(
    args: &AskArgs,
    asked: &dialect::Question<'_>,
    session: &mut Session,
) -> Result<(), Failure> {
    let client = session.client().map_err(|failure| {
        if failure.exit == Exit::Auth { failure.hint("set ANYKEY_API_KEY to a key") } else { failure }
    })?;
    let made = key::mint(&client, "anykey-ask", Some("10m")).await?;
    let caller = client.as_caller(made.secret);
    let outcome = put(args, asked, &caller, session).await;
    if let Err(failure) = client.send(Call::delete(format!("/keys/{}", made.key.id))).await {
        session.terminal.note(&format!("The key made for this question stays for 10 minutes. {failure}"));
    }
    outcome
}

/// JSON is one whole answer; text is streamed as it comes.
async fn put(
    args: &AskArgs,
    asked: &dialect::Question<'_>,
    caller: &Client,
    session: &mut Session,
) -> Result<(), Failure> {
    let stream = !session.json();
    let call = args.speech.call(asked, stream)?;
    if args.show_wire {
        session.terminal.note(&args.speech.shown(asked, stream));
    }
    if !stream {
        let answer = caller.send(call).await?;
        show_head(args, &answer.headers, session);
        return session.terminal.line(answer.text()?);
    }
    let response = caller.open(call).await?;
    show_head(args, response.headers(), session);
    let mut reading = args.speech.reading();
    sse::for_each(response, |event| {
        let text = reading.next(&event.data)?;
        if !text.is_empty() {
            let text = if session.terminal.out_is_tty { printable(&text) } else { text };
            session.terminal.write(text.as_bytes())?;
        }
        Ok(reading.ended())
    })
    .await?;
    session.terminal.line("")?;
    if reading.complete() { Ok(()) } else { Err(Failure::failed("the answer broke off before its end")) }
}

/// A model's text may hold anything; on a terminal it may hold line breaks and tabs, and no other control.
fn printable(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|piece| match piece.strip_suffix(['\n', '\t']) {
            Some(body) => format!("{}{}", plain(body), &piece[body.len()..]),
            None => plain(piece),
        })
        .collect()
}

fn show_head(args: &AskArgs, headers: &HeaderMap, session: &mut Session) {
    if !args.show_wire {
        return;
    }
    for (name, value) in headers {
        session.terminal.note(&format!("< {name}: {}", plain(&String::from_utf8_lossy(value.as_bytes()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_drive_the_terminal() {
        assert_eq!(printable("a\tb\n\x1b[2Jc\n"), "a\tb\n\u{fffd}[2Jc\n");
    }
}
