//! `anykey person`: everybody, once each whatever the number of their organisations.

use super::member::has_email;
use super::owner_link::{self, OwnerLinkArgs};
use super::tenancy::{Noun, Thing, fields};
use crate::cli::{Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

const NOUN: Noun = Noun { path: "/people", word: "person", list: "anykey person list" };

#[derive(Subcommand, Debug)]
pub enum PersonCommand {
    /// List people
    #[command(alias = "ls")]
    List(ListArgs),
    /// Make a person who is in no organisation yet, such as another operator
    #[command(alias = "add")]
    Create(CreateArgs),
    /// Show a person
    Show(PersonArg),
    /// Change a person's name or e-mail, or whether they operate the installation
    #[command(alias = "edit")]
    Update(UpdateArgs),
    /// Shut a person out everywhere: their sessions end, and the keys that they own are refused
    Disable(PersonArg),
    /// Let a disabled person in again
    Enable(PersonArg),
    /// Make a one-time link by which a person sets their password
    Link(PersonArg),
    /// Delete a person for ever
    #[command(alias = "rm", alias = "remove")]
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct PersonArg {
    /// An e-mail or an id (person_...)
    #[arg(value_name = "PERSON")]
    person: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those whose name or e-mail contains this
    #[arg(long, short = 'S', value_name = "TEXT")]
    search: Option<String>,

    /// Only members of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Their e-mail
    email: String,

    /// Their name
    #[arg(long)]
    name: String,

    /// They operate the installation
    #[arg(long)]
    operator: bool,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: PersonArg,

    /// A new e-mail
    #[arg(long, value_name = "E-MAIL")]
    email: Option<String>,

    /// A new name
    #[arg(long)]
    name: Option<String>,

    /// Whether they operate the installation
    #[arg(long, value_name = "BOOL")]
    operator: Option<bool>,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: PersonArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

const COLUMNS: &[Column<Thing>] = &[
    Column::for_programs("id", |t| Cell::text(&t.id)),
    Column::new("email", "E-MAIL", |t| Cell::maybe(&t.email)),
    Column::new("name", "NAME", |t| Cell::text(&t.name)),
    Column::new("status", "STATUS", Thing::status_cell),
    Column::new("operator", "OPERATOR", |t| Cell::text(if t.operator == Some(true) { "yes" } else { "" })),
    Column::new("created_at", "MADE", Thing::made),
];

pub async fn run(command: PersonCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        PersonCommand::List(args) => {
            let call = Call::get(NOUN.path).maybe("q", args.search).maybe("organisation", args.org);
            let listing = session.client()?.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        PersonCommand::Create(args) => {
            let mut body = fields([("email", Some(args.email)), ("name", Some(args.name))]);
            if args.operator {
                body.insert("operator".into(), true.into());
            }
            NOUN.create(body, session).await
        }
        PersonCommand::Show(which) => {
            let id = id_of(&session.client()?, &which).await?;
            NOUN.show(&id, session).await
        }
        PersonCommand::Update(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            let mut body = fields([("email", args.email), ("name", args.name)]);
            body.extend(args.operator.map(|operator| ("operator".to_owned(), operator.into())));
            NOUN.update(&id, body, session).await
        }
        PersonCommand::Disable(which) => switch(&which, true, session).await,
        PersonCommand::Enable(which) => switch(&which, false, session).await,
        PersonCommand::Link(which) => {
            let email = email_of(&session.client()?, &which).await?;
            owner_link::run(OwnerLinkArgs { email: Some(email) }, session).await
        }
        PersonCommand::Delete(args) => {
            let id = id_of(&session.client()?, &args.which).await?;
            NOUN.end(&id, "Delete", args.yes, session).await
        }
    }
}

async fn switch(which: &PersonArg, disabled: bool, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let id = id_of(&client, which).await?;
    let body = Map::from_iter([("disabled".to_owned(), Value::from(disabled))]);
    let answer = client.send(Call::patch(NOUN.one(&id)).json(&body)?).await.map_err(|f| f.hint(NOUN.list))?;
    let person: Thing = answer.read()?;
    let verb = if disabled { "disabled" } else { "enabled" };
    session.report(&answer, &format!("{verb} the person {}", person.label()))
}

/// The id of the person that an id or an e-mail names.
async fn id_of(client: &Client, which: &PersonArg) -> Result<String, Failure> {
    let which = which.person.as_str();
    if which.starts_with("person_") {
        return Ok(which.to_owned());
    }
    let call = Call::get(NOUN.path).query("q", which);
    NOUN.find(client, which, call, |thing| has_email(thing, which)).await
}

/// Links are made for e-mails.
async fn email_of(client: &Client, which: &PersonArg) -> Result<String, Failure> {
    if !which.person.starts_with("person_") {
        return Ok(which.person.clone());
    }
    let answer = client.send(Call::get(NOUN.one(&which.person))).await.map_err(|f| f.hint(NOUN.list))?;
    let person: Thing = answer.read()?;
    Ok(person.email.unwrap_or_default())
}
