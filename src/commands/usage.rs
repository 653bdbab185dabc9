//! `anykey usage`: what was used and what it cost, by key, model, provider or day.

use crate::cli::values;
use crate::cli::when::Moment;
use crate::cli::{Call, Cell, Column, Failure, Session};
use crate::commands::key;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Args, Debug)]
pub struct UsageArgs {
    /// What a line stands for; several, with commas
    #[arg(long, value_delimiter = ',', default_value = "model")]
    by: Vec<By>,

    /// From when on: 30d or 2026-11-01
    #[arg(long, value_name = "WHEN", default_value = "30d", value_parser = values::moment)]
    since: Moment,

    /// Until when [default: now]
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    until: Option<Moment>,

    /// Only calls with this key: its name, id or masked form
    #[arg(long)]
    key: Option<String>,

    #[arg(long, help = "Only calls of this model")]
    model: Option<String>,

    #[arg(long, help = "Only calls at this provider")]
    provider: Option<String>,

    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Key,
    Model,
    Provider,
    Day,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            By::Key => "key",
            By::Model => "model",
            By::Provider => "provider",
            By::Day => "day",
        }
    }

    const fn column(self) -> Column<Row> {
        match self {
            By::Key => {
                Column::new("key_name", "KEY", |r| Cell::text(r.key_name.as_ref().or(r.key.as_ref()).map_or("", |k| k)))
            }
            By::Model => Column::new("model", "MODEL", |r| Cell::maybe(&r.model)),
            By::Provider => Column::new("provider", "PROVIDER", |r| Cell::maybe(&r.provider)),
            By::Day => Column::new("day", "DAY", |r| Cell::maybe(&r.day)),
        }
    }
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Row {
    key: Option<String>,
    key_name: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    day: Option<String>,
    requests: u64,
    errors: u64,
    input_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    output_tokens: u64,
    reasoning_tokens: u64,
    cost_usd: Option<String>,
    unpriced: u64,
    estimated: u64,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Report {
    data: Vec<Row>,
    totals: Row,
}

const NUMBERS: [Column<Row>; 10] = [
    Column::new("requests", "CALLS", |r| Cell::Count(r.requests)),
    Column::new("errors", "ERRORS", |r| Cell::Count(r.errors)),
    Column::new("input_tokens", "INPUT", |r| Cell::Count(r.input_tokens)),
    Column::new("cache_read_tokens", "CACHE READ", |r| Cell::Count(r.cache_read_tokens)),
    Column::new("cache_write_tokens", "CACHE WRITE", |r| Cell::Count(r.cache_write_tokens)),
    Column::new("output_tokens", "OUTPUT", |r| Cell::Count(r.output_tokens)),
    Column::new("reasoning_tokens", "REASONING", |r| Cell::Count(r.reasoning_tokens)),
    Column::new("cost_usd", "COST", |r| Cell::Usd(r.cost_usd.clone())),
    Column::new("unpriced", "UNPRICED", |r| Cell::Count(r.unpriced)),
    Column::for_programs("estimated", |r| Cell::Count(r.estimated)),
];

pub async fn run(args: UsageArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let key = key::id_of(&client, args.key.as_deref()).await?;
    let by: Vec<&str> = args.by.iter().map(|by| by.name()).collect();
    let call = Call::get("/usage")
        .query("group_by", by.join(","))
        .query("from", args.since.before(session.now).to_string())
        .maybe("to", args.until.map(|until| until.before(session.now).to_string()))
        .maybe("key", key)
        .maybe("model", args.model)
        .maybe("provider", args.provider)
        .maybe("format", args.csv.then_some("csv"));
    let answer = client.send(call).await?;
    if args.csv {
        return session.terminal.write(&answer.bytes);
    }
    if session.json() {
        return session.terminal.line(answer.text()?);
    }
    let report: Report = answer.read()?;
    let columns: Vec<Column<Row>> = args.by.iter().map(|by| by.column()).chain(NUMBERS).collect();
    session.print_rows(&report.data, &columns)?;
    if session.terminal.out_is_tty && !report.data.is_empty() {
        session.terminal.note(&totals(&report.totals, session.now));
    }
    Ok(())
}

/// Said beside the table, so that nobody sums a column and its total.
fn totals(row: &Row, now: Timestamp) -> String {
    let cost = Cell::Usd(Some(row.cost_usd.clone().unwrap_or_else(|| "0".into()))).for_people(now);
    let calls = Cell::Count(row.requests).for_people(now);
    let mut text = format!("In all {calls} calls, {cost}. Days are UTC.");
    if row.unpriced > 0 {
        let unpriced = Cell::Count(row.unpriced).for_people(now);
        text.push_str(&format!(" Without a known price, and not in that sum: {unpriced}."));
    }
    if row.estimated > 0 {
        let estimated = Cell::Count(row.estimated).for_people(now);
        text.push_str(&format!(" With estimated tokens: {estimated}."));
    }
    text
}
