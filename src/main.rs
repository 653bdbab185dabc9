//! anykey: one API key for every model. This crate only wires the rooms together; the rooms are under `crates/`.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod config;
mod memory;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = commands::Cli::from_process();
    // Calls run on threads of their own; this runtime serves the database, the admin API and the commands.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(error) => {
            eprintln!("error: the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
