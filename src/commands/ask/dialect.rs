//! The three ways to put a question, and to read the answer's text out of a stream.

use crate::cli::client::segment;
use crate::cli::{Call, Failure};
use clap::ValueEnum;
use http::Method;
use serde_json::{Value, json};

/// Anthropic's API wants a bound; this is one that a person reads in one sitting.
const ANTHROPIC_TOKENS: u32 = 1024;
const ANTHROPIC_VERSION: &str = "2023-06-01";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Speech {
    Openai,
    Anthropic,
    Gemini,
}

pub struct Question<'a> {
    pub model: &'a str,
    pub text: &'a str,
    pub max_tokens: Option<u32>,
}

impl Speech {
    fn path(self, asked: &Question, stream: bool) -> String {
        match self {
            Speech::Openai => "/v1/chat/completions".into(),
            Speech::Anthropic => "/v1/messages".into(),
            Speech::Gemini => {
                // The slash of provider/model stays one, as Google's SDK sends it.
                let model = asked.model.split('/').map(segment).collect::<Vec<_>>().join("/");
                let verb = if stream { "streamGenerateContent" } else { "generateContent" };
                format!("/v1beta/models/{model}:{verb}")
            }
        }
    }

    fn body(self, asked: &Question, stream: bool) -> Value {
        let messages = json!([{ "role": "user", "content": asked.text }]);
        match self {
            Speech::Openai => {
                let mut body = json!({ "model": asked.model, "messages": messages, "stream": stream });
                if let Some(max) = asked.max_tokens {
                    body["max_tokens"] = json!(max);
                }
                body
            }
            Speech::Anthropic => json!({
                "model": asked.model,
                "messages": messages,
                "max_tokens": asked.max_tokens.unwrap_or(ANTHROPIC_TOKENS),
                "stream": stream,
            }),
            Speech::Gemini => {
                let mut body = json!({ "contents": [{ "role": "user", "parts": [{ "text": asked.text }] }] });
                if let Some(max) = asked.max_tokens {
                    body["generationConfig"] = json!({ "maxOutputTokens": max });
                }
                body
            }
        }
    }

    pub fn call(self, asked: &Question, stream: bool) -> Result<Call, Failure> {
        let call = Call::at(Method::POST, self.path(asked, stream)).json(&self.body(asked, stream))?;
        Ok(match self {
            Speech::Openai => call,
            Speech::Anthropic => call.header("anthropic-version", ANTHROPIC_VERSION),
            Speech::Gemini => call.maybe("alt", stream.then_some("sse")),
        })
    }

    /// The request as a person reads it.
    pub fn shown(self, asked: &Question, stream: bool) -> String {
        format!("> POST {}\n> {}", self.path(asked, stream), self.body(asked, stream))
    }

    pub fn reading(self) -> Reading {
        Reading { speech: self, ended: false, finished: false }
    }
}

/// How far the reading of a streamed answer is.
pub struct Reading {
    speech: Speech,
    /// The dialect's last event was seen.
    ended: bool,
    /// The model said why it stopped.
    finished: bool,
}

impl Reading {
    /// The text in one event.
    pub fn next(&mut self, data: &str) -> Result<String, Failure> {
        if data == "[DONE]" {
            self.ended = true;
            return Ok(String::new());
        }
        let event: Value = serde_json::from_str(data)
            .map_err(|error| Failure::failed(format!("the stream holds an event that is not JSON: {error}")))?;
        if let Some(error) = event.get("error") {
            let message = error["message"].as_str().unwrap_or("it did not say why");
            return Err(Failure::failed(format!("the answer broke off: {message}")));
        }
        let text = match self.speech {
            Speech::Openai => {
                let choice = &event["choices"][0];
                self.finished |= choice["finish_reason"].is_string();
                choice["delta"]["content"].as_str().unwrap_or_default().to_string()
            }
            Speech::Anthropic => {
                self.ended |= event["type"] == "message_stop";
                self.finished |= event["delta"]["stop_reason"].is_string();
                let is_text = event["delta"]["type"] == "text_delta";
                event["delta"]["text"].as_str().filter(|_| is_text).unwrap_or_default().to_string()
            }
            Speech::Gemini => {
                let candidate = &event["candidates"][0];
                self.finished |= candidate["finishReason"].is_string();
                let parts = candidate["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
                parts.iter().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect()
            }
        };
        Ok(text)
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the stream came to the end that its dialect has. Gemini's has no last event of its own.
    pub fn complete(&self) -> bool {
        self.finished && (self.ended || self.speech == Speech::Gemini)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(speech: Speech, events: &[&str]) -> (String, bool) {
        let mut reading = speech.reading();
        let text = events.iter().map(|event| reading.next(event).unwrap()).collect();
        (text, reading.complete())
    }

    #[test]
    fn each_dialects_text_is_read_and_its_end_is_known() {
        let openai = [
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":"hel"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":"lo"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ];
        assert_eq!(read(Speech::Openai, &openai), ("hello".into(), true));
        assert_eq!(read(Speech::Openai, &openai[..3]), ("hello".into(), false));

        let anthropic = [
            r#"{"type":"message_start","message":{}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"hello"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}"#,
            r#"{"type":"message_stop"}"#,
        ];
        assert_eq!(read(Speech::Anthropic, &anthropic), ("hello".into(), true));
        assert_eq!(read(Speech::Anthropic, &anthropic[..4]), ("hello".into(), false));

        let gemini = [
            r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"hel"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"lo"}]},"finishReason":"STOP"}]}"#,
        ];
        assert_eq!(read(Speech::Gemini, &gemini), ("hello".into(), true));
        assert_eq!(read(Speech::Gemini, &gemini[..1]), ("hel".into(), false));
    }

    #[test]
    fn an_error_in_the_stream_is_a_failure() {
        let mut reading = Speech::Anthropic.reading();
        let event = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert!(reading.next(event).unwrap_err().to_string().contains("Overloaded"));
    }
}
