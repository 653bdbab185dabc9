//! Reads the chunks of a GenerateContentResponse. Nothing in them says which is the last.

use super::answer_read::{Part, citations, is_blocked, logprobs, read_part};
use super::words::{self, UNSPECIFIED};
use crate::translate::form::{Body, Delta, Event, Stop};
use crate::translate::ids;
use crate::translate::shared::has_error;
use crate::translate::stream::Malformed;
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

#[derive(Default)]
pub struct Reader {
    started: bool,
    id: String,
    candidates: Vec<Candidate>,
}

#[derive(Default)]
struct Candidate {
    /// Something was said of it; another one of a higher index makes room for it before.
    begun: bool,
    open: Option<Open>,
    calls: usize,
    stopped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
}

/// More candidates than a caller may ask for.
const MOST_CANDIDATES: usize = 128;

impl Reader {
    pub fn chunk(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut chunk = Json::parse(data).map_err(|_| Malformed)?.into_object();
        if has_error(&chunk) {
            out.push(Event::Failed(None));
            return Ok(());
        }
        if !self.started {
            self.started = true;
            self.id = chunk.take("responseId").into_string().filter(|id| ids::is_plain(id)).unwrap_or_default();
            out.push(Event::Start { id: self.id.clone() });
        }
        let listed = chunk.take("candidates").into_list();
        if listed.is_empty() && is_blocked(&chunk) {
            self.at(0)?.stop(0, Some(Stop::Refused), "", out);
        }
        for candidate in listed {
            let mut candidate = candidate.into_object();
            let at = candidate.take("index").count().map_or(0, |index| index as usize);
            let id = self.id.clone();
            self.at(at)?.read(&id, at, candidate, out);
        }
        Ok(())
    }

    /// The stream is over. Whoever has not said why they stopped have not stopped.
    pub fn end(&self, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut begun = self.candidates.iter().filter(|candidate| candidate.begun).peekable();
        if begun.peek().is_none() || !begun.all(|candidate| candidate.stopped) {
            return Err(Malformed);
        }
        out.push(Event::End);
        Ok(())
    }

    fn at(&mut self, at: usize) -> Result<&mut Candidate, Malformed> {
        if at >= MOST_CANDIDATES {
            return Err(Malformed);
        }
        if self.candidates.len() <= at {
            self.candidates.resize_with(at + 1, Candidate::default);
        }
        let candidate = &mut self.candidates[at];
        candidate.begun = true;
        Ok(candidate)
    }
}

impl Candidate {
    fn read(&mut self, id: &str, at: usize, mut candidate: Object, out: &mut Vec<Event>) {
        for part in candidate.take("content").into_object().take("parts").into_list() {
            self.part(id, at, part.into_object(), out);
        }
        for citation in citations(&mut candidate) {
            if self.open == Some(Open::Text) {
                out.push(Event::Delta { candidate: at, delta: Delta::Citation(citation) });
            }
        }
        let logprobs = logprobs(&candidate.take("logprobsResult"));
        if !logprobs.is_null() {
            out.push(Event::Delta { candidate: at, delta: Delta::Logprobs(logprobs) });
        }
        if let Some(word) = candidate.take("finishReason").into_string().filter(|w| !w.is_empty() && w != UNSPECIFIED) {
            self.stop(at, words::stop(&word, self.calls > 0), &word, out);
        }
    }

    fn part(&mut self, id: &str, candidate: usize, part: Object, out: &mut Vec<Event>) {
        match read_part(part) {
            Some(Part::Text { text, thought }) if !text.is_empty() && !self.stopped => {
                let kind = if thought { Open::Thinking } else { Open::Text };
                if self.open != Some(kind) {
                    self.close(candidate, out);
                    let body = match kind {
                        Open::Text => Body::text(""),
                        Open::Thinking => Body::Thinking { text: String::new(), signature: None },
                    };
                    self.open = Some(kind);
                    out.push(Event::Open { candidate, body });
                }
                out.push(Event::Delta { candidate, delta: Delta::Text(text) });
            }
            Some(Part::Call { id: own, name, arguments, signature }) if !self.stopped => {
                self.close(candidate, out);
                let id = own.unwrap_or_else(|| ids::placed(id, candidate, self.calls));
                self.calls += 1;
                let body = Body::ToolUse { id, name, arguments: String::new(), signature };
                out.push(Event::Open { candidate, body });
                out.push(Event::Delta { candidate, delta: Delta::Arguments(arguments) });
                out.push(Event::Close { candidate });
            }
            Some(Part::LeftOut(what)) => out.push(Event::LeftOut(what)),
            _ => {}
        }
    }

    fn close(&mut self, candidate: usize, out: &mut Vec<Event>) {
        if self.open.take().is_some() {
            out.push(Event::Close { candidate });
        }
    }

    fn stop(&mut self, candidate: usize, stop: Option<Stop>, word: &str, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.close(candidate, out);
            out.push(match stop {
                Some(stop) => Event::Stop { candidate, stop },
                None => Event::Failed(Some(Unread::stopped_message(word))),
            });
        }
    }
}
