//! Reads the events of a response.

use super::answer_read::{self, LEFT_OUT, citation, read_call, read_part, signature, stop};
use crate::translate::form::{Body, Delta, Event};
use crate::translate::replay;
use crate::translate::shared::has_error;
use crate::translate::stream::Malformed;
use crate::translate::unread::Unread;
use crate::value::{Json, Object};

#[derive(Default)]
pub struct Reader {
    started: bool,
    open: bool,
    /// Something was said before the whole response was.
    said: bool,
    called: bool,
    /// Whether any of the open call's arguments came.
    argued: bool,
}

impl Reader {
    pub fn event(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut event = Json::parse(data).map_err(|_| Malformed)?.into_object();
        let kind = event.take("type").into_string();
        match kind.as_deref().unwrap_or(name) {
            "response.failed" | "error" => out.push(Event::Failed(None)),
            _ if has_error(&event) => out.push(Event::Failed(None)),
            "response.created" | "response.in_progress" if !self.started => {
                self.start(event.take("response").at("id").str().unwrap_or_default(), out);
            }
            "response.output_item.added" => self.item_added(event.take("item").into_object(), out),
            "response.content_part.added" => {
                if let Some(body) = read_part(&event.take("part")) {
                    self.open(body, out);
                }
            }
            "response.output_text.delta" | "response.refusal.delta" | "response.reasoning_summary_text.delta" => {
                let logprobs = event.take("logprobs");
                self.text(event.take("delta"), out);
                if !logprobs.list().is_empty() {
                    let said = Object::new().with("content", logprobs).into();
                    out.push(Event::Delta { candidate: 0, delta: Delta::Logprobs(said) });
                }
            }
            // Between two parts of a summary stands a blank line, as in the whole response.
            "response.reasoning_summary_part.added" if event.take("summary_index").count() > Some(0) => {
                self.text(Json::from("\n\n"), out);
            }
            "response.output_text.annotation.added" => {
                if let Some(citation) = citation(&event.take("annotation")) {
                    out.push(Event::Delta { candidate: 0, delta: Delta::Citation(citation) });
                }
            }
            "response.function_call_arguments.delta" => {
                if let Some(more) = event.take("delta").into_string().filter(|text| !text.is_empty()) {
                    self.argued = true;
                    out.push(Event::Delta { candidate: 0, delta: Delta::Arguments(more) });
                }
            }
            "response.content_part.done" => self.close(out),
            "response.output_item.done" => self.item_done(event.take("item").into_object(), out),
            "response.completed" | "response.incomplete" => self.whole(event.take("response"), out)?,
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, id: &str, out: &mut Vec<Event>) {
        self.started = true;
        out.push(Event::Start { id: id.to_owned() });
    }

    /// The last event repeats the response whole; some servers say it there and nowhere else.
    fn whole(&mut self, response: Json, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.close(out);
        let Json::Object(response) = response else { return Err(Malformed) };
        if !self.started {
            self.start(response.get("id").and_then(Json::str).unwrap_or_default(), out);
        }
        let stop = if self.said {
            stop(&response, self.called)
        } else {
            answer_read::read(response).map(|answer| replay::said(answer.candidates, out))
        };
        match stop {
            Ok(stop) => out.extend([Event::Stop { candidate: 0, stop }, Event::End]),
            Err(Unread::NotIts) => return Err(Malformed),
            Err(Unread::Failed(why)) => out.push(Event::Failed(Some(why))),
        }
        Ok(())
    }

    fn open(&mut self, body: Body, out: &mut Vec<Event>) {
        self.close(out);
        self.open = true;
        self.said = true;
        out.push(Event::Open { candidate: 0, body });
    }

    fn text(&mut self, delta: Json, out: &mut Vec<Event>) {
        if let Some(text) = delta.into_string().filter(|text| self.open && !text.is_empty()) {
            out.push(Event::Delta { candidate: 0, delta: Delta::Text(text) });
        }
    }

    fn item_added(&mut self, mut item: Object, out: &mut Vec<Event>) {
        match item.take("type").str() {
            Some("function_call") => {
                let Body::ToolUse { id, name, .. } = read_call(&mut item) else { return };
                self.called = true;
                self.argued = false;
                self.open(Body::ToolUse { id, name, arguments: String::new(), signature: None }, out);
            }
            Some("reasoning") => self.open(Body::Thinking { text: String::new(), signature: None }, out),
            Some("message") => {}
            _ => out.push(Event::LeftOut(LEFT_OUT)),
        }
    }

    fn item_done(&mut self, mut item: Object, out: &mut Vec<Event>) {
        match item.take("type").str() {
            Some("function_call") if self.open && !self.argued => {
                if let Body::ToolUse { arguments, .. } = read_call(&mut item) {
                    out.push(Event::Delta { candidate: 0, delta: Delta::Arguments(arguments) });
                }
            }
            Some("reasoning") if self.open => {
                if let Some(signature) = signature(&item) {
                    out.push(Event::Delta { candidate: 0, delta: Delta::Signature(signature) });
                }
            }
            _ => {}
        }
        self.close(out);
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.open) {
            out.push(Event::Close { candidate: 0 });
        }
    }
}
