//! `anykey org`: organisations, whose policy bounds what is in them.

use super::tenancy::{ControlsArgs, Noun, RulesArgs, Thing, fields};
use crate::cli::{Call, Cell, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use crate::commands::raise::RaiseArgs;
use clap::{Args, Subcommand};

const NOUN: Noun = Noun { path: "/organisations", word: "organisation", list: "anykey org list" };

#[derive(Subcommand, Debug)]
pub enum OrgCommand {
    /// List organisations
    #[command(alias = "ls")]
    List(ListArgs),
    /// Make an organisation
    Create(CreateArgs),
    /// Show an organisation: its policy and its rules for keys
    Show(OrgArg),
    /// Change an organisation
    #[command(alias = "edit")]
    Update(UpdateArgs),
    /// Let an organisation spend more than a limit for a while
    Raise(RaiseCommand),
    /// Show what an organisation has spent by day, week, month and in all, and what is left
    Spend(OrgArg),
    /// Refuse every key in an organisation until it is enabled again
    Disable(OrgArg),
    /// Accept the keys of a disabled organisation again
    Enable(OrgArg),
    /// End an organisation for ever; its history stays
    #[command(alias = "rm")]
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct OrgArg {
    /// A slug or an id (org_...)
    #[arg(value_name = "ORG")]
    org: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those whose name or slug contains this
    #[arg(long, short = 'S', value_name = "TEXT")]
    search: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct OrgFields {
    /// What to type for it [default: made from the name]
    #[arg(long)]
    slug: Option<String>,

    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    #[command(flatten)]
    controls: ControlsArgs,

    #[command(flatten)]
    rules: RulesArgs,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// What to call it
    name: String,

    #[command(flatten)]
    fields: OrgFields,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: OrgArg,

    /// A new name
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    fields: OrgFields,
}

#[derive(Args, Debug)]
pub struct RaiseCommand {
    #[command(flatten)]
    which: OrgArg,

    #[command(flatten)]
    raise: RaiseArgs,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: OrgArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

const COLUMNS: &[Column<Thing>] = &[
    Column::for_programs("id", |t| Cell::text(&t.id)),
    Column::new("slug", "SLUG", |t| Cell::maybe(&t.slug)),
    Column::new("name", "NAME", |t| Cell::text(&t.name)),
    Column::new("status", "STATUS", Thing::status_cell),
    Column::new("controls", "BOUNDS", Thing::bounds),
    Column::new("created_at", "MADE", Thing::made),
];

impl OrgFields {
    fn body(
        self,
        name: Option<String>,
        session: &mut Session,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        let mut body = fields([("name", name), ("slug", self.slug), ("description", self.description)]);
        self.controls.put(&mut body, session)?;
        self.rules.put(&mut body, session)?;
        Ok(body)
    }
}

pub async fn run(command: OrgCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        OrgCommand::List(args) => {
            let call = Call::get(NOUN.path).maybe("q", args.search);
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        OrgCommand::Create(args) => {
            let body = args.fields.body(Some(args.name), session)?;
            NOUN.create(body, session).await
        }
        OrgCommand::Show(which) => NOUN.show(&which.org, session).await,
        OrgCommand::Update(args) => {
            let body = args.fields.body(args.name, session)?;
            NOUN.update(&args.which.org, body, session).await
        }
        OrgCommand::Raise(args) => NOUN.raise(&args.which.org, &args.raise, session).await,
        OrgCommand::Spend(which) => NOUN.spend(&which.org, session).await,
        OrgCommand::Disable(which) => NOUN.switch(&which.org, "disable", session).await,
        OrgCommand::Enable(which) => NOUN.switch(&which.org, "enable", session).await,
        OrgCommand::Delete(args) => NOUN.end(&args.which.org, "Delete", args.yes, session).await,
    }
}
