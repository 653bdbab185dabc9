//! Step 6 of a call, the way up: the request is built from the decision, never from the caller's raw headers, and sent
//! until the first byte of an answer.

mod request;

use crate::intake::Call;
use crate::route::Plan;
use crate::settle::Ticket;
use crate::{Worker, hold};
use anykey_core::{Code, Refusal};
use anykey_net::client::{Response, SendError};
use anykey_net::{RawHeaders, guard};

/// A provider's answer has begun.
pub(crate) struct Won {
    pub response: Response,
    /// The usage chunk was asked for by us, not by the caller.
    pub withhold_usage: bool,
}

pub(crate) async fn send(
    worker: &Worker,
    ticket: &mut Ticket,
    call: &Call,
    plan: &Plan,
    headers: &RawHeaders,
    query: Option<&str>,
) -> Result<Won, Refusal> {
    if plan.provider.sealed {
        return Err(Refusal::new(
            Code::UpstreamUnavailable,
            format!("The credential of the provider `{}` cannot be opened. Tell the operator.", plan.provider.name),
        ));
    }
    let mut request = request::build(&worker.client, call, plan, headers, query);
    let destination = &plan.provider.destination;
    let mut retried = false;
    loop {
        match worker.client.send(destination, &mut request.head, &request.body).await {
            Ok(response) => {
                worker.client.recycle(request.head);
                return Ok(Won { response, withhold_usage: request.usage_injected });
            }
            // A kept connection that the provider was just closing: nothing was answered, so the call is sent once more.
            Err(SendError::Closed { reused: true }) if !retried => {
                retried = true;
                ticket.lost()?;
                let held = hold::take(worker, &ticket.key, call, plan, ticket.started_at()).await?;
                ticket.attempt(plan, held)?;
            }
            Err(error) => return Err(failed(&plan.provider.name, &error)),
        }
    }
}

/// What the caller is told; the operator finds the cause in the log.
fn failed(provider: &str, error: &SendError) -> Refusal {
    tracing::warn!(provider, %error, cause = error_chain(error), "the provider could not be called");
    let (code, what) = match error {
        SendError::Forbidden(guard::Forbidden::Metadata | guard::Forbidden::Private) => {
            (Code::UpstreamUnavailable, "leads to an address that may not be called")
        }
        SendError::Forbidden(_) => (Code::UpstreamUnavailable, "has a URL that may not be called"),
        SendError::Resolve(_) => (Code::UpstreamUnavailable, "has a name that cannot be resolved"),
        SendError::Connect(e) if e.kind() == std::io::ErrorKind::TimedOut => {
            (Code::UpstreamTimeout, "could not be reached in time")
        }
        SendError::Connect(_) => (Code::UpstreamUnavailable, "cannot be reached"),
        SendError::Tls(_) => (Code::UpstreamError, "has no valid TLS certificate"),
        SendError::Closed { .. } => (Code::UpstreamError, "closed the connection without an answer"),
        SendError::Timeout => (Code::UpstreamTimeout, "did not begin to answer in time"),
        SendError::Malformed => (Code::UpstreamError, "answered with something that is not well-formed HTTP"),
    };
    let refusal = Refusal::new(code, format!("The provider `{provider}` {what}. Try again, or tell the operator."));
    if code == Code::UpstreamUnavailable { refusal.retry_after(5) } else { refusal }
}

fn error_chain(error: &SendError) -> String {
    use std::error::Error as _;
    error.source().map(ToString::to_string).unwrap_or_default()
}
