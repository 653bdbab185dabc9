//! What could not be carried over, by the caller's own names for it. Nothing is left out without a line here.

use super::Api;
use std::borrow::Cow;

/// The most names that are told, so that a header stays one.
const MOST: usize = 24;
/// The longest name that is told.
const LONGEST: usize = 64;

/// The names of what was left out.
#[derive(Clone, Debug)]
pub struct Notes {
    client: Api,
    dropped: Vec<Cow<'static, str>>,
}

/// What one dialect has and another may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Temperature,
    TopP,
    TopK,
    Seed,
    Presence,
    Frequency,
    Stop,
    Logprobs,
    User,
    Parallel,
    Reasoning,
    /// Thinking of an earlier turn.
    Thoughts,
    Cache,
    ImageDetail,
    FileName,
    Strict,
    /// Anything but text among the instructions.
    Instructions,
    SchemaWords,
    ResultFailed,
    JsonMode,
}

impl Notes {
    pub fn new(client: Api) -> Self {
        Notes { client, dropped: Vec::new() }
    }

    pub fn client(&self) -> Api {
        self.client
    }

    /// A feature that the provider has no place for.
    pub fn drop(&mut self, feature: Feature) {
        self.add(Cow::Borrowed(feature.name(self.client)));
    }

    /// A member by its path in the caller's body. Names that are the caller's own are cut to what a header takes.
    pub fn member(&mut self, parent: &str, name: &str) {
        let mut path = String::with_capacity(parent.len() + name.len());
        for c in parent.chars().chain(name.chars()) {
            path.push(if c.is_ascii_alphanumeric() || "_.[]-$".contains(c) { c } else { '?' });
            if path.len() == LONGEST {
                break;
            }
        }
        self.add(Cow::Owned(path));
    }

    fn add(&mut self, name: Cow<'static, str>) {
        if !self.dropped.contains(&name) {
            if self.dropped.len() == MOST {
                self.dropped.push("...".into());
            } else if self.dropped.len() < MOST {
                self.dropped.push(name);
            }
        }
    }

    pub fn names(&self) -> &[Cow<'static, str>] {
        &self.dropped
    }
}

impl Feature {
    /// As the caller's dialect calls it.
    const fn name(self, client: Api) -> &'static str {
        use Api::{Chat, Gemini, Messages, Responses};
        match (self, client) {
            (Feature::Temperature, Gemini) => "generationConfig.temperature",
            (Feature::Temperature, _) => "temperature",
            (Feature::TopP, Gemini) => "generationConfig.topP",
            (Feature::TopP, _) => "top_p",
            (Feature::TopK, Gemini) => "generationConfig.topK",
            (Feature::TopK, _) => "top_k",
            (Feature::Seed, Gemini) => "generationConfig.seed",
            (Feature::Seed, _) => "seed",
            (Feature::Presence, Gemini) => "generationConfig.presencePenalty",
            (Feature::Presence, _) => "presence_penalty",
            (Feature::Frequency, Gemini) => "generationConfig.frequencyPenalty",
            (Feature::Frequency, _) => "frequency_penalty",
            (Feature::Stop, Gemini) => "generationConfig.stopSequences",
            (Feature::Stop, Messages) => "stop_sequences",
            (Feature::Stop, _) => "stop",
            (Feature::Logprobs, Gemini) => "generationConfig.responseLogprobs",
            (Feature::Logprobs, Responses) => "top_logprobs",
            (Feature::Logprobs, _) => "logprobs",
            (Feature::User, Messages) => "metadata.user_id",
            (Feature::User, _) => "user",
            (Feature::Parallel, Messages) => "tool_choice.disable_parallel_tool_use",
            (Feature::Parallel, _) => "parallel_tool_calls",
            (Feature::Reasoning, Chat) => "reasoning_effort",
            (Feature::Reasoning, Responses) => "reasoning",
            (Feature::Reasoning, Messages) => "thinking",
            (Feature::Reasoning, Gemini) => "generationConfig.thinkingConfig",
            (Feature::Thoughts, Chat) => "messages[].reasoning_content",
            (Feature::Thoughts, Responses) => "input[].reasoning",
            (Feature::Thoughts, Messages) => "messages[].content[].thinking",
            (Feature::Thoughts, Gemini) => "contents[].parts[].thought",
            (Feature::Cache, _) => "cache_control",
            (Feature::ImageDetail, Responses) => "input[].content[].detail",
            (Feature::ImageDetail, Gemini) => "contents[].parts[].mediaResolution",
            (Feature::ImageDetail, _) => "messages[].content[].image_url.detail",
            (Feature::FileName, Gemini) => "contents[].parts[].inlineData.displayName",
            (Feature::FileName, Messages) => "messages[].content[].title",
            (Feature::FileName, _) => "filename",
            (Feature::Strict, _) => "tools[].strict",
            (Feature::Instructions, Messages) => "system[]",
            (Feature::Instructions, Gemini) => "systemInstruction.parts[]",
            (Feature::Instructions, Responses) => "input[].content[]",
            (Feature::Instructions, Chat) => "messages[].content[]",
            (Feature::SchemaWords, Gemini) => "generationConfig.responseSchema",
            (Feature::SchemaWords, Messages) => "output_config.format",
            (Feature::SchemaWords, Responses) => "text.format",
            (Feature::SchemaWords, Chat) => "response_format",
            (Feature::ResultFailed, Messages) => "messages[].content[].is_error",
            (Feature::ResultFailed, _) => "is_error",
            (Feature::JsonMode, Gemini) => "generationConfig.responseMimeType",
            (Feature::JsonMode, _) => "response_format",
        }
    }
}
