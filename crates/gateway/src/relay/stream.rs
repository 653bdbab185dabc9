//! An answer piece by piece: what arrives leaves at once and unchanged, a tap reads usage in passing, and the frame that
//! ends the answer waits until the record is journaled.

use super::{HEARTBEAT, Relay};
use crate::grow::Growth;
use crate::intake::Call;
use crate::route::Plan;
use crate::settle::{Durable, Ending, Ticket};
use anykey_core::record::Outcome;
use anykey_core::{Code, Refusal};
use anykey_dialect::stream::{End, Phase, StreamKind, StreamMeter};
use anykey_dialect::translate::StreamTranslator;
use anykey_net::RawHeaders;
use anykey_net::client::ResponseBody;
use anykey_net::server::{Answer, Broken};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a provider may pause. Providers that think for longer send pings.
const PAUSE_LIMIT: Duration = Duration::from_secs(300);
/// How long a provider may keep the connection open after it has said that the answer is over.
const TAIL_LIMIT: Duration = Duration::from_secs(2);

/// A stream on its way down.
pub struct Stream {
    upstream: Option<ResponseBody>,
    meter: StreamMeter,
    /// Where the caller speaks another dialect: what the meter lets pass goes through it.
    translator: Option<Box<StreamTranslator>>,
    ticket: Box<Ticket>,
    /// Where somebody's limit pays for it.
    growth: Option<Box<Growth>>,
    out: Vec<Bytes>,
    ready: VecDeque<Bytes>,
    state: State,
    status: u16,
    heartbeat: Pin<Box<Sleep>>,
    last_data: Instant,
    begun: bool,
    /// In strict mode: until the disk has the record, the end waits.
    durable: Option<Durable>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The answer is settled and released; the connection is read to its end so that it can be used again.
    Tail,
    /// Nothing more will come; what is ready still leaves.
    Ended,
    /// Like `Ended`, but the caller must not take it for a clean end.
    Aborted,
}

#[expect(clippy::too_many_arguments, reason = "the joints of the path meet here, and nowhere else")]
pub(super) fn answer(
    ticket: Box<Ticket>,
    call: &Call,
    plan: &Plan,
    status: u16,
    headers: &RawHeaders,
    body: ResponseBody,
    kind: StreamKind,
    withhold_usage: bool,
) -> Answer<Relay> {
    let mut answer = super::open(&ticket, call, plan, status, headers, Relay::Whole(None));
    let translator = call
        .translation
        .as_ref()
        .map(|translation| Box::new(StreamTranslator::new(translation.api, translation.reply.clone())));
    if let Some(translator) = &translator {
        answer.field("content-type", translator.content_type().as_bytes());
    }
    answer.field("cache-control", b"no-cache");
    answer.field("x-accel-buffering", b"no");
    let growth = Growth::watch(&ticket, call, plan);
    let mut meter = StreamMeter::new(kind, withhold_usage);
    if growth.is_some() {
        meter.weigh();
    }
    answer.body = Relay::Stream(Box::new(Stream {
        upstream: Some(body),
        meter,
        translator,
        ticket,
        growth,
        out: Vec::with_capacity(4),
        ready: VecDeque::with_capacity(4),
        state: State::Open,
        status,
        heartbeat: Box::pin(tokio::time::sleep(HEARTBEAT)),
        last_data: Instant::now(),
        begun: false,
        durable: None,
    }));
    answer
}

