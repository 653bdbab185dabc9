//! The head of a request: what the gateway acts on, read in one strict pass over the body.

use anykey_core::{Endpoint, Refusal};

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
    /// Whether input counts that is not in the body: stored conversations, files, URLs, server-side tools.
    pub unbounded: bool,
    /// Embeddings are asked for as base64.
    pub encoding_base64: bool,
}

/// Reads a body: all of it is validated, and only what the gateway acts on is kept.
pub fn scan(_endpoint: Endpoint, _body: &[u8]) -> Result<Head, Refusal> {
    unreachable!("the body of this function comes with the next commit")
}
