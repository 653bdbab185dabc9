//! Rerank, which OpenAI has not: in the words of Jina (`/v1/rerank`), Cohere (`/v2/rerank`) and Voyage, who has a folder
//! of its own here since its path is Jina's.

use serde_json::{Value, json};

use crate::books::Bill;
use crate::call::Call;
use crate::fault::Fault;
use crate::model::{Kind, Model};
use crate::prompt::Input;
use crate::reply::Reply;
use crate::text::{id, tokens};

use super::{model_name, number, ok, parse};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Jina,
    Cohere,
    Voyage,
}

impl Shape {
    pub(super) fn of(path: &str) -> Option<Shape> {
        match path {
            "/v1/rerank" => Some(Shape::Jina),
            "/v2/rerank" => Some(Shape::Cohere),
            "/voyage/v1/rerank" => Some(Shape::Voyage),
            _ => None,
        }
    }

    /// The members that each takes beside the three that all take.
    fn members(self) -> &'static [&'static str] {
        match self {
            Shape::Jina => &["top_n", "return_documents"],
            Shape::Cohere => &["top_n", "max_tokens_per_doc", "priority"],
            Shape::Voyage => &["top_k", "return_documents", "truncation"],
        }
    }
}

pub(super) fn answer(call: &Call<'_>, path: &str) -> Result<Reply, Fault> {
    let shape = Shape::of(path).unwrap_or(Shape::Jina);
    let body = parse(call.body)?;
    let chosen = call.choose(model_name(&body)?, Kind::Rerank, false)?;
    if call.strict() {
        check(&body, shape)?;
    }
    let query =
        body.get("query").and_then(Value::as_str).ok_or_else(|| Fault::invalid_param("query", "query is required"))?;
    let documents = documents(&body, shape)?;
    let limit = number(&body, if shape == Shape::Voyage { "top_k" } else { "top_n" }, 1, call.strict())?;
    let ranked = rank(query, &documents, limit);
    // Who counts tokens counts the query again for each document.
    let texts = documents.iter().map(|document| tokens(document.len())).sum::<u64>();
    let count = texts + tokens(query.len()) * documents.len() as u64;
    let default_returned = shape == Shape::Jina;
    let returned = body.get("return_documents").and_then(Value::as_bool).unwrap_or(default_returned);
    let place = |(index, score): &(usize, f64)| {
        let mut place = json!({ "index": index, "relevance_score": score });
        if returned {
            place["document"] = match shape {
                Shape::Voyage => json!(documents[*index]),
                _ => json!({ "text": documents[*index] }),
            };
        }
        place
    };
    let results: Vec<Value> = ranked.iter().map(place).collect();
    let usage = (chosen.model != Model::NoUsage).then(|| json!({ "total_tokens": count }));
    let out = match shape {
        Shape::Jina => json!({ "model": chosen.name, "object": "list", "usage": usage, "results": results }),
        Shape::Voyage => json!({ "object": "list", "data": results, "model": chosen.name, "usage": usage }),
        Shape::Cohere => {
            let searches = documents.len().div_ceil(100);
            let units = usage.map(|_| json!({ "search_units": searches }));
            json!({
                "id": id("", 32, call.seed),
                "results": results,
                "meta": { "api_version": { "version": "2" }, "billed_units": units },
            })
        }
    };
    let bill = Bill { input: Input { fresh: count, ..Input::default() }, ..Bill::default() };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..ok(out.to_string()) })
}

/// A member of another shape, or one that nobody knows, is refused: a sloppy gateway is to be found out.
fn check(body: &Value, shape: Shape) -> Result<(), Fault> {
    let known = |name: &str| ["model", "query", "documents"].contains(&name) || shape.members().contains(&name);
    match body.as_object().and_then(|members| members.keys().find(|name| !known(name))) {
        Some(name) => Err(Fault::invalid_param(name, format!("unknown field: {name}"))),
        None => Ok(()),
    }
}

fn documents(body: &Value, shape: Shape) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::invalid_param("documents", "documents must be a list of texts");
    let text = |document: &Value| match document {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) if shape == Shape::Jina => object.get("text")?.as_str().map(str::to_owned),
        _ => None,
    };
    let documents = body.get("documents").and_then(Value::as_array).ok_or_else(wrong)?;
    let texts: Option<Vec<String>> = documents.iter().map(text).collect();
    texts.filter(|texts| !texts.is_empty()).ok_or_else(wrong)
}

/// By how many of the query's words a document has, the first of equals before the next.
fn rank(query: &str, documents: &[String], limit: Option<u64>) -> Vec<(usize, f64)> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let score = |document: &String| {
        let document = document.to_lowercase();
        let hits = words.iter().filter(|word| document.contains(word.as_str())).count();
        hits as f64 / words.len().max(1) as f64
    };
    let mut ranked: Vec<(usize, f64)> = documents.iter().map(score).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(limit.map_or(usize::MAX, |n| n as usize));
    ranked
}
