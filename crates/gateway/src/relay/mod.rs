//! Step 6 of a call, the way down: the provider's answer on its way to the caller, whole or piece by piece.

mod binary;
mod buffered;
mod failed;
mod stream;

use crate::intake::Call;
use crate::own;
use crate::route::Plan;
use crate::settle::Ticket;
use crate::upstream::Won;
use anykey_core::refusal::ECHO_LIMIT;
use anykey_core::{Code, Endpoint, Refusal};
use anykey_dialect::stream::StreamKind;
use anykey_net::RawHeaders;
use anykey_net::server::{Answer, Body, Broken};
use bytes::Bytes;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often an answer that waits looks whether its key still lives; the bound within which a revoked key's answers end.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// What an answer of this room is made of.
pub enum Relay {
    Whole(Option<Bytes>),
    Stream(Box<stream::Stream>),
    Binary(Box<binary::Binary>),
}

impl Relay {
    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        Relay::Whole(Some(body.into()))
    }
}

impl Body for Relay {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        match self {
            Relay::Whole(body) => Poll::Ready(body.take().map(Ok)),
            Relay::Stream(stream) => stream.poll_data(cx),
            Relay::Binary(binary) => binary.poll_data(cx),
        }
    }

    fn exact_len(&self) -> Option<u64> {
        match self {
            Relay::Whole(body) => Some(body.as_ref().map_or(0, |b| b.len() as u64)),
            Relay::Stream(_) | Relay::Binary(_) => None,
        }
    }
}

/// The only headers of a provider that a caller sees.
const PASSED_DOWN: &[&str] = &[
    "content-type",
    "openai-processing-ms",
    "openai-version",
    "x-should-retry",
    "retry-after",
    "retry-after-ms",
    "deprecation",
    "sunset",
];

/// Turns a provider's answer into the caller's.
pub(crate) async fn relay(
    mut ticket: Box<Ticket>,
    call: &Call,
    plan: &Plan,
    won: Won,
) -> Result<Answer<Relay>, Refusal> {
    let Won { response, withhold_usage } = won;
    let (status, headers) = (response.status, response.headers);
    ticket.upstream_id(upstream_id(&headers));
    ticket.status(status);
    if (300..400).contains(&status) {
        let message =
            format!("The provider `{}` answered with a redirect, which is never followed.", plan.provider.name);
        let refusal = Refusal::new(Code::UpstreamError, message);
        ticket.refused(&refusal);
        return Err(refusal);
    }
    if status >= 400 {
        return Box::pin(failed::answer(ticket, call, plan, status, &headers, response.body)).await;
    }
    // Whoever asked for one piece and is sent many could not be told in their own dialect.
    let unasked = call.translation.is_some() && !call.stream;
    match stream_kind(call, headers.get("content-type").unwrap_or_default()).filter(|_| !unasked) {
        Some(kind) => Ok(stream::answer(ticket, call, plan, status, &headers, response.body, kind, withhold_usage)),
        None if call.route.endpoint == Endpoint::Speech => {
            Ok(binary::answer(ticket, call, plan, status, &headers, response.body))
        }
        None => buffered::answer(ticket, call, plan, status, &headers, response.body).await,
    }
}

/// What the provider calls this request, for its operator's records.
fn upstream_id(headers: &RawHeaders) -> Option<&str> {
    const NAMES: [&[u8]; 3] = [b"x-request-id", b"request-id", b"x-goog-request-id"];
    let is_one = |name: &[u8]| NAMES.iter().any(|n| n.len() == name.len() && n.eq_ignore_ascii_case(name));
    let found = headers.iter().find(|(name, _)| is_one(name));
    found.and_then(|(_, value)| std::str::from_utf8(value).ok())
}

/// Which stream an answer is, if it is one: what was asked for says which, and the content type says whether.
fn stream_kind(call: &Call, content_type: &[u8]) -> Option<StreamKind> {
    let sse = content_type.len() >= 17 && content_type[..17].eq_ignore_ascii_case(b"text/event-stream");
    match call.endpoint_there() {
        Endpoint::ChatCompletions if sse => Some(StreamKind::OpenAiChat),
        Endpoint::Completions if sse => Some(StreamKind::OpenAiCompletions),
        Endpoint::Responses if sse => Some(StreamKind::Responses),
        Endpoint::Messages if sse => Some(StreamKind::Anthropic),
        Endpoint::GenerateContent | Endpoint::StreamGenerateContent if sse => Some(StreamKind::GeminiSse),
        endpoint if sse && endpoint.counts_items() => Some(StreamKind::Media),
        Endpoint::StreamGenerateContent if call.translation.is_none() => Some(StreamKind::GeminiArray),
        _ => None,
    }
}

/// An answer with the headers that every relayed one has.
fn open(ticket: &Ticket, call: &Call, plan: &Plan, status: u16, headers: &RawHeaders, body: Relay) -> Answer<Relay> {
    let mut answer = own::answer(status, body, ticket.id(), call.dialect());
    for (name, value) in headers.iter() {
        let passed = |known: &&&str| known.len() == name.len() && known.as_bytes().eq_ignore_ascii_case(name);
        if let Some(known) = PASSED_DOWN.iter().find(passed)
            && (call.translation.is_none() || *known != "content-type")
        {
            answer.field(known, value);
        }
    }
    changed(call, &mut answer);
    answer.field("x-anykey-provider", plan.provider.name.as_bytes());
    answer.field("x-anykey-model", shown(&plan.model).as_bytes());
    answer.number("x-anykey-attempts", u64::from(ticket.attempts()));
    own::allow_origin(&mut answer, &ticket.key, ticket.origin());
    answer
}

/// Tells what of the request the provider could not be told, and the bound that was set.
fn changed(call: &Call, answer: &mut Answer<Relay>) {
    if let Some(most) = call.most_output {
        answer.number("x-anykey-max-tokens", most);
    }
    if let Some(measured) = call.measured.as_ref().filter(|m| !m.dropped.is_empty()) {
        answer.field("x-anykey-dropped", measured.dropped.as_bytes());
    }
    if let Some(translation) = call.translation.as_ref().filter(|t| !t.dropped.is_empty()) {
        answer.field("x-anykey-dropped", translation.dropped.as_bytes());
    }
}

/// A model's name is the caller's input, so only as much of it goes into a header as may.
fn shown(model: &str) -> &str {
    &model[..model.floor_char_boundary(2 * ECHO_LIMIT)]
}
