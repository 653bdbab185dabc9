//! Steps 1 to 3 of a call: find the one credential, check its form offline, match its digest. Headers only: a stranger
//! never makes us buffer a body.

use crate::Worker;
use anykey_core::controls::{AddressRange, Client, client_of};
use anykey_core::token::{self, Digest};
use anykey_core::{Code, Dialect, Refusal, endpoint};
use anykey_net::RequestHead;
use anykey_store::{LiveKey, Lookup};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// The sub-protocol in which a browser's WebSocket carries its key.
const SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// Everything that the head of a request says and that a later room asks for, gathered in one pass.
#[derive(Default)]
pub(crate) struct Marks<'a> {
    tokens: Credentials<'a>,
    pub origin: Option<&'a str>,
    pub browser: bool,
    pub anthropic_version: bool,
    pub goog: bool,
    pub content_type: Option<&'a [u8]>,
    pub content_encoding: Option<&'a [u8]>,
}

/// The credentials that were presented: one, however many carriers it came in, or a conflict.
#[derive(Default)]
struct Credentials<'a> {
    token: Option<Cow<'a, str>>,
    in_query: bool,
    conflict: bool,
    malformed: bool,
}

impl<'a> Credentials<'a> {
    fn add(&mut self, token: Cow<'a, str>) {
        if token.is_empty() {
            return;
        }
        match &self.token {
            Some(first) if *first != token => self.conflict = true,
            _ => self.token = Some(token),
        }
    }

    fn add_bytes(&mut self, value: &'a [u8]) {
        match std::str::from_utf8(value) {
            Ok(text) => self.add(Cow::Borrowed(text.trim())),
            Err(_) => self.malformed = true,
        }
    }
}

/// Reads the marks of a request head.
pub(crate) fn read(head: &RequestHead) -> Marks<'_> {
    let mut marks = Marks::default();
    for (name, value) in head.headers.iter() {
        // The length tells most names apart, so that a usual head costs a few comparisons.
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"origin") => {
                marks.browser = true;
                marks.origin = std::str::from_utf8(value).ok();
            }
            7 if name.eq_ignore_ascii_case(b"api-key") => marks.tokens.add_bytes(value),
            9 if name.eq_ignore_ascii_case(b"x-api-key") => marks.tokens.add_bytes(value),
            12 if name.eq_ignore_ascii_case(b"content-type") => marks.content_type = Some(value),
            13 if name.eq_ignore_ascii_case(b"authorization") => match bearer(value) {
                Some(token) => marks.tokens.add_bytes(token),
                None => marks.tokens.malformed = true,
            },
            14 if name.eq_ignore_ascii_case(b"x-goog-api-key") => {
                marks.goog = true;
                marks.tokens.add_bytes(value);
            }
            14 if name.eq_ignore_ascii_case(b"sec-fetch-site") => marks.browser = true,
            16 if name.eq_ignore_ascii_case(b"content-encoding") => marks.content_encoding = Some(value),
            17 if name.eq_ignore_ascii_case(b"anthropic-version") => marks.anthropic_version = true,
            17 if name.eq_ignore_ascii_case(b"x-goog-api-client") => marks.goog = true,
            22 if name.eq_ignore_ascii_case(b"sec-websocket-protocol") => {
                let protocols = std::str::from_utf8(value).unwrap_or_default();
                for protocol in protocols.split(',').map(str::trim) {
                    if let Some(token) = protocol.strip_prefix(SUBPROTOCOL) {
                        marks.tokens.add(Cow::Borrowed(token));
                    }
                }
            }
            _ => {}
        }
    }
    for token in head.query().into_iter().flat_map(query_keys) {
        marks.tokens.in_query = true;
        marks.tokens.add(token);
    }
    marks
}

/// Where a request came from: the peer, or what a trusted proxy says of it.
pub fn client(head: &RequestHead, peer: IpAddr, trusted: &[AddressRange]) -> Client {
    if trusted.is_empty() {
        return Client { address: peer.to_canonical(), known: true };
    }
    let lines: Vec<&[u8]> =
        head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for")).map(|(_, v)| v).collect();
    client_of(peer, lines.into_iter(), trusted)
}

/// The token of `Bearer TOKEN`, whatever the case of the scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    if value.eq_ignore_ascii_case(b"bearer") {
        return Some(&[]);
    }
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// The values of `key` in a query, decoded.
fn query_keys(query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    query.split('&').filter_map(|pair| pair.strip_prefix("key=")).map(|value| match endpoint::percent_decode(value) {
        Some(decoded) if decoded != value => Cow::Owned(decoded),
        _ => Cow::Borrowed(value),
    })
}

/// The query without its `key`, for everything that comes after this room.
pub(crate) fn without_key(query: &str) -> Cow<'_, str> {
    if !has_key(query) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(|pair| !is_key(pair)).collect::<Vec<_>>().join("&"))
}

/// Whether the URL holds a credential, so that neither a cache nor the next page may learn it.
pub(crate) fn has_key(query: &str) -> bool {
    query.split('&').any(is_key)
}

fn is_key(pair: &str) -> bool {
    pair == "key" || pair.starts_with("key=")
}

