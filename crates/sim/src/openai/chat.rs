//! Chat completions: reads the request, renders the answer whole or as chunks.

use std::fmt::Write as _;

use bytes::BytesMut;
use http::StatusCode;
use serde_json::Value;

use crate::books::Bill;
use crate::call::{Call, Chosen};
use crate::fault::{Fault, FaultKind};
use crate::model::{Kind, Model, REASONING};
use crate::prompt::Prompt;
use crate::reply::{Beat, Encode, Payload, Reply};
use crate::script::{self, Answer, Block, Stop};
use crate::text::{id, push_json};

use super::{
    EVENT_STREAM, function, include_usage, messages, meter, model_name, number, obfuscation, ok, parse, quoted, settle,
    stops, tool_choice, usage_json, wants_stream,
};

pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    let stream = wants_stream(&body);
    let chosen = call.choose(model_name(&body)?, Kind::Chat, stream)?;
    super::check_steering(call, &body, &chosen)?;
    let prompt = read(call, &body, &chosen)?;
    let answer = script::perform(chosen.model, &prompt, &chosen.control, call.seed);
    let bill = Bill { input: prompt.input, usage: answer.usage };
    let head = Head { id: id("chatcmpl-", 29, call.seed), created: call.created, model: quoted(&chosen.name) };
    let reply = match stream {
        false => ok(whole(&head, &answer, &bill)),
        true => {
            let usage = include_usage(&body).then(|| usage_json(bill.input, bill.usage));
            let encoder = Box::new(Chunks::new(&head, &answer, usage));
            Reply::new(StatusCode::OK, EVENT_STREAM, Payload::Stream { encoder, answer })
        }
    };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..reply })
}

fn read(call: &Call<'_>, body: &Value, chosen: &Chosen) -> Result<Prompt, Fault> {
    let strict = call.strict();
    let mut prompt = Prompt {
        thinking: true,
        stop: stops(body),
        choice: tool_choice(body),
        choices: number(body, "n", 1, strict)?.unwrap_or(1).min(128),
        ..Prompt::default()
    };
    let old_limit = number(body, "max_tokens", 1, strict)?;
    if strict && (chosen.model == Model::Reason || chosen.name.starts_with(REASONING)) && old_limit.is_some() {
        return Err(Fault::new(
            FaultKind::Invalid { param: Some("max_tokens".to_owned()), code: Some("unsupported_parameter") },
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ));
    }
    prompt.max_tokens = number(body, "max_completion_tokens", 1, strict)?.or(old_limit);
    let (mut meter, key) = meter(body);
    if let Some(tools) = body.get("tools").and_then(Value::as_array) {
        for tool in tools {
            if let Some(declared) = tool.get("function") {
                meter.json(declared);
                prompt.tools.extend(function(declared));
            }
        }
        meter.boundary(None);
    }
    if strict && prompt.tools.is_empty() && body.get("tool_choice").is_some_and(|choice| !choice.is_null()) {
        return Err(Fault::invalid_param(
            "tool_choice",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        ));
    }
    prompt.schema = schema(body);
    messages::read(body, &mut meter, &mut prompt, strict)?;
    prompt.input = settle(call, &meter, key);
    Ok(prompt)
}

/// The schema of `response_format`; null where any object will do.
fn schema(body: &Value) -> Option<Value> {
    let format = body.get("response_format")?;
    match format.get("type")?.as_str()? {
        "json_schema" => Some(format.pointer("/json_schema/schema").cloned().unwrap_or(Value::Null)),
        "json_object" => Some(Value::Null),
        _ => None,
    }
}

struct Head {
    id: String,
    created: u64,
    /// As JSON.
    model: String,
}

fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::ToolUse => "tool_calls",
    }
}

