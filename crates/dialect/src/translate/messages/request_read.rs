//! Reads a messages request.

use crate::translate::fields::{Fields, refuse};
use crate::translate::form::{Block, Body, Choice, Effort, Format, Level, Reasoning, Request, Role, Sampling, Source};
use crate::translate::form::{Tool, Turn};
use crate::translate::notes::Notes;
use crate::translate::seal::{Origin, Signature};
use crate::translate::{openai, seal, shared};
use crate::value::Json;
use anykey_core::Refusal;

pub fn read(body: Json, notes: &mut Notes) -> Result<Request, Refusal> {
    let mut f = Fields::of(body, "")?;
    f.refuse_all(&["mcp_servers", "container"])?;
    f.take("model");
    let mut request = Request { stream: f.flag("stream")?.unwrap_or(false), ..Request::default() };
    let system = content(f.take("system"), "system", notes)?;
    if !system.is_empty() {
        request.turns.push(Turn { role: Role::System, blocks: system });
    }
    for message in f.list("messages")?.ok_or_else(|| refuse("messages", "is missing"))? {
        request.turns.push(turn(message, notes)?);
    }
    request.tools = shared::functions(f.list("tools")?, notes, read_tool)?;
    tool_choice(&mut f, &mut request, notes)?;
    request.sampling = Sampling {
        max_tokens: f.count("max_tokens")?,
        temperature: f.number("temperature")?,
        top_p: f.number("top_p")?,
        top_k: f.count("top_k")?,
        stop: f.texts("stop_sequences")?.unwrap_or_default(),
        ..Sampling::default()
    };
    request.reasoning = thinking(&mut f, notes)?;
    output_config(&mut f, &mut request, notes)?;
    if let Some(metadata) = f.take("metadata") {
        let mut metadata = Fields::of(metadata, "metadata.")?;
        request.user = metadata.text("user_id")?;
        metadata.done(notes);
    }
    // The usual tier; another one is named below.
    if matches!(f.text("service_tier")?.as_deref(), Some(tier) if tier != "auto" && tier != "standard_only") {
        notes.member("", "service_tier");
    }
    f.done(notes);
    Ok(request)
}

fn thinking(f: &mut Fields, notes: &mut Notes) -> Result<Option<Reasoning>, Refusal> {
    let Some(thinking) = f.take("thinking") else { return Ok(None) };
    let mut thinking = Fields::of(thinking, "thinking.")?;
    let level = match thinking.kind()?.as_str() {
        "disabled" => Level::Off,
        "adaptive" => Level::Auto,
        "enabled" => match thinking.count("budget_tokens")? {
            Some(budget) => Level::Budget(budget),
            None => return Err(thinking.wrong("budget_tokens", "is missing")),
        },
        _ => return Err(thinking.unserved("type")),
    };
    let hidden = thinking.text("display")?.as_deref() == Some("omitted");
    thinking.done(notes);
    Ok(Some(Reasoning { level, show: Some(level != Level::Off && !hidden) }))
}

fn output_config(f: &mut Fields, request: &mut Request, notes: &mut Notes) -> Result<(), Refusal> {
    // The name of the member while it was a beta.
    let mut format = f.take("output_format");
    if let Some(config) = f.take("output_config") {
        let mut config = Fields::of(config, "output_config.")?;
        format = config.take("format").or(format);
        if let Some(word) = config.text("effort")? {
            let Some(effort) = Effort::of_word(&word) else {
                return Err(config.wrong("effort", "must be low, medium, high or max"));
            };
            match &mut request.reasoning {
                // An effort says how much, where the model decides otherwise.
                Some(reasoning) if reasoning.level == Level::Auto => reasoning.level = Level::Effort(effort),
                Some(_) => {}
                None => request.reasoning = Some(Reasoning { level: Level::Effort(effort), show: Some(false) }),
            }
        }
        config.done(notes);
    }
    if let Some(format) = format {
        let mut format = Fields::of(format, "output_config.format.")?;
        if format.kind()? != "json_schema" {
            return Err(format.unserved("type"));
        }
        let schema = format.take("schema").ok_or_else(|| format.wrong("schema", "is missing"))?;
        format.done(notes);
        request.format = Some(Format::Schema { name: None, description: None, schema, strict: Some(true) });
    }
    Ok(())
}

fn read_tool(tool: Json, notes: &mut Notes) -> Result<Option<Tool>, Refusal> {
    let mut f = Fields::of(tool, "tools[].")?;
    if f.text("type")?.is_some_and(|kind| kind != "custom") {
        return Ok(None);
    }
    let cache = shared::cache_mark(&mut f);
    let tool = shared::function(&mut f, "input_schema", cache)?;
    // Arguments of any client arrive piece by piece anyway.
    f.take("eager_input_streaming");
    f.done(notes);
    Ok(Some(tool))
}

