//! Writes a responses request. Nothing is stored: the conversation comes with every call, its reasoning encrypted.

use crate::translate::form::{Block, Body, Format, Reasoning, Request, Role, Sampling, Source, Tool, Turn};
use crate::translate::notes::{Feature, Notes};
use crate::translate::seal::{Origin, Signature};
use crate::translate::{Target, effort, fields, ids, openai, shared};
use crate::value::{Json, Object};
use anykey_core::Refusal;

/// OpenAI takes no smaller bound.
const LEAST_OUTPUT: u64 = 16;

pub fn write(request: Request, target: &Target<'_>, notes: &mut Notes) -> Result<Object, Refusal> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(fields::unserved(shared::count_field(notes.client())));
    }
    let mut input = Vec::new();
    for turn in shared::merge(request.turns) {
        write_turn(turn, &mut input, notes)?;
    }
    let mut out = Object::new().with("model", target.model).with("input", input).with("store", false);
    if request.stream {
        out.put("stream", true);
    }
    let logprobs = sampling(request.sampling, target, &mut out, notes);
    reasoning(request.reasoning.as_ref(), target, &mut out, notes);
    let mut include = Vec::new();
    if effort::openai_reasons(target.model) {
        include.push(Json::from("reasoning.encrypted_content"));
    }
    if logprobs {
        include.push("message.output_text.logprobs".into());
    }
    if !include.is_empty() {
        out.put("include", include);
    }
    let choice = request.choice.map(|choice| openai::choice(choice, named, allowed));
    openai::tools(request.tools, choice, request.parallel, tool, &mut out, notes);
    let mut text = Object::new();
    if let Some(format) = request.format {
        text.put("format", text_format(format));
    }
    if let Some(user) = request.user {
        out.put("user", ids::user(user));
    }
    for (name, value) in request.openai.into_members() {
        match &*name {
            "verbosity" => text.put(name, value),
            "logit_bias" | "store" => notes.member("", &name),
            _ => out.put(name, value),
        }
    }
    if !text.is_empty() {
        out.put("text", text);
    }
    Ok(out)
}

/// Whether log probabilities are wanted.
fn sampling(mut s: Sampling, target: &Target<'_>, out: &mut Object, notes: &mut Notes) -> bool {
    if let Some(most) = s.max_tokens {
        out.put("max_output_tokens", most.max(LEAST_OUTPUT));
    }
    let fixed = effort::openai_reasons(target.model);
    openai::heat(&mut s, fixed, out, notes);
    let dropped = [
        (s.top_k.is_some(), Feature::TopK),
        (s.seed.is_some(), Feature::Seed),
        (s.presence.is_some_and(|n| n.parse() != Ok(0.0)), Feature::Presence),
        (s.frequency.is_some_and(|n| n.parse() != Ok(0.0)), Feature::Frequency),
        (!s.stop.is_empty(), Feature::Stop),
        (fixed && s.logprobs.is_some(), Feature::Logprobs),
    ];
    for (_, feature) in dropped.into_iter().filter(|(is, _)| *is) {
        notes.drop(feature);
    }
    match s.logprobs.filter(|_| !fixed) {
        Some(alternatives) => {
            out.put("top_logprobs", alternatives);
            true
        }
        None => false,
    }
}

fn reasoning(reasoning: Option<&Reasoning>, target: &Target<'_>, out: &mut Object, notes: &mut Notes) {
    let Some(reasoning) = reasoning else { return };
    let reasons = effort::openai_reasons(target.model);
    let word = openai::effort_word(reasoning.level, target.model, notes);
    let summary = (reasons && reasoning.show == Some(true)).then_some("auto");
    if word.is_some() || summary.is_some() {
        out.put("reasoning", Object::new().maybe("effort", word).maybe("summary", summary));
    }
}

fn tool(tool: Tool) -> Json {
    Object::new()
        .with("type", "function")
        .with("name", tool.name)
        .maybe("description", tool.description)
        .with("parameters", tool.schema.unwrap_or_else(openai::empty_schema))
        // Unset would mean strict here, and only here.
        .with("strict", tool.strict.unwrap_or(false))
        .into()
}

fn named(name: String) -> Object {
    Object::new().with("type", "function").with("name", name)
}

fn allowed(list: Object) -> Object {
    let members = Object::new().with("type", "allowed_tools").into_members().into_iter();
    members.chain(list.into_members()).collect()
}

