//! What passing frames say: usage, model, id, errors, and which frame is the last.

use super::content;
use super::sse::Event;
use super::{StreamKind, array};
use crate::error::{self, UpstreamError};
use crate::json::{Flaw, Kind, Scanner};
use crate::usage::{self, Anthropic, Gemini, OpenAi, Parts};
use anykey_core::{Dialect, Unit, Usage};
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// Never leaves: the caller did not ask for it.
    Withhold,
    /// May be the last: held until another one comes.
    HoldLast,
    /// The answer ends here.
    Terminal,
}

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static SEQUENCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"sequence_number\":"));

/// Model and id stand in a stream's first frames or nowhere.
const FIRST_FRAMES: u8 = 8;

pub(super) struct Seen {
    withhold: bool,
    /// How many frames were searched for model and id.
    searched: u8,
    /// Gemini said why it stopped.
    finished: bool,
    anthropic: Anthropic,
    pub usage: Option<Usage>,
    pub model: Option<String>,
    pub id: Option<String>,
    pub output_bytes: u64,
    /// Whether characters are counted as well.
    pub weighs: bool,
    pub characters: u64,
    /// How often the provider said what was used.
    pub told: u32,
    /// The provider has said that it is done; only the end is to come.
    pub ending: bool,
    pub error: Option<UpstreamError>,
    /// The last `sequence_number` of the responses API.
    pub sequence: Option<u64>,
}

impl Seen {
    pub fn new(withhold: bool) -> Self {
        Seen {
            withhold,
            searched: 0,
            finished: false,
            anthropic: Anthropic::default(),
            usage: None,
            model: None,
            id: None,
            output_bytes: 0,
            weighs: false,
            characters: 0,
            told: 0,
            ending: false,
            error: None,
            sequence: None,
        }
    }

    pub fn frame(&mut self, kind: StreamKind, frame: &[u8]) -> Fate {
        if kind == StreamKind::GeminiArray {
            return match array::element(frame) {
                b"" => Fate::Terminal,
                element => self.gemini(element),
            };
        }
        let event = Event::parse(frame);
        if event.data.is_empty() {
            return self.last_or_pass();
        }
        match kind {
            StreamKind::OpenAiChat => self.chunk(&event, &content::DELTA),
            StreamKind::OpenAiCompletions => self.chunk(&event, &content::TEXT),
            StreamKind::Responses => self.response_event(&event),
            StreamKind::Media => self.media_event(&event),
            StreamKind::Anthropic => self.anthropic_event(&event),
            StreamKind::GeminiSse | StreamKind::GeminiArray => self.gemini(&event.data),
        }
    }

    fn chunk(&mut self, event: &Event<'_>, anchor: &Finder<'_>) -> Fate {
        let data = event.data.as_ref();
        if data.trim_ascii() == b"[DONE]" {
            return Fate::Terminal;
        }
        self.content(anchor, data);
        let failed = event.name == b"error";
        if !(failed || self.wants_names() || has_object(data, &USAGE) || ERROR.find(data).is_some()) {
            return Fate::Pass;
        }
        let Some((text, parts)) = parts(data) else { return Fate::Pass };
        self.name(parts.model, parts.id);
        if failed || parts.error.is_some() {
            return self.fail(Dialect::OpenAi, text);
        }
        let Some(counts) = parts.counts else { return Fate::Pass };
        self.told(counts.usage(0));
        self.ending |= parts.no_choices;
        if self.withhold && parts.no_choices { Fate::Withhold } else { Fate::Pass }
    }

    fn response_event(&mut self, event: &Event<'_>) -> Fate {
        let data = event.data.as_ref();
        let kind = event_type(data).unwrap_or(event.name);
        if let Some(number) = SEQUENCE.find(data).and_then(|at| leading_number(&data[at + SEQUENCE.needle().len()..])) {
            self.sequence = Some(number);
        }
        if kind.ends_with(b".delta") {
            match kind.ends_with(b"audio.delta") {
                true => self.output_bytes += content::after(&content::DELTA, data),
                false => self.content(&content::DELTA, data),
            }
            return Fate::Pass;
        }
        let terminal = matches!(kind, b"response.completed" | b"response.incomplete" | b"response.failed");
        if kind != b"error" && !terminal && !self.wants_names() {
            return Fate::Pass;
        }
        let Ok(text) = std::str::from_utf8(data) else { return Fate::Pass };
        if kind == b"error" {
            return self.fail(Dialect::OpenAi, text);
        }
        self.response(text).unwrap_or_default();
        if terminal { Fate::Terminal } else { Fate::Pass }
    }

