//! Reads a generateContent request.

use super::config_read;
use crate::translate::fields::{Fields, refuse};
use crate::translate::form::{Block, Body, Request, Role, Source, Turn};
use crate::translate::notes::Notes;
use crate::translate::openai::NO_ARGUMENTS;
use crate::translate::seal::{self, Origin, Signature};
use crate::translate::{ids, shared};
use crate::value::{Json, Object};
use anykey_core::Refusal;

pub fn read(body: Json, stream: bool, notes: &mut Notes) -> Result<Request, Refusal> {
    let mut f = Fields::proto(body, "")?;
    config_read::stored(&f)?;
    // The path has named it.
    f.take("model");
    let mut request = Request { stream, ..Request::default() };
    let mut calls = Calls::default();
    if let Some(system) = f.take("systemInstruction") {
        let blocks = match system {
            Json::String(text) => vec![Body::text(text).into()],
            content => turn(content, &mut calls, notes)?.blocks,
        };
        request.turns.push(Turn { role: Role::System, blocks });
    }
    let contents = f.list("contents")?.ok_or_else(|| refuse("contents", "is missing"))?;
    for content in contents {
        request.turns.push(turn(content, &mut calls, notes)?);
    }
    config_read::tools(f.list("tools")?.unwrap_or_default(), &mut request, notes)?;
    if let Some(config) = f.take("toolConfig") {
        request.choice = config_read::tool_config(config, notes)?;
    }
    if let Some(config) = f.take("generationConfig") {
        config_read::generation(config, &mut request, notes)?;
    }
    f.done(notes);
    Ok(request)
}

/// The most calls of one turn that results can be paired with.
const MOST_CALLS: usize = 512;

/// Calls that wait for their results. Gemini pairs by name and order where there are no ids, so ids are made here.
#[derive(Default)]
struct Calls {
    made: usize,
    open: Vec<(String, String)>,
}

impl Calls {
    fn call(&mut self, id: Option<String>, name: &str) -> Result<String, Refusal> {
        if self.open.len() == MOST_CALLS {
            return Err(refuse("contents", "has more than 512 calls without their results"));
        }
        let id = id.unwrap_or_else(|| ids::placed("history", 0, self.made));
        self.made += 1;
        self.open.push((id.clone(), name.to_owned()));
        Ok(id)
    }

    fn answer(&mut self, id: Option<String>, name: &str) -> String {
        let by_id = id.as_ref().and_then(|id| self.open.iter().position(|(open, _)| open == id));
        let found = by_id.or_else(|| self.open.iter().position(|(_, open)| open == name));
        match found {
            Some(at) => self.open.remove(at).0,
            None => id.unwrap_or_else(|| ids::placed("history", 1, self.made)),
        }
    }
}

fn turn(content: Json, calls: &mut Calls, notes: &mut Notes) -> Result<Turn, Refusal> {
    let mut f = Fields::proto(content, "contents[].")?;
    let role = match f.text("role")?.as_deref() {
        None | Some("user" | "function" | "system") => Role::User,
        Some("model") => Role::Assistant,
        Some(_) => return Err(f.unserved("role")),
    };
    // A lone part may stand for a list of one.
    let parts = match f.take("parts") {
        Some(Json::Array(parts)) => parts,
        Some(part @ Json::Object(_)) => vec![part],
        Some(_) => return Err(f.wrong("parts", "must be an array")),
        None => Vec::new(),
    };
    f.done(notes);
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        read_part(part, calls, &mut blocks, notes)?;
    }
    Ok(Turn { role, blocks })
}

