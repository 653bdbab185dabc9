//! Embeddings: texts or tokens in, unit vectors out, as numbers or as base64.

use std::fmt::Write as _;

use serde_json::Value;

use crate::books::Bill;
use crate::call::Call;
use crate::fault::Fault;
use crate::model::{Kind, Model};
use crate::prompt::Input;
use crate::reply::Reply;
use crate::text::tokens;
use crate::vectors::{MAX_DIMENSIONS, embed, to_base64};

use super::{model_name, number, ok, parse, quoted};

const DEFAULT_DIMENSIONS: u64 = 1536;
/// As many inputs as the real API takes at once.
const MOST_INPUTS: usize = 2048;

/// The words of Voyage, which take the place of some of OpenAI's.
const VOYAGE: [&str; 7] =
    ["model", "input", "input_type", "truncation", "output_dimension", "output_dtype", "encoding_format"];

pub(super) fn answer(call: &Call<'_>, voyage: bool) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    if voyage && call.strict() {
        let foreign = body.as_object().and_then(|members| members.keys().find(|name| !VOYAGE.contains(&name.as_str())));
        if let Some(name) = foreign {
            return Err(Fault::invalid_param(name, format!("Argument '{name}' is not supported by our API")));
        }
    }
    let chosen = call.choose(model_name(&body)?, Kind::Embedding, false)?;
    let inputs = inputs(&body)?;
    let dimensions = number(&body, if voyage { "output_dimension" } else { "dimensions" }, 1, call.strict())?
        .unwrap_or(DEFAULT_DIMENSIONS);
    if dimensions > MAX_DIMENSIONS {
        return Err(Fault::invalid_param(
            "dimensions",
            format!("Invalid value for 'dimensions': must be at most {MAX_DIMENSIONS}."),
        ));
    }
    let base64 = match body.get("encoding_format").and_then(Value::as_str) {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(Fault::invalid_param(
                "encoding_format",
                "Invalid value for 'encoding_format': expected 'float' or 'base64'.",
            ));
        }
    };
    let count = inputs.iter().map(|input| input.tokens).sum::<u64>().max(1);
    let bill = Bill { input: Input { fresh: count, ..Input::default() }, ..Bill::default() };
    let mut out = r#"{"object":"list","data":["#.to_owned();
    for (index, input) in inputs.iter().enumerate() {
        let vector = embed(&input.bytes, dimensions as usize);
        let separator = if index == 0 { "" } else { "," };
        let _ = write!(out, r#"{separator}{{"object":"embedding","index":{index},"embedding":"#);
        match base64 {
            true => {
                let _ = write!(out, r#""{}""#, to_base64(&vector));
            }
            false => push_floats(&mut out, &vector),
        }
        out.push('}');
    }
    let _ = write!(out, r#"],"model":{}"#, quoted(&chosen.name));
    if chosen.model != Model::NoUsage {
        let prompt = if voyage { String::new() } else { format!(r#""prompt_tokens":{count},"#) };
        let _ = write!(out, r#","usage":{{{prompt}"total_tokens":{count}}}"#);
    }
    out.push('}');
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..ok(out) })
}

fn push_floats(out: &mut String, vector: &[f32]) {
    out.push('[');
    for (place, part) in vector.iter().enumerate() {
        let separator = if place == 0 { "" } else { "," };
        let _ = write!(out, "{separator}{part}");
    }
    out.push(']');
}

struct Embeddable {
    bytes: Vec<u8>,
    tokens: u64,
}

fn inputs(body: &Value) -> Result<Vec<Embeddable>, Fault> {
    let wrong = |message: &str| Fault::invalid_param("input", message);
    let inputs = match body.get("input") {
        None | Some(Value::Null) => return Err(wrong("Missing required parameter: 'input'.")),
        Some(Value::String(text)) => vec![of_text(text)],
        Some(Value::Array(all)) if all.first().is_some_and(Value::is_number) => {
            vec![of_tokens(all)]
        }
        Some(Value::Array(all)) => all.iter().filter_map(one).collect(),
        Some(_) => Vec::new(),
    };
    let asked = body.get("input").and_then(Value::as_array);
    let all_read = asked.is_none_or(|asked| asked.first().is_some_and(Value::is_number) || asked.len() == inputs.len());
    if inputs.is_empty() || !all_read || inputs.iter().any(|input| input.bytes.is_empty()) {
        return Err(wrong(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
        ));
    }
    if inputs.len() > MOST_INPUTS {
        return Err(wrong("Invalid 'input': array too long. Expected an array with maximum length 2048."));
    }
    Ok(inputs)
}

fn one(input: &Value) -> Option<Embeddable> {
    match input {
        Value::String(text) => Some(of_text(text)),
        Value::Array(all) => Some(of_tokens(all)),
        _ => None,
    }
}

fn of_text(text: &str) -> Embeddable {
    Embeddable { bytes: text.as_bytes().to_vec(), tokens: tokens(text.len()) }
}

fn of_tokens(all: &[Value]) -> Embeddable {
    Embeddable {
        bytes: all.iter().flat_map(|token| token.as_u64().unwrap_or(0).to_le_bytes()).collect(),
        tokens: all.len() as u64,
    }
}
