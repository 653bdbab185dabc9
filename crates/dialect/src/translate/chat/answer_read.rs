//! Reads a chat completion.

use super::words;
use crate::translate::form::{Answer, Block, Body, Candidate, Citation};
use crate::translate::openai;
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

pub fn read(mut body: Object) -> Result<Answer, Unread> {
    let choices = body.take("choices").into_list();
    if choices.is_empty() {
        return Err(Unread::NotIts);
    }
    let mut left_out = Vec::new();
    let candidates = choices.into_iter().map(|choice| candidate(choice.into_object(), &mut left_out));
    let candidates = candidates.collect::<Result<Vec<_>, _>>()?;
    Ok(Answer { id: body.take("id").into_string().unwrap_or_default(), candidates, left_out })
}

fn candidate(mut choice: Object, left_out: &mut Vec<&'static str>) -> Result<Candidate, Unread> {
    let mut message = choice.take("message").into_object();
    let mut blocks: Vec<Block> = Vec::new();
    if let Some(text) = thinking(&mut message) {
        blocks.push(Body::Thinking { text, signature: None }.into());
    }
    let citations = message.take("annotations").into_list().iter().filter_map(citation).collect();
    if let Some(text) = some_text(message.take("content")) {
        blocks.push(Body::Text { text, citations }.into());
    }
    if let Some(text) = some_text(message.take("refusal")) {
        blocks.push(Body::Refusal(text).into());
    }
    let calls = message.take("tool_calls").into_list();
    let called = !calls.is_empty();
    blocks.extend(calls.into_iter().map(|call| Block::from(tool_use(call.into_object()))));
    left_out.extend(media(&message));
    let word = choice.take("finish_reason").into_string().unwrap_or_default();
    let stop = words::stop(&word, called).ok_or_else(|| Unread::stopped(&word))?;
    Ok(Candidate { blocks, stop, logprobs: choice.take("logprobs") })
}

/// What the message holds that only chat completions has: sound of OpenAI's, images of OpenRouter's.
pub fn media(message: &Object) -> impl Iterator<Item = &'static str> {
    let held = |name: &str| message.get(name).is_some_and(|value| value.object().is_some() || !value.list().is_empty());
    [("audio", "answer.message.audio"), ("images", "answer.message.images")]
        .into_iter()
        .filter(move |(name, _)| held(name))
        .map(|(_, told)| told)
}

/// What imitators of OpenAI show of a model's thinking.
pub fn thinking(message: &mut Object) -> Option<String> {
    some_text(message.take("reasoning_content")).or_else(|| some_text(message.take("reasoning")))
}

pub fn some_text(value: Json) -> Option<String> {
    value.into_string().filter(|text| !text.is_empty())
}

pub fn citation(annotation: &Json) -> Option<Citation> {
    let cited = annotation.at("url_citation");
    Some(Citation {
        url: cited.at("url").str()?.to_owned(),
        title: cited.at("title").str().map(str::to_owned),
        range: cited.at("start_index").count().zip(cited.at("end_index").count()),
    })
}

fn tool_use(mut call: Object) -> Body {
    let mut function = call.take("function").into_object();
    let arguments = openai::arguments(function.take("arguments").into_string().unwrap_or_default());
    Body::ToolUse {
        id: call.take("id").into_string().unwrap_or_default(),
        name: function.take("name").into_string().unwrap_or_default(),
        arguments,
        signature: None,
    }
}
