//! The kinds of provider that anykey knows by name: where each is reached, how it is spoken to and what it serves. A row
//! of this table is all that one more OpenAI-compatible provider needs.

use crate::{Dialect, Endpoint};

/// Which header carries the provider's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// `Authorization: Bearer ...`
    Bearer,
    /// `x-api-key: ...`
    XApiKey,
    /// `x-goog-api-key: ...`
    XGoogApiKey,
}

impl Auth {
    /// The header's name in lower case.
    pub const fn header(self) -> &'static str {
        match self {
            Auth::Bearer => "authorization",
            Auth::XApiKey => "x-api-key",
            Auth::XGoogApiKey => "x-goog-api-key",
        }
    }

    /// What stands before the credential in the header's value.
    pub const fn prefix(self) -> &'static str {
        match self {
            Auth::Bearer => "Bearer ",
            Auth::XApiKey | Auth::XGoogApiKey => "",
        }
    }

    /// The carrier that a dialect's own SDK uses.
    pub const fn of(dialect: Dialect) -> Auth {
        match dialect {
            Dialect::OpenAi => Auth::Bearer,
            Dialect::Anthropic => Auth::XApiKey,
            Dialect::Gemini => Auth::XGoogApiKey,
        }
    }
}

/// A kind of provider. Many providers of one kind may be configured, each with a name, a base URL and a credential of
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderKind {
    /// As in settings: `kind = "openai"`.
    pub name: &'static str,
    /// As people write it.
    pub title: &'static str,
    /// The dialect to translate to where a caller speaks one that this kind does not.
    pub dialect: Dialect,
    /// As in the provider's own SDK: OpenAI-compatible ones with their version, Anthropic and Gemini without. `None`
    /// where only the operator can know it.
    pub base_url: Option<&'static str>,
    pub auth: Auth,
    /// Servers that people run themselves often ask for no credential.
    pub needs_key: bool,
    /// The endpoints that exist there; of several dialects only for the practice provider.
    pub serves: &'static [Endpoint],
    /// Under which provider the price catalogue lists its models. Where the catalogue has none it is the kind's own
    /// name, so that an operator's prices have a place.
    pub catalogue: &'static str,
    /// The path after the base URL that lists its models, where it has one.
    pub list_path: Option<&'static str>,
}

impl ProviderKind {
    pub fn serves(&self, endpoint: Endpoint) -> bool {
        self.serves.contains(&endpoint)
    }

    /// Whether it does the work of an endpoint for nothing, whatever the model.
    pub fn is_free(&self, endpoint: Endpoint) -> bool {
        self.name == "openai" && endpoint == Endpoint::Moderations
    }

    /// What stands between the base URL and an endpoint's path.
    pub fn path_to(&self, endpoint: Endpoint) -> &'static str {
        match (self.name, endpoint) {
            ("cohere", Endpoint::Rerank) => "/v2",
            // Where Cohere speaks OpenAI's dialect.
            ("cohere", _) => "/compatibility/v1",
            _ => "",
        }
    }

    /// Whether a caller of this dialect can be served without translation.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.dialect == dialect || self.name == crate::model::PRACTICE
    }

    /// The carrier for a call in this dialect: a kind that speaks several takes each one's own.
    pub fn auth_for(&self, dialect: Dialect) -> Auth {
        if self.name == crate::model::PRACTICE { Auth::of(dialect) } else { self.auth }
    }
}

/// Every kind, in the order in which they are offered.
pub fn kinds() -> &'static [ProviderKind] {
    KINDS
}

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static ProviderKind> {
    KINDS.iter().find(|k| k.name == name)
}

/// What servers and routers have that speak OpenAI's dialect of text.
const TEXT: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Responses,
    Endpoint::Embeddings,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const OPENAI: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Responses,
    Endpoint::Embeddings,
    Endpoint::Moderations,
    Endpoint::ImageGenerations,
    Endpoint::ImageEdits,
    Endpoint::ImageVariations,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
