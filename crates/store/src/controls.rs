//! Policy as it is stored: JSON text, NULL where it says nothing.

use crate::db::{Row, Value, damaged};
use crate::error::Result;
use anykey_core::Nanos;
use anykey_core::controls::{Bound, Controls, Level};
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
