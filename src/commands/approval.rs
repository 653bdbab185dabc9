//! `anykey approval`: asking for more than a key has, or for a key, and deciding on that.

use crate::cli::client::segment;
use crate::cli::values;
use crate::cli::when::{Moment, Span};
use crate::cli::{Call, Cell, Column, Failure, Session};
use crate::commands::key::{self, secret};
use crate::commands::paging::PageArgs;
use crate::commands::tenancy::fields;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const LIST: &str = "anykey approval list";

#[derive(Subcommand, Debug)]
pub enum ApprovalCommand {
    /// List requests, the newest first
    #[command(alias = "ls")]
    List(ListArgs),
    /// Ask for more than a key has (models, limits, money or time), or for a key with --new
    Ask(Box<AskArgs>),
    /// Show a request
    Show(RequestArg),
    /// Grant what is asked for, for good or for a time
    Approve(ApproveArgs),
    /// Refuse what is asked for
    Refuse(RefuseArgs),
    /// Take back a request of your own that still waits
    Withdraw(RequestArg),
    /// Collect the secret of a key that you asked for, once it is granted
    Collect(RequestArg),
}

#[derive(Args, Debug)]
pub struct RequestArg {
    /// Its id (apr_...)
    #[arg(value_name = "REQUEST")]
    id: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// waiting, approved, refused, withdrawn, lapsed or ended
    #[arg(long)]
    state: Option<String>,

    /// Only those of this key
    #[arg(long)]
    key: Option<String>,

    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    /// Only those of this project
    #[arg(long)]
    project: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct AskArgs {
    /// A name, an id (key_...) or a masked key (ak-live-AbCd1234)
    #[arg(value_name = "KEY", required_unless_present = "new", conflicts_with = "new")]
    key: Option<String>,

    /// Ask for a key of this name, which becomes yours
    #[arg(long, value_name = "NAME")]
    new: Option<String>,

    /// The project that a new key is in
    #[arg(long, conflicts_with = "key")]
    project: Option<String>,

    /// What a new key is for
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    description: Option<String>,

    /// The environment of a new key
    #[arg(long, value_name = "NAME", conflicts_with = "key")]
    environment: Option<String>,

    /// A tag of a new key; may be given several times
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = values::tag, conflicts_with = "key")]
    tags: Vec<(String, String)>,

    /// Where the secret of a new key will be stored
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    note: Option<String>,

    /// When somebody should look at a new key again: 180d or 2026-12-31
    #[arg(long, value_name = "WHEN", value_parser = values::moment, conflicts_with = "key")]
    review: Option<Moment>,

    /// How often a new key should be rotated, such as 90d
    #[arg(long, value_name = "DAYS", value_parser = values::days, conflicts_with = "key")]
    rotation_interval: Option<i64>,

    /// Why, for whoever decides
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// A model, or a pattern for several, to be allowed beside those that are; may be given again
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,

    /// Requests in a minute
    #[arg(long, value_name = "N")]
    rpm: Option<u64>,

    /// Requests in an hour
    #[arg(long, value_name = "N")]
    rph: Option<u64>,

    /// Requests in a day
    #[arg(long, value_name = "N")]
    rpd: Option<u64>,

    /// Tokens in a minute
    #[arg(long, value_name = "N")]
    tpm: Option<u64>,

    /// Tokens in a day
    #[arg(long, value_name = "N")]
    tpd: Option<u64>,

    /// Calls at once
    #[arg(long, value_name = "N")]
    concurrency: Option<u64>,

    /// A spend limit of so many dollars
    #[arg(long, value_name = "USD")]
    spend_limit: Option<String>,

    /// To live until then, or so long from now: 90d
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    expires: Option<Moment>,

    /// How long the request waits for a decision [default: 7d]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    lapses: Option<Span>,
}

#[derive(Args, Debug)]
pub struct ApproveArgs {
    #[command(flatten)]
    which: RequestArg,

    /// Only for so long: the key goes back to what it was then
    #[arg(long = "for", value_name = "SPAN", value_parser = values::span)]
    lasts: Option<Span>,

    /// Only until then
    #[arg(long, value_name = "WHEN", value_parser = values::moment, conflicts_with = "lasts")]
    until: Option<Moment>,

    /// A word to whoever asked
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
}

#[derive(Args, Debug)]
pub struct RefuseArgs {
    #[command(flatten)]
    which: RequestArg,

