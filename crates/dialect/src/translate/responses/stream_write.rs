//! Writes the events of a response.

use super::items;
use crate::translate::form::{Body, Citation, Delta, Event, Stop};
use crate::translate::reply::Reply;
use crate::translate::seal::Signature;
use crate::translate::{ids, seal};
use crate::value::{Json, Object};
use anykey_core::Usage;

#[derive(Default)]
pub struct Writer {
    id: String,
    /// The number of the next event.
    pub sequence: u64,
    output: Vec<Json>,
    open: Option<Item>,
    stop: Stop,
}

/// The item that is under way.
struct Item {
    id: String,
    kind: Kind,
    text: String,
    citations: Vec<Citation>,
    /// Those of all that was said so far.
    logprobs: Vec<Json>,
    signature: Option<Signature>,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
    Call { call_id: String, name: String },
}

impl Writer {
    pub fn event(&mut self, event: Event, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        match event {
            Event::Start { id } => {
                self.id = reply.answer_id(&id);
                for kind in ["response.created", "response.in_progress"] {
                    let response = items::response(&self.id, Vec::new(), None, None, reply);
                    self.say(kind, Object::new().with("response", response), out);
                }
            }
            Event::Open { body, .. } => self.open(body, reply, out),
            Event::Delta { delta, .. } => self.delta(delta, reply, out),
            Event::Close { .. } => self.close(out),
            Event::Stop { stop, .. } => self.stop = stop,
            Event::End => {
                let kind = match items::incomplete(&self.stop) {
                    None => "response.completed",
                    Some(_) => "response.incomplete",
                };
                let output = std::mem::take(&mut self.output);
                let response = items::response(&self.id, output, Some(&self.stop), usage, reply);
                self.say(kind, Object::new().with("response", response), out);
            }
            Event::LeftOut(_) | Event::Failed(_) => {}
        }
    }

    fn open(&mut self, body: Body, reply: &Reply, out: &mut String) {
        let (kind, prefix, begun) = match body {
            Body::Text { text, citations } => (Kind::Text, "msg_", (text, citations, None)),
            Body::Refusal(text) => (Kind::Refusal, "msg_", (text, Vec::new(), None)),
            Body::Thinking { text, signature } => (Kind::Thinking, "rs_", (text, Vec::new(), signature)),
            Body::ToolUse { id, name, arguments, signature } => {
                let call_id = seal::ride(&id, signature.as_slice());
                (Kind::Call { call_id, name }, "fc_", (arguments, Vec::new(), None))
            }
            _ => return,
        };
        let item = Item {
            id: ids::item(prefix, &self.id, self.output.len()),
            kind,
            text: String::new(),
            citations: Vec::new(),
            logprobs: Vec::new(),
            signature: begun.2,
        };
        let added = item.whole("in_progress", false);
        self.say("response.output_item.added", self.place().with("item", added), out);
        if let Some(part) = item.part() {
            let place = self.part_place(&item);
            self.say("response.content_part.added", place.with("part", part), out);
        }
        self.open = Some(item);
        self.more(begun.0, reply, out);
        for citation in begun.1 {
            self.delta(Delta::Citation(citation), reply, out);
        }
    }

    fn delta(&mut self, delta: Delta, reply: &Reply, out: &mut String) {
        match delta {
            Delta::Text(text) | Delta::Arguments(text) => self.more(text, reply, out),
            Delta::Signature(signature) => {
                if let Some(item) = &mut self.open {
                    item.signature = Some(signature);
                }
            }
            Delta::Citation(citation) => {
                let Some(mut item) = self.open.take() else { return };
                let place = self.part_place(&item).with("annotation_index", item.citations.len());
                let said = place.with("annotation", items::annotation(&citation));
                self.say("response.output_text.annotation.added", said, out);
                item.citations.push(citation);
                self.open = Some(item);
            }
            Delta::Logprobs(logprobs) => {
                if let Some(item) = &mut self.open {
                    item.logprobs.extend(logprobs.into_object().take("content").into_list());
                }
            }
        }
    }

