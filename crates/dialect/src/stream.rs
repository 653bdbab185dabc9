//! Reads usage from a stream in passing: bytes go in as they came and leave unchanged, frame by frame. The frame that
//! ends the answer is held, so that the call can be journaled before the caller sees the end.

mod array;
pub(crate) mod broken;
mod content;
mod seen;
pub(crate) mod sse;

use crate::error::UpstreamError;
use anykey_core::Usage;
use bytes::{Bytes, BytesMut};
use seen::{Fate, Seen};

/// The wire format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    OpenAiChat,
    OpenAiCompletions,
    Responses,
    Anthropic,
    GeminiSse,
    GeminiArray,
    /// Pictures, speech and transcripts: events that name their type, and no word for the end.
    Media,
}

impl StreamKind {
    pub const ALL: [StreamKind; 7] = [
        StreamKind::OpenAiChat,
        StreamKind::OpenAiCompletions,
        StreamKind::Responses,
        StreamKind::Anthropic,
        StreamKind::GeminiSse,
        StreamKind::GeminiArray,
        StreamKind::Media,
    ];

    /// The longest frame. The last event of a response repeats all of it, and Gemini sends an image as one frame.
    pub const fn frame_limit(self) -> usize {
        match self {
            StreamKind::OpenAiChat | StreamKind::OpenAiCompletions | StreamKind::Anthropic => 1 << 20,
            StreamKind::Responses | StreamKind::GeminiSse | StreamKind::GeminiArray => 16 << 20,
            StreamKind::Media => 32 << 20,
        }
    }
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// The frame that ends the answer is held: journal, then [`StreamMeter::release`].
    Terminal,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer was whole, or the provider said in the stream why not ([`StreamMeter::error`]). The last frame may
    /// still be held: journal, then [`StreamMeter::release`].
    Complete,
    /// The bytes stopped before the end of the answer.
    Truncated,
}

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A frame is longer than the limit of its kind.
    FrameTooLarge,
    /// The provider goes on sending after the end of the answer, more than a frame may hold.
    DataAfterEnd,
    /// A frame does not hold what its kind says.
    Malformed,
}

impl std::fmt::Display for StreamFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StreamFault::FrameTooLarge => "a frame of the stream is too large",
            StreamFault::DataAfterEnd => "the stream goes on after its end",
            StreamFault::Malformed => "a frame of the stream is not of its kind",
        })
    }
}

impl std::error::Error for StreamFault {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Terminal,
    Released,
    Faulted(StreamFault),
}

/// Where frames end.
enum Splitter {
    Sse(sse::Boundary),
    Array(array::Elements),
}

impl Splitter {
    #[inline]
    fn next(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        match self {
            Splitter::Sse(boundary) => boundary.next(bytes, from),
            Splitter::Array(elements) => elements.next(bytes, from),
        }
    }
}

/// A tap on one stream.
pub struct StreamMeter {
    kind: StreamKind,
    state: State,
    splitter: Splitter,
    seen: Seen,
    /// The beginning of a frame whose end has not come.
    partial: BytesMut,
    held: Vec<Bytes>,
    held_bytes: usize,
    /// The last frame ended with a CR at the end of a read: an LF that comes next shares its fate.
    dangling: Option<Fate>,
    /// Something has left.
    sent: bool,
}

impl StreamMeter {
    /// `withhold_usage_chunk`: the usage chunk was asked for by the gateway, not by the caller, and must not leave.
    pub fn new(kind: StreamKind, withhold_usage_chunk: bool) -> Self {
        let splitter = match kind {
            StreamKind::GeminiArray => Splitter::Array(array::Elements::new()),
            _ => Splitter::Sse(sse::Boundary::new()),
        };
        StreamMeter {
            kind,
            state: State::Open,
            splitter,
            seen: Seen::new(withhold_usage_chunk),
            partial: BytesMut::new(),
            held: Vec::new(),
            held_bytes: 0,
            dangling: None,
            sent: false,
        }
    }

    /// Takes bytes as they came and pushes what may leave now: whole frames, in order, as slices of `chunk` wherever a
    /// frame was not cut. After a fault, every further call gives it again.
    pub fn feed(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<Phase, StreamFault> {
        match self.state {
            State::Faulted(fault) => return Err(fault),
            State::Released => self.push(chunk, out),
            State::Terminal => self.hold_after_end(chunk)?,
            State::Open => self.frames(&chunk, out)?,
        }
        Ok(if self.state == State::Open { Phase::Open } else { Phase::Terminal })
    }

    /// Lets the held frames go. Behind the end of the answer, whatever comes later passes at once.
    pub fn release(&mut self, out: &mut Vec<Bytes>) {
        self.sent |= !self.held.is_empty();
        out.append(&mut self.held);
        self.held_bytes = 0;
        if self.state == State::Terminal {
            self.state = State::Released;
        }
    }

    /// The upstream body has ended. Nothing but the held last frame is left to send then; half a frame is dropped, since
    /// the error that follows a truncated stream could not be read behind it.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> End {
        match self.state {
            State::Terminal | State::Released => return End::Complete,
            State::Faulted(_) => return End::Truncated,
            State::Open => {}
        }
        let rest = self.partial.split().freeze();
        self.last_words(rest, out);
        if self.seen.finished() && matches!(self.kind, StreamKind::GeminiSse | StreamKind::Media) {
            self.state = State::Terminal;
        }
        if self.state == State::Terminal { End::Complete } else { End::Truncated }
    }

