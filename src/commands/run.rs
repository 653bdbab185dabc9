//! `anykey run`: a program with a key of its own, that ends when the program does.
//!
//! The key is minted from `ANYKEY_API_KEY`, or by whoever manages the installation from the key that `--from` names. It is
//! ended however the program ends; should this process be killed, its time runs out.

use super::env::{self, ForWhom};
use super::key::{self, TempFields};
use crate::cli::client::segment;
use crate::cli::credential;
use crate::cli::server::Server;
use crate::cli::table::plain;
use crate::cli::{Call, Client, Exit, Failure, Session};
use clap::Args;
use http::Method;
use rustix::process::Signal as Sent;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    key: TempFields,

    /// Mint from this key, by its name or id, as whoever manages it [default: from ANYKEY_API_KEY]
    #[arg(long, value_name = "KEY")]
    from: Option<String>,

    /// The program and its arguments, after `--`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<std::ffi::OsString>,
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

/// How long a key is waited for that is not wanted any more.
const UNWANTED: Duration = Duration::from_secs(5);
/// In which a signal that was sent before the program starts is seen.
const A_MOMENT: Duration = Duration::from_millis(5);
/// How long the end of a run may take: first what it cost, then the end of its key.
const COST_WITHIN: Duration = Duration::from_secs(2);
const END_WITHIN: Duration = Duration::from_secs(5);

/// Gives the program's own exit code.
pub async fn run(args: RunArgs, session: &mut Session) -> Result<u8, Failure> {
    // None of them may end this process between the minting of the key and its end.
    let mut signals = signals()?;
    let (minted, stopped) = mint_unless_stopped(&args, session, &mut signals).await;
    let (client, minted) = minted?;
    let caller = client.as_caller(minted.secret.clone());
    // From here on the key is ended on every way out.
    let stopped = match stopped {
        None => tokio::time::timeout(A_MOMENT, signals.next()).await.ok(),
        known => known,
    };
    let code = match stopped {
        Some(sent) => Ok(stopped_by(sent)),
        None => match start(&args, &client.url(), &minted.secret) {
            Ok(child) => wait(child, signals).await.map(exit_code),
            Err(failure) => Err(failure),
        },
    };
    let cost = finish(&caller).await;
    match cost {
        Ok(Some(cost)) => session.terminal.note(&format!("{} cost ${cost}", plain(&name(&args)))),
        Ok(None) => {}
        Err(failure) => session.terminal.complain(&format_args!(
            "warning: the key of this run could not be ended; it ends by itself in at most {}. {failure}",
            args.key.ttl
        )),
    }
    code
}

/// Mints the key. A signal that comes meanwhile stops the run; the key may be made by then, so that it is waited for, to be
/// ended.
async fn mint_unless_stopped(
    args: &RunArgs,
    session: &mut Session,
    signals: &mut Signals,
) -> (Result<(Client, Minted), Failure>, Option<Sent>) {
    let mut minting = pin!(mint(args, session));
    let sent = tokio::select! {
        biased;
        minted = &mut minting => return (minted, None),
        sent = signals.next() => sent,
    };
    let minted = tokio::time::timeout(UNWANTED, minting).await.unwrap_or_else(|_| {
        let what =
            format!("stopped before the program was started. A key may have been minted; it ends in {}", args.key.ttl);
        Err(Failure::new(Exit::Cancelled, what))
    });
    (minted, Some(sent))
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
    let name: String = format!("run {}", plain(&name(args))).chars().take(100).collect();
    Value::Object(args.key.body(Some(&name)))
}

/// What ends a program from outside, and is handed on to it.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    async fn next(&mut self) -> Sent {
        tokio::select! {
            _ = self.interrupt.recv() => Sent::INT,
            _ = self.quit.recv() => Sent::QUIT,
            _ = self.terminate.recv() => Sent::TERM,
            _ = self.hang_up.recv() => Sent::HUP,
        }
    }
}

fn signals() -> std::io::Result<Signals> {
    Ok(Signals {
        interrupt: signal(SignalKind::interrupt())?,
        quit: signal(SignalKind::quit())?,
        terminate: signal(SignalKind::terminate())?,
        hang_up: signal(SignalKind::hangup())?,
    })
}

/// Whether this process is what the terminal's keys reach: then Ctrl-C and its like reached the program too, and handing
/// them on would be twice.
fn has_the_terminal() -> bool {
    let holder = |fd: std::os::fd::BorrowedFd<'_>| rustix::termios::tcgetpgrp(fd).ok();
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let holder = holder(input.as_fd()).or_else(|| holder(output.as_fd())).or_else(|| holder(errors.as_fd()));
    holder == Some(rustix::process::getpgrp())
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
    loop {
        let sent = tokio::select! {
            // First, so that no signal goes to whoever has the number of a program that is gone.
            biased;
            status = &mut ended => return Ok(status.map_err(|error| Failure::failed(error.to_string()))??),
            sent = signals.next() => sent,
        };
        if matches!(sent, Sent::INT | Sent::QUIT) && has_the_terminal() {
            continue;
        }
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
    let about = caller.send(Call::at(Method::GET, "/v1/key".into()));
    let about = tokio::time::timeout(COST_WITHIN, about).await;
    let ended = caller.send(Call::at(Method::POST, "/v1/key/temp/end".into()));
    let late = |_| Err(Failure::unreachable("The server did not answer in time."));
    let ended = tokio::time::timeout(END_WITHIN, ended).await.unwrap_or_else(late);
    let about = about.ok().and_then(Result::ok).and_then(|answer| answer.read::<About>().ok());
    match ended {
        // Its time was up, or its parent is gone or has another secret. Whatever else is refused leaves it alive.
        Err(failure) if failure.is_refusal(&["key_expired", "key_revoked"]) => {}
        ended => drop(ended?),
    }
    Ok(about.and_then(|about| about.data.usage).map(|usd| usd.get().to_owned()))
}

/// As shells give it, of a program that a signal ended.
fn stopped_by(sent: Sent) -> u8 {
    u8::try_from(128 + sent.as_raw()).unwrap_or(1)
}

/// As shells give it: 128 and the signal where one ended the program.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
