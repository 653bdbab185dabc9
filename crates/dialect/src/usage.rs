//! What a whole answer used, in anykey's disjoint units, whichever way the provider counts.

mod counts;

use crate::json::{Flaw, Kind, Scanner};
use anykey_core::{Endpoint, Unit, Usage};
pub(crate) use counts::{Anthropic as AnthropicCounts, gemini as gemini_usage, openai as openai_usage};

/// What the gateway reads of a whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `None` when the provider gave no counts.
    pub usage: Option<Usage>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    pub id: Option<String>,
    /// The body is a whole JSON document.
    pub complete: bool,
}

/// Reads an answer that came in one piece.
pub fn read_answer(endpoint: Endpoint, body: &[u8]) -> Answer {
    let mut answer = Answer::default();
    let Ok(text) = std::str::from_utf8(body) else { return answer };
    let mut parts = Parts::default();
    let mut s = Scanner::new(text);
    if s.peek() != Some(b'{') {
        answer.complete = crate::json::is_valid(text);
        return answer;
    }
    answer.complete = parts.read(text, &mut s).and_then(|()| s.end()).is_ok();
    if !answer.complete {
        return answer;
    }
    answer.usage = parts.usage(endpoint);
    answer.model = parts.model;
    answer.id = parts.id;
    answer
}

/// The members of an answer that matter, in any dialect. Streams of the responses API carry the same object.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    pub model: Option<String>,
    pub id: Option<String>,
    /// The text of `usage` or `usageMetadata`.
    pub counts: Option<&'a str>,
    /// The text of `error`, if there is one.
    pub error: Option<&'a str>,
    /// Web searches among the output items.
    pub searches: u64,
    /// `choices` is there and empty.
    pub no_choices: bool,
}

impl<'a> Parts<'a> {
    pub fn read(&mut self, text: &'a str, s: &mut Scanner<'a>) -> Result<(), Flaw> {
        s.object(|s, key| self.member(&key.decode(), text, s))
    }

    /// Reads one member of the object; `text` is what `s` scans.
    pub fn member(&mut self, key: &str, text: &'a str, s: &mut Scanner<'a>) -> Result<(), Flaw> {
        match key {
            "model" | "modelVersion" => self.model = string(s)?.or(self.model.take()),
            "id" | "responseId" => self.id = string(s)?.or(self.id.take()),
            "usage" | "usageMetadata" => self.counts = object_text(text, s)?.or(self.counts),
            "error" => self.error = error_text(text, s)?,
            "output" => self.searches = web_searches(s)?,
            "choices" => self.no_choices = is_empty_array(s)?,
            _ => s.skip().map(|_| ())?,
        }
        Ok(())
    }

    fn usage(&self, endpoint: Endpoint) -> Option<Usage> {
        let counts = self.counts;
        match endpoint {
            // Nothing is generated and nothing is charged.
            Endpoint::CountTokens | Endpoint::GeminiCountTokens => Some(Usage::default()),
            Endpoint::Messages => {
                let mut total = AnthropicCounts::default();
                total.merge(counts?).then(|| total.usage())
            }
            Endpoint::GenerateContent
            | Endpoint::StreamGenerateContent
            | Endpoint::EmbedContent
            | Endpoint::BatchEmbedContents => gemini_usage(counts?),
            Endpoint::Embeddings => openai_usage(counts?, 0).map(input_only),
            _ => openai_usage(counts?, self.searches),
        }
    }
}

/// Embeddings have no output; a total without its parts is all input.
fn input_only(usage: Usage) -> Usage {
    let output = usage.output_tokens();
    let input = usage.get(Unit::Input).saturating_add(output);
    [Unit::Output, Unit::Reasoning, Unit::AudioOut, Unit::ImageOut]
        .into_iter()
        .fold(usage.with(Unit::Input, input), |usage, unit| usage.with(unit, 0))
}

pub(crate) fn string(s: &mut Scanner<'_>) -> Result<Option<String>, Flaw> {
    if s.kind()? != Kind::String {
        return s.skip().map(|_| None);
    }
    let text = s.string()?.decode();
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

fn object_text<'a>(text: &'a str, s: &mut Scanner<'a>) -> Result<Option<&'a str>, Flaw> {
    let (kind, span) = s.value()?;
    Ok((kind == Kind::Object).then(|| &text[span.start..span.end]))
}

/// An object or a text that isn't empty; some providers write `"error": null` or `""` on every chunk.
fn error_text<'a>(text: &'a str, s: &mut Scanner<'a>) -> Result<Option<&'a str>, Flaw> {
    let (kind, span) = s.value()?;
    let value = &text[span.start..span.end];
    Ok((kind == Kind::Object || (kind == Kind::String && value != "\"\"")).then_some(value))
}

fn is_empty_array(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Array {
        return s.skip().map(|_| false);
    }
    let mut empty = true;
    s.array(|s| {
        empty = false;
        s.skip().map(|_| ())
    })?;
    Ok(empty)
}

/// The responses API bills each search and does not count them in its usage.
fn web_searches(s: &mut Scanner<'_>) -> Result<u64, Flaw> {
    if s.kind()? != Kind::Array {
        return s.skip().map(|_| 0);
    }
    let mut count = 0u64;
    s.array(|s| {
        if s.kind()? != Kind::Object {
            return s.skip().map(|_| ());
        }
        s.object(|s, key| {
            if key.raw == "type" && s.kind()? == Kind::String {
                count += u64::from(s.string()?.raw == "web_search_call");
                return Ok(());
            }
            s.skip().map(|_| ())
        })
    })?;
    Ok(count)
}

/// Usage where a provider gave none: a token for every four bytes, at least one each way. Embeddings have no output, and
/// counting tokens uses nothing.
pub fn estimate(endpoint: Endpoint, request_bytes: u64, output_bytes: u64) -> Usage {
    if endpoint.is_free() {
        return Usage::default();
    }
    let tokens = |bytes: u64| bytes.div_ceil(4).max(1);
    let usage = Usage::default().with(Unit::Request, 1).with(Unit::Input, tokens(request_bytes));
    match endpoint {
        Endpoint::Embeddings | Endpoint::EmbedContent | Endpoint::BatchEmbedContents => usage,
        _ => usage.with(Unit::Output, tokens(output_bytes)),
    }
}
