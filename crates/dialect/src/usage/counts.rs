//! The providers' usage objects. Each counts in its own way what is part of what; here they become disjoint classes.
//!
//! | | input includes cached | output includes reasoning |
//! |---|---|---|
//! | OpenAI | yes | yes |
//! | Anthropic | no | yes |
//! | Gemini | yes | no |
//!
//! Counts that do not add up are clamped: a part is never larger than its whole, and nothing wraps.

use crate::json::{Flaw, Kind, Scanner};
use anykey_core::{Unit, Usage};

/// A count as providers write it: null, a fraction or a negative number must not lose the other counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Count(Option<u64>);

impl Count {
    fn read(s: &mut Scanner<'_>) -> Result<Count, Flaw> {
        if s.kind()? != Kind::Number {
            return s.skip().map(|_| Count(None));
        }
        let text = s.number()?;
        // Rounded up, since a part of a token is charged as one. What is below zero is none.
        let count = text.parse().unwrap_or_else(|_| text.parse::<f64>().map_or(0, |n| n.ceil() as u64));
        Ok(Count(Some(count)))
    }

    fn get(self) -> u64 {
        self.0.unwrap_or(0)
    }

    fn or(self, other: Count) -> Count {
        self.max(other)
    }
}

/// A provider's usage object, read where it stands in an answer.
pub(crate) trait Counts: Default {
    /// Reads an object.
    fn read(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw>;
}

/// Reads an object; any other value says nothing.
fn members<'a>(
    s: &mut Scanner<'a>,
    mut member: impl FnMut(&mut Scanner<'a>, &str) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    if s.kind()? != Kind::Object {
        return s.skip().map(|_| ());
    }
    s.object(|s, key| if key.escaped { member(s, &key.decode()) } else { member(s, key.raw) })
}

/// Takes parts out of a whole, never more than there is.
struct Whole(u64);

impl Whole {
    fn take(&mut self, part: u64) -> u64 {
        let part = part.min(self.0);
        self.0 -= part;
        part
    }
}

/// The `usage` of chat completions, completions, responses and embeddings.
#[derive(Default)]
pub(crate) struct OpenAi {
    input: Count,
    output: Count,
    total: Count,
    input_details: OpenAiDetails,
    output_details: OpenAiDetails,
    /// Cached input beside the details.
    cached: Count,
    /// Of sound that was heard.
    seconds: Count,
}

#[derive(Default)]
struct OpenAiDetails {
    cached: Count,
    audio: Count,
    image: Count,
    reasoning: Count,
}

impl Counts for OpenAi {
    fn read(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        members(s, |s, key| {
            match key {
                "prompt_tokens" | "input_tokens" => self.input = self.input.or(Count::read(s)?),
                "completion_tokens" | "output_tokens" => self.output = self.output.or(Count::read(s)?),
                "total_tokens" => self.total = Count::read(s)?,
                "seconds" | "prompt_audio_seconds" => self.seconds = Count::read(s)?,
                "prompt_tokens_details" | "input_tokens_details" | "input_token_details" => {
                    self.input_details.read(s)?
                }
                "completion_tokens_details" | "output_tokens_details" | "output_token_details" => {
                    self.output_details.read(s)?
                }
                // DeepSeek's word and Moonshot's.
                "prompt_cache_hit_tokens" | "cached_tokens" => self.cached = self.cached.or(Count::read(s)?),
                _ => drop(s.skip()?),
            }
            Ok(())
        })
    }
}

impl OpenAiDetails {
    fn read(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        members(s, |s, key| {
            match key {
                "cached_tokens" => self.cached = Count::read(s)?,
                "audio_tokens" => self.audio = Count::read(s)?,
                "image_tokens" => self.image = Count::read(s)?,
                "reasoning_tokens" => self.reasoning = Count::read(s)?,
                _ => drop(s.skip()?),
            }
            Ok(())
        })
    }
}

impl OpenAi {
    /// Seconds of sound, where those are counted.
    pub fn heard(&self) -> Option<u64> {
        self.seconds.0
    }

