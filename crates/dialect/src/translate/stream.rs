//! A stream in another dialect: the frames that the meter lets pass go in, the caller's own come out. What the meter
//! holds back until the call is settled comes here only then, so the end of an answer is never told too early.

use super::chat::stream_read::Malformed;
use super::form::Event;
use super::{Api, Reply, chat, gemini, messages, read_answer, replay, responses};
use crate::error::{Said, UpstreamError};
use crate::stream::broken::failure;
use crate::stream::sse::{self, Boundary};
use crate::stream::{StreamFault, StreamKind, StreamMeter};
use anykey_core::{Code, Refusal, Usage};
use bytes::{Bytes, BytesMut};

/// As much as is taken of a whole answer: the last event of a response repeats all of it.
const MOST_BYTES: usize = 64 << 20;

/// A translator of one stream.
pub struct StreamTranslator {
    reader: Reader,
    writer: Writer,
    reply: Reply,
    boundary: Boundary,
    /// The beginning of a frame whose end has not come.
    partial: BytesMut,
    events: Vec<Event>,
    text: String,
    sent: bool,
    /// Bytes that came, which some dialects make the writer keep.
    taken: usize,
    /// The answer is over, one way or the other.
    over: bool,
}

enum Reader {
    Chat(chat::stream_read::Reader),
    Messages(messages::stream_read::Reader),
    Gemini(gemini::stream_read::Reader),
    Responses(Box<responses::stream_read::Reader>),
}

enum Writer {
    Chat(chat::stream_write::Writer),
    Messages(messages::stream_write::Writer),
    Gemini(gemini::stream_write::Writer),
    Responses(Box<responses::stream_write::Writer>),
}

impl StreamTranslator {
    pub fn new(provider: Api, reply: Reply) -> Self {
        let reader = match provider {
            Api::Messages => Reader::Messages(messages::stream_read::Reader::default()),
            Api::Gemini => Reader::Gemini(gemini::stream_read::Reader::default()),
            Api::Responses => Reader::Responses(Box::default()),
            Api::Chat => Reader::Chat(chat::stream_read::Reader::default()),
        };
        let writer = match reply.client {
            Api::Messages => Writer::Messages(messages::stream_write::Writer::default()),
            Api::Gemini => Writer::Gemini(gemini::stream_write::Writer::default()),
            Api::Responses => Writer::Responses(Box::default()),
            Api::Chat => Writer::Chat(chat::stream_write::Writer::default()),
        };
        StreamTranslator {
            reader,
            writer,
            reply,
            boundary: Boundary::new(),
            partial: BytesMut::new(),
            events: Vec::new(),
            text: String::new(),
            sent: false,
            taken: 0,
            over: false,
        }
    }

