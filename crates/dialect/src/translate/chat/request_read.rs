//! Reads a chat completions request.

use crate::translate::fields::{Fields, refuse, unserved};
use crate::translate::form::{
    Block, Body, CacheMark, Choice, Format, Level, Reasoning, Request, Role, Sampling, Source,
};
use crate::translate::form::{Effort, Tool, Turn};
use crate::translate::notes::Notes;
use crate::translate::{openai, seal, shared};
use crate::value::Json;
use anykey_core::Refusal;

/// What the request says, and whether its stream ends with a chunk of usage.
pub fn read(body: Json, notes: &mut Notes) -> Result<(Request, bool), Refusal> {
    let mut f = Fields::of(body, "")?;
    f.refuse_all(&["functions", "function_call", "audio", "web_search_options"])?;
    f.take("model");
    let mut request = Request { stream: f.flag("stream")?.unwrap_or(false), ..Request::default() };
    let include_usage = stream_options(&mut f, notes)?;
    for message in f.list("messages")?.ok_or_else(|| refuse("messages", "is missing"))? {
        request.turns.push(turn(message, notes)?);
    }
    request.tools = shared::functions(f.list("tools")?, notes, read_tool)?;
    request.choice = f.take("tool_choice").map(|choice| read_choice(choice, notes)).transpose()?;
    request.parallel = f.flag("parallel_tool_calls")?;
    request.sampling = sampling(&mut f)?;
    request.reasoning = reasoning(&mut f)?;
    request.format = f.take("response_format").map(|format| read_format(format, notes)).transpose()?.flatten();
    request.user = f.text("user")?;
    modalities(&mut f)?;
    request.openai = openai::members(&mut f);
    f.done(notes);
    Ok((request, include_usage))
}

fn stream_options(f: &mut Fields, notes: &mut Notes) -> Result<bool, Refusal> {
    let Some(options) = f.take("stream_options") else { return Ok(false) };
    let mut options = Fields::of(options, "stream_options.")?;
    let include = options.flag("include_usage")?.unwrap_or(false);
    // Padding against eavesdroppers, which is the provider's to add.
    options.take("include_obfuscation");
    options.done(notes);
    Ok(include)
}

fn modalities(f: &mut Fields) -> Result<(), Refusal> {
    match f.texts("modalities")? {
        Some(kinds) if kinds.iter().any(|kind| kind != "text") => Err(unserved("modalities")),
        _ => Ok(()),
    }
}

fn sampling(f: &mut Fields) -> Result<Sampling, Refusal> {
    let old_limit = f.count("max_tokens")?;
    let logprobs = f.flag("logprobs")?.unwrap_or(false);
    let alternatives = f.count("top_logprobs")?;
    Ok(Sampling {
        max_tokens: f.count("max_completion_tokens")?.or(old_limit),
        n: f.count("n")?,
        temperature: f.number("temperature")?,
        top_p: f.number("top_p")?,
        top_k: f.count("top_k")?,
        seed: f.number("seed")?,
        presence: f.number("presence_penalty")?,
        frequency: f.number("frequency_penalty")?,
        stop: shared::one_or_many(f, "stop")?,
        logprobs: (logprobs || alternatives.is_some()).then(|| alternatives.unwrap_or(0)),
    })
}

fn reasoning(f: &mut Fields) -> Result<Option<Reasoning>, Refusal> {
    let Some(word) = f.text("reasoning_effort")? else { return Ok(None) };
    let level = match Effort::of_word(&word) {
        Some(effort) => Level::Effort(effort),
        None if word == "none" => Level::Off,
        None => return Err(refuse("reasoning_effort", "must be none, minimal, low, medium, high or xhigh")),
    };
    Ok(Some(Reasoning { level, show: None }))
}

