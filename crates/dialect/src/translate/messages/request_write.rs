//! Writes a messages request.

use super::thinking;
use super::words::cache_control;
use crate::translate::form::{Block, Body, Choice, Format, Request, Role, Sampling, Source, Tool, Turn};
use crate::translate::notes::{Feature, Notes};
use crate::translate::seal::Origin;
use crate::translate::{Target, effort, fields, ids, openai, schema, shared};
use crate::value::{Json, Object};
use anykey_core::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub fn write(request: Request, target: &Target<'_>, notes: &mut Notes) -> Result<Object, Refusal> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(fields::unserved(shared::count_field(notes.client())));
    }
    let plan = thinking::plan(&request, target, notes);
    let thinks = plan.thinking.as_ref().is_some_and(|t| t.get("type").and_then(Json::str) != Some("disabled"));
    let mut out = Object::new().with("model", target.model).with("max_tokens", plan.max_tokens);
    let (system, turns) = shared::alternate(request.turns);
    let system: Json = system.into_iter().filter_map(|block| system_block(block, notes)).collect();
    if !system.list().is_empty() {
        out.put("system", system);
    }
    out.put("messages", messages(turns, notes)?);
    if request.stream {
        out.put("stream", true);
    }
    sampling(request.sampling, thinks, target, &mut out, notes);
    if let Some(thinking) = plan.thinking {
        out.put("thinking", thinking);
    }
    let format = request.format.map(|format| output_format(format, target, notes)).transpose()?.flatten();
    if plan.effort.is_some() || format.is_some() {
        out.put("output_config", Object::new().maybe("effort", plan.effort).maybe("format", format));
    }
    tools(request.tools, request.choice, request.parallel, target, &mut out, notes);
    if let Some(user) = request.user {
        out.put("metadata", Object::new().with("user_id", user));
    }
    openai::drop_members(&request.openai, notes);
    Ok(out)
}

fn sampling(s: Sampling, thinks: bool, target: &Target<'_>, out: &mut Object, notes: &mut Notes) {
    // Later Claudes take one of the two.
    let one_of_two = s.temperature.is_some() && effort::claude_version(target.model).is_some_and(|v| v >= (4, 1));
    match s.temperature {
        Some(number) if thinks && number.parse() != Ok(1.0) => notes.drop(Feature::Temperature),
        Some(number) => {
            let (number, moved) = shared::clamp(number, 1.0);
            if moved {
                notes.drop(Feature::Temperature);
            }
            out.put("temperature", Json::Number(number));
        }
        None => {}
    }
    match s.top_p {
        Some(number) if (thinks || one_of_two) && number.parse() == Ok(1.0) => {}
        Some(_) if thinks || one_of_two => notes.drop(Feature::TopP),
        Some(number) => out.put("top_p", Json::Number(number)),
        None => {}
    }
    match s.top_k {
        Some(_) if thinks => notes.drop(Feature::TopK),
        Some(k) => out.put("top_k", k),
        None => {}
    }
    let dropped = [
        (s.seed.is_some(), Feature::Seed),
        (s.presence.is_some_and(|n| n.parse() != Ok(0.0)), Feature::Presence),
        (s.frequency.is_some_and(|n| n.parse() != Ok(0.0)), Feature::Frequency),
        (s.logprobs.is_some(), Feature::Logprobs),
        // Sequences of blanks are refused.
        (s.stop.iter().any(|stop| stop.trim().is_empty()), Feature::Stop),
    ];
    for (_, feature) in dropped.into_iter().filter(|(is, _)| *is) {
        notes.drop(feature);
    }
    let stops: Vec<Json> = s.stop.into_iter().filter(|stop| !stop.trim().is_empty()).map(Json::from).collect();
    if !stops.is_empty() {
        out.put("stop_sequences", stops);
    }
}

fn output_format(format: Format, target: &Target<'_>, notes: &mut Notes) -> Result<Option<Object>, Refusal> {
    match format {
        Format::Json => {
            notes.drop(Feature::JsonMode);
            Ok(None)
        }
        Format::Schema { .. } if too_old_for_schemas(target) => {
            Err(fields::unserved(shared::format_field(notes.client())))
        }
        Format::Schema { schema: wanted, .. } => {
            let schema = schema::ANTHROPIC.fit(wanted, notes);
            Ok(Some(Object::new().with("type", "json_schema").with("schema", schema)))
        }
    }
}

fn too_old_for_schemas(target: &Target<'_>) -> bool {
    effort::claude_version(target.model).is_some_and(|version| version < (4, 5))
}

fn tools(
    tools: Vec<Tool>,
    choice: Option<Choice>,
    parallel: Option<bool>,
    target: &Target<'_>,
    out: &mut Object,
    notes: &mut Notes,
) {
    if tools.is_empty() {
        return;
    }
    // Only some of them may be called: the others are not declared.
    let tools = match &choice {
        Some(Choice::Among { names, .. }) => shared::only(tools, names),
        _ => tools,
    };
    let declared: Vec<Json> = tools.into_iter().map(|t| tool(t, target, notes)).collect();
    out.put("tools", declared);
    let kind = match &choice {
        None | Some(Choice::Auto | Choice::Among { required: false, .. }) => "auto",
        Some(Choice::None) => "none",
        Some(Choice::Required | Choice::Among { required: true, .. }) => "any",
        Some(Choice::Named(_)) => "tool",
    };
    let single = (parallel == Some(false) && kind != "none").then_some(true);
    if choice.is_none() && single.is_none() {
        return;
    }
    let name = match choice {
        Some(Choice::Named(name)) => Some(name),
        _ => None,
    };
    let object = Object::new().with("type", kind).maybe("name", name).maybe("disable_parallel_tool_use", single);
    out.put("tool_choice", object);
}

