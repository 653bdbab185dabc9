//! What the journeys drive: the real binary as a process of its own, upstreams that keep books or misbehave, and a client
//! that hides nothing of an answer. It stands outside of the product and sees it only through its sockets and files.
//!
//! Everything here panics where an assumption fails, since that is how a test fails. Nothing waits for a time to pass:
//! what has to become true is polled, and the deadline is reached only when something is wrong.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

mod admin;
mod canned;
mod gateway;
mod http;
mod issuer;
mod jwt;
mod postgres;
mod prices;
mod random;
pub mod remains;
mod sim;
mod smtp;
mod sse;
mod wait;

pub use admin::{CliOutput, Key};
pub use canned::{Canned, CannedUpstream, Gate, Seen};
pub use gateway::{Exit, Setup, Storage, TestGateway};
pub use http::{Connection, NoReply, Reply, Request};
pub use issuer::{CLIENT_ID, CLIENT_SECRET, FakeIssuer};
pub use jwt::{Alg, Signer, hs256, unsigned};
pub use postgres::ScratchDatabase;
pub use prices::{catalogue, cost, nanos, usd};
pub use random::Random;
pub use remains::ScratchFolder;
pub use sim::{Entry, TestSim};
pub use smtp::{KeptLetter, MailFault, MailTls, SmtpServer, test_ca};
pub use sse::{Event, events};
pub use wait::{DEADLINE, until, until_some};