fn read_part(part: Json, calls: &mut Calls, blocks: &mut Vec<Block>, notes: &mut Notes) -> Result<(), Refusal> {
    let mut f = Fields::proto(part, "contents[].parts[].")?;
    let mut signatures = f.text("thoughtSignature")?.map(|text| seal::unwrap_bytes(&text)).unwrap_or_default();
    let thought = f.flag("thought")?.unwrap_or(false);
    let own = signatures.pop_if(|signature| signature.origin == Origin::Gemini);
    if !signatures.is_empty() {
        sign(signatures, blocks);
    }
    if let Some(text) = f.text("text")? {
        match text {
            text if thought => blocks.push(Body::Thinking { text, signature: None }.into()),
            text if text.is_empty() => {}
            text => blocks.push(Body::text(text).into()),
        }
    } else if let Some(call) = f.take("functionCall") {
        let mut call = Fields::proto(call, "contents[].parts[].functionCall.")?;
        let name = call.need_text("name")?;
        let id = calls.call(call.text("id")?, &name)?;
        let arguments = call.take("args").map_or_else(|| NO_ARGUMENTS.to_owned(), |args| args.text());
        call.done(notes);
        blocks.push(Body::ToolUse { id, name, arguments, signature: own }.into());
    } else if let Some(response) = f.take("functionResponse") {
        blocks.push(result(response, calls, notes)?);
    } else if let Some(inline) = f.take("inlineData") {
        blocks.push(inline_data(inline, notes)?.into());
    } else if let Some(file) = f.take("fileData") {
        blocks.push(file_data(file, notes)?.into());
    } else {
        return Err(refuse("contents[].parts[]", "holds something that only Gemini knows, or nothing"));
    }
    f.done(notes);
    Ok(())
}

/// Gives another provider's signatures back to the thinking that they were made for: what went before.
fn sign(signatures: Vec<Signature>, blocks: &mut Vec<Block>) {
    let is_unsigned = |block: &&Block| matches!(block.body, Body::Thinking { signature: None, .. });
    let unsigned = blocks.iter().rev().take_while(is_unsigned).count();
    let texts = blocks.split_off(blocks.len() - unsigned).into_iter().filter_map(|block| match block.body {
        Body::Thinking { text, .. } => Some(text),
        _ => None,
    });
    let signed = shared::thoughts(texts.collect(), signatures);
    blocks.extend(signed);
}

fn result(response: Json, calls: &mut Calls, notes: &mut Notes) -> Result<Block, Refusal> {
    let mut f = Fields::proto(response, "contents[].parts[].functionResponse.")?;
    let name = f.need_text("name")?;
    let id = calls.answer(f.text("id")?, &name);
    let (text, failed) = result_text(f.take("response").unwrap_or_default().into_object());
    let mut content: Vec<Block> = vec![Body::text(text).into()];
    for part in f.list("parts")?.unwrap_or_default() {
        read_part(part, calls, &mut content, notes)?;
    }
    f.done(notes);
    Ok(Body::ToolResult { id, name: Some(name), content, failed }.into())
}

/// SDKs wrap what a function returns as `result` or `output`, and what it throws as `error`.
fn result_text(mut response: Object) -> (String, bool) {
    let only = response.iter().count() == 1;
    for (name, failed) in [("result", false), ("output", false), ("error", true)] {
        if only && response.get(name).is_some() {
            let value = response.take(name);
            let text = value.str().map_or_else(|| value.text(), str::to_owned);
            return (text, failed);
        }
    }
    (response.text(), false)
}

fn inline_data(inline: Json, notes: &mut Notes) -> Result<Body, Refusal> {
    let mut f = Fields::proto(inline, "contents[].parts[].inlineData.")?;
    let media_type = f.need_text("mimeType")?;
    let data = f.need_text("data")?;
    let name = f.text("displayName")?;
    f.done(notes);
    Ok(match media_type.split_once('/') {
        Some(("image", _)) => Body::Image { source: Source::Inline { media_type, data }, detail: None },
        Some(("audio", format)) => Body::Audio { data, format: audio_format(format).to_owned() },
        _ => Body::File { source: Source::Inline { media_type, data }, name },
    })
}

fn audio_format(subtype: &str) -> &str {
    match subtype {
        "mpeg" | "mp3" => "mp3",
        "x-wav" | "wave" => "wav",
        other => other,
    }
}

fn file_data(file: Json, notes: &mut Notes) -> Result<Body, Refusal> {
    let mut f = Fields::proto(file, "contents[].parts[].fileData.")?;
    let url = f.need_text("fileUri")?;
    // What is stored at Google is out of everybody else's reach.
    if url.starts_with("gs://") || url.starts_with("https://generativelanguage.googleapis.com/") {
        return Err(f.unserved("fileUri"));
    }
    let media_type = f.text("mimeType")?;
    let name = f.text("displayName")?;
    f.done(notes);
    let is_image = media_type.as_deref().is_some_and(|m| m.starts_with("image/"));
    let source = Source::Url { url, media_type };
    Ok(if is_image { Body::Image { source, detail: None } } else { Body::File { source, name } })
}
