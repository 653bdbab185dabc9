//! `anykey provider`: the upstreams, their credentials and whether they answer.

use crate::cli::client::segment;
use crate::cli::credential::CredentialArgs;
use crate::cli::table::plain;
use crate::cli::{Answer, Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use anykey_core::provider::{self, ProviderKind};
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Subcommand};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub enum ProviderCommand {
    /// Add a provider; it is asked for its models with the credential before it is kept
    Add(AddArgs),
    /// List providers
    #[command(alias = "ls")]
    List(PageArgs),
    /// Show a provider; its credential is never shown
    Show(NameArg),
    /// Call a provider with its credential and say whether it answers
    Test(NameArg),
    /// Change a provider
    Edit(EditArgs),
    /// Remove a provider and its credential
    #[command(alias = "rm", alias = "delete")]
    Remove(RemoveArgs),
    /// List the kinds of provider that are known by name
    Kinds,
}

#[derive(Args, Clone, Debug)]
pub struct NameArg {
    /// The provider's name
    name: String,
}

impl NameArg {
    fn path(&self) -> String {
        format!("/providers/{}", segment(&self.name))
    }
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Provider {
    name: String,
    kind: String,
    dialect: Option<String>,
    base_url: Option<String>,
    credential: Option<String>,
    allow_private_network: bool,
    origin: Option<String>,
    disabled: bool,
    models_count: Option<u64>,
    tested_at: Option<String>,
    test_error: Option<String>,
    version: Option<Value>,
}

impl Provider {
    fn status(&self) -> Cell {
        let word = match self {
            Provider { disabled: true, .. } => "disabled",
            Provider { test_error: Some(_), .. } => "failing",
            Provider { tested_at: Some(_), .. } => "ok",
            _ => "untested",
        };
        Cell::Status(word.into())
    }

    fn models(&self) -> Cell {
        self.models_count.map_or_else(|| Cell::text(""), Cell::Count)
    }
}

const COLUMNS: &[Column<Provider>] = &[
    Column::new("name", "NAME", |p| Cell::text(&p.name)),
    Column::new("kind", "KIND", |p| Cell::text(&p.kind)),
    Column::new("status", "STATUS", Provider::status),
    Column::new("models_count", "MODELS", Provider::models),
    Column::new("tested_at", "TESTED", |p| Cell::Time(p.tested_at.clone(), "never")),
    Column::new("base_url", "BASE URL", |p| Cell::maybe(&p.base_url)),
    Column::new("origin", "FROM", |p| Cell::maybe(&p.origin)),
    Column::for_programs("credential", |p| Cell::maybe(&p.credential)),
];

const KIND_COLUMNS: &[Column<&ProviderKind>] = &[
    Column::new("kind", "KIND", |k| Cell::text(k.name)),
    Column::new("title", "NAME", |k| Cell::text(k.title)),
    Column::new("dialect", "DIALECT", |k| Cell::text(k.dialect.name())),
    Column::new("base_url", "BASE URL", |k| Cell::text(k.base_url.unwrap_or_default())),
    Column::new("needs_key", "KEY", |k| Cell::text(if k.needs_key { "yes" } else { "no" })),
];

fn details(provider: &Provider) -> Vec<(&'static str, Cell)> {
    let mut rows = vec![
        ("name", Cell::text(&provider.name)),
        ("kind", Cell::text(&provider.kind)),
        ("dialect", Cell::maybe(&provider.dialect)),
        ("status", provider.status()),
        ("base_url", Cell::maybe(&provider.base_url)),
        ("credential", Cell::maybe(&provider.credential)),
        ("allow_private_network", Cell::text(if provider.allow_private_network { "yes" } else { "no" })),
        ("origin", Cell::maybe(&provider.origin)),
        ("models_count", provider.models()),
        ("tested_at", Cell::Time(provider.tested_at.clone(), "never")),
    ];
    if let Some(error) = &provider.test_error {
        rows.push(("test_error", Cell::text(error)));
    }
    rows
}

pub async fn run(command: ProviderCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        ProviderCommand::Add(args) => add(args, session).await,
        ProviderCommand::List(page) => {
            let listing = session.client()?.list(Call::get("/providers"), page.limit()).await?;
            session.print_list(&listing, COLUMNS)
        }
        ProviderCommand::Show(which) => {
            let answer = session.client()?.send(Call::get(which.path())).await.map_err(see_list)?;
            session.print_object(answer.text()?, details)
        }
        ProviderCommand::Test(which) => test(which, session).await,
        ProviderCommand::Edit(args) => edit(args, session).await,
        ProviderCommand::Remove(args) => remove(args, session).await,
        ProviderCommand::Kinds => kinds(session),
    }
}

fn see_list(failure: Failure) -> Failure {
    failure.hint("anykey provider list")
}

