//! How models are named: `provider/model` is explicit, a bare name is looked up.

/// A model as a caller wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelName<'a>(pub &'a str);

impl<'a> ModelName<'a> {
    /// Splits at the first slash. Whether the left part is a provider is the router's to say: `meta/llama-3` may be a
    /// bare name at some provider.
    pub fn split(self) -> Option<(&'a str, &'a str)> {
        self.0.split_once('/').filter(|(provider, model)| !provider.is_empty() && !model.is_empty())
    }
}

/// The practice provider's name. A wildcard never matches its models: a production key must name them.
pub const PRACTICE: &str = "sim";

/// Names of providers are short and plain, since they stand in model names, paths and records.
pub fn is_provider_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && text.as_bytes()[0].is_ascii_alphanumeric()
}
