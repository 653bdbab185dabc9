//! Temporary keys, minted by whoever manages the key that they come from.

use super::{KeyArg, find, secret};
use crate::cli::table::plain;
use crate::cli::{Call, Failure, Session};
use anykey_core::Scope;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

/// What a temporary key may, of what the key may that it is minted from.
#[derive(Args, Debug, Default)]
pub struct TempFields {
    /// The most that it may spend, in dollars [default: what the key that it is minted from may]
    #[arg(long, alias = "spend-limit", value_name = "USD", value_parser = usd)]
    budget: Option<String>,

    /// How long it lives at most, such as 30m or 4h; at most 24h
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub ttl: String,

    /// Only these models, such as openai/gpt-* (several times for several)
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,

    /// The most requests that it may make in its life
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,

    /// The most calls or sessions that may run at a time
    #[arg(long, value_name = "N")]
    max_concurrent: Option<u64>,

    /// What it may do, of what the other may (several times for several)
    #[arg(long = "scope", value_name = "SCOPE",
        value_parser = PossibleValuesParser::new(Scope::ALL.into_iter().filter(|s| *s != Scope::Admin).map(Scope::name)))]
    scopes: Vec<String>,

    /// The one address that may use it
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
}

fn usd(text: &str) -> Result<String, String> {
    anykey_core::Nanos::parse_usd(text).map(|amount| amount.to_string()).map_err(|why| why.to_string())
}

impl TempFields {
    /// The fields that were given, as the API names them.
    pub fn body(&self, name: Option<&str>) -> Map<String, Value> {
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| json!(list));
        let fields = [
            ("name", name.map(|name| json!(name))),
            ("expires_in", Some(json!(self.ttl))),
            ("spend_limit_usd", self.budget.as_ref().map(|usd| json!(usd))),
            ("max_requests", self.max_requests.map(|most| json!(most))),
            ("max_concurrent", self.max_concurrent.map(|most| json!(most))),
            ("models", some(&self.models)),
            ("scopes", some(&self.scopes)),
            ("ip", self.ip.as_ref().map(|ip| json!(ip))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[derive(Args, Debug)]
pub struct TempArgs {
    #[command(flatten)]
    parent: KeyArg,

    /// What to call it [default: temporary]
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    fields: TempFields,

    /// Web pages may use it
    #[arg(long)]
    browser_allowed: bool,
}

pub async fn temp(args: TempArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let parent = find::find(&client, &args.parent).await?.key;
    let mut body = args.fields.body(args.name.as_deref());
    if args.browser_allowed {
        body.insert("browser_allowed".into(), json!(true));
    }
    let call = Call::post(format!("{}/temp", find::path(&parent))).json(&Value::Object(body))?.once()?;
    let answer = client.send(call).await?;
    let done = format!("minted from {}, for at most {}:", plain(&parent.label()), args.fields.ttl);
    secret::show(session, &answer, &done, &client.url())
}
