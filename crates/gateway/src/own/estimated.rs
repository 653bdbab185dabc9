//! A count of tokens that anykey estimates, because the provider of the model counts none. It says so.

use super::{allow_origin, json};
use crate::relay::Relay;
use crate::settle::Ticket;
use anykey_core::{Dialect, Refusal};
use anykey_net::server::Answer;
use bytes::Bytes;

pub(crate) async fn estimated(
    mut ticket: Box<Ticket>,
    dialect: Dialect,
    count: Bytes,
) -> Result<Answer<Relay>, Refusal> {
    ticket.sent_down(count.len() as u64);
    ticket.settle_here()?;
    if let Some(durable) = ticket.durable() {
        durable.await?;
    }
    let mut answer = json(200, count, ticket.id(), dialect);
    answer.field("x-anykey-estimated", b"true");
    allow_origin(&mut answer, &ticket.key, ticket.origin());
    Ok(answer)
}
