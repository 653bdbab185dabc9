//! Reads a message.

use super::words;
use crate::translate::form::{Answer, Block, Body, Candidate, Citation};
use crate::translate::openai::NO_ARGUMENTS;
use crate::translate::seal::{Origin, Signature};
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

/// What is named of blocks that the form has no place for.
pub const LEFT_OUT: &str = "answer.content[]";

/// A model may well say nothing, but not in a message without a place for it.
pub fn read(mut body: Object) -> Result<Answer, Unread> {
    let Json::Array(content) = body.take("content") else { return Err(Unread::NotIts) };
    let held = content.len();
    let blocks: Vec<Block> = content.into_iter().filter_map(|b| block(b.into_object())).map(Block::from).collect();
    let left_out = if blocks.len() < held { vec![LEFT_OUT] } else { Vec::new() };
    let sequence = body.take("stop_sequence").into_string();
    let word = body.take("stop_reason").into_string().unwrap_or_default();
    let candidate = Candidate { blocks, stop: words::stop(&word, sequence), logprobs: Json::Null };
    Ok(Answer { id: body.take("id").into_string().unwrap_or_default(), candidates: vec![candidate], left_out })
}

/// A block, whole or as it begins in a stream; `None` for those that anykey never asks for.
pub fn block(mut block: Object) -> Option<Body> {
    let mut text = |name: &str| block.take(name).into_string().unwrap_or_default();
    let kind = text("type");
    Some(match kind.as_str() {
        "text" => {
            let text = text("text");
            Body::Text { text, citations: block.take("citations").list().iter().filter_map(citation).collect() }
        }
        "thinking" => {
            let signature = Some(text("signature")).filter(|s| !s.is_empty());
            let signature = signature.map(|data| Signature::new(Origin::Anthropic, data));
            Body::Thinking { text: text("thinking"), signature }
        }
        "redacted_thinking" => {
            Body::Thinking { text: String::new(), signature: Some(Signature::new(Origin::Redacted, text("data"))) }
        }
        "tool_use" => {
            let (id, name) = (text("id"), text("name"));
            let input = block.take("input");
            let arguments = if input.is_null() { NO_ARGUMENTS.to_owned() } else { input.text() };
            Body::ToolUse { id, name, arguments, signature: None }
        }
        _ => return None,
    })
}

/// A citation of something on the web; those of the caller's own documents have no address.
pub fn citation(cited: &Json) -> Option<Citation> {
    Some(Citation {
        url: cited.at("url").str()?.to_owned(),
        title: cited.at("title").str().map(str::to_owned),
        range: None,
    })
}
