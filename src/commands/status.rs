//! `anykey status`: how the server is.

use crate::cli::{Call, Cell, Failure, Session, client};
use serde_json::Value;

pub async fn run(session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let answer = client.send(Call::get("/status")).await?;
    let json = answer.text()?;
    if session.json() {
        return session.terminal.line(json);
    }
    let status: serde_json::Map<String, Value> = client::read(json.as_bytes())?;
    let url = client.url();
    let mut rows = vec![("url", Cell::text(url))];
    rows.extend(status.iter().map(|(name, value)| (name.as_str(), Cell::json(value))));
    session.print_details(&rows)
}