    /// `None` when there is no count.
    pub fn usage(&self, searches: u64) -> Option<Usage> {
        self.input.or(self.output).or(self.total).0?;
        let cached = self.input_details.cached.or(self.cached);

        let mut input = Whole(self.input.get());
        // Some providers leave reasoning out of the completion but not out of the total.
        let mut output = Whole(self.output.get().max(self.total.get().saturating_sub(input.0)));
        let usage = Usage::default()
            .with(Unit::Request, 1)
            .with(Unit::Search, searches)
            .with(Unit::CacheRead, input.take(cached.get()))
            .with(Unit::AudioIn, input.take(self.input_details.audio.get()))
            .with(Unit::ImageIn, input.take(self.input_details.image.get()))
            .with(Unit::Input, input.0)
            .with(Unit::Reasoning, output.take(self.output_details.reasoning.get()))
            .with(Unit::AudioOut, output.take(self.output_details.audio.get()))
            .with(Unit::ImageOut, output.take(self.output_details.image.get()))
            .with(Unit::Output, output.0);
        Some(usage)
    }
}

/// A number, rounded up; providers write it as a text too.
pub(super) fn whole(s: &mut Scanner<'_>) -> Result<Option<u64>, Flaw> {
    if s.kind()? == Kind::String {
        let text = s.string()?.decode();
        return Ok(text.parse::<f64>().ok().map(|n| n.ceil() as u64));
    }
    Ok(Count::read(s)?.0)
}

/// `meta.billed_units.search_units` of Cohere's rerank.
pub(super) fn billed_searches(s: &mut Scanner<'_>) -> Result<Option<u64>, Flaw> {
    let mut found = Count(None);
    members(s, |s, key| match key {
        "billed_units" => members(s, |s, key| {
            match key {
                "search_units" => found = Count::read(s)?,
                _ => drop(s.skip()?),
            }
            Ok(())
        }),
        _ => s.skip().map(|_| ()),
    })?;
    Ok(found.0)
}

/// Anthropic's counts. A stream gives them twice, at its start and, cumulative, at its end: the larger of each holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Anthropic {
    input: Count,
    output: Count,
    cache_read: Count,
    cache_written: Count,
    written_5m: Count,
    written_1h: Count,
    web_searches: Count,
}

impl Counts for Anthropic {
    fn read(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        members(s, |s, key| {
            let place = match key {
                "input_tokens" => &mut self.input,
                "output_tokens" => &mut self.output,
                "cache_read_input_tokens" => &mut self.cache_read,
                "cache_creation_input_tokens" => &mut self.cache_written,
                "cache_creation" => return self.lifetimes(s),
                "server_tool_use" => return self.tools(s),
                _ => return s.skip().map(|_| ()),
            };
            *place = place.or(Count::read(s)?);
            Ok(())
        })
    }
}

impl Anthropic {
    /// Whether there is a count that makes a usage.
    pub fn counted(&self) -> bool {
        self.input.or(self.output).0.is_some()
    }

    /// The larger of each holds.
    pub fn merge(&mut self, other: &Anthropic) {
        let merge = |a: &mut Count, b: Count| *a = a.or(b);
        merge(&mut self.input, other.input);
        merge(&mut self.output, other.output);
        merge(&mut self.cache_read, other.cache_read);
        merge(&mut self.cache_written, other.cache_written);
        merge(&mut self.written_5m, other.written_5m);
        merge(&mut self.written_1h, other.written_1h);
        merge(&mut self.web_searches, other.web_searches);
    }

    fn lifetimes(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        members(s, |s, key| {
            match key {
                "ephemeral_5m_input_tokens" => self.written_5m = self.written_5m.or(Count::read(s)?),
                "ephemeral_1h_input_tokens" => self.written_1h = self.written_1h.or(Count::read(s)?),
                _ => drop(s.skip()?),
            }
            Ok(())
        })
    }

    fn tools(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        members(s, |s, key| {
            match key {
                "web_search_requests" => self.web_searches = self.web_searches.or(Count::read(s)?),
                _ => drop(s.skip()?),
            }
            Ok(())
        })
    }

