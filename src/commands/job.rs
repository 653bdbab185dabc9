//! `anykey job`: how far work on many keys is.

use crate::cli::client::segment;
use crate::cli::{Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use clap::Subcommand;
use serde::Deserialize;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub enum JobCommand {
    /// List jobs
    #[command(alias = "ls")]
    List(PageArgs),
    /// Show how far a job is, and which keys it left as they are
    Show {
        /// Its id (job_...)
        #[arg(value_name = "JOB")]
        job: String,
    },
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Job {
    pub id: String,
    pub action: String,
    pub status: String,
    pub total: u64,
    pub done: u64,
    pub skipped: u64,
    created_at: Option<String>,
    finished_at: Option<String>,
    pub skipped_keys: Vec<SkippedKey>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct SkippedKey {
    key_id: String,
    reason: String,
}

const COLUMNS: &[Column<Job>] = &[
    Column::new("id", "ID", |j| Cell::text(&j.id)),
    Column::new("action", "ACTION", |j| Cell::text(&j.action)),
    Column::new("status", "STATUS", |j| Cell::Status(j.status.clone())),
    Column::new("total", "KEYS", |j| Cell::Count(j.total)),
    Column::new("done", "CHANGED", |j| Cell::Count(j.done)),
    Column::new("skipped", "LEFT", |j| Cell::Count(j.skipped)),
    Column::new("created_at", "BEGUN", |j| Cell::Time(j.created_at.clone(), "–")),
];

fn details(job: &Job) -> Vec<(&'static str, Cell)> {
    let mut rows = vec![
        ("id", Cell::text(&job.id)),
        ("action", Cell::text(&job.action)),
        ("status", Cell::Status(job.status.clone())),
        ("total", Cell::Count(job.total)),
        ("done", Cell::Count(job.done)),
        ("skipped", Cell::Count(job.skipped)),
        ("created_at", Cell::Time(job.created_at.clone(), "–")),
        ("finished_at", Cell::Time(job.finished_at.clone(), "not yet")),
    ];
    rows.extend(job.skipped_keys.iter().map(|key| ("left", Cell::text(format!("{} {}", key.key_id, key.reason)))));
    rows
}

pub async fn run(command: JobCommand, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    match command {
        JobCommand::List(page) => {
            let listing = client.list(Call::get("/jobs"), page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        JobCommand::Show { job } => show(&client, &job, session).await,
    }
}

pub async fn show(client: &Client, id: &str, session: &mut Session) -> Result<(), Failure> {
    let answer = client.send(Call::get(path(id))).await.map_err(|failure| failure.hint("anykey job list"))?;
    session.print_object(answer.text()?, details)
}

/// Waits for a job's end.
pub async fn wait(client: &Client, id: &str) -> Result<Job, Failure> {
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(2);
    let mut pause = SHORT;
    loop {
        let job: Job = client.send(Call::get(path(id))).await?.read()?;
        if job.status != "running" {
            return Ok(job);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONG);
    }
}

fn path(id: &str) -> String {
    format!("/jobs/{}", segment(id))
}
