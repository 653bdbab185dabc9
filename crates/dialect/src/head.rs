//! The head of a request: what the gateway acts on, read in one strict pass over the body.

mod fields;
mod form;
mod items;
mod reach;

use crate::json::{Flaw, Kind, Scanner, What};
use anykey_core::refusal::echo;
use anykey_core::{Code, Dialect, Endpoint, Refusal};
use fields::{Field, Members};
pub use form::scan as scan_form;
pub use items::Items;

/// A byte range of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// What a body says of `stream_options.include_usage`, with the place to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeUsage {
    /// The endpoint has no such option.
    Unsupported,
    /// No `stream_options`: a member can be put at `at`, just behind the body's opening brace.
    Absent { at: usize, only_member: bool },
    /// `stream_options` is null.
    Null(Span),
    /// `stream_options` is an object without the flag: a member can be put at `at`.
    Unset { at: usize, only_member: bool },
    /// The flag is false or null.
    Off(Span),
    /// The caller asked for usage.
    On,
}

/// What the gateway reads of a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The `model` string with its quotes (OpenAI and Anthropic; Gemini's model is in the path).
    pub model: Option<Span>,
    pub model_name: Option<String>,
    /// The model that a Gemini body names beside the path, without `models/`. All places agree, or `scan` refuses;
    /// that it agrees with the path is the caller's to check (`conflicting_model`).
    pub body_model: Option<String>,
    /// Every place where a Gemini body names it.
    pub body_model_spans: Vec<Span>,
    /// Whether the answer comes as a stream. For Gemini the path decides.
    pub stream: bool,
    pub include_usage: IncludeUsage,
    /// The bound on output tokens per answer; `None` when the caller set none.
    pub max_tokens: Option<u64>,
    /// How many answers are generated at most: `n`, `best_of` or `candidateCount`, times the prompts of a completion.
    pub n: u64,
    /// Whether the cost has no bound in the body: stored conversations, files, URLs, server-side tools, other models.
    pub unbounded: bool,
    /// Embeddings are asked for as base64.
    pub encoding_base64: bool,
    /// Of endpoints that are not measured by their tokens alone.
    pub items: Option<Box<Items>>,
}

/// Model names longer than this are refused.
pub const MODEL_LIMIT: usize = 256;
/// The most answers that one request may ask for.
pub const COUNT_LIMIT: u64 = 128;

/// Reads a body: all of it is validated, and only what the gateway acts on is kept. Refuses with `invalid_json`,
/// `duplicate_json_key`, `invalid_parameter` or `conflicting_model`.
pub fn scan(endpoint: Endpoint, body: &[u8]) -> Result<Head, Refusal> {
    let text = std::str::from_utf8(body).map_err(|e| Flaw::new(e.valid_up_to(), What::NotUtf8))?;
    if text.starts_with('\u{feff}') {
        return Err(Flaw::new(0, What::ByteOrderMark).into());
    }
    let mut s = Scanner::new(text);
    if s.peek() != Some(b'{') {
        return Err(Flaw::new(s.position(), What::BodyNoObject).into());
    }
    let mut reader = Reader::new(endpoint, s.position() + 1);
    reader.body(&mut s)?;
    s.end()?;
    Ok(reader.finish())
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Refusal::new(
            Code::InvalidJson,
            format!("The body is not valid JSON at byte {}: {}.", flaw.at(), flaw.what().text()),
        )
    }
}

fn dialect(endpoint: Endpoint) -> Dialect {
    match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => Dialect::Anthropic,
        Endpoint::GenerateContent
        | Endpoint::StreamGenerateContent
        | Endpoint::GeminiCountTokens
        | Endpoint::EmbedContent
        | Endpoint::BatchEmbedContents => Dialect::Gemini,
        _ => Dialect::OpenAi,
    }
}

struct Reader {
    endpoint: Endpoint,
    dialect: Dialect,
    prompts: u64,
    head: Head,
}

impl Reader {
    fn new(endpoint: Endpoint, inside: usize) -> Self {
        let optional = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        let absent = IncludeUsage::Absent { at: inside, only_member: true };
        let head = Head {
            model: None,
            model_name: None,
            body_model: None,
            body_model_spans: Vec::new(),
            stream: endpoint == Endpoint::StreamGenerateContent,
            include_usage: if optional { absent } else { IncludeUsage::Unsupported },
            max_tokens: None,
            n: 1,
            unbounded: false,
            encoding_base64: false,
            items: endpoint.counts_items().then(Box::default),
        };
        Reader { endpoint, dialect: dialect(endpoint), prompts: 1, head }
    }

    fn finish(mut self) -> Head {
        self.head.n = self.head.n.saturating_mul(self.prompts);
        self.head
    }

