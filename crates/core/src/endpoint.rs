//! The closed list of endpoints and the one function that maps a path to it; a path not listed here is 404.

use crate::{Dialect, Scope};
use std::borrow::Cow;

/// Something a caller can ask for. The scope of each is part of its definition, so a route without one cannot exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Endpoint {
    ChatCompletions = 0,
    Completions = 1,
    Responses = 2,
    Embeddings = 3,
    Messages = 4,
    CountTokens = 5,
    GenerateContent = 6,
    StreamGenerateContent = 7,
    GeminiCountTokens = 8,
    EmbedContent = 9,
    BatchEmbedContents = 10,
    ModelList = 11,
    ModelGet = 12,
    KeySelf = 13,
    Generation = 14,
    TempKey = 15,
    TempKeyEnd = 16,
    ClientSecret = 17,
    Moderations = 18,
    Rerank = 19,
    ImageGenerations = 20,
    ImageEdits = 21,
    ImageVariations = 22,
    Speech = 23,
    Transcriptions = 24,
    Translations = 25,
}

impl Endpoint {
    pub const ALL: [Endpoint; 26] = [
        Endpoint::ChatCompletions,
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Embeddings,
        Endpoint::Messages,
        Endpoint::CountTokens,
        Endpoint::GenerateContent,
        Endpoint::StreamGenerateContent,
        Endpoint::GeminiCountTokens,
        Endpoint::EmbedContent,
        Endpoint::BatchEmbedContents,
        Endpoint::ModelList,
        Endpoint::ModelGet,
        Endpoint::KeySelf,
        Endpoint::Generation,
        Endpoint::TempKey,
        Endpoint::TempKeyEnd,
        Endpoint::ClientSecret,
        Endpoint::Moderations,
        Endpoint::Rerank,
        Endpoint::ImageGenerations,
        Endpoint::ImageEdits,
        Endpoint::ImageVariations,
        Endpoint::Speech,
        Endpoint::Transcriptions,
        Endpoint::Translations,
    ];

    /// The name in records and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "chat_completions",
            Endpoint::Completions => "completions",
            Endpoint::Responses => "responses",
            Endpoint::Embeddings => "embeddings",
            Endpoint::Messages => "messages",
            Endpoint::CountTokens => "count_tokens",
            Endpoint::GenerateContent => "generate_content",
            Endpoint::StreamGenerateContent => "stream_generate_content",
            Endpoint::GeminiCountTokens => "gemini_count_tokens",
            Endpoint::EmbedContent => "embed_content",
            Endpoint::BatchEmbedContents => "batch_embed_contents",
            Endpoint::ModelList => "model_list",
            Endpoint::ModelGet => "model_get",
            Endpoint::KeySelf => "key",
            Endpoint::Generation => "generation",
            Endpoint::TempKey => "temp_key",
            Endpoint::TempKeyEnd => "temp_key_end",
            Endpoint::ClientSecret => "client_secret",
            Endpoint::Moderations => "moderations",
            Endpoint::Rerank => "rerank",
            Endpoint::ImageGenerations => "image_generations",
            Endpoint::ImageEdits => "image_edits",
            Endpoint::ImageVariations => "image_variations",
            Endpoint::Speech => "speech",
            Endpoint::Transcriptions => "transcriptions",
            Endpoint::Translations => "translations",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    pub const fn scope(self) -> Scope {
        match self {
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Responses
            | Endpoint::Messages
            | Endpoint::CountTokens
            | Endpoint::GenerateContent
            | Endpoint::StreamGenerateContent
            | Endpoint::GeminiCountTokens
            | Endpoint::TempKey
            | Endpoint::TempKeyEnd
            | Endpoint::ClientSecret
            | Endpoint::Moderations
            | Endpoint::ImageGenerations
            | Endpoint::ImageEdits
            | Endpoint::ImageVariations
            | Endpoint::Speech
            | Endpoint::Transcriptions
            | Endpoint::Translations => Scope::CompletionsWrite,
            Endpoint::Embeddings | Endpoint::EmbedContent | Endpoint::BatchEmbedContents | Endpoint::Rerank => {
                Scope::EmbeddingsWrite
            }
            Endpoint::ModelList | Endpoint::ModelGet => Scope::ModelsRead,
            Endpoint::KeySelf | Endpoint::Generation => Scope::UsageRead,
        }
    }