/// A caller whose key was found. That it may be used for this call is not said yet.
pub(crate) struct Caller {
    pub key: Arc<LiveKey>,
}

/// Matches the presented credential of somebody at an address.
pub(crate) async fn identify(
    worker: &Worker,
    marks: &Marks<'_>,
    from: IpAddr,
    dialect: Dialect,
) -> Result<Caller, Refusal> {
    let presented = &marks.tokens;
    if presented.conflict {
        return Err(Refusal::new(
            Code::ConflictingCredentials,
            "Two different API keys were sent in one request, so neither was used. Send one key in one place: \
             unset the variable or header that you don't need.",
        ));
    }
    let Some(token) = &presented.token else {
        return Err(missing(presented.malformed));
    };
    let found = find(worker, token, from).await;
    if presented.in_query && dialect != Dialect::Gemini {
        // The refusal says nothing of the key, but its owner should know that it stands in somebody's logs.
        if let Ok(key) = &found {
            worker.gateway.report_exposed(key);
        }
        return Err(Refusal::new(
            Code::KeyInQueryForbidden,
            "The API key was sent in the URL, where logs keep it. Send it as `Authorization: Bearer`, and rotate the key.",
        ));
    }
    found.map(|key| Caller { key })
}

fn missing(malformed: bool) -> Refusal {
    if malformed {
        return Refusal::new(
            Code::InvalidApiKey,
            "The Authorization header is not of the form `Bearer KEY`. Send your anykey API key as \
             `Authorization: Bearer KEY`.",
        );
    }
    Refusal::new(
        Code::MissingApiKey,
        "No API key was sent. Send it as `Authorization: Bearer KEY`, `x-api-key: KEY` or `x-goog-api-key: KEY`.",
    )
}

async fn find(worker: &Worker, token: &str, from: IpAddr) -> Result<Arc<LiveKey>, Refusal> {
    let gateway = &worker.gateway;
    let ours = token::read(token, &gateway.options.brand).is_some();
    if !ours && !gateway.store.has_foreign_keys() {
        return Err(not_ours(token));
    }
    let digest = gateway.store.pepper().digest(token.as_bytes());
    match gateway.store.known(&digest, worker.now_ms()) {
        Lookup::Live(key) => Ok(key),
        Lookup::Unknown => Err(unknown()),
        Lookup::Ask => {
            let imported = (!ours).then(|| token::plain_sha256(token.as_bytes()));
            Box::pin(ask(worker, digest, imported, from)).await
        }
    }
}

/// The one question to the database that a key costs; the answer is kept.
async fn ask(worker: &Worker, digest: Digest, imported: Option<Digest>, from: IpAddr) -> Result<Arc<LiveKey>, Refusal> {
    worker.strangers.admit(from, worker.now_ms())?;
    let store = worker.gateway.store.clone();
    match worker.gateway.on_runtime(async move { store.look_up(digest, imported).await }).await {
        Some(Ok(Lookup::Live(key))) => Ok(key),
        Some(Ok(Lookup::Unknown)) => {
            worker.strangers.guessed(from, worker.now_ms());
            Err(unknown())
        }
        Some(Ok(Lookup::Ask) | Err(_)) | None => Err(Refusal::new(
            Code::AuthUnavailable,
            "The key could not be checked because the database does not answer. Try again in a moment.",
        )
        .retry_after(2)),
    }
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::InvalidApiKey,
        "This API key is not known here. It may have been deleted or regenerated: ask for a new one, or check that \
         the base URL is that of the gateway which issued it.",
    )
}

/// A token that this installation never made; the usual mistakes are named without repeating any of it.
fn not_ours(token: &str) -> Refusal {
    let message = if token.starts_with("sk-ant-") || token.starts_with("sk-proj-") || token.starts_with("AIza") {
        "This looks like a provider's own API key. Send the anykey API key that you were given instead."
    } else if token.contains([' ', '"', '\'', '\n']) {
        "The API key holds a quote or a blank. Check how the variable is set."
    } else {
        "The API key is malformed: part of it is missing or mistyped. Copy it again, whole."
    };
    Refusal::new(Code::InvalidApiKey, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_cut_from_a_query_and_nothing_else() {
        for (query, rest) in [
            ("key=a", ""),
            ("alt=sse&key=a", "alt=sse"),
            ("key=a&alt=sse&key=b", "alt=sse"),
            ("monkey=a", "monkey=a"),
            ("key", ""),
            ("beta=true", "beta=true"),
        ] {
            assert_eq!(without_key(query), rest);
        }
        assert_eq!(query_keys("a=b&key=x%2Dy&key=z").collect::<Vec<_>>(), ["x-y", "z"]);
    }

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        assert_eq!(bearer(b"Bearer a"), Some(&b"a"[..]));
        assert_eq!(bearer(b"bearer  a "), Some(&b" a"[..]));
        assert_eq!(bearer(b"Bearer"), Some(&b""[..]));
        assert_eq!(bearer(b"Basic YTpi"), None);
        assert_eq!(bearer("Béarer".as_bytes()), None);
    }
}