fn tool(tool: Tool, target: &Target<'_>, notes: &mut Notes) -> Json {
    let mut schema = tool.schema.unwrap_or_else(openai::empty_schema);
    let strict = tool.strict.filter(|strict| *strict);
    let strict = match strict {
        Some(_) if too_old_for_schemas(target) => {
            notes.drop(Feature::Strict);
            None
        }
        Some(_) => {
            schema = schema::ANTHROPIC.fit(schema, notes);
            Some(true)
        }
        None => None,
    };
    Object::new()
        .with("name", tool.name)
        .maybe("description", tool.description)
        .with("input_schema", schema)
        .maybe("strict", strict)
        .maybe("cache_control", cache_control(tool.cache))
        .into()
}

/// Instructions are text; whatever else a caller put there is named.
fn system_block(block: Block, notes: &mut Notes) -> Option<Json> {
    let text = match block.body {
        Body::Text { text, .. } | Body::Refusal(text) => Some(text).filter(|text| !text.trim().is_empty())?,
        _ => {
            notes.drop(Feature::Instructions);
            return None;
        }
    };
    let object = Object::new().with("type", "text").with("text", text);
    Some(object.maybe("cache_control", cache_control(block.cache)).into())
}

fn messages(turns: Vec<Turn>, notes: &mut Notes) -> Result<Vec<Json>, Refusal> {
    let mut out = Vec::with_capacity(turns.len() + 1);
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        out.push(message("user", shared::OPENING.into()));
    }
    let last = turns.len().saturating_sub(1);
    for (at, turn) in turns.into_iter().enumerate() {
        let assistant = turn.role == Role::Assistant;
        let mut blocks = Vec::with_capacity(turn.blocks.len());
        for block in shared::results_first(turn.blocks) {
            blocks.extend(content(block, notes)?);
        }
        if assistant && at == last {
            trim_end(&mut blocks);
        }
        if !blocks.is_empty() {
            out.push(message(if assistant { "assistant" } else { "user" }, blocks.into()));
        }
    }
    Ok(out)
}

fn message(role: &'static str, content: Json) -> Json {
    Object::new().with("role", role).with("content", content).into()
}

/// The assistant's words that the answer goes on from may not end in blanks.
fn trim_end(blocks: &mut Vec<Json>) {
    let Some(Json::Object(last)) = blocks.last_mut() else { return };
    let Some(text) = last.take("text").into_string() else { return };
    match text.trim_end() {
        "" => drop(blocks.pop()),
        trimmed => last.put("text", trimmed),
    }
}

/// A block; `None` for what holds nothing.
fn content(block: Block, notes: &mut Notes) -> Result<Option<Json>, Refusal> {
    let object = match block.body {
        Body::Text { text, .. } | Body::Refusal(text) if text.trim().is_empty() => return Ok(None),
        Body::Text { text, .. } | Body::Refusal(text) => Object::new().with("type", "text").with("text", text),
        Body::Image { source, detail } => {
            if detail.is_some() {
                notes.drop(Feature::ImageDetail);
            }
            Object::new().with("type", "image").with("source", place(source))
        }
        Body::Audio { .. } => return Err(fields::unserved(shared::audio_field(notes.client()))),
        Body::File { source, name } => document(source, name, notes)?,
        Body::Thinking { text, signature: Some(signature) } if signature.origin == Origin::Anthropic => {
            Object::new().with("type", "thinking").with("thinking", text).with("signature", signature.data)
        }
        Body::Thinking { signature: Some(signature), .. } if signature.origin == Origin::Redacted => {
            Object::new().with("type", "redacted_thinking").with("data", signature.data)
        }
        Body::Thinking { .. } => {
            notes.drop(Feature::Thoughts);
            return Ok(None);
        }
        Body::ToolUse { id, name, arguments, .. } => Object::new()
            .with("type", "tool_use")
            .with("id", ids::for_anthropic(&id))
            .with("name", name)
            .with("input", shared::arguments_object(&arguments)?),
        Body::ToolResult { id, content: inner, failed, .. } => {
            let mut blocks = Vec::with_capacity(inner.len());
            for block in inner {
                blocks.extend(content(block, notes)?);
            }
            Object::new()
                .with("type", "tool_result")
                .with("tool_use_id", ids::for_anthropic(&id))
                .maybe("content", Some(blocks).filter(|b| !b.is_empty()))
                .maybe("is_error", failed.then_some(true))
        }
    };
    Ok(Some(object.maybe("cache_control", cache_control(block.cache)).into()))
}

fn place(source: Source) -> Object {
    match source {
        Source::Url { url, .. } => Object::new().with("type", "url").with("url", url),
        Source::Inline { media_type, data } => {
            Object::new().with("type", "base64").with("media_type", media_type).with("data", data)
        }
        Source::Text(text) => Object::new().with("type", "text").with("media_type", "text/plain").with("data", text),
    }
}

/// PDFs and plain text; Claude reads nothing else as a document.
fn document(source: Source, name: Option<String>, notes: &Notes) -> Result<Object, Refusal> {
    let refused = || fields::unserved(shared::file_field(notes.client()));
    let source = match source {
        Source::Inline { media_type, data } if media_type.starts_with("text/") => {
            let bytes = STANDARD.decode(&data).map_err(|_| refused())?;
            Source::Text(String::from_utf8(bytes).map_err(|_| refused())?)
        }
        Source::Inline { media_type, .. } if media_type != "application/pdf" => return Err(refused()),
        other => other,
    };
    Ok(Object::new().with("type", "document").with("source", place(source)).maybe("title", name))
}
