//! `anykey key`: the keys that callers are given.

mod change;
mod controls;
mod find;
mod limits;
mod make;
mod many;
pub mod secret;
mod temp;
mod view;

use crate::cli::{Client, Failure, Session};
use clap::Subcommand;

pub use find::{Found, find_id};
pub use make::mint;
pub use secret::NewSecret;
pub use temp::TempFields;
pub use view::Key;

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key; its secret is shown once
    Create(make::CreateArgs),
    /// Take over a key of another system by its SHA-256
    Import(make::ImportArgs),
    /// List keys
    #[command(alias = "ls")]
    List(view::ListArgs),
    /// Show a key: what it may do, what it spent, its secrets' last use
    Show(KeyArg),
    /// Whether a call would be let in now, and every bound with its source, use and reset
    Limits(KeyArg),
    /// Change a key
    #[command(visible_alias = "update")]
    Edit(change::EditArgs),
    /// Let a key spend more than a limit for a while
    Raise(change::RaiseKeyArgs),
    /// Refuse calls with a key until it is enabled again
    Disable(KeyArg),
    /// Accept calls with a disabled key again
    Enable(KeyArg),
    /// End a key for ever; its history stays
    #[command(alias = "rm")]
    Delete(change::DeleteArgs),
    /// Give a key a new secret; the old one is dead at once
    Regenerate(secret::RegenerateArgs),
    /// Give a key a second secret; the old one ends some time after the new one is first used
    Rotate(secret::RotateArgs),
    /// Mint a temporary key from a key, with its power or less; it dies with it
    Temp(temp::TempArgs),
    /// Find whose key a secret or a masked key is
    Whois(find::WhoisArgs),
    /// Give a key to another owner, who is asked to rotate it
    Transfer(many::TransferArgs),
    /// Change many keys at once
    #[command(subcommand)]
    Bulk(many::BulkCommand),
}

/// Which key is meant.
#[derive(clap::Args, Clone, Debug)]
pub struct KeyArg {
    /// A name, an id (key_...) or a masked key (ak-live-AbCd1234)
    #[arg(value_name = "KEY")]
    key: String,
}

pub async fn run(command: KeyCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => make::create(args, session).await,
        KeyCommand::Import(args) => make::import(args, session).await,
        KeyCommand::List(args) => view::list(args, session).await,
        KeyCommand::Show(which) => view::show(which, session).await,
        KeyCommand::Limits(which) => limits::limits(which, session).await,
        KeyCommand::Edit(args) => change::edit(args, session).await,
        KeyCommand::Raise(args) => change::raise(args, session).await,
        KeyCommand::Disable(which) => change::disable(which, session).await,
        KeyCommand::Enable(which) => change::enable(which, session).await,
        KeyCommand::Delete(args) => change::delete(args, session).await,
        KeyCommand::Regenerate(args) => secret::regenerate(args, session).await,
        KeyCommand::Rotate(args) => secret::rotate(args, session).await,
        KeyCommand::Temp(args) => temp::temp(args, session).await,
        KeyCommand::Whois(args) => find::whois(args, session).await,
        KeyCommand::Transfer(args) => many::transfer(args, session).await,
        KeyCommand::Bulk(command) => many::bulk(command, session).await,
    }
}

/// The id of the key that a filter names.
pub async fn id_of(client: &Client, named: Option<&str>) -> Result<Option<String>, Failure> {
    match named {
        None => Ok(None),
        Some(named) => find::find_id(client, named).await.map(Some),
    }
}
