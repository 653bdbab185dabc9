//! Changing many keys at once, and giving one to another owner.

use super::{Found, KeyArg, find, view};
use crate::cli::values::{self, Expiry};
use crate::cli::when::Moment;
use crate::cli::{Call, Client, Failure, Session};
use crate::commands::{job, member, service_account};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Args, Debug)]
pub struct TransferArgs {
    #[command(flatten)]
    which: KeyArg,

    /// A member (an e-mail or mem_...) or a service account (a name or svc_...) of the key's organisation
    #[arg(long, value_name = "OWNER")]
    to: String,
}

/// The old owner still knows the secret, so the new one is asked to rotate it.
pub async fn transfer(args: TransferArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let Found { key, .. } = find::find(&client, &args.which).await?;
    let owner = owner(&client, &args.to, key.organisation_id.as_deref()).await?;
    let call = Call::post(format!("{}/transfer", find::path(&key))).json(&json!({ "owner_id": owner }))?;
    let answer = client.send(call).await?;
    session.report(&answer, &format!("gave {} to {}", key.label(), args.to))?;
    session.terminal.note("Its old owner may still have the secret:  anykey key rotate");
    Ok(())
}

/// The id of the owner that a text means.
pub async fn owner(client: &Client, text: &str, organisation: Option<&str>) -> Result<String, Failure> {
    if text.contains('@') || text.starts_with("mem_") {
        member::find(client, text, organisation).await
    } else {
        service_account::find(client, text, organisation).await
    }
}

#[derive(Subcommand, Debug)]
pub enum BulkCommand {
    /// Refuse calls with many keys
    Disable(BulkArgs),
    /// Accept calls with many keys again
    Enable(BulkArgs),
    /// Let many keys live longer; those that end later, or never, are left alone
    Extend(ExtendArgs),
    /// Set tags of many keys, or take them away
    Tag(TagArgs),
}

#[derive(Args, Debug)]
pub struct BulkArgs {
    /// The keys; without any, those of the filter
    #[arg(value_name = "KEY", conflicts_with_all = ["search", "status", "kind", "owner", "org", "project", "environment",
        "parent", "tag", "unused", "expiring", "review", "rotation", "all_keys"])]
    keys: Vec<String>,

    #[command(flatten)]
    filter: view::FilterArgs,

    /// Mean every key that is not deleted
    #[arg(long)]
    all_keys: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
}

#[derive(Args, Debug)]
pub struct ExtendArgs {
    #[command(flatten)]
    which: BulkArgs,

    /// When they end: 90d or 2026-12-31
    #[arg(long, value_name = "WHEN", value_parser = values::expiry)]
    expires: Expiry,
}

#[derive(Args, Debug)]
pub struct TagArgs {
    #[command(flatten)]
    which: BulkArgs,

    /// A tag to set; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = values::tag)]
    set: Vec<(String, String)>,

    /// A tag to take away; may be given several times
    #[arg(long = "untag", value_name = "NAME")]
    untag: Vec<String>,
}

pub async fn bulk(command: BulkCommand, session: &mut Session) -> Result<(), Failure> {
    let now = session.now;
    let (action, which, fields) = match command {
        BulkCommand::Disable(which) => ("disable", which, Map::new()),
        BulkCommand::Enable(which) => ("enable", which, Map::new()),
        BulkCommand::Extend(args) => {
            let field = match args.expires {
                Expiry::Never => return Err(Failure::usage("an end is a time; anykey key edit takes one away")),
                Expiry::When(Moment::Span(span)) => ("expires_in".to_owned(), json!(span.to_string())),
                Expiry::When(moment) => ("expires_at".to_owned(), json!(moment.after(now).to_string())),
            };
            ("extend", args.which, Map::from_iter([field]))
        }
        BulkCommand::Tag(args) => {
            if args.set.is_empty() && args.untag.is_empty() {
                return Err(Failure::usage("no tag was given").hint("--set NAME=VALUE or --untag NAME"));
            }
            let fields = [("tags".to_owned(), json!(values::tags(&args.set))), ("untag".to_owned(), json!(args.untag))];
            ("tag", args.which, Map::from_iter(fields))
        }
    };
    start(action, which, fields, session).await
}

async fn start(
    action: &str,
    which: BulkArgs,
    mut body: Map<String, Value>,
    session: &mut Session,
) -> Result<(), Failure> {
    let client = session.client()?;
    let filter = which.filter.fields(&client).await?.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
    let filter: Map<String, Value> = filter.collect();
    let meant = match (which.keys.is_empty(), filter.is_empty(), which.all_keys) {
        (false, ..) => {
            let mut ids = Vec::with_capacity(which.keys.len());
            for key in &which.keys {
                ids.push(find::find_id(&client, key).await?);
            }
            let meant = format!("{} keys", ids.len());
            body.insert("keys".into(), json!(ids));
            meant
        }
        (true, true, false) => {
            return Err(Failure::usage("no keys were named").hint("name keys, give a filter, or --all-keys"));
        }
        (true, none, _) => {
            body.insert("filter".into(), json!(filter));
            if none { "every key".into() } else { "the keys of this filter".into() }
        }
    };
    session.terminal.confirm(&format!("{action} {meant}?"), which.yes)?;
    body.insert("action".into(), json!(action));
    let answer = client.send(Call::post("/keys/bulk").json(&body)?.once()?).await?;
    let begun: job::Job = answer.read()?;
    if which.no_wait {
        return session.report(&answer, &format!("begun: {} keys, anykey job show {}", begun.total, begun.id));
    }
    let ended = job::wait(&client, &begun.id).await?;
    if session.json() {
        return job::show(&client, &begun.id, session).await;
    }
    session.terminal.note(&format!(
        "{} of {} keys changed, {} left as they are ({})",
        ended.done, ended.total, ended.skipped, ended.id
    ));
    if ended.skipped > 0 {
        session.terminal.note(&format!("see why:  anykey job show {}", ended.id));
    }
    Ok(())
}
