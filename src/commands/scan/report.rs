//! What the server knows of the keys that were found, and putting an end to those that live.

use super::finding::Finding;
use crate::cli::client::segment;
use crate::cli::{Call, Client, Failure, Session};
use crate::commands::key::NewSecret;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// As many as the server takes at once.
const AT_ONCE: usize = 500;

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Ask the server which of the keys are real, and mark those as exposed
    #[arg(long)]
    report: bool,

    /// Disable the keys that are real; implies --report
    #[arg(long, conflicts_with = "rotate")]
    disable: bool,

    /// Give the keys that live new secrets, end the old ones, and write the new ones to a new file; implies --report
    #[arg(long, value_name = "FILE")]
    rotate: Option<PathBuf>,
}

impl ReportArgs {
    pub fn wanted(&self) -> bool {
        self.report || self.disable || self.rotate.is_some()
    }
}

/// What the server says of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// `unknown` here, or what the key is good for: `active`, `disabled`, `expired`, `revoked`.
    pub state: String,
    pub id: Option<String>,
    pub name: Option<String>,
    pub owner: Option<String>,
}

#[derive(Deserialize)]
struct Verdicts {
    data: Vec<Verdict>,
}

/// Asks about each key once and writes the answer to every place where it was found.
pub async fn report(args: &ReportArgs, findings: &mut [Finding], session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    // Opened first: a secret that could not be written down would be lost.
    let mut file = args.rotate.as_deref().map(open_new).transpose()?;
    let action = if args.disable { "disable" } else { "flag" };
    let mut verdicts: BTreeMap<String, Verdict> = BTreeMap::new();
    let keys = distinct(findings);
    for part in keys.chunks(AT_ONCE) {
        let found: Vec<_> =
            part.iter().map(|(secret, place)| json!({"key": secret.expose_secret(), "place": place})).collect();
        let body = json!({"action": action, "found": found});
        let answer: Verdicts = client.send(Call::post("/keys/exposed").json(&body)?).await?.read()?;
        for ((secret, _), verdict) in part.iter().zip(answer.data) {
            verdicts.insert(secret.expose_secret().to_owned(), verdict);
        }
    }
    if let Some(file) = &mut file {
        rotate(&client, &mut verdicts, file, session).await?;
    }
    for finding in findings {
        finding.server = finding.secret.as_ref().and_then(|s| verdicts.get(s.expose_secret())).cloned();
    }
    Ok(())
}

/// Each key with the first place where it stands.
fn distinct(findings: &[Finding]) -> Vec<(SecretString, String)> {
    let mut seen = BTreeSet::new();
    let first = findings.iter().filter_map(|f| Some((f.secret.clone()?, f)));
    first
        .filter(|(secret, _)| seen.insert(secret.expose_secret().to_owned()))
        .map(|(secret, finding)| (secret, described(finding)))
        .collect()
}

fn described(finding: &Finding) -> String {
    match &finding.commit {
        Some(commit) => format!("{} in commit {commit}", finding.place()),
        None => finding.place(),
    }
}

fn open_new(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        Failure::failed(format!("{} could not be made: {error}", path.display()))
            .detail("The new secrets go to a file that does not exist yet; nothing was rotated.")
    })
}

/// Two secrets of one key are one key: it is rotated once.
async fn rotate(
    client: &Client,
    verdicts: &mut BTreeMap<String, Verdict>,
    file: &mut File,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut done = BTreeSet::new();
    for verdict in verdicts.values_mut().filter(|v| v.state == "active") {
        let (Some(id), name) = (verdict.id.clone(), verdict.name.clone().unwrap_or_default()) else { continue };
        if done.insert(id.clone()) {
            let call = Call::post(format!("/keys/{}/rotate", segment(&id))).json(&json!({"leaked": true}))?.once()?;
            let made: NewSecret = client.send(call).await?.read()?;
            let line = format!("{id}\t{}\t{}\n", crate::cli::table::plain(&name), made.secret.expose_secret());
            file.write_all(line.as_bytes()).and_then(|()| file.sync_all())?;
        }
        verdict.state = "rotated".into();
    }
    session.terminal.note(&format!("{} keys were rotated; the old secrets are dead.", done.len()));
    Ok(())
}
