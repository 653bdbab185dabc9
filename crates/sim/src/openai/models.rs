//! OpenAI's list of models.

use serde_json::{Value, json};

use crate::fault::{Fault, FaultKind};
use crate::model::{Model, SimModel, models};
use crate::reply::Reply;
use crate::text::percent_decode;

use super::ok;

/// When the models "came out": 2026-01-01.
const CREATED: u64 = 1_767_225_600;

pub(super) fn list() -> Reply {
    let data: Vec<Value> = models().iter().map(card).collect();
    ok(json!({"object": "list", "data": data}).to_string())
}

pub(super) fn one(name: &str) -> Result<Reply, Fault> {
    let name = percent_decode(name);
    match name.parse::<Model>() {
        Ok(model) => Ok(ok(card(model.card()).to_string())),
        Err(()) => {
            let shown: String = name.chars().take(64).collect();
            Err(Fault::new(FaultKind::ModelNotFound, shown))
        }
    }
}

fn card(model: &SimModel) -> Value {
    json!({"id": model.name, "object": "model", "created": CREATED, "owned_by": "practice"})
}
