//! Reads a responses request.

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
    // What is stored is at the provider that stored it.
    f.refuse_all(&["previous_response_id", "conversation", "prompt"])?;
    if f.flag("background")?.unwrap_or(false) {
        return Err(f.unserved("background"));
    }
    f.take("model");
    let mut request = Request { stream: f.flag("stream")?.unwrap_or(false), ..Request::default() };
    // Padding against eavesdroppers, which is the provider's to add.
    f.take("stream_options");
    if let Some(text) = f.text("instructions")? {
        request.turns.push(Turn { role: Role::System, blocks: shared::plain(text) });
    }
    match f.take("input") {
        Some(Json::String(text)) => request.turns.push(Turn { role: Role::User, blocks: shared::plain(text) }),
        Some(Json::Array(items)) => {
            for item in items {
                request.turns.push(read_item(item, notes)?);
            }
        }
        _ => return Err(refuse("input", "must be a string or an array")),
    }
    request.tools = shared::functions(f.list("tools")?, notes, read_tool)?;
    request.choice = f.take("tool_choice").map(|choice| read_choice(choice, notes)).transpose()?;
    request.parallel = f.flag("parallel_tool_calls")?;
    let logprobs = include(&mut f, notes)?;
    request.sampling = Sampling {
        max_tokens: f.count("max_output_tokens")?,
        temperature: f.number("temperature")?,
        top_p: f.number("top_p")?,
        logprobs: f.count("top_logprobs")?.filter(|n| *n > 0).or(logprobs.then_some(0)),
        ..Sampling::default()
    };
    request.reasoning = reasoning(&mut f, notes)?;
    request.user = f.text("user")?;
    request.openai = openai::members(&mut f);
    text(&mut f, &mut request, notes)?;
    if f.text("truncation")?.is_some_and(|word| word != "disabled") {
        notes.member("", "truncation");
    }
    f.done(notes);
    Ok(request)
}

/// Whether log probabilities are wanted. Reasoning comes with its seal unasked.
fn include(f: &mut Fields, notes: &mut Notes) -> Result<bool, Refusal> {
    let mut logprobs = false;
    for wanted in f.texts("include")?.unwrap_or_default() {
        match wanted.as_str() {
            "reasoning.encrypted_content" => {}
            "message.output_text.logprobs" => logprobs = true,
            _ => notes.member("", "include"),
        }
    }
    Ok(logprobs)
}

fn reasoning(f: &mut Fields, notes: &mut Notes) -> Result<Option<Reasoning>, Refusal> {
    let Some(reasoning) = f.take("reasoning") else { return Ok(None) };
    let mut f = Fields::of(reasoning, "reasoning.")?;
    let summary = f.text("summary")?.or(f.text("generate_summary")?);
    let level = match f.text("effort")? {
        None => Level::Auto,
        Some(word) if word == "none" => Level::Off,
        Some(word) => match Effort::of_word(&word) {
            Some(effort) => Level::Effort(effort),
            None => return Err(f.wrong("effort", "must be none, minimal, low, medium, high or xhigh")),
        },
    };
    f.done(notes);
    Ok(Some(Reasoning { level, show: summary.map(|_| true) }))
}

fn text(f: &mut Fields, request: &mut Request, notes: &mut Notes) -> Result<(), Refusal> {
    let Some(text) = f.take("text") else { return Ok(()) };
    let mut f = Fields::of(text, "text.")?;
    if let Some(verbosity) = f.take("verbosity").filter(|v| v.str() != Some("medium")) {
        request.openai.put("verbosity", verbosity);
    }
    if let Some(format) = f.take("format") {
        let mut format = Fields::of(format, "text.format.")?;
        request.format = match format.kind()?.as_str() {
            "text" => None,
            "json_object" => Some(Format::Json),
            "json_schema" => Some(shared::schema_format(&mut format)?),
            _ => return Err(format.unserved("type")),
        };
        format.done(notes);
    }
    f.done(notes);
    Ok(())
}

fn read_tool(tool: Json, notes: &mut Notes) -> Result<Option<Tool>, Refusal> {
    let mut f = Fields::of(tool, "tools[].")?;
    if f.kind()? != "function" {
        return Ok(None);
    }
    let tool = shared::function(&mut f, "parameters", None)?;
    f.done(notes);
    Ok(Some(tool))
}

