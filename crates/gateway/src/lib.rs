//! The data plane: the path of a call, room by room. One [`Worker`] per thread; what they share is the [`Gateway`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod call;
mod grow;
mod hold;
mod identify;
mod intake;
mod limit;
mod measure;
pub mod observe;
mod own;
mod policy;
mod relay;
mod route;
mod settle;
mod strangers;
mod translate;
mod upstream;
mod worker;

pub use call::{Admitted, Calls};
pub use identify::client;
pub use relay::Relay;
pub use worker::{Gateway, Options, Worker};