    pub const fn method(self) -> &'static str {
        if self.is_read() { "GET" } else { "POST" }
    }

    /// Mints or ends a temporary key. Answered by anykey itself; no provider is called.
    pub const fn is_minting(self) -> bool {
        matches!(self, Endpoint::TempKey | Endpoint::TempKeyEnd | Endpoint::ClientSecret)
    }

    /// Answered by anykey itself; no provider is called.
    pub const fn is_read(self) -> bool {
        matches!(self, Endpoint::ModelList | Endpoint::ModelGet | Endpoint::KeySelf | Endpoint::Generation)
    }

    /// Counting tokens is free at every provider that offers it.
    pub const fn is_free(self) -> bool {
        matches!(self, Endpoint::CountTokens | Endpoint::GeminiCountTokens) || self.is_read() || self.is_minting()
    }

    /// No tokens come out of it, whatever goes in.
    pub const fn is_without_output(self) -> bool {
        matches!(
            self,
            Endpoint::Embeddings
                | Endpoint::EmbedContent
                | Endpoint::BatchEmbedContents
                | Endpoint::Moderations
                | Endpoint::Rerank
        )
    }

    /// What it is charged by is its provider's choice: tokens, or things that are counted one by one.
    pub const fn counts_items(self) -> bool {
        matches!(self, Endpoint::Rerank) || self.is_image() || self.is_audio()
    }

    /// Makes pictures.
    pub const fn is_image(self) -> bool {
        matches!(self, Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations)
    }

    const fn is_audio(self) -> bool {
        self.hears() || matches!(self, Endpoint::Speech)
    }

    /// Writes down what it hears.
    pub const fn hears(self) -> bool {
        matches!(self, Endpoint::Transcriptions | Endpoint::Translations)
    }

    /// Its body may be a form.
    pub const fn takes_form(self) -> bool {
        self.takes_only_form() || matches!(self, Endpoint::ImageEdits)
    }

    /// Its body is a form and nothing else.
    pub const fn takes_only_form(self) -> bool {
        self.hears() || matches!(self, Endpoint::ImageVariations)
    }

    /// The model that is meant where a caller names none, as the provider's own SDK lets them.
    pub const fn default_model(self) -> Option<&'static str> {
        match self {
            Endpoint::Moderations => Some("omni-moderation-latest"),
            _ => None,
        }
    }

    /// The path at a provider of the endpoint's dialect, after its base URL. Gemini's hold the model.
    pub fn upstream_path(self, model: &str) -> Cow<'static, str> {
        match self {
            Endpoint::ChatCompletions => "/chat/completions".into(),
            Endpoint::Completions => "/completions".into(),
            Endpoint::Responses => "/responses".into(),
            Endpoint::Embeddings => "/embeddings".into(),
            Endpoint::Messages => "/v1/messages".into(),
            Endpoint::CountTokens => "/v1/messages/count_tokens".into(),
            Endpoint::GenerateContent => gemini(model, "generateContent").into(),
            Endpoint::StreamGenerateContent => gemini(model, "streamGenerateContent").into(),
            Endpoint::GeminiCountTokens => gemini(model, "countTokens").into(),
            Endpoint::EmbedContent => gemini(model, "embedContent").into(),
            Endpoint::BatchEmbedContents => gemini(model, "batchEmbedContents").into(),
            Endpoint::Moderations => "/moderations".into(),
            Endpoint::Rerank => "/rerank".into(),
            Endpoint::ImageGenerations => "/images/generations".into(),
            Endpoint::ImageEdits => "/images/edits".into(),
            Endpoint::ImageVariations => "/images/variations".into(),
            Endpoint::Speech => "/audio/speech".into(),
            Endpoint::Transcriptions => "/audio/transcriptions".into(),
            Endpoint::Translations => "/audio/translations".into(),
            Endpoint::ModelList => "/models".into(),
            Endpoint::ModelGet => format!("/models/{}", encode_segment(model)).into(),
            Endpoint::KeySelf
            | Endpoint::Generation
            | Endpoint::TempKey
            | Endpoint::TempKeyEnd
            | Endpoint::ClientSecret => "".into(),
        }
    }
}

