//! A stream in another dialect: the frames that the meter lets pass go in, the caller's own come out. What the meter
//! holds back until the call is settled comes here only then, so the end of an answer is never told too early.

use super::form::Event;
use super::unread::message;
use super::{Api, Reply, Told, Unread, chat, gemini, messages, read_answer, replay, responses};
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
    /// What was left out, each named once.
    left_out: Vec<&'static str>,
    /// The answer is over, one way or the other.
    over: bool,
    failed: bool,
}

/// A frame that cannot be what it claims to be.
pub struct Malformed;

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
            left_out: Vec::new(),
            over: false,
            failed: false,
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
        let read = self.frames(bytes, meter);
        // What was understood before leaves all the same: an error comes behind it.
        self.flush(out);
        read.map_err(|Malformed| StreamFault::Malformed)
    }

    fn frames(&mut self, bytes: &Bytes, meter: &StreamMeter) -> Result<(), Malformed> {
        let mut from = 0;
        while let Some(end) = self.boundary.next(bytes, from) {
            if self.partial.is_empty() {
                self.frame(&bytes[from..end], meter)?;
            } else {
                self.partial.extend_from_slice(&bytes[from..end]);
                let frame = self.partial.split();
                self.frame(&frame, meter)?;
            }
            from = end;
        }
        self.partial.extend_from_slice(&bytes[from..]);
        Ok(())
    }

    /// The meter has released everything that belongs to the answer: the last frame may lack its blank line, and a dialect
    /// without a word for the end ends here. A fault where the caller has not been told of an end, so that the meter and
    /// this can never differ in silence.
    pub fn finish(&mut self, meter: &StreamMeter, out: &mut Vec<Bytes>) -> Result<(), StreamFault> {
        let rest = self.partial.split();
        // Half a frame was never let pass, so this one is whole.
        let read = self.frame(&rest, meter).and_then(|()| self.last_word(meter));
        if !self.over && meter.error().is_some() {
            self.write(vec![Event::Failed(None)], None, meter.error());
        }
        self.flush(out);
        if self.over { Ok(()) } else { read.and(Err(Malformed)).map_err(|Malformed| StreamFault::Malformed) }
    }

    /// The end, where the provider has no word for it.
    fn last_word(&mut self, meter: &StreamMeter) -> Result<(), Malformed> {
        let Reader::Gemini(reader) = &self.reader else { return Ok(()) };
        if self.over || meter.error().is_some() {
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.events);
        reader.end(&mut events)?;
        self.write(events, meter.usage().as_ref(), None);
        Ok(())
    }

    /// Whether the caller has been told how the answer ended: well, or with an error.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the caller has been told that the answer ended in an error.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// An error to be sent behind what came out so far, and nothing else. Empty where the caller has been told of an end.
    pub fn broken(&self, refusal: &Refusal, request_id: &str) -> Bytes {
        if self.over {
            return Bytes::new();
        }
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
        let name = std::str::from_utf8(event.name).unwrap_or_default();
        match &mut self.reader {
            Reader::Chat(reader) => reader.chunk(name, data, &mut events),
            Reader::Gemini(reader) => reader.chunk(data, &mut events),
            Reader::Responses(reader) => reader.event(name, data, &mut events),
            Reader::Messages(reader) => reader.event(name, data, &mut events),
        }?;
        // An end that the meter has not seen is not journaled.
        if !meter.is_over() && events.contains(&Event::End) {
            return Err(Malformed);
        }
        self.write(events, meter.usage().as_ref(), meter.error());
        Ok(())
    }

    fn write(&mut self, mut events: Vec<Event>, usage: Option<&Usage>, error: Option<&UpstreamError>) {
        for event in events.drain(..) {
            if self.over {
                break;
            }
            self.over = event == Event::End;
            match event {
                Event::Failed(why) => self.fail(error, why.as_deref()),
                Event::LeftOut(what) => self.leave_out(what),
                event => self.writer.event(event, usage, &self.reply, &mut self.text),
            }
        }
        self.events = events;
    }

    /// The head has left, so what is left out is named in a comment, which readers of events pass over. Google's SDKs do
    /// not: there the last chunk names it.
    fn leave_out(&mut self, what: &'static str) {
        if self.left_out.contains(&what) {
            return;
        }
        self.left_out.push(what);
        if let Writer::Gemini(writer) = &mut self.writer {
            return writer.leave_out(what);
        }
        self.text.push_str(": x-anykey-dropped: ");
        self.text.push_str(what);
        self.text.push_str("\n\n");
    }

    /// The answer ends in an error.
    fn fail(&mut self, error: Option<&UpstreamError>, why: Option<&str>) {
        (self.over, self.failed) = (true, true);
        self.sent |= !self.text.is_empty();
        let failure = self.failed(error, why);
        self.text.push_str(&String::from_utf8_lossy(&failure));
    }

    /// The provider's own words for what went wrong.
    fn failed(&self, error: Option<&UpstreamError>, why: Option<&str>) -> Bytes {
        let told = error.map(message);
        // A caller whose own key is fine must not read that it is not.
        let status = error.map_or(502, |e| if matches!(e.status, 401 | 403) { 502 } else { e.status });
        let said = Said {
            status,
            code: error.and_then(|e| e.code.as_deref()).unwrap_or(Code::UpstreamError.name()),
            message: told.as_deref().or(why).unwrap_or("The provider reported an error in the stream."),
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

/// A whole answer as a stream of the caller's dialect.
pub fn replayed(provider: Api, body: &[u8], usage: Option<&Usage>, reply: &Reply) -> Result<Told, Unread> {
    let mut answer = read_answer(provider, body)?;
    let left_out = std::mem::take(&mut answer.left_out);
    let mut translator = StreamTranslator::new(provider, reply.clone());
    translator.write(replay::events(answer), usage, None);
    Ok(Told { body: translator.text.into(), content_type: content_type(reply), left_out })
}

fn client_kind(reply: &Reply) -> StreamKind {
    match reply.client {
        Api::Chat => StreamKind::OpenAiChat,
        Api::Responses => StreamKind::Responses,
        Api::Messages => StreamKind::Anthropic,
        Api::Gemini if reply.is_array() => StreamKind::GeminiArray,
        Api::Gemini => StreamKind::GeminiSse,
    }
}

fn content_type(reply: &Reply) -> &'static str {
    if reply.is_array() { "application/json" } else { "text/event-stream; charset=utf-8" }
}