    fn more(&mut self, text: String, reply: &Reply, out: &mut String) {
        if text.is_empty() {
            return;
        }
        let Some(mut item) = self.open.take() else { return };
        let first = item.text.is_empty();
        item.text.push_str(&text);
        match item.kind {
            Kind::Text => {
                let place = self.part_place(&item).with("delta", text).with("logprobs", Vec::new());
                self.say("response.output_text.delta", place, out);
            }
            Kind::Refusal => self.say("response.refusal.delta", self.part_place(&item).with("delta", text), out),
            Kind::Call { .. } => {
                let place = self.place().with("item_id", &item.id).with("delta", text);
                self.say("response.function_call_arguments.delta", place, out);
            }
            Kind::Thinking if reply.show_thinking => {
                if first {
                    let part = self.summary_place(&item).with("part", items::summary_part(""));
                    self.say("response.reasoning_summary_part.added", part, out);
                }
                let place = self.summary_place(&item).with("delta", text);
                self.say("response.reasoning_summary_text.delta", place, out);
            }
            Kind::Thinking => item.text.clear(),
        }
        self.open = Some(item);
    }

    fn close(&mut self, out: &mut String) {
        let Some(item) = self.open.take() else { return };
        match &item.kind {
            Kind::Text => {
                let place = self.part_place(&item).with("text", &item.text).with("logprobs", item.logprobs.clone());
                self.say("response.output_text.done", place, out);
            }
            Kind::Refusal => {
                let place = self.part_place(&item).with("refusal", &item.text);
                self.say("response.refusal.done", place, out);
            }
            Kind::Call { name, .. } => {
                let place = self.place().with("item_id", &item.id).with("name", name).with("arguments", &item.text);
                self.say("response.function_call_arguments.done", place, out);
            }
            Kind::Thinking if !item.text.is_empty() => {
                let place = self.summary_place(&item).with("text", &item.text);
                self.say("response.reasoning_summary_text.done", place, out);
                let part = self.summary_place(&item).with("part", items::summary_part(&item.text));
                self.say("response.reasoning_summary_part.done", part, out);
            }
            Kind::Thinking => {}
        }
        if let Some(part) = item.part() {
            let place = self.part_place(&item);
            self.say("response.content_part.done", place.with("part", part), out);
        }
        let whole = item.whole("completed", true);
        self.say("response.output_item.done", self.place().with("item", whole.clone()), out);
        self.output.push(whole.into());
    }

    fn place(&self) -> Object {
        Object::new().with("output_index", self.output.len())
    }

    fn part_place(&self, item: &Item) -> Object {
        self.place().with("item_id", &item.id).with("content_index", 0u64)
    }

    fn summary_place(&self, item: &Item) -> Object {
        self.place().with("item_id", &item.id).with("summary_index", 0u64)
    }

    fn say(&mut self, kind: &'static str, members: Object, out: &mut String) {
        let mut event = Object::new().with("type", kind).with("sequence_number", self.sequence);
        for (name, value) in members.into_members() {
            event.put(name, value);
        }
        self.sequence += 1;
        out.push_str("event: ");
        out.push_str(kind);
        out.push_str("\ndata: ");
        event.write(out);
        out.push_str("\n\n");
    }
}

impl Item {
    /// The part of a message as far as it is known.
    fn part(&self) -> Option<Object> {
        match self.kind {
            Kind::Text => Some(items::text_part(&self.text, &self.citations, self.logprobs.clone())),
            Kind::Refusal => Some(items::refusal_part(&self.text)),
            Kind::Thinking | Kind::Call { .. } => None,
        }
    }

    fn whole(&self, status: &str, done: bool) -> Object {
        match &self.kind {
            Kind::Text | Kind::Refusal => items::message(&self.id, status, self.part().filter(|_| done)),
            Kind::Thinking => items::reasoning(&self.id, &self.text, self.signature.as_ref().filter(|_| done)),
            Kind::Call { call_id, name } => items::call(&self.id, status, call_id, name, &self.text),
        }
    }
}
