//! The languages, tested from outside: tables, golden files, properties, and the checks of the fuzz targets on stable.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod fuzz;
mod golden;
mod head;
mod reach;
mod splice;
mod stream;
mod translate;
mod upstream;
mod usage;
