//! The log: one line an event on stderr, as text on a terminal and as JSON elsewhere. Calls are not logged but recorded.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// `ANYKEY_LOG` says what is logged (`warn`, `debug`, `anykey_gateway=trace`); without it, what an operator should see.
pub fn start() {
    let filter = EnvFilter::try_from_env("ANYKEY_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as in tests, keeps the first log.
    let _ = if std::io::stderr().is_terminal() {
        log.with_target(false).try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
}
