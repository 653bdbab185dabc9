//! Writes a message, whole or as a stream of events.

use std::fmt::Write as _;

use bytes::BytesMut;

use crate::books::Bill;
use crate::reply::{Beat, Encode};
use crate::script::{self, Answer, Block, Stop};
use crate::text::{json, push_json};

pub(super) struct Head {
    pub id: String,
    /// As JSON.
    pub model: String,
    /// Thinking is left out, its signature is not.
    pub omit_thinking: bool,
    pub bill: Bill,
}

impl Head {
    /// The input's part of `usage`, which message_start, message_delta and the whole message share.
    fn input_usage(&self) -> String {
        let input = self.bill.input;
        format!(
            r#""input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{}"#,
            input.fresh,
            input.cache_write(),
            input.cache_read,
        )
    }

    fn usage(&self, output: u64, reasoning: Option<u64>) -> String {
        let input = self.bill.input;
        let details = match reasoning {
            Some(reasoning) => {
                format!(r#","output_tokens_details":{{"thinking_tokens":{reasoning}}}"#)
            }
            None => String::new(),
        };
        format!(
            concat!(
                r#"{{{},"cache_creation":{{"ephemeral_5m_input_tokens":{},"ephemeral_1h_input_tokens":{}}},"#,
                r#""output_tokens":{}{},"service_tier":"standard"}}"#
            ),
            self.input_usage(),
            input.cache_write_5m,
            input.cache_write_1h,
            output,
            details,
        )
    }

    fn reasoning(&self) -> Option<u64> {
        Some(self.bill.usage.reasoning).filter(|tokens| *tokens > 0)
    }
}

/// `stop_reason` and `stop_sequence`, as JSON.
fn stop(stop: &Stop) -> (&'static str, String) {
    let null = || "null".to_owned();
    match stop {
        Stop::End => ("end_turn", null()),
        Stop::Length => ("max_tokens", null()),
        Stop::Sequence(sequence) => ("stop_sequence", json(sequence)),
        Stop::ToolUse => ("tool_use", null()),
    }
}

pub(super) fn whole(head: &Head, answer: &Answer) -> String {
    let content: Vec<String> = answer.blocks.iter().map(|block| content(block, head)).collect();
    let (reason, sequence) = stop(&answer.stop);
    let mut out = format!(
        r#"{{"id":"{}","type":"message","role":"assistant","model":{},"content":[{}],"stop_reason":"{reason}","stop_sequence":{sequence}"#,
        head.id,
        head.model,
        content.join(",")
    );
    if answer.report_usage {
        let _ = write!(out, r#","usage":{}"#, head.usage(head.bill.usage.output, head.reasoning()));
    }
    out.push('}');
    out
}

fn content(block: &Block, head: &Head) -> String {
    match block {
        Block::Thinking { text, signature } => {
            let text = if head.omit_thinking { "" } else { text };
            format!(r#"{{"type":"thinking","thinking":{},"signature":"{signature}"}}"#, json(text))
        }
        Block::Text(text) => format!(r#"{{"type":"text","text":{}}}"#, json(text)),
        Block::Call { id_seed, name, arguments } => format!(
            r#"{{"type":"tool_use","id":"{}","name":{},"input":{arguments}}}"#,
            script::call_id("toolu_01", *id_seed),
            json(name)
        ),
    }
}

pub(super) struct Events {
    head: Head,
    pinged: bool,
}

impl Events {
    pub(super) fn new(head: Head) -> Self {
        Self { head, pinged: false }
    }

    fn start(&self, answer: &Answer, out: &mut BytesMut) {
        let usage = match answer.report_usage {
            true => format!(r#","usage":{}"#, self.head.usage(1, None)),
            false => String::new(),
        };
        let _ = write!(
            out,
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":{},\"content\":[],\"stop_reason\":null,\"stop_sequence\":null{usage}}}}}\n\n",
            self.head.id, self.head.model
        );
    }

    fn open(&mut self, index: usize, block: &Block, out: &mut BytesMut) {
        let block = match block {
            Block::Thinking { .. } => r#"{"type":"thinking","thinking":"","signature":""}"#.to_owned(),
            Block::Text(_) => r#"{"type":"text","text":""}"#.to_owned(),
            Block::Call { id_seed, name, .. } => format!(
                r#"{{"type":"tool_use","id":"{}","name":{},"input":{{}}}}"#,
                script::call_id("toolu_01", *id_seed),
                json(name)
            ),
        };
        let _ = write!(
            out,
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{index},\"content_block\":{block}}}\n\n"
        );
        if !self.pinged {
            self.pinged = true;
            out.extend_from_slice(b"event: ping\ndata: {\"type\": \"ping\"}\n\n");
        }
        if block.starts_with(r#"{"type":"tool_use""#) {
            delta(index, "input_json_delta", "partial_json", "", out);
        }
    }

    fn piece(&self, index: usize, block: &Block, text: &str, out: &mut BytesMut) {
        match block {
            Block::Thinking { .. } if self.head.omit_thinking => {}
            Block::Thinking { .. } => delta(index, "thinking_delta", "thinking", text, out),
            Block::Text(_) => delta(index, "text_delta", "text", text, out),
            Block::Call { .. } => delta(index, "input_json_delta", "partial_json", text, out),
        }
    }

    fn finish(&self, answer: &Answer, out: &mut BytesMut) {
        let (reason, sequence) = stop(&answer.stop);
        let usage = match answer.report_usage {
            true => {
                let details = match self.head.reasoning() {
                    Some(tokens) => {
                        format!(r#","output_tokens_details":{{"thinking_tokens":{tokens}}}"#)
                    }
                    None => String::new(),
                };
                let output = self.head.bill.usage.output;
                format!(r#","usage":{{{},"output_tokens":{output}{details}}}"#, self.head.input_usage())
            }
            false => String::new(),
        };
        let _ = write!(
            out,
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\",\"stop_sequence\":{sequence}}}{usage}}}\n\n"
        );
        out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}

fn delta(index: usize, kind: &str, field: &str, text: &str, out: &mut BytesMut) {
    let _ = write!(
        out,
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{field}\":"
    );
    push_json(out, text);
    out.extend_from_slice(b"}}\n\n");
}

impl Encode for Events {
    fn beat(&mut self, beat: Beat<'_>, answer: &Answer, out: &mut BytesMut) {
        match beat {
            Beat::Start => self.start(answer, out),
            Beat::Open(index) => self.open(index, &answer.blocks[index], out),
            Beat::Piece { block, text } => self.piece(block, &answer.blocks[block], text, out),
            Beat::Close(index) => {
                if let Block::Thinking { signature, .. } = &answer.blocks[index] {
                    delta(index, "signature_delta", "signature", signature, out);
                }
                let _ = write!(
                    out,
                    "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
                );
            }
            Beat::Finish => self.finish(answer, out),
        }
    }
}
