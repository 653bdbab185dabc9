//! Writes a chat completion.

use super::words;
use crate::translate::form::{Answer, Body, Candidate, Citation};
use crate::translate::reply::{Reply, Riders};
use crate::value::{Json, Object};
use anykey_core::{Unit, Usage};

pub fn write(answer: Answer, usage: Option<&Usage>, reply: &Reply) -> Object {
    let choices: Json = answer
        .candidates
        .into_iter()
        .enumerate()
        .map(|(index, candidate)| {
            let (stop, logprobs) = (words::stop_word(&candidate.stop), candidate.logprobs.clone());
            Json::from(
                Object::new()
                    .with("index", index)
                    .with("message", message(candidate, reply))
                    .with("logprobs", logprobs)
                    .with("finish_reason", stop),
            )
        })
        .collect();
    Object::new()
        .with("id", reply.answer_id(&answer.id))
        .with("object", "chat.completion")
        .with("created", reply.created)
        .with("model", &reply.model)
        .with("choices", choices)
        .maybe("usage", usage.map(write_usage))
}

fn message(candidate: Candidate, reply: &Reply) -> Object {
    let (mut text, mut thoughts, mut refusal) = (String::new(), String::new(), String::new());
    let (mut calls, mut annotations) = (Vec::new(), Vec::new());
    let mut riders = Riders::default();
    for block in candidate.blocks {
        match block.body {
            Body::Text { text: more, citations } => {
                text.push_str(&more);
                annotations.extend(citations.iter().map(annotation));
            }
            Body::Thinking { text: more, signature } => {
                if reply.show_thinking {
                    thoughts.push_str(&more);
                }
                if let Some(signature) = &signature {
                    riders.wait(signature);
                }
            }
            Body::Refusal(more) => refusal.push_str(&more),
            Body::ToolUse { id, name, arguments, signature } => {
                let id = riders.id(&id, signature.as_ref());
                calls.push(call(None, &id, &name, arguments));
            }
            _ => {}
        }
    }
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let content = some(text).map_or(Json::Null, Json::from);
    Object::new()
        .with("role", "assistant")
        .with("content", content)
        .maybe("reasoning_content", some(thoughts))
        .with("refusal", some(refusal).map_or(Json::Null, Json::from))
        .maybe("annotations", Some(annotations).filter(|a| !a.is_empty()))
        .maybe("tool_calls", Some(calls).filter(|c| !c.is_empty()))
}

/// A call; in streams with its place.
pub fn call(index: Option<usize>, id: &str, name: &str, arguments: String) -> Json {
    Object::new()
        .maybe("index", index)
        .with("id", id)
        .with("type", "function")
        .with("function", Object::new().with("name", name).with("arguments", arguments))
        .into()
}

pub fn annotation(citation: &Citation) -> Json {
    let (start, end) = citation.range.unwrap_or_default();
    let cited = Object::new()
        .with("start_index", start)
        .with("end_index", end)
        .with("url", &citation.url)
        .with("title", citation.title.as_deref().unwrap_or(&citation.url));
    Object::new().with("type", "url_citation").with("url_citation", cited).into()
}

/// Cached input is part of the prompt, and reasoning part of the completion.
pub fn write_usage(usage: &Usage) -> Object {
    let (input, output) = (usage.input_tokens(), usage.output_tokens());
    let prompt_details = Object::new()
        .with("cached_tokens", usage.get(Unit::CacheRead).saturating_add(usage.get(Unit::AudioCacheRead)))
        .with("audio_tokens", usage.get(Unit::AudioIn).saturating_add(usage.get(Unit::AudioCacheRead)));
    let completion_details = Object::new()
        .with("reasoning_tokens", usage.get(Unit::Reasoning))
        .with("audio_tokens", usage.get(Unit::AudioOut));
    Object::new()
        .with("prompt_tokens", input)
        .with("completion_tokens", output)
        .with("total_tokens", input.saturating_add(output))
        .with("prompt_tokens_details", prompt_details)
        .with("completion_tokens_details", completion_details)
}
