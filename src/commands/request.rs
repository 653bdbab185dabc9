//! `anykey request`: single calls, as they were recorded and as they end.

use crate::cli::client::{self, segment};
use crate::cli::when::Moment;
use crate::cli::{Call, Cell, Client, Column, Failure, Session, sse, table, values};
use crate::commands::key;
use crate::commands::paging::PageArgs;
use anykey_core::Unit;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Subcommand, Debug)]
pub enum RequestCommand {
    /// List calls, the newest first
    #[command(alias = "ls")]
    List(ListArgs),
    /// Show a call and each of its attempts
    Show(ShowArgs),
    /// Print calls as they end, until interrupted
    Tail(FilterArgs),
}

#[derive(Args, Debug)]
pub struct FilterArgs {
    /// Only calls with this key: its name, id or masked form
    #[arg(long)]
    key: Option<String>,

    #[arg(long, help = "Only calls of this model")]
    model: Option<String>,

    #[arg(long, help = "Only calls at this provider")]
    provider: Option<String>,

    /// Only calls that ended with this status: 404, 4xx, 5xx
    #[arg(long)]
    status: Option<String>,

    /// Only calls that ended so: completed, refused, upstream_error, client_gone ...
    #[arg(long)]
    outcome: Option<String>,
}

impl FilterArgs {
    async fn apply(self, call: Call, client: &Client) -> Result<Call, Failure> {
        let key = key::id_of(client, self.key.as_deref()).await?;
        Ok(call
            .maybe("key", key)
            .maybe("model", self.model)
            .maybe("provider", self.provider)
            .maybe("status", self.status)
            .maybe("outcome", self.outcome))
    }
}

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// From when on: 1h or 2026-11-01
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    since: Option<Moment>,

    /// Until when
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    until: Option<Moment>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The request id (req_...), from the header x-request-id or the list
    #[arg(value_name = "REQUEST")]
    id: String,
}

/// One attempt at a call.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Attempt {
    request_id: String,
    attempt: u64,
    key_id: Option<String>,
    key_name: Option<String>,
    endpoint: Option<String>,
    dialect: Option<String>,
    stream: bool,
    provider: Option<String>,
    model_asked: Option<String>,
    model_sent: Option<String>,
    model_served: Option<String>,
    status: u64,
    outcome: Option<String>,
    code: Option<String>,
    usage: BTreeMap<String, u64>,
    usage_source: Option<String>,
    cost_usd: Option<String>,
    hold_usd: Option<String>,
    started_at: Option<String>,
    first_byte_ms: Option<serde_json::Number>,
    total_ms: Option<serde_json::Number>,
    bytes_in: u64,
    bytes_out: u64,
    upstream_id: Option<String>,
    client: Option<String>,
}

impl Attempt {
    fn tokens(&self, is: fn(Unit) -> bool) -> u64 {
        self.usage.iter().filter(|(unit, _)| Unit::from_name(unit).is_some_and(is)).map(|(_, count)| count).sum()
    }

    /// A call that used nothing has no cost, which is not the same as an unknown one.
    fn cost(&self) -> Cell {
        if self.cost_usd.is_none() && self.usage.is_empty() { Cell::text("") } else { Cell::Usd(self.cost_usd.clone()) }
    }

    /// A caller who hung up got none.
    fn status(&self) -> Cell {
        if self.status == 0 { Cell::text("") } else { Cell::Count(self.status) }
    }

    fn outcome(&self) -> Cell {
        Cell::Status(self.outcome.clone().unwrap_or_default())
    }
}

/// The API may give parts of a millisecond; a person does not need them.
fn millis(number: &Option<serde_json::Number>) -> Cell {
    Cell::Millis(number.as_ref().and_then(|n| n.as_u64().or_else(|| n.as_f64().map(|ms| ms.round() as u64))))
}

const COLUMNS: &[Column<Attempt>] = &[
    Column::new("started_at", "WHEN", |a| Cell::Time(a.started_at.clone(), "–")),
    Column::new("status", "STATUS", Attempt::status),
    Column::new("outcome", "OUTCOME", Attempt::outcome),
    Column::new("key_name", "KEY", |a| Cell::maybe(&a.key_name)),
    Column::new("model_asked", "MODEL", |a| Cell::maybe(&a.model_asked)),
    Column::new("provider", "PROVIDER", |a| Cell::maybe(&a.provider)),
    Column::new("input_tokens", "IN", |a| Cell::Count(a.tokens(Unit::is_input_token))),
    Column::new("output_tokens", "OUT", |a| Cell::Count(a.tokens(Unit::is_output_token))),
    Column::new("cost_usd", "COST", Attempt::cost),
    Column::new("total_ms", "TIME", |a| millis(&a.total_ms)),
    Column::whole("request_id", "REQUEST", |a| Cell::text(&a.request_id)),
    Column::for_programs("attempt", |a| Cell::Count(a.attempt)),
    Column::for_programs("code", |a| Cell::maybe(&a.code)),
];

