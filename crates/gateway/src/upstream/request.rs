//! Builds the provider's request: our path, our credential, the allow-listed headers and the caller's own body with the
//! model's name in place.

use crate::identify;
use crate::intake::Call;
use crate::route::Plan;
use anykey_core::{Dialect, Endpoint};
use anykey_dialect::head::IncludeUsage;
use anykey_dialect::multipart;
use anykey_dialect::splice;
use anykey_dialect::translate::Api;
use anykey_net::RawHeaders;
use anykey_net::client::Client;
use bytes::Bytes;

pub(super) struct Request {
    pub head: Vec<u8>,
    pub body: Bytes,
    pub usage_injected: bool,
}

/// The only headers of a caller that a provider sees. Credentials, addresses and account selectors are not on it.
const FORWARDED: &[&str] = &[
    "accept",
    "user-agent",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
    "idempotency-key",
    "x-goog-api-client",
    "x-client-request-id",
    "x-app",
    "originator",
    "session_id",
    "session-id",
    "conversation_id",
    "x-claude-code-session-id",
];

pub(super) fn build(client: &Client, call: &Call, plan: &Plan, headers: &RawHeaders, query: Option<&str>) -> Request {
    if let Some(translation) = &call.translation {
        return translated(client, call, plan, translation.api, headers);
    }
    let usage_injected = wants_usage(call);
    let body =
        splice::rewrite(&call.body, &call.head, (call.model != *plan.model).then_some(&*plan.model), usage_injected);
    let provider = &plan.provider;
    let mut head = client.head(body.len());
    head.extend_from_slice(b"POST ");
    provider.write_path(&mut head, call.route.endpoint, call.dialect(), &plan.model);
    if let Some(query) = query.map(identify::without_key).filter(|q| !q.is_empty()) {
        head.push(b'?');
        head.extend_from_slice(query.as_bytes());
    }
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(provider.authority.as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(provider.credential_line(call.dialect()));
    for (name, value) in headers.iter() {
        if FORWARDED.iter().any(|f| f.len() == name.len() && f.as_bytes().eq_ignore_ascii_case(name)) {
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
    }
    match call.head.items.as_ref().and_then(|items| items.boundary.as_deref()) {
        None => close(&mut head, &body, "application/json"),
        Some(boundary) => close(&mut head, &body, &multipart::content_type(boundary)),
    }
    Request { head, body, usage_injected }
}

/// In the provider's own dialect: what the caller's headers and query say belongs to another.
fn translated(client: &Client, call: &Call, plan: &Plan, api: Api, headers: &RawHeaders) -> Request {
    let provider = &plan.provider;
    let mut head = client.head(call.body.len());
    head.extend_from_slice(b"POST ");
    provider.write_path(&mut head, call.endpoint_there(), api.dialect(), &plan.model);
    if call.endpoint_there() == Endpoint::StreamGenerateContent {
        head.extend_from_slice(b"?alt=sse");
    }
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(provider.authority.as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(provider.credential_line(api.dialect()));
    if let Some(agent) = headers.get("user-agent") {
        head.extend_from_slice(b"user-agent: ");
        head.extend_from_slice(agent);
        head.extend_from_slice(b"\r\n");
    }
    if api == Api::Messages {
        head.extend_from_slice(b"anthropic-version: 2023-06-01\r\n");
    }
    close(&mut head, &call.body, "application/json");
    Request { head, body: call.body.clone(), usage_injected: false }
}

/// Nothing is decompressed on the way, so nothing compressed is asked for.
fn close(head: &mut Vec<u8>, body: &Bytes, content_type: &str) {
    head.extend_from_slice(b"accept-encoding: identity\r\ncontent-type: ");
    head.extend_from_slice(content_type.as_bytes());
    head.extend_from_slice(b"\r\ncontent-length: ");
    head.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
}

/// OpenAI's streams say what they used only when asked.
fn wants_usage(call: &Call) -> bool {
    call.stream
        && call.dialect() == Dialect::OpenAi
        && matches!(call.route.endpoint, Endpoint::ChatCompletions | Endpoint::Completions)
        && !matches!(call.head.include_usage, IncludeUsage::On | IncludeUsage::Unsupported)
}