fn gemini(model: &str, method: &str) -> String {
    format!("/v1beta/models/{}:{method}", encode_segment(model))
}

/// Where a request is going: the endpoint, the dialect to answer in, and what the path itself names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub endpoint: Endpoint,
    pub dialect: Dialect,
    /// The model or the id in the path, decoded.
    pub subject: Option<String>,
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    NotFound,
    /// The path exists; the method is another.
    MethodNotAllowed(&'static str),
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    BadEncoding,
}

/// What the headers say of the caller, for the paths that several dialects share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    pub anthropic_version: bool,
    /// `x-goog-api-key` or `x-goog-api-client`.
    pub goog: bool,
}

/// The dialect in which to refuse a path, known even where the path leads nowhere.
pub fn dialect_of(path: &str, hints: Hints) -> Dialect {
    let rest = strip_prefix(path).map_or(path, |(_, rest)| rest);
    let path = path.trim_start_matches('/');
    let list = rest.starts_with("models");
    let gemini_method = rest.starts_with("models/") && rest.contains(':');
    if path.starts_with("v1beta") || gemini_method {
        Dialect::Gemini
    } else if path.starts_with("anthropic/") || rest.starts_with("messages") || (list && hints.anthropic_version) {
        Dialect::Anthropic
    } else if list && hints.goog {
        Dialect::Gemini
    } else {
        Dialect::OpenAi
    }
}

/// Which of the listed prefixes a path has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Any,
    Anthropic,
    Gemini,
    /// Cohere's second version, of which rerank is served.
    Second,
}

/// Takes a listed prefix off, and the second slash of a base URL that ended in one.
fn strip_prefix(path: &str) -> Option<(Prefix, &str)> {
    let path = if path.starts_with("//") { &path[1..] } else { path };
    let prefixes = [
        ("/v1/", Prefix::Any),
        ("/api/v1/", Prefix::Any),
        ("/openai/v1/", Prefix::Any),
        ("/anthropic/v1/", Prefix::Anthropic),
        ("/v1beta/", Prefix::Gemini),
        ("/v2/", Prefix::Second),
    ];
    prefixes.into_iter().find_map(|(text, prefix)| {
        let rest = path.strip_prefix(text)?;
        Some((prefix, rest.strip_prefix('/').unwrap_or(rest)))
    })
}

/// Maps method and raw path (without the query) to an endpoint. Fixed parts match to the byte; only the model or id in
/// a path may be percent-encoded.
pub fn route(method: &str, path: &str, hints: Hints) -> Result<Route, NoRoute> {
    check_encoding(path)?;
    let (prefix, rest) = strip_prefix(path).ok_or(NoRoute::NotFound)?;
    let (endpoint, subject) = find(rest).ok_or(NoRoute::NotFound)?;
    let dialect = match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => Dialect::Anthropic,
        Endpoint::GenerateContent
        | Endpoint::StreamGenerateContent
        | Endpoint::GeminiCountTokens
        | Endpoint::EmbedContent
        | Endpoint::BatchEmbedContents => Dialect::Gemini,
        Endpoint::ModelList | Endpoint::ModelGet => dialect_of(path, hints),
        _ => Dialect::OpenAi,
    };
    let served = match prefix {
        Prefix::Any => true,
        Prefix::Anthropic => dialect == Dialect::Anthropic,
        Prefix::Gemini => dialect == Dialect::Gemini,
        Prefix::Second => endpoint == Endpoint::Rerank,
    };
    if !served {
        return Err(NoRoute::NotFound);
    }
    if method != endpoint.method() {
        return Err(NoRoute::MethodNotAllowed(endpoint.method()));
    }
    let subject = subject.map(|s| percent_decode(s).ok_or(NoRoute::BadEncoding)).transpose()?;
    if subject.as_deref().is_some_and(|s| !is_subject(s)) {
        return Err(NoRoute::NotFound);
    }
    Ok(Route { endpoint, dialect, subject })
}

