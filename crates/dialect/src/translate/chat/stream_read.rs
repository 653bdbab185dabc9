//! Reads the chunks of a chat completion.

use super::answer_read::{citation, some_text, thinking};
use super::words;
use crate::translate::form::{Body, Delta, Event};
use crate::value::{Json, Object};

#[derive(Default)]
pub struct Reader {
    started: bool,
    choices: Vec<Choice>,
}

/// How far a choice has come.
#[derive(Default)]
struct Choice {
    open: Option<Open>,
    called: bool,
    stopped: bool,
    /// Calls that have begun, by OpenAI's index.
    calls: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Refusal,
    Call(u64),
}

/// A chunk that cannot be what it claims to be.
pub struct Malformed;

/// More choices than a caller may ask for.
const MOST_CHOICES: u64 = 128;
/// More calls than a model makes in one answer.
const MOST_CALLS: usize = 512;

impl Reader {
    pub fn chunk(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if data.trim() == "[DONE]" {
            self.done(out);
            return Ok(());
        }
        let mut chunk = Json::parse(data).map_err(|_| Malformed)?.into_object();
        if has_error(&chunk) {
            out.push(Event::Failed);
            return Ok(());
        }
        if !self.started {
            self.started = true;
            out.push(Event::Start { id: chunk.take("id").into_string().unwrap_or_default() });
        }
        for choice in chunk.take("choices").into_list() {
            self.choice(choice.into_object(), out)?;
        }
        Ok(())
    }

    fn choice(&mut self, mut choice: Object, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let index = choice.take("index").count().unwrap_or(0);
        if index >= MOST_CHOICES {
            return Err(Malformed);
        }
        let at = index as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, Choice::default);
        }
        let state = &mut self.choices[at];
        let mut delta = choice.take("delta").into_object();
        if let Some(text) = thinking(&mut delta) {
            state.say(at, Open::Thinking, text, out);
        }
        if let Some(text) = some_text(delta.take("content")) {
            state.say(at, Open::Text, text, out);
        }
        for annotation in delta.take("annotations").into_list() {
            if let (Some(citation), Some(Open::Text)) = (citation(&annotation), state.open) {
                out.push(Event::Delta { candidate: at, delta: Delta::Citation(citation) });
            }
        }
        if let Some(text) = some_text(delta.take("refusal")) {
            state.say(at, Open::Refusal, text, out);
        }
        let logprobs = choice.take("logprobs");
        if !logprobs.is_null() {
            out.push(Event::Delta { candidate: at, delta: Delta::Logprobs(logprobs) });
        }
        for call in delta.take("tool_calls").into_list() {
            state.call(at, call.into_object(), out)?;
        }
        if let Some(word) = some_text(choice.take("finish_reason")) {
            state.stop(at, &word, out);
        }
        Ok(())
    }

    fn done(&mut self, out: &mut Vec<Event>) {
        for (at, choice) in self.choices.iter_mut().enumerate() {
            choice.stop(at, "", out);
        }
        out.push(Event::End);
    }
}

impl Choice {
    fn say(&mut self, candidate: usize, kind: Open, text: String, out: &mut Vec<Event>) {
        if self.open != Some(kind) {
            let body = match kind {
                Open::Text => Body::text(""),
                Open::Thinking => Body::Thinking { text: String::new(), signature: None },
                _ => Body::Refusal(String::new()),
            };
            self.open(candidate, kind, body, out);
        }
        out.push(Event::Delta { candidate, delta: Delta::Text(text) });
    }

    fn open(&mut self, candidate: usize, kind: Open, body: Body, out: &mut Vec<Event>) {
        if self.open.replace(kind).is_some() {
            out.push(Event::Close { candidate });
        }
        out.push(Event::Open { candidate, body });
    }

    /// Calls come one after the other; a piece for one that is over could not be placed.
    fn call(&mut self, candidate: usize, mut call: Object, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let index = call.take("index").count().unwrap_or(0);
        let mut function = call.take("function").into_object();
        if !self.calls.contains(&index) {
            if self.calls.len() == MOST_CALLS {
                return Err(Malformed);
            }
            self.calls.push(index);
            self.called = true;
            let body = Body::ToolUse {
                id: call.take("id").into_string().unwrap_or_default(),
                name: function.take("name").into_string().unwrap_or_default(),
                arguments: String::new(),
                signature: None,
            };
            self.open(candidate, Open::Call(index), body, out);
        } else if self.open != Some(Open::Call(index)) {
            return Err(Malformed);
        }
        if let Some(arguments) = some_text(function.take("arguments")) {
            out.push(Event::Delta { candidate, delta: Delta::Arguments(arguments) });
        }
        Ok(())
    }

    fn stop(&mut self, candidate: usize, word: &str, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        if self.open.take().is_some() {
            out.push(Event::Close { candidate });
        }
        out.push(Event::Stop { candidate, stop: words::stop(word, self.called) });
    }
}

/// Some providers write `"error": null` on every chunk.
fn has_error(chunk: &Object) -> bool {
    match chunk.get("error") {
        Some(Json::Object(_)) => true,
        Some(Json::String(text)) => !text.is_empty(),
        _ => false,
    }
}
