//! What anykey answers in its own words: refusals in the caller's dialect, and the endpoints that need no provider.

mod about_key;
mod estimated;
mod generation;
mod mint;
mod models;

pub(crate) use about_key::about_key;
pub(crate) use estimated::estimated;
pub(crate) use generation::generation;
pub(crate) use mint::mint;
pub(crate) use models::models;

use crate::relay::Relay;
use anykey_core::{Dialect, Refusal, RequestId};
use anykey_dialect::error;
use anykey_net::server::Answer;
use anykey_store::LiveKey;
use bytes::Bytes;

/// An answer with the fields that all of them have.
pub(crate) fn answer(status: u16, body: Relay, id: RequestId, dialect: Dialect) -> Answer<Relay> {
    let id = id.text();
    let mut answer = Answer::new(status, body);
    answer.field("x-request-id", id.as_bytes());
    if dialect == Dialect::Anthropic {
        // The name under which Anthropic's SDKs look for it.
        answer.field("request-id", id.as_bytes());
    }
    answer
}

pub(crate) fn json(status: u16, body: impl Into<Bytes>, id: RequestId, dialect: Dialect) -> Answer<Relay> {
    let mut answer = answer(status, Relay::whole(body), id, dialect);
    answer.field("content-type", b"application/json");
    answer
}

/// Renders a refusal in the dialect of the path that was called.
pub(crate) fn refuse(refusal: &Refusal, dialect: Dialect, id: RequestId) -> Answer<Relay> {
    let body = error::render(dialect, refusal, &id.to_string());
    refusal_with(refusal, dialect, id, body)
}

/// The same where the caller reads an array: a Gemini stream without `alt=sse`.
pub(crate) fn refuse_array(refusal: &Refusal, id: RequestId) -> Answer<Relay> {
    let body = error::render_array(refusal, &id.to_string());
    refusal_with(refusal, Dialect::Gemini, id, body)
}

fn refusal_with(refusal: &Refusal, dialect: Dialect, id: RequestId, body: Bytes) -> Answer<Relay> {
    let mut answer = json(refusal.status(), body, id, dialect);
    if let Some(seconds) = refusal.retry_after {
        answer.field("retry-after", seconds.to_string().as_bytes());
    }
    if refusal.hopeless {
        // OpenAI's and Anthropic's SDKs look here before they repeat by status.
        answer.field("x-should-retry", b"false");
    }
    if refusal.status() == 401 {
        answer.field("www-authenticate", b"Bearer");
    }
    answer.field("cache-control", b"no-store");
    answer
}

/// Lets the page that called read the answer, where its key allows browsers.
pub(crate) fn allow_origin(answer: &mut Answer<Relay>, key: &LiveKey, origin: Option<&str>) {
    if let Some(origin) = origin.filter(|_| key.info.browser_allowed) {
        answer.field("access-control-allow-origin", origin.as_bytes());
        answer.field("access-control-expose-headers", b"*");
        answer.field("vary", b"origin");
    }
}

/// The answer to a browser that asks whether it may ask. Says nothing about any key.
pub(crate) fn preflight(origin: &str, id: RequestId, dialect: Dialect) -> Answer<Relay> {
    let mut answer = answer(204, Relay::Whole(None), id, dialect);
    answer.field("access-control-allow-origin", origin.as_bytes());
    answer.field("access-control-allow-methods", b"GET, POST");
    answer.field(
        "access-control-allow-headers",
        b"authorization, x-api-key, x-goog-api-key, api-key, content-type, \
        anthropic-version, anthropic-beta, anthropic-dangerous-direct-browser-access, openai-beta, x-goog-api-client",
    );
    answer.field("access-control-max-age", b"600");
    answer.field("vary", b"origin");
    answer
}
