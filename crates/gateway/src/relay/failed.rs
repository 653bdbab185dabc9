//! A provider's "no": its status and message in the caller's dialect, or ours where the fault is the operator's.

use super::{Relay, buffered};
use crate::intake::Call;
use crate::own;
use crate::route::Plan;
use crate::settle::{Ending, Ticket};
use anykey_core::record::Outcome;
use anykey_core::{Code, Refusal};
use anykey_dialect::error::{self, RetryHints};
use anykey_net::RawHeaders;
use anykey_net::client::ResponseBody;
use anykey_net::server::Answer;
use bytes::Bytes;

/// More of an error than this is not worth passing on.
const ERROR_LIMIT: usize = 1 << 20;

pub(super) async fn answer(
    mut ticket: Box<Ticket>,
    call: &Call,
    plan: &Plan,
    status: u16,
    headers: &RawHeaders,
    body: ResponseBody,
) -> Result<Answer<Relay>, Refusal> {
    ticket.first_byte();
    let mut body = buffered::collect(body).await.unwrap_or_else(|_| Bytes::new());
    body.truncate(ERROR_LIMIT);
    let hints =
        RetryHints { retry_after: headers.get_str("retry-after"), retry_after_ms: headers.get_str("retry-after-ms") };
    let id = ticket.id().to_string();
    let spoken = call.dialect();
    let said = error::upstream_error(call.dialect_there(), spoken, &plan.provider.name, status, &body, hints, &id);
    if said.credential_refused() {
        tracing::warn!(provider = &*plan.provider.name, status, "the provider refused the operator's credential");
    }
    // Gemini's streams without `alt=sse` are arrays, also when they fail.
    let in_array = call.translation.as_ref().is_some_and(|translation| translation.reply.array);
    let body = if in_array { [b"[", &**said.body(), b"]"].concat().into() } else { said.body().clone() };
    ticket.sent_down(body.len() as u64);
    let mut answer = own::answer(said.status, Relay::whole(body), ticket.id(), spoken);
    answer.field("content-type", b"application/json");
    super::changed(call, &mut answer);
    answer.field("x-anykey-provider", plan.provider.name.as_bytes());
    answer.field("x-anykey-attempts", ticket.attempts().to_string().as_bytes());
    for name in ["retry-after-ms", "x-should-retry"] {
        if let Some(value) = headers.get(name) {
            answer.field(name, value);
        }
    }
    if let Some(seconds) = said.retry_after.or_else(|| derived(said.status)) {
        answer.field("retry-after", seconds.to_string().as_bytes());
    }
    own::allow_origin(&mut answer, &ticket.key, ticket.origin());
    let code = if said.status == status { "" } else { Code::UpstreamError.name() };
    ticket.settle(Ending { outcome: Outcome::UpstreamError, status: said.status, usage: None, worked: false, code })?;
    Ok(answer)
}

/// A provider that is overloaded without saying for how long: callers get a moment, so that they do not come back at once.
fn derived(status: u16) -> Option<u32> {
    const A_MOMENT: u32 = 2;
    matches!(status, 429 | 503 | 529).then_some(A_MOMENT)
}