    /// The content type of what comes out.
    pub fn content_type(&self) -> &'static str {
        content_type(&self.reply)
    }

    /// Takes frames that a meter has let pass.
    pub fn feed(&mut self, bytes: &Bytes, meter: &StreamMeter, out: &mut Vec<Bytes>) -> Result<(), StreamFault> {
        self.taken += bytes.len();
        if self.taken > MOST_BYTES {
            return Err(StreamFault::FrameTooLarge);
        }
        let mut from = 0;
        while let Some(end) = self.boundary.next(bytes, from) {
            let result = if self.partial.is_empty() {
                self.frame(&bytes[from..end], meter)
            } else {
                self.partial.extend_from_slice(&bytes[from..end]);
                let frame = self.partial.split();
                self.frame(&frame, meter)
            };
            result.map_err(|Malformed| StreamFault::Malformed)?;
            from = end;
        }
        self.partial.extend_from_slice(&bytes[from..]);
        self.flush(out);
        Ok(())
    }

    /// The meter has released everything, and nothing more comes: the last frame may lack its blank line, and a dialect
    /// without a word for the end ends here.
    pub fn finish(&mut self, meter: &StreamMeter, out: &mut Vec<Bytes>) {
        let rest = self.partial.split();
        // Half a frame was never let pass, so this one is whole.
        let _ = self.frame(&rest, meter);
        if let Reader::Gemini(reader) = &mut self.reader {
            let mut events = std::mem::take(&mut self.events);
            reader.end(&mut events);
            self.write(events, meter.usage().as_ref(), meter.error());
        }
        self.flush(out);
    }

    /// An error to be sent behind what came out so far, and nothing else.
    pub fn broken(&self, refusal: &Refusal, request_id: &str) -> Bytes {
        self.failure(&Said::refusal(refusal, request_id))
    }

    fn failure(&self, said: &Said<'_>) -> Bytes {
        failure(client_kind(&self.reply), self.writer.sequence(), self.sent, said)
    }

    fn frame(&mut self, frame: &[u8], meter: &StreamMeter) -> Result<(), Malformed> {
        let event = sse::Event::parse(frame);
        if event.data.trim_ascii().is_empty() || self.over {
            return Ok(());
        }
        let data = std::str::from_utf8(&event.data).map_err(|_| Malformed)?;
        let mut events = std::mem::take(&mut self.events);
        let read = match &mut self.reader {
            Reader::Chat(reader) => reader.chunk(data, &mut events),
            Reader::Gemini(reader) => reader.chunk(data, &mut events),
            Reader::Responses(reader) => {
                reader.event(std::str::from_utf8(event.name).unwrap_or_default(), data, &mut events)
            }
            Reader::Messages(reader) => {
                reader.event(std::str::from_utf8(event.name).unwrap_or_default(), data, &mut events)
            }
        };
        read?;
        self.write(events, meter.usage().as_ref(), meter.error());
        Ok(())
    }

    fn write(&mut self, mut events: Vec<Event>, usage: Option<&Usage>, error: Option<&UpstreamError>) {
        for event in events.drain(..) {
            if self.over {
                break;
            }
            self.over = matches!(event, Event::End | Event::Failed);
            if event == Event::Failed {
                self.sent |= !self.text.is_empty();
                let failure = self.failed(error);
                self.text.push_str(&String::from_utf8_lossy(&failure));
            } else {
                self.writer.event(event, usage, &self.reply, &mut self.text);
            }
        }
        self.events = events;
    }

    /// The provider's own words for what went wrong.
    fn failed(&self, error: Option<&UpstreamError>) -> Bytes {
        let said = Said {
            status: error.map_or(502, |e| e.status),
            code: error.and_then(|e| e.code.as_deref()).unwrap_or(Code::UpstreamError.name()),
            message: error.map_or("The provider reported an error in the stream.", |e| &e.message),
            param: None,
            retry_after: error.and_then(|e| e.retry_after),
            request_id: &self.reply.id,
        };
        self.failure(&said)
    }

    fn flush(&mut self, out: &mut Vec<Bytes>) {
        if !self.text.is_empty() {
            self.sent = true;
            out.push(Bytes::from(std::mem::take(&mut self.text)));
        }
    }
}

impl Writer {
    fn event(&mut self, event: Event, usage: Option<&Usage>, reply: &Reply, out: &mut String) {
        match self {
            Writer::Chat(writer) => writer.event(event, usage, reply, out),
            Writer::Messages(writer) => writer.event(event, usage, reply, out),
            Writer::Gemini(writer) => writer.event(event, usage, reply, out),
            Writer::Responses(writer) => writer.event(event, usage, reply, out),
        }
    }

    /// The number of the next event, where events are numbered.
    fn sequence(&self) -> Option<u64> {
        match self {
            Writer::Responses(writer) => Some(writer.sequence),
            Writer::Chat(_) | Writer::Messages(_) | Writer::Gemini(_) => None,
        }
    }
}

/// A whole answer as a stream of the caller's dialect. `None` when it is none of that provider's.
pub fn replayed(provider: Api, body: &[u8], usage: Option<&Usage>, reply: &Reply) -> Option<(Bytes, &'static str)> {
    let answer = read_answer(provider, body)?;
    let mut translator = StreamTranslator::new(provider, reply.clone());
    translator.write(replay::events(answer), usage, None);
    Some((translator.text.into(), content_type(reply)))
}

fn client_kind(reply: &Reply) -> StreamKind {
    match reply.client {
        Api::Chat => StreamKind::OpenAiChat,
        Api::Responses => StreamKind::Responses,
        Api::Messages => StreamKind::Anthropic,
        Api::Gemini if reply.array => StreamKind::GeminiArray,
        Api::Gemini => StreamKind::GeminiSse,
    }
}

fn content_type(reply: &Reply) -> &'static str {
    if reply.client == Api::Gemini && reply.array { "application/json" } else { "text/event-stream; charset=utf-8" }
}
