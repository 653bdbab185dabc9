//! Asking a provider for its models with its credential: whether it can be called at all.

use crate::App;
use crate::problem::{Own, Problem};
use anykey_core::Dialect;
use anykey_core::provider::ProviderKind;
use anykey_net::FetchError;
use anykey_net::client::SendError;
use anykey_net::guard::Destination;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 8 << 20;
const MAX_MODELS: usize = 10_000;
const MAX_MODEL_NAME: usize = 256;

/// Where a provider is and how it is asked.
pub(super) struct Target {
    pub kind: &'static ProviderKind,
    pub destination: Destination,
    pub credential: Option<SecretString>,
}

/// How a provider answered.
pub(super) struct Probe {
    /// The models that it listed, or why it did not.
    pub found: Result<Vec<String>, Failed>,
    pub latency: Duration,
}

/// Why a provider did not list its models.
pub(super) enum Failed {
    /// Its name leads to an address that must not be called.
    Forbidden(String),
    /// It does not know the credential, or the credential may not do this.
    Refused(String),
    Other(String),
    /// It has no list to ask for.
    NoList,
}

/// How a provider answered when it was asked for its models.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderTest)]
pub(crate) struct TestView {
    ok: bool,
    /// How many models it listed.
    models: usize,
    latency_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What the test could not find out.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Probe {
    pub fn view(&self) -> TestView {
        let (models, error, note) = match &self.found {
            Ok(models) => (models.len(), None, None),
            Err(Failed::NoList) => {
                (0, None, Some("This kind of provider has no list of models, so it was not called."))
            }
            Err(Failed::Forbidden(why) | Failed::Refused(why) | Failed::Other(why)) => (0, Some(why.clone()), None),
        };
        let latency_ms = u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX);
        TestView { ok: error.is_none(), models, latency_ms, error, note }
    }

    /// A destination that leads inside is never kept; a credential that does not work only on request.
    pub fn check(&self, force: bool) -> Result<(), Problem> {
        match &self.found {
            Err(Failed::Forbidden(why)) => {
                let problem = Problem::field("base_url", format!("cannot be used: {why}"));
                Err(Problem { kind: Own::DestinationForbidden.into(), ..problem })
            }
            Err(Failed::Refused(why)) if !force => {
                let detail = format!("The provider was not kept: {why} Check the credential, or add ?force=true.");
                Err(Problem::new(Own::ProviderTestFailed, detail))
            }
            _ => Ok(()),
        }
    }

    /// What to store; nothing where nothing was asked.
    pub fn outcome(self) -> Option<Result<Vec<String>, String>> {
        match self.found {
            Ok(models) => Some(Ok(models)),
            Err(Failed::NoList) => None,
            Err(Failed::Forbidden(why) | Failed::Refused(why) | Failed::Other(why)) => Some(Err(why)),
        }
    }
}

pub(super) async fn ask(app: &App, target: &Target) -> Probe {
    let began = Instant::now();
    let found = list(app, target).await;
    Probe { found, latency: began.elapsed() }
}

async fn list(app: &App, target: &Target) -> Result<Vec<String>, Failed> {
    let list = target.kind.list_path.ok_or(Failed::NoList)?;
    let (query, extra) = match target.kind.dialect {
        Dialect::OpenAi => ("", ""),
        Dialect::Anthropic => ("?limit=1000", "anthropic-version: 2023-06-01\r\n"),
        Dialect::Gemini => ("?pageSize=1000", ""),
    };
    let mut lines = extra.to_owned();
    if let Some(secret) = &target.credential {
        let auth = target.kind.auth;
        lines.push_str(&format!("{}: {}{}\r\n", auth.header(), auth.prefix(), secret.expose_secret()));
    }
    // Wiped with the credential in it.
    let lines = SecretString::from(lines);
    let path = format!("{list}{query}");
    let answer = app
        .deps
        .fetch
        .get(&target.destination, &path, lines.expose_secret().as_bytes(), MAX_ANSWER, TIMEOUT)
        .await
        .map_err(|error| match error {
            FetchError::Send(SendError::Forbidden(why)) => Failed::Forbidden(why.to_string()),
            other => Failed::Other(format!("The provider did not answer: {other}.")),
        })?;
    match answer.status {
        200..=299 => read(&answer.body)
            .ok_or_else(|| Failed::Other("The provider's list of models is not of the form that its kind has.".into())),
        401 | 403 => Err(Failed::Refused(format!("The provider refused the credential ({}).", answer.status))),
        // Gemini says so with a 400.
        400 if target.kind.dialect == Dialect::Gemini && contains(&answer.body, b"API_KEY_INVALID") => {
            Err(Failed::Refused("The provider refused the credential (400).".into()))
        }
        status => Err(Failed::Other(format!("The provider answered with the status {status}."))),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Reads a list of models: `data` with ids, as OpenAI and Anthropic have it, or `models` with names, as Gemini has it.
fn read(body: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Answer {
        data: Option<Vec<Model>>,
        models: Option<Vec<Model>>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: Option<String>,
        name: Option<String>,
    }
    // Some OpenAI-compatible servers answer with the bare list.
    let models = match body.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice::<Vec<Model>>(body).ok()?,
        _ => {
            let answer: Answer = serde_json::from_slice(body).ok()?;
            answer.data.or(answer.models)?
        }
    };
    let name = |model: Model| {
        let name = model.id.or(model.name)?;
        let name = name.strip_prefix("models/").unwrap_or(&name);
        let fits = !name.is_empty() && name.len() <= MAX_MODEL_NAME && !name.contains(char::is_control);
        fits.then(|| name.to_owned())
    };
    let mut names: Vec<String> = models.into_iter().filter_map(name).take(MAX_MODELS).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_dialect_are_read() {
        let names = |text: &str| read(text.as_bytes());
        assert_eq!(
            names(r#"{"object":"list","data":[{"id":"b"},{"id":"a","object":"model"}]}"#),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(
            names(r#"{"data":[{"type":"model","id":"claude-x"}],"has_more":false}"#),
            Some(vec!["claude-x".into()])
        );
        assert_eq!(names(r#"{"models":[{"name":"models/gemini-x"}]}"#), Some(vec!["gemini-x".into()]));
        assert_eq!(names(r#"[{"id":"a"},{"id":"a"}]"#), Some(vec!["a".into()]));
        assert_eq!(names(r#"{"data":[]}"#), Some(vec![]));
        assert_eq!(names(r#"{"data":[{"id":"a\nb"},{"id":""}]}"#), Some(vec![]));
        for text in ["", "<html>", "{}", r#"{"error":"x"}"#, r#"{"data":5}"#] {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
