//! Reads `generationConfig`, `tools` and `toolConfig`.

use crate::translate::fields::{Fields, refuse, unserved};
use crate::translate::form::{Choice, Effort, Format, Level, Reasoning, Request, Sampling, Tool};
use crate::translate::notes::Notes;
use crate::translate::schema;
use crate::value::Json;
use anykey_core::Refusal;

pub fn generation(config: Json, request: &mut Request, notes: &mut Notes) -> Result<(), Refusal> {
    let mut f = Fields::proto(config, "generationConfig.")?;
    f.refuse_all(&["speechConfig", "imageConfig"])?;
    if f.texts("responseModalities")?.is_some_and(|kinds| kinds.iter().any(|k| !k.eq_ignore_ascii_case("text"))) {
        return Err(f.unserved("responseModalities"));
    }
    let logprobs = f.flag("responseLogprobs")?.unwrap_or(false);
    let alternatives = f.count("logprobs")?;
    request.sampling = Sampling {
        max_tokens: f.count("maxOutputTokens")?,
        n: f.count("candidateCount")?,
        temperature: f.number("temperature")?,
        top_p: f.number("topP")?,
        // A float, for all that it counts.
        top_k: f.number("topK")?.and_then(|k| k.parse::<f64>().ok()).map(|k| k as u64),
        seed: f.number("seed")?,
        presence: f.number("presencePenalty")?,
        frequency: f.number("frequencyPenalty")?,
        stop: f.texts("stopSequences")?.unwrap_or_default(),
        logprobs: logprobs.then(|| alternatives.unwrap_or(0)),
    };
    request.format = format(&mut f)?;
    if let Some(thinking) = f.take("thinkingConfig") {
        request.reasoning = reasoning(thinking, notes)?;
    }
    f.done(notes);
    Ok(())
}

fn format(f: &mut Fields) -> Result<Option<Format>, Refusal> {
    let real = f.take("responseJsonSchema");
    let schema = real.or(f.take("responseSchema").map(schema::from_openapi));
    match (f.text("responseMimeType")?.as_deref(), schema) {
        (None | Some("application/json"), Some(schema)) => {
            Ok(Some(Format::Schema { name: None, description: None, schema, strict: None }))
        }
        (Some("application/json"), None) => Ok(Some(Format::Json)),
        (None | Some("text/plain"), None) => Ok(None),
        _ => Err(f.unserved("responseMimeType")),
    }
}

fn reasoning(thinking: Json, notes: &mut Notes) -> Result<Option<Reasoning>, Refusal> {
    let mut f = Fields::proto(thinking, "generationConfig.thinkingConfig.")?;
    let show = f.flag("includeThoughts")?;
    let budget = f.number("thinkingBudget")?;
    let level = match (budget.as_deref().map(str::parse::<i64>), f.text("thinkingLevel")?) {
        (Some(Ok(0)), _) => Level::Off,
        (Some(Ok(tokens)), _) if tokens > 0 => Level::Budget(tokens.unsigned_abs()),
        (Some(_), _) | (None, None) => Level::Auto,
        (None, Some(word)) => match Effort::of_word(&word.to_ascii_lowercase()) {
            Some(effort) => Level::Effort(effort),
            None => Level::Auto,
        },
    };
    f.done(notes);
    Ok(Some(Reasoning { level, show }))
}

pub fn tools(tools: Vec<Json>, request: &mut Request, notes: &mut Notes) -> Result<(), Refusal> {
    let mut foreign = None;
    for tool in tools {
        let mut f = Fields::proto(tool, "tools[].")?;
        for declared in f.list("functionDeclarations")?.unwrap_or_default() {
            request.tools.push(function(declared, notes)?);
        }
        // Everything else is a tool that Google runs.
        foreign = f.refuse_any().err().or(foreign);
        f.done(notes);
    }
    foreign.filter(|_| request.tools.is_empty()).map_or(Ok(()), Err)
}

fn function(declared: Json, notes: &mut Notes) -> Result<Tool, Refusal> {
    let mut f = Fields::proto(declared, "tools[].functionDeclarations[].")?;
    let real = f.take("parametersJsonSchema");
    let tool = Tool {
        name: f.need_text("name")?,
        description: f.text("description")?,
        schema: real.or(f.take("parameters").map(schema::from_openapi)),
        strict: None,
        cache: None,
    };
    f.done(notes);
    Ok(tool)
}

pub fn tool_config(config: Json, notes: &mut Notes) -> Result<Option<Choice>, Refusal> {
    let mut f = Fields::proto(config, "toolConfig.")?;
    let Some(calling) = f.take("functionCallingConfig") else {
        f.done(notes);
        return Ok(None);
    };
    f.done(notes);
    let mut f = Fields::proto(calling, "toolConfig.functionCallingConfig.")?;
    let mut names = f.texts("allowedFunctionNames")?.unwrap_or_default();
    let choice = match f.text("mode")?.as_deref() {
        None | Some("MODE_UNSPECIFIED" | "AUTO" | "VALIDATED") if names.is_empty() => Choice::Auto,
        None | Some("MODE_UNSPECIFIED" | "AUTO" | "VALIDATED") => Choice::Among { names, required: false },
        Some("NONE") => Choice::None,
        Some("ANY") if names.is_empty() => Choice::Required,
        Some("ANY") if names.len() == 1 => Choice::Named(names.swap_remove(0)),
        Some("ANY") => Choice::Among { names, required: true },
        Some(_) => return Err(refuse("toolConfig.functionCallingConfig.mode", "must be AUTO, ANY or NONE")),
    };
    f.done(notes);
    Ok(Some(choice))
}

/// Content that is stored at Google cannot be sent to anybody else.
pub fn stored(f: &Fields) -> Result<(), Refusal> {
    if f.has("cachedContent") { Err(unserved("cachedContent")) } else { Ok(()) }
}
