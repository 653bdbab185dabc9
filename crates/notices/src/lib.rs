//! The messenger: brings notices from the outbox of the store to webhooks and mailboxes. What is worth a notice is decided
//! where it happens, in the store; here is how it travels.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod courier;
pub mod mail;
mod times;
pub mod webhook;
mod words;

pub use courier::{BadAddress, Courier, Options, PATIENCE, Tried};
pub use mail::{MailError, MailOptions, Security};
