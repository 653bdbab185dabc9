//! What a whole answer used, in anykey's disjoint units, whichever way the provider counts.

mod counts;

use crate::json::{Flaw, Kind, Scanner};
use anykey_core::{Endpoint, Unit, Usage};
pub(crate) use counts::{Anthropic, Counts, Gemini, OpenAi};

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
    let Ok(text) = std::str::from_utf8(body) else { return Answer::default() };
    match endpoint {
        Endpoint::Messages => read(text, |parts: &Parts<'_, Anthropic>| {
            parts.counts.as_ref().filter(|counts| counts.counted()).map(Anthropic::usage)
        }),
        // Nothing is generated and nothing is charged.
        Endpoint::CountTokens | Endpoint::GeminiCountTokens => {
            read(text, |_: &Parts<'_, OpenAi>| Some(Usage::default()))
        }
        Endpoint::GenerateContent
        | Endpoint::StreamGenerateContent
        | Endpoint::EmbedContent
        | Endpoint::BatchEmbedContents => {
            read(text, |parts: &Parts<'_, Gemini>| parts.counts.as_ref().and_then(Gemini::usage))
        }
        Endpoint::Embeddings | Endpoint::Moderations => {
            read(text, |parts: &Parts<'_, OpenAi>| parts.openai_usage().map(input_only))
        }
        Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => {
            read(text, |parts: &Parts<'_, OpenAi>| {
                let counts = parts.openai_usage().map(pictures).unwrap_or_default();
                (parts.listed > 0 || !counts.is_empty()).then(|| counts.with(Unit::Image, parts.listed))
            })
        }
        Endpoint::Transcriptions | Endpoint::Translations => read(text, |parts: &Parts<'_, OpenAi>| {
            let said = parts.counts.as_ref().and_then(OpenAi::heard);
            match said.or(parts.duration) {
                Some(seconds) => Some(parts.openai_usage().unwrap_or_default().with(Unit::Second, seconds)),
                None => parts.openai_usage(),
            }
        }),
        Endpoint::Rerank => read(text, |parts: &Parts<'_, OpenAi>| {
            let counts = parts.openai_usage().map(input_only);
            match parts.ranked {
                Some(searches) => Some(counts.unwrap_or_default().with(Unit::Search, searches)),
                None => counts,
            }
        }),
        _ => read(text, |parts: &Parts<'_, OpenAi>| parts.openai_usage()),
    }
}

fn read<C: Counts>(text: &str, usage: impl FnOnce(&Parts<'_, C>) -> Option<Usage>) -> Answer {
    let mut s = Scanner::new(text);
    if s.peek() != Some(b'{') {
        return Answer { complete: crate::json::is_valid(text), ..Answer::default() };
    }
    let mut parts = Parts::default();
    if parts.read(text, &mut s).and_then(|()| s.end()).is_err() {
        return Answer::default();
    }
    Answer { usage: usage(&parts), model: parts.model, id: parts.id, complete: true }
}

/// The members of an answer that matter, in a dialect that counts as `C` does. Streams of the responses API carry the
/// same object.
#[derive(Default)]
pub(crate) struct Parts<'a, C> {
    pub model: Option<String>,
    pub id: Option<String>,
    /// What `usage` or `usageMetadata` says.
    pub counts: Option<C>,
    /// The text of `error`, if there is one.
    pub error: Option<&'a str>,
    /// Web searches among the output items.
    pub searches: u64,
    /// `choices` is there and empty.
    pub no_choices: bool,
    /// How many elements `data` has: pictures.
    pub listed: u64,
    /// Seconds of sound.
    pub duration: Option<u64>,
    /// Searches that Cohere says it bills.
    pub ranked: Option<u64>,
}

impl<'a, C: Counts> Parts<'a, C> {
    pub fn read(&mut self, text: &'a str, s: &mut Scanner<'a>) -> Result<(), Flaw> {
        s.object(|s, key| self.member(&key.decode(), text, s))
    }

    /// Reads one member of the object; `text` is what `s` scans.
    pub fn member(&mut self, key: &str, text: &'a str, s: &mut Scanner<'a>) -> Result<(), Flaw> {
        match key {
            "model" | "modelVersion" => self.model = string(s)?.or(self.model.take()),
            "id" | "responseId" => self.id = string(s)?.or(self.id.take()),
            "usage" | "usageMetadata" if s.kind()? == Kind::Object => {
                self.counts.insert(C::default()).read(s)?;
            }
            "error" => self.error = error_text(text, s)?,
            "output" => self.searches = web_searches(s)?,
            "choices" => self.no_choices = is_empty_array(s)?,
            "data" if s.kind()? == Kind::Array => {
                self.listed = 0;
                s.array(|s| {
                    self.listed += 1;
                    s.skip().map(|_| ())
                })?;
            }
            "duration" => self.duration = counts::whole(s)?,
            "meta" => self.ranked = counts::billed_searches(s)?,
            _ => s.skip().map(|_| ())?,
        }
        Ok(())
    }
}

impl Parts<'_, OpenAi> {
    pub fn openai_usage(&self) -> Option<Usage> {
        self.counts.as_ref()?.usage(self.searches)
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

/// What comes out is pictures where it is not said which part of it is.
pub(crate) fn pictures(usage: Usage) -> Usage {
    if usage.get(Unit::ImageOut) > 0 {
        return usage;
    }
    usage.with(Unit::ImageOut, usage.get(Unit::Output)).with(Unit::Output, 0)
}

pub(crate) fn string(s: &mut Scanner<'_>) -> Result<Option<String>, Flaw> {
    if s.kind()? != Kind::String {
        return s.skip().map(|_| None);
    }
    let text = s.string()?.decode();
    Ok((!text.is_empty()).then(|| text.into_owned()))
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
    if endpoint.is_without_output() { usage } else { usage.with(Unit::Output, tokens(output_bytes)) }
}
