//! How a provider is asked: in the caller's own dialect where it speaks that, through translation where it does not.

use anykey_core::Endpoint;
use anykey_core::provider::ProviderKind;
use anykey_dialect::translate::Api;

/// In the order of preference.
const APIS: [Api; 4] = [Api::Chat, Api::Messages, Api::Gemini, Api::Responses];

/// `Some(None)` is the caller's own way; `None` that there is none.
pub(super) fn of(kind: &ProviderKind, endpoint: Endpoint, model: &str) -> Option<Option<Api>> {
    if kind.serves(endpoint) {
        return Some(None);
    }
    let client = Api::of(endpoint)?;
    if kind.name == "openai" && Api::prefers_responses(model) {
        return Some(Some(Api::Responses));
    }
    APIS.into_iter().find(|api| client.reaches(*api) && kind.serves(api.endpoint(false))).map(Some)
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
        assert_eq!(of(openai, Endpoint::Messages, "gpt-5.1"), Some(Some(Api::Responses)));
        assert_eq!(of(openai, Endpoint::Messages, "gpt-4o"), Some(Some(Api::Chat)));
        assert_eq!(of(openai, Endpoint::ChatCompletions, "gpt-5.1"), Some(None));
        let other = anykey_core::provider::kind("deepseek").unwrap();
        assert_eq!(of(other, Endpoint::Responses, "gpt-oss-120b"), Some(Some(Api::Chat)));
    }

    #[test]
    fn every_kind_is_asked_in_the_callers_own_words_where_it_has_them() {
        for kind in kinds() {
            for endpoint in Endpoint::ALL {
                match of(kind, endpoint, "m") {
                    Some(None) => assert!(kind.serves(endpoint)),
                    Some(Some(api)) => {
                        assert!(
                            !kind.serves(endpoint) && kind.serves(api.endpoint(false)),
                            "{} {endpoint:?}",
                            kind.name
                        );
                        assert!(kind.serves(api.endpoint(true)));
                    }
                    None => assert!(!kind.serves(endpoint)),
                }
            }
        }
    }
}