fn find(rest: &str) -> Option<(Endpoint, Option<&str>)> {
    let fixed = match rest {
        "chat/completions" => Some(Endpoint::ChatCompletions),
        "completions" => Some(Endpoint::Completions),
        "responses" => Some(Endpoint::Responses),
        "embeddings" => Some(Endpoint::Embeddings),
        "messages" => Some(Endpoint::Messages),
        "messages/count_tokens" => Some(Endpoint::CountTokens),
        "moderations" => Some(Endpoint::Moderations),
        "rerank" => Some(Endpoint::Rerank),
        "images/generations" => Some(Endpoint::ImageGenerations),
        "images/edits" => Some(Endpoint::ImageEdits),
        "images/variations" => Some(Endpoint::ImageVariations),
        "audio/speech" => Some(Endpoint::Speech),
        "audio/transcriptions" => Some(Endpoint::Transcriptions),
        "audio/translations" => Some(Endpoint::Translations),
        "models" => Some(Endpoint::ModelList),
        "key" => Some(Endpoint::KeySelf),
        "generation" => Some(Endpoint::Generation),
        "key/temp" => Some(Endpoint::TempKey),
        "key/temp/end" => Some(Endpoint::TempKeyEnd),
        "realtime/client_secrets" => Some(Endpoint::ClientSecret),
        _ => None,
    };
    if let Some(endpoint) = fixed {
        return Some((endpoint, None));
    }
    if let Some(id) = rest.strip_prefix("generation/") {
        return (!id.contains('/')).then_some((Endpoint::Generation, Some(id)));
    }
    let subject = rest.strip_prefix("models/")?;
    let (model, method) = match subject.rsplit_once(':') {
        Some((model, method)) => (model, Some(method)),
        None => (subject, None),
    };
    let endpoint = match method {
        Some("generateContent") => Endpoint::GenerateContent,
        Some("streamGenerateContent") => Endpoint::StreamGenerateContent,
        Some("countTokens") => Endpoint::GeminiCountTokens,
        Some("embedContent") => Endpoint::EmbedContent,
        Some("batchEmbedContents") => Endpoint::BatchEmbedContents,
        // Model names may hold a colon themselves: `llama3:8b`.
        _ => return Some((Endpoint::ModelGet, Some(subject))),
    };
    Some((endpoint, Some(model)))
}

/// Model names and ids: no empty part, no dot segments, nothing that a path or a log could trip over.
fn is_subject(text: &str) -> bool {
    text.len() <= 256
        && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '\\' | ';' | '#'))
}

fn check_encoding(path: &str) -> Result<(), NoRoute> {
    percent_decode(path).map(|_| ()).ok_or(NoRoute::BadEncoding)
}

