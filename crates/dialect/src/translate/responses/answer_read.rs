//! Reads a response.

use crate::translate::form::{Answer, Block, Body, Candidate, Citation, Stop};
use crate::translate::openai;
use crate::translate::seal::{Origin, Signature};
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

/// What is named of items that the form has no place for.
pub const LEFT_OUT: &str = "answer.output[]";

pub fn read(mut body: Object) -> Result<Answer, Unread> {
    let Json::Array(output) = body.take("output") else { return Err(Unread::NotIts) };
    let mut said = Said::default();
    for item in output {
        said.item(item.into_object());
    }
    let stop = stop(&body, said.blocks.iter().any(|block| matches!(block.body, Body::ToolUse { .. })))?;
    let logprobs = match said.logprobs {
        tokens if tokens.is_empty() => Json::Null,
        tokens => Object::new().with("content", tokens).into(),
    };
    let id = body.take("id").into_string().unwrap_or_default();
    let candidates = vec![Candidate { blocks: said.blocks, stop, logprobs }];
    Ok(Answer { id, candidates, left_out: said.left_out.into_iter().collect() })
}

/// Why it stopped, from the whole response. One that failed, was called off or is still under way has not.
pub fn stop(response: &Object, called: bool) -> Result<Stop, Unread> {
    let status = response.get("status").and_then(Json::str);
    let reason = response.get("incomplete_details").unwrap_or(&Json::Null).at("reason").str();
    match (reason, status) {
        (Some("max_output_tokens"), _) => Ok(Stop::Length),
        (Some("content_filter"), _) => Ok(Stop::Refused),
        (Some(reason), Some("incomplete")) => Err(Unread::stopped(reason)),
        (_, Some(status @ ("failed" | "cancelled" | "incomplete" | "queued" | "in_progress"))) => {
            Err(Unread::stopped(status))
        }
        _ if called => Ok(Stop::ToolUse),
        _ => Ok(Stop::End),
    }
}

/// What the items of the output say.
#[derive(Default)]
struct Said {
    blocks: Vec<Block>,
    logprobs: Vec<Json>,
    left_out: Option<&'static str>,
}

impl Said {
    fn item(&mut self, mut item: Object) {
        match item.take("type").str() {
            Some("message") => {
                for mut part in item.take("content").into_list() {
                    self.blocks.extend(read_part(&part).map(Block::from));
                    if let Json::Object(part) = &mut part {
                        self.logprobs.extend(part.take("logprobs").into_list());
                    }
                }
            }
            Some("function_call") => self.blocks.push(read_call(&mut item).into()),
            Some("reasoning") => self.blocks.push(read_reasoning(&mut item).into()),
            _ => self.left_out = Some(LEFT_OUT),
        }
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
        arguments: openai::arguments(item.take("arguments").into_string().unwrap_or_default()),
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
