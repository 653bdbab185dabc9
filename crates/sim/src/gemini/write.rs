//! Writes generateContent's answers: whole, as SSE with CRLF, or as one JSON array told bit by bit.

use bytes::BytesMut;

use crate::books::Bill;
use crate::reply::{Beat, Encode};
use crate::script::{Answer, Block, Stop, count, signature};
use crate::text::json;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Sse,
    Array,
}

pub(super) struct Writer {
    /// As JSON.
    pub model: String,
    pub response_id: String,
    pub include_thoughts: bool,
    pub bill: Bill,
}

impl Writer {
    /// One GenerateContentResponse. `candidates` and `thoughts` are the tokens so far.
    fn response(&self, parts: &str, finish: Option<&str>, usage: Option<(u64, u64)>, out: &mut impl std::fmt::Write) {
        let _ = write!(out, r#"{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}}"#);
        if let Some(finish) = finish {
            let _ = write!(out, r#","finishReason":"{finish}""#);
        }
        let _ = out.write_str(r#","index":0}]"#);
        if let Some((candidates, thoughts)) = usage {
            let prompt = self.bill.input.total();
            let _ = write!(
                out,
                r#","usageMetadata":{{"promptTokenCount":{prompt},"candidatesTokenCount":{candidates},"totalTokenCount":{},"cachedContentTokenCount":0,"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{prompt}}}]"#,
                prompt + candidates + thoughts
            );
            if thoughts > 0 {
                let _ = write!(out, r#","thoughtsTokenCount":{thoughts}"#);
            }
            let _ = out.write_str("}");
        }
        let _ = write!(out, r#","modelVersion":{},"responseId":"{}"}}"#, self.model, self.response_id);
    }
}

fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::Length => "MAX_TOKENS",
        // A tool call ends a turn like any other.
        Stop::End | Stop::Sequence(_) | Stop::ToolUse => "STOP",
    }
}

fn call_part(name: &str, arguments: &str, proof: Option<&str>) -> String {
    let proof = proof.map(|proof| format!(r#","thoughtSignature":"{proof}""#)).unwrap_or_default();
    format!(r#"{{"functionCall":{{"name":{},"args":{arguments}}}{proof}}}"#, json(name))
}

/// The signature that a model which thought puts on the first part after its thoughts.
fn thought_proof(answer: &Answer) -> Option<&str> {
    answer.blocks.iter().find_map(|block| match block {
        Block::Thinking { signature, .. } => Some(signature.as_str()),
        _ => None,
    })
}

/// The first call of a turn is signed even when no thought is shown.
fn call_proof(block: usize, name: &str) -> Option<String> {
    (block == 0).then(|| signature(name))
}

pub(super) fn whole(writer: &Writer, answer: &Answer) -> String {
    let mut parts = Vec::new();
    for (place, block) in answer.blocks.iter().enumerate() {
        match block {
            Block::Thinking { text, .. } if writer.include_thoughts => {
                parts.push(format!(r#"{{"text":{},"thought":true}}"#, json(text)));
            }
            Block::Thinking { .. } => {}
            Block::Text(text) => {
                let proof = thought_proof(answer);
                let proof = proof.map(|proof| format!(r#","thoughtSignature":"{proof}""#)).unwrap_or_default();
                parts.push(format!(r#"{{"text":{}{proof}}}"#, json(text)));
            }
            Block::Call { name, arguments, .. } => {
                parts.push(call_part(name, arguments, call_proof(place, name).as_deref()));
            }
        }
    }
    let usage = writer.bill.usage;
    let usage = answer.report_usage.then_some((usage.output - usage.reasoning, usage.reasoning));
    let mut out = String::new();
    writer.response(&parts.join(","), Some(finish_reason(&answer.stop)), usage, &mut out);
    out
}

pub(super) struct Chunks {
    writer: Writer,
    framing: Framing,
    opened: bool,
    thinking_bytes: usize,
    visible_bytes: usize,
}

impl Chunks {
    pub(super) fn new(writer: Writer, framing: Framing) -> Self {
        Self { writer, framing, opened: false, thinking_bytes: 0, visible_bytes: 0 }
    }

    fn chunk(&mut self, parts: &str, finish: Option<&str>, answer: &Answer, out: &mut BytesMut) {
        let first = !std::mem::replace(&mut self.opened, true);
        out.extend_from_slice(match (self.framing, first) {
            (Framing::Sse, _) => b"data: ".as_slice(),
            (Framing::Array, true) => b"[",
            (Framing::Array, false) => b",\r\n",
        });
        let usage = answer.report_usage.then(|| self.usage(finish.is_some()));
        self.writer.response(parts, finish, usage, out);
        match (self.framing, finish) {
            (Framing::Sse, _) => out.extend_from_slice(b"\r\n\r\n"),
            (Framing::Array, Some(_)) => out.extend_from_slice(b"]"),
            (Framing::Array, None) => {}
        }
    }

    /// Cumulative tokens of candidates and thoughts; the last are what is billed.
    fn usage(&self, last: bool) -> (u64, u64) {
        let usage = match last {
            true => self.writer.bill.usage,
            false => count(self.thinking_bytes, self.visible_bytes, 1),
        };
        (usage.output - usage.reasoning, usage.reasoning)
    }
}

impl Encode for Chunks {
    fn beat(&mut self, beat: Beat<'_>, answer: &Answer, out: &mut BytesMut) {
        match beat {
            Beat::Start | Beat::Open(_) => {}
            Beat::Piece { block, text } => match &answer.blocks[block] {
                Block::Thinking { .. } => {
                    self.thinking_bytes += text.len();
                    if self.writer.include_thoughts {
                        let part = format!(r#"{{"text":{},"thought":true}}"#, json(text));
                        self.chunk(&part, None, answer, out);
                    }
                }
                Block::Text(_) => {
                    self.visible_bytes += text.len();
                    let part = format!(r#"{{"text":{}}}"#, json(text));
                    self.chunk(&part, None, answer, out);
                }
                // Function calls are never told in fragments.
                Block::Call { .. } => self.visible_bytes += text.len(),
            },
            Beat::Close(block) => {
                if let Block::Call { name, arguments, .. } = &answer.blocks[block] {
                    self.visible_bytes += name.len();
                    let part = call_part(name, arguments, call_proof(block, name).as_deref());
                    self.chunk(&part, None, answer, out);
                }
            }
            Beat::Finish => {
                let proof = thought_proof(answer).map(|proof| format!(r#","thoughtSignature":"{proof}""#));
                let part = format!(r#"{{"text":""{}}}"#, proof.unwrap_or_default());
                self.chunk(&part, Some(finish_reason(&answer.stop)), answer, out);
            }
        }
    }
}
