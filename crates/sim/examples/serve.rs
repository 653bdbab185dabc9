//! Serves the practice provider by itself: `cargo run -p anykey-sim --example serve -- 127.0.0.1:18080 [KEY]`.

use std::net::SocketAddr;

use anykey_sim::{Sim, SimOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let addr: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let running = Sim::bind(addr, SimOptions { require_key: arguments.next(), faults: true, strict: true }).await?;
    println!("http://{}", running.addr);
    tokio::signal::ctrl_c().await?;
    running.shutdown().await;
    Ok(())
}