fn tool_choice(f: &mut Fields, request: &mut Request, notes: &mut Notes) -> Result<(), Refusal> {
    let Some(choice) = f.take("tool_choice") else { return Ok(()) };
    let mut choice = Fields::of(choice, "tool_choice.")?;
    request.choice = Some(match choice.kind()?.as_str() {
        "auto" => Choice::Auto,
        "none" => Choice::None,
        "any" => Choice::Required,
        "tool" => Choice::Named(choice.need_text("name")?),
        _ => return Err(choice.unserved("type")),
    });
    request.parallel = choice.flag("disable_parallel_tool_use")?.map(|single| !single);
    choice.done(notes);
    Ok(())
}

fn turn(message: Json, notes: &mut Notes) -> Result<Turn, Refusal> {
    let mut f = Fields::of(message, "messages[].")?;
    let role = match f.need_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(f.unserved("role")),
    };
    let blocks = content(f.take("content"), "messages[].content", notes)?;
    f.done(notes);
    Ok(Turn { role, blocks: bring_home(blocks) })
}

/// Signatures that rode in the ids of calls belong to the thinking before them: of the first that has any to what the turn
/// begins with. Where thinking is shown it has them itself.
fn bring_home(blocks: Vec<Block>) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::with_capacity(blocks.len());
    let mut signed = blocks.iter().any(|block| matches!(&block.body, Body::Thinking { signature: Some(_), .. }));
    let shown = signed;
    for block in blocks {
        let Body::ToolUse { id, name, arguments, .. } = block.body else {
            out.push(block);
            continue;
        };
        let (riders, call) = shared::arrived_call(&id, name, arguments);
        if !(shown || riders.is_empty()) {
            let at = if std::mem::replace(&mut signed, true) { out.len() } else { 0 };
            out.splice(at..at, shared::thoughts(Vec::new(), riders));
        }
        out.push(Block { body: call, cache: block.cache });
    }
    out
}

fn content(content: Option<Json>, field: &str, notes: &mut Notes) -> Result<Vec<Block>, Refusal> {
    match content {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(shared::plain(text)),
        Some(Json::Array(blocks)) => blocks.into_iter().map(|b| block(b, notes)).collect(),
        Some(_) => Err(refuse(field, "must be a string or an array")),
    }
}

fn block(block: Json, notes: &mut Notes) -> Result<Block, Refusal> {
    let mut f = Fields::of(block, "messages[].content[].")?;
    let cache = shared::cache_mark(&mut f);
    let body = match f.kind()?.as_str() {
        "text" => Body::text(f.need_text("text")?),
        "image" => Body::Image { source: source(&mut f, notes)?, detail: None },
        "document" => {
            if f.take("citations").is_some_and(|c| c.at("enabled").bool() == Some(true)) {
                notes.member("messages[].content[].", "citations");
            }
            Body::File { source: source(&mut f, notes)?, name: f.text("title")? }
        }
        "thinking" => thought(&mut f)?,
        "redacted_thinking" => {
            let signature = Signature::unwrap(f.need_text("data")?, Origin::Redacted);
            Body::Thinking { text: String::new(), signature: Some(signature) }
        }
        "tool_use" => Body::ToolUse {
            id: f.need_text("id")?,
            name: f.need_text("name")?,
            arguments: f.take("input").map_or_else(|| openai::NO_ARGUMENTS.to_owned(), |input| input.text()),
            signature: None,
        },
        "tool_result" => Body::ToolResult {
            id: seal::alight(&f.need_text("tool_use_id")?).0.to_owned(),
            name: None,
            content: content(f.take("content"), "messages[].content[].content", notes)?,
            failed: f.flag("is_error")?.unwrap_or(false),
        },
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(Block { body, cache })
}

fn thought(f: &mut Fields) -> Result<Body, Refusal> {
    let text = f.need_text("thinking")?;
    let signature = f.text("signature")?.filter(|s| !s.is_empty());
    Ok(Body::Thinking { text, signature: signature.map(|s| Signature::unwrap(s, Origin::Anthropic)) })
}

fn source(f: &mut Fields, notes: &mut Notes) -> Result<Source, Refusal> {
    let source = f.take("source").ok_or_else(|| f.wrong("source", "is missing"))?;
    let mut source = Fields::of(source, "messages[].content[].source.")?;
    let found = match source.kind()?.as_str() {
        "url" => Source::Url { url: source.need_text("url")?, media_type: None },
        "base64" => Source::Inline { media_type: source.need_text("media_type")?, data: source.need_text("data")? },
        "text" => {
            // It has but one.
            source.take("media_type");
            Source::Text(source.need_text("data")?)
        }
        _ => return Err(source.unserved("type")),
    };
    source.done(notes);
    Ok(found)
}
