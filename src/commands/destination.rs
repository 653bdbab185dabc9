//! `anykey destination`: where notices go to.

use crate::cli::client::segment;
use crate::cli::table::plain;
use crate::cli::values::{self, Overlap};
use crate::cli::{Answer, Call, Cell, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use crate::commands::tenancy::fields;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

const LIST: &str = "anykey destination list";

#[derive(Subcommand, Debug)]
pub enum DestinationCommand {
    /// List destinations
    #[command(alias = "ls")]
    List(ListArgs),
    /// Have notices sent to a webhook or a mailbox
    #[command(alias = "add")]
    Create(CreateArgs),
    /// Show a destination
    Show(DestinationArg),
    /// Change a destination
    #[command(alias = "edit")]
    Update(UpdateArgs),
    /// Send nothing there until it is enabled again; what comes up meanwhile is not kept for it
    Disable(DestinationArg),
    /// Send notices there again
    Enable(DestinationArg),
    /// Send a test there now, and say what was answered; exit code 1 where it did not arrive
    Test(DestinationArg),
    /// Give a webhook a new secret
    Rotate(RotateArgs),
    /// Delete a destination; what waits for it is given up
    #[command(alias = "rm")]
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct DestinationArg {
    /// Its id (dst_...)
    #[arg(value_name = "DESTINATION")]
    id: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
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
pub struct CreateArgs {
    /// What to call it
    name: String,

    /// A webhook
    #[arg(long, value_name = "URL", required_unless_present = "email", conflicts_with = "email")]
    webhook: Option<String>,

    /// A mailbox
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,

    /// Only the notices of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    /// Only the notices of this project
    #[arg(long)]
    project: Option<String>,

    /// Which events, with commas between them, such as key.expiring,key.expired [default: all]
    #[arg(long, value_delimiter = ',', value_name = "EVENTS")]
    events: Vec<String>,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: DestinationArg,

    /// A new name
    #[arg(long)]
    name: Option<String>,

    /// Another URL
    #[arg(long, value_name = "URL", conflicts_with = "email")]
    webhook: Option<String>,

    /// Another mailbox
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,

    /// Which events, all of them; `all` is every one
    #[arg(long, value_delimiter = ',', value_name = "EVENTS")]
    events: Vec<String>,
}

#[derive(Args, Debug)]
pub struct RotateArgs {
    #[command(flatten)]
    which: DestinationArg,

    /// How long messages are signed with the old secret too: 1h, 24h, 7d or none [default: 24h]
    #[arg(long, value_name = "SPAN", value_parser = values::overlap)]
    overlap: Option<Overlap>,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: DestinationArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Destination {
    id: String,
    name: String,
    channel: String,
    address: String,
    events: Vec<String>,
    status: String,
    organisation_id: Option<String>,
    project_id: Option<String>,
    old_secret_until: Option<String>,
    created_at: Option<String>,
    version: Option<serde_json::Value>,
    secret: Option<String>,
}

impl Destination {
    fn label(&self) -> String {
        format!("{} ({})", self.name, self.id)
    }

    fn event_list(&self) -> Cell {
        if self.events.is_empty() { Cell::text("all") } else { Cell::list(&self.events) }
    }
}

const COLUMNS: &[Column<Destination>] = &[
    Column::new("id", "ID", |d| Cell::text(&d.id)),
    Column::new("name", "NAME", |d| Cell::text(&d.name)),
    Column::new("status", "STATUS", |d| Cell::Status(d.status.clone())),
    Column::for_programs("channel", |d| Cell::text(&d.channel)),
    Column::new("address", "ADDRESS", |d| Cell::text(&d.address)),
    Column::new("events", "EVENTS", Destination::event_list),
    Column::for_programs("organisation_id", |d| Cell::maybe(&d.organisation_id)),
    Column::for_programs("project_id", |d| Cell::maybe(&d.project_id)),
];

fn details(destination: &Destination) -> Vec<(&'static str, Cell)> {
    vec![
        ("id", Cell::text(&destination.id)),
        ("name", Cell::text(&destination.name)),
        ("status", Cell::Status(destination.status.clone())),
        ("channel", Cell::text(&destination.channel)),
        ("address", Cell::text(&destination.address)),
        ("events", destination.event_list()),
        ("organisation_id", Cell::maybe(&destination.organisation_id)),
        ("project_id", Cell::maybe(&destination.project_id)),
        ("old_secret_until", Cell::Time(destination.old_secret_until.clone(), "–")),
        ("created_at", Cell::Time(destination.created_at.clone(), "–")),
    ]
}

pub async fn run(command: DestinationCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        DestinationCommand::List(args) => {
            let call = Call::get("/destinations").maybe("organisation", args.org).maybe("project", args.project);
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        DestinationCommand::Create(args) => create(args, session).await,
        DestinationCommand::Show(which) => {
            let answer = session.client()?.send(Call::get(path(&which))).await.map_err(|no| no.hint(LIST))?;
            session.print_object(answer.text()?, details)
        }
        DestinationCommand::Update(args) => {
            let mut body = fields([("name", args.name), ("url", args.webhook), ("email", args.email)]);
            if args.events == ["all"] {
                body.insert("events".into(), json!([]));
            } else if !args.events.is_empty() {
                body.insert("events".into(), json!(args.events));
            }
            if body.is_empty() {
                return Err(Failure::usage("nothing to change was given"));
            }
            change(&args.which, &body.into(), "changed", session).await
        }
        DestinationCommand::Disable(which) => change(&which, &json!({"disabled": true}), "disabled", session).await,
        DestinationCommand::Enable(which) => change(&which, &json!({"disabled": false}), "enabled", session).await,
        DestinationCommand::Test(which) => test(&which, session).await,
        DestinationCommand::Rotate(args) => {
            let body = args.overlap.map_or(json!({}), |overlap| json!({"overlap": overlap.to_string()}));
            let call = Call::post(format!("{}/rotate", path(&args.which))).json(&body)?.once()?;
            let answer = session.client()?.send(call).await.map_err(|no| no.hint(LIST))?;
            show_secret(&answer, "a new secret for", session)
        }
        DestinationCommand::Delete(args) => {
            let client = session.client()?;
            let answer = client.send(Call::get(path(&args.which))).await.map_err(|no| no.hint(LIST))?;
            let label = answer.read::<Destination>()?.label();
            session.terminal.confirm(&format!("Delete {}? What waits for it is given up.", plain(&label)), args.yes)?;
            let answer = client.send(Call::delete(path(&args.which))).await?;
            session.report(&answer, &format!("deleted {label}"))
        }
    }
}

fn path(which: &DestinationArg) -> String {
    format!("/destinations/{}", segment(&which.id))
}

async fn create(args: CreateArgs, session: &mut Session) -> Result<(), Failure> {
    let mut body = fields([
        ("name", Some(args.name)),
        ("url", args.webhook),
        ("email", args.email),
        ("organisation", args.org),
        ("project", args.project),
    ]);
    if !args.events.is_empty() {
        body.insert("events".into(), json!(args.events));
    }
    let answer = session.client()?.send(Call::post("/destinations").json(&body)?.once()?).await?;
    show_secret(&answer, "made the destination", session)
}

/// JSON unchanged, else the secret alone on stdout.
fn show_secret(answer: &Answer, done: &str, session: &mut Session) -> Result<(), Failure> {
    if session.json() {
        return session.terminal.line(answer.text()?);
    }
    let made: Destination = answer.read()?;
    session.terminal.note(&plain(&format!("{done} {}", made.label())));
    if let Some(secret) = &made.secret {
        session.terminal.line(secret)?;
        session.terminal.note("Messages are signed with this secret. Shown once: store it where they are received.");
    }
    Ok(())
}

async fn change(
    which: &DestinationArg,
    body: &serde_json::Value,
    done: &str,
    session: &mut Session,
) -> Result<(), Failure> {
    let client = session.client()?;
    let before: Destination = client.send(Call::get(path(which))).await.map_err(|no| no.hint(LIST))?.read()?;
    let call = Call::patch(path(which)).json(body)?.if_version(before.version.as_ref());
    let answer = client.send(call).await?;
    session.report(&answer, &format!("{done} {}", before.label()))
}

async fn test(which: &DestinationArg, session: &mut Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Tested {
        ok: bool,
        error: Option<String>,
    }
    let call = Call::post(format!("{}/test", path(which)));
    let answer = session.client()?.send(call).await.map_err(|no| no.hint(LIST))?;
    let tested: Tested = answer.read()?;
    session.report(&answer, if tested.ok { "the test arrived" } else { "the test did not arrive" })?;
    if tested.ok { Ok(()) } else { Err(Failure::failed(plain(&tested.error.unwrap_or_default()))) }
}
