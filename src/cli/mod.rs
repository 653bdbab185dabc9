//! What every command needs and no command owns: finding the server, speaking the admin API, reading what people type,
//! and printing answers. The commands themselves are in `crate::commands`.

pub mod client;
pub mod credential;
pub mod exit;
pub mod globals;
pub mod output;
pub mod pin;
pub mod problem;
pub mod server;
pub mod session;
pub mod sse;
pub mod table;
pub mod terminal;
pub mod values;
pub mod when;
pub mod wire;

#[cfg(test)]
pub mod testing;

pub use client::{Answer, Call, Client, Listing};
pub use exit::{Exit, Failure};
pub use globals::Globals;
pub use pin::fingerprint;
pub use session::Session;
pub use table::{Cell, Column};
