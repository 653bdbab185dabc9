//! What several readers and writers have in common.

use super::Api;
use super::fields::{Fields, refuse, unserved};
use super::form::{Block, Body, CacheMark, Format, Role, Source, Tool, Turn};
use super::notes::Notes;
use super::seal::{self, Origin, Signature};
use crate::value::{Json, Object};
use anykey_core::Refusal;
use std::collections::HashSet;

/// A string, or strings in a list.
pub fn one_or_many(f: &mut Fields, name: &'static str) -> Result<Vec<String>, Refusal> {
    match f.take(name) {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(vec![text]),
        Some(Json::Array(list)) => list
            .into_iter()
            .map(|text| text.into_string().ok_or_else(|| f.wrong(name, "must be a string or an array of strings")))
            .collect(),
        Some(_) => Err(f.wrong(name, "must be a string or an array of strings")),
    }
}

/// Text as the only block, if there is any.
pub fn plain(text: String) -> Vec<Block> {
    if text.is_empty() { Vec::new() } else { vec![Body::text(text).into()] }
}

/// A URL, which may carry the content itself.
pub fn url(url: String) -> Source {
    let Some(rest) = url.strip_prefix("data:") else { return Source::Url { url, media_type: None } };
    let Some((head, data)) = rest.split_once(',') else { return Source::Url { url, media_type: None } };
    let Some(media_type) = head.strip_suffix(";base64") else { return Source::Url { url, media_type: None } };
    let media_type = media_type.split(';').next().unwrap_or_default();
    Source::Inline { media_type: media_type.to_owned(), data: data.to_owned() }
}

/// The content or its place as one URL.
pub fn to_url(source: &Source) -> String {
    match source {
        Source::Url { url, .. } => url.clone(),
        Source::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
        Source::Text(text) => {
            use base64::Engine as _;
            format!("data:text/plain;base64,{}", base64::engine::general_purpose::STANDARD.encode(text))
        }
    }
}

/// `cache_control`, which callers of every dialect write for Anthropic's models.
pub fn cache_mark(f: &mut Fields) -> Option<CacheMark> {
    let mark = f.take("cache_control")?;
    Some(if mark.at("ttl").str() == Some("1h") { CacheMark::Hour } else { CacheMark::Short })
}

/// The functions of a list of tools. Others, which the provider would run or call in its own way, are left out and named;
/// a list of nothing else is refused, since it is what the call is about.
pub fn functions(
    list: Option<Vec<Json>>,
    notes: &mut Notes,
    mut read: impl FnMut(Json, &mut Notes) -> Result<Option<Tool>, Refusal>,
) -> Result<Vec<Tool>, Refusal> {
    let list = list.unwrap_or_default();
    let mut foreign = false;
    let mut tools = Vec::with_capacity(list.len());
    for tool in list {
        let kind = tool.at("type").str().unwrap_or_default().to_owned();
        match read(tool, notes)? {
            Some(tool) => tools.push(tool),
            None => {
                foreign = true;
                notes.member("tools[].", &kind);
            }
        }
    }
    if foreign && tools.is_empty() { Err(unserved("tools[].type")) } else { Ok(tools) }
}

/// The tools of these names.
pub fn only(tools: Vec<Tool>, names: &[String]) -> Vec<Tool> {
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    tools.into_iter().filter(|tool| names.contains(tool.name.as_str())).collect()
}

/// A function's declaration; dialects differ in how they call the schema.
pub fn function(f: &mut Fields, schema: &str, cache: Option<CacheMark>) -> Result<Tool, Refusal> {
    Ok(Tool {
        name: f.need_text("name")?,
        description: f.text("description")?,
        schema: f.take(schema),
        strict: f.flag("strict")?,
        cache,
    })
}

/// `json_schema` of a response's format.
pub fn schema_format(f: &mut Fields) -> Result<Format, Refusal> {
    let schema = f.take("schema").ok_or_else(|| f.wrong("schema", "is missing"))?;
    Ok(Format::Schema { name: f.text("name")?, description: f.text("description")?, schema, strict: f.flag("strict")? })
}

/// A call from a caller's history, with the signatures that rode in its id: one of Gemini's is the call's own, others are
/// those of the thinking before it.
pub fn arrived_call(id: &str, name: String, arguments: String) -> (Vec<Signature>, Body) {
    let (id, mut riders) = seal::alight(id);
    let signature = riders.pop_if(|rider| rider.origin == Origin::Gemini);
    (riders, Body::ToolUse { id: id.to_owned(), name, arguments, signature })
}

