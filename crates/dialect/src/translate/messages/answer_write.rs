//! Writes a message.

use super::words;
use crate::translate::form::{Answer, Body, Citation};
use crate::translate::reply::{Reply, Riders};
use crate::translate::seal::Origin;
use crate::translate::shared;
use crate::value::{Json, Object};
use anykey_core::{Unit, Usage};

pub fn write(answer: Answer, usage: Option<&Usage>, reply: &Reply) -> Object {
    let id = reply.answer_id(&answer.id);
    // There is one: a call that asks for several is refused.
    let candidate = answer.candidates.into_iter().next();
    let (blocks, stop) = candidate.map(|c| (c.blocks, c.stop)).unwrap_or_default();
    let mut riders = Riders::default();
    let content: Json = blocks.into_iter().filter_map(|b| block(b.body, reply, &mut riders)).collect();
    let (word, sequence) = words::stop_words(&stop);
    Object::new()
        .with("id", id)
        .with("type", "message")
        .with("role", "assistant")
        .with("model", &reply.model)
        .with("content", content)
        .with("stop_reason", word)
        .with("stop_sequence", sequence)
        .with("usage", write_usage(&usage.copied().unwrap_or_default()))
}

fn block(body: Body, reply: &Reply, riders: &mut Riders) -> Option<Json> {
    let object = match body {
        Body::Text { text, citations } => {
            let object = Object::new().with("type", "text").with("text", text);
            let citations: Vec<Json> = citations.iter().map(citation).collect();
            object.maybe("citations", Some(citations).filter(|c| !c.is_empty()))
        }
        Body::Refusal(text) => Object::new().with("type", "text").with("text", text),
        Body::Thinking { text, signature } if reply.show_thinking => {
            let signature = signature.map(|s| s.wrap(Origin::Anthropic)).unwrap_or_default();
            Object::new().with("type", "thinking").with("thinking", text).with("signature", signature)
        }
        Body::Thinking { signature, .. } => {
            riders.wait(&signature?);
            return None;
        }
        Body::ToolUse { id, name, arguments, signature } => tool_use(&riders.id(&id, signature.as_ref()), &name)
            .with("input", shared::arguments_object(&arguments).unwrap_or_else(|_| Object::new().into())),
        _ => return None,
    };
    Some(object.into())
}

/// Without its input.
pub fn tool_use(id: &str, name: &str) -> Object {
    Object::new().with("type", "tool_use").with("id", id).with("name", name)
}

pub fn citation(citation: &Citation) -> Json {
    Object::new()
        .with("type", "web_search_result_location")
        .with("url", &citation.url)
        .with("title", citation.title.as_deref().map_or(Json::Null, Json::from))
        .with("encrypted_index", "")
        .with("cited_text", "")
        .into()
}

/// Input excludes what was read from and written to the cache.
pub fn write_usage(usage: &Usage) -> Object {
    let (short, long) = (usage.get(Unit::CacheWrite5m), usage.get(Unit::CacheWrite1h));
    let input =
        usage.get(Unit::Input).saturating_add(usage.get(Unit::AudioIn)).saturating_add(usage.get(Unit::ImageIn));
    let lifetimes = Object::new().with("ephemeral_5m_input_tokens", short).with("ephemeral_1h_input_tokens", long);
    Object::new()
        .with("input_tokens", input)
        .with("cache_creation_input_tokens", short.saturating_add(long))
        .with("cache_read_input_tokens", usage.get(Unit::CacheRead).saturating_add(usage.get(Unit::AudioCacheRead)))
        .with("cache_creation", lifetimes)
        .with("output_tokens", usage.output_tokens())
}
