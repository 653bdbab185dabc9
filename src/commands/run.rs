//! `anykey run`: a program with a key of its own, that ends when the program does.
//!
//! The key is minted from `ANYKEY_API_KEY`, or by whoever manages the installation from the key that `--from` names. It is
//! ended however the program ends; should this process be killed, its time runs out.

use super::env::{self, ForWhom};
use super::key;
use crate::cli::client::segment;
use crate::cli::credential;
use crate::cli::server::Server;
use crate::cli::table::plain;
use crate::cli::{Call, Client, Exit, Failure, Session};
use clap::Args;
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::process::{Child, Command, ExitStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Args, Debug)]
pub struct RunArgs {
    /// The most that the program may spend, in dollars [default: what the key that it is minted from may]
    #[arg(long, value_name = "USD", value_parser = usd)]
    budget: Option<String>,

    /// How long the key lives at most, such as 30m or 4h; at most 24h
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    ttl: String,

    /// Only these models, such as openai/gpt-* (several times for several)
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,

    /// The most requests that the program may make
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,

    /// Mint from this key, by its name or id, as whoever manages it [default: from ANYKEY_API_KEY]
    #[arg(long, value_name = "KEY")]
    from: Option<String>,

    /// The program and its arguments, after `--`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<std::ffi::OsString>,
}

fn usd(text: &str) -> Result<String, String> {
    anykey_core::Nanos::parse_usd(text).map(|amount| amount.to_string()).map_err(|why| why.to_string())
}

/// The key that was minted for the program.
#[derive(Deserialize)]
struct Minted {
    #[serde(deserialize_with = "hidden")]
    secret: SecretString,
}

fn hidden<'de, D: Deserializer<'de>>(input: D) -> Result<SecretString, D::Error> {
    String::deserialize(input).map(SecretString::from)
}

/// Gives the program's own exit code.
pub async fn run(args: RunArgs, session: &mut Session) -> Result<u8, Failure> {
    // None of them may end this process between the minting of the key and its end.
    let signals = signals()?;
    let (client, minted) = mint(&args, session).await?;
    let caller = client.as_caller(minted.secret.clone());
    // From here on the key is ended on every way out.
    let ended = match start(&args, &client.url(), &minted.secret) {
        Ok(child) => wait(child, signals).await,
        Err(failure) => Err(failure),
    };
    let cost = finish(&caller).await;
    match cost {
        Ok(Some(cost)) => session.terminal.note(&format!("{} cost ${cost}", plain(&name(&args)))),
        Ok(None) => {}
        Err(failure) => session.terminal.complain(&format_args!(
            "warning: the key of this run could not be ended; it ends by itself in at most {}. {failure}",
            args.ttl
        )),
    }
    ended.map(exit_code)
}

fn name(args: &RunArgs) -> String {
    let path = std::path::Path::new(&args.program[0]);
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

async fn mint(args: &RunArgs, session: &mut Session) -> Result<(Client, Minted), Failure> {
    let body = asked(args);
    let own = session.env("ANYKEY_API_KEY");
    if let (None, Some(key)) = (&args.from, own) {
        let client = Client::new(Server::find(session)?, credential::one_line(&key)?, session.globals.debug);
        let call = Call::at(Method::POST, "/v1/key/temp".into()).json(&body)?;
        let minted = client.send(call).await?.read()?;
        return Ok((client, minted));
    }
    let Some(from) = &args.from else {
        return Err(Failure::new(Exit::Usage, "there is no key to mint one from")
            .detail("Set ANYKEY_API_KEY, or name a key with --from where you manage the installation.")
            .hint("anykey run --from NAME -- PROGRAM"));
    };
    let client = session.client()?;
    let parent = key::find_id(&client, from).await?;
    let call = Call::post(format!("/keys/{}/temp", segment(&parent))).json(&body)?.once()?;
    let minted = client.send(call).await?.read()?;
    Ok((client, minted))
}

fn asked(args: &RunArgs) -> Value {
    let mut body = Map::new();
    body.insert("name".into(), json!(format!("run {}", plain(&name(args))).chars().take(100).collect::<String>()));
    body.insert("expires_in".into(), json!(args.ttl));
    if let Some(budget) = &args.budget {
        body.insert("spend_limit_usd".into(), json!(budget));
    }
    if let Some(most) = args.max_requests {
        body.insert("max_requests".into(), json!(most));
    }
    if !args.models.is_empty() {
        body.insert("models".into(), json!(args.models));
    }
    Value::Object(body)
}

/// What ends a program from outside, and is handed on to it. Ctrl-C is not: the terminal sends it to both.
struct Signals {
    interrupt: Signal,
    others: [(Signal, rustix::process::Signal); 3],
}

fn signals() -> std::io::Result<Signals> {
    use rustix::process::Signal as Sent;
    Ok(Signals {
        interrupt: signal(SignalKind::interrupt())?,
        others: [
            (signal(SignalKind::terminate())?, Sent::TERM),
            (signal(SignalKind::hangup())?, Sent::HUP),
            (signal(SignalKind::quit())?, Sent::QUIT),
        ],
    })
}

fn start(args: &RunArgs, url: &str, secret: &SecretString) -> Result<Child, Failure> {
    let mut command = Command::new(&args.program[0]);
    command.args(&args.program[1..]);
    // Nothing that manages the installation, and no key that lives longer, goes to the program.
    command.env_remove("ANYKEY_ADMIN_KEY");
    let mut variables = env::variables(ForWhom::Sdk, url, secret.expose_secret());
    if name(args) == "claude" {
        variables.extend(env::variables(ForWhom::ClaudeCode, url, secret.expose_secret()));
    }
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("ANYKEY_API_KEY", secret.expose_secret()).env("ANYKEY_URL", url);
    command.spawn().map_err(|error| {
        Failure::failed(format!("{} could not be started: {error}", plain(&args.program[0].to_string_lossy())))
    })
}

async fn wait(mut child: Child, mut signals: Signals) -> Result<ExitStatus, Failure> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let mut ended = tokio::task::spawn_blocking(move || child.wait());
    let [(term, a), (hup, b), (quit, c)] = &mut signals.others;
    loop {
        let sent = tokio::select! {
            // First, so that no signal goes to whoever has the number of a program that is gone.
            biased;
            status = &mut ended => return Ok(status.map_err(|error| Failure::failed(error.to_string()))??),
            _ = signals.interrupt.recv() => continue,
            _ = term.recv() => *a,
            _ = hup.recv() => *b,
            _ = quit.recv() => *c,
        };
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, sent);
        }
    }
}

#[derive(Deserialize)]
struct About {
    data: AboutKey,
}

#[derive(Deserialize)]
struct AboutKey {
    /// As it is written: a number would be rounded.
    usage: Option<Box<RawValue>>,
}

/// Asks what the key has cost and ends it. What it cost is worth less than its end, so the end does not wait for it.
async fn finish(caller: &Client) -> Result<Option<String>, Failure> {
    let about = caller.send(Call::at(Method::GET, "/v1/key".into())).await;
    let ended = caller.send(Call::at(Method::POST, "/v1/key/temp/end".into())).await;
    let cost = about.ok().and_then(|answer| answer.read::<About>().ok()).and_then(|about| about.data.usage);
    ended?;
    Ok(cost.map(|usd| usd.get().to_owned()))
}

/// As shells give it: 128 and the signal where one ended the program.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
