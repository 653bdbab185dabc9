//! Writes a response.

use super::items;
use crate::translate::form::{Answer, Body};
use crate::translate::reply::Reply;
use crate::translate::{ids, seal};
use crate::value::{Json, Object};
use anykey_core::Usage;

pub fn write(answer: Answer, usage: Option<&Usage>, reply: &Reply) -> Object {
    let id = reply.answer_id(&answer.id);
    // There is one: a call that asks for several is refused.
    let candidate = answer.candidates.into_iter().next();
    let (blocks, stop, logprobs) = candidate.map(|c| (c.blocks, c.stop, c.logprobs)).unwrap_or_default();
    let mut logprobs = logprobs.into_object().take("content").into_list();
    let mut output: Vec<Json> = Vec::with_capacity(blocks.len());
    for block in blocks {
        let at = output.len();
        let item = match block.body {
            Body::Text { text, citations } => {
                // They are those of the whole answer, so they are told once.
                let part = items::text_part(&text, &citations, std::mem::take(&mut logprobs));
                items::message(&ids::item("msg_", &id, at), "completed", Some(part))
            }
            Body::Refusal(text) => {
                items::message(&ids::item("msg_", &id, at), "completed", Some(items::refusal_part(&text)))
            }
            Body::Thinking { text, signature } => {
                let text = if reply.show_thinking { text } else { String::new() };
                items::reasoning(&ids::item("rs_", &id, at), &text, signature.as_ref())
            }
            Body::ToolUse { id: call_id, name, arguments, signature } => {
                let call_id = seal::ride(&call_id, signature.as_slice());
                items::call(&ids::item("fc_", &id, at), "completed", &call_id, &name, &arguments)
            }
            _ => continue,
        };
        output.push(item.into());
    }
    items::response(&id, output, Some(&stop), usage, reply)
}
