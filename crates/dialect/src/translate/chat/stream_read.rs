//! Reads the chunks of a chat completion.

use super::answer_read::{citation, media, some_text, thinking};
use super::words;
use crate::translate::form::{Body, Delta, Event};
use crate::translate::shared::has_error;
use crate::translate::stream::Malformed;
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

#[derive(Default)]
pub struct Reader {
    started: bool,
    choices: Vec<Choice>,
}

/// How far a choice has come.
#[derive(Default)]
struct Choice {
    /// Something was said of it; another one of a higher index makes room for it before.
    begun: bool,
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

/// More choices than a caller may ask for.
const MOST_CHOICES: u64 = 128;
/// More calls than a model makes in one answer.
const MOST_CALLS: usize = 512;

impl Reader {
    pub fn chunk(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if data.trim_ascii() == "[DONE]" {
            return self.done(out);
        }
        // The event's name is enough, whatever it says.
        if name == "error" {
            out.push(Event::Failed(None));
            return Ok(());
        }
        let mut chunk = Json::parse(data).map_err(|_| Malformed)?.into_object();
        if has_error(&chunk) {
            out.push(Event::Failed(None));
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
        state.begun = true;
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
        out.extend(media(&delta).map(Event::LeftOut));
        if let Some(word) = some_text(choice.take("finish_reason")) {
            state.stop(at, &word, out);
        }
        Ok(())
    }

    /// Whoever has not said why they stopped have not stopped.
    fn done(&self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut begun = self.choices.iter().filter(|choice| choice.begun).peekable();
        if begun.peek().is_none() || !begun.all(|choice| choice.stopped) {
            return Err(Malformed);
        }
        out.push(Event::End);
        Ok(())
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
        out.push(match words::stop(word, self.called) {
            Some(stop) => Event::Stop { candidate, stop },
            None => Event::Failed(Some(Unread::stopped_message(word))),
        });
    }
}
