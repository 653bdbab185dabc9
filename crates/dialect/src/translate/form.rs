//! The form between the dialects: what a conversation, an answer and a stream mean, in no provider's words. Readers make
//! it, writers spell it; nothing is translated from one dialect to another directly.

use super::seal::Signature;
use crate::value::{Json, Object};

/// A call for a model to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub stream: bool,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub choice: Option<Choice>,
    /// Whether several tools may be called in one answer.
    pub parallel: Option<bool>,
    pub sampling: Sampling,
    pub reasoning: Option<Reasoning>,
    pub format: Option<Format>,
    /// Who the caller's own user is, for the provider's abuse checks.
    pub user: Option<String>,
    /// Members that the two OpenAI dialects share and nobody else has; one without them names each as dropped.
    pub openai: Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

/// What one side said.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub blocks: Vec<Block>,
}

/// A piece of a turn or of an answer, with the mark that a prompt cache may end behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub body: Body,
    pub cache: Option<CacheMark>,
}

/// A prompt cache may hold everything up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMark {
    /// Five minutes, the usual.
    Short,
    Hour,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Text {
        text: String,
        citations: Vec<Citation>,
    },
    Image {
        source: Source,
        detail: Option<String>,
    },
    /// Sound in a format by its short name (`wav`).
    Audio {
        data: String,
        format: String,
    },
    File {
        source: Source,
        name: Option<String>,
    },
    /// What only its provider can read has a signature and no text.
    Thinking {
        text: String,
        signature: Option<Signature>,
    },
    ToolUse {
        id: String,
        name: String,
        arguments: String,
        signature: Option<Signature>,
    },
    ToolResult {
        id: String,
        name: Option<String>,
        content: Vec<Block>,
        failed: bool,
    },
    Refusal(String),
}

impl From<Body> for Block {
    fn from(body: Body) -> Self {
        Block { body, cache: None }
    }
}

impl Body {
    pub fn text(text: impl Into<String>) -> Body {
        Body::Text { text: text.into(), citations: Vec::new() }
    }
}

/// Where content is.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Url {
        url: String,
        media_type: Option<String>,
    },
    /// Base64, and what it is.
    Inline {
        media_type: String,
        data: String,
    },
    /// Plain text of a document.
    Text(String),
}

/// Where a statement comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    pub url: String,
    pub title: Option<String>,
    /// Characters of the text that it stands for, from and to; where the provider says so.
    pub range: Option<(u64, u64)>,
}

/// A function that the caller runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub schema: Option<Json>,
    pub strict: Option<bool>,
    pub cache: Option<CacheMark>,
}

/// Whether a tool is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Auto,
    None,
    /// Any one of them.
    Required,
    Named(String),
    /// Any one of these, or none of them.
    Among {
        names: Vec<String>,
        required: bool,
    },
}

/// A number as it was written.
pub type Number = String;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    pub max_tokens: Option<u64>,
    pub n: Option<u64>,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<u64>,
    pub seed: Option<Number>,
    pub presence: Option<Number>,
    pub frequency: Option<Number>,
    pub stop: Vec<String>,
    /// Log probabilities of the answer's tokens, with so many alternatives each.
    pub logprobs: Option<u64>,
}

/// How much a model should think before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoning {
    pub level: Level,
    /// Whether the caller wants to see the thinking; `None` leaves it to the provider.
    pub show: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Off,
    Effort(Effort),
    /// Tokens.
    Budget(u64),
    /// As much as the model thinks right.
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    Highest,
}

/// What the answer's text has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Any JSON object.
    Json,
    Schema {
        name: Option<String>,
        description: Option<String>,
        schema: Json,
        strict: Option<bool>,
    },
}

/// What a model said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's own name for it; empty where it has none.
    pub id: String,
    pub candidates: Vec<Candidate>,
    /// What the form has no place for, by the provider's names.
    pub left_out: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub blocks: Vec<Block>,
    pub stop: Stop,
    /// In OpenAI's shape; null where there are none.
    pub logprobs: Json,
}

/// Why a model stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    #[default]
    End,
    /// The bound on output tokens, or the context window.
    Length,
    /// A stop sequence, where it is known which.
    Sequence(Option<String>),
    ToolUse,
    /// The model or a filter would not say it.
    Refused,
}

/// A step of a streamed answer. Of each candidate at most one block is open.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Start {
        id: String,
    },
    /// A block begins; what it holds already is its beginning.
    Open {
        candidate: usize,
        body: Body,
    },
    Delta {
        candidate: usize,
        delta: Delta,
    },
    Close {
        candidate: usize,
    },
    /// The candidate is whole.
    Stop {
        candidate: usize,
        stop: Stop,
    },
    /// The answer is whole.
    End,
    /// Something came that the form has no place for, by the provider's name.
    LeftOut(&'static str),
    /// The provider reports that it failed; in these words, where the meter has not read better ones.
    Failed(Option<String>),
}

/// More of the block that is open.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Of text, thinking or a refusal, whichever is open.
    Text(String),
    /// Of a tool's arguments.
    Arguments(String),
    Signature(Signature),
    Citation(Citation),
    /// Log probabilities of what was said last, in OpenAI's shape.
    Logprobs(Json),
}