fn details(a: &Attempt) -> Vec<(&'static str, Cell)> {
    let usage: Vec<String> = a.usage.iter().map(|(unit, count)| format!("{unit}={count}")).collect();
    vec![
        ("request_id", Cell::text(&a.request_id)),
        ("attempt", Cell::Count(a.attempt)),
        ("started_at", Cell::maybe(&a.started_at)),
        ("status", a.status()),
        ("outcome", a.outcome()),
        ("code", Cell::maybe(&a.code)),
        ("key_name", Cell::maybe(&a.key_name)),
        ("key_id", Cell::maybe(&a.key_id)),
        ("endpoint", Cell::maybe(&a.endpoint)),
        ("dialect", Cell::maybe(&a.dialect)),
        ("stream", Cell::text(if a.stream { "yes" } else { "no" })),
        ("provider", Cell::maybe(&a.provider)),
        ("model_asked", Cell::maybe(&a.model_asked)),
        ("model_sent", Cell::maybe(&a.model_sent)),
        ("model_served", Cell::maybe(&a.model_served)),
        ("usage", Cell::list(&usage)),
        ("usage_source", Cell::maybe(&a.usage_source)),
        ("cost_usd", a.cost()),
        ("hold_usd", Cell::maybe(&a.hold_usd)),
        ("first_byte_ms", millis(&a.first_byte_ms)),
        ("total_ms", millis(&a.total_ms)),
        ("bytes_in", Cell::Count(a.bytes_in)),
        ("bytes_out", Cell::Count(a.bytes_out)),
        ("upstream_id", Cell::maybe(&a.upstream_id)),
        ("client", Cell::maybe(&a.client)),
    ]
}

pub async fn run(command: RequestCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        RequestCommand::List(args) => list(args, session).await,
        RequestCommand::Show(args) => show(args, session).await,
        RequestCommand::Tail(filter) => tail(filter, session).await,
    }
}

async fn list(args: ListArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let call = Call::get("/requests")
        .maybe("since", args.since.map(|at| at.before(session.now).to_string()))
        .maybe("until", args.until.map(|at| at.before(session.now).to_string()));
    let call = args.filter.apply(call, &client).await?;
    let listing = client.list(call, args.page.limit()).await?;
    session.print_list(&listing, COLUMNS)
}

async fn show(args: ShowArgs, session: &mut Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Attempts {
        data: Vec<Box<RawValue>>,
    }
    let client = session.client()?;
    let answer = client.send(Call::get(format!("/requests/{}", segment(&args.id)))).await;
    let attempts: Attempts = answer.map_err(|failure| failure.hint("anykey request list"))?.read()?;
    if session.json() {
        let items: Vec<&str> = attempts.data.iter().map(|item| item.get()).collect();
        return session.terminal.line(&format!("[{}]", items.join(",")));
    }
    for (i, item) in attempts.data.iter().enumerate() {
        if i > 0 {
            session.terminal.line("")?;
        }
        session.print_details(&details(&client::read(item.get().as_bytes())?))?;
    }
    Ok(())
}

/// Ends only when it is interrupted, when nobody reads it any more, or when the server goes away.
async fn tail(filter: FilterArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let call = filter.apply(Call::get("/requests/tail").header("accept", "text/event-stream"), &client).await?;
    let stream = client.open(call).await?;
    let mut header = session.globals.header;
    sse::for_each(stream, |event| {
        if event.name == "missed" {
            session
                .terminal
                .note(&format!("{} calls ended faster than they were read here", table::plain(&event.data)));
        } else if session.json() {
            session.terminal.line(&event.data)?;
        } else {
            let attempt: Attempt = client::read(event.data.as_bytes())?;
            if session.terminal.out_is_tty {
                session.terminal.line(&one_line(&attempt, session.now))?;
            } else {
                table::print(&mut session.terminal, std::mem::take(&mut header), session.now, COLUMNS, &[attempt])?;
            }
        }
        Ok(false)
    })
    .await?;
    Err(Failure::unreachable("the server ended the stream").hint("anykey status"))
}

/// A line for people that keeps its columns without knowing the lines to come.
fn one_line(a: &Attempt, now: jiff::Timestamp) -> String {
    let text = |value: &Option<String>| table::plain(value.as_deref().unwrap_or("–"));
    let at = a.started_at.as_deref().and_then(|at| at.get(11..19)).unwrap_or("--:--:--");
    let cost = a.cost().for_people(now);
    let end = match (&a.code, &a.outcome) {
        (Some(code), _) if !code.is_empty() => table::plain(code),
        (_, Some(outcome)) if outcome != "completed" => table::plain(outcome),
        _ => format!("{} → {}", a.tokens(Unit::is_input_token), a.tokens(Unit::is_output_token)),
    };
    format!(
        "{at} {:>3} {:<16} {:<28} {:>9} {:>10}  {:<20} {}",
        a.status().for_people(now),
        text(&a.key_name),
        text(&a.model_asked),
        millis(&a.total_ms).for_people(now),
        cost,
        end,
        table::plain(&a.request_id),
    )
}
