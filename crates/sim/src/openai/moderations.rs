//! Moderations: whether a text, or a text with pictures, speaks of what it should not.

use serde_json::{Map, Value, json};

use crate::books::Bill;
use crate::call::Call;
use crate::fault::Fault;
use crate::model::Kind;
use crate::prompt::Input;
use crate::reply::Reply;
use crate::text::{id, tokens};

use super::{model_name, ok, parse};

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    // OpenAI knows a model by itself where none is named.
    let name = if body.get("model").is_some() { model_name(&body)? } else { "omni-moderation-latest" };
    let chosen = call.choose(name, Kind::Moderation, false)?;
    let texts = texts(&body)?;
    let count = texts.iter().map(|text| tokens(text.len())).sum::<u64>().max(1);
    let results: Vec<Value> = texts.iter().map(|text| judged(text)).collect();
    let out = json!({ "id": id("modr-", 24, call.seed), "model": chosen.name, "results": results });
    let bill = Bill { input: Input { fresh: count, ..Input::default() }, ..Bill::default() };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..ok(out.to_string()) })
}

/// One result for each text; a list of parts is one thing to judge.
fn texts(body: &Value) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::invalid_param("input", "'$.input' is invalid. Please check the API reference.");
    match body.get("input") {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(all)) if all.iter().all(Value::is_string) && !all.is_empty() => {
            Ok(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Some(Value::Array(parts)) if !parts.is_empty() => {
            let text = |part: &Value| match part["type"].as_str() {
                Some("text") => part["text"].as_str().map(str::to_owned),
                Some("image_url") => part["image_url"]["url"].as_str().map(|_| String::new()),
                _ => None,
            };
            let parts: Option<Vec<String>> = parts.iter().map(text).collect();
            Ok(vec![parts.ok_or_else(wrong)?.concat()])
        }
        None | Some(Value::Null) => Err(Fault::invalid_param("input", "Missing required parameter: 'input'.")),
        Some(_) => Err(wrong()),
    }
}

fn judged(text: &str) -> Value {
    let violent = text.to_lowercase().contains("violence");
    let mut categories = Map::new();
    let mut scores = Map::new();
    let mut applied = Map::new();
    for name in CATEGORIES {
        let hit = violent && name == "violence";
        categories.insert(name.to_owned(), hit.into());
        scores.insert(name.to_owned(), if hit { 0.99.into() } else { 0.01.into() });
        applied.insert(name.to_owned(), json!(["text"]));
    }
    json!({
        "flagged": violent,
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": applied,
    })
}
