//! Writes a chat completions request.

use crate::translate::form::{Block, Body, Format, Request, Role, Sampling, Source, Tool, Turn};
use crate::translate::notes::{Feature, Notes};
use crate::translate::{Target, effort, fields, ids, openai, shared};
use crate::value::{Json, Object};
use anykey_core::Refusal;

/// OpenAI takes no more of them.
const MOST_STOPS: usize = 4;

pub fn write(request: Request, target: &Target<'_>, notes: &mut Notes) -> Result<Object, Refusal> {
    let mut out = Object::new().with("model", target.model);
    let mut messages = Vec::new();
    for turn in shared::merge(request.turns) {
        match turn.role {
            Role::System => messages.push(message("system", parts(turn.blocks, notes)?)),
            Role::User => user(turn.blocks, &mut messages, notes)?,
            Role::Assistant => messages.push(assistant(turn, target, notes)?),
        }
    }
    out.put("messages", messages);
    if request.stream {
        out.put("stream", true);
        out.put("stream_options", Object::new().with("include_usage", true));
    }
    sampling(request.sampling, target, &mut out, notes);
    if let Some(word) = request.reasoning.and_then(|r| openai::effort_word(r.level, target.model, notes)) {
        out.put("reasoning_effort", word);
    }
    let choice = request.choice.map(|choice| openai::choice(choice, named, allowed));
    openai::tools(request.tools, choice, request.parallel, tool, &mut out, notes);
    if let Some(format) = request.format {
        out.put("response_format", response_format(format));
    }
    if let Some(user) = request.user {
        out.put("user", ids::user(user));
    }
    for (name, value) in request.openai.into_members() {
        out.put(name, value);
    }
    Ok(out)
}

fn sampling(mut s: Sampling, target: &Target<'_>, out: &mut Object, notes: &mut Notes) {
    let reasons = effort::openai_reasons(target.model);
    if let Some(most) = s.max_tokens {
        out.put(if target.openai || reasons { "max_completion_tokens" } else { "max_tokens" }, most);
    }
    // OpenAI's models that reason refuse whatever steers the choice of tokens.
    let fixed = target.openai && reasons;
    openai::heat(&mut s, fixed, out, notes);
    if let Some(seed) = s.seed {
        out.put("seed", Json::Number(seed));
    }
    for (name, value, feature) in
        [("presence_penalty", s.presence, Feature::Presence), ("frequency_penalty", s.frequency, Feature::Frequency)]
    {
        match value {
            Some(value) if fixed && value.parse() != Ok(0.0) => notes.drop(feature),
            Some(value) => out.put(name, Json::Number(value)),
            None => {}
        }
    }
    if s.top_k.is_some() {
        notes.drop(Feature::TopK);
    }
    if let Some(n) = s.n.filter(|n| *n > 1) {
        out.put("n", n);
    }
    if s.logprobs.is_some() && fixed {
        notes.drop(Feature::Logprobs);
    }
    if let Some(alternatives) = s.logprobs.filter(|_| !fixed) {
        out.put("logprobs", true);
        out.put("top_logprobs", alternatives);
    }
    if s.stop.len() > MOST_STOPS {
        notes.drop(Feature::Stop);
    }
    if !s.stop.is_empty() {
        out.put("stop", s.stop.into_iter().take(MOST_STOPS).map(Json::from).collect::<Json>());
    }
}

fn tool(tool: Tool) -> Json {
    let function = Object::new()
        .with("name", tool.name)
        .maybe("description", tool.description)
        .maybe("parameters", tool.schema)
        .maybe("strict", tool.strict);
    Object::new().with("type", "function").with("function", function).into()
}

fn named(name: String) -> Object {
    Object::new().with("type", "function").with("function", Object::new().with("name", name))
}

fn allowed(list: Object) -> Object {
    Object::new().with("type", "allowed_tools").with("allowed_tools", list)
}

fn response_format(format: Format) -> Object {
    match format {
        Format::Json => Object::new().with("type", "json_object"),
        Format::Schema { name, description, schema, strict } => {
            let inner = openai::schema_members(Object::new(), name, description, schema, strict);
            Object::new().with("type", "json_schema").with("json_schema", inner)
        }
    }
}

fn message(role: &'static str, content: Json) -> Json {
    Object::new().with("role", role).with("content", content).into()
}

