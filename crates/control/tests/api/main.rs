//! The admin API as a caller sees it: the real router on a real SQLite store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod aliases;
mod approvals;
mod audit;
mod document;
mod exposure;
mod harness;
mod identify;
mod keys;
mod limits;
mod matrix;
mod notices;
mod oidc;
mod oidc_trust;
mod pasted;
mod prices;
mod providers;
mod records;
mod sign_in;
mod tenancy;
