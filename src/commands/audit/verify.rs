//! `anykey audit verify`: asks the server, or reads the log itself where none runs.

use crate::cli::server::{Server, named_data_dir};
use crate::cli::{Call, Cell, Exit, Failure, Session};
use crate::commands::ServeArgs;
use crate::config;
use anykey_store::{AuditReport, Store, read_hash};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// An entry that was noted earlier must still be there: its number and hash
    #[arg(long, value_name = "NO:HASH", value_parser = noted)]
    noted: Option<Noted>,

    /// Read the data folder of a server that is stopped, as is done where none runs
    #[arg(long)]
    offline: bool,

    /// With --offline: the settings file of that server
    #[arg(long, env = "ANYKEY_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// With --offline: the database of that server
    #[arg(long, env = "ANYKEY_DATABASE", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
}

#[derive(Clone, Debug)]
struct Noted {
    seq: i64,
    hash: String,
}

fn noted(text: &str) -> Result<Noted, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
    match parts {
        Some((seq, hash)) if read_hash(hash).is_some() => Ok(Noted { seq, hash: hash.to_owned() }),
        _ => Err("it is written NO:HASH, as an earlier verify printed it".into()),
    }
}

/// What became of the log, as the API tells it.
#[derive(Serialize, Deserialize, Debug, Default)]
#[serde(default)]
struct Verified {
    ok: bool,
    count: u64,
    head_hash: String,
    broken: Option<Broken>,
    alarms: Vec<i64>,
}

#[derive(Serialize, Deserialize, Debug, Default)]
#[serde(default)]
struct Broken {
    kind: String,
    seq: Option<i64>,
    message: String,
}

impl From<AuditReport> for Verified {
    fn from(report: AuditReport) -> Self {
        Verified {
            ok: report.is_whole(),
            count: u64::try_from(report.count).unwrap_or_default(),
            broken: report.broken.map(|found| Broken {
                kind: found.name().into(),
                seq: found.seq(),
                message: found.to_string(),
            }),
            head_hash: report.head_hash,
            alarms: report.alarms,
        }
    }
}

pub async fn run(args: VerifyArgs, session: &mut Session) -> Result<(), Failure> {
    let (text, verified) = match args.offline || none_runs(session) {
        true => {
            let verified = in_folder(args, session).await?;
            let text = serde_json::to_string(&verified).map_err(|error| Failure::failed(error.to_string()))?;
            (text, verified)
        }
        false => {
            let call = Call::get("/audit/verify")
                .maybe("seq", args.noted.as_ref().map(|noted| noted.seq.to_string()))
                .maybe("hash", args.noted.map(|noted| noted.hash));
            let answer = session.client()?.send(call).await?;
            (answer.text()?.to_owned(), answer.read()?)
        }
    };
    session.print_object(&text, details)?;
    match &verified.broken {
        Some(broken) => {
            Err(Failure::new(Exit::Failed, format!("the audit log is not as it was written: {}", broken.message))
                .detail("Keep the database and the server's logs as they are, and compare with an export or a backup."))
        }
        None if !verified.ok => {
            let alarms: Vec<String> = verified.alarms.iter().map(ToString::to_string).collect();
            let message = format!("the end of the audit log was damaged before entry {}", alarms.join(", "));
            Err(Failure::new(Exit::Failed, message)
                .detail("What was there until then may be gone; compare with an export or a backup."))
        }
        None => Ok(()),
    }
}

fn details(verified: &Verified) -> Vec<(&'static str, Cell)> {
    let mut rows = vec![
        ("status", Cell::Status(if verified.ok { "ok" } else { "broken" }.into())),
        ("entries", Cell::Count(verified.count)),
        ("head", Cell::text(format!("{}:{}", verified.count, verified.head_hash))),
    ];
    if let Some(broken) = &verified.broken {
        rows.push(("broken", Cell::text(&broken.message)));
    }
    rows
}

/// Whether the data folder that is meant is one of a server that does not run.
fn none_runs(session: &Session) -> bool {
    let elsewhere =
        session.globals.url.is_some() || (session.globals.data_dir.is_none() && session.env("ANYKEY_URL").is_some());
    let folder = named_data_dir(session).unwrap_or_else(|| crate::cli::server::DEFAULT_DATA_DIR.into());
    !elsewhere
        && folder.join("pepper").exists()
        && Server::find(session).is_err_and(|why| why.exit == Exit::Unreachable)
}

async fn in_folder(args: VerifyArgs, session: &Session) -> Result<Verified, Failure> {
    let serve = ServeArgs { config: args.config, database: args.database, ..ServeArgs::default() };
    let settings =
        config::load(&serve.in_folder(named_data_dir(session))).map_err(|error| Failure::usage(error.to_string()))?;
    if !settings.data_dir.is_dir() {
        return Err(Failure::new(Exit::NotFound, format!("there is no data folder {}", settings.data_dir.display()))
            .hint("anykey audit verify --offline --data-dir DIR"));
    }
    let mut options = anykey_store::Options::new(&settings.data_dir, settings.database);
    options.brand = settings.brand;
    options.pepper_file = session.env("ANYKEY_PEPPER_FILE").map(Into::into);
    options.kek_file = session.env("ANYKEY_KEK_FILE").map(Into::into);
    let store = Store::open(options).await.map_err(|error| Failure::failed(error.to_string()))?;
    let noted = args.noted.and_then(|noted| Some((noted.seq, read_hash(&noted.hash)?)));
    let report = store.verify_audit(noted).await;
    store.close().await;
    Ok(report.map_err(|error| Failure::failed(error.to_string()))?.into())
}
