//! Keys as they are shown: in a list, and one in full.

use super::{KeyArg, find};
use crate::cli::values;
use crate::cli::when::Span;
use crate::cli::{Call, Cell, Client, Column, Failure, Session};
use crate::commands::paging::PageArgs;
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the admin API says of a key, as far as it is shown or needed here.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub kind: Option<String>,
    pub status: Option<String>,
    pub masked: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub owner: Option<String>,
    pub owner_id: Option<String>,
    pub owner_label: Option<String>,
    pub creator: Option<String>,
    pub organisation: Option<String>,
    pub organisation_id: Option<String>,
    pub project: Option<String>,
    pub controls: serde_json::Map<String, serde_json::Value>,
    pub closed_by: Option<String>,
    pub rotation_asked_at: Option<String>,
    pub environment: Option<String>,
    pub scopes: Vec<String>,
    pub browser_allowed: bool,
    pub spend_limits: Vec<Limit>,
    pub spent_usd: Option<String>,
    pub expires_at: Option<String>,
    pub created_at: Option<String>,
    pub last_used_at: Option<String>,
    pub note: Option<String>,
    pub rotation_interval_days: Option<u64>,
    pub review_at: Option<String>,
    pub rotate_at: Option<String>,
    pub exposed_at: Option<String>,
    pub parent_id: Option<String>,
    pub max_requests: Option<u64>,
    pub version: Option<serde_json::Value>,
    pub secrets: Vec<KeySecret>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Limit {
    window: String,
    usd: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct KeySecret {
    masked: String,
    state: String,
    created_at: Option<String>,
    first_used_at: Option<String>,
    last_used_at: Option<String>,
    last_ip: Option<String>,
    expires_at: Option<String>,
}

impl Key {
    /// `ci (key_01...)`
    pub fn label(&self) -> String {
        format!("{} ({})", self.name, self.id)
    }

    fn limits(&self) -> String {
        let shown = |limit: &Limit| match limit.window.as_str() {
            "total" => limit.usd.clone(),
            window => format!("{}/{window}", limit.usd),
        };
        self.spend_limits.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    fn tag_list(&self) -> String {
        self.tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// Who answers for it, or else who was written down.
    fn owner(&self) -> Cell {
        Cell::maybe(if self.owner_label.is_some() { &self.owner_label } else { &self.owner })
    }

    fn status_cell(&self) -> Cell {
        Cell::Status(self.status.clone().unwrap_or_default())
    }
}

const COLUMNS: &[Column<Key>] = &[
    Column::for_programs("id", |k| Cell::text(&k.id)),
    Column::new("name", "NAME", |k| Cell::text(&k.name)),
    Column::new("status", "STATUS", Key::status_cell),
    Column::for_programs("kind", |k| Cell::maybe(&k.kind)),
    Column::new("spent_usd", "SPENT", |k| Cell::Usd(Some(k.spent_usd.clone().unwrap_or_else(|| "0".into())))),
    Column::new("spend_limits", "LIMIT", |k| Cell::text(k.limits())),
    Column::new("last_used_at", "LAST USED", |k| Cell::Time(k.last_used_at.clone(), "never")),
    Column::new("expires_at", "EXPIRES", |k| Cell::Time(k.expires_at.clone(), "never")),
    Column::new("owner", "OWNER", Key::owner),
    Column::for_programs("project", |k| Cell::maybe(&k.project)),
    Column::new("masked", "KEY", |k| Cell::maybe(&k.masked)),
    Column::for_programs("created_at", |k| Cell::maybe(&k.created_at)),
];

const SECRET_COLUMNS: &[Column<KeySecret>] = &[
    Column::new("masked", "SECRET", |s| Cell::text(&s.masked)),
    Column::new("state", "STATE", |s| Cell::Status(s.state.clone())),
    Column::new("created_at", "MADE", |s| Cell::Time(s.created_at.clone(), "–")),
    Column::new("first_used_at", "FIRST USED", |s| Cell::Time(s.first_used_at.clone(), "never")),
    Column::new("last_used_at", "LAST USED", |s| Cell::Time(s.last_used_at.clone(), "never")),
    Column::new("last_ip", "FROM", |s| Cell::maybe(&s.last_ip)),
    Column::new("expires_at", "ENDS", |s| Cell::Time(s.expires_at.clone(), "–")),
];

/// Which keys are meant.
#[derive(Args, Debug, Default)]
pub struct FilterArgs {
    /// Only keys whose name, description or masked form contains this
    #[arg(long, short = 'S', value_name = "TEXT")]
    search: Option<String>,

    /// active, disabled, expired, rotating or revoked
    #[arg(long)]
    status: Option<String>,

    /// live, test, temp, admin
    #[arg(long)]
    kind: Option<String>,

    /// Only keys of this owner: what was written, or an id (mem_... or svc_...)
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Only keys of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,

    #[arg(long, help = "Only keys of this project")]
    project: Option<String>,

    /// Only keys of this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// Only the temporary keys of this key: its name or id
    #[arg(long, value_name = "KEY")]
    parent: Option<String>,

    /// Only keys with this tag
    #[arg(long, value_name = "NAME[=VALUE]")]
    tag: Option<String>,

    /// Only keys that nobody has used for so long, the longest first: 30d
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    unused: Option<Span>,

    /// Only keys that end within this, the soonest first: 14d
    #[arg(long, value_name = "SPAN", value_parser = values::span, conflicts_with = "unused")]
    expiring: Option<Span>,

    /// Only keys that are to be reviewed within this, the soonest first: 7d
    #[arg(long, value_name = "SPAN", value_parser = values::span, conflicts_with_all = ["unused", "expiring"])]
    review: Option<Span>,

    /// Only keys that are to be rotated within this, the soonest first: 7d
    #[arg(long, value_name = "SPAN", value_parser = values::span, conflicts_with_all = ["unused", "expiring", "review"])]
    rotation: Option<Span>,
}

impl FilterArgs {
    /// The parameters that were given, as the API names them.
    pub async fn fields(self, client: &Client) -> Result<Vec<(&'static str, String)>, Failure> {
        let parent = super::id_of(client, self.parent.as_deref()).await?;
        let span = |span: Option<Span>| span.map(|span| span.to_string());
        let given = [
            ("q", self.search),
            ("status", self.status),
            ("kind", self.kind),
            ("owner", self.owner),
            ("organisation", self.org),
            ("project", self.project),
            ("environment", self.environment),
            ("parent", parent),
            ("tag", self.tag),
            ("unused", span(self.unused)),
            ("expiring", span(self.expiring)),
            ("review", span(self.review)),
            ("rotation", span(self.rotation)),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    page: PageArgs,
}

pub async fn list(args: ListArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let fields = args.filter.fields(&client).await?;
    let call = fields.into_iter().fold(Call::get("/keys"), |call, (name, value)| call.query(name, value));
    let listing = client.list(call, args.page.limit()).await?;
    session.print_list(&listing, COLUMNS)
}

pub async fn show(which: KeyArg, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let found = find::find(&client, &which).await?;
    session.print_object(&found.json, details)?;
    // A pipe gets one table, not two; a program that wants the secrets reads them with --json.
    if session.terminal.out_is_tty && !session.json() && !found.key.secrets.is_empty() {
        session.terminal.line("")?;
        session.print_rows(&found.key.secrets, SECRET_COLUMNS)?;
    }
    Ok(())
}

pub fn details(key: &Key) -> Vec<(&'static str, Cell)> {
    let time = |at: &Option<String>| Cell::Time(at.clone(), "never");
    let mut rows = vec![
        ("id", Cell::text(&key.id)),
        ("name", Cell::text(&key.name)),
        ("status", key.status_cell()),
        ("kind", Cell::maybe(&key.kind)),
        ("masked", Cell::maybe(&key.masked)),
        ("scopes", Cell::list(&key.scopes)),
        ("spent_usd", Cell::Usd(Some(key.spent_usd.clone().unwrap_or_else(|| "0".into())))),
        ("spend_limits", Cell::text(key.limits())),
        ("browser_allowed", Cell::text(if key.browser_allowed { "yes" } else { "no" })),
        ("expires_at", time(&key.expires_at)),
        ("created_at", time(&key.created_at)),
        ("last_used_at", time(&key.last_used_at)),
    ];
    let optional = [
        ("description", Cell::maybe(&key.description)),
        ("closed_by", Cell::maybe(&key.closed_by)),
        ("owner", Cell::maybe(&key.owner)),
        ("owner_id", Cell::maybe(&key.owner_id)),
        ("owner_label", Cell::maybe(&key.owner_label)),
        ("creator", Cell::maybe(&key.creator)),
        ("organisation", Cell::maybe(&key.organisation)),
        ("project", Cell::maybe(&key.project)),
        ("environment", Cell::maybe(&key.environment)),
        ("parent_id", Cell::maybe(&key.parent_id)),
        ("max_requests", key.max_requests.map_or_else(|| Cell::text(""), Cell::Count)),
        ("tags", Cell::text(key.tag_list())),
        ("note", Cell::maybe(&key.note)),
        ("rotation_interval_days", key.rotation_interval_days.map_or_else(|| Cell::text(""), Cell::Count)),
    ];
    rows.extend(optional.into_iter().filter(|(_, cell)| *cell != Cell::text("")));
    if !key.controls.is_empty() {
        rows.push(("controls", Cell::text(serde_json::Value::from(key.controls.clone()).to_string())));
    }
    let times = [
        ("rotate_at", &key.rotate_at),
        ("review_at", &key.review_at),
        ("exposed_at", &key.exposed_at),
        ("rotation_asked_at", &key.rotation_asked_at),
    ];
    rows.extend(times.into_iter().filter(|(_, at)| at.is_some()).map(|(name, at)| (name, time(at))));
    rows
}
