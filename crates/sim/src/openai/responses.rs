//! Responses: reads the request and builds the response object, whole or as the frame of a stream.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::books::Bill;
use crate::call::Call;
use crate::fault::{Fault, FaultKind};
use crate::model::Kind;
use crate::prompt::Prompt;
use crate::reply::{Payload, Reply};
use crate::script::{self, Answer, Block, Stop};
use crate::text::id;

use super::responses_stream::Events;
use super::{
    EVENT_STREAM, function, meter, model_name, number, ok, parse, responses_input, settle, tool_choice, wants_stream,
};

/// The least `max_output_tokens` that this endpoint takes.
const LEAST_MAX_TOKENS: u64 = 16;

pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    let stream = wants_stream(&body);
    let chosen = call.choose(model_name(&body)?, Kind::Chat, stream)?;
    super::check_steering(call, &body, &chosen)?;
    let prompt = read(call, &body)?;
    let answer = script::perform(chosen.model, &prompt, &chosen.control, call.seed);
    let bill = Bill { input: prompt.input, usage: answer.usage };
    let items = Items::of(&body, call.seed);
    let frame = frame(call, &body);
    let reply = match stream {
        false => ok(finished(&frame, &items, &answer, &bill).to_string()),
        true => {
            let done = finished(&frame, &items, &answer, &bill);
            let encoder = Box::new(Events::new(frame, done, items));
            Reply::new(StatusCode::OK, EVENT_STREAM, Payload::Stream { encoder, answer })
        }
    };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..reply })
}

fn read(call: &Call<'_>, body: &Value) -> Result<Prompt, Fault> {
    let strict = call.strict();
    if strict && let Some(previous) = body.get("previous_response_id").and_then(Value::as_str) {
        let shown: String = previous.chars().take(64).collect();
        return Err(Fault::new(
            FaultKind::Invalid {
                param: Some("previous_response_id".to_owned()),
                code: Some("previous_response_not_found"),
            },
            format!("Previous response with id '{shown}' not found: the practice provider stores none."),
        ));
    }
    let mut prompt = Prompt {
        thinking: true,
        choices: 1,
        choice: tool_choice(body),
        max_tokens: number(body, "max_output_tokens", LEAST_MAX_TOKENS, strict)?,
        schema: schema(body),
        ..Prompt::default()
    };
    let (mut meter, key) = meter(body);
    if let Some(tools) = body.get("tools").and_then(Value::as_array) {
        for tool in tools {
            meter.json(tool);
            if tool.get("type").and_then(Value::as_str) == Some("function") {
                prompt.tools.extend(function(tool));
            }
        }
        meter.boundary(None);
    }
    responses_input::read(body, &mut meter, &mut prompt, strict)?;
    prompt.input = settle(call, &meter, key);
    Ok(prompt)
}

fn schema(body: &Value) -> Option<Value> {
    let format = body.pointer("/text/format")?;
    match format.get("type")?.as_str()? {
        "json_schema" => Some(format.get("schema").cloned().unwrap_or(Value::Null)),
        "json_object" => Some(Value::Null),
        _ => None,
    }
}

/// The response as it is before anything was said.
fn frame(call: &Call<'_>, body: &Value) -> Map<String, Value> {
    let asked = |name: &str, default: Value| match body.get(name) {
        None | Some(Value::Null) => default,
        Some(value) => value.clone(),
    };
    let text = match asked("text", json!({})) {
        Value::Object(mut text) => {
            text.entry("format").or_insert_with(|| json!({"type": "text"}));
            text.entry("verbosity").or_insert_with(|| json!("medium"));
            Value::Object(text)
        }
        other => other,
    };
    let reasoning = json!({
        "effort": body.pointer("/reasoning/effort"),
        "summary": body.pointer("/reasoning/summary"),
    });
    let mut frame = Map::new();
    frame.extend([
        ("id".to_owned(), Value::from(id("resp_", 50, call.seed))),
        ("object".to_owned(), json!("response")),
        ("created_at".to_owned(), json!(call.created)),
        ("status".to_owned(), json!("in_progress")),
        ("background".to_owned(), json!(false)),
        ("error".to_owned(), Value::Null),
        ("incomplete_details".to_owned(), Value::Null),
        ("output".to_owned(), json!([])),
        ("usage".to_owned(), Value::Null),
        ("service_tier".to_owned(), json!("default")),
        ("text".to_owned(), text),
        ("reasoning".to_owned(), reasoning),
    ]);
    for (name, default) in [
        ("model", Value::Null),
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("safety_identifier", Value::Null),
        ("store", json!(true)),
        ("temperature", json!(1.0)),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_logprobs", json!(0)),
        ("top_p", json!(1.0)),
        ("truncation", json!("disabled")),
        ("user", Value::Null),
    ] {
        frame.insert(name.to_owned(), asked(name, default));
    }
    frame
}

