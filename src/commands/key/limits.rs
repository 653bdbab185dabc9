//! `anykey key limits`: whether a call would be let in now, and every control with its source, use and reset.

use super::{KeyArg, find};
use crate::cli::client::segment;
use crate::cli::table::plain;
use crate::cli::{Call, Cell, Column, Failure, Session};
use serde::Deserialize;
use serde_json::Value;

/// What the admin API says applies to a key.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Report {
    verdict: String,
    controls: Vec<Control>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Control {
    control: String,
    level: String,
    name: String,
    models: Option<String>,
    value: Option<String>,
    limit: Value,
    used: Value,
    remaining: Value,
    resets_in: Option<u64>,
    warn_only: bool,
}

impl Control {
    /// `project search`
    fn source(&self) -> String {
        format!("{} {}", self.level.replace('_', " "), self.name)
    }

    fn allows(&self) -> Cell {
        match (&self.value, &self.models) {
            (Some(value), _) => Cell::text(value),
            (None, Some(models)) => Cell::text(format!("{} for {models}", shown(&self.limit))),
            (None, None) if self.warn_only => {
                Cell::text(format!("${}, warns only", self.limit.as_str().unwrap_or_default()))
            }
            (None, None) => amount(&self.limit),
        }
    }

    fn resets(&self) -> Cell {
        Cell::text(self.resets_in.filter(|seconds| *seconds > 0).map(|s| format!("{s}s")).unwrap_or_default())
    }
}

/// Counts are numbers, dollars are strings.
fn amount(value: &Value) -> Cell {
    match value {
        Value::String(usd) => Cell::Usd(Some(usd.clone())),
        value => Cell::json(value),
    }
}

fn shown(value: &Value) -> String {
    value.as_u64().map(|n| n.to_string()).unwrap_or_default()
}

const COLUMNS: &[Column<Control>] = &[
    Column::new("control", "CONTROL", |c| Cell::text(&c.control)),
    Column::new("source", "SET BY", |c| Cell::text(c.source())),
    Column::new("allows", "ALLOWS", Control::allows),
    Column::new("used", "USED", |c| amount(&c.used)),
    Column::new("remaining", "LEFT", |c| amount(&c.remaining)),
    Column::new("resets_in", "ALL FREE IN", Control::resets),
];

/// The verdict is for people; a pipe gets the table, and a program that wants the verdict reads it with --json.
pub async fn limits(which: KeyArg, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let id = find::find_id(&client, &which.key).await?;
    let answer = client.send(Call::get(format!("/keys/{}/limits", segment(&id)))).await?;
    if session.json() {
        return session.terminal.line(answer.text()?);
    }
    let report: Report = answer.read()?;
    session.terminal.note(&plain(&report.verdict));
    session.print_rows(&report.controls, COLUMNS)
}
