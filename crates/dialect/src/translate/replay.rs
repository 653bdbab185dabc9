//! A whole answer as the stream that it would have been, for providers who do not stream although they were asked to.

use super::form::{Answer, Body, Candidate, Delta, Event, Stop};
use crate::value::Json;

pub fn events(answer: Answer) -> Vec<Event> {
    let mut out = vec![Event::Start { id: answer.id }];
    for (at, candidate) in answer.candidates.into_iter().enumerate() {
        let stop = replay(at, candidate, &mut out);
        out.push(Event::Stop { candidate: at, stop });
    }
    out.push(Event::End);
    out
}

/// What the only candidate said, and why it stopped.
pub fn said(candidates: Vec<Candidate>, out: &mut Vec<Event>) -> Stop {
    candidates.into_iter().next().map(|candidate| replay(0, candidate, out)).unwrap_or_default()
}

fn replay(candidate: usize, said: Candidate, out: &mut Vec<Event>) -> Stop {
    let mut logprobs = Some(said.logprobs).filter(|logprobs| *logprobs != Json::Null);
    for block in said.blocks {
        let is_text = matches!(block.body, Body::Text { .. });
        let (body, arguments) = match block.body {
            Body::ToolUse { id, name, arguments, signature } => {
                (Body::ToolUse { id, name, arguments: String::new(), signature }, Some(arguments))
            }
            body => (body, None),
        };
        out.push(Event::Open { candidate, body });
        out.extend(arguments.map(|text| Event::Delta { candidate, delta: Delta::Arguments(text) }));
        // They stand with a text that is open, or nowhere.
        let probable = logprobs.take_if(|_| is_text);
        out.extend(probable.map(|logprobs| Event::Delta { candidate, delta: Delta::Logprobs(logprobs) }));
        out.push(Event::Close { candidate });
    }
    out.extend(logprobs.map(|logprobs| Event::Delta { candidate, delta: Delta::Logprobs(logprobs) }));
    said.stop
}
