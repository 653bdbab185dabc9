//! `anykey sim`: the practice provider alone, as an upstream for tests, docs and benchmarks.

use crate::cli::credential::CredentialArgs;
use crate::cli::{Failure, Session};
use anykey_sim::{Sim, SimOptions};
use clap::Args;
use secrecy::ExposeSecret;
use std::net::SocketAddr;

#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7118", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Neither faults and pacing on request (x-sim-* headers, model?delay=200) nor books (/_sim/books)
    #[arg(long)]
    pub no_faults: bool,

    /// Accept what the real providers refuse, such as a missing max_tokens
    #[arg(long)]
    pub lenient: bool,

    /// The credential that callers must present; without one, everybody is let in
    #[command(flatten)]
    pub credential: CredentialArgs,
}

/// Prints `{"listen": "ADDR"}` when it accepts connections, then serves until it is interrupted.
pub async fn run(args: SimArgs, session: &mut Session) -> Result<(), Failure> {
    let require_key = args.credential.given(session)?.map(|key| key.expose_secret().to_string());
    let options = SimOptions { require_key, faults: !args.no_faults, strict: !args.lenient };
    let running = Sim::bind(args.listen, options)
        .await
        .map_err(|error| Failure::failed(format!("cannot listen on {}: {error}", args.listen)))?;
    session.terminal.line(&format!(r#"{{"listen":"{}"}}"#, running.addr))?;
    crate::cli::terminal::interrupted().await;
    running.shutdown().await;
    Ok(())
}