    /// Without a breakdown by lifetime, what was written to the cache lives five minutes.
    pub fn usage(&self) -> Usage {
        let (short, long) = (self.written_5m.get(), self.written_1h.get());
        let mut written = Whole(self.cache_written.get().max(short.saturating_add(long)));
        Usage::default()
            .with(Unit::Request, 1)
            .with(Unit::Input, self.input.get())
            .with(Unit::CacheRead, self.cache_read.get())
            .with(Unit::CacheWrite1h, written.take(long))
            .with(Unit::CacheWrite5m, written.0)
            .with(Unit::Output, self.output.get())
            .with(Unit::Search, self.web_searches.get())
    }
}

/// `usageMetadata`.
#[derive(Default)]
pub(crate) struct Gemini {
    prompt: Count,
    cached: Count,
    candidates: Count,
    thoughts: Count,
    tools: Count,
    total: Count,
    prompt_details: Modalities,
    cache_details: Modalities,
    candidates_details: Modalities,
}

/// Counts by modality; text is the rest.
#[derive(Default)]
struct Modalities {
    audio: u64,
    image: u64,
}

impl Counts for Gemini {
    fn read(&mut self, s: &mut Scanner<'_>) -> Result<(), Flaw> {
        members(s, |s, key| {
            match key {
                "promptTokenCount" => self.prompt = Count::read(s)?,
                "cachedContentTokenCount" => self.cached = Count::read(s)?,
                "candidatesTokenCount" => self.candidates = Count::read(s)?,
                "thoughtsTokenCount" => self.thoughts = Count::read(s)?,
                "toolUsePromptTokenCount" => self.tools = Count::read(s)?,
                "totalTokenCount" => self.total = Count::read(s)?,
                "promptTokensDetails" => self.prompt_details = Modalities::read(s)?,
                "cacheTokensDetails" => self.cache_details = Modalities::read(s)?,
                "candidatesTokensDetails" => self.candidates_details = Modalities::read(s)?,
                _ => drop(s.skip()?),
            }
            Ok(())
        })
    }
}

impl Modalities {
    fn read(s: &mut Scanner<'_>) -> Result<Self, Flaw> {
        let mut sums = Modalities::default();
        if s.kind()? != Kind::Array {
            return s.skip().map(|_| sums);
        }
        s.array(|s| {
            let (mut audio, mut image, mut count) = (false, false, Count(None));
            members(s, |s, key| {
                match key {
                    "modality" if s.kind()? == Kind::String => {
                        let name = s.string()?;
                        (audio, image) = (name.raw == "AUDIO", name.raw == "IMAGE");
                    }
                    "tokenCount" => count = Count::read(s)?,
                    _ => drop(s.skip()?),
                }
                Ok(())
            })?;
            if audio {
                sums.audio = sums.audio.saturating_add(count.get());
            } else if image {
                sums.image = sums.image.saturating_add(count.get());
            }
            Ok::<_, Flaw>(())
        })?;
        Ok(sums)
    }
}

impl Gemini {
    /// `None` when there is no count.
    pub fn usage(&self) -> Option<Usage> {
        self.prompt.or(self.candidates).or(self.total).0?;
        let (prompt, thoughts) = (self.prompt.get(), self.thoughts.get());
        let tools = self.tools.get();
        let mut input = Whole(prompt);
        let mut cached = Whole(input.take(self.cached.get()));
        let audio_cached = cached.take(self.cache_details.audio);
        let image_cached = self.cache_details.image;
        // The total may hold output that the other counts leave out.
        let rest = self.total.get().saturating_sub(prompt).saturating_sub(thoughts).saturating_sub(tools);
        let mut output = Whole(self.candidates.get().max(rest));
        let usage = Usage::default()
            .with(Unit::Request, 1)
            .with(Unit::CacheRead, cached.0)
            .with(Unit::AudioCacheRead, audio_cached)
            .with(Unit::AudioIn, input.take(self.prompt_details.audio.saturating_sub(audio_cached)))
            .with(Unit::ImageIn, input.take(self.prompt_details.image.saturating_sub(image_cached)))
            .with(Unit::Input, input.0.saturating_add(tools))
            .with(Unit::Reasoning, thoughts)
            .with(Unit::AudioOut, output.take(self.candidates_details.audio))
            .with(Unit::ImageOut, output.take(self.candidates_details.image))
            .with(Unit::Output, output.0);
        Some(usage)
    }
}