/// Everything that an OpenAI-compatible server may have.
const SERVER: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Responses,
    Endpoint::Embeddings,
    Endpoint::Moderations,
    Endpoint::Rerank,
    Endpoint::ImageGenerations,
    Endpoint::ImageEdits,
    Endpoint::ImageVariations,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const TEXT_RERANK: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Responses,
    Endpoint::Embeddings,
    Endpoint::Rerank,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const GROQ: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Responses,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const XAI: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Responses,
    Endpoint::ImageGenerations,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const MISTRAL: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Embeddings,
    Endpoint::Moderations,
    Endpoint::Transcriptions,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const COHERE: &[Endpoint] = &[Endpoint::ChatCompletions, Endpoint::Embeddings, Endpoint::Rerank];
const EMBED_RERANK: &[Endpoint] = &[Endpoint::Embeddings, Endpoint::Rerank];
const ANTHROPIC: &[Endpoint] = &[Endpoint::Messages, Endpoint::CountTokens, Endpoint::ModelList, Endpoint::ModelGet];
const GEMINI: &[Endpoint] = &[
    Endpoint::GenerateContent,
    Endpoint::StreamGenerateContent,
    Endpoint::GeminiCountTokens,
    Endpoint::EmbedContent,
    Endpoint::BatchEmbedContents,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const EVERY: &[Endpoint] = &[
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
    Endpoint::Moderations,
    Endpoint::Rerank,
    Endpoint::ImageGenerations,
    Endpoint::ImageEdits,
    Endpoint::ImageVariations,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];
const CHAT: &[Endpoint] = &[Endpoint::ChatCompletions, Endpoint::ModelList, Endpoint::ModelGet];
const CHAT_EMBED: &[Endpoint] =
    &[Endpoint::ChatCompletions, Endpoint::Embeddings, Endpoint::ModelList, Endpoint::ModelGet];
const CHAT_LEGACY: &[Endpoint] =
    &[Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::ModelList, Endpoint::ModelGet];
const RESPONSES: &[Endpoint] = &[Endpoint::Responses, Endpoint::ModelList, Endpoint::ModelGet];
const TOGETHER: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Embeddings,
    Endpoint::Rerank,
    Endpoint::ImageGenerations,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
    Endpoint::ModelList,
    Endpoint::ModelGet,
];

/// An OpenAI-compatible provider with a key, listed in the catalogue under its own name.
const fn compatible(
    name: &'static str,
    title: &'static str,
    base_url: &'static str,
    serves: &'static [Endpoint],
) -> ProviderKind {
    ProviderKind {
        name,
        title,
        dialect: Dialect::OpenAi,
        base_url: Some(base_url),
        auth: Auth::Bearer,
        needs_key: true,
        serves,
        catalogue: name,
        list_path: Some("/models"),
    }
}

/// An OpenAI-compatible server that people run themselves.
const fn own_server(
    name: &'static str,
    title: &'static str,
    base_url: &'static str,
    serves: &'static [Endpoint],
) -> ProviderKind {
    ProviderKind { needs_key: false, ..compatible(name, title, base_url, serves) }
}

