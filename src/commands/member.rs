//! `anykey member`: people in organisations.

use super::tenancy::{ControlsArgs, Noun, Thing, fields};
use crate::cli::{Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use crate::commands::raise::RaiseArgs;
use clap::{Args, Subcommand};

const NOUN: Noun = Noun { path: "/members", word: "member", list: "anykey member list" };

#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// List members
    #[command(alias = "ls")]
    List(ListArgs),
    /// Take a person into an organisation
    #[command(alias = "add")]
    Create(CreateArgs),
    /// Show a member
    Show(MemberArg),
    /// Change a member's role or policy
    #[command(alias = "edit")]
    Update(UpdateArgs),
    /// Let a member spend more than a limit for a while
    Raise(RaiseCommand),
    /// Show what the keys of a member have spent by day, week, month and in all, and what is left
    Spend(MemberArg),
    /// Refuse the keys that a member owns until they are enabled again
    Disable(MemberArg),
    /// Accept the keys of a disabled member again
    Enable(MemberArg),
    /// Take a person out of an organisation; their keys are refused until somebody else owns them
    #[command(alias = "rm", alias = "remove")]
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct MemberArg {
    /// An e-mail or an id (mem_...)
    #[arg(value_name = "MEMBER")]
    member: String,

    /// The organisation, where somebody is in several
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those whose name or e-mail contains this
    #[arg(long, short = 'S', value_name = "TEXT")]
    search: Option<String>,

    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    /// admin, member, viewer or auditor
    #[arg(long)]
    role: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Their e-mail
    email: String,

    /// The organisation
    #[arg(long, value_name = "ORG", default_value = "default")]
    org: String,

    /// Their name, where nobody here has the e-mail yet
    #[arg(long)]
    name: Option<String>,

    /// admin, member, viewer or auditor
    #[arg(long)]
    role: Option<String>,

    #[command(flatten)]
    controls: ControlsArgs,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: MemberArg,

    /// admin, member, viewer or auditor
    #[arg(long)]
    role: Option<String>,

    #[command(flatten)]
    controls: ControlsArgs,
}

#[derive(Args, Debug)]
pub struct RaiseCommand {
    #[command(flatten)]
    which: MemberArg,

    #[command(flatten)]
    raise: RaiseArgs,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: MemberArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

const COLUMNS: &[Column<Thing>] = &[
    Column::for_programs("id", |t| Cell::text(&t.id)),
    Column::new("email", "E-MAIL", |t| Cell::maybe(&t.email)),
    Column::new("name", "NAME", |t| Cell::text(&t.name)),
    Column::new("role", "ROLE", |t| Cell::maybe(&t.role)),
    Column::new("status", "STATUS", Thing::status_cell),
    Column::new("controls", "BOUNDS", Thing::bounds),
    Column::new("organisation_id", "ORGANISATION", |t| Cell::maybe(&t.organisation_id)),
    Column::for_programs("person_id", |t| Cell::maybe(&t.person_id)),
];

pub async fn run(command: MemberCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        MemberCommand::List(args) => {
            let call =
                Call::get(NOUN.path).maybe("q", args.search).maybe("organisation", args.org).maybe("role", args.role);
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        MemberCommand::Create(args) => {
            let given = [
                ("organisation", Some(args.org)),
                ("email", Some(args.email)),
                ("name", args.name),
                ("role", args.role),
            ];
            let mut body = fields(given);
            args.controls.put(&mut body, session)?;
            NOUN.create(body, session).await
        }
        MemberCommand::Show(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.show(&id, session).await
        }
        MemberCommand::Update(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            let mut body = fields([("role", args.role)]);
            args.controls.put(&mut body, session)?;
            NOUN.update(&id, body, session).await
        }
        MemberCommand::Raise(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            NOUN.raise(&id, &args.raise, session).await
        }
        MemberCommand::Spend(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.spend(&id, session).await
        }
        MemberCommand::Disable(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.switch(&id, "disable", session).await
        }
        MemberCommand::Enable(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.switch(&id, "enable", session).await
        }
        MemberCommand::Delete(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            NOUN.end(&id, "Delete", args.yes, session).await
        }
    }
}

async fn id_of(client: &Client, which: &MemberArg) -> Result<String, Failure> {
    find(client, &which.member, which.org.as_deref()).await
}

/// The id of the member that an id or an e-mail names.
pub async fn find(client: &Client, which: &str, org: Option<&str>) -> Result<String, Failure> {
    if which.starts_with("mem_") {
        return Ok(which.to_owned());
    }
    let call = Call::get(NOUN.path).query("q", which).maybe("organisation", org);
    NOUN.find(client, which, call, |thing| has_email(thing, which)).await
}

/// Whatever the case of the letters.
pub fn has_email(thing: &Thing, email: &str) -> bool {
    thing.email.as_ref().is_some_and(|own| own.to_lowercase() == email.to_lowercase())
}