/// Thinking that went without its signatures: each text gets its own back, in their order. Where they cannot be told
/// apart, all of the text stands with the first.
pub fn thoughts(texts: Vec<String>, signatures: Vec<Signature>) -> Vec<Block> {
    let shown = signatures.iter().filter(|signature| signature.origin != Origin::Redacted).count();
    let unsigned = |text: String| Block::from(Body::Thinking { text, signature: None });
    let mut out: Vec<Block> = Vec::with_capacity(texts.len() + signatures.len());
    let mut texts = if shown == texts.len() { texts } else { vec![texts.concat()] }.into_iter();
    if shown == 0 {
        out.extend(texts.by_ref().filter(|text| !text.is_empty()).map(unsigned));
    }
    for signature in signatures {
        let text = if signature.origin == Origin::Redacted { None } else { texts.next() };
        out.push(Body::Thinking { text: text.unwrap_or_default(), signature: Some(signature) }.into());
    }
    out
}

/// Arguments as an object, written as they came; what is no object is told.
pub fn arguments_object(arguments: &str) -> Result<Json, Refusal> {
    if arguments.trim().is_empty() {
        return Ok(Json::Object(Object::new()));
    }
    Json::raw_object(arguments).ok_or_else(|| {
        refuse("arguments", "of an earlier tool call must be a JSON object for the provider of this model")
    })
}

/// An error where an answer was expected. Some providers write `"error": null` or `""` everywhere.
pub fn has_error(answer: &Object) -> bool {
    match answer.get("error") {
        Some(Json::Object(_)) => true,
        Some(Json::String(text)) => !text.is_empty(),
        _ => false,
    }
}

/// Said for a user who has not said anything, where the assistant may not begin.
pub const OPENING: &str = "(The conversation begins.)";

/// What a URL's ending says of what is behind it.
pub fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let (_, extension) = path.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        _ => return None,
    })
}

/// Turns of one role that follow each other become one.
pub fn merge(turns: Vec<Turn>) -> Vec<Turn> {
    let mut merged: Vec<Turn> = Vec::with_capacity(turns.len());
    for turn in turns {
        match merged.last_mut() {
            Some(last) if last.role == turn.role => last.blocks.extend(turn.blocks),
            _ => merged.push(turn),
        }
    }
    merged
}

/// For providers who keep instructions apart: those by themselves, in their order, and the rest taking turns.
pub fn alternate(turns: Vec<Turn>) -> (Vec<Block>, Vec<Turn>) {
    let (system, said): (Vec<Turn>, Vec<Turn>) = turns.into_iter().partition(|turn| turn.role == Role::System);
    (system.into_iter().flat_map(|turn| turn.blocks).collect(), merge(said))
}

/// Results before everything else of their turn, as providers want them who pair by place.
pub fn results_first(blocks: Vec<Block>) -> Vec<Block> {
    let is_result = |block: &Block| matches!(block.body, Body::ToolResult { .. });
    let (mut results, said): (Vec<Block>, Vec<Block>) = blocks.into_iter().partition(is_result);
    results.extend(said);
    results
}

/// Where a caller's dialect has documents.
pub const fn file_field(client: Api) -> &'static str {
    match client {
        Api::Chat => "messages[].content[].file",
        Api::Responses => "input[].content[].input_file",
        Api::Messages => "messages[].content[].document",
        Api::Gemini => "contents[].parts[].fileData",
    }
}

/// Where a caller's dialect asks for several answers.
pub const fn count_field(client: Api) -> &'static str {
    match client {
        Api::Gemini => "generationConfig.candidateCount",
        _ => "n",
    }
}

/// Where a caller's dialect says what the answer's text has to be.
pub const fn format_field(client: Api) -> &'static str {
    match client {
        Api::Chat => "response_format",
        Api::Responses => "text.format",
        Api::Messages => "output_config.format",
        Api::Gemini => "generationConfig.responseJsonSchema",
    }
}

/// Where a caller's dialect has sound.
pub const fn audio_field(client: Api) -> &'static str {
    match client {
        Api::Chat => "messages[].content[].input_audio",
        Api::Responses => "input[].content[].input_audio",
        Api::Messages => "messages[].content[]",
        Api::Gemini => "contents[].parts[].inlineData",
    }
}

/// A number held to a range; true where it had to be moved.
pub fn clamp(number: String, most: f64) -> (String, bool) {
    match number.parse::<f64>() {
        Ok(value) if value > most => (most.to_string(), true),
        _ => (number, false),
    }
}

/// The texts of blocks, joined.
pub fn joined(blocks: &[Block]) -> String {
    let texts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| match &block.body {
            Body::Text { text, .. } | Body::Refusal(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}
