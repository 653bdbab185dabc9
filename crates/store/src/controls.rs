//! Policy as it is stored: JSON text, NULL where it says nothing.

use crate::audit::who_acts;
use crate::db::{Row, Value, damaged};
use crate::error::Result;
use crate::error::StoreError;
use anykey_core::Nanos;
use anykey_core::controls::{Bound, Controls, Level};
use anykey_core::spend::{INCREASES, Increase};
use std::sync::Arc;

pub(crate) fn read(row: &mut Row) -> Result<Option<Controls>> {
    let text: Option<String> = row.take()?;
    text.map(|text| Controls::from_json(&text).map_err(|_| damaged("controls are not what this program writes")))
        .transpose()
}

/// The policy of a key without its limit over all time, which has a column of its own beside what was spent of it. Where
/// both are set the lower one holds, as it did when they were two.
pub(crate) fn split_total(controls: Option<Controls>, column: Option<Nanos>) -> (Option<Controls>, Option<Nanos>) {
    let Some(mut controls) = controls else { return (None, column) };
    let total = controls.spend.total.take();
    (some(controls), total.into_iter().chain(column).min())
}

/// A policy that takes the place of another one: increases that are new in it are granted by whoever acts now, those that
/// were there stay as they were granted, and what has ended goes.
pub(crate) fn adopt(old: &Controls, mut new: Controls, now: i64) -> Result<Controls> {
    let invalid = |why: &str| Err(StoreError::invalid("controls", format!("`spend.increases` {why}")));
    let mut kept = Vec::with_capacity(new.spend.increases.len());
    for asked in std::mem::take(&mut new.spend.increases) {
        match old.spend.increases.iter().find(|had| had.is_same(&asked)) {
            Some(had) if had.until > now => kept.push(had.clone()),
            Some(_) => {}
            None if asked.until <= now => return invalid("has one whose end is in the past"),
            None if new.spend.get(asked.window).is_none() => return invalid("raises a limit that is not set"),
            None => kept.push(Increase { granted_by: who_acts(), granted_at: now, ..asked }),
        }
    }
    if kept.len() > INCREASES {
        return invalid(&format!("has more than {INCREASES} entries"));
    }
    new.spend.increases = kept;
    Ok(new)
}

/// What a policy is after a change that may name another.
pub(crate) fn after(old: &Controls, new: Option<Controls>, now: i64) -> Result<Option<Controls>> {
    Ok(some(match new {
        Some(new) => adopt(old, new, now)?,
        None => old.clone(),
    }))
}

/// The policy of what is made.
pub(crate) fn of_new(new: Controls, now: i64) -> Result<Option<Controls>> {
    after(&Controls::default(), Some(new), now)
}

/// Controls that say something.
pub(crate) fn some(controls: Controls) -> Option<Controls> {
    (!controls.is_open()).then_some(controls)
}

pub(crate) fn text(controls: Option<&Controls>) -> Value {
    Value::from(&controls.map(Controls::to_json))
}

/// The controls of something above keys, as the path of a call checks them; `None` where they bound nothing.
pub(crate) fn bound(level: Level, id: [u8; 16], name: &str, controls: Option<&Controls>) -> Option<Bound> {
    let controls = controls.filter(|controls| !controls.is_open())?;
    Some(Bound { level, id, name: name.into(), controls: Arc::new(controls.clone()) })
}