    fn body(&mut self, s: &mut Scanner<'_>) -> Result<(), Refusal> {
        let mut members = Members::new(fields::rows(self.endpoint), "", self.dialect != Dialect::Gemini);
        s.object(|s, key| {
            if let IncludeUsage::Absent { only_member, .. } = &mut self.head.include_usage {
                *only_member = false;
            }
            match members.find(key.decode())? {
                Some((name, field)) => self.field(s, name, field),
                None => Ok(s.skip().map(|_| ())?),
            }
        })
    }

    fn field(&mut self, s: &mut Scanner<'_>, name: &'static str, field: Field) -> Result<(), Refusal> {
        match field {
            Field::Model if self.dialect == Dialect::Gemini => self.body_model(s)?,
            Field::Model => self.model(s)?,
            Field::Stream => self.head.stream = flag(s, name)?,
            Field::StreamOptions => self.stream_options(s)?,
            Field::Bound => self.bound(s, name)?,
            Field::Count => self.count(s, name)?,
            Field::Prompt => self.prompts = prompts(s)?,
            Field::Content => self.head.unbounded |= reach::content(s)?,
            Field::Tools => self.head.unbounded |= reach::tools(self.dialect, s)?,
            Field::Outside => self.head.unbounded |= is_set(s)?,
            Field::EncodingFormat => self.head.encoding_base64 = is_base64(s)?,
            Field::GenerationConfig => self.generation_config(s, name)?,
            Field::Requests => self.requests(s)?,
            Field::WrappedRequest => self.wrapped_request(s)?,
            Field::ExtraBody => self.extra_body(s, name)?,
            Field::Query => self.items().query(s)?,
            Field::Text => self.items().text(s)?,
            Field::Size => self.items().size = word(s)?,
            Field::Quality => self.items().quality = word(s)?,
            Field::Format => self.items().format = word(s)?,
            Field::Events => self.head.stream = word(s)?.as_deref() == Some("sse"),
            Field::Pictures => self.items().pictures(s)?,
            Field::Partial => {
                let few = if s.kind()? == Kind::Number { s.number()?.parse().ok() } else { s.skip().map(|_| None)? };
                self.items().partial = few.unwrap_or(0).min(COUNT_LIMIT);
            }
            Field::Documents => self.head.unbounded |= self.items().documents(s)?,
        }
        Ok(())
    }

    fn items(&mut self) -> &mut Items {
        self.head.items.get_or_insert_default()
    }

    fn extra_body(&self, s: &mut Scanner<'_>, name: &'static str) -> Result<(), Refusal> {
        if s.kind()? != Kind::Object {
            s.skip()?;
            return Ok(());
        }
        let members = Members::new(fields::rows(self.endpoint), "", true);
        s.object(|s, key| {
            members.refuse_nested(name, &key.decode())?;
            Ok(s.skip().map(|_| ())?)
        })
    }

    fn model(&mut self, s: &mut Scanner<'_>) -> Result<(), Refusal> {
        let (name, span) = model_name(s)?;
        self.head.model = Some(span);
        self.head.model_name = Some(name);
        Ok(())
    }

    fn body_model(&mut self, s: &mut Scanner<'_>) -> Result<(), Refusal> {
        let (mut name, span) = model_name(s)?;
        if name.starts_with("models/") {
            name.drain(.."models/".len());
        }
        self.head.body_model_spans.push(span);
        match &self.head.body_model {
            None => self.head.body_model = Some(name),
            Some(first) if *first == name => {}
            Some(first) => {
                let message = format!(
                    "The body names two models, `{}` and `{}`. Name one, the one in the path.",
                    cut(first),
                    cut(&name)
                );
                return Err(Refusal::new(Code::ConflictingModel, message).param("model"));
            }
        }
        Ok(())
    }

    fn stream_options(&mut self, s: &mut Scanner<'_>) -> Result<(), Refusal> {
        match s.kind()? {
            Kind::Null => {
                self.head.include_usage = IncludeUsage::Null(s.value()?.1);
                return Ok(());
            }
            Kind::Object => {}
            _ => return Err(invalid("stream_options", "an object or null")),
        }
        let mut found = IncludeUsage::Unset { at: s.position() + 1, only_member: true };
        let mut members = Members::new(fields::STREAM_OPTIONS, "stream_options.", true);
        s.object(|s, key| {
            if let IncludeUsage::Unset { only_member, .. } = &mut found {
                *only_member = false;
            }
            if members.find(key.decode())?.is_none() {
                s.skip()?;
                return Ok(());
            }
            found = match s.value()? {
                (Kind::Bool(true), _) => IncludeUsage::On,
                (Kind::Bool(false) | Kind::Null, span) => IncludeUsage::Off(span),
                _ => return Err(invalid("stream_options.include_usage", "true or false")),
            };
            Ok(())
        })?;
        self.head.include_usage = found;
        Ok(())
    }

