//! Reads a response.

use crate::translate::form::{Answer, Block, Body, Candidate, Citation, Stop};
use crate::translate::seal::{Origin, Signature};
use crate::value::{Json, Object};

pub fn read(body: Json) -> Answer {
    let mut body = body.into_object();
    let mut blocks: Vec<Block> = Vec::new();
    let mut logprobs = Json::Null;
    for item in body.take("output").into_list() {
        read_item(item.into_object(), &mut blocks, &mut logprobs);
    }
    let stop = stop(&body, blocks.iter().any(|block| matches!(block.body, Body::ToolUse { .. })));
    let id = body.take("id").into_string().unwrap_or_default();
    Answer { id, candidates: vec![Candidate { blocks, stop, logprobs }] }
}

/// Why it stopped, from the whole response.
pub fn stop(response: &Object, called: bool) -> Stop {
    let reason = response.get("incomplete_details").unwrap_or(&Json::Null).at("reason");
    match reason.str() {
        Some("max_output_tokens") => Stop::Length,
        Some("content_filter") => Stop::Refused,
        _ if called => Stop::ToolUse,
        _ => Stop::End,
    }
}

fn read_item(mut item: Object, blocks: &mut Vec<Block>, logprobs: &mut Json) {
    match item.take("type").str() {
        Some("message") => {
            for part in item.take("content").into_list() {
                if !part.at("logprobs").list().is_empty() {
                    *logprobs = Object::new().with("content", part.at("logprobs").clone()).into();
                }
                blocks.extend(read_part(&part).map(Block::from));
            }
        }
        Some("function_call") => blocks.push(read_call(&mut item).into()),
        Some("reasoning") => blocks.push(read_reasoning(&mut item).into()),
        _ => {}
    }
}

/// A part of a message, whole or as it begins in a stream.
pub fn read_part(part: &Json) -> Option<Body> {
    match part.at("type").str()? {
        "output_text" => Some(Body::Text {
            text: part.at("text").str().unwrap_or_default().to_owned(),
            citations: part.at("annotations").list().iter().filter_map(citation).collect(),
        }),
        "refusal" => Some(Body::Refusal(part.at("refusal").str().unwrap_or_default().to_owned())),
        _ => None,
    }
}

pub fn read_call(item: &mut Object) -> Body {
    Body::ToolUse {
        id: item.take("call_id").into_string().unwrap_or_default(),
        name: item.take("name").into_string().unwrap_or_default(),
        arguments: item.take("arguments").into_string().filter(|a| !a.is_empty()).unwrap_or_else(|| "{}".to_owned()),
        signature: None,
    }
}

pub fn read_reasoning(item: &mut Object) -> Body {
    let signature = signature(item);
    let summary = item.take("summary").into_list();
    let texts: Vec<&str> = summary.iter().filter_map(|part| part.at("text").str()).collect();
    Body::Thinking { text: texts.join("\n\n"), signature }
}

/// What is encrypted is read again under the item's own id.
pub fn signature(item: &Object) -> Option<Signature> {
    let encrypted = item.get("encrypted_content")?.str()?;
    let id = item.get("id").and_then(Json::str).unwrap_or_default();
    Some(Signature::new(Origin::OpenAi, format!("{id}:{encrypted}")))
}

pub fn citation(annotation: &Json) -> Option<Citation> {
    Some(Citation {
        url: annotation.at("url").str()?.to_owned(),
        title: annotation.at("title").str().map(str::to_owned),
        range: annotation.at("start_index").count().zip(annotation.at("end_index").count()),
    })
}
