//! The settings of a provider, checked.

use super::probe::Target;
use crate::input::{Findings, echo};
use anykey_core::provider::{self, ProviderKind};
use anykey_net::guard::Destination;
use secrecy::SecretString;

const MAX_CREDENTIAL: usize = 8192;
const MAX_URL: usize = 2048;

/// The kind of this name.
pub(super) fn kind(name: &str, findings: &mut Findings) -> Option<&'static ProviderKind> {
    let unknown = || format!("is not known: {}. `anykey provider kinds` lists them", echo(name));
    findings.check("kind", provider::kind(name).ok_or_else(unknown))
}

/// A credential as a header can carry it.
pub(super) fn credential(text: String, findings: &mut Findings) -> Option<SecretString> {
    let secret = SecretString::from(text);
    let plain = |text: &str| (1..=MAX_CREDENTIAL).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if plain(secrecy::ExposeSecret::expose_secret(&secret)) {
        Some(secret)
    } else {
        findings.add("api_key", "is not empty and has neither spaces nor line ends: look at how it was copied");
        None
    }
}

/// Where a provider of this kind is called.
pub(super) fn destination(
    kind: &'static ProviderKind,
    base_url: Option<&str>,
    allow_private: bool,
    findings: &mut Findings,
) -> Option<Destination> {
    let Some(url) = base_url.or(kind.base_url) else {
        findings.add(
            "base_url",
            format!("is required: nobody but you knows where a provider of the kind {} is", kind.name),
        );
        return None;
    };
    if url.len() > MAX_URL {
        findings.add("base_url", format!("has at most {MAX_URL} characters"));
        return None;
    }
    Destination::parse(url, allow_private).map_err(|why| findings.forbid("base_url", why)).ok()
}

/// What a test needs.
pub(super) fn target(
    kind: &'static ProviderKind,
    destination: Destination,
    credential: Option<SecretString>,
    findings: &mut Findings,
) -> Option<Target> {
    if kind.needs_key && credential.is_none() {
        findings.add("api_key", format!("is required: {} asks for a credential", kind.title));
        return None;
    }
    Some(Target { kind, destination, credential })
}
