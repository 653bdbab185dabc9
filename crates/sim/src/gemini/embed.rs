//! embedContent and batchEmbedContents.

use http::StatusCode;
use serde_json::{Value, json};

use crate::books::Bill;
use crate::call::{Call, Chosen};
use crate::fault::Fault;
use crate::model::{Kind, Model};
use crate::prompt::Meter;
use crate::reply::Reply;
use crate::vectors::{MAX_DIMENSIONS, embed};

use super::read::{field, weigh};
use super::{json_reply, parse};

const DEFAULT_DIMENSIONS: u64 = 3072;
/// As many requests as the real API takes in a batch.
const MOST_REQUESTS: usize = 100;

pub(super) fn one(call: &Call<'_>, model: &str) -> Result<Reply, Fault> {
    let chosen = call.choose(model, Kind::Embedding, false)?;
    let body = parse(call.body)?;
    let mut meter = Meter::default();
    let embedding = embedding(&body, &mut meter)?;
    Ok(reply(chosen, json!({ "embedding": embedding }), &meter))
}

pub(super) fn many(call: &Call<'_>, model: &str) -> Result<Reply, Fault> {
    let chosen = call.choose(model, Kind::Embedding, false)?;
    let body = parse(call.body)?;
    let requests = match body.get("requests").and_then(Value::as_array) {
        Some(requests) if !requests.is_empty() => requests,
        _ => {
            return Err(Fault::invalid("* BatchEmbedContentsRequest.requests: requests is not specified\n"));
        }
    };
    if requests.len() > MOST_REQUESTS {
        return Err(Fault::invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n"));
    }
    let mut meter = Meter::default();
    let mut embeddings = Vec::with_capacity(requests.len());
    for (at, request) in requests.iter().enumerate() {
        let named = request.get("model").and_then(Value::as_str);
        let matches = named.is_some_and(|named| named.strip_prefix("models/").unwrap_or(named) == model);
        if call.strict() && !matches {
            return Err(Fault::invalid(format!(
                "* BatchEmbedContentsRequest.requests[{at}].model: model does not match the model in the batch request\n"
            )));
        }
        embeddings.push(embedding(request, &mut meter)?);
    }
    Ok(reply(chosen, json!({ "embeddings": embeddings }), &meter))
}

fn embedding(request: &Value, meter: &mut Meter) -> Result<Value, Fault> {
    let content = request.get("content");
    let text = weigh(content.unwrap_or(&Value::Null), meter);
    if text.is_empty() {
        return Err(Fault::invalid("* EmbedContentRequest.content: contents is not specified\n"));
    }
    let config = field(request, "embedContentConfig").unwrap_or(request);
    let dimensions = match field(config, "outputDimensionality") {
        None | Some(Value::Null) => DEFAULT_DIMENSIONS,
        Some(asked) => match asked.as_u64() {
            Some(asked) if (1..=MAX_DIMENSIONS).contains(&asked) => asked,
            _ => {
                return Err(Fault::invalid(format!(
                    "* EmbedContentRequest.output_dimensionality: must be from 1 to {MAX_DIMENSIONS}\n"
                )));
            }
        },
    };
    Ok(json!({"values": embed(text.as_bytes(), dimensions as usize)}))
}

fn reply(chosen: Chosen, mut body: Value, meter: &Meter) -> Reply {
    let input = meter.plain();
    if chosen.model != Model::NoUsage {
        body["usageMetadata"] = json!({"promptTokenCount": input.total()});
    }
    Reply {
        bill: Bill { input, ..Bill::default() },
        model: Some((chosen.model, chosen.name)),
        control: chosen.control,
        ..json_reply(StatusCode::OK, body.to_string())
    }
}