fn whole(head: &Head, answer: &Answer, bill: &Bill) -> String {
    let message = message(answer);
    let reason = finish_reason(&answer.stop);
    let choices: Vec<String> = (0..answer.choices)
        .map(|index| format!(r#"{{"index":{index},"message":{message},"logprobs":null,"finish_reason":"{reason}"}}"#))
        .collect();
    let mut out = format!(
        r#"{{"id":"{}","object":"chat.completion","created":{},"model":{},"choices":[{}]"#,
        head.id,
        head.created,
        head.model,
        choices.join(",")
    );
    if answer.report_usage {
        let _ = write!(out, r#","usage":{}"#, usage_json(bill.input, bill.usage));
    }
    out.push_str(r#","service_tier":"default","system_fingerprint":"fp_practice"}"#);
    out
}

fn message(answer: &Answer) -> String {
    let mut calls = String::new();
    let mut content = None;
    for block in &answer.blocks {
        match block {
            // Chat completions never show reasoning; it is only counted.
            Block::Thinking { .. } => {}
            Block::Text(text) => content = Some(quoted(text)),
            Block::Call { id_seed, name, arguments } => {
                let separator = if calls.is_empty() { "" } else { "," };
                let _ = write!(
                    calls,
                    r#"{separator}{{"id":"{}","type":"function","function":{{"name":{},"arguments":{}}}}}"#,
                    script::call_id("call_", *id_seed),
                    quoted(name),
                    quoted(arguments)
                );
            }
        }
    }
    let content = match (&content, calls.is_empty()) {
        (Some(content), _) => content.as_str(),
        // A text that was cut to nothing is still a text.
        (None, true) => r#""""#,
        (None, false) => "null",
    };
    let calls = match calls.is_empty() {
        true => String::new(),
        false => format!(r#","tool_calls":[{calls}]"#),
    };
    format!(r#"{{"role":"assistant","content":{content}{calls},"refusal":null,"annotations":[]}}"#)
}

/// Writes `chat.completion.chunk` events.
struct Chunks {
    /// Everything up to the choices, the same in every chunk.
    prefix: String,
    /// `,"usage":null` while usage is still to come.
    no_usage_yet: &'static str,
    usage: Option<String>,
    /// How many tool calls have been opened.
    calls: usize,
}

impl Chunks {
    fn new(head: &Head, answer: &Answer, usage: Option<String>) -> Self {
        Self {
            prefix: format!(
                concat!(
                    r#"data: {{"id":"{}","object":"chat.completion.chunk","created":{},"model":{},"#,
                    r#""service_tier":"default","system_fingerprint":"fp_practice","choices":["#
                ),
                head.id, head.created, head.model
            ),
            no_usage_yet: match usage {
                Some(_) if answer.report_usage => r#","usage":null"#,
                _ => "",
            },
            usage: usage.filter(|_| answer.report_usage),
            calls: 0,
        }
    }

    /// One chunk for each choice, with the delta that `delta` writes.
    fn each(
        &self,
        answer: &Answer,
        piece: &str,
        finish: Option<&str>,
        out: &mut BytesMut,
        delta: impl Fn(&mut BytesMut),
    ) {
        for index in 0..answer.choices {
            out.extend_from_slice(self.prefix.as_bytes());
            let _ = write!(out, r#"{{"index":{index},"delta":{{"#);
            delta(out);
            out.extend_from_slice(br#"},"logprobs":null,"finish_reason":"#);
            match finish {
                Some(reason) => {
                    let _ = write!(out, r#""{reason}""#);
                }
                None => out.extend_from_slice(b"null"),
            }
            out.extend_from_slice(b"}]");
            out.extend_from_slice(self.no_usage_yet.as_bytes());
            out.extend_from_slice(br#","obfuscation":""#);
            out.extend_from_slice(obfuscation(piece).as_bytes());
            out.extend_from_slice(b"\"}\n\n");
        }
    }

    fn call_piece(&self, text: &str, answer: &Answer, out: &mut BytesMut) {
        let index = self.calls - 1;
        self.each(answer, text, None, out, |out| {
            let _ = write!(out, r#""tool_calls":[{{"index":{index},"function":{{"arguments":"#);
            push_json(out, text);
            out.extend_from_slice(b"}}]");
        });
    }

    fn open_call(&mut self, id_seed: u64, name: &str, answer: &Answer, out: &mut BytesMut) {
        let index = self.calls;
        self.calls += 1;
        let id = script::call_id("call_", id_seed);
        self.each(answer, "", None, out, |out| {
            let _ =
                write!(out, r#""tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"#);
            push_json(out, name);
            out.extend_from_slice(br#","arguments":""}}]"#);
        });
    }

    fn finish(&self, answer: &Answer, out: &mut BytesMut) {
        self.each(answer, "", Some(finish_reason(&answer.stop)), out, |_| {});
        if let Some(usage) = &self.usage {
            out.extend_from_slice(self.prefix.as_bytes());
            let _ = write!(out, "],\"usage\":{usage},\"obfuscation\":\"\"}}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl Encode for Chunks {
    fn beat(&mut self, beat: Beat<'_>, answer: &Answer, out: &mut BytesMut) {
        match beat {
            Beat::Start => {
                let calls = answer.blocks.iter().any(|block| matches!(block, Block::Call { .. }));
                let role: &[u8] = match calls {
                    true => br#""role":"assistant","content":null,"refusal":null"#,
                    false => br#""role":"assistant","content":"","refusal":null"#,
                };
                self.each(answer, "", None, out, |out| out.extend_from_slice(role));
            }
            Beat::Open(block) => {
                if let Block::Call { id_seed, name, .. } = &answer.blocks[block] {
                    self.open_call(*id_seed, name, answer, out);
                }
            }
            Beat::Piece { block, text } => match &answer.blocks[block] {
                Block::Thinking { .. } => {}
                Block::Text(_) => self.each(answer, text, None, out, |out| {
                    out.extend_from_slice(br#""content":"#);
                    push_json(out, text);
                }),
                Block::Call { .. } => self.call_piece(text, answer, out),
            },
            Beat::Close(_) => {}
            Beat::Finish => self.finish(answer, out),
        }
    }
}