impl Stream {
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if let Some(durable) = &mut self.durable {
                let kept = ready!(durable.as_mut().poll(cx));
                self.durable = None;
                self.release(kept.is_ok());
                continue;
            }
            match self.state {
                State::Ended => return Poll::Ready(None),
                State::Aborted => return Poll::Ready(Some(Err(Broken))),
                State::Open | State::Tail => {}
            }
            let Some(upstream) = &mut self.upstream else {
                self.state = State::Ended;
                continue;
            };
            match upstream.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => self.arrived(bytes),
                Poll::Ready(None) => self.ended(),
                Poll::Ready(Some(Err(_))) if self.state == State::Tail => self.state = State::Ended,
                Poll::Ready(Some(Err(_))) => self.broke(Code::UpstreamError, "broke off in the middle of its answer"),
                Poll::Pending => match self.heartbeat.as_mut().poll(cx) {
                    Poll::Ready(()) => self.beat(),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    fn arrived(&mut self, bytes: Bytes) {
        self.last_data = Instant::now();
        if self.state == State::Tail {
            // After the end only blank lines and closing brackets may come; the meter says what of it may pass.
            let _ = self.meter.feed(bytes, &mut self.out);
            self.pass();
            return;
        }
        if !self.begun {
            self.begun = true;
            self.ticket.first_byte();
        }
        match self.meter.feed(bytes, &mut self.out) {
            Ok(Phase::Open) => {
                if !self.pass() {
                    return self.not_its_kind();
                }
                if self.ticket.key.cancelled() {
                    self.cut();
                } else if let Some(growth) = &mut self.growth
                    && !growth.goes_on(&self.meter, &mut self.ticket)
                {
                    let refusal = self.ticket.outgrown();
                    self.end_early(Outcome::Cut, &refusal);
                }
            }
            Ok(Phase::Terminal) => {
                if !self.pass() {
                    return self.not_its_kind();
                }
                self.state = State::Tail;
                self.complete();
            }
            Err(_) => {
                self.pass();
                self.not_its_kind();
            }
        }
    }

    fn not_its_kind(&mut self) {
        self.broke(Code::UpstreamError, "sent something that is not a stream of its kind");
    }

    fn ended(&mut self) {
        self.upstream = None;
        if self.state == State::Tail {
            self.state = State::Ended;
            return;
        }
        let end = self.meter.finish(&mut self.out);
        let passed = self.pass();
        match end {
            _ if !passed => self.not_its_kind(),
            End::Complete => {
                self.state = State::Ended;
                self.complete();
            }
            End::Truncated => self.broke(Code::UpstreamError, "broke off in the middle of its answer"),
        }
    }

    /// The answer is over: its record is journaled, and only then does its last frame leave.
    fn complete(&mut self) {
        self.tell_ticket();
        if !self.conclude() {
            return self.not_its_kind();
        }
        let failed = self.meter.error().is_some() || self.translator.as_ref().is_some_and(|t| t.has_failed());
        let outcome = if failed { Outcome::UpstreamError } else { Outcome::Completed };
        let usage = self.meter.usage();
        let kept = self.ticket.settle(Ending { outcome, status: self.status, usage, worked: true, code: "" });
        match self.ticket.durable() {
            Some(durable) if kept.is_ok() => self.durable = Some(durable),
            _ => self.release(kept.is_ok()),
        }
    }

    /// Has the translator tell the end, which stays here until it is journaled; false where it finds none in what the
    /// meter takes for a whole answer. The record then says what the caller is told.
    fn conclude(&mut self) -> bool {
        if self.translator.is_none() {
            return true;
        }
        self.meter.release(&mut self.out);
        let told = self.translate();
        let Some(translator) = &mut self.translator else { return told };
        let told = told && translator.finish(&self.meter, &mut self.out).is_ok();
        if !told {
            self.hand_over();
        }
        told
    }

    /// Lets the last frame go. Without its record the answer must not look whole.
    fn release(&mut self, kept: bool) {
        if kept {
            self.meter.release(&mut self.out);
            self.hand_over();
        } else {
            self.upstream = None;
            self.state = State::Aborted;
        }
    }

    /// Says in the stream that it broke, and closes the connection so that nobody takes it for whole.
    fn broke(&mut self, code: Code, what: &str) {
        self.end_early(
            Outcome::Broken,
            &Refusal::new(code, format!("The provider {what}. The answer is not complete.")),
        );
    }

    fn end_early(&mut self, outcome: Outcome, refusal: &Refusal) {
        self.upstream = None;
        self.tell_ticket();
        let id = self.ticket.id().to_string();
        let _ = self.ticket.settle(Ending {
            outcome,
            status: self.status,
            usage: None,
            worked: true,
            code: refusal.code.name(),
        });
        let broken = match &self.translator {
            None => self.meter.broken(refusal, &id),
            Some(translator) => translator.broken(refusal, &id),
        };
        // An empty piece would be the end of the body.
        if !broken.is_empty() {
            self.ready.push_back(broken);
        }
        self.state = State::Aborted;
    }

    /// The key lost its power while the stream was running.
    fn cut(&mut self) {
        let refusal =
            Refusal::new(Code::KeyRevoked, "The API key was revoked or disabled while the answer was running.");
        self.end_early(Outcome::Cut, &refusal);
    }

    fn beat(&mut self) {
        let now = Instant::now();
        self.heartbeat.as_mut().reset(now + HEARTBEAT);
        let waited = now - self.last_data;
        if self.state == State::Tail {
            if waited > TAIL_LIMIT {
                self.upstream = None;
                self.state = State::Ended;
            }
        } else if self.ticket.key.cancelled() {
            self.cut();
        } else if self.ticket.is_cutting() {
            let refusal = Refusal::new(Code::ShuttingDown, "The gateway is being restarted. Send the request again.");
            self.end_early(Outcome::Cut, &refusal);
        } else if waited > PAUSE_LIMIT {
            self.broke(Code::UpstreamTimeout, "stopped in the middle of its answer");
        }
    }

    /// Hands on what the meter has let pass; false where it could not be translated.
    fn pass(&mut self) -> bool {
        let understood = self.translator.is_none() || self.translate();
        self.hand_over();
        understood
    }

    fn translate(&mut self) -> bool {
        let Some(translator) = &mut self.translator else { return true };
        let frames = std::mem::take(&mut self.out);
        frames.iter().all(|frame| translator.feed(frame, &self.meter, &mut self.out).is_ok())
    }

    fn hand_over(&mut self) {
        let bytes: usize = self.out.iter().map(Bytes::len).sum();
        self.ticket.sent_down(bytes as u64);
        self.ready.extend(self.out.drain(..));
    }

    fn tell_ticket(&mut self) {
        self.ticket.served_by(self.meter.model_served());
        self.ticket.seen(self.meter.output_bytes(), self.meter.usage());
    }
}

/// A caller who hangs up drops the stream; the ticket then settles with what has passed until here.
impl Drop for Stream {
    fn drop(&mut self) {
        self.tell_ticket();
    }
}
