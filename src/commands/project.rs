//! `anykey project`: where the keys of one piece of work are kept together.

use super::member;
use super::tenancy::{ControlsArgs, Noun, RulesArgs, Thing, fields};
use crate::cli::client::segment;
use crate::cli::{Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use crate::commands::raise::RaiseArgs;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

const NOUN: Noun = Noun { path: "/projects", word: "project", list: "anykey project list" };

#[derive(Subcommand, Debug)]
pub enum ProjectCommand {
    /// List projects
    #[command(alias = "ls")]
    List(ListArgs),
    /// Make a project
    Create(CreateArgs),
    /// Show a project
    Show(ProjectArg),
    /// Change a project
    #[command(alias = "edit")]
    Update(UpdateArgs),
    /// Let a project spend more than a limit for a while
    Raise(RaiseCommand),
    /// Show what a project has spent by day, week, month and in all, and what is left
    Spend(ProjectArg),
    /// Refuse every key in a project until it is enabled again
    Disable(ProjectArg),
    /// Accept the keys of a disabled project again
    Enable(ProjectArg),
    /// End a project for ever; its history stays
    #[command(alias = "rm")]
    Delete(DeleteArgs),
    /// List the people who own a project
    Owners(ProjectArg),
    /// List who is in a project: its owners, and whoever owns keys in it
    Members(MembersArgs),
    /// Make a member of the organisation an owner of a project
    AddOwner(OwnerArgs),
    /// Take the ownership of a project from a person
    RemoveOwner(OwnerArgs),
}

#[derive(Args, Debug)]
pub struct ProjectArg {
    /// A slug, organisation/slug, or an id (proj_...)
    #[arg(value_name = "PROJECT")]
    project: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those whose name or slug contains this
    #[arg(long, short = 'S', value_name = "TEXT")]
    search: Option<String>,

    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct ProjectFields {
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

    /// The organisation that it is in
    #[arg(long, value_name = "ORG", default_value = "default")]
    org: String,

    #[command(flatten)]
    fields: ProjectFields,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: ProjectArg,

    /// A new name
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    fields: ProjectFields,
}

#[derive(Args, Debug)]
pub struct RaiseCommand {
    #[command(flatten)]
    which: ProjectArg,

    #[command(flatten)]
    raise: RaiseArgs,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: ProjectArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args, Debug)]
pub struct MembersArgs {
    #[command(flatten)]
    which: ProjectArg,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct OwnerArgs {
    #[command(flatten)]
    which: ProjectArg,

    /// An e-mail, or the id of a person (person_...)
    #[arg(value_name = "PERSON")]
    person: String,
}

const COLUMNS: &[Column<Thing>] = &[
    Column::for_programs("id", |t| Cell::text(&t.id)),
    Column::new("slug", "SLUG", |t| Cell::maybe(&t.slug)),
    Column::new("name", "NAME", |t| Cell::text(&t.name)),
    Column::new("status", "STATUS", Thing::status_cell),
    Column::new("controls", "BOUNDS", Thing::bounds),
    Column::new("organisation_id", "ORGANISATION", |t| Cell::maybe(&t.organisation_id)),
    Column::new("created_at", "MADE", Thing::made),
];

const OWNERS: &[Column<Thing>] = &[
    Column::for_programs("id", |t| Cell::text(&t.id)),
    Column::new("email", "E-MAIL", |t| Cell::maybe(&t.email)),
    Column::new("name", "NAME", |t| Cell::text(&t.name)),
    Column::new("status", "STATUS", Thing::status_cell),
];

/// Somebody who is in a project.
#[derive(Deserialize)]
struct InProject {
    kind: String,
    id: String,
    name: String,
    email: Option<String>,
    role: Option<String>,
    owner: bool,
    status: String,
    keys: i64,
}

const IN_PROJECT: &[Column<InProject>] = &[
    Column::for_programs("id", |who| Cell::text(&who.id)),
    Column::for_programs("kind", |who| Cell::text(&who.kind)),
    Column::new("name", "NAME", |who| Cell::text(&who.name)),
    Column::new("email", "E-MAIL", |who| Cell::maybe(&who.email)),
    Column::new("role", "ROLE", |who| Cell::text(part(who))),
    Column::new("keys", "KEYS", |who| Cell::text(who.keys.to_string())),
    Column::new("status", "STATUS", |who| Cell::text(&who.status)),
];

/// What they are there, in one word.
fn part(who: &InProject) -> &str {
    match &who.role {
        _ if who.owner => "owner",
        Some(role) => role,
        None => "service account",
    }
}

pub async fn run(command: ProjectCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        ProjectCommand::List(args) => {
            let call = Call::get(NOUN.path).maybe("q", args.search).maybe("organisation", args.org);
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        ProjectCommand::Create(args) => {
            let ProjectFields { slug, description, controls, rules } = args.fields;
            let mut body = fields([
                ("organisation", Some(args.org)),
                ("name", Some(args.name)),
                ("slug", slug),
                ("description", description),
            ]);
            controls.put(&mut body, session)?;
            rules.put(&mut body, session)?;
            NOUN.create(body, session).await
        }
        ProjectCommand::Show(which) => NOUN.show(&which.project, session).await,
        ProjectCommand::Update(args) => {
            let ProjectFields { slug, description, controls, rules } = args.fields;
            let mut body = fields([("name", args.name), ("slug", slug), ("description", description)]);
            controls.put(&mut body, session)?;
            rules.put(&mut body, session)?;
            NOUN.update(&args.which.project, body, session).await
        }
        ProjectCommand::Raise(args) => NOUN.raise(&args.which.project, &args.raise, session).await,
        ProjectCommand::Spend(which) => NOUN.spend(&which.project, session).await,
        ProjectCommand::Disable(which) => NOUN.switch(&which.project, "disable", session).await,
        ProjectCommand::Enable(which) => NOUN.switch(&which.project, "enable", session).await,
        ProjectCommand::Delete(args) => NOUN.end(&args.which.project, "Delete", args.yes, session).await,
        ProjectCommand::Owners(which) => {
            let call = Call::get(format!("{}/owners", NOUN.one(&which.project)));
            let listing = session.client()?.list(call, None).await?;
            session.print_list(&listing, OWNERS)
        }
        ProjectCommand::Members(args) => {
            let call = Call::get(format!("{}/members", NOUN.one(&args.which.project)));
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, IN_PROJECT)
        }
        ProjectCommand::AddOwner(args) => {
            let client = session.client()?;
            let person = person(&client, &args.person).await?;
            let call = Call::post(format!("{}/owners", NOUN.one(&args.which.project)));
            let answer = client.send(call.json(&json!({ "person_id": person }))?).await?;
            session.report(&answer, &format!("{} owns {} now", args.person, args.which.project))
        }
        ProjectCommand::RemoveOwner(args) => {
            let client = session.client()?;
            let person = person(&client, &args.person).await?;
            let path = format!("{}/owners/{}", NOUN.one(&args.which.project), segment(&person));
            let answer = client.send(Call::delete(path)).await?;
            session.report(&answer, &format!("{} owns {} no longer", args.person, args.which.project))
        }
    }
}

async fn person(client: &Client, which: &str) -> Result<String, Failure> {
    if which.starts_with("person_") {
        return Ok(which.to_owned());
    }
    let people = Noun { path: "/people", word: "person", list: "anykey member list" };
    let call = Call::get(people.path).query("q", which);
    people.find(client, which, call, |thing| member::has_email(thing, which)).await
}