const KINDS: &[ProviderKind] = &[
    compatible("openai", "OpenAI", "https://api.openai.com/v1", OPENAI),
    ProviderKind {
        name: "anthropic",
        title: "Anthropic",
        dialect: Dialect::Anthropic,
        base_url: Some("https://api.anthropic.com"),
        auth: Auth::XApiKey,
        needs_key: true,
        serves: ANTHROPIC,
        catalogue: "anthropic",
        list_path: Some("/v1/models"),
    },
    ProviderKind {
        name: "gemini",
        title: "Google Gemini",
        dialect: Dialect::Gemini,
        base_url: Some("https://generativelanguage.googleapis.com"),
        auth: Auth::XGoogApiKey,
        needs_key: true,
        serves: GEMINI,
        catalogue: "google",
        list_path: Some("/v1beta/models"),
    },
    compatible("deepseek", "DeepSeek", "https://api.deepseek.com/v1", CHAT),
    ProviderKind {
        catalogue: "moonshotai",
        ..compatible("moonshot", "Moonshot AI (Kimi)", "https://api.moonshot.ai/v1", CHAT)
    },
    compatible(
        "qwen",
        "Alibaba Cloud Model Studio (Qwen)",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        CHAT_EMBED,
    ),
    ProviderKind {
        catalogue: "zhipuai",
        ..compatible("zhipu", "Zhipu AI (GLM)", "https://open.bigmodel.cn/api/paas/v4", CHAT_EMBED)
    },
    compatible("zai", "Z.ai (GLM, international)", "https://api.z.ai/api/paas/v4", CHAT),
    compatible("mistral", "Mistral AI", "https://api.mistral.ai/v1", MISTRAL),
    compatible("groq", "Groq", "https://api.groq.com/openai/v1", GROQ),
    compatible("together", "Together AI", "https://api.together.xyz/v1", TOGETHER),
    compatible("fireworks", "Fireworks AI", "https://api.fireworks.ai/inference/v1", TEXT),
    ProviderKind { catalogue: "x-ai", ..compatible("xai", "xAI", "https://api.x.ai/v1", XAI) },
    compatible("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", TEXT),
    ProviderKind {
        list_path: None,
        ..compatible("perplexity", "Perplexity", "https://api.perplexity.ai", &[Endpoint::ChatCompletions])
    },
    compatible("cerebras", "Cerebras", "https://api.cerebras.ai/v1", CHAT_LEGACY),
    ProviderKind { list_path: None, ..compatible("cohere", "Cohere", "https://api.cohere.com", COHERE) },
    ProviderKind { list_path: None, ..compatible("jina", "Jina AI", "https://api.jina.ai/v1", EMBED_RERANK) },
    ProviderKind {
        catalogue: "voyageai",
        list_path: None,
        ..compatible("voyage", "Voyage AI", "https://api.voyageai.com/v1", EMBED_RERANK)
    },
    own_server("ollama", "Ollama", "http://localhost:11434/v1", TEXT),
    own_server("vllm", "vLLM", "http://localhost:8000/v1", TEXT_RERANK),
    own_server("lmstudio", "LM Studio", "http://localhost:1234/v1", TEXT),
    own_server("llamacpp", "llama.cpp server", "http://localhost:8080/v1", TEXT_RERANK),
    own_server("tgi", "Text Generation Inference", "http://localhost:8080/v1", CHAT_LEGACY),
    ProviderKind { base_url: None, ..own_server("compatible", "Any OpenAI-compatible API", "", SERVER) },
    ProviderKind { base_url: None, ..own_server("responses", "Any API with OpenAI's responses alone", "", RESPONSES) },
    ProviderKind {
        name: crate::model::PRACTICE,
        title: "Practice provider",
        dialect: Dialect::OpenAi,
        // It has no version in its base URL, since it serves every dialect's paths from its root.
        base_url: None,
        auth: Auth::Bearer,
        needs_key: false,
        serves: EVERY,
        catalogue: crate::model::PRACTICE,
        list_path: Some("/v1/models"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_may_name_a_provider() {
        let names: HashSet<_> = kinds().iter().map(|k| k.name).collect();
        assert_eq!(names.len(), kinds().len());
        for row in kinds() {
            assert!(crate::model::is_provider_name(row.name), "{}", row.name);
            assert_eq!(kind(row.name), Some(row));
        }
        assert_eq!(kind("OpenAI"), None);
        assert_eq!(kind(""), None);
    }

    #[test]
    fn base_urls_are_as_in_the_sdks() {
        for row in kinds() {
            let Some(url) = row.base_url else { continue };
            assert!(!url.ends_with('/'), "{url}");
            assert_eq!(url.starts_with("https://"), row.needs_key, "{url}: a credential never crosses in the clear");
            if row.dialect != Dialect::OpenAi {
                assert!(!url.contains("/v1"), "{url}: the path holds the version");
            }
        }
    }

    #[test]
    fn each_kind_serves_only_its_own_dialect_but_for_practice() {
        let dialects = |row: &ProviderKind| Dialect::ALL.into_iter().filter(|d| row.speaks(*d)).count();
        for row in kinds() {
            assert_eq!(dialects(row), if row.name == "sim" { 3 } else { 1 }, "{}", row.name);
            assert_eq!(row.auth, Auth::of(row.dialect), "{}", row.name);
            assert!(!row.serves(Endpoint::KeySelf) && !row.serves(Endpoint::Generation), "{}", row.name);
            assert_eq!(row.list_path.is_some(), row.serves(Endpoint::ModelList), "{}", row.name);
        }
        assert_eq!(kind("sim").map(|k| k.auth_for(Dialect::Gemini)), Some(Auth::XGoogApiKey));
        assert_eq!(kind("groq").map(|k| k.auth_for(Dialect::Gemini)), Some(Auth::Bearer));
    }
}