fn text_format(format: Format) -> Object {
    match format {
        Format::Json => Object::new().with("type", "json_object"),
        Format::Schema { name, description, schema, strict } => {
            openai::schema_members(Object::new().with("type", "json_schema"), name, description, schema, strict)
        }
    }
}

fn write_turn(turn: Turn, input: &mut Vec<Json>, notes: &mut Notes) -> Result<(), Refusal> {
    let role = match turn.role {
        Role::System => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut said = Vec::new();
    for block in shared::results_first(turn.blocks) {
        if block.cache.is_some() {
            notes.drop(Feature::Cache);
        }
        let item = match block.body {
            Body::ToolUse { id, name, arguments, .. } => call(&id, name, arguments),
            Body::ToolResult { id, content, failed, .. } => {
                if failed {
                    notes.drop(Feature::ResultFailed);
                }
                result(&id, content, notes)?
            }
            Body::Thinking { text, signature: Some(signature) } if signature.origin == Origin::OpenAi => {
                thought(&text, &signature)
            }
            Body::Thinking { text, signature: None } if text.is_empty() => continue,
            Body::Thinking { .. } => {
                notes.drop(Feature::Thoughts);
                continue;
            }
            body => {
                said.push(part(body, turn.role, notes)?);
                continue;
            }
        };
        flush(role, &mut said, input);
        input.push(item);
    }
    flush(role, &mut said, input);
    Ok(())
}

/// What was said so far, as a message.
fn flush(role: &'static str, said: &mut Vec<Json>, input: &mut Vec<Json>) {
    if !said.is_empty() {
        let content = std::mem::take(said);
        input.push(Object::new().with("type", "message").with("role", role).with("content", content).into());
    }
}

fn call(id: &str, name: String, arguments: String) -> Json {
    Object::new()
        .with("type", "function_call")
        .with("call_id", ids::for_openai(id))
        .with("name", name)
        .with("arguments", openai::arguments(arguments))
        .into()
}

fn result(id: &str, content: Vec<Block>, notes: &mut Notes) -> Result<Json, Refusal> {
    let plain = content.iter().all(|b| matches!(b.body, Body::Text { .. } | Body::Refusal(_)));
    let output = if plain {
        Json::from(shared::joined(&content))
    } else {
        content.into_iter().map(|block| part(block.body, Role::User, notes)).collect::<Result<Json, _>>()?
    };
    Ok(Object::new()
        .with("type", "function_call_output")
        .with("call_id", ids::for_openai(id))
        .with("output", output)
        .into())
}

fn thought(text: &str, signature: &Signature) -> Json {
    let summary = Object::new().with("type", "summary_text").with("text", text);
    let summary: Json = Some(summary).filter(|_| !text.is_empty()).map(Json::from).into_iter().collect();
    let (id, encrypted) = signature.data.split_once(':').unwrap_or(("", &signature.data));
    Object::new()
        .with("type", "reasoning")
        .maybe("id", Some(id).filter(|id| !id.is_empty()))
        .with("summary", summary)
        .with("encrypted_content", encrypted)
        .into()
}

fn part(body: Body, role: Role, notes: &mut Notes) -> Result<Json, Refusal> {
    let kind = if role == Role::Assistant { "output_text" } else { "input_text" };
    Ok(match body {
        Body::Text { text, .. } => Object::new().with("type", kind).with("text", text),
        Body::Refusal(text) if role == Role::Assistant => Object::new().with("type", "refusal").with("refusal", text),
        Body::Refusal(text) => Object::new().with("type", kind).with("text", text),
        Body::Image { source, detail } => Object::new()
            .with("type", "input_image")
            .with("image_url", shared::to_url(&source))
            .with("detail", detail.unwrap_or_else(|| "auto".to_owned())),
        Body::File { source: Source::Url { url, .. }, name } => {
            // It goes by its address there.
            if name.is_some() {
                notes.drop(Feature::FileName);
            }
            Object::new().with("type", "input_file").with("file_url", url)
        }
        Body::File { source, name } => Object::new()
            .with("type", "input_file")
            .with("filename", name.unwrap_or_else(|| "file".to_owned()))
            .with("file_data", shared::to_url(&source)),
        Body::Audio { .. } => return Err(fields::unserved(shared::audio_field(notes.client()))),
        _ => return Err(fields::refuse("messages", "has a tool call or a result where the role does not allow one")),
    }
    .into())
}
