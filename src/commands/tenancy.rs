//! What the commands on organisations, projects, members and service accounts have in common.

use crate::cli::client::segment;
use crate::cli::table::plain;
use crate::cli::{Call, Cell, Client, Column, Exit, Failure, Session};
use crate::commands::raise::RaiseArgs;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One kind of thing, as the API and people call it.
pub struct Noun {
    /// Below the base of the API.
    pub path: &'static str,
    pub word: &'static str,
    /// The command that lists them.
    pub list: &'static str,
}

/// What the admin API says of any of them, as far as it is shown or needed here.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Thing {
    pub id: String,
    pub slug: Option<String>,
    pub name: String,
    pub email: Option<String>,
    pub role: Option<String>,
    pub description: Option<String>,
    pub status: String,
    pub organisation_id: Option<String>,
    pub project_id: Option<String>,
    pub person_id: Option<String>,
    pub operator: Option<bool>,
    pub controls: Map<String, Value>,
    pub key_rules: Option<Map<String, Value>>,
    pub created_at: Option<String>,
    pub version: Option<Value>,
}

impl Thing {
    /// `Search (proj_01...)`
    pub fn label(&self) -> String {
        format!("{} ({})", self.email.as_ref().unwrap_or(&self.name), self.id)
    }

    pub fn status_cell(&self) -> Cell {
        Cell::Status(self.status.clone())
    }

    pub fn made(&self) -> Cell {
        Cell::Time(self.created_at.clone(), "–")
    }

    /// Whether it bounds anything.
    pub fn bounds(&self) -> Cell {
        let names: Vec<&str> = self.controls.keys().map(String::as_str).collect();
        Cell::text(names.join(" "))
    }
}

/// What was spent in one window of time.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Window {
    window: String,
    spent_usd: String,
    held_usd: String,
    limit_usd: Option<String>,
    left_usd: Option<String>,
    warn_only: bool,
    resets_at: Option<String>,
}

impl Window {
    fn limit(&self) -> Cell {
        match &self.limit_usd {
            Some(limit) if self.warn_only => Cell::text(format!("${limit}, warns only")),
            Some(limit) => usd(limit),
            None => Cell::text("–"),
        }
    }
}

fn usd(amount: &str) -> Cell {
    Cell::Usd(Some(amount.to_owned()))
}

const WINDOWS: &[Column<Window>] = &[
    Column::new("window", "WINDOW", |w| Cell::text(&w.window)),
    Column::new("spent_usd", "SPENT", |w| usd(&w.spent_usd)),
    Column::new("held_usd", "HELD", |w| usd(&w.held_usd)),
    Column::new("limit_usd", "LIMIT", Window::limit),
    Column::new("left_usd", "LEFT", |w| w.left_usd.as_deref().map_or_else(|| Cell::text("–"), usd)),
    Column::new("resets_at", "RESETS", |w| Cell::Time(w.resets_at.clone(), "never")),
];

/// The details of one, those fields that it has.
pub fn details(thing: &Thing) -> Vec<(&'static str, Cell)> {
    let mut rows = vec![("id", Cell::text(&thing.id)), ("name", Cell::text(&thing.name))];
    rows.push(("status", thing.status_cell()));
    let optional = [
        ("slug", &thing.slug),
        ("email", &thing.email),
        ("role", &thing.role),
        ("description", &thing.description),
        ("organisation_id", &thing.organisation_id),
        ("project_id", &thing.project_id),
        ("person_id", &thing.person_id),
    ];
    let given = optional.into_iter().filter(|(_, text)| text.as_ref().is_some_and(|text| !text.is_empty()));
    rows.extend(given.map(|(name, text)| (name, Cell::maybe(text))));
    if let Some(operator) = thing.operator {
        rows.push(("operator", Cell::text(if operator { "yes" } else { "no" })));
    }
    if !thing.controls.is_empty() {
        rows.push(("controls", Cell::text(Value::from(thing.controls.clone()).to_string())));
    }
    if let Some(rules) = thing.key_rules.as_ref().filter(|rules| !rules.is_empty()) {
        rows.push(("key_rules", Cell::text(Value::from(rules.clone()).to_string())));
    }
    rows.push(("created_at", thing.made()));
    rows
}

/// A policy or rules, out of a file.
#[derive(Args, Debug, Default)]
pub struct ControlsArgs {
    /// A JSON file with the whole policy, or `-` to read it from stdin; `{}` takes it away
    #[arg(long, value_name = "FILE")]
    pub controls: Option<String>,
}

/// Rules for keys, out of a file.
#[derive(Args, Debug, Default)]
pub struct RulesArgs {
    /// A JSON file with the rules for keys, or `-` to read them from stdin; `{}` takes them away
    #[arg(long, value_name = "FILE")]
    pub key_rules: Option<String>,
}

impl RulesArgs {
    pub fn put(&self, body: &mut Map<String, Value>, session: &mut Session) -> Result<(), Failure> {
        if let Some(file) = &self.key_rules {
            body.insert("key_rules".into(), json_file(session, file)?);
        }
        Ok(())
    }
}

