//! Reads a messages request: tools, system and turns in the order in which Anthropic caches them.

use serde_json::Value;

use crate::fault::Fault;
use crate::prompt::{Meter, Prompt, Tool, ToolChoice, Ttl};

pub(super) struct Request {
    caching: bool,
}

/// The prompt, and the meter that weighed it.
pub(super) struct Read {
    pub prompt: Prompt,
    pub meter: Meter,
}

impl Request {
    pub(super) fn new(body: &[u8]) -> Self {
        Self { caching: memchr::memmem::find(body, b"cache_control").is_some() }
    }

    pub(super) fn read(&self, body: &Value) -> Result<Read, Fault> {
        let mut meter = Meter::new(self.caching);
        let mut prompt = Prompt {
            thinking: body.pointer("/thinking/type").and_then(Value::as_str) != Some("disabled"),
            max_tokens: body.get("max_tokens").and_then(Value::as_u64),
            stop: strings(body.get("stop_sequences")),
            choice: tool_choice(body),
            schema: schema(body),
            choices: 1,
            ..Prompt::default()
        };
        for tool in list(body.get("tools")) {
            read_tool(tool, &mut meter, &mut prompt);
        }
        match body.get("system") {
            Some(Value::String(text)) => {
                meter.text(text);
                meter.boundary(None);
            }
            system => list(system).for_each(|block| weigh(block, &mut meter)),
        }
        for message in list(body.get("messages")) {
            read_message(message, &mut meter, &mut prompt);
        }
        // A marker on the request itself stands for one on its last block.
        if let (Some(ttl), Some(last)) = (marker(body), meter.boundaries.last_mut()) {
            last.marker.get_or_insert(ttl);
        }
        Ok(Read { prompt, meter })
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    list(value).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn tool_choice(body: &Value) -> ToolChoice {
    let choice = body.get("tool_choice");
    let of = |name: &str| choice.and_then(|choice| choice.get(name)).and_then(Value::as_str);
    match (of("type"), of("name")) {
        (Some("none"), _) => ToolChoice::None,
        (Some("tool"), Some(name)) => ToolChoice::Named(name.to_owned()),
        _ => ToolChoice::Auto,
    }
}

/// The schema of `output_config.format`, or of `output_format` as the beta had it.
fn schema(body: &Value) -> Option<Value> {
    let format = body.pointer("/output_config/format").or(body.get("output_format"))?;
    format.get("schema").cloned()
}

fn read_tool(tool: &Value, meter: &mut Meter, prompt: &mut Prompt) {
    let text = |name: &str| tool.get(name).and_then(Value::as_str).unwrap_or_default();
    meter.text(text("name"));
    meter.text(text("description"));
    // Tools that Anthropic runs itself come without a schema; they are not ours to call.
    if let Some(schema) = tool.get("input_schema") {
        meter.json(schema);
        prompt.tools.push(Tool { name: text("name").to_owned(), schema: schema.clone() });
    }
    meter.boundary(marker(tool));
}

fn read_message(message: &Value, meter: &mut Meter, prompt: &mut Prompt) {
    let is_user = message.get("role").and_then(Value::as_str) == Some("user");
    let content = message.get("content");
    let mut texts: Vec<&str> = Vec::new();
    let mut results: Vec<String> = Vec::new();
    if let Some(Value::String(text)) = content {
        meter.text(text);
        meter.boundary(None);
        texts.push(text);
    }
    for block in list(content) {
        weigh(block, meter);
        match block.get("type").and_then(Value::as_str) {
            Some("text") => texts.extend(block.get("text").and_then(Value::as_str)),
            Some("tool_result") => results.push(result_text(block)),
            _ => {}
        }
    }
    if is_user && !texts.is_empty() {
        prompt.user = texts.join("\n");
    }
    prompt.tool_result = (is_user && !results.is_empty()).then(|| results.join("\n"));
}

fn result_text(block: &Value) -> String {
    match block.get("content") {
        Some(Value::String(text)) => text.clone(),
        parts => {
            let texts = list(parts).filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Weighs one block and ends it.
fn weigh(block: &Value, meter: &mut Meter) {
    weigh_inside(block, meter);
    meter.boundary(marker(block));
}

fn weigh_inside(block: &Value, meter: &mut Meter) {
    let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text" => meter.text(text("text")),
        "thinking" => meter.text(text("thinking")),
        "tool_use" => {
            meter.text(text("name"));
            meter.json(block.get("input").unwrap_or(&Value::Null));
        }
        "tool_result" => match block.get("content") {
            Some(Value::String(content)) => meter.text(content),
            parts => list(parts).for_each(|part| weigh_inside(part, meter)),
        },
        "image" | "document" => match block.pointer("/source/type").and_then(Value::as_str) {
            Some("text") => meter.text(block.pointer("/source/data").and_then(Value::as_str).unwrap_or_default()),
            _ => meter.image(),
        },
        _ => {}
    }
}

fn marker(block: &Value) -> Option<Ttl> {
    let control = block.get("cache_control").filter(|control| control.is_object())?;
    match control.get("ttl").and_then(Value::as_str) {
        Some("1h") => Some(Ttl::OneHour),
        _ => Some(Ttl::FiveMinutes),
    }
}