    /// Whether the answer is over, as far as this can see. Its last frame may still be held.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Terminal | State::Released)
    }

    /// What the provider said was used, so far.
    pub fn usage(&self) -> Option<Usage> {
        self.seen.usage
    }

    /// The model that answers, as the provider names it.
    pub fn model_served(&self) -> Option<&str> {
        self.seen.model.as_deref()
    }

    pub fn response_id(&self) -> Option<&str> {
        self.seen.id.as_deref()
    }

    /// Bytes of generated content that came, for estimates: never less than four for a frame that has any.
    pub fn output_bytes(&self) -> u64 {
        self.seen.output_bytes
    }

    /// Counts characters from here on: for an answer whose length matters while it comes.
    pub fn weigh(&mut self) {
        self.seen.weighs = true;
    }

    /// Characters of text that came since [`StreamMeter::weigh`]; one that is repeated counts once. Whoever knows how many
    /// characters a token has at most knows from it how many tokens there are at least.
    pub fn characters(&self) -> u64 {
        self.seen.characters
    }

    /// How often the provider said what was used; it moves when [`StreamMeter::usage`] may have.
    pub fn told(&self) -> u32 {
        self.seen.told
    }

    /// Whether the provider has said that it is done: what is still to come costs nothing.
    pub fn is_ending(&self) -> bool {
        self.seen.ending || self.is_over()
    }

    /// An error that the provider reported inside the stream.
    pub fn error(&self) -> Option<&UpstreamError> {
        self.seen.error.as_ref()
    }

    fn frames(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<(), StreamFault> {
        let mut at = self.dangling_lf(chunk, out);
        // From here to `at` stand frames that pass together.
        let mut run = at;
        while self.state == State::Open
            && let Some(end) = self.splitter.next(chunk, at)
        {
            if let Err(fault) = self.check_frame(self.partial.len() + end - at) {
                self.push(chunk.slice(run..at), out);
                return Err(fault);
            }
            let fate = if self.partial.is_empty() {
                let fate = self.seen.frame(self.kind, &chunk[at..end]);
                if fate != Fate::Pass {
                    self.push(chunk.slice(run..at), out);
                    self.dispose(chunk.slice(at..end), fate, out);
                    run = end;
                }
                fate
            } else {
                self.partial.extend_from_slice(&chunk[at..end]);
                let frame = self.partial.split().freeze();
                let fate = self.seen.frame(self.kind, &frame);
                self.dispose(frame, fate, out);
                run = end;
                fate
            };
            at = end;
            if at == chunk.len() && chunk[at - 1] == b'\r' {
                self.dangling = Some(fate);
            }
        }
        self.push(chunk.slice(run..at), out);
        if self.state == State::Terminal {
            return self.hold_after_end(chunk.slice(at..));
        }
        self.check_frame(self.partial.len() + chunk.len() - at)?;
        self.partial.extend_from_slice(&chunk[at..]);
        Ok(())
    }

    /// Deals with an LF that belongs to the frame before; returns where the rest begins.
    fn dangling_lf(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> usize {
        if chunk.is_empty() {
            return 0;
        }
        match self.dangling.take() {
            Some(fate) if chunk[0] == b'\n' => {
                match fate {
                    Fate::Pass => self.push(chunk.slice(..1), out),
                    Fate::Withhold => {}
                    Fate::HoldLast | Fate::Terminal => self.hold(chunk.slice(..1)),
                }
                1
            }
            _ => 0,
        }
    }

    fn dispose(&mut self, frame: Bytes, fate: Fate, out: &mut Vec<Bytes>) {
        match fate {
            Fate::Pass => self.push(frame, out),
            Fate::Withhold => {}
            Fate::HoldLast => {
                self.release(out);
                self.hold(frame);
            }
            Fate::Terminal => {
                self.hold(frame);
                self.state = State::Terminal;
            }
        }
    }

    /// A last frame without its blank line, as careless providers end their streams.
    fn last_words(&mut self, rest: Bytes, out: &mut Vec<Bytes>) {
        if self.kind == StreamKind::GeminiArray || rest.is_empty() {
            return;
        }
        let event = sse::Event::parse(&rest);
        let whole =
            event.data.trim_ascii() == b"[DONE]" || std::str::from_utf8(&event.data).is_ok_and(crate::json::is_valid);
        if !whole {
            return;
        }
        match self.seen.frame(self.kind, &rest) {
            Fate::Pass | Fate::Withhold => {}
            fate => self.dispose(rest.clone(), fate, out),
        }
    }

    fn push(&mut self, bytes: Bytes, out: &mut Vec<Bytes>) {
        if !bytes.is_empty() {
            self.sent = true;
            out.push(bytes);
        }
    }

    fn hold(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.held_bytes += bytes.len();
            self.held.push(bytes);
        }
    }

    fn hold_after_end(&mut self, bytes: Bytes) -> Result<(), StreamFault> {
        if self.held_bytes + bytes.len() > 2 * self.kind.frame_limit() {
            return self.fault(StreamFault::DataAfterEnd);
        }
        self.hold(bytes);
        Ok(())
    }

    fn check_frame(&mut self, length: usize) -> Result<(), StreamFault> {
        if length > self.kind.frame_limit() { self.fault(StreamFault::FrameTooLarge) } else { Ok(()) }
    }

    fn fault(&mut self, fault: StreamFault) -> Result<(), StreamFault> {
        self.state = State::Faulted(fault);
        self.partial = BytesMut::new();
        Err(fault)
    }
}
