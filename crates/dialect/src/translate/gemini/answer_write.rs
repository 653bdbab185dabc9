//! Writes a GenerateContentResponse.

use super::words;
use crate::translate::form::{Answer, Block, Body, Candidate, Citation};
use crate::translate::reply::Reply;
use crate::translate::seal::{self, Signature};
use crate::translate::shared;
use crate::value::{Json, Object};
use anykey_core::{Unit, Usage};

pub fn write(answer: Answer, usage: Option<&Usage>, reply: &Reply) -> Object {
    let id = reply.answer_id(&answer.id);
    let candidates: Json =
        answer.candidates.into_iter().enumerate().map(|(at, c)| Json::from(candidate(at, c, reply))).collect();
    Object::new()
        .with("candidates", candidates)
        .maybe("usageMetadata", usage.map(write_usage))
        .with("modelVersion", &reply.model)
        .with("responseId", id)
}

fn candidate(index: usize, candidate: Candidate, reply: &Reply) -> Object {
    let (mut parts, mut citations) = (Vec::new(), Vec::new());
    let mut seal = Seal::default();
    for block in candidate.blocks {
        parts.extend(part(block, &mut seal, &mut citations, reply));
    }
    parts.extend(seal.rest());
    Object::new()
        .with("content", content(parts))
        .with("finishReason", words::stop_word(&candidate.stop))
        .with("index", index)
        .maybe("citationMetadata", metadata(citations))
        .maybe("logprobsResult", logprobs(&candidate.logprobs))
}

pub fn content(parts: Vec<Json>) -> Object {
    Object::new().with("parts", parts).with("role", "model")
}

pub fn metadata(citations: Vec<Citation>) -> Option<Object> {
    let sources: Vec<Json> = citations.into_iter().map(citation).collect();
    (!sources.is_empty()).then(|| Object::new().with("citationSources", sources))
}

fn citation(citation: Citation) -> Json {
    Object::new()
        .maybe("startIndex", citation.range.map(|(start, _)| start))
        .maybe("endIndex", citation.range.map(|(_, end)| end))
        .with("uri", citation.url)
        .into()
}

/// Signatures that wait for the part after the thinking that they belong to, as Gemini's own do.
#[derive(Default)]
pub struct Seal(Vec<Signature>);

impl Seal {
    pub fn wait(&mut self, signature: Signature) {
        if self.0.last() != Some(&signature) {
            self.0.push(signature);
        }
    }

    pub fn take(&mut self) -> Option<String> {
        seal::wrap_bytes(&std::mem::take(&mut self.0))
    }

    /// Where nothing follows, an empty text carries it.
    pub fn rest(&mut self) -> Option<Json> {
        let signature = self.take()?;
        Some(Object::new().with("text", "").with("thoughtSignature", signature).into())
    }
}

fn part(block: Block, seal: &mut Seal, citations: &mut Vec<Citation>, reply: &Reply) -> Option<Json> {
    let part = match block.body {
        Body::Text { text, citations: cited } => {
            citations.extend(cited);
            Object::new().with("text", text).maybe("thoughtSignature", seal.take())
        }
        Body::Refusal(text) => Object::new().with("text", text).maybe("thoughtSignature", seal.take()),
        Body::Thinking { text, signature } => {
            if let Some(signature) = signature {
                seal.wait(signature);
            }
            if !reply.show_thinking || text.is_empty() {
                return None;
            }
            Object::new().with("text", text).with("thought", true)
        }
        Body::ToolUse { id, name, arguments, signature } => call(&id, &name, &arguments, signature, seal),
        _ => return None,
    };
    Some(part.into())
}

pub fn call(id: &str, name: &str, arguments: &str, own: Option<Signature>, seal: &mut Seal) -> Object {
    let args = shared::arguments_object(arguments).unwrap_or_else(|_| Object::new().into());
    let call = Object::new().with("id", id).with("name", name).with("args", args);
    let signature = seal::wrap_bytes(own.as_slice()).or_else(|| seal.take());
    Object::new().with("functionCall", call).maybe("thoughtSignature", signature)
}

/// From OpenAI's shape.
pub fn logprobs(logprobs: &Json) -> Option<Object> {
    let tokens = logprobs.at("content").list();
    if tokens.is_empty() {
        return None;
    }
    let one = |token: &Json| {
        Json::from(
            Object::new().with("token", token.at("token").clone()).with("logProbability", token.at("logprob").clone()),
        )
    };
    let others = |token: &Json| {
        let candidates: Json = token.at("top_logprobs").list().iter().map(one).collect();
        Json::from(Object::new().with("candidates", candidates))
    };
    let chosen: Json = tokens.iter().map(one).collect();
    let top: Json = tokens.iter().map(others).collect();
    Some(Object::new().with("topCandidates", top).with("chosenCandidates", chosen))
}

/// Cached input is part of the prompt; thoughts are beside the candidates.
pub fn write_usage(usage: &Usage) -> Object {
    let (input, output, thoughts) = (usage.input_tokens(), usage.output_tokens(), usage.get(Unit::Reasoning));
    let cached = usage.get(Unit::CacheRead).saturating_add(usage.get(Unit::AudioCacheRead));
    let some = |count: u64| (count > 0).then_some(count);
    Object::new()
        .with("promptTokenCount", input)
        .with("candidatesTokenCount", output.saturating_sub(thoughts))
        .with("totalTokenCount", input.saturating_add(output))
        .maybe("cachedContentTokenCount", some(cached))
        .maybe("thoughtsTokenCount", some(thoughts))
}
