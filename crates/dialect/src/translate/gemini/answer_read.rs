//! Reads a GenerateContentResponse.

use super::words;
use crate::translate::form::{Answer, Block, Body, Candidate, Citation, Stop};
use crate::translate::ids;
use crate::translate::openai::NO_ARGUMENTS;
use crate::translate::seal::{Origin, Signature};
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

pub fn read(mut body: Object) -> Result<Answer, Unread> {
    let id = body.take("responseId").into_string().unwrap_or_default();
    let (mut candidates, mut left_out) = (Vec::new(), Vec::new());
    for (at, said) in body.take("candidates").into_list().into_iter().enumerate() {
        candidates.push(candidate(&id, at, said.into_object(), &mut left_out)?);
    }
    // A prompt that was blocked has no candidates.
    if candidates.is_empty() && is_blocked(&body) {
        candidates.push(Candidate { blocks: Vec::new(), stop: Stop::Refused, logprobs: Json::Null });
    }
    if candidates.is_empty() { Err(Unread::NotIts) } else { Ok(Answer { id, candidates, left_out }) }
}

pub fn is_blocked(body: &Object) -> bool {
    body.get("promptFeedback").is_some_and(|feedback| feedback.at("blockReason").str().is_some())
}

fn candidate(
    id: &str,
    at: usize,
    mut candidate: Object,
    left_out: &mut Vec<&'static str>,
) -> Result<Candidate, Unread> {
    let parts = candidate.take("content").into_object().take("parts").into_list();
    let mut blocks: Vec<Block> = Vec::new();
    let mut called = 0;
    for part in parts {
        match read_part(part.into_object()) {
            Some(Part::Text { text, thought }) if !text.is_empty() => join(&mut blocks, text, thought),
            Some(Part::Call { id: own, name, arguments, signature }) => {
                let id = own.unwrap_or_else(|| ids::placed(id, at, called));
                called += 1;
                blocks.push(Body::ToolUse { id, name, arguments, signature }.into());
            }
            Some(Part::LeftOut(what)) => left_out.push(what),
            _ => {}
        }
    }
    let found = citations(&mut candidate);
    if let Some(citations) = blocks.iter_mut().rev().find_map(|b| match &mut b.body {
        Body::Text { citations, .. } => Some(citations),
        _ => None,
    }) {
        citations.extend(found);
    }
    let word = candidate.take("finishReason").into_string().unwrap_or_default();
    let logprobs = logprobs(&candidate.take("logprobsResult"));
    let stop = words::stop(&word, called > 0).ok_or_else(|| Unread::stopped(&word))?;
    Ok(Candidate { blocks, stop, logprobs })
}

/// Text goes on where it left off.
fn join(blocks: &mut Vec<Block>, more: String, thought: bool) {
    match blocks.last_mut().map(|block| &mut block.body) {
        Some(Body::Thinking { text, .. }) if thought => text.push_str(&more),
        Some(Body::Text { text, .. }) if !thought => text.push_str(&more),
        _ if thought => blocks.push(Body::Thinking { text: more, signature: None }.into()),
        _ => blocks.push(Body::text(more).into()),
    }
}

/// A part of an answer.
pub enum Part {
    Text {
        text: String,
        thought: bool,
    },
    Call {
        id: Option<String>,
        name: String,
        arguments: String,
        signature: Option<Signature>,
    },
    /// Something that the form has no place for.
    LeftOut(&'static str),
}

/// What a model may answer with that only Gemini's format has.
const FOREIGN: [(&str, &str); 4] = [
    ("inlineData", "answer.parts[].inlineData"),
    ("fileData", "answer.parts[].fileData"),
    ("executableCode", "answer.parts[].executableCode"),
    ("codeExecutionResult", "answer.parts[].codeExecutionResult"),
];

pub fn read_part(mut part: Object) -> Option<Part> {
    if let Some(text) = part.take("text").into_string() {
        return Some(Part::Text { text, thought: part.take("thought").bool().unwrap_or(false) });
    }
    let signature = part.take("thoughtSignature").into_string().map(|data| Signature::new(Origin::Gemini, data));
    let Json::Object(mut call) = part.take("functionCall") else {
        return FOREIGN.into_iter().find(|(name, _)| part.get(name).is_some()).map(|(_, told)| Part::LeftOut(told));
    };
    let arguments = call.take("args");
    Some(Part::Call {
        id: call.take("id").into_string().filter(|id| !id.is_empty()),
        name: call.take("name").into_string().unwrap_or_default(),
        arguments: if arguments.is_null() { NO_ARGUMENTS.to_owned() } else { arguments.text() },
        signature,
    })
}

pub fn citations(candidate: &mut Object) -> Vec<Citation> {
    let metadata = candidate.take("citationMetadata");
    let sources = [metadata.at("citationSources"), metadata.at("citations")];
    let all = sources.into_iter().flat_map(Json::list);
    all.filter_map(|source| {
        Some(Citation {
            url: source.at("uri").str()?.to_owned(),
            title: source.at("title").str().map(str::to_owned),
            range: source.at("endIndex").count().map(|end| (source.at("startIndex").count().unwrap_or(0), end)),
        })
    })
    .collect()
}

/// In OpenAI's shape.
pub fn logprobs(result: &Json) -> Json {
    let chosen = result.at("chosenCandidates").list();
    if chosen.is_empty() {
        return Json::Null;
    }
    let alternatives = result.at("topCandidates").list();
    let tokens: Json = chosen
        .iter()
        .enumerate()
        .map(|(at, token)| {
            let others = alternatives.get(at).map_or(&[][..], |step| step.at("candidates").list());
            let others: Json = others.iter().map(|token| Json::from(one_token(token))).collect();
            Json::from(one_token(token).with("top_logprobs", others))
        })
        .collect();
    Object::new().with("content", tokens).with("refusal", Json::Null).into()
}

fn one_token(token: &Json) -> Object {
    Object::new()
        .with("token", token.at("token").clone())
        .with("logprob", token.at("logProbability").clone())
        .with("bytes", Json::Null)
}