/// Reads JSON out of a file or from stdin. What it may hold is the server's to say.
fn json_file(session: &mut Session, file: &str) -> Result<Value, Failure> {
    let text = match file {
        "-" => session.terminal.read_input()?,
        path => std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{path}: {error}")))?,
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{file} is not JSON: {error}")))
}

impl ControlsArgs {
    pub fn put(&self, body: &mut Map<String, Value>, session: &mut Session) -> Result<(), Failure> {
        if let Some(file) = &self.controls {
            body.insert("controls".into(), json_file(session, file)?);
        }
        Ok(())
    }
}

/// The fields that were given.
pub fn fields<const N: usize>(given: [(&str, Option<String>); N]) -> Map<String, Value> {
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect()
}

impl Noun {
    pub fn one(&self, which: &str) -> String {
        format!("{}/{}", self.path, segment(which))
    }

    async fn read(&self, client: &Client, which: &str) -> Result<(Thing, String), Failure> {
        let answer = client.send(Call::get(self.one(which))).await.map_err(|failure| failure.hint(self.list))?;
        Ok((answer.read()?, answer.text()?.to_owned()))
    }

    pub async fn show(&self, which: &str, session: &mut Session) -> Result<(), Failure> {
        let client = session.client()?;
        let (_, text) = self.read(&client, which).await?;
        session.print_object(&text, details)
    }

    pub async fn create(&self, body: Map<String, Value>, session: &mut Session) -> Result<(), Failure> {
        let client = session.client()?;
        let answer = client.send(Call::post(self.path).json(&body)?.once()?).await?;
        let made: Thing = answer.read()?;
        session.report(&answer, &format!("made the {} {}", self.word, made.label()))
    }

    /// The update carries the version that was read, so that a change made meanwhile is not undone unseen.
    pub async fn update(&self, which: &str, body: Map<String, Value>, session: &mut Session) -> Result<(), Failure> {
        if body.is_empty() {
            return Err(Failure::usage("nothing to change was given"));
        }
        let client = session.client()?;
        let (thing, _) = self.read(&client, which).await?;
        let call = Call::patch(self.one(&thing.id)).json(&body)?.if_version(thing.version.as_ref());
        let answer = client.send(call).await?;
        session.report(&answer, &format!("changed the {} {}", self.word, thing.label()))
    }

    /// Grants more than a limit for a while.
    pub async fn raise(&self, which: &str, raise: &RaiseArgs, session: &mut Session) -> Result<(), Failure> {
        let client = session.client()?;
        let (thing, _) = self.read(&client, which).await?;
        let controls = raise.apply(&thing.controls, session.now)?;
        let call = Call::patch(self.one(&thing.id)).json(&json!({ "controls": controls }))?;
        let answer = client.send(call.if_version(thing.version.as_ref())).await?;
        session.report(&answer, &format!("changed the limits of the {} {}", self.word, thing.label()))
    }

    /// What it has spent in each window, and what is left.
    pub async fn spend(&self, which: &str, session: &mut Session) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Spend {
            windows: Vec<Window>,
        }
        let client = session.client()?;
        let call = Call::get(format!("{}/spend", self.one(which)));
        let answer = client.send(call).await.map_err(|failure| failure.hint(self.list))?;
        if session.json() {
            return session.terminal.line(answer.text()?);
        }
        session.print_rows(&answer.read::<Spend>()?.windows, WINDOWS)
    }

    pub async fn switch(&self, which: &str, verb: &str, session: &mut Session) -> Result<(), Failure> {
        let client = session.client()?;
        let call = Call::post(format!("{}/{verb}", self.one(which)));
        let answer = client.send(call).await.map_err(|failure| failure.hint(self.list))?;
        let thing: Thing = answer.read()?;
        session.report(&answer, &format!("{verb}d the {} {}", self.word, thing.label()))
    }

    pub async fn end(&self, which: &str, what: &str, yes: bool, session: &mut Session) -> Result<(), Failure> {
        let client = session.client()?;
        let (thing, _) = self.read(&client, which).await?;
        let question = format!("{what} {}? Keys below it are refused at once.", plain(&thing.label()));
        session.terminal.confirm(&question, yes)?;
        let answer = client.send(Call::delete(self.one(&thing.id))).await?;
        session.report(&answer, &format!("{} {}", what.to_lowercase().replace("delete", "deleted"), thing.label()))
    }

    /// The one thing that a text names by its id, or that a list has under this name.
    pub async fn find(
        &self,
        client: &Client,
        which: &str,
        call: Call,
        is_it: impl Fn(&Thing) -> bool,
    ) -> Result<String, Failure> {
        let mut found = client.list(call, Some(50)).await?.read::<Thing>()?;
        found.retain(is_it);
        match found.len() {
            1 => Ok(found.remove(0).id),
            0 => Err(Failure::new(Exit::NotFound, format!("there is no {} {which:?}", self.word)).hint(self.list)),
            n => {
                let ids: Vec<&str> = found.iter().map(|thing| thing.id.as_str()).collect();
                Err(Failure::new(Exit::Conflict, format!("{n} of them are {which}"))
                    .detail(ids.join("  "))
                    .hint("the same command with an id"))
            }
        }
    }
}
