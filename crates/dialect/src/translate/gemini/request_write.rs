//! Writes a generateContent request. Its path names the model and says whether it streams.

use super::config_write;
use super::words::NO_SIGNATURE;
use crate::translate::form::{Block, Body, Request, Role, Source, Turn};
use crate::translate::notes::{Feature, Notes};
use crate::translate::seal::{Origin, Signature};
use crate::translate::{Target, effort, openai, shared};
use crate::value::{Json, Object};
use anykey_core::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;

pub fn write(request: Request, target: &Target<'_>, notes: &mut Notes) -> Result<Object, Refusal> {
    let (system, turns) = shared::alternate(request.turns);
    let mut out = Object::new();
    let system: Vec<Json> = system.into_iter().filter_map(|block| instruction(block, notes)).collect();
    if !system.is_empty() {
        out.put("systemInstruction", Object::new().with("parts", system));
    }
    out.put("contents", contents(turns, target, notes)?);
    config_write::tools(request.tools, request.choice, &mut out, notes);
    if request.parallel == Some(false) {
        notes.drop(Feature::Parallel);
    }
    let config = config_write::generation(request.sampling, request.reasoning, request.format, target, notes);
    if !config.is_empty() {
        out.put("generationConfig", config);
    }
    if request.user.is_some() {
        notes.drop(Feature::User);
    }
    openai::drop_members(&request.openai, notes);
    Ok(out)
}

fn instruction(block: Block, notes: &mut Notes) -> Option<Json> {
    if block.cache.is_some() {
        notes.drop(Feature::Cache);
    }
    match block.body {
        Body::Text { text, .. } | Body::Refusal(text) => {
            Some(text).filter(|text| !text.is_empty()).map(|text| Object::new().with("text", text).into())
        }
        _ => {
            notes.drop(Feature::Instructions);
            None
        }
    }
}

/// The calls of the turn before by their ids: their places and names.
type Called = HashMap<String, (usize, String)>;

fn contents(turns: Vec<Turn>, target: &Target<'_>, notes: &mut Notes) -> Result<Vec<Json>, Refusal> {
    let mut out = Vec::with_capacity(turns.len() + 1);
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        out.push(content("user", vec![Object::new().with("text", shared::OPENING).into()]));
    }
    let mut called = Called::new();
    for turn in turns {
        let assistant = turn.role == Role::Assistant;
        let blocks = if assistant { turn.blocks } else { in_order(turn.blocks, &called) };
        let mut writer =
            Parts { called: &called, calls: Called::new(), parts: Vec::new(), late: Vec::new(), target, notes };
        for block in blocks {
            writer.block(block)?;
        }
        for block in std::mem::take(&mut writer.late) {
            writer.block(block)?;
        }
        let (calls, parts) = (writer.calls, writer.parts);
        called = calls;
        if !parts.is_empty() {
            out.push(content(if assistant { "model" } else { "user" }, parts));
        }
    }
    Ok(out)
}

fn content(role: &'static str, parts: Vec<Json>) -> Json {
    Object::new().with("role", role).with("parts", parts).into()
}

/// Results first, in the order of their calls: without ids that is how they pair.
fn in_order(blocks: Vec<Block>, called: &Called) -> Vec<Block> {
    let mut blocks = shared::results_first(blocks);
    blocks.sort_by_key(|block| match &block.body {
        Body::ToolResult { id, .. } => called.get(id).map_or(usize::MAX - 1, |(place, _)| *place),
        _ => usize::MAX,
    });
    blocks
}

/// The parts of one turn.
struct Parts<'a, 't> {
    called: &'a Called,
    calls: Called,
    parts: Vec<Json>,
    /// What results show, which comes behind all of them.
    late: Vec<Block>,
    target: &'a Target<'t>,
    notes: &'a mut Notes,
}

impl Parts<'_, '_> {
    fn block(&mut self, block: Block) -> Result<(), Refusal> {
        if block.cache.is_some() {
            self.notes.drop(Feature::Cache);
        }
        let part = match block.body {
            Body::Text { text, .. } | Body::Refusal(text) if text.is_empty() => return Ok(()),
            Body::Text { text, .. } | Body::Refusal(text) => Object::new().with("text", text),
            Body::Image { source, detail } => {
                if detail.is_some() {
                    self.notes.drop(Feature::ImageDetail);
                }
                media(source, "image/jpeg")
            }
            Body::Audio { data, format } => inline(format!("audio/{format}"), data),
            Body::File { source, name } => {
                if name.is_some() {
                    self.notes.drop(Feature::FileName);
                }
                media(source, "application/pdf")
            }
            Body::Thinking { text, signature } => {
                if !text.is_empty() || signature.is_some() {
                    self.notes.drop(Feature::Thoughts);
                }
                return Ok(());
            }
            Body::ToolUse { id, name, arguments, signature } => self.call(id, name, &arguments, signature)?,
            Body::ToolResult { id, name, content, failed } => return self.result(&id, name, content, failed),
        };
        self.parts.push(part.into());
        Ok(())
    }

    /// The first call of a turn has to be signed from the third generation on.
    fn call(
        &mut self,
        id: String,
        name: String,
        arguments: &str,
        signature: Option<Signature>,
    ) -> Result<Object, Refusal> {
        let call = Object::new().with("name", &name).with("args", shared::arguments_object(arguments)?);
        let own = signature.filter(|s| s.origin == Origin::Gemini).map(|s| s.data);
        let first = self.calls.is_empty();
        let checked = effort::gemini_generation(self.target.model).is_none_or(|generation| generation >= 3);
        let signature = own.or_else(|| (first && checked).then(|| NO_SIGNATURE.to_owned()));
        self.calls.insert(id, (self.calls.len(), name));
        Ok(Object::new().with("functionCall", call).maybe("thoughtSignature", signature))
    }

    fn result(&mut self, id: &str, name: Option<String>, content: Vec<Block>, failed: bool) -> Result<(), Refusal> {
        let called = self.called.get(id).map(|(_, name)| name.clone());
        let name = called.or(name).unwrap_or_else(|| "unknown".to_owned());
        let response = Object::new().with("name", name).with("response", response(&shared::joined(&content), failed));
        self.parts.push(Object::new().with("functionResponse", response).into());
        self.late.extend(content.into_iter().filter(|b| !matches!(b.body, Body::Text { .. } | Body::Refusal(_))));
        Ok(())
    }
}

/// An object, as it has to be: the result itself where it is one.
fn response(text: &str, failed: bool) -> Json {
    match Json::raw_object(text).filter(|_| !failed) {
        Some(object) => object,
        None => Object::new().with(if failed { "error" } else { "result" }, text).into(),
    }
}

fn inline(media_type: String, data: String) -> Object {
    Object::new().with("inlineData", Object::new().with("mimeType", media_type).with("data", data))
}

fn media(source: Source, usual: &'static str) -> Object {
    match source {
        Source::Inline { media_type, data } => inline(media_type, data),
        Source::Text(text) => inline("text/plain".to_owned(), STANDARD.encode(text)),
        Source::Url { url, media_type } => {
            let media_type = media_type.unwrap_or_else(|| shared::media_type_of(&url).unwrap_or(usual).to_owned());
            Object::new().with("fileData", Object::new().with("mimeType", media_type).with("fileUri", url))
        }
    }
}