    /// Where two spellings are given, the larger one bounds the cost.
    fn bound(&mut self, s: &mut Scanner<'_>, name: &'static str) -> Result<(), Refusal> {
        let bound = integer(s, name, i64::MAX as u64)?;
        self.head.max_tokens = self.head.max_tokens.max(bound);
        Ok(())
    }

    fn count(&mut self, s: &mut Scanner<'_>, name: &'static str) -> Result<(), Refusal> {
        let count = integer(s, name, COUNT_LIMIT)?;
        self.head.n = self.head.n.max(count.unwrap_or(1));
        Ok(())
    }

    fn generation_config(&mut self, s: &mut Scanner<'_>, name: &'static str) -> Result<(), Refusal> {
        match s.kind()? {
            Kind::Null => return Ok(s.skip().map(|_| ())?),
            Kind::Object => {}
            _ => return Err(invalid(name, "an object or null")),
        }
        let mut members = Members::new(fields::GENERATION_CONFIG, "generationConfig.", false);
        s.object(|s, key| match members.find(key.decode())? {
            Some((name, Field::Bound)) => self.bound(s, name),
            Some((name, _)) => self.count(s, name),
            None => Ok(s.skip().map(|_| ())?),
        })
    }

    fn requests(&mut self, s: &mut Scanner<'_>) -> Result<(), Refusal> {
        if s.kind()? != Kind::Array {
            return Err(invalid("requests", "an array"));
        }
        s.array(|s| self.wrapped_request(s))
    }

    /// A request inside the request: its model counts, and what its content points to.
    fn wrapped_request(&mut self, s: &mut Scanner<'_>) -> Result<(), Refusal> {
        if s.kind()? != Kind::Object {
            return Ok(s.skip().map(|_| ())?);
        }
        s.object(|s, key| {
            match key.decode().as_ref() {
                "model" => self.body_model(s)?,
                "content" | "contents" => self.head.unbounded |= reach::content(s)?,
                _ => s.skip().map(|_| ())?,
            }
            Ok(())
        })
    }
}

fn invalid(name: &'static str, expected: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("`{name}` must be {expected}.")).param(name)
}

/// Two of them must fit into what may be repeated of a caller's input.
fn cut(name: &str) -> String {
    let mut name = echo(name);
    name.truncate(name.floor_char_boundary(anykey_core::refusal::ECHO_LIMIT / 2));
    name
}

fn model_name(s: &mut Scanner<'_>) -> Result<(String, Span), Refusal> {
    let wrong = || invalid("model", "a non-empty string of at most 256 bytes without control characters");
    if s.kind()? != Kind::String {
        return Err(wrong());
    }
    let text = s.string()?;
    let name = text.decode();
    if name.is_empty() || name.len() > MODEL_LIMIT || name.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok((name.into_owned(), text.span))
}

fn flag(s: &mut Scanner<'_>, name: &'static str) -> Result<bool, Refusal> {
    match s.kind()? {
        Kind::Bool(value) => s.skip().map(|_| value).map_err(Refusal::from),
        Kind::Null => s.skip().map(|_| false).map_err(Refusal::from),
        _ => Err(invalid(name, "true or false")),
    }
}

/// A whole number from 1 to `most`, written as digits only; null is unset.
fn integer(s: &mut Scanner<'_>, name: &'static str, most: u64) -> Result<Option<u64>, Refusal> {
    let wrong = || invalid(name, &format!("a whole number from 1 to {most}"));
    match s.kind()? {
        Kind::Null => s.skip().map(|_| None).map_err(Refusal::from),
        Kind::Number => {
            let value = s.number()?.parse::<u64>().map_err(|_| wrong())?;
            if (1..=most).contains(&value) { Ok(Some(value)) } else { Err(wrong()) }
        }
        _ => Err(wrong()),
    }
}

/// How many prompts a completion has: strings, or lists of tokens, in a list.
fn prompts(s: &mut Scanner<'_>) -> Result<u64, Flaw> {
    if s.kind()? != Kind::Array {
        return s.skip().map(|_| 1);
    }
    let mut count = 0u64;
    s.array(|s| {
        count += u64::from(s.skip()? != Kind::Number);
        Ok::<_, Flaw>(())
    })?;
    Ok(count.max(1))
}

/// Whether a member asks for something; null, false and empty lists do not.
fn is_set(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Array {
        return Ok(!matches!(s.skip()?, Kind::Null | Kind::Bool(false)));
    }
    let mut found = false;
    s.array(|s| {
        found = true;
        s.skip().map(|_| ())
    })?;
    Ok(found)
}

/// A short text; anything else says nothing.
fn word(s: &mut Scanner<'_>) -> Result<Option<String>, Flaw> {
    if s.kind()? != Kind::String {
        return s.skip().map(|_| None);
    }
    let text = s.string()?.decode();
    Ok((text.len() <= 32).then(|| text.into_owned()))
}

fn is_base64(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::String {
        return s.skip().map(|_| false);
    }
    Ok(s.string()?.decode() == "base64")
}
