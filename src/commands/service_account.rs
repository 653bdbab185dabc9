//! `anykey service-account`: owners of keys that nobody's leaving ends.

use super::tenancy::{ControlsArgs, Noun, Thing, fields};
use crate::cli::{Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use crate::commands::raise::RaiseArgs;
use clap::{Args, Subcommand};

const NOUN: Noun = Noun { path: "/service-accounts", word: "service account", list: "anykey service-account list" };

#[derive(Subcommand, Debug)]
pub enum ServiceAccountCommand {
    /// List service accounts
    #[command(alias = "ls")]
    List(ListArgs),
    /// Make a service account
    Create(CreateArgs),
    /// Show a service account
    Show(AccountArg),
    /// Change a service account
    #[command(alias = "edit")]
    Update(UpdateArgs),
    /// Let a service account spend more than a limit for a while
    Raise(RaiseCommand),
    /// Show what the keys of a service account have spent by day, week, month and in all, and what is left
    Spend(AccountArg),
    /// Refuse the keys that a service account owns until it is enabled again
    Disable(AccountArg),
    /// Accept the keys of a disabled service account again
    Enable(AccountArg),
    /// End a service account for ever; its history stays
    #[command(alias = "rm")]
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct AccountArg {
    /// A name or an id (svc_...)
    #[arg(value_name = "ACCOUNT")]
    account: String,

    /// The organisation, where several have an account of this name
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those whose name contains this
    #[arg(long, short = 'S', value_name = "TEXT")]
    search: Option<String>,

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

    /// The organisation in all of whose projects it may own keys
    #[arg(long, value_name = "ORG", required_unless_present = "project")]
    org: Option<String>,

    /// The one project in which it may own keys
    #[arg(long)]
    project: Option<String>,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    #[command(flatten)]
    controls: ControlsArgs,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: AccountArg,

    /// A new name
    #[arg(long)]
    name: Option<String>,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    #[command(flatten)]
    controls: ControlsArgs,
}

#[derive(Args, Debug)]
pub struct RaiseCommand {
    #[command(flatten)]
    which: AccountArg,

    #[command(flatten)]
    raise: RaiseArgs,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: AccountArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

const COLUMNS: &[Column<Thing>] = &[
    Column::for_programs("id", |t| Cell::text(&t.id)),
    Column::new("name", "NAME", |t| Cell::text(&t.name)),
    Column::new("status", "STATUS", Thing::status_cell),
    Column::new("controls", "BOUNDS", Thing::bounds),
    Column::new("organisation_id", "ORGANISATION", |t| Cell::maybe(&t.organisation_id)),
    Column::new("project_id", "PROJECT", |t| Cell::maybe(&t.project_id)),
    Column::new("created_at", "MADE", Thing::made),
];

pub async fn run(command: ServiceAccountCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        ServiceAccountCommand::List(args) => {
            let call = Call::get(NOUN.path)
                .maybe("q", args.search)
                .maybe("organisation", args.org)
                .maybe("project", args.project);
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        ServiceAccountCommand::Create(args) => {
            let mut body = fields([
                ("name", Some(args.name)),
                ("organisation", args.org),
                ("project", args.project),
                ("description", args.description),
            ]);
            args.controls.put(&mut body, session)?;
            NOUN.create(body, session).await
        }
        ServiceAccountCommand::Show(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.show(&id, session).await
        }
        ServiceAccountCommand::Update(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            let mut body = fields([("name", args.name), ("description", args.description)]);
            args.controls.put(&mut body, session)?;
            NOUN.update(&id, body, session).await
        }
        ServiceAccountCommand::Raise(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            NOUN.raise(&id, &args.raise, session).await
        }
        ServiceAccountCommand::Spend(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.spend(&id, session).await
        }
        ServiceAccountCommand::Disable(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.switch(&id, "disable", session).await
        }
        ServiceAccountCommand::Enable(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.switch(&id, "enable", session).await
        }
        ServiceAccountCommand::Delete(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            NOUN.end(&id, "Delete", args.yes, session).await
        }
    }
}

async fn id_of(client: &Client, which: &AccountArg) -> Result<String, Failure> {
    find(client, &which.account, which.org.as_deref()).await
}

/// The id of the service account that an id or a name means.
pub async fn find(client: &Client, which: &str, org: Option<&str>) -> Result<String, Failure> {
    if which.starts_with("svc_") {
        return Ok(which.to_owned());
    }
    let call = Call::get(NOUN.path).query("q", which).maybe("organisation", org);
    NOUN.find(client, which, call, |thing| thing.name == which).await
}
