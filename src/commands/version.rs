//! `anykey version`: this binary's version. The server's is in `anykey status`.

use crate::cli::{Failure, Session};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn run(session: &mut Session) -> Result<(), Failure> {
    if session.json() {
        return session.terminal.line(&format!(r#"{{"version":"{VERSION}"}}"#));
    }
    session.terminal.line(&format!("anykey {VERSION}"))
}
