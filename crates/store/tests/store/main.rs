//! The store from outside, each test on SQLite and, when `ANYKEY_TEST_POSTGRES` names a server, on PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

#[macro_use]
mod home;

mod approvals;
mod asked;
mod audit;
mod books;
mod exposure;
mod idempotency;
mod jobs;
mod key_lists;
mod keys;
mod leases;
mod lookup;
mod notices;
mod opening;
mod outage;
mod recent;
mod replicas;
mod reports;
mod rotation;
mod routing;
mod scale;
mod sign_in;
mod spend;
mod spending;
mod temp;
mod tenancy;
mod upgrade;
