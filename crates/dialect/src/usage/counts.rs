//! The providers' usage objects. Each counts in its own way what is part of what; here they become disjoint classes.
//!
//! | | input includes cached | output includes reasoning |
//! |---|---|---|
//! | OpenAI | yes | yes |
//! | Anthropic | no | yes |
//! | Gemini | yes | no |
//!
//! Counts that do not add up are clamped: a part is never larger than its whole, and nothing wraps.

use anykey_core::{Unit, Usage};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A count as providers write it: null, a fraction or a negative number must not lose the other counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Count(Option<u64>);

impl Count {
    fn get(self) -> u64 {
        self.0.unwrap_or(0)
    }

    fn or(self, other: Count) -> Count {
        self.max(other)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_u64<E>(self, n: u64) -> Result<Count, E> {
        Ok(Count(Some(n)))
    }

    fn visit_i64<E>(self, _negative: i64) -> Result<Count, E> {
        Ok(Count(Some(0)))
    }

    /// Rounded up, since a part of a token is charged as one.
    fn visit_f64<E>(self, n: f64) -> Result<Count, E> {
        Ok(Count(Some(n.ceil() as u64)))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct OpenAi {
    prompt_tokens: Count,
    completion_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Option<OpenAiDetails>,
    input_tokens_details: Option<OpenAiDetails>,
    completion_tokens_details: Option<OpenAiDetails>,
    output_tokens_details: Option<OpenAiDetails>,
    /// DeepSeek's word for cached input.
    prompt_cache_hit_tokens: Count,
    /// Moonshot's.
    cached_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OpenAiDetails {
    cached_tokens: Count,
    audio_tokens: Count,
    image_tokens: Count,
    reasoning_tokens: Count,
}

/// Reads the `usage` of chat completions, completions, responses and embeddings. `None` when it holds no count.
pub(crate) fn openai(text: &str, searches: u64) -> Option<Usage> {
    let u: OpenAi = serde_json::from_str(text).ok()?;
    let (input, output) = (u.prompt_tokens.or(u.input_tokens), u.completion_tokens.or(u.output_tokens));
    input.or(output).or(u.total_tokens).0?;
    let details_in = u.prompt_tokens_details.or(u.input_tokens_details).unwrap_or_default();
    let details_out = u.completion_tokens_details.or(u.output_tokens_details).unwrap_or_default();
    let cached = details_in.cached_tokens.or(u.prompt_cache_hit_tokens).or(u.cached_tokens);

    let mut input = Whole(input.get());
    // Some providers leave reasoning out of the completion but not out of the total.
    let mut output = Whole(output.get().max(u.total_tokens.get().saturating_sub(input.0)));
    let usage = Usage::default()
        .with(Unit::Request, 1)
        .with(Unit::Search, searches)
        .with(Unit::CacheRead, input.take(cached.get()))
        .with(Unit::AudioIn, input.take(details_in.audio_tokens.get()))
        .with(Unit::ImageIn, input.take(details_in.image_tokens.get()))
        .with(Unit::Input, input.0)
        .with(Unit::Reasoning, output.take(details_out.reasoning_tokens.get()))
        .with(Unit::AudioOut, output.take(details_out.audio_tokens.get()))
        .with(Unit::ImageOut, output.take(details_out.image_tokens.get()))
        .with(Unit::Output, output.0);
    Some(usage)
}

/// Anthropic's counts. A stream gives them twice, at its start and, cumulative, at its end: the larger of each holds.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Anthropic {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_creation: Option<CacheCreation>,
    server_tool_use: Option<ServerToolUse>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Count,
    ephemeral_1h_input_tokens: Count,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct ServerToolUse {
    web_search_requests: Count,
}

impl Anthropic {
    /// Adds what a `usage` object says; false when it holds no count.
    pub fn merge(&mut self, text: &str) -> bool {
        let Ok(new) = serde_json::from_str::<Anthropic>(text) else { return false };
        let (old_cache, new_cache) = (self.cache_creation.unwrap_or_default(), new.cache_creation.unwrap_or_default());
        let (old_tools, new_tools) =
            (self.server_tool_use.unwrap_or_default(), new.server_tool_use.unwrap_or_default());
        *self = Anthropic {
            input_tokens: self.input_tokens.or(new.input_tokens),
            output_tokens: self.output_tokens.or(new.output_tokens),
            cache_read_input_tokens: self.cache_read_input_tokens.or(new.cache_read_input_tokens),
            cache_creation_input_tokens: self.cache_creation_input_tokens.or(new.cache_creation_input_tokens),
            cache_creation: Some(CacheCreation {
                ephemeral_5m_input_tokens: old_cache.ephemeral_5m_input_tokens.or(new_cache.ephemeral_5m_input_tokens),
                ephemeral_1h_input_tokens: old_cache.ephemeral_1h_input_tokens.or(new_cache.ephemeral_1h_input_tokens),
            }),
            server_tool_use: Some(ServerToolUse {
                web_search_requests: old_tools.web_search_requests.or(new_tools.web_search_requests),
            }),
        };
        new.input_tokens.or(new.output_tokens).0.is_some()
    }

    /// Without a breakdown by lifetime, what was written to the cache lives five minutes.
    pub fn usage(&self) -> Usage {
        let cache = self.cache_creation.unwrap_or_default();
        let (short, long) = (cache.ephemeral_5m_input_tokens.get(), cache.ephemeral_1h_input_tokens.get());
        let mut written = Whole(self.cache_creation_input_tokens.get().max(short.saturating_add(long)));
        Usage::default()
            .with(Unit::Request, 1)
            .with(Unit::Input, self.input_tokens.get())
            .with(Unit::CacheRead, self.cache_read_input_tokens.get())
            .with(Unit::CacheWrite1h, written.take(long))
            .with(Unit::CacheWrite5m, written.0)
            .with(Unit::Output, self.output_tokens.get())
            .with(Unit::Search, self.server_tool_use.unwrap_or_default().web_search_requests.get())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Gemini {
    prompt_token_count: Count,
    cached_content_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    tool_use_prompt_token_count: Count,
    total_token_count: Count,
    prompt_tokens_details: Option<Vec<ModalityCount>>,
    cache_tokens_details: Option<Vec<ModalityCount>>,
    candidates_tokens_details: Option<Vec<ModalityCount>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModalityCount {
    modality: String,
    token_count: Count,
}

fn of(details: &Option<Vec<ModalityCount>>, modality: &str) -> u64 {
    let matching = details.iter().flatten().filter(|d| d.modality == modality);
    matching.fold(0, |sum, d| sum.saturating_add(d.token_count.get()))
}

/// Reads `usageMetadata`. `None` when it holds no count.
pub(crate) fn gemini(text: &str) -> Option<Usage> {
    let u: Gemini = serde_json::from_str(text).ok()?;
    u.prompt_token_count.or(u.candidates_token_count).or(u.total_token_count).0?;
    let (prompt, thoughts) = (u.prompt_token_count.get(), u.thoughts_token_count.get());
    let tools = u.tool_use_prompt_token_count.get();
    let mut input = Whole(prompt);
    let mut cached = Whole(input.take(u.cached_content_token_count.get()));
    let audio_cached = cached.take(of(&u.cache_tokens_details, "AUDIO"));
    let image_cached = of(&u.cache_tokens_details, "IMAGE");
    // The total may hold output that the other counts leave out.
    let rest = u.total_token_count.get().saturating_sub(prompt).saturating_sub(thoughts).saturating_sub(tools);
    let mut output = Whole(u.candidates_token_count.get().max(rest));
    let usage = Usage::default()
        .with(Unit::Request, 1)
        .with(Unit::CacheRead, cached.0)
        .with(Unit::AudioCacheRead, audio_cached)
        .with(Unit::AudioIn, input.take(of(&u.prompt_tokens_details, "AUDIO").saturating_sub(audio_cached)))
        .with(Unit::ImageIn, input.take(of(&u.prompt_tokens_details, "IMAGE").saturating_sub(image_cached)))
        .with(Unit::Input, input.0.saturating_add(tools))
        .with(Unit::Reasoning, thoughts)
        .with(Unit::AudioOut, output.take(of(&u.candidates_tokens_details, "AUDIO")))
        .with(Unit::ImageOut, output.take(of(&u.candidates_tokens_details, "IMAGE")))
        .with(Unit::Output, output.0);
    Some(usage)
}
