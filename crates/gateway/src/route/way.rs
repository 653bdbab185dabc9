//! How a provider is asked: in the caller's own dialect where it speaks that, through translation where it does not.

use anykey_core::Endpoint;
use anykey_core::provider::ProviderKind;
use anykey_dialect::embed::Shape;
use anykey_dialect::translate::Api;

/// In the order of preference.
const APIS: [Api; 4] = [Api::Chat, Api::Messages, Api::Gemini, Api::Responses];

/// How a provider comes to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the caller's own words.
    Verbatim,
    Translated(Api),
    /// Embeddings in the shape of a provider that writes another than OpenAI's.
    Embedded(Shape),
    /// The provider counts no tokens: anykey estimates, and the provider is not asked.
    Estimated,
}

/// `None` where there is no way.
pub(super) fn of(kind: &ProviderKind, endpoint: Endpoint, model: &str) -> Option<Way> {
    if endpoint == Endpoint::Embeddings
        && let Some(shape) = Shape::of(kind)
    {
        return Some(Way::Embedded(shape));
    }
    if kind.serves(endpoint) {
        return Some(Way::Verbatim);
    }
    if let Some(client) = Api::counting(endpoint) {
        return count(kind, client);
    }
    let client = Api::of(endpoint)?;
    if kind.name == "openai" && Api::prefers_responses(model) {
        return Some(Way::Translated(Api::Responses));
    }
    APIS.into_iter().find(|api| client.reaches(*api) && kind.serves(api.endpoint(false))).map(Way::Translated)
}

/// Tokens are counted where they are counted at all, and otherwise estimated for whoever answers calls.
fn count(kind: &ProviderKind, client: Api) -> Option<Way> {
    let counts = |api: &Api| client.reaches(*api) && api.count_endpoint().is_some_and(|there| kind.serves(there));
    let answers = APIS.iter().any(|api| kind.serves(api.endpoint(false)));
    APIS.into_iter().find(counts).map(Way::Translated).or(answers.then_some(Way::Estimated))
}

/// Whether calls of an endpoint can be served by a kind of provider at all.
pub(crate) fn serves(kind: &ProviderKind, endpoint: Endpoint) -> bool {
    of(kind, endpoint, "").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::provider::kinds;

    #[test]
    fn openais_models_that_reason_are_asked_where_their_reasoning_goes_on() {
        let openai = anykey_core::provider::kind("openai").unwrap();
        assert_eq!(of(openai, Endpoint::Messages, "gpt-5.1"), Some(Way::Translated(Api::Responses)));
        assert_eq!(of(openai, Endpoint::Messages, "gpt-4o"), Some(Way::Translated(Api::Chat)));
        assert_eq!(of(openai, Endpoint::ChatCompletions, "gpt-5.1"), Some(Way::Verbatim));
        let other = anykey_core::provider::kind("deepseek").unwrap();
        assert_eq!(of(other, Endpoint::Responses, "gpt-oss-120b"), Some(Way::Translated(Api::Chat)));
    }

    #[test]
    fn a_server_with_responses_alone_answers_everybody() {
        let responses = anykey_core::provider::kind("responses").unwrap();
        assert_eq!(of(responses, Endpoint::Responses, "m"), Some(Way::Verbatim));
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Messages, Endpoint::StreamGenerateContent] {
            assert_eq!(of(responses, endpoint, "m"), Some(Way::Translated(Api::Responses)));
        }
        assert_eq!(of(responses, Endpoint::Embeddings, "m"), None);
    }

    #[test]
    fn tokens_are_counted_where_they_are_and_estimated_elsewhere() {
        let kind = |name| anykey_core::provider::kind(name).unwrap();
        for (name, endpoint, way) in [
            ("anthropic", Endpoint::CountTokens, Some(Way::Verbatim)),
            ("anthropic", Endpoint::GeminiCountTokens, Some(Way::Translated(Api::Messages))),
            ("gemini", Endpoint::CountTokens, Some(Way::Translated(Api::Gemini))),
            ("openai", Endpoint::CountTokens, Some(Way::Estimated)),
            ("deepseek", Endpoint::GeminiCountTokens, Some(Way::Estimated)),
        ] {
            assert_eq!(of(kind(name), endpoint, "m"), way, "{name} {endpoint:?}");
        }
    }

    #[test]
    fn every_kind_is_asked_in_the_callers_own_words_where_it_has_them() {
        for kind in kinds() {
            for endpoint in Endpoint::ALL {
                match of(kind, endpoint, "m") {
                    Some(Way::Verbatim) => assert!(kind.serves(endpoint)),
                    Some(Way::Translated(api)) => {
                        assert!(
                            !kind.serves(endpoint) && kind.serves(api.endpoint(false)),
                            "{} {endpoint:?}",
                            kind.name
                        );
                        assert!(kind.serves(api.endpoint(true)));
                    }
                    Some(Way::Estimated) => {
                        assert!(!kind.serves(endpoint) && endpoint.is_free(), "{} {endpoint:?}", kind.name);
                    }
                    Some(Way::Embedded(shape)) => {
                        assert_eq!(endpoint, Endpoint::Embeddings, "{}", kind.name);
                        assert!(kind.serves(shape.endpoint()), "{}", kind.name);
                    }
                    None => assert!(!kind.serves(endpoint)),
                }
            }
        }
    }
}
