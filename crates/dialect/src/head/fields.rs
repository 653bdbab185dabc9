//! Which members of a body the gateway acts on, by endpoint, and the guards against saying one of them twice.

use anykey_core::refusal::echo;
use anykey_core::{Code, Endpoint, Refusal};
use std::borrow::Cow;
use std::collections::HashSet;

/// A member that is read. Spellings that mean the same are one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Model,
    Stream,
    StreamOptions,
    /// A bound on output tokens.
    Bound,
    /// How many answers.
    Count,
    /// A completion's prompt or prompts.
    Prompt,
    /// Messages, input items or contents, which may point to things outside of the body.
    Content,
    Tools,
    /// Input or work that isn't in the body, when it is set at all.
    Outside,
    EncodingFormat,
    GenerationConfig,
    /// Gemini's list of embedding requests, each with a model of its own.
    Requests,
    /// Gemini's wrapped request, when tokens are counted.
    WrappedRequest,
    /// An SDK's way to add members, sent as one: some providers merge it into the body.
    ExtraBody,
    /// What documents are ranked by.
    Query,
    Documents,
    /// What is spoken or drawn.
    Text,
    Size,
    Quality,
    /// How the answer is written.
    Format,
    /// Whether it comes as events.
    Events,
    /// Pictures that go in.
    Pictures,
    /// How many unfinished pictures come before the finished one.
    Partial,
}

type Row = (&'static str, Field);

const CHAT: &[Row] = &[
    ("extra_body", Field::ExtraBody),
    ("model", Field::Model),
    ("messages", Field::Content),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("max_tokens", Field::Bound),
    ("max_completion_tokens", Field::Bound),
    ("n", Field::Count),
    ("tools", Field::Tools),
    ("web_search_options", Field::Outside),
    // Routers that are providers themselves: other models than the one that was checked, and paid extras.
    ("models", Field::Outside),
    ("plugins", Field::Outside),
];

const COMPLETIONS: &[Row] = &[
    ("extra_body", Field::ExtraBody),
    ("model", Field::Model),
    ("prompt", Field::Prompt),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("max_tokens", Field::Bound),
    ("n", Field::Count),
    ("best_of", Field::Count),
    ("models", Field::Outside),
];

const RESPONSES: &[Row] = &[
    ("extra_body", Field::ExtraBody),
    ("model", Field::Model),
    ("input", Field::Content),
    ("stream", Field::Stream),
    ("max_output_tokens", Field::Bound),
    ("tools", Field::Tools),
    ("previous_response_id", Field::Outside),
    ("conversation", Field::Outside),
    ("prompt", Field::Outside),
];

const EMBEDDINGS: &[Row] =
    &[("model", Field::Model), ("encoding_format", Field::EncodingFormat), ("extra_body", Field::ExtraBody)];

const MODERATIONS: &[Row] = &[("model", Field::Model), ("input", Field::Content), ("extra_body", Field::ExtraBody)];

const RERANK: &[Row] = &[
    ("model", Field::Model),
    ("query", Field::Query),
    ("documents", Field::Documents),
    ("extra_body", Field::ExtraBody),
];

const IMAGES: &[Row] = &[
    ("model", Field::Model),
    ("prompt", Field::Text),
    ("n", Field::Count),
    ("size", Field::Size),
    ("quality", Field::Quality),
    ("stream", Field::Stream),
    ("partial_images", Field::Partial),
    ("images", Field::Pictures),
    ("image", Field::Pictures),
    ("mask", Field::Pictures),
    ("response_format", Field::Format),
    ("extra_body", Field::ExtraBody),
];

const SPEECH: &[Row] = &[
    ("model", Field::Model),
    ("input", Field::Text),
    ("response_format", Field::Format),
    ("stream_format", Field::Events),
    ("extra_body", Field::ExtraBody),
];

const HEARD: &[Row] = &[
    ("model", Field::Model),
    ("prompt", Field::Text),
    ("stream", Field::Stream),
    ("response_format", Field::Format),
    ("file", Field::Pictures),
];

const MESSAGES: &[Row] = &[
    ("extra_body", Field::ExtraBody),
    ("model", Field::Model),
    ("messages", Field::Content),
    ("system", Field::Content),
    ("stream", Field::Stream),
    ("max_tokens", Field::Bound),
    ("tools", Field::Tools),
    ("mcp_servers", Field::Outside),
    ("container", Field::Outside),
];

const GENERATE: &[Row] = &[
    ("model", Field::Model),
    ("contents", Field::Content),
    ("systemInstruction", Field::Content),
    ("system_instruction", Field::Content),
    ("generationConfig", Field::GenerationConfig),
    ("generation_config", Field::GenerationConfig),
    ("tools", Field::Tools),
    ("cachedContent", Field::Outside),
    ("cached_content", Field::Outside),
];

const GEMINI_COUNT: &[Row] = &[
    ("model", Field::Model),
    ("generateContentRequest", Field::WrappedRequest),
    ("generate_content_request", Field::WrappedRequest),
];

const EMBED: &[Row] = &[("model", Field::Model), ("content", Field::Content)];

const BATCH_EMBED: &[Row] = &[("model", Field::Model), ("requests", Field::Requests)];

/// Everything of [`GENERATE`] inside a `generationConfig`.
pub const GENERATION_CONFIG: &[Row] = &[
    ("maxOutputTokens", Field::Bound),
    ("max_output_tokens", Field::Bound),
    ("candidateCount", Field::Count),
    ("candidate_count", Field::Count),
];

pub const STREAM_OPTIONS: &[Row] = &[("include_usage", Field::Stream)];

pub const fn rows(endpoint: Endpoint) -> &'static [Row] {
    match endpoint {
        Endpoint::ChatCompletions => CHAT,
        Endpoint::Completions => COMPLETIONS,
        Endpoint::Responses => RESPONSES,
        Endpoint::Embeddings => EMBEDDINGS,
        Endpoint::Moderations => MODERATIONS,
        Endpoint::Rerank => RERANK,
        Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => IMAGES,
        Endpoint::Speech => SPEECH,
        Endpoint::Transcriptions | Endpoint::Translations => HEARD,
        Endpoint::Messages | Endpoint::CountTokens => MESSAGES,
        Endpoint::GenerateContent | Endpoint::StreamGenerateContent => GENERATE,
        Endpoint::GeminiCountTokens => GEMINI_COUNT,
        Endpoint::EmbedContent => EMBED,
        Endpoint::BatchEmbedContents => BATCH_EMBED,
        Endpoint::ModelList
        | Endpoint::ModelGet
        | Endpoint::KeySelf
        | Endpoint::Generation
        | Endpoint::TempKey
        | Endpoint::TempKeyEnd
        | Endpoint::ClientSecret => &[],
    }
}

