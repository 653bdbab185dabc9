//! Reads the events of a message.

use super::answer_read::{LEFT_OUT, block, citation};
use super::words;
use crate::translate::form::{Body, Delta, Event, Stop};
use crate::translate::openai::NO_ARGUMENTS;
use crate::translate::seal::{Origin, Signature};
use crate::translate::shared::has_error;
use crate::translate::stream::Malformed;
use crate::value::{Json, Object};

#[derive(Default)]
pub struct Reader {
    started: bool,
    open: Open,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    /// A block that is passed over.
    Ignored,
    Words,
    /// A call, and whether any of its arguments came.
    Call(bool),
}

impl Reader {
    pub fn event(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut event = Json::parse(data).map_err(|_| Malformed)?.into_object();
        let kind = event.take("type").into_string();
        match kind.as_deref().unwrap_or(name) {
            "error" => out.push(Event::Failed(None)),
            _ if has_error(&event) => out.push(Event::Failed(None)),
            "message_start" => {
                self.started = true;
                let id = event.take("message").at("id").str().unwrap_or_default().to_owned();
                out.push(Event::Start { id });
            }
            "content_block_start" => self.start(event.take("content_block").into_object(), out),
            "content_block_delta" => self.delta(event.take("delta").into_object(), out),
            "content_block_stop" => self.close(out),
            "message_delta" => {
                let mut delta = event.take("delta").into_object();
                let sequence = delta.take("stop_sequence").into_string();
                if let Some(word) = delta.take("stop_reason").into_string() {
                    self.stop = Some(words::stop(&word, sequence));
                }
            }
            // Whoever has not begun or has not said why they stopped have not come to their end.
            "message_stop" => {
                let stop = self.stop.take().filter(|_| self.started).ok_or(Malformed)?;
                self.close(out);
                out.push(Event::Stop { candidate: 0, stop });
                out.push(Event::End);
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, content: Object, out: &mut Vec<Event>) {
        self.close(out);
        let body = match block(content) {
            None => {
                self.open = Open::Ignored;
                out.push(Event::LeftOut(LEFT_OUT));
                return;
            }
            // What it is called with comes in pieces.
            Some(Body::ToolUse { id, name, signature, .. }) => {
                self.open = Open::Call(false);
                Body::ToolUse { id, name, arguments: String::new(), signature }
            }
            Some(body) => {
                self.open = Open::Words;
                body
            }
        };
        out.push(Event::Open { candidate: 0, body });
    }

    fn delta(&mut self, mut delta: Object, out: &mut Vec<Event>) {
        let mut text = |name: &str| delta.take(name).into_string().unwrap_or_default();
        let kind = text("type");
        let delta = match (kind.as_str(), self.open) {
            ("text_delta", Open::Words) => Delta::Text(text("text")),
            ("thinking_delta", Open::Words) => Delta::Text(text("thinking")),
            ("signature_delta", Open::Words) => Delta::Signature(Signature::new(Origin::Anthropic, text("signature"))),
            ("citations_delta", Open::Words) => match citation(&delta.take("citation")) {
                Some(citation) => Delta::Citation(citation),
                None => return,
            },
            ("input_json_delta", Open::Call(_)) => {
                let piece = text("partial_json");
                if piece.is_empty() {
                    return;
                }
                self.open = Open::Call(true);
                Delta::Arguments(piece)
            }
            _ => return,
        };
        out.push(Event::Delta { candidate: 0, delta });
    }

    /// A call without arguments may stream none; an object is what everybody else expects.
    fn close(&mut self, out: &mut Vec<Event>) {
        match std::mem::take(&mut self.open) {
            Open::Nothing | Open::Ignored => return,
            Open::Call(false) => {
                out.push(Event::Delta { candidate: 0, delta: Delta::Arguments(NO_ARGUMENTS.to_owned()) });
            }
            Open::Call(true) | Open::Words => {}
        }
        out.push(Event::Close { candidate: 0 });
    }
}
