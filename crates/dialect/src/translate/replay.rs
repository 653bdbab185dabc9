//! A whole answer as the stream that it would have been, for providers who do not stream although they were asked to.

use super::form::{Answer, Body, Candidate, Delta, Event};
use crate::value::Json;

pub fn events(answer: Answer) -> Vec<Event> {
    let mut out = vec![Event::Start { id: answer.id }];
    for (at, candidate) in answer.candidates.into_iter().enumerate() {
        replay(at, candidate, &mut out);
    }
    out.push(Event::End);
    out
}

fn replay(candidate: usize, said: Candidate, out: &mut Vec<Event>) {
    for block in said.blocks {
        let (body, arguments) = match block.body {
            Body::ToolUse { id, name, arguments, signature } => {
                (Body::ToolUse { id, name, arguments: String::new(), signature }, Some(arguments))
            }
            body => (body, None),
        };
        out.push(Event::Open { candidate, body });
        out.extend(arguments.map(|text| Event::Delta { candidate, delta: Delta::Arguments(text) }));
        out.push(Event::Close { candidate });
    }
    if said.logprobs != Json::Null {
        out.push(Event::Delta { candidate, delta: Delta::Logprobs(said.logprobs) });
    }
    out.push(Event::Stop { candidate, stop: said.stop });
}
