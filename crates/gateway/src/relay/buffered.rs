//! An answer in one piece: read whole, settled, then released. Its last byte cannot leave before its record is journaled,
//! because none of it does.

use super::Relay;
use crate::intake::{Call, Vectors};
use crate::route::Plan;
use crate::settle::{Ending, Ticket};
use anykey_core::record::Outcome;
use anykey_core::{Code, Refusal, Usage};
use anykey_dialect::translate::{self, Api, Told};
use anykey_dialect::usage::read_answer;
use anykey_dialect::{embed, rerank};
use anykey_net::RawHeaders;
use anykey_net::client::{BodyError, ResponseBody};
use anykey_net::server::Answer;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// The largest answer that is taken: embeddings of a full batch and images fit, a provider gone mad does not.
const ANSWER_LIMIT: u64 = 64 << 20;
/// How long a provider may pause within an answer that has begun.
const PAUSE_LIMIT: Duration = Duration::from_secs(120);

/// Why an answer could not be read whole.
pub(super) enum Unread {
    Truncated,
    TooLarge,
    Stalled,
    NotJson,
    NotIts,
    /// The provider says in its answer that there is none.
    Failed(String),
}

pub(super) async fn answer(
    mut ticket: Box<Ticket>,
    call: &Call,
    plan: &Plan,
    status: u16,
    headers: &RawHeaders,
    body: ResponseBody,
) -> Result<Answer<Relay>, Refusal> {
    ticket.first_byte();
    let body = match collect(body).await {
        Ok(body) => body,
        Err(unread) => return Err(lost(&mut ticket, plan, &unread)),
    };
    let mut read = read_answer(call.endpoint_there(), &body);
    // Subtitles and plain texts are whole when their bytes are.
    read.complete |= call.measured.as_ref().is_some_and(|measured| measured.plain);
    if !read.complete {
        ticket.seen(body.len() as u64, read.usage);
        return Err(lost(&mut ticket, plan, &Unread::NotJson));
    }
    ticket.served_by(read.model.as_deref());
    ticket.seen(body.len() as u64, read.usage);
    let told = match translated(call, &body, read.usage.as_ref()).transpose() {
        Ok(told) => told,
        Err(unread) => return Err(lost(&mut ticket, plan, &unread)),
    };
    let mut answer = super::open(&ticket, call, plan, status, headers, Relay::Whole(None));
    let body = match told {
        None => body,
        Some(told) => {
            answer.field("content-type", told.content_type.as_bytes());
            if !told.left_out.is_empty() {
                answer.field("x-anykey-dropped", told.left_out.join(", ").as_bytes());
            }
            told.body
        }
    };
    let body = match call.measured.as_ref().and_then(|measured| measured.answer_in) {
        None => body,
        Some(caller) => match rerank::answer(&body, caller) {
            Some(ranking) => ranking,
            None => return Err(lost(&mut ticket, plan, &Unread::NotIts)),
        },
    };
    ticket.sent_down(body.len() as u64);
    let cost =
        ticket.settle(Ending { outcome: Outcome::Completed, status, usage: read.usage, worked: true, code: "" })?;
    if let Some(durable) = ticket.durable() {
        durable.await?;
    }
    if let Some(cost) = cost {
        answer.field("x-anykey-cost", cost.text().as_bytes());
    }
    answer.body = Relay::whole(body);
    Ok(answer)
}

/// The answer in the caller's dialect where that is another one; as a stream where one was asked for.
fn translated(call: &Call, body: &Bytes, usage: Option<&Usage>) -> Option<Result<Told, Unread>> {
    let translation = call.translation.as_ref()?;
    let unread = |unread| match unread {
        translate::Unread::NotIts => Unread::NotIts,
        translate::Unread::Failed(why) => Unread::Failed(why),
    };
    if let Some(Vectors { shape, base64 }) = translation.vectors {
        let told = embed::answer(body, shape, base64, &translation.reply.model, usage);
        let told = told.map(|body| Told { body, content_type: "application/json", left_out: Vec::new() });
        return Some(told.ok_or(Unread::NotIts));
    }
    if Api::counting(call.route.endpoint).is_some() {
        return Some(translate::count_answer(translation.api, body, translation.reply.client).map_err(unread));
    }
    let translate = if call.stream { translate::replayed } else { translate::answer };
    let told = translate(translation.api, body, usage, &translation.reply);
    Some(told.map_err(unread))
}

/// The provider did the work; what there was of its answer is of no use.
fn lost(ticket: &mut Ticket, plan: &Plan, unread: &Unread) -> Refusal {
    let refusal = refusal(&plan.provider.name, unread);
    let _ = ticket.settle(Ending {
        outcome: Outcome::Broken,
        status: refusal.status(),
        usage: None,
        worked: true,
        code: refusal.code.name(),
    });
    refusal
}

/// Reads an answer whole and bounded. An answer of known length that came at once is not copied.
pub(super) async fn collect(mut body: ResponseBody) -> Result<Bytes, Unread> {
    let expected = body.remaining();
    if expected.is_some_and(|n| n > ANSWER_LIMIT) {
        return Err(Unread::TooLarge);
    }
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    body.give_up_after(PAUSE_LIMIT);
    while let Some(piece) = std::future::poll_fn(|cx| body.poll_data(cx)).await {
        let piece = piece.map_err(|error| match error {
            BodyError::Truncated => Unread::Truncated,
            BodyError::Stalled => Unread::Stalled,
        })?;
        match first.take() {
            None if whole.is_empty() => first = Some(piece),
            None => whole.extend_from_slice(&piece),
            Some(before) => {
                whole.reserve(expected.unwrap_or(0).max(before.len() as u64 + piece.len() as u64) as usize);
                whole.extend_from_slice(&before);
                whole.extend_from_slice(&piece);
            }
        }
        if whole.len() as u64 > ANSWER_LIMIT {
            return Err(Unread::TooLarge);
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

fn refusal(provider: &str, unread: &Unread) -> Refusal {
    let (code, what) = match unread {
        Unread::Failed(why) => {
            return Refusal::new(Code::UpstreamError, format!("The provider `{provider}` gave no answer. {why}"));
        }
        Unread::Truncated => (Code::UpstreamError, "broke off in the middle of its answer"),
        Unread::TooLarge => (Code::UpstreamError, "sent an answer that is too large to take"),
        Unread::NotJson => (Code::UpstreamError, "sent an answer that is not whole JSON"),
        Unread::NotIts => (Code::UpstreamError, "sent an answer that is not of its kind"),
        Unread::Stalled => (Code::UpstreamTimeout, "stopped in the middle of its answer"),
    };
    Refusal::new(code, format!("The provider `{provider}` {what}. Try again."))
}