fn read_choice(choice: Json, notes: &mut Notes) -> Result<Choice, Refusal> {
    if let Some(word) = choice.str() {
        return openai::choice_word(word);
    }
    let mut f = Fields::of(choice, "tool_choice.")?;
    let choice = match f.kind()?.as_str() {
        "function" => Choice::Named(f.need_text("name")?),
        "allowed_tools" => openai::among(&mut f, |tool| tool.at("name").str())?,
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(choice)
}

fn read_item(item: Json, notes: &mut Notes) -> Result<Turn, Refusal> {
    let mut f = Fields::of(item, "input[].")?;
    let kind = f.text("type")?.unwrap_or_else(|| "message".to_owned());
    // Names and states that the provider gave to its own output.
    let id = f.text("id")?.unwrap_or_default();
    f.take("status");
    f.take("phase");
    let (role, blocks) = match kind.as_str() {
        "message" => {
            let role = match f.need_text("role")?.as_str() {
                "user" => Role::User,
                "assistant" => Role::Assistant,
                "system" | "developer" => Role::System,
                _ => return Err(f.unserved("role")),
            };
            (role, content(&mut f, "content", notes)?)
        }
        "function_call" => (Role::Assistant, call(&mut f)?),
        "function_call_output" => (Role::User, vec![result(&mut f, notes)?]),
        "reasoning" => (Role::Assistant, vec![thought(&mut f, &id)?]),
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(Turn { role, blocks })
}

fn call(f: &mut Fields) -> Result<Vec<Block>, Refusal> {
    let (id, name) = (f.need_text("call_id")?, f.need_text("name")?);
    let arguments = f.text("arguments")?.unwrap_or_default();
    let (riders, call) = shared::arrived_call(&id, name, arguments);
    let mut blocks = shared::thoughts(Vec::new(), riders);
    blocks.push(call.into());
    Ok(blocks)
}

fn result(f: &mut Fields, notes: &mut Notes) -> Result<Block, Refusal> {
    let id = seal::alight(&f.need_text("call_id")?).0.to_owned();
    let content = content(f, "output", notes)?;
    Ok(Body::ToolResult { id, name: None, content, failed: false }.into())
}

/// What OpenAI encrypted is read by OpenAI under the item's own id.
fn thought(f: &mut Fields, id: &str) -> Result<Block, Refusal> {
    let mut texts = Vec::new();
    for name in ["summary", "content"] {
        for part in f.list(name)?.unwrap_or_default() {
            texts.extend(part.at("text").str().map(str::to_owned));
        }
    }
    let signature = f.text("encrypted_content")?.map(|text| Signature::unwrap(text, Origin::OpenAi));
    let signature = signature.map(|signature| match signature.origin {
        Origin::OpenAi if !signature.data.starts_with("rs_") => {
            Signature::new(Origin::OpenAi, format!("{id}:{}", signature.data))
        }
        _ => signature,
    });
    Ok(Body::Thinking { text: texts.join("\n\n"), signature }.into())
}

fn content(f: &mut Fields, name: &str, notes: &mut Notes) -> Result<Vec<Block>, Refusal> {
    match f.take(name) {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(shared::plain(text)),
        Some(Json::Array(parts)) => parts.into_iter().map(|p| part(p, notes)).collect(),
        Some(_) => Err(f.wrong(name, "must be a string or an array")),
    }
}

fn part(part: Json, notes: &mut Notes) -> Result<Block, Refusal> {
    let mut f = Fields::of(part, "input[].content[].")?;
    let body = match f.kind()?.as_str() {
        "input_text" | "text" => Body::text(f.need_text("text")?),
        "output_text" => {
            // Sources and probabilities of an earlier answer are not said again.
            f.take("annotations");
            f.take("logprobs");
            Body::text(f.need_text("text")?)
        }
        "refusal" => Body::Refusal(f.need_text("refusal")?),
        "input_image" => {
            f.refuse_all(&["file_id"])?;
            let source = shared::url(f.need_text("image_url")?);
            Body::Image { source, detail: f.text("detail")?.filter(|detail| detail != "auto") }
        }
        "input_file" => {
            f.refuse_all(&["file_id"])?;
            let url = f.text("file_url")?.map(|url| Source::Url { url, media_type: None });
            let source = match url {
                Some(source) => source,
                None => shared::url(f.need_text("file_data")?),
            };
            Body::File { source, name: f.text("filename")? }
        }
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(body.into())
}