fn read_format(format: Json, notes: &mut Notes) -> Result<Option<Format>, Refusal> {
    let mut f = Fields::of(format, "response_format.")?;
    let format = match f.kind()?.as_str() {
        "text" => None,
        "json_object" => Some(Format::Json),
        "json_schema" => {
            let inner = f.take("json_schema").ok_or_else(|| f.wrong("json_schema", "is missing"))?;
            let mut inner = Fields::of(inner, "response_format.json_schema.")?;
            let format = shared::schema_format(&mut inner)?;
            inner.done(notes);
            Some(format)
        }
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(format)
}

fn read_tool(tool: Json, notes: &mut Notes) -> Result<Option<Tool>, Refusal> {
    let mut f = Fields::of(tool, "tools[].")?;
    if f.kind()? != "function" {
        return Ok(None);
    }
    let cache = shared::cache_mark(&mut f);
    let function = f.take("function").ok_or_else(|| f.wrong("function", "is missing"))?;
    let mut function = Fields::of(function, "tools[].function.")?;
    let tool = shared::function(&mut function, "parameters", cache)?;
    function.done(notes);
    f.done(notes);
    Ok(Some(tool))
}

fn read_choice(choice: Json, notes: &mut Notes) -> Result<Choice, Refusal> {
    if let Some(word) = choice.str() {
        return openai::choice_word(word);
    }
    let mut f = Fields::of(choice, "tool_choice.")?;
    let choice = match f.kind()?.as_str() {
        "function" => {
            let function = f.take("function").ok_or_else(|| f.wrong("function", "is missing"))?;
            let mut function = Fields::of(function, "tool_choice.function.")?;
            let name = function.need_text("name")?;
            function.done(notes);
            Choice::Named(name)
        }
        "allowed_tools" => {
            let inner = f.take("allowed_tools").ok_or_else(|| f.wrong("allowed_tools", "is missing"))?;
            let mut inner = Fields::of(inner, "tool_choice.allowed_tools.")?;
            let choice = openai::among(&mut inner, |tool| tool.at("function").at("name").str())?;
            inner.done(notes);
            choice
        }
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(choice)
}

fn turn(message: Json, notes: &mut Notes) -> Result<Turn, Refusal> {
    let mut f = Fields::of(message, "messages[].")?;
    let role = f.need_text("role")?;
    let cache = shared::cache_mark(&mut f);
    let (role, mut blocks) = match role.as_str() {
        "system" | "developer" => (Role::System, content(&mut f, notes)?),
        "user" => (Role::User, content(&mut f, notes)?),
        "assistant" => (Role::Assistant, assistant(&mut f, notes)?),
        "tool" => (Role::User, vec![result(&mut f, notes)?]),
        _ => return Err(f.unserved("role")),
    };
    if let Some(last) = blocks.last_mut() {
        last.cache = last.cache.or(cache);
    }
    f.done(notes);
    Ok(Turn { role, blocks })
}

/// A call's id may carry the signature of the thinking before it, or of the call itself.
fn assistant(f: &mut Fields, notes: &mut Notes) -> Result<Vec<Block>, Refusal> {
    let thinking = f.text("reasoning_content")?.filter(|text| !text.is_empty());
    let said = content(f, notes)?;
    let refusal = f.text("refusal")?.filter(|text| !text.is_empty());
    let mut calls: Vec<Block> = Vec::new();
    let mut signatures = Vec::new();
    for call in f.list("tool_calls")?.unwrap_or_default() {
        let mut call = Fields::of(call, "messages[].tool_calls[].")?;
        if call.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(call.unserved("type"));
        }
        call.take("index");
        let id = call.need_text("id")?;
        let function = call.take("function").ok_or_else(|| call.wrong("function", "is missing"))?;
        let mut function = Fields::of(function, "messages[].tool_calls[].function.")?;
        let name = function.need_text("name")?;
        let arguments = function.text("arguments")?.unwrap_or_default();
        function.done(notes);
        call.done(notes);
        let (riders, call) = shared::arrived_call(&id, name, arguments);
        // The first thinking is before everything that was said.
        if calls.is_empty() {
            signatures = riders;
        } else {
            calls.extend(shared::thoughts(Vec::new(), riders));
        }
        calls.push(call.into());
    }
    let mut blocks = shared::thoughts(thinking.into_iter().collect(), signatures);
    blocks.extend(said);
    blocks.extend(refusal.map(|text| Body::Refusal(text).into()));
    blocks.extend(calls);
    Ok(blocks)
}

fn result(f: &mut Fields, notes: &mut Notes) -> Result<Block, Refusal> {
    let id = seal::alight(&f.need_text("tool_call_id")?).0.to_owned();
    let name = f.text("name")?;
    let content = content(f, notes)?;
    Ok(Body::ToolResult { id, name, content, failed: false }.into())
}

fn content(f: &mut Fields, notes: &mut Notes) -> Result<Vec<Block>, Refusal> {
    match f.take("content") {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(shared::plain(text)),
        Some(Json::Array(parts)) => parts.into_iter().map(|p| part(p, notes)).collect(),
        Some(_) => Err(f.wrong("content", "must be a string or an array")),
    }
}

fn part(part: Json, notes: &mut Notes) -> Result<Block, Refusal> {
    let mut f = Fields::of(part, "messages[].content[].")?;
    let cache: Option<CacheMark> = shared::cache_mark(&mut f);
    let body = match f.kind()?.as_str() {
        "text" => Body::text(f.need_text("text")?),
        "refusal" => Body::Refusal(f.need_text("refusal")?),
        "image_url" => {
            let image = f.take("image_url").ok_or_else(|| f.wrong("image_url", "is missing"))?;
            let mut image = Fields::of(image, "messages[].content[].image_url.")?;
            let source = shared::url(image.need_text("url")?);
            let detail = image.text("detail")?.filter(|detail| detail != "auto");
            image.done(notes);
            Body::Image { source, detail }
        }
        "input_audio" => {
            let audio = f.take("input_audio").ok_or_else(|| f.wrong("input_audio", "is missing"))?;
            let mut audio = Fields::of(audio, "messages[].content[].input_audio.")?;
            let body = Body::Audio { data: audio.need_text("data")?, format: audio.need_text("format")? };
            audio.done(notes);
            body
        }
        "file" => {
            let file = f.take("file").ok_or_else(|| f.wrong("file", "is missing"))?;
            let mut file = Fields::of(file, "messages[].content[].file.")?;
            file.refuse_all(&["file_id"])?;
            let source: Source = shared::url(file.need_text("file_data")?);
            let name = file.text("filename")?;
            file.done(notes);
            Body::File { source, name }
        }
        _ => return Err(f.unserved("type")),
    };
    f.done(notes);
    Ok(Block { body, cache })
}