    /// A picture, a sound or a text is over with each `completed` or `done`; the last of them ends the answer.
    fn media_event(&mut self, event: &Event<'_>) -> Fate {
        let data = event.data.as_ref();
        if data.trim_ascii() == b"[DONE]" {
            return Fate::Terminal;
        }
        let kind = event_type(data).unwrap_or(event.name);
        let is_text = kind == b"transcript.text.delta";
        let is_picture = kind.ends_with(b".completed");
        if is_text {
            self.output_bytes += content::after(&content::DELTA, data);
        }
        let failed = kind == b"error" || event.name == b"error" || has_object(data, &ERROR);
        if !failed && !is_picture && !kind.ends_with(b".done") {
            return self.last_or_pass();
        }
        let Some((text, parts)) = parts(data) else { return self.last_or_pass() };
        if failed {
            return self.fail(Dialect::OpenAi, text);
        }
        let said = parts.openai_usage();
        let heard = parts.counts.as_ref().and_then(OpenAi::heard).map(|n| Usage::default().with(Unit::Second, n));
        if is_picture {
            let counts = said.map(usage::pictures).unwrap_or_default();
            let before = self.usage.unwrap_or_default();
            let sum = Unit::ALL.map(|unit| (unit, before.get(unit).saturating_add(counts.get(unit))));
            let sum: Usage = sum.into_iter().collect();
            self.usage = Some(sum.with(Unit::Image, sum.get(Unit::Image).saturating_add(1)).with(Unit::Request, 1));
        } else {
            self.usage = said.or(heard).or(self.usage);
        }
        self.finished = true;
        Fate::HoldLast
    }

    /// Reads the `response` that the first and the last events carry.
    fn response(&mut self, text: &str) -> Result<(), Flaw> {
        Scanner::new(text).object(|s, key| {
            if key.raw != "response" || s.kind()? != Kind::Object {
                return s.skip().map(|_| ());
            }
            let mut parts = Parts::<OpenAi>::default();
            parts.read(text, s)?;
            if let Some(failure) = parts.error {
                self.error = Some(error::in_stream(Dialect::OpenAi, &format!("{{\"error\":{failure}}}")));
            }
            self.told(parts.openai_usage());
            self.name(parts.model, parts.id);
            Ok(())
        })
    }

    fn anthropic_event(&mut self, event: &Event<'_>) -> Fate {
        let data = event.data.as_ref();
        match event_type(data).unwrap_or(event.name) {
            b"content_block_delta" => {
                self.content(&content::DELTA, data);
                Fate::Pass
            }
            kind @ (b"message_start" | b"message_delta") => {
                self.message(data).unwrap_or_default();
                self.ending |= kind == b"message_delta";
                Fate::Pass
            }
            b"message_stop" => Fate::Terminal,
            b"error" => match std::str::from_utf8(data) {
                Ok(text) => self.fail(Dialect::Anthropic, text),
                Err(_) => Fate::Pass,
            },
            _ => Fate::Pass,
        }
    }

    /// The first event wraps what it says in `message`, the last does not.
    fn message(&mut self, data: &[u8]) -> Result<(), Flaw> {
        let Ok(text) = std::str::from_utf8(data) else { return Ok(()) };
        let mut parts = Parts::<Anthropic>::default();
        Scanner::new(text).object(|s, key| match key.raw {
            "message" if s.kind()? == Kind::Object => parts.read(text, s),
            name => parts.member(name, text, s),
        })?;
        if let Some(counts) = parts.counts {
            self.anthropic.merge(&counts);
            self.told(counts.counted().then(|| self.anthropic.usage()));
        }
        self.name(parts.model, parts.id);
        Ok(())
    }

    fn gemini(&mut self, data: &[u8]) -> Fate {
        let mut chunk = GeminiChunk { weighs: self.weighs, ..GeminiChunk::default() };
        let Ok(text) = std::str::from_utf8(data) else { return self.last_or_pass() };
        if chunk.read(text).is_err() {
            return self.last_or_pass();
        }
        self.output_bytes += content::at_least(chunk.output_bytes);
        self.characters += chunk.characters;
        self.name(chunk.parts.model, chunk.parts.id);
        self.told(chunk.parts.counts.and_then(|counts| counts.usage()));
        if chunk.parts.error.is_some() {
            return self.fail(Dialect::Gemini, text);
        }
        self.finished |= chunk.finished;
        self.ending |= chunk.finished;
        self.last_or_pass()
    }