/// Decodes `%xx`; `None` where the escape is broken or the result is not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let [high, low, after @ ..] = tail else { return None };
            let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
            bytes.push(digit(*high)? << 4 | digit(*low)?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Encodes what may not stand in a path segment; `/` stays, since model names hold it.
pub fn encode_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~/@=&,".contains(&b) {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(method: &str, path: &str) -> Result<(Endpoint, Dialect, Option<String>), NoRoute> {
        route(method, path, Hints::default()).map(|r| (r.endpoint, r.dialect, r.subject))
    }

    #[test]
    fn every_listed_prefix_leads_to_the_same_place() {
        for prefix in ["/v1", "/api/v1", "/openai/v1", "//v1", "/v1/", "/api/v1/"] {
            assert_eq!(
                to("POST", &format!("{prefix}/chat/completions")),
                Ok((Endpoint::ChatCompletions, Dialect::OpenAi, None)),
                "{prefix}"
            );
        }
        assert_eq!(to("POST", "/anthropic/v1/messages"), Ok((Endpoint::Messages, Dialect::Anthropic, None)));
        assert_eq!(to("POST", "/anthropic/v1/chat/completions"), Err(NoRoute::NotFound));
        assert_eq!(to("POST", "/v1beta/messages"), Err(NoRoute::NotFound));
        for path in ["/v1/rerank", "/v2/rerank"] {
            assert_eq!(to("POST", path), Ok((Endpoint::Rerank, Dialect::OpenAi, None)), "{path}");
        }
        assert_eq!(to("POST", "/v2/chat/completions"), Err(NoRoute::NotFound));
    }

    #[test]
    fn gemini_paths_name_their_model() {
        for path in [
            "/v1beta/models/sim/echo:generateContent",
            "/v1/models/sim%2Fecho:generateContent",
            "/v1beta/models/sim%2fecho:generateContent",
        ] {
            assert_eq!(
                to("POST", path),
                Ok((Endpoint::GenerateContent, Dialect::Gemini, Some("sim/echo".into()))),
                "{path}"
            );
        }
        assert_eq!(
            to("GET", "/v1/models/ollama/llama3:8b"),
            Ok((Endpoint::ModelGet, Dialect::Gemini, Some("ollama/llama3:8b".into())))
        );
    }

    #[test]
    fn paths_are_never_normalised_into_another_route() {
        for path in [
            "/v1/./messages",
            "/v1/x/../messages",
            "/v1/%2e%2e/admin",
            "/v1%2Fmessages",
            "/v1/messages/",
            "/V1/messages",
            "/v1/messages;a=b",
            "/v1/messages%00",
            "/",
            "",
            "/v1",
            "/v1/",
            "/v1///messages",
            "///v1/messages",
            "/v1/models/../messages",
            "/v1/models/%2e%2e/x",
            "/v1/generation/a/b",
            "/v1beta/models/:generateContent",
        ] {
            assert_eq!(to("POST", path).err().map(|e| e == NoRoute::BadEncoding), Some(false), "{path}");
        }
        for path in ["/v1/%zz", "/v1/messages%", "/v1/%c0%ae", "/v1/models/%ff"] {
            assert_eq!(to("POST", path), Err(NoRoute::BadEncoding), "{path}");
        }
    }

    #[test]
    fn the_shared_list_follows_the_headers() {
        let list = |hints| route("GET", "/v1/models", hints).map(|r| r.dialect);
        assert_eq!(list(Hints::default()), Ok(Dialect::OpenAi));
        assert_eq!(list(Hints { anthropic_version: true, goog: false }), Ok(Dialect::Anthropic));
        assert_eq!(list(Hints { anthropic_version: false, goog: true }), Ok(Dialect::Gemini));
        assert_eq!(to("GET", "/v1beta/models"), Ok((Endpoint::ModelList, Dialect::Gemini, None)));
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        assert_eq!(to("GET", "/v1/messages"), Err(NoRoute::MethodNotAllowed("POST")));
        assert_eq!(to("DELETE", "/v1/models"), Err(NoRoute::MethodNotAllowed("GET")));
    }

    proptest! {
        #[test]
        fn noise_never_panics(path in "/?(v1|v1beta|api)?/{0,3}.{0,60}") {
            let _ = to("POST", &path);
            let _ = dialect_of(&path, Hints::default());
        }

        #[test]
        fn segments_round_trip(text in "\\PC{0,40}") {
            prop_assert_eq!(percent_decode(&encode_segment(&text)), Some(text));
        }
    }
}