/// The kinds are part of this binary, so no server is asked.
fn kinds(session: &mut Session) -> Result<(), Failure> {
    let known: Vec<&ProviderKind> = provider::kinds().iter().collect();
    if !session.json() {
        return session.print_rows(&known, KIND_COLUMNS);
    }
    let object = |k: &&ProviderKind| {
        json!({
            "kind": k.name,
            "title": k.title,
            "dialect": k.dialect.name(),
            "base_url": k.base_url,
            "needs_key": k.needs_key,
        })
    };
    let objects: Vec<Value> = known.iter().map(object).collect();
    session.terminal.line(&Value::from(objects).to_string())
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// What it is; see `anykey provider kinds`. Any OpenAI-compatible server is `compatible`, with --base-url
    #[arg(value_parser = kind_names(), hide_possible_values = true)]
    kind: String,

    /// What to call it; models are then NAME/MODEL [default: its kind]
    #[arg(long)]
    name: Option<String>,

    /// Where it is, as in the provider's own SDK
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    #[command(flatten)]
    credential: CredentialArgs,

    /// Let its address be on this machine or in a private network
    #[arg(long)]
    allow_private_network: bool,

    /// Keep it even where its test fails
    #[arg(long)]
    force: bool,
}

fn kind_names() -> PossibleValuesParser {
    PossibleValuesParser::new(provider::kinds().iter().map(|kind| kind.name))
}

async fn add(args: AddArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let mut body = json!({
        "name": args.name.as_ref().unwrap_or(&args.kind),
        "kind": args.kind,
        "allow_private_network": args.allow_private_network,
    });
    if let Some(base_url) = args.base_url {
        body["base_url"] = json!(base_url);
    }
    // Servers that people run themselves often ask for none, so none is asked for.
    let secret = match provider::kind(&args.kind) {
        Some(kind) if !kind.needs_key => args.credential.given(session)?,
        _ => Some(args.credential.required(session, &format!("Credential of {}: ", args.kind))?),
    };
    if let Some(secret) = secret {
        body["api_key"] = json!(secret.expose_secret());
    }
    let force = args.force.then_some("true");
    let answer = client.send(Call::post("/providers").maybe("force", force).json(&body)?.once()?).await?;
    report_test(session, &answer, "added")
}

async fn test(which: NameArg, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let answer = client.send(Call::post(format!("{}/test", which.path()))).await.map_err(see_list)?;
    report_test(session, &answer, "tested")
}

/// How a provider answered when it was asked for its models.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Tested {
    name: Option<String>,
    test: Option<Test>,
    #[serde(flatten)]
    bare: Test,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Test {
    ok: bool,
    models: u64,
    latency_ms: Option<u64>,
    error: Option<String>,
    /// What the test could not find out.
    note: Option<String>,
}

/// A provider that does not answer is a failed command, so that a script notices; its JSON is printed all the same.
fn report_test(session: &mut Session, answer: &Answer, done: &str) -> Result<(), Failure> {
    let tested: Tested = answer.read()?;
    let name = plain(&tested.name.unwrap_or_default());
    let test = tested.test.unwrap_or(tested.bare);
    let took = test.latency_ms.map(|ms| format!(", {ms} ms")).unwrap_or_default();
    let sentence = match (&test.error, &test.note) {
        (None, Some(note)) if test.ok => format!("{done} {name}. {note}"),
        (None, None) if test.ok => format!("{done} {name}: {} models{took}", test.models),
        (error, _) => {
            format!("{done} {name}: it does not answer: {}", error.as_deref().unwrap_or("it did not say why"))
        }
    };
    session.report(answer, &sentence)?;
    if test.ok || done == "added" { Ok(()) } else { Err(Failure::failed("the provider did not pass its test")) }
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("state").args(["disable", "enable"]))]
pub struct EditArgs {
    #[command(flatten)]
    which: NameArg,

    /// Where it is
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    #[command(flatten)]
    credential: CredentialArgs,

    /// Whether its address may be on this machine or in a private network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_private_network: Option<bool>,

    /// Keep the change even where its test fails
    #[arg(long)]
    force: bool,

    /// Send it no calls
    #[arg(long)]
    disable: bool,

    /// Send it calls again
    #[arg(long)]
    enable: bool,
}

async fn edit(args: EditArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let mut body = Map::new();
    if let Some(base_url) = args.base_url {
        body.insert("base_url".into(), json!(base_url));
    }
    if let Some(secret) = args.credential.given(session)? {
        body.insert("api_key".into(), json!(secret.expose_secret()));
    }
    if let Some(allow) = args.allow_private_network {
        body.insert("allow_private_network".into(), json!(allow));
    }
    if args.disable || args.enable {
        body.insert("disabled".into(), json!(args.disable));
    }
    if body.is_empty() {
        return Err(Failure::usage("nothing to change was given").hint("anykey help provider edit"));
    }
    let provider = find(&client, &args.which).await?;
    let call = Call::patch(args.which.path()).maybe("force", args.force.then_some("true")).json(&body)?;
    let call = call.if_version(provider.version.as_ref());
    let answer = client.send(call).await?;
    session.report(&answer, &format!("changed {}", provider.name))
}

async fn find(client: &Client, which: &NameArg) -> Result<Provider, Failure> {
    client.send(Call::get(which.path())).await.map_err(see_list)?.read()
}

#[derive(Args, Debug)]
pub struct RemoveArgs {
    #[command(flatten)]
    which: NameArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

async fn remove(args: RemoveArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let provider = find(&client, &args.which).await?;
    let name = plain(&provider.name);
    session.terminal.confirm(&format!("Remove {name} and its credential? Calls to {name}/* will fail."), args.yes)?;
    let answer = client.send(Call::delete(args.which.path())).await?;
    session.report(&answer, &format!("removed {name}"))
}
