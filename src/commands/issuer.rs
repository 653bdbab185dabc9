//! `anykey issuer`: by whom people sign in, as the settings file has it, and whether each issuer can be used now.

use crate::cli::client::{self, segment};
use crate::cli::{Call, Cell, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use clap::Subcommand;
use serde::Deserialize;

#[derive(Subcommand, Debug)]
pub enum IssuerCommand {
    /// List the issuers of OpenID Connect by which people sign in
    #[command(alias = "ls")]
    List(PageArgs),
    /// Look whether an issuer can be used now
    Test {
        /// What the settings file calls it
        #[arg(value_name = "ISSUER")]
        issuer: String,
    },
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Row {
    name: String,
    title: String,
    issuer: String,
    client_id: String,
    redirect_uri: String,
    sign_up: String,
    second_factor: String,
    rules: Vec<serde_json::Value>,
}

const COLUMNS: &[Column<Row>] = &[
    Column::new("name", "NAME", |r| Cell::text(&r.name)),
    Column::for_programs("title", |r| Cell::text(&r.title)),
    Column::new("issuer", "ISSUER", |r| Cell::text(&r.issuer)),
    Column::for_programs("client_id", |r| Cell::text(&r.client_id)),
    Column::new("sign_up", "SIGN-UP", |r| Cell::text(&r.sign_up)),
    Column::new("second_factor", "2ND FACTOR", |r| Cell::text(&r.second_factor)),
    Column::new("rules", "RULES", |r| Cell::Count(r.rules.len() as u64)),
    Column::new("redirect_uri", "REDIRECT URI", |r| Cell::text(&r.redirect_uri)),
];

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Check {
    name: String,
    issuer: String,
    ok: bool,
    findings: Vec<String>,
    keys: u64,
    redirect_uri: String,
}

pub async fn run(command: IssuerCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        IssuerCommand::List(page) => {
            let listing = session.client()?.list(Call::get("/issuers"), page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        IssuerCommand::Test { issuer } => test(&issuer, session).await,
    }
}

async fn test(issuer: &str, session: &mut Session) -> Result<(), Failure> {
    let answer = session.client()?.send(Call::get(format!("/issuers/{}", segment(issuer)))).await?;
    let json = answer.text()?;
    let check: Check = client::read(json.as_bytes())?;
    if session.json() {
        session.terminal.line(json)?;
    } else {
        let rows = [
            ("name", Cell::text(&check.name)),
            ("issuer", Cell::text(&check.issuer)),
            ("status", Cell::Status(if check.ok { "ok" } else { "failed" }.to_owned())),
            ("keys", Cell::Count(check.keys)),
            ("redirect_uri", Cell::text(&check.redirect_uri)),
            ("findings", Cell::text(check.findings.join("; "))),
        ];
        session.print_details(&rows)?;
    }
    if check.ok {
        return Ok(());
    }
    Err(Failure::failed(format!("nobody can sign in by the issuer {} now", check.name)))
}
