//! An answer that is a sound: its bytes leave as they come, but for the last one, which waits until the record is journaled.

use super::{HEARTBEAT, Relay};
use crate::intake::Call;
use crate::route::Plan;
use crate::settle::{Durable, Ending, Ticket};
use anykey_core::Code;
use anykey_core::record::Outcome;
use anykey_net::RawHeaders;
use anykey_net::client::ResponseBody;
use anykey_net::server::{Answer, Broken};
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a provider may pause.
const PAUSE_LIMIT: Duration = Duration::from_secs(120);

/// A sound on its way down.
pub struct Binary {
    upstream: Option<ResponseBody>,
    ticket: Box<Ticket>,
    /// The last byte that has come.
    last: Option<u8>,
    seen: u64,
    status: u16,
    heartbeat: Pin<Box<Sleep>>,
    last_data: Instant,
    aborted: bool,
    durable: Option<Durable>,
}

pub(super) fn answer(
    ticket: Box<Ticket>,
    call: &Call,
    plan: &Plan,
    status: u16,
    headers: &RawHeaders,
    body: ResponseBody,
) -> Answer<Relay> {
    let mut answer = super::open(&ticket, call, plan, status, headers, Relay::Whole(None));
    answer.body = Relay::Binary(Box::new(Binary {
        upstream: Some(body),
        ticket,
        last: None,
        seen: 0,
        status,
        heartbeat: Box::pin(tokio::time::sleep(HEARTBEAT)),
        last_data: Instant::now(),
        aborted: false,
        durable: None,
    }));
    answer
}

impl Binary {
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if self.aborted {
                return Poll::Ready(Some(Err(Broken)));
            }
            if let Some(durable) = &mut self.durable {
                let kept = ready!(durable.as_mut().poll(cx)).is_ok();
                self.durable = None;
                self.aborted = !kept;
                continue;
            }
            let Some(upstream) = &mut self.upstream else {
                return Poll::Ready(self.last.take().map(|last| Ok(Bytes::copy_from_slice(&[last]))));
            };
            match upstream.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) => {
                    if let Some(out) = self.arrived(&piece) {
                        return Poll::Ready(Some(Ok(out)));
                    }
                }
                Poll::Ready(None) => self.complete(),
                Poll::Ready(Some(Err(_))) => self.end_early(Outcome::Broken, Code::UpstreamError),
                Poll::Pending => match self.heartbeat.as_mut().poll(cx) {
                    Poll::Ready(()) => self.beat(),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Everything but the last byte, which changes places with the one that was held.
    fn arrived(&mut self, piece: &Bytes) -> Option<Bytes> {
        self.last_data = Instant::now();
        let (last, rest) = piece.split_last()?;
        if self.seen == 0 {
            self.ticket.first_byte();
        }
        self.seen += piece.len() as u64;
        self.ticket.seen(self.seen, None);
        if self.ticket.key.cancelled() {
            self.end_early(Outcome::Cut, Code::KeyRevoked);
            return None;
        }
        let before = self.last.replace(*last);
        let mut out = BytesMut::with_capacity(piece.len());
        out.extend(before);
        out.extend_from_slice(rest);
        self.ticket.sent_down(out.len() as u64);
        (!out.is_empty()).then(|| out.freeze())
    }

    fn complete(&mut self) {
        self.upstream = None;
        self.ticket.sent_down(u64::from(self.last.is_some()));
        let ending = Ending { outcome: Outcome::Completed, status: self.status, usage: None, worked: true, code: "" };
        match self.ticket.settle(ending) {
            Ok(_) => self.durable = self.ticket.durable(),
            Err(_) => self.aborted = true,
        }
    }

    /// A sound has no place for an error: the connection is closed, so that nobody takes it for whole.
    fn end_early(&mut self, outcome: Outcome, code: Code) {
        self.upstream = None;
        self.aborted = true;
        let ending = Ending { outcome, status: self.status, usage: None, worked: true, code: code.name() };
        let _ = self.ticket.settle(ending);
    }

    fn beat(&mut self) {
        let now = Instant::now();
        self.heartbeat.as_mut().reset(now + HEARTBEAT);
        if self.ticket.key.cancelled() {
            self.end_early(Outcome::Cut, Code::KeyRevoked);
        } else if self.ticket.is_cutting() {
            self.end_early(Outcome::Cut, Code::ShuttingDown);
        } else if now - self.last_data > PAUSE_LIMIT {
            self.end_early(Outcome::Broken, Code::UpstreamTimeout);
        }
    }
}
