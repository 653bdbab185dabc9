//! Changing, disabling, enabling and deleting keys.

use super::make::KeyFields;
use super::{Found, KeyArg, find};
use crate::cli::table::plain;
use crate::cli::{Call, Failure, Session};
use crate::commands::raise::RaiseArgs;
use anykey_core::Span;
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Args, Debug)]
pub struct EditArgs {
    #[command(flatten)]
    which: KeyArg,

    /// A new name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Take a tag away; may be given several times
    #[arg(long = "untag", value_name = "NAME")]
    untag: Vec<String>,

    /// Take all spend limits away
    #[arg(long, conflicts_with = "spend_limits")]
    no_spend_limit: bool,

    #[command(flatten)]
    fields: KeyFields,
}

/// The update carries the version that was read, so that a change made meanwhile is not undone unseen.
pub async fn edit(args: EditArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let Found { key, .. } = find::find(&client, &args.which).await?;
    let mut body = args.fields.body(session.now);
    if let Some(name) = args.name {
        body.insert("name".into(), json!(name));
    }
    if args.no_spend_limit {
        body.insert("spend_limits".into(), json!([]));
    }
    if !args.fields.tags.is_empty() || !args.untag.is_empty() {
        let mut tags = key.tags.clone();
        tags.retain(|name, _| !args.untag.contains(name));
        tags.extend(args.fields.tags.iter().cloned());
        body.insert("tags".into(), json!(tags));
    }
    let mut controls = key.controls.clone();
    if !args.fields.controls.is_empty()
        && let Some(limits) = body.remove("spend_limits")
    {
        set_limits(&mut controls, &limits);
    }
    if let Some(controls) = args.fields.controls.apply(&controls) {
        body.insert("controls".into(), controls);
    }
    if body.is_empty() {
        return Err(Failure::usage("nothing to change was given").hint("anykey help key edit"));
    }
    let call = Call::patch(find::path(&key)).json(&body)?.if_version(key.version.as_ref());
    let answer = client.send(call).await?;
    session.report(&answer, &format!("changed {}", key.label()))
}

#[derive(Args, Debug)]
pub struct RaiseKeyArgs {
    #[command(flatten)]
    which: KeyArg,

    #[command(flatten)]
    raise: RaiseArgs,
}

/// Grants more than a limit for a while.
pub async fn raise(args: RaiseKeyArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let Found { key, .. } = find::find(&client, &args.which).await?;
    let controls = args.raise.apply(&key.controls, session.now)?;
    let call = Call::patch(find::path(&key)).json(&json!({ "controls": controls }))?;
    let answer = client.send(call.if_version(key.version.as_ref())).await?;
    session.report(&answer, &format!("changed the limits of {}", key.label()))
}

/// Limits of money have two names, of which only one can be sent at once.
fn set_limits(controls: &mut Map<String, Value>, limits: &Value) {
    let spend = controls.entry("spend").or_insert_with(|| json!({}));
    for span in Span::ALL {
        let limit = limits.as_array().into_iter().flatten().find(|limit| limit["window"] == span.word());
        spend[span.field()] = limit.map_or(Value::Null, |limit| limit["usd"].clone());
    }
}

pub async fn disable(which: KeyArg, session: &mut Session) -> Result<(), Failure> {
    let id = switch(which, session, "disable", "disabled").await?;
    session.terminal.note(&format!("undo:  anykey key enable {}", plain(&id)));
    Ok(())
}

pub async fn enable(which: KeyArg, session: &mut Session) -> Result<(), Failure> {
    switch(which, session, "enable", "enabled").await.map(drop)
}

/// Gives the key's id, which needs no quotes in a shell as a name may.
async fn switch(which: KeyArg, session: &mut Session, verb: &str, done: &str) -> Result<String, Failure> {
    let client = session.client()?;
    let Found { key, .. } = find::find(&client, &which).await?;
    let answer = client.send(Call::post(format!("{}/{verb}", find::path(&key)))).await?;
    session.report(&answer, &format!("{done} {}", key.label()))?;
    Ok(key.id)
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: KeyArg,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn delete(args: DeleteArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let Found { key, .. } = find::find(&client, &args.which).await?;
    let question = format!("Delete {}? It stops working at once and cannot come back.", plain(&key.label()));
    session.terminal.confirm(&question, args.yes)?;
    let answer = client.send(Call::delete(find::path(&key))).await?;
    session.report(&answer, &format!("deleted {}; its history stays", key.label()))
}
