//! Legacy completions: a prompt in, its continuation out.

use std::fmt::Write as _;

use bytes::BytesMut;
use http::StatusCode;
use serde_json::Value;

use crate::books::Bill;
use crate::call::Call;
use crate::fault::Fault;
use crate::model::Kind;
use crate::prompt::{Meter, Prompt};
use crate::reply::{Beat, Encode, Payload, Reply};
use crate::script::{self, Answer, Block, Stop};
use crate::text::{TOKEN_BYTES, id, push_json};

use super::{EVENT_STREAM, include_usage, model_name, number, ok, parse, quoted, stops, usage_json, wants_stream};

/// What this endpoint writes at most when nobody says.
const DEFAULT_MAX_TOKENS: u64 = 16;

pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    let stream = wants_stream(&body);
    let chosen = call.choose(model_name(&body)?, Kind::Chat, stream)?;
    let (mut prompt, inputs) = read(call, &body)?;
    let mut answers: Vec<Answer> = inputs
        .into_iter()
        .map(|user| {
            prompt.user = user;
            script::perform(chosen.model, &prompt, &chosen.control, call.seed)
        })
        .collect();
    let mut usage = script::Usage::default();
    for answer in &answers {
        usage.output += answer.usage.output;
        usage.reasoning += answer.usage.reasoning;
    }
    let bill = Bill { input: prompt.input, usage };
    let head = format!(
        r#"{{"id":"{}","object":"text_completion","created":{},"model":{},"system_fingerprint":"fp_practice","choices":["#,
        id("cmpl-", 29, call.seed),
        call.created,
        quoted(&chosen.name)
    );
    let usage = usage_json(bill.input, bill.usage);
    let reply = match stream {
        false => ok(whole(&head, &answers, &usage)),
        true => {
            // One prompt is streamed at a time; `read` sees to that.
            let answer = answers.swap_remove(0);
            let usage = Some(usage).filter(|_| include_usage(&body) && answer.report_usage);
            let encoder = Box::new(Chunks { prefix: format!("data: {head}"), usage });
            Reply::new(StatusCode::OK, EVENT_STREAM, Payload::Stream { encoder, answer })
        }
    };
    Ok(Reply { bill, model: Some((chosen.model, chosen.name)), control: chosen.control, ..reply })
}

fn read(call: &Call<'_>, body: &Value) -> Result<(Prompt, Vec<String>), Fault> {
    let strict = call.strict();
    let mut meter = Meter::new(false);
    let inputs = match body.get("prompt") {
        None | Some(Value::Null) => {
            return Err(Fault::invalid_param("prompt", "Missing required parameter: 'prompt'."));
        }
        Some(prompt) => prompts(prompt),
    };
    for (input, tokens) in &inputs {
        meter.bytes += (tokens * TOKEN_BYTES).max(input.len());
    }
    if inputs.is_empty() || (wants_stream(body) && inputs.len() > 1) {
        return Err(Fault::invalid_param(
            "prompt",
            "The practice provider takes one prompt at a time when streaming, and at least one otherwise.",
        ));
    }
    let prompt = Prompt {
        thinking: true,
        stop: stops(body),
        max_tokens: number(body, "max_tokens", 1, strict)?.or(Some(DEFAULT_MAX_TOKENS)),
        choices: number(body, "n", 1, strict)?.unwrap_or(1).min(128),
        input: meter.plain(),
        ..Prompt::default()
    };
    Ok((prompt, inputs.into_iter().map(|(input, _)| input).collect()))
}

/// The prompts, each with its number of tokens where it came as tokens: a string, strings, tokens, or lists of tokens.
fn prompts(prompt: &Value) -> Vec<(String, usize)> {
    let tokens = |all: &Vec<Value>| (format!("({} tokens)", all.len()), all.len());
    match prompt {
        Value::String(text) => vec![(text.clone(), 0)],
        Value::Array(all) if all.first().is_some_and(Value::is_number) => vec![tokens(all)],
        Value::Array(all) => all
            .iter()
            .filter_map(|one| match one {
                Value::String(text) => Some((text.clone(), 0)),
                Value::Array(all) => Some(tokens(all)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::Length => "length",
        _ => "stop",
    }
}

fn whole(head: &str, answers: &[Answer], usage: &str) -> String {
    let mut out = head.to_owned();
    let mut index = 0;
    for answer in answers {
        for _ in 0..answer.choices {
            let separator = if index == 0 { "" } else { "," };
            let _ = write!(
                out,
                r#"{separator}{{"text":{},"index":{index},"logprobs":null,"finish_reason":"{}"}}"#,
                quoted(answer.text()),
                finish_reason(&answer.stop)
            );
            index += 1;
        }
    }
    out.push(']');
    if answers.iter().all(|answer| answer.report_usage) {
        let _ = write!(out, r#","usage":{usage}"#);
    }
    out.push('}');
    out
}

struct Chunks {
    prefix: String,
    usage: Option<String>,
}

impl Chunks {
    fn chunk(&self, answer: &Answer, text: &str, finish: Option<&str>, out: &mut BytesMut) {
        for index in 0..answer.choices {
            out.extend_from_slice(self.prefix.as_bytes());
            out.extend_from_slice(br#"{"text":"#);
            push_json(out, text);
            let _ = write!(out, r#","index":{index},"logprobs":null,"finish_reason":"#);
            match finish {
                Some(reason) => {
                    let _ = write!(out, r#""{reason}""#);
                }
                None => out.extend_from_slice(b"null"),
            }
            out.extend_from_slice(b"}]");
            if self.usage.is_some() {
                out.extend_from_slice(br#","usage":null"#);
            }
            out.extend_from_slice(b"}\n\n");
        }
    }
}

impl Encode for Chunks {
    fn beat(&mut self, beat: Beat<'_>, answer: &Answer, out: &mut BytesMut) {
        match beat {
            Beat::Piece { block, text } if matches!(answer.blocks[block], Block::Text(_)) => {
                self.chunk(answer, text, None, out);
            }
            Beat::Finish => {
                self.chunk(answer, "", Some(finish_reason(&answer.stop)), out);
                if let Some(usage) = &self.usage {
                    out.extend_from_slice(self.prefix.as_bytes());
                    let _ = write!(out, "],\"usage\":{usage}}}\n\n");
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            _ => {}
        }
    }
}
