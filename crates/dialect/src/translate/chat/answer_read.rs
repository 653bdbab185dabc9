//! Reads a chat completion.

use super::words;
use crate::translate::form::{Answer, Block, Body, Candidate, Citation};
use crate::value::{Json, Object};

pub fn read(body: Json) -> Answer {
    let mut body = body.into_object();
    let choices = body.take("choices").into_list();
    Answer {
        id: body.take("id").into_string().unwrap_or_default(),
        candidates: choices.into_iter().map(|choice| candidate(choice.into_object())).collect(),
    }
}

fn candidate(mut choice: Object) -> Candidate {
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
    let word = choice.take("finish_reason").into_string().unwrap_or_default();
    Candidate { blocks, stop: words::stop(&word, called), logprobs: choice.take("logprobs") }
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
    let arguments = function.take("arguments").into_string().unwrap_or_default();
    Body::ToolUse {
        id: call.take("id").into_string().unwrap_or_default(),
        name: function.take("name").into_string().unwrap_or_default(),
        arguments: if arguments.is_empty() { "{}".to_owned() } else { arguments },
        signature: None,
    }
}
