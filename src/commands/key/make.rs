//! Making keys, and taking over those of other systems.

use super::controls::ControlFlags;
use super::secret;
use crate::cli::values::{self, Expiry, SpendLimit};
use crate::cli::when::Moment;
use crate::cli::{Call, Client, Failure, Session, client};
use anykey_core::Scope;
use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What a key is made with, and what can be changed about it.
#[derive(Args, Debug, Default)]
pub struct KeyFields {
    /// What the key is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = values::tag)]
    pub tags: Vec<(String, String)>,

    /// Who uses it, in words
    #[arg(long, value_name = "WHO")]
    pub owner: Option<String>,

    /// Who answers for it: the id of a member (mem_...) or a service account (svc_...)
    #[arg(long, value_name = "ID")]
    pub owner_id: Option<String>,

    /// The project it belongs to: a slug, organisation/slug or an id (proj_...)
    #[arg(long)]
    pub project: Option<String>,

    /// Where it is used, such as production
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,

    /// What it may do; may be given several times [default: all but those of admin keys, which have one of
    /// admin:* (the installation), admin:organisation and admin:project]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scopes())]
    pub scopes: Vec<String>,

    /// Whether web pages may use it; a secret in a page is a leaked secret
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub browser_allowed: Option<bool>,

    /// The most it may spend, in dollars
    #[arg(long = "spend-limit", alias = "budget", value_name = "USD", value_parser = values::spend_limit)]
    pub spend_limits: Vec<SpendLimit>,

    /// When it ends: 90d, 2026-12-31 or never
    #[arg(long, value_name = "WHEN", value_parser = values::expiry)]
    pub expires: Option<Expiry>,

    /// Where its secret is stored, for whoever rotates it
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,

    /// How often it should be rotated, such as 90d
    #[arg(long, value_name = "DAYS", value_parser = values::days)]
    pub rotation_interval: Option<i64>,

    /// When somebody should look at it again: 180d or 2026-12-31
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    pub review: Option<Moment>,

    #[command(flatten)]
    pub controls: ControlFlags,
}

fn scopes() -> PossibleValuesParser {
    PossibleValuesParser::new(Scope::ALL.map(Scope::name))
}

impl KeyFields {
    /// The fields that were given, as the API names them. Tags and controls are the caller's to merge.
    pub fn body(&self, now: Timestamp) -> Map<String, Value> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_string(), value);
            }
        };
        set("description", self.description.as_ref().map(|v| json!(v)));
        set("owner", self.owner.as_ref().map(|v| json!(v)));
        set("owner_id", self.owner_id.as_ref().map(|v| json!(v)));
        set("project", self.project.as_ref().map(|v| json!(v)));
        set("environment", self.environment.as_ref().map(|v| json!(v)));
        set("scopes", (!self.scopes.is_empty()).then(|| json!(self.scopes)));
        set("browser_allowed", self.browser_allowed.map(|v| json!(v)));
        set("spend_limits", (!self.spend_limits.is_empty()).then(|| json!(self.spend_limits)));
        set("note", self.note.as_ref().map(|v| json!(v)));
        set("rotation_interval_days", self.rotation_interval.map(|v| json!(v)));
        set("review_at", self.review.map(|v| json!(v.after(now).to_string())));
        set(
            "expires_at",
            self.expires.map(|expiry| match expiry {
                Expiry::Never => Value::Null,
                Expiry::When(moment) => json!(moment.after(now).to_string()),
            }),
        );
        body
    }

    /// As `body`, for a key that does not exist yet: the server's clock starts a span, and what is not said is left out.
    fn new_body(&self, now: Timestamp) -> Map<String, Value> {
        let mut body = self.body(now);
        match self.expires {
            Some(Expiry::When(Moment::Span(span))) => {
                body.remove("expires_at");
                body.insert("expires_in".into(), json!(span.to_string()));
            }
            Some(Expiry::Never) => {
                body.remove("expires_at");
            }
            _ => {}
        }
        if !self.tags.is_empty() {
            body.insert("tags".into(), json!(values::tags(&self.tags)));
        }
        if let Some(controls) = self.controls.apply(&Map::new()) {
            body.insert("controls".into(), controls);
        }
        body
    }
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// What to call it
    name: String,

    /// live, test or admin; an admin key manages and cannot call models
    #[arg(long, value_parser = ["live", "test", "admin"], hide_possible_values = true)]
    kind: Option<String>,

    #[command(flatten)]
    fields: KeyFields,
}

pub async fn create(args: CreateArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let mut body = args.fields.new_body(session.now);
    body.insert("name".into(), json!(args.name));
    if let Some(kind) = args.kind {
        body.insert("kind".into(), json!(kind));
    }
    let answer = client.send(Call::post("/keys").json(&body)?.once()?).await?;
    secret::show(session, &answer, "made", &client.url())
}

/// Makes a key for another command to use.
pub async fn mint(client: &Client, name: &str, expires_in: Option<&str>) -> Result<secret::NewSecret, Failure> {
    let mut body = json!({ "name": name });
    if let Some(span) = expires_in {
        body["expires_in"] = json!(span);
    }
    client.send(Call::post("/keys").json(&body)?.once()?).await?.read()
}

#[derive(Args, Debug)]
pub struct ImportArgs {
    /// What to call it
    name: String,

    /// SHA-256 of the whole key in hex, as the other system stored it
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: String,

    /// live or test
    #[arg(long, value_parser = ["live", "test"], hide_possible_values = true)]
    kind: Option<String>,

    #[command(flatten)]
    fields: KeyFields,
}

fn sha256(text: &str) -> Result<String, String> {
    let hex = text.trim().to_ascii_lowercase();
    let good = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(hex) } else { Err("a SHA-256 is 64 hexadecimal digits".into()) }
}

/// On a pipe the answer is the new key's id: its secret is known to whoever had it before.
pub async fn import(args: ImportArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let mut body = args.fields.new_body(session.now);
    body.insert("name".into(), json!(args.name));
    body.insert("sha256".into(), json!(args.sha256));
    if let Some(kind) = args.kind {
        body.insert("kind".into(), json!(kind));
    }
    let answer = client.send(Call::post("/keys/import").json(&body)?.once()?).await?;
    let json = answer.text()?;
    if session.json() {
        return session.terminal.line(json);
    }
    let key: super::Key = client::read(json.as_bytes())?;
    session.terminal.note(&format!("imported {}", key.label()));
    session.terminal.line(&key.id)
}