/// Finds members and refuses the ways to say one twice: the same key again, a second spelling of it, and a spelling that
/// differs in case only, which some providers' parsers take for the same.
pub struct Members<'a> {
    rows: &'static [Row],
    /// Before the key in messages: `stream_options.`.
    prefix: &'static str,
    /// Parsers of the OpenAI-compatible world may fold case; Gemini's does not, and its keys are in camel case.
    fold: bool,
    seen: Vec<Cow<'a, str>>,
    /// Takes over when `seen` would be slow to search.
    many: HashSet<Cow<'a, str>>,
}

const FEW: usize = 32;

impl<'a> Members<'a> {
    pub fn new(rows: &'static [Row], prefix: &'static str, fold: bool) -> Self {
        Members { rows, prefix, fold, seen: Vec::with_capacity(16), many: HashSet::new() }
    }

    /// Refuses a key of a nested object that a provider may merge over one that is read here.
    pub fn refuse_nested(&self, parent: &str, key: &str) -> Result<(), Refusal> {
        let Some((name, _)) = self.rows.iter().find(|(name, _)| folds_to(key, name)) else { return Ok(()) };
        let message = format!(
            "`{name}` stands inside `{parent}`, where some providers take it for the body's own. Put it into the body."
        );
        Err(Refusal::new(Code::DuplicateJsonKey, message).param(format!("{parent}.{name}")))
    }

    /// The field that a key names, if it is one that is read, with its canonical spelling.
    pub fn find(&mut self, key: Cow<'a, str>) -> Result<Option<Row>, Refusal> {
        let row = self.rows.iter().copied().find(|(name, _)| *name == key);
        match row {
            Some(row) => self.refuse_second_spelling(row)?,
            None if self.fold => self.refuse_lookalike(&key)?,
            None => {}
        }
        if !self.insert(key.clone()) {
            return Err(self.duplicate(&key));
        }
        Ok(row)
    }

    /// The field of this name, which may come many times.
    pub fn named(&self, key: &str) -> Option<Row> {
        self.rows.iter().copied().find(|(name, _)| *name == key)
    }

    fn insert(&mut self, key: Cow<'a, str>) -> bool {
        if self.many.is_empty() {
            if self.seen.contains(&key) {
                return false;
            }
            self.seen.push(key);
            if self.seen.len() > FEW {
                self.many.extend(self.seen.iter().cloned());
            }
            return true;
        }
        self.many.insert(key)
    }

    fn has(&self, key: &str) -> bool {
        if self.many.is_empty() { self.seen.iter().any(|k| k == key) } else { self.many.contains(key) }
    }

    /// `max_tokens` beside `max_completion_tokens` is one thing said twice on purpose; `maxOutputTokens` beside
    /// `max_output_tokens` is one member said twice.
    fn refuse_second_spelling(&self, (name, field): Row) -> Result<(), Refusal> {
        // Only the tables of Gemini, whose keys are not folded, have two spellings.
        if self.fold {
            return Ok(());
        }
        let twin = |(other, f): &&Row| *f == field && *other != name && is_twin(other, name);
        match self.rows.iter().find(twin) {
            Some((other, _)) if self.has(other) => Err(self.duplicate(name)),
            _ => Ok(()),
        }
    }

    fn duplicate(&self, key: &str) -> Refusal {
        let key = echo(key);
        Refusal::new(
            Code::DuplicateJsonKey,
            format!(
                "`{}{key}` is given more than once. Send each member once: readers differ in which one they take.",
                self.prefix
            ),
        )
        .param(format!("{}{key}", self.prefix))
    }

    fn refuse_lookalike(&self, key: &str) -> Result<(), Refusal> {
        if key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Ok(());
        }
        let Some((name, _)) = self.rows.iter().find(|(name, _)| folds_to(key, name)) else { return Ok(()) };
        let key = echo(key);
        Err(Refusal::new(
            Code::InvalidParameter,
            format!(
                "`{}{key}` differs from `{name}` only in case, and some providers take it for that. Write `{name}`.",
                self.prefix
            ),
        )
        .param(format!("{}{key}", self.prefix)))
    }
}

/// Two spellings of one proto field: camel case and snake case.
fn is_twin(a: &str, b: &str) -> bool {
    fn letters(s: &str) -> impl Iterator<Item = u8> + '_ {
        s.bytes().filter(|b| *b != b'_').map(|b| b.to_ascii_lowercase())
    }
    letters(a).eq(letters(b))
}

/// Equal when case is ignored the way Go's JSON decoder does: ASCII, the long s and the Kelvin sign.
fn folds_to(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars())
}
