//! The store from outside, each test on SQLite and, when `ANYKEY_TEST_POSTGRES` names a server, on PostgreSQL.

#[macro_use]
mod home;

mod books;
mod idempotency;
mod keys;
mod lookup;
mod opening;
mod replicas;
mod reports;
mod rotation;
mod routing;
