//! Reads the events of a response.

use super::answer_read::{citation, read_call, read_part, signature, stop};
use crate::translate::chat::stream_read::Malformed;
use crate::translate::form::{Body, Delta, Event};
use crate::value::{Json, Object};

#[derive(Default)]
pub struct Reader {
    started: bool,
    open: bool,
    called: bool,
    /// Whether any of the open call's arguments came.
    argued: bool,
}

impl Reader {
    pub fn event(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut event = Json::parse(data).map_err(|_| Malformed)?.into_object();
        let kind = event.take("type").into_string();
        match kind.as_deref().unwrap_or(name) {
            "response.created" | "response.in_progress" if !self.started => {
                self.started = true;
                let id = event.take("response").at("id").str().unwrap_or_default().to_owned();
                out.push(Event::Start { id });
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
            "response.completed" | "response.incomplete" => {
                self.close(out);
                let response = event.take("response").into_object();
                out.push(Event::Stop { candidate: 0, stop: stop(&response, self.called) });
                out.push(Event::End);
            }
            "response.failed" | "error" => out.push(Event::Failed),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, body: Body, out: &mut Vec<Event>) {
        self.close(out);
        self.open = true;
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
            _ => {}
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
