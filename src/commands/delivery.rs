//! `anykey delivery`: notices on their way, and what became of them.

use crate::cli::client::segment;
use crate::cli::{Call, Cell, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use clap::{Args, Subcommand};
use serde::Deserialize;

#[derive(Subcommand, Debug)]
pub enum DeliveryCommand {
    /// List deliveries, the newest first
    #[command(alias = "ls")]
    List(ListArgs),
    /// Show a delivery
    Show(DeliveryArg),
    /// Send a notice again that was sent or given up
    Replay(DeliveryArg),
}

#[derive(Args, Debug)]
pub struct DeliveryArg {
    /// Its id (dlv_...)
    #[arg(value_name = "DELIVERY")]
    id: String,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// waiting, sent or failed
    #[arg(long)]
    state: Option<String>,

    /// Only those of this event, such as key.expiring
    #[arg(long)]
    event: Option<String>,

    /// Only those to this destination (dst_...)
    #[arg(long)]
    destination: Option<String>,

    /// Only those about this key (key_...)
    #[arg(long)]
    key: Option<String>,

    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    /// Only those of this project
    #[arg(long)]
    project: Option<String>,

    #[command(flatten)]
    page: PageArgs,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Delivery {
    id: String,
    notice_id: String,
    event: String,
    key_id: Option<String>,
    destination_id: Option<String>,
    channel: String,
    address: String,
    state: String,
    attempts: u64,
    next_at: Option<String>,
    last_status: Option<i64>,
    last_error: Option<String>,
    done_at: Option<String>,
    created_at: Option<String>,
}

const COLUMNS: &[Column<Delivery>] = &[
    Column::new("id", "ID", |d| Cell::text(&d.id)),
    Column::new("event", "EVENT", |d| Cell::text(&d.event)),
    Column::new("state", "STATE", |d| Cell::Status(d.state.clone())),
    Column::new("address", "TO", |d| Cell::text(&d.address)),
    Column::new("attempts", "TRIED", |d| Cell::Count(d.attempts)),
    Column::new("created_at", "WRITTEN", |d| Cell::Time(d.created_at.clone(), "–")),
    Column::new("next_at", "NEXT", |d| Cell::Time(d.next_at.clone(), "–")),
    Column::new("last_error", "LAST ERROR", |d| Cell::maybe(&d.last_error)),
    Column::for_programs("key_id", |d| Cell::maybe(&d.key_id)),
    Column::for_programs("destination_id", |d| Cell::maybe(&d.destination_id)),
];

fn details(delivery: &Delivery) -> Vec<(&'static str, Cell)> {
    let status = delivery.last_status.map(|status| status.to_string());
    vec![
        ("id", Cell::text(&delivery.id)),
        ("notice_id", Cell::text(&delivery.notice_id)),
        ("event", Cell::text(&delivery.event)),
        ("state", Cell::Status(delivery.state.clone())),
        ("channel", Cell::text(&delivery.channel)),
        ("address", Cell::text(&delivery.address)),
        ("destination_id", Cell::maybe(&delivery.destination_id)),
        ("key_id", Cell::maybe(&delivery.key_id)),
        ("attempts", Cell::Count(delivery.attempts)),
        ("last_status", Cell::maybe(&status)),
        ("last_error", Cell::maybe(&delivery.last_error)),
        ("next_at", Cell::Time(delivery.next_at.clone(), "–")),
        ("done_at", Cell::Time(delivery.done_at.clone(), "–")),
        ("created_at", Cell::Time(delivery.created_at.clone(), "–")),
    ]
}

pub async fn run(command: DeliveryCommand, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    match command {
        DeliveryCommand::List(args) => {
            let call = Call::get("/deliveries")
                .maybe("state", args.state)
                .maybe("event", args.event)
                .maybe("destination", args.destination)
                .maybe("key", args.key)
                .maybe("organisation", args.org)
                .maybe("project", args.project);
            let listing = client.list(call, args.page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        DeliveryCommand::Show(which) => {
            let answer = client.send(Call::get(path(&which))).await.map_err(hint)?;
            session.print_object(answer.text()?, details)
        }
        DeliveryCommand::Replay(which) => {
            let answer = client.send(Call::post(format!("{}/replay", path(&which)))).await.map_err(hint)?;
            let delivery: Delivery = answer.read()?;
            session.report(&answer, &format!("{} goes to {} again", delivery.event, delivery.address))
        }
    }
}

fn hint(failure: Failure) -> Failure {
    failure.hint("anykey delivery list")
}

fn path(which: &DeliveryArg) -> String {
    format!("/deliveries/{}", segment(&which.id))
}
