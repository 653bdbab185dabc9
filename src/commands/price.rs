//! `anykey price`: the dated prices that calls are charged at.

use crate::cli::client::segment;
use crate::cli::{Call, Cell, Column, Failure, Session, table};
use crate::commands::model::{self, Model, rate};
use crate::commands::paging::PageArgs;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

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
    Column::whole("id", "MODEL", |m| Cell::text(&m.id)),
    Column::new("input_usd", "INPUT", |m| m.price("input")),
    Column::new("cache_read_usd", "CACHE READ", |m| m.price("cache_read")),
    Column::new("cache_write_5m_usd", "CACHE WRITE", |m| m.price("cache_write_5m")),
    Column::new("output_usd", "OUTPUT", |m| m.price("output")),
];

pub async fn run(command: PriceCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        PriceCommand::List(args) => {
            let listing = model::fetch(&session.client()?, args.provider, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        PriceCommand::Show(args) => show(args, session).await,
        PriceCommand::Update(args) => update(args, session).await,
    }
}

/// What a model costs, with its name in the price list.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct ModelPrices {
    kind: String,
    model: String,
    name: Option<String>,
    context_window: Option<u64>,
    max_output: Option<u64>,
    price: Option<Price>,
}

/// One version of a price.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Price {
    valid_from: Option<String>,
    source: String,
    rates: BTreeMap<String, String>,
    tiers: Vec<Tier>,
}

/// What longer prompts cost.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Tier {
    above_input_tokens: u64,
    rates: BTreeMap<String, String>,
}

async fn show(args: ShowArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let path = match args.model.as_deref().map(|model| model.split_once('/')) {
        None => {
            let answer = client.send(Call::get("/prices")).await?;
            return session.print_object(answer.text()?, |list: &Map<String, Value>| {
                list.iter().map(|(name, value)| (name.clone(), Cell::json(value))).collect()
            });
        }
        Some(Some((kind, model))) => format!("/prices/models/{}/{}", segment(kind), segment(model)),
        Some(None) => return Err(Failure::usage("a model is written KIND/MODEL, such as openai/gpt-4o-mini")),
    };
    let answer = client.send(Call::get(path)).await.map_err(|failure| failure.hint("anykey price list --all"))?;
    session.print_object(answer.text()?, details)
}

fn details(model: &ModelPrices) -> Vec<(String, Cell)> {
    let count = |n: Option<u64>| n.map_or_else(|| Cell::text(""), Cell::Count);
    let mut rows = vec![
        ("model".to_string(), Cell::text(format!("{}/{}", model.kind, model.model))),
        ("name".into(), Cell::maybe(&model.name)),
        ("context_window".into(), count(model.context_window)),
        ("max_output".into(), count(model.max_output)),
    ];
    let Some(price) = &model.price else {
        rows.push(("price".into(), Cell::Usd(None)));
        return rows;
    };
    rows.push(("valid_from".into(), Cell::maybe(&price.valid_from)));
    rows.push(("source".into(), Cell::text(&price.source)));
    rows.extend(price.rates.iter().map(|(unit, usd)| (format!("{unit}_usd"), rate(unit, usd))));
    for tier in &price.tiers {
        let above = tier.above_input_tokens;
        let name = |unit: &str| format!("{unit}_usd_above_{above}_input_tokens");
        rows.extend(tier.rates.iter().map(|(unit, usd)| (name(unit), rate(unit, usd))));
    }
    rows
}

async fn update(args: UpdateArgs, session: &mut Session) -> Result<(), Failure> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Updated {
        before: String,
        after: String,
        changed: u64,
        models: u64,
        notes: Vec<String>,
    }
    let client = session.client()?;
    let call = Call::post("/prices/update");
    let call = match args.source.as_str() {
        url if url.starts_with("https://") || url.starts_with("http://") => call.json(&json!({ "url": url }))?,
        "-" => call.body(session.terminal.read_input()?),
        path => call
            .body(std::fs::read(path).map_err(|error| Failure::failed(format!("{path} could not be read: {error}")))?),
    };
    let answer = client.send(call).await?;
    let done: Updated = answer.read()?;
    let (changed, models) = (Cell::Count(done.changed), Cell::Count(done.models));
    let (changed, models) = (changed.for_people(session.now), models.for_people(session.now));
    let versions = format!("prices {} -> {}", done.before, done.after);
    session.report(&answer, &format!("{versions}: {changed} of {models} models changed"))?;
    for note in &done.notes {
        session.terminal.note(&table::plain(note));
    }
    Ok(())
}
