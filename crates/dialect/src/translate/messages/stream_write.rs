//! Writes the events of a message.

use super::answer_write::{citation, tool_use, write_usage};
use super::words;
use crate::translate::form::{Body, Delta, Event, Stop};
use crate::translate::reply::{Reply, Riders};
use crate::translate::seal::{Origin, Signature};
use crate::value::{Json, Object};
use anykey_core::Usage;

#[derive(Default)]
pub struct Writer {
    /// The place of the block that is open, or of the next.
    index: usize,
    open: Open,
    riders: Riders,
    stop: Stop,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thinking,
    /// Thinking that is not shown.
    Hidden,
    Call,
}

impl Writer {
    pub fn event(&mut self, event: Event, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        match event {
            Event::Start { id } => start(&reply.answer_id(&id), usage, reply, out),
            Event::Open { body, .. } => self.open(body, reply, out),
            Event::Delta { delta, .. } => self.delta(delta, out),
            Event::Close { .. } => self.close(out),
            Event::Stop { stop, .. } => self.stop = stop,
            Event::End => self.end(usage, out),
            Event::LeftOut(_) | Event::Failed(_) => {}
        }
    }

    fn open(&mut self, body: Body, reply: &Reply, out: &mut String) {
        match body {
            Body::Text { text, citations } => {
                self.begin(Open::Text, Object::new().with("type", "text").with("text", ""), out);
                self.words("text_delta", "text", text, out);
                for cited in citations {
                    self.delta(Delta::Citation(cited), out);
                }
            }
            Body::Refusal(text) => {
                self.begin(Open::Text, Object::new().with("type", "text").with("text", ""), out);
                self.words("text_delta", "text", text, out);
            }
            Body::Thinking { text, signature } => {
                if reply.show_thinking {
                    let empty = Object::new().with("type", "thinking").with("thinking", "").with("signature", "");
                    self.begin(Open::Thinking, empty, out);
                    self.words("thinking_delta", "thinking", text, out);
                } else {
                    self.open = Open::Hidden;
                }
                if let Some(signature) = signature {
                    self.signature(&signature, out);
                }
            }
            Body::ToolUse { id, name, arguments, signature } => {
                let id = self.riders.id(&id, signature.as_ref());
                self.begin(Open::Call, tool_use(&id, &name).with("input", Object::new()), out);
                self.words("input_json_delta", "partial_json", arguments, out);
            }
            _ => {}
        }
    }

    fn begin(&mut self, open: Open, block: Object, out: &mut String) {
        self.open = open;
        let event = typed("content_block_start").with("index", self.index).with("content_block", block);
        write_event("content_block_start", &event, out);
    }

    fn delta(&mut self, delta: Delta, out: &mut String) {
        match (delta, self.open) {
            (Delta::Text(text), Open::Text) => self.words("text_delta", "text", text, out),
            (Delta::Text(text), Open::Thinking) => self.words("thinking_delta", "thinking", text, out),
            (Delta::Arguments(text), Open::Call) => self.words("input_json_delta", "partial_json", text, out),
            (Delta::Signature(signature), _) => self.signature(&signature, out),
            (Delta::Citation(cited), Open::Text) => {
                self.piece(Object::new().with("type", "citations_delta").with("citation", citation(&cited)), out);
            }
            _ => {}
        }
    }

    fn signature(&mut self, signature: &Signature, out: &mut String) {
        match self.open {
            Open::Thinking => self.words("signature_delta", "signature", signature.wrap(Origin::Anthropic), out),
            _ => self.riders.wait(signature),
        }
    }

    fn words(&mut self, kind: &'static str, name: &'static str, text: String, out: &mut String) {
        if !text.is_empty() {
            self.piece(Object::new().with("type", kind).with(name, text), out);
        }
    }

    fn piece(&mut self, delta: Object, out: &mut String) {
        let event = typed("content_block_delta").with("index", self.index).with("delta", delta);
        write_event("content_block_delta", &event, out);
    }

    fn close(&mut self, out: &mut String) {
        if !matches!(std::mem::take(&mut self.open), Open::Nothing | Open::Hidden) {
            write_event("content_block_stop", &typed("content_block_stop").with("index", self.index), out);
            self.index += 1;
        }
    }

    fn end(&mut self, usage: Option<&Usage>, out: &mut String) {
        let (word, sequence) = words::stop_words(&self.stop);
        let delta = Object::new().with("stop_reason", word).with("stop_sequence", sequence);
        let usage = write_usage(&usage.copied().unwrap_or_default());
        write_event("message_delta", &typed("message_delta").with("delta", delta).with("usage", usage), out);
        write_event("message_stop", &typed("message_stop"), out);
    }
}

/// Most providers say only at the end what was used.
fn start(id: &str, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
    let message = Object::new()
        .with("id", id)
        .with("type", "message")
        .with("role", "assistant")
        .with("model", &reply.model)
        .with("content", Vec::new())
        .with("stop_reason", Json::Null)
        .with("stop_sequence", Json::Null)
        .with("usage", write_usage(&usage.copied().unwrap_or_default()));
    write_event("message_start", &typed("message_start").with("message", message), out);
}

fn typed(kind: &'static str) -> Object {
    Object::new().with("type", kind)
}

fn write_event(name: &str, data: &Object, out: &mut String) {
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
    data.write(out);
    out.push_str("\n\n");
}
