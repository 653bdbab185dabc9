//! `anykey alias`: names of one's own for models.

use crate::cli::client::segment;
use crate::cli::{Call, Cell, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

#[derive(Subcommand, Debug)]
pub enum AliasCommand {
    /// Let a name stand for a model
    Add {
        /// The new name
        name: String,
        /// The model it stands for, as provider/model
        #[arg(value_name = "PROVIDER/MODEL")]
        target: String,
    },
    /// List aliases
    #[command(alias = "ls")]
    List(PageArgs),
    /// Remove an alias; the model stays
    #[command(alias = "rm", alias = "delete")]
    Remove {
        /// The alias
        name: String,
    },
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Alias {
    name: String,
    target: String,
    origin: Option<String>,
}

const COLUMNS: &[Column<Alias>] = &[
    Column::new("name", "NAME", |a| Cell::text(&a.name)),
    Column::new("target", "STANDS FOR", |a| Cell::text(&a.target)),
    Column::new("origin", "FROM", |a| Cell::maybe(&a.origin)),
];

pub async fn run(command: AliasCommand, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    match command {
        AliasCommand::Add { name, target } => {
            let body = json!({ "name": name, "target": target });
            let answer = client.send(Call::post("/aliases").json(&body)?.once()?).await?;
            session.report(&answer, &format!("{name} now stands for {target}"))
        }
        AliasCommand::List(page) => {
            let listing = client.list(Call::get("/aliases"), page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        AliasCommand::Remove { name } => {
            let call = Call::delete(format!("/aliases/{}", segment(&name)));
            let answer = client.send(call).await.map_err(|failure| failure.hint("anykey alias list"))?;
            session.report(&answer, &format!("removed {name}"))
        }
    }
}