/// Every result is a message of its own, before whatever else was said. Images in results have no place there, so they
/// follow as the user's.
fn user(blocks: Vec<Block>, messages: &mut Vec<Json>, notes: &mut Notes) -> Result<(), Refusal> {
    let mut said = Vec::new();
    let mut shown = Vec::new();
    for block in blocks {
        let Body::ToolResult { id, content, failed, .. } = block.body else {
            said.push(block);
            continue;
        };
        if failed {
            notes.drop(Feature::ResultFailed);
        }
        if block.cache.is_some() {
            notes.drop(Feature::Cache);
        }
        let text = shared::joined(&content);
        shown.extend(content.into_iter().filter(|b| !matches!(b.body, Body::Text { .. } | Body::Refusal(_))));
        messages.push(
            Object::new().with("role", "tool").with("tool_call_id", ids::for_openai(&id)).with("content", text).into(),
        );
    }
    shown.extend(said);
    if !shown.is_empty() {
        messages.push(message("user", parts(shown, notes)?));
    }
    Ok(())
}

fn assistant(turn: Turn, target: &Target<'_>, notes: &mut Notes) -> Result<Json, Refusal> {
    let (mut calls, mut said, mut thoughts) = (Vec::new(), Vec::new(), String::new());
    let mut refusal = None;
    for block in turn.blocks {
        match block.body {
            Body::ToolUse { id, name, arguments, .. } => calls.push(call(&id, name, arguments)),
            // Servers that give their thinking out in the clear want it back; OpenAI takes none.
            Body::Thinking { text, signature: None } if !target.openai => thoughts.push_str(&text),
            Body::Thinking { text, signature: None } if text.is_empty() => {}
            Body::Thinking { .. } => notes.drop(Feature::Thoughts),
            Body::Refusal(text) => refusal = Some(text),
            _ => said.push(block),
        }
    }
    let content = if said.is_empty() { Json::Null } else { parts(said, notes)? };
    let empty = content.is_null() && calls.is_empty() && refusal.is_none();
    Ok(Object::new()
        .with("role", "assistant")
        .with("content", if empty { "".into() } else { content })
        .maybe("reasoning_content", Some(thoughts).filter(|t| !t.is_empty()))
        .maybe("refusal", refusal)
        .maybe("tool_calls", Some(calls).filter(|c| !c.is_empty()))
        .into())
}

fn call(id: &str, name: String, arguments: String) -> Json {
    Object::new()
        .with("id", ids::for_openai(id))
        .with("type", "function")
        .with("function", Object::new().with("name", name).with("arguments", openai::arguments(arguments)))
        .into()
}

/// Content as a string where it is one text, and as parts otherwise.
fn parts(blocks: Vec<Block>, notes: &mut Notes) -> Result<Json, Refusal> {
    if blocks.iter().any(|b| b.cache.is_some()) {
        notes.drop(Feature::Cache);
    }
    match <[Block; 1]>::try_from(blocks) {
        Ok([Block { body: Body::Text { text, .. }, .. }]) => Ok(text.into()),
        Ok([block]) => Ok(vec![part(block.body, notes)?].into()),
        Err(blocks) => blocks.into_iter().map(|block| part(block.body, notes)).collect::<Result<Json, _>>(),
    }
}

fn part(body: Body, notes: &mut Notes) -> Result<Json, Refusal> {
    Ok(match body {
        Body::Text { text, .. } | Body::Refusal(text) => Object::new().with("type", "text").with("text", text),
        Body::Image { source, detail } => {
            let image = Object::new().with("url", shared::to_url(&source)).maybe("detail", detail);
            Object::new().with("type", "image_url").with("image_url", image)
        }
        Body::Audio { data, format } => {
            let audio = Object::new().with("data", data).with("format", format);
            Object::new().with("type", "input_audio").with("input_audio", audio)
        }
        Body::File { source: Source::Url { .. }, .. } => {
            return Err(fields::unserved(shared::file_field(notes.client())));
        }
        Body::File { source, name } => {
            let name = name.unwrap_or_else(|| "file".to_owned());
            let file = Object::new().with("filename", name).with("file_data", shared::to_url(&source));
            Object::new().with("type", "file").with("file", file)
        }
        Body::Thinking { .. } => {
            notes.drop(Feature::Thoughts);
            return Ok(Object::new().with("type", "text").with("text", "").into());
        }
        Body::ToolUse { .. } | Body::ToolResult { .. } => {
            return Err(fields::refuse("messages", "has a tool call or a result where the role does not allow one"));
        }
    }
    .into())
}