    /// Why, for whoever asked
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Who {
    name: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Approval {
    id: String,
    key_id: Option<String>,
    wants: String,
    reason: String,
    state: String,
    asked_by: Who,
    decided_by: Option<Who>,
    answer: Option<String>,
    lapses_at: Option<String>,
    decided_at: Option<String>,
    ends_at: Option<String>,
    created_at: Option<String>,
}

const COLUMNS: &[Column<Approval>] = &[
    Column::new("id", "ID", |a| Cell::text(&a.id)),
    Column::new("state", "STATE", |a| Cell::Status(a.state.clone())),
    Column::new("wants", "WANTS", |a| Cell::text(&a.wants)),
    Column::new("asked_by", "ASKED BY", |a| Cell::text(&a.asked_by.name)),
    Column::new("reason", "BECAUSE", |a| Cell::text(&a.reason)),
    Column::for_programs("key_id", |a| Cell::maybe(&a.key_id)),
    Column::new("lapses_at", "LAPSES", |a| Cell::Time(a.lapses_at.clone(), "–")),
    Column::new("ends_at", "ENDS", |a| Cell::Time(a.ends_at.clone(), "–")),
];

fn details(approval: &Approval) -> Vec<(&'static str, Cell)> {
    let time = |at: &Option<String>| Cell::Time(at.clone(), "–");
    vec![
        ("id", Cell::text(&approval.id)),
        ("state", Cell::Status(approval.state.clone())),
        ("key_id", Cell::maybe(&approval.key_id)),
        ("wants", Cell::text(&approval.wants)),
        ("reason", Cell::text(&approval.reason)),
        ("asked_by", Cell::text(&approval.asked_by.name)),
        ("created_at", time(&approval.created_at)),
        ("lapses_at", time(&approval.lapses_at)),
        ("decided_by", Cell::text(approval.decided_by.as_ref().map_or("", |who| &who.name))),
        ("decided_at", time(&approval.decided_at)),
        ("answer", Cell::maybe(&approval.answer)),
        ("ends_at", time(&approval.ends_at)),
    ]
}

pub async fn run(command: ApprovalCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        ApprovalCommand::List(args) => {
            let client = session.client()?;
            let key = key::id_of(&client, args.key.as_deref()).await?;
            let call = Call::get("/approvals")
                .maybe("state", args.state)
                .maybe("key", key)
                .maybe("organisation", args.org)
                .maybe("project", args.project);
            let listing = client.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        ApprovalCommand::Ask(args) => ask(*args, session).await,
        ApprovalCommand::Show(which) => {
            let answer = session.client()?.send(Call::get(path(&which))).await.map_err(hint)?;
            session.print_object(answer.text()?, details)
        }
        ApprovalCommand::Approve(args) => {
            let until = args.until.map(|at| at.after(session.now).to_string());
            let body =
                fields([("until", until), ("lasts", args.lasts.map(|span| span.to_string())), ("answer", args.answer)]);
            decide(&args.which, "approve", body, "approved", session).await
        }
        ApprovalCommand::Refuse(args) => {
            let body = fields([("reason", Some(args.reason))]);
            decide(&args.which, "refuse", body, "refused", session).await
        }
        ApprovalCommand::Withdraw(which) => decide(&which, "withdraw", Map::new(), "withdrew", session).await,
        ApprovalCommand::Collect(which) => {
            let client = session.client()?;
            let call = Call::post(format!("{}/collect", path(&which))).once()?;
            let answer = client.send(call).await.map_err(hint)?;
            secret::show(session, &answer, "a secret of", &client.url())
        }
    }
}

async fn ask(args: AskArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let key = key::id_of(&client, args.key.as_deref()).await?;
    let expires = args.expires.map(|at| at.after(session.now).to_string());
    let mut body = fields([
        ("key", key),
        ("name", args.new),
        ("project", args.project),
        ("description", args.description),
        ("environment", args.environment),
        ("reason", Some(args.reason)),
        ("spend_limit_usd", args.spend_limit),
        ("expires_at", expires),
        ("note", args.note),
        ("review_at", args.review.map(|at| at.after(session.now).to_string())),
        ("lapses_in", args.lapses.map(|span| span.to_string())),
    ]);
    if let Some(days) = args.rotation_interval {
        body.insert("rotation_interval_days".into(), json!(days));
    }
    if !args.tags.is_empty() {
        let tags: Map<String, Value> = args.tags.into_iter().map(|(name, value)| (name, value.into())).collect();
        body.insert("tags".into(), tags.into());
    }
    if !args.models.is_empty() {
        body.insert("models".into(), json!(args.models));
    }
    let limits = [
        ("rpm", args.rpm),
        ("rph", args.rph),
        ("rpd", args.rpd),
        ("tpm", args.tpm),
        ("tpd", args.tpd),
        ("concurrency", args.concurrency),
    ];
    let limits: Map<String, Value> =
        limits.into_iter().filter_map(|(name, n)| Some((name.to_owned(), json!(n?)))).collect();
    if !limits.is_empty() {
        body.insert("limits".into(), limits.into());
    }
    let answer = client.send(Call::post("/approvals").json(&body)?.once()?).await?;
    let asked: Approval = answer.read()?;
    session.report(&answer, &format!("asked for {} ({})", asked.wants, asked.id))
}

async fn decide(
    which: &RequestArg,
    verb: &str,
    body: Map<String, Value>,
    done: &str,
    session: &mut Session,
) -> Result<(), Failure> {
    let call = Call::post(format!("{}/{verb}", path(which))).json(&body)?;
    let answer = session.client()?.send(call).await.map_err(hint)?;
    let decided: Approval = answer.read()?;
    session.report(&answer, &format!("{done} {} ({})", decided.wants, decided.id))
}

fn hint(failure: Failure) -> Failure {
    failure.hint(LIST)
}

fn path(which: &RequestArg) -> String {
    format!("/approvals/{}", segment(&which.id))
}
