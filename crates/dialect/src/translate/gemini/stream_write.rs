//! Writes the chunks of a GenerateContentResponse, as events or as one array. Calls are told whole.

use super::answer_write::{Seal, call, content, logprobs, metadata, write_usage};
use super::words;
use crate::translate::form::{Body, Delta, Event, Stop};
use crate::translate::reply::Reply;
use crate::translate::seal::Signature;
use crate::value::{Json, Object};
use anykey_core::Usage;

#[derive(Default)]
pub struct Writer {
    id: String,
    begun: bool,
    candidates: Vec<Candidate>,
    left_out: Vec<&'static str>,
}

#[derive(Default)]
struct Candidate {
    open: Open,
    seal: Seal,
    stop: Stop,
}

#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thinking,
    Call {
        id: String,
        name: String,
        arguments: String,
        signature: Option<Signature>,
    },
}

impl Writer {
    pub fn event(&mut self, event: Event, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        match event {
            Event::Start { id } => self.id = reply.answer_id(&id),
            Event::Open { candidate, body } => self.open(candidate, body, usage, reply, out),
            Event::Delta { candidate, delta } => self.delta(candidate, delta, usage, reply, out),
            Event::Close { candidate } => self.close(candidate, usage, reply, out),
            Event::Stop { candidate, stop } => self.at(candidate).stop = stop,
            Event::End => self.end(usage, reply, out),
            Event::LeftOut(_) | Event::Failed(_) => {}
        }
    }

    /// Something that the answer held; the last chunk names it.
    pub fn leave_out(&mut self, what: &'static str) {
        self.left_out.push(what);
    }

    fn at(&mut self, candidate: usize) -> &mut Candidate {
        if self.candidates.len() <= candidate {
            self.candidates.resize_with(candidate + 1, Candidate::default);
        }
        &mut self.candidates[candidate]
    }

    fn open(&mut self, at: usize, body: Body, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        let candidate = self.at(at);
        match body {
            Body::Text { text, citations } => {
                candidate.open = Open::Text;
                self.text(at, text, usage, reply, out);
                for citation in citations {
                    self.delta(at, Delta::Citation(citation), usage, reply, out);
                }
            }
            Body::Refusal(text) => {
                candidate.open = Open::Text;
                self.text(at, text, usage, reply, out);
            }
            Body::Thinking { text, signature } => {
                candidate.open = Open::Thinking;
                if let Some(signature) = signature {
                    candidate.seal.wait(signature);
                }
                self.text(at, text, usage, reply, out);
            }
            Body::ToolUse { id, name, arguments, signature } => {
                candidate.open = Open::Call { id, name, arguments, signature };
            }
            _ => candidate.open = Open::Nothing,
        }
    }

    fn delta(&mut self, at: usize, delta: Delta, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        let candidate = self.at(at);
        match delta {
            Delta::Text(text) => self.text(at, text, usage, reply, out),
            Delta::Arguments(more) => {
                if let Open::Call { arguments, .. } = &mut candidate.open {
                    arguments.push_str(&more);
                }
            }
            Delta::Signature(signature) => candidate.seal.wait(signature),
            Delta::Citation(citation) => {
                let whole = Object::new()
                    .with("content", content(Vec::new()))
                    .with("index", at)
                    .maybe("citationMetadata", metadata(vec![citation]));
                self.chunk(vec![whole.into()], usage, reply, out);
            }
            Delta::Logprobs(said) => {
                if let Some(said) = logprobs(&said) {
                    let whole = Object::new()
                        .with("content", content(Vec::new()))
                        .with("index", at)
                        .with("logprobsResult", said);
                    self.chunk(vec![whole.into()], usage, reply, out);
                }
            }
        }
    }

    fn text(&mut self, at: usize, text: String, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        if text.is_empty() {
            return;
        }
        let candidate = self.at(at);
        let part = match candidate.open {
            Open::Text => Object::new().with("text", text).maybe("thoughtSignature", candidate.seal.take()),
            Open::Thinking if reply.show_thinking => Object::new().with("text", text).with("thought", true),
            _ => return,
        };
        self.part(at, part.into(), usage, reply, out);
    }

    fn close(&mut self, at: usize, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        let candidate = self.at(at);
        if let Open::Call { id, name, arguments, signature } = std::mem::take(&mut candidate.open) {
            let part = call(&id, &name, &arguments, signature, &mut candidate.seal);
            self.part(at, part.into(), usage, reply, out);
        }
    }

    fn part(&mut self, at: usize, part: Json, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        let candidate = Object::new().with("content", content(vec![part])).with("index", at);
        self.chunk(vec![candidate.into()], usage, reply, out);
    }

    /// Why each candidate stopped comes last, with all that was used.
    fn end(&mut self, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        self.at(0);
        let finished: Vec<Json> = self
            .candidates
            .iter_mut()
            .enumerate()
            .map(|(at, candidate)| {
                let part = candidate.seal.rest().unwrap_or_else(|| Object::new().with("text", "").into());
                let whole = Object::new()
                    .with("content", content(vec![part]))
                    .with("finishReason", words::stop_word(&candidate.stop))
                    .with("index", at);
                Json::from(whole)
            })
            .collect();
        self.write(finished, usage, true, reply, out);
        if reply.array {
            out.push(']');
        }
    }

    fn chunk(&mut self, candidates: Vec<Json>, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        self.write(candidates, usage, false, reply, out);
    }

    fn write(&mut self, candidates: Vec<Json>, usage: Option<&Usage>, last: bool, reply: &Reply, out: &mut String) {
        let first = !std::mem::replace(&mut self.begun, true);
        out.push_str(match (reply.array, first) {
            (false, _) => "data: ",
            (true, true) => "[",
            (true, false) => ",\r\n",
        });
        let left_out = Some(self.left_out.join(", ")).filter(|names| last && !names.is_empty());
        Object::new()
            .with("candidates", candidates)
            .maybe("usageMetadata", usage.map(write_usage))
            .with("modelVersion", &reply.model)
            .with("responseId", &self.id)
            .maybe("x-anykey-dropped", left_out)
            .write(out);
        if !reply.array {
            out.push_str("\r\n\r\n");
        }
    }
}