    fn content(&mut self, anchor: &Finder<'_>, data: &[u8]) {
        self.output_bytes += content::after(anchor, data);
        if self.weighs {
            self.characters += content::characters_after(anchor, data);
        }
    }

    fn told(&mut self, usage: Option<Usage>) {
        if usage.is_some() {
            self.usage = usage;
            self.told = self.told.wrapping_add(1);
        }
    }

    /// After a reason to stop, any frame may be the last.
    fn last_or_pass(&self) -> Fate {
        if self.finished { Fate::HoldLast } else { Fate::Pass }
    }

    pub fn finished(&self) -> bool {
        self.finished
    }

    fn fail(&mut self, dialect: Dialect, text: &str) -> Fate {
        self.error = Some(error::in_stream(dialect, text));
        Fate::Terminal
    }

    fn wants_names(&mut self) -> bool {
        let wants = self.searched < FIRST_FRAMES && (self.model.is_none() || self.id.is_none());
        self.searched += u8::from(wants);
        wants
    }

    fn name(&mut self, model: Option<String>, id: Option<String>) {
        self.model = self.model.take().or(model);
        self.id = self.id.take().or(id);
    }
}

fn parts(data: &[u8]) -> Option<(&str, Parts<'_, OpenAi>)> {
    let text = std::str::from_utf8(data).ok()?;
    let mut parts = Parts::default();
    parts.read(text, &mut Scanner::new(text)).ok()?;
    Some((text, parts))
}

/// Whether a member of that name holds an object. In a string its quotes would be escaped.
#[inline]
fn has_object(data: &[u8], name: &Finder<'_>) -> bool {
    let mut rest = data;
    while let Some(hit) = name.find(rest) {
        rest = &rest[hit + name.needle().len()..];
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        if value.is_some_and(|v| v.starts_with(b"{")) {
            return true;
        }
    }
    false
}

/// The event's type, from where every provider writes it: at the beginning. Elsewhere it is searched for properly.
#[inline]
fn event_type(data: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = data.strip_prefix(b"{\"type\":\"") {
        return memchr::memchr(b'"', rest).map(|end| &rest[..end]);
    }
    let text = std::str::from_utf8(data).ok()?;
    let mut found = None;
    let read = Scanner::new(text).object(|s, key| {
        if key.raw == "type" && s.kind()? == Kind::String {
            found = Some(s.string()?.raw.as_bytes());
            return Ok(());
        }
        s.skip().map(|_| ())
    });
    read.map_err(|_: Flaw| ()).ok().and(found)
}

fn leading_number(data: &[u8]) -> Option<u64> {
    let data = data.trim_ascii_start();
    let digits = data.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&data[..digits]).ok()?.parse().ok()
}

/// A chunk of Gemini's.
#[derive(Default)]
struct GeminiChunk<'a> {
    parts: Parts<'a, Gemini>,
    finished: bool,
    output_bytes: u64,
    weighs: bool,
    characters: u64,
}

impl<'a> GeminiChunk<'a> {
    fn read(&mut self, text: &'a str) -> Result<(), Flaw> {
        let mut s = Scanner::new(text);
        s.object(|s, key| match key.raw {
            "candidates" if s.kind()? == Kind::Array => s.array(|s| self.candidate(text, s)),
            "promptFeedback" => self.feedback(s),
            name => self.parts.member(name, text, s),
        })?;
        s.end()
    }

    fn candidate(&mut self, text: &'a str, s: &mut Scanner<'a>) -> Result<(), Flaw> {
        if s.kind()? != Kind::Object {
            return s.skip().map(|_| ());
        }
        s.object(|s, key| {
            match key.raw {
                "finishReason" => {
                    let reason = usage::string(s)?;
                    self.finished |= reason.is_some_and(|r| r != "FINISH_REASON_UNSPECIFIED");
                }
                "content" => {
                    let (_, span) = s.value()?;
                    let content = &text.as_bytes()[span.start..span.end];
                    self.output_bytes += content::value(content);
                    if self.weighs {
                        self.characters += content::characters(content);
                    }
                }
                _ => s.skip().map(|_| ())?,
            }
            Ok(())
        })
    }

    /// A prompt that was blocked gets no candidates, and no reason to stop.
    fn feedback(&mut self, s: &mut Scanner<'a>) -> Result<(), Flaw> {
        if s.kind()? != Kind::Object {
            return s.skip().map(|_| ());
        }
        s.object(|s, key| {
            if key.raw == "blockReason" {
                self.finished |= usage::string(s)?.is_some();
                return Ok(());
            }
            s.skip().map(|_| ())
        })
    }
}
