//! The error that ends a stream which broke, inside the stream: a caller must never take the break for a clean end.

use super::{StreamKind, StreamMeter};
use crate::error::Said;
use anykey_core::{Dialect, Refusal};
use bytes::Bytes;

impl StreamMeter {
    /// The in-band error, to be sent behind what was pushed so far and nothing else. Held frames are not to be released
    /// then.
    pub fn broken(&self, refusal: &Refusal, request_id: &str) -> Bytes {
        let next = self.seen.sequence.map(|n| n.saturating_add(1));
        failure(self.kind, next, self.sent, &Said::refusal(refusal, request_id))
    }
}

/// An error as the end of a stream. `next` is the number of the event, where events are numbered; `sent` whether
/// something has left before.
pub(crate) fn failure(kind: StreamKind, next: Option<u64>, sent: bool, said: &Said<'_>) -> Bytes {
    match kind {
        StreamKind::OpenAiChat | StreamKind::OpenAiCompletions | StreamKind::Media => {
            event("", &said.body(Dialect::OpenAi), "\n\n")
        }
        StreamKind::Responses => event("event: error\n", &said.response_event(next.unwrap_or(0)), "\n\n"),
        StreamKind::Anthropic => event("event: error\n", &said.body(Dialect::Anthropic), "\n\n"),
        StreamKind::GeminiSse => event("", &said.body(Dialect::Gemini), "\r\n\r\n"),
        StreamKind::GeminiArray => {
            let begin: &[u8] = if sent { b"," } else { b"[" };
            [begin, &*said.body(Dialect::Gemini), b"]"].concat().into()
        }
    }
}

fn event(name: &str, data: &[u8], end: &str) -> Bytes {
    [name.as_bytes(), b"data: ", data, end.as_bytes()].concat().into()
}
