//! What a request asks for, in no dialect's words: the readers of each dialect fill it in, the script answers it.

use std::hash::{DefaultHasher, Hasher};

use serde_json::Value;

use crate::text::tokens;

/// A request, understood.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    /// The text of the last user message.
    pub user: String,
    /// The text of the tool results that end the conversation, when it ends with some.
    pub tool_result: Option<String>,
    pub tools: Vec<Tool>,
    pub choice: ToolChoice,
    /// The schema that the answer must fit; `Value::Null` inside `Some` is "any JSON object".
    pub schema: Option<Value>,
    pub stop: Vec<String>,
    pub max_tokens: Option<u64>,
    /// Whether the caller allows thinking to be part of the answer.
    pub thinking: bool,
    pub input: Input,
    /// How many alternatives to give.
    pub choices: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub name: String,
    pub schema: Value,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    Named(String),
}

/// Input tokens in disjoint classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    pub fresh: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
}

impl Input {
    pub(crate) fn total(&self) -> u64 {
        self.fresh + self.cache_read + self.cache_write_5m + self.cache_write_1h
    }

    pub(crate) fn cache_write(&self) -> u64 {
        self.cache_write_5m + self.cache_write_1h
    }
}

/// How long a cached prefix is asked to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    FiveMinutes,
    OneHour,
}

/// The end of one block of the prompt: what came before it, and whether it asks to be cached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary {
    pub hash: u64,
    pub bytes: usize,
    pub marker: Option<Ttl>,
}

/// What an image counts as, whatever its size, in bytes of text (85 tokens).
const IMAGE_BYTES: usize = 85 * 4;

/// Weighs a prompt as it is read, and remembers its boundaries when caching is in play.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub bytes: usize,
    pub boundaries: Vec<Boundary>,
    hasher: Option<DefaultHasher>,
}

impl Meter {
    pub(crate) fn new(caching: bool) -> Self {
        Self { hasher: caching.then(DefaultHasher::new), ..Self::default() }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes += text.len();
        if let Some(hasher) = &mut self.hasher {
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
    }

    pub(crate) fn json(&mut self, value: &Value) {
        self.text(&value.to_string());
    }

    pub(crate) fn image(&mut self) {
        self.bytes += IMAGE_BYTES;
        if let Some(hasher) = &mut self.hasher {
            hasher.write_u8(0xfe);
        }
    }

    /// Ends a block of the prompt.
    pub(crate) fn boundary(&mut self, marker: Option<Ttl>) {
        if let Some(hasher) = &self.hasher {
            self.boundaries.push(Boundary { hash: hasher.finish(), bytes: self.bytes, marker });
        }
    }

    /// Input tokens without any caching.
    pub(crate) fn plain(&self) -> Input {
        Input { fresh: tokens(self.bytes).max(1), ..Input::default() }
    }
}
