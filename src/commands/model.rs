//! `anykey model`: what can be called, and at what price.

use crate::cli::{Call, Cell, Client, Column, Exit, Failure, Listing, Session};
use crate::commands::paging::PageArgs;
use anykey_core::Unit;
use clap::{Args, Subcommand};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// List the models that can be called
    #[command(alias = "ls")]
    List(ListArgs),
    /// Show a model and its prices
    Show(ShowArgs),
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
    /// provider/model, or the model alone where only one provider has it
    model: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Model {
    pub id: String,
    pub provider: Option<String>,
    pub dialect: Option<String>,
    pub context_window: Option<u64>,
    pub max_output: Option<u64>,
    pub priced: bool,
    pub prices: BTreeMap<String, String>,
}

impl Model {
    fn bare_name(&self) -> &str {
        self.id.split_once('/').map_or(self.id.as_str(), |(_, name)| name)
    }

    /// The price of one unit in dollars.
    pub fn price(&self, unit: &str) -> Cell {
        match self.prices.get(unit) {
            Some(usd) => rate(unit, usd),
            None if self.priced => Cell::text(""),
            None => Cell::Usd(None),
        }
    }
}

/// A price per unit; one of tokens is read by the million.
pub fn rate(unit: &str, usd: &str) -> Cell {
    let tokens = Unit::from_name(unit).is_some_and(|unit| unit.is_input_token() || unit.is_output_token());
    if tokens { Cell::TokenRate(usd.to_string()) } else { Cell::Usd(Some(usd.to_string())) }
}

fn count(n: Option<u64>) -> Cell {
    n.map_or_else(|| Cell::text(""), Cell::Count)
}

const COLUMNS: &[Column<Model>] = &[
    Column::whole("id", "MODEL", |m| Cell::text(&m.id)),
    Column::for_programs("provider", |m| Cell::maybe(&m.provider)),
    Column::new("dialect", "DIALECT", |m| Cell::maybe(&m.dialect)),
    Column::new("context_window", "CONTEXT", |m| count(m.context_window)),
    Column::new("max_output", "MAX OUTPUT", |m| count(m.max_output)),
    Column::new("input_usd", "INPUT", |m| m.price("input")),
    Column::new("output_usd", "OUTPUT", |m| m.price("output")),
];

fn details(model: &Model) -> Vec<(&str, Cell)> {
    vec![
        ("id", Cell::text(&model.id)),
        ("provider", Cell::maybe(&model.provider)),
        ("dialect", Cell::maybe(&model.dialect)),
        ("context_window", count(model.context_window)),
        ("max_output", count(model.max_output)),
        ("priced", Cell::text(if model.priced { "yes" } else { "no" })),
    ]
}

pub async fn run(command: ModelCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        ModelCommand::List(args) => {
            let listing = fetch(&session.client()?, args.provider, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        ModelCommand::Show(args) => show(args, session).await,
    }
}

/// The models that can be called.
pub async fn fetch(client: &Client, provider: Option<String>, limit: Option<usize>) -> Result<Listing, Failure> {
    client.list(Call::get("/models").maybe("provider", provider), limit).await
}

async fn show(args: ShowArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let listing = fetch(&client, None, None).await?;
    let models = listing.read::<Model>()?;
    let at = pick(&models, &args.model)?;
    let json = listing.items[at].get();
    if session.json() {
        return session.terminal.line(json);
    }
    let model = &models[at];
    let prices: Vec<(String, Cell)> =
        model.prices.keys().map(|unit| (format!("{unit}_usd"), model.price(unit))).collect();
    let mut rows = details(model);
    rows.extend(prices.iter().map(|(name, price)| (name.as_str(), price.clone())));
    session.print_details(&rows)
}

fn pick(models: &[Model], wanted: &str) -> Result<usize, Failure> {
    if let Some(exact) = models.iter().position(|model| model.id == wanted) {
        return Ok(exact);
    }
    let matching: Vec<usize> = (0..models.len()).filter(|i| models[*i].bare_name() == wanted).collect();
    match matching[..] {
        [only] => Ok(only),
        [] => Err(Failure::new(Exit::NotFound, format!("no provider here has the model {wanted:?}"))
            .hint("anykey model list --all")),
        _ => {
            let ids: Vec<&str> = matching.iter().map(|i| models[*i].id.as_str()).collect();
            Err(Failure::new(Exit::Conflict, format!("several providers have {wanted:?}")).detail(ids.join("  ")))
        }
    }
}
