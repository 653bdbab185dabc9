//! `anykey price`: the dated prices that calls are charged at.

use crate::cli::client::segment;
use crate::cli::{Call, Cell, Column, Failure, Session, client};
use crate::commands::model::{self, Model};
use crate::commands::paging::PageArgs;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub enum PriceCommand {
    /// List the prices of the models that can be called
    #[command(alias = "ls")]
    List(ListArgs),
    /// Show which price list is in force, or one model's prices in it
    Show(ShowArgs),
    /// Take a newer price list from a file or a URL
    Update(UpdateArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only models of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// A kind of provider and its model, such as openai/gpt-4o-mini
    #[arg(value_name = "KIND/MODEL")]
    model: Option<String>,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    /// A file, `-` for stdin, or an https URL that the server fetches
    #[arg(value_name = "FILE|URL")]
    source: String,
}

const COLUMNS: &[Column<Model>] = &[
    Column::new("id", "MODEL", |m| Cell::text(&m.id)),
    Column::new("input_usd", "INPUT", |m| m.price("input")),
    Column::new("cache_read_usd", "CACHE READ", |m| m.price("cache_read")),
    Column::new("cache_write_5m_usd", "CACHE WRITE", |m| m.price("cache_write_5m")),
    Column::new("output_usd", "OUTPUT", |m| m.price("output")),
];

pub async fn run(command: PriceCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        PriceCommand::List(args) => {
            let listing = model::fetch(&session.client()?, args.provider.as_deref(), args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        PriceCommand::Show(args) => show(args, session).await,
        PriceCommand::Update(args) => update(args, session).await,
    }
}

async fn show(args: ShowArgs, session: &mut Session) -> Result<(), Failure> {
    let path = match args.model.as_deref().map(|model| model.split_once('/')) {
        None => "/prices".to_string(),
        Some(Some((kind, model))) => format!("/prices/models/{}/{}", segment(kind), segment(model)),
        Some(None) => return Err(Failure::usage("a model is written KIND/MODEL, such as openai/gpt-4o-mini")),
    };
    let answer = session.client()?.send(Call::get(path)).await?;
    let json = answer.text()?;
    if session.json() {
        return session.terminal.line(json);
    }
    let object: Map<String, Value> = client::read(json.as_bytes())?;
    let rows: Vec<(&str, Cell)> = object.iter().map(|(name, value)| (name.as_str(), Cell::json(value))).collect();
    session.print_details(&rows)
}

async fn update(args: UpdateArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let call = Call::post("/prices/update");
    let call = match args.source.as_str() {
        url if url.starts_with("https://") || url.starts_with("http://") => call.json(&json!({ "url": url }))?,
        "-" => call.body(session.terminal.read_input()?),
        path => call
            .body(std::fs::read(path).map_err(|error| Failure::failed(format!("{path} could not be read: {error}")))?),
    };
    let answer = client.send(call).await?;
    let done: Map<String, Value> = answer.read()?;
    let say = |name: &str| done.get(name).map_or_else(String::new, |value| Cell::json(value).for_people(session.now));
    let refused = done.get("refused").filter(|refused| !refused.is_null());
    let sentence = format!("prices {} -> {}, {} models changed", say("before"), say("after"), say("changed"));
    session.report(&answer, &sentence)?;
    match refused {
        Some(why) => {
            Err(Failure::failed(format!("some of it was refused: {}", Cell::json(why).for_people(session.now))))
        }
        None => Ok(()),
    }
}
