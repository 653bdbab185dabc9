//! The error that ends a stream which broke, inside the stream: a caller must never take the break for a clean end.

use super::{StreamKind, StreamMeter};
use crate::error::{Said, render, render_array};
use anykey_core::{Dialect, Refusal};
use bytes::Bytes;

impl StreamMeter {
    /// The in-band error, to be sent behind what was pushed so far and nothing else. Held frames are not to be released
    /// then.
    pub fn broken(&self, refusal: &Refusal, request_id: &str) -> Bytes {
        match self.kind {
            StreamKind::OpenAiChat | StreamKind::OpenAiCompletions => {
                event("", &render(Dialect::OpenAi, refusal, request_id), "\n\n")
            }
            StreamKind::Responses => {
                let next = self.seen.sequence.map_or(0, |n| n.saturating_add(1));
                let body = Said::refusal(refusal, request_id).response_event(next);
                event("event: error\n", &body, "\n\n")
            }
            StreamKind::Anthropic => event("event: error\n", &render(Dialect::Anthropic, refusal, request_id), "\n\n"),
            StreamKind::GeminiSse => event("", &render(Dialect::Gemini, refusal, request_id), "\r\n\r\n"),
            StreamKind::GeminiArray if self.sent => {
                [b",", &*render(Dialect::Gemini, refusal, request_id), b"]"].concat().into()
            }
            StreamKind::GeminiArray => render_array(refusal, request_id),
        }
    }
}

fn event(name: &str, data: &[u8], end: &str) -> Bytes {
    [name.as_bytes(), b"data: ", data, end.as_bytes()].concat().into()
}
