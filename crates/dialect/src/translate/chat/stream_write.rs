//! Writes the chunks of a chat completion.

use super::answer_write::{annotation, call, write_usage};
use super::words;
use crate::translate::form::{Body, Delta, Event};
use crate::translate::reply::{Reply, Riders};
use crate::value::{Json, Object};
use anykey_core::Usage;

#[derive(Default)]
pub struct Writer {
    id: String,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    begun: bool,
    open: Open,
    calls: usize,
    riders: Riders,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thinking,
    Refusal,
    Call,
}

impl Writer {
    pub fn event(&mut self, event: Event, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        match event {
            Event::Start { id } => self.id = reply.answer_id(&id),
            Event::Open { candidate, body } => self.open(candidate, body, reply, out),
            Event::Delta { candidate, delta } => self.delta(candidate, delta, reply, out),
            Event::Close { candidate } => self.choice(candidate).open = Open::Nothing,
            Event::Stop { candidate, stop } => {
                self.say(candidate, Object::new(), Some(words::stop_word(&stop)), reply, out);
            }
            Event::End => self.end(usage, reply, out),
            Event::LeftOut(_) | Event::Failed(_) => {}
        }
    }

    fn choice(&mut self, candidate: usize) -> &mut Choice {
        if self.choices.len() <= candidate {
            self.choices.resize_with(candidate + 1, Choice::default);
        }
        &mut self.choices[candidate]
    }

    fn open(&mut self, candidate: usize, body: Body, reply: &Reply, out: &mut String) {
        let choice = self.choice(candidate);
        let delta = match body {
            Body::Text { text, citations } => {
                choice.open = Open::Text;
                let annotations: Vec<Json> = citations.iter().map(annotation).collect();
                some(text)
                    .map(|text| Object::new().with("content", text))
                    .map(|delta| delta.maybe("annotations", Some(annotations).filter(|a| !a.is_empty())))
            }
            Body::Thinking { text, signature } => {
                choice.open = Open::Thinking;
                if let Some(signature) = &signature {
                    choice.riders.wait(signature);
                }
                some(text).filter(|_| reply.show_thinking).map(|t| Object::new().with("reasoning_content", t))
            }
            Body::Refusal(text) => {
                choice.open = Open::Refusal;
                some(text).map(|text| Object::new().with("refusal", text))
            }
            Body::ToolUse { id, name, arguments, signature } => {
                choice.open = Open::Call;
                let id = choice.riders.id(&id, signature.as_ref());
                let index = choice.calls;
                choice.calls += 1;
                let calls: Json = vec![call(Some(index), &id, &name, arguments)].into();
                Some(Object::new().with("tool_calls", calls))
            }
            _ => {
                choice.open = Open::Nothing;
                None
            }
        };
        if let Some(delta) = delta {
            self.say(candidate, delta, None, reply, out);
        }
    }

    fn delta(&mut self, candidate: usize, delta: Delta, reply: &Reply, out: &mut String) {
        let choice = self.choice(candidate);
        let delta = match (delta, choice.open) {
            (Delta::Text(text), Open::Text) => Object::new().with("content", text),
            (Delta::Text(text), Open::Refusal) => Object::new().with("refusal", text),
            (Delta::Text(text), Open::Thinking) if reply.show_thinking => Object::new().with("reasoning_content", text),
            (Delta::Arguments(text), Open::Call) => {
                let function = Object::new().with("arguments", text);
                let call = Object::new().with("index", choice.calls.saturating_sub(1)).with("function", function);
                Object::new().with("tool_calls", vec![call.into()])
            }
            (Delta::Citation(citation), _) => Object::new().with("annotations", vec![annotation(&citation)]),
            (Delta::Signature(signature), _) => return choice.riders.wait(&signature),
            (Delta::Logprobs(logprobs), _) => return self.logprobs(candidate, logprobs, reply, out),
            _ => return,
        };
        self.say(candidate, delta, None, reply, out);
    }

    fn logprobs(&mut self, candidate: usize, logprobs: Json, reply: &Reply, out: &mut String) {
        let choice = Object::new()
            .with("index", candidate)
            .with("delta", Object::new())
            .with("logprobs", logprobs)
            .with("finish_reason", Json::Null);
        self.chunk(vec![choice.into()], None, reply, out);
    }

    /// The first chunk of a choice says who speaks.
    fn say(&mut self, candidate: usize, delta: Object, stop: Option<&str>, reply: &Reply, out: &mut String) {
        let mut whole = Object::new();
        if !std::mem::replace(&mut self.choice(candidate).begun, true) {
            whole.put("role", "assistant");
            if delta.get("content").is_none() {
                whole.put("content", Json::Null);
            }
        }
        for (name, value) in delta.into_members() {
            whole.put(name, value);
        }
        let choice = Object::new()
            .with("index", candidate)
            .with("delta", whole)
            .with("logprobs", Json::Null)
            .with("finish_reason", stop.map_or(Json::Null, Json::from));
        self.chunk(vec![choice.into()], None, reply, out);
    }

    fn end(&mut self, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        if reply.include_usage
            && let Some(usage) = usage
        {
            self.chunk(Vec::new(), Some(write_usage(usage)), reply, out);
        }
        out.push_str("data: [DONE]\n\n");
    }

    fn chunk(&self, choices: Vec<Json>, usage: Option<Object>, reply: &Reply, out: &mut String) {
        let mut chunk = Object::new()
            .with("id", &self.id)
            .with("object", "chat.completion.chunk")
            .with("created", reply.created)
            .with("model", &reply.model)
            .with("choices", choices);
        if reply.include_usage {
            chunk.put("usage", usage.map_or(Json::Null, Json::from));
        }
        out.push_str("data: ");
        chunk.write(out);
        out.push_str("\n\n");
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