/// The response as it is when all is said.
fn finished(frame: &Map<String, Value>, items: &Items, answer: &Answer, bill: &Bill) -> Value {
    let mut response = frame.clone();
    let output: Vec<Value> = (0..answer.blocks.len()).map(|block| items.done(block, answer)).collect();
    response.insert("output".to_owned(), Value::Array(output));
    match answer.stop {
        Stop::Length => {
            response.insert("status".to_owned(), json!("incomplete"));
            let reason = json!({"reason": "max_output_tokens"});
            response.insert("incomplete_details".to_owned(), reason);
        }
        _ => {
            response.insert("status".to_owned(), json!("completed"));
            response.insert("completed_at".to_owned(), frame["created_at"].clone());
        }
    }
    if answer.report_usage {
        let usage = json!({
            "input_tokens": bill.input.total(),
            "input_tokens_details": {"cached_tokens": bill.input.cache_read, "cache_write_tokens": 0},
            "output_tokens": bill.usage.output,
            "output_tokens_details": {"reasoning_tokens": bill.usage.reasoning},
            "total_tokens": bill.input.total() + bill.usage.output,
        });
        response.insert("usage".to_owned(), usage);
    }
    Value::Object(response)
}

/// Renders output items; the ids in a stream and in the response that ends it are the same.
pub(super) struct Items {
    seed: u64,
    summary: bool,
    encrypted: bool,
}

impl Items {
    fn of(body: &Value, seed: u64) -> Self {
        let summary = body.pointer("/reasoning/summary").is_some_and(|summary| !summary.is_null());
        let included = body.get("include").and_then(Value::as_array).into_iter().flatten();
        Self { seed, summary, encrypted: included.into_iter().any(|what| what == "reasoning.encrypted_content") }
    }

    /// Whether reasoning is told, in a summary, or only counted.
    pub(super) fn tells_reasoning(&self) -> bool {
        self.summary
    }

    pub(super) fn id(&self, block: usize, answer: &Answer) -> String {
        let prefix = match answer.blocks[block] {
            Block::Thinking { .. } => "rs_",
            Block::Text(_) => "msg_",
            Block::Call { .. } => "fc_",
        };
        id(prefix, 50, self.seed.wrapping_add((block as u64 + 1) << 48))
    }

    /// The item as it is opened: empty.
    pub(super) fn opened(&self, block: usize, answer: &Answer) -> Value {
        let id = self.id(block, answer);
        match &answer.blocks[block] {
            Block::Thinking { .. } => self.encrypt(json!({"id": id, "type": "reasoning", "summary": []}), ""),
            Block::Text(_) => {
                json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []})
            }
            Block::Call { id_seed, name, .. } => json!({
                "id": id, "type": "function_call", "status": "in_progress", "arguments": "",
                "call_id": script::call_id("call_", *id_seed), "name": name,
            }),
        }
    }

    /// The item as it is closed: complete, or cut short when it is the last of an answer that ran out of tokens.
    pub(super) fn done(&self, block: usize, answer: &Answer) -> Value {
        let id = self.id(block, answer);
        let cut_short = answer.stop == Stop::Length && block + 1 == answer.blocks.len();
        let status = if cut_short { "incomplete" } else { "completed" };
        match &answer.blocks[block] {
            Block::Thinking { text, signature } => {
                let summary = match self.summary {
                    true => json!([summary_part(text)]),
                    false => json!([]),
                };
                self.encrypt(json!({"id": id, "type": "reasoning", "summary": summary}), signature)
            }
            Block::Text(text) => json!({
                "id": id, "type": "message", "status": status, "role": "assistant", "content": [text_part(text)],
            }),
            Block::Call { id_seed, name, arguments } => json!({
                "id": id, "type": "function_call", "status": status, "arguments": arguments,
                "call_id": script::call_id("call_", *id_seed), "name": name,
            }),
        }
    }

    fn encrypt(&self, mut item: Value, signature: &str) -> Value {
        if self.encrypted {
            item["encrypted_content"] = Value::from(format!("gAAAAA{signature}"));
        }
        item
    }
}

pub(super) fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

pub(super) fn summary_part(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}
