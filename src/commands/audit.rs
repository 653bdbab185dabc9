//! `anykey audit`: who did what to what, and whether the log of it is as it was written.

mod verify;

use crate::cli::when::Moment;
use crate::cli::{Call, Cell, Client, Column, Failure, Session, values};
use crate::commands::key;
use crate::commands::paging::PageArgs;
use clap::{Args, Subcommand};
use http_body_util::BodyExt;
use serde::Deserialize;

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// List changes, the newest first
    #[command(alias = "ls")]
    List(ListArgs),
    /// Write the log to stdout as NDJSON or CSV, the oldest entry first
    Export(ExportArgs),
    /// Check that no entry was altered, moved or taken away
    Verify(verify::VerifyArgs),
}

#[derive(Args, Debug)]
struct FilterArgs {
    /// Only what was done so: key.disable; several, with commas
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,

    /// Only changes of such things: key, provider, alias, prices, settings ...
    #[arg(long)]
    kind: Option<String>,

    /// Only changes of the thing with this id
    #[arg(long, value_name = "ID", conflicts_with = "key")]
    object: Option<String>,

    /// Only changes of this key: its name, id or masked form
    #[arg(long)]
    key: Option<String>,

    /// Only changes by the key or person with this id
    #[arg(long, value_name = "ID")]
    by: Option<String>,

    /// Only what was done in this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    /// From when on: 30d or 2026-11-01
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    since: Option<Moment>,

    /// Until when
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    until: Option<Moment>,
}

impl FilterArgs {
    async fn apply(self, call: Call, client: &Client, now: jiff::Timestamp) -> Result<Call, Failure> {
        let key = key::id_of(client, self.key.as_deref()).await?;
        Ok(call
            .maybe("verb", self.verb)
            .maybe("kind", self.kind)
            .maybe("object", self.object.or(key))
            .maybe("actor", self.by)
            .maybe("organisation", self.org)
            .maybe("from", self.since.map(|at| at.before(now).to_string()))
            .maybe("to", self.until.map(|at| at.before(now).to_string())))
    }
}

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Print CSV
    #[arg(long)]
    csv: bool,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Entry {
    seq: u64,
    at: Option<String>,
    actor: Named,
    surface: String,
    ip: Option<String>,
    verb: String,
    object: Named,
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
    request_id: Option<String>,
    hash: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Named {
    kind: String,
    id: Option<String>,
    name: String,
}

fn json(value: &Option<serde_json::Value>) -> Cell {
    Cell::text(value.as_ref().map(ToString::to_string).unwrap_or_default())
}

const COLUMNS: &[Column<Entry>] = &[
    Column::new("seq", "NO", |e| Cell::Count(e.seq)),
    Column::new("at", "WHEN", |e| Cell::Time(e.at.clone(), "–")),
    Column::new("actor", "WHO", |e| Cell::text(&e.actor.name)),
    Column::new("verb", "WHAT", |e| Cell::text(&e.verb)),
    Column::new("object", "TO", |e| Cell::text(&e.object.name)),
    Column::new("surface", "THROUGH", |e| Cell::text(&e.surface)),
    Column::new("ip", "FROM", |e| Cell::maybe(&e.ip)),
    Column::for_programs("actor_kind", |e| Cell::text(&e.actor.kind)),
    Column::for_programs("actor_id", |e| Cell::maybe(&e.actor.id)),
    Column::for_programs("object_kind", |e| Cell::text(&e.object.kind)),
    Column::for_programs("object_id", |e| Cell::maybe(&e.object.id)),
    Column::for_programs("request_id", |e| Cell::maybe(&e.request_id)),
    Column::for_programs("before", |e| json(&e.before)),
    Column::for_programs("after", |e| json(&e.after)),
    Column::for_programs("hash", |e| Cell::text(&e.hash)),
];

pub async fn run(command: AuditCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        AuditCommand::List(args) => {
            let client = session.client()?;
            let call = args.filter.apply(Call::get("/audit"), &client, session.now).await?;
            let listing = client.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        AuditCommand::Export(args) => export(args, session).await,
        AuditCommand::Verify(args) => verify::run(args, session).await,
    }
}

/// Written as it comes: a log can be larger than memory.
async fn export(args: ExportArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let call = Call::get("/audit/export").query("format", if args.csv { "csv" } else { "ndjson" });
    let call = args.filter.apply(call, &client, session.now).await?;
    let mut body = client.open(call).await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::unreachable(format!("the server ended the export before its end: {error}")).hint("anykey status")
        })?;
        if let Ok(bytes) = frame.into_data() {
            session.terminal.write(&bytes)?;
        }
    }
    Ok(())
}
