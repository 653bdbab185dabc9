//! Responses as a stream of typed events, numbered from 0, with usage only in the last.

use bytes::BytesMut;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

use crate::reply::{Beat, Encode};
use crate::script::{Answer, Block};
use crate::text::push_json;

use super::obfuscation;
use super::responses::{Items, summary_part, text_part};

pub(super) struct Events {
    opening: Map<String, Value>,
    done: Value,
    items: Items,
    number: u64,
    /// The current item's id, so that it is not made anew for every delta.
    item: String,
}

impl Events {
    pub(super) fn new(opening: Map<String, Value>, done: Value, items: Items) -> Self {
        Self { opening, done, items, number: 0, item: String::new() }
    }

    fn event(&mut self, kind: &str, mut data: Value, out: &mut BytesMut) {
        data["type"] = Value::from(kind);
        data["sequence_number"] = Value::from(self.number);
        self.number += 1;
        let _ = write!(out, "event: {kind}\ndata: {data}\n\n");
    }

    /// The frequent event, written without building a value.
    fn delta(&mut self, kind: &str, place: &str, block: usize, text: &str, out: &mut BytesMut) {
        let _ = write!(
            out,
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{},\"item_id\":\"{}\",\"output_index\":{block},{place}\"delta\":",
            self.number, self.item
        );
        self.number += 1;
        push_json(out, text);
        let _ = write!(out, ",\"obfuscation\":\"{}\"}}\n\n", obfuscation(text));
    }

    fn open(&mut self, block: usize, answer: &Answer, out: &mut BytesMut) {
        self.item = self.items.id(block, answer);
        let item = self.items.opened(block, answer);
        self.event("response.output_item.added", json!({"output_index": block, "item": item}), out);
        let place = self.place(block);
        match &answer.blocks[block] {
            Block::Text(_) => {
                let data = with(place, json!({"content_index": 0, "part": text_part("")}));
                self.event("response.content_part.added", data, out);
            }
            Block::Thinking { .. } if self.items.tells_reasoning() => {
                let data = with(place, json!({"summary_index": 0, "part": summary_part("")}));
                self.event("response.reasoning_summary_part.added", data, out);
            }
            _ => {}
        }
    }

    fn piece(&mut self, block: usize, text: &str, answer: &Answer, out: &mut BytesMut) {
        match &answer.blocks[block] {
            Block::Text(_) => {
                let place = r#""content_index":0,"logprobs":[],"#;
                self.delta("response.output_text.delta", place, block, text, out);
            }
            Block::Call { .. } => self.delta("response.function_call_arguments.delta", "", block, text, out),
            Block::Thinking { .. } if self.items.tells_reasoning() => {
                let place = r#""summary_index":0,"#;
                self.delta("response.reasoning_summary_text.delta", place, block, text, out);
            }
            Block::Thinking { .. } => {}
        }
    }

    fn close(&mut self, block: usize, answer: &Answer, out: &mut BytesMut) {
        let place = self.place(block);
        match &answer.blocks[block] {
            Block::Text(text) => {
                let data = with(place.clone(), json!({"content_index": 0, "logprobs": [], "text": text}));
                self.event("response.output_text.done", data, out);
                let data = with(place, json!({"content_index": 0, "part": text_part(text)}));
                self.event("response.content_part.done", data, out);
            }
            Block::Call { name, arguments, .. } => {
                let data = with(place, json!({"name": name, "arguments": arguments}));
                self.event("response.function_call_arguments.done", data, out);
            }
            Block::Thinking { text, .. } if self.items.tells_reasoning() => {
                let data = with(place.clone(), json!({"summary_index": 0, "text": text}));
                self.event("response.reasoning_summary_text.done", data, out);
                let data = with(place, json!({"summary_index": 0, "part": summary_part(text)}));
                self.event("response.reasoning_summary_part.done", data, out);
            }
            Block::Thinking { .. } => {}
        }
        let item = self.items.done(block, answer);
        self.event("response.output_item.done", json!({"output_index": block, "item": item}), out);
    }

    fn place(&self, block: usize) -> Value {
        json!({"item_id": self.item, "output_index": block})
    }
}

fn with(mut place: Value, more: Value) -> Value {
    if let (Value::Object(place), Value::Object(more)) = (&mut place, more) {
        place.extend(more);
    }
    place
}

impl Encode for Events {
    fn beat(&mut self, beat: Beat<'_>, answer: &Answer, out: &mut BytesMut) {
        match beat {
            Beat::Start => {
                let opening = Value::Object(std::mem::take(&mut self.opening));
                self.event("response.created", json!({"response": opening.clone()}), out);
                self.event("response.in_progress", json!({"response": opening}), out);
            }
            Beat::Open(block) => self.open(block, answer, out),
            Beat::Piece { block, text } => self.piece(block, text, answer, out),
            Beat::Close(block) => self.close(block, answer, out),
            Beat::Finish => {
                let done = self.done.take();
                let kind = match done["status"] == "incomplete" {
                    true => "response.incomplete",
                    false => "response.completed",
                };
                self.event(kind, json!({"response": done}), out);
            }
        }
    }
}
