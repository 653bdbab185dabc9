//! The body of an answer on its way out: paced, shredded, cut or garbled as asked, and counted as it goes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::books::Ticket;
use crate::reply::Encode;
use crate::script::Answer;
use crate::telling::Telling;

/// A body as hyper takes it.
pub(crate) struct SimBody {
    inner: Inner,
    ticket: Ticket,
}

enum Inner {
    /// Everything at once: the cheap path.
    Plain(Bytes),
    Played(Box<Player>),
}

/// Where the bytes of a played body come from.
pub(crate) enum Source {
    Whole(Bytes),
    Beats { telling: Telling, encoder: Box<dyn Encode> },
}

/// How a body is played.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    pub ttfb: Option<Duration>,
    pub pause: Option<Duration>,
    pub shred: Option<usize>,
    pub cut_after: Option<u64>,
    /// Drop the connection half-way through the pieces.
    pub cut_midway: bool,
    /// Say something that is not JSON half-way through the pieces, then end.
    pub garble_midway: bool,
}

impl Manner {
    fn is_plain(&self) -> bool {
        self.ttfb.is_none() && self.pause.is_none() && self.shred.is_none() && self.cut_after.is_none()
    }
}

struct Player {
    source: Source,
    manner: Manner,
    /// Encoded and not yet sent.
    ready: BytesMut,
    sent: u64,
    /// When the next piece is due; kept apart from the timer so that pauses do not add up to a drift.
    due: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Give hyper a turn to flush, so that one piece is one write and a cut loses nothing before it.
    breathe: bool,
    breaking: bool,
    finished: bool,
}

/// The provider broke off, as it was asked to.
#[derive(Debug)]
struct BrokeOff;

impl fmt::Display for BrokeOff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the practice provider broke off, as it was asked to")
    }
}

impl std::error::Error for BrokeOff {}

impl SimBody {
    pub(crate) fn whole(bytes: Bytes, mut manner: Manner, ticket: Ticket) -> Self {
        if manner.garble_midway {
            // Valid framing around half a document.
            let half = bytes.slice(..bytes.len() / 2);
            return Self::whole(half, Manner { garble_midway: false, ..manner }, ticket);
        }
        if manner.cut_midway && manner.cut_after.is_none() {
            manner.cut_after = Some(bytes.len() as u64 / 2);
        }
        let inner = match manner.is_plain() {
            true => Inner::Plain(bytes),
            false => Inner::Played(Player::new(Source::Whole(bytes), manner)),
        };
        let mut body = Self { inner, ticket };
        if body.is_end_stream() {
            body.ticket.complete();
        }
        body
    }

    pub(crate) fn stream(answer: Answer, encoder: Box<dyn Encode>, manner: Manner, ticket: Ticket) -> Self {
        let source = Source::Beats { telling: Telling::new(answer), encoder };
        Self { inner: Inner::Played(Player::new(source, manner)), ticket }
    }
}

impl Player {
    fn new(source: Source, manner: Manner) -> Box<Self> {
        Box::new(Self {
            source,
            manner,
            ready: BytesMut::new(),
            sent: 0,
            due: None,
            sleep: manner.ttfb.map(|wait| Box::pin(tokio::time::sleep(wait))),
            breathe: false,
            breaking: false,
            finished: false,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokeOff>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            if std::mem::take(&mut self.breathe) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.breaking {
                return Poll::Ready(Some(Err(BrokeOff)));
            }
            if let Some(piece) = self.take_ready() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.breaking {
                continue;
            }
            if self.finished {
                return Poll::Ready(None);
            }
            self.refill();
        }
    }

    /// The next write, if there is something to write and the cut has not come.
    fn take_ready(&mut self) -> Option<Bytes> {
        let left = self.manner.cut_after.map(|cut| cut.saturating_sub(self.sent));
        if left == Some(0) && !(self.finished && self.ready.is_empty()) {
            self.break_off();
            return None;
        }
        if self.ready.is_empty() {
            return None;
        }
        let mut size = self.ready.len();
        if let Some(shred) = self.manner.shred {
            size = size.min(shred);
        }
        if let Some(left) = left {
            size = size.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let piece = self.ready.split_to(size).freeze();
        self.sent += size as u64;
        if self.manner.shred.is_some() {
            self.breathe = true;
            if !self.ready.is_empty() {
                self.wait();
            }
        }
        Some(piece)
    }

    fn break_off(&mut self) {
        self.breaking = true;
        self.breathe = true;
        self.ready.clear();
    }

    fn refill(&mut self) {
        match &mut self.source {
            Source::Whole(bytes) => {
                self.ready = BytesMut::from(std::mem::take(bytes));
                self.finished = true;
            }
            Source::Beats { telling, encoder } => {
                if telling.is_midway() {
                    if self.manner.cut_midway {
                        self.break_off();
                        return;
                    }
                    if self.manner.garble_midway {
                        self.ready.extend_from_slice(b"data: {\"id\":\"broken\n\n");
                        self.finished = true;
                        return;
                    }
                }
                if !telling.step(encoder.as_mut(), &mut self.ready) {
                    self.finished = true;
                    return;
                }
                if telling.piece_is_next() {
                    self.wait();
                }
            }
        }
    }

    /// Sets the timer for the next piece, counted from when the last one was due.
    fn wait(&mut self) {
        let Some(pause) = self.manner.pause else {
            return;
        };
        let now = Instant::now();
        // The first pause counts from now; a slow reader does not earn a burst.
        let due = self.due.map_or(now + pause, |due| (due + pause).max(now));
        self.due = Some(due);
        self.sleep = Some(Box::pin(tokio::time::sleep_until(due)));
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let polled = match &mut this.inner {
            Inner::Plain(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Plain(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Inner::Played(player) => player.poll(cx),
        };
        Poll::Ready(match ready!(polled) {
            None => {
                this.ticket.complete();
                None
            }
            Some(Ok(bytes)) => {
                this.ticket.sent(bytes.len());
                if this.is_end_stream() {
                    this.ticket.complete();
                }
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(broken)) => {
                this.ticket.cut();
                this.rebill();
                Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, broken)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Plain(bytes) => bytes.is_empty(),
            Inner::Played(player) => {
                matches!(player.source, Source::Whole(_))
                    && player.finished
                    && player.ready.is_empty()
                    && !player.breaking
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Plain(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Played(player) => match &player.source {
                Source::Whole(bytes) => SizeHint::with_exact((bytes.len() + player.ready.len()) as u64),
                Source::Beats { .. } => SizeHint::default(),
            },
        }
    }
}

impl SimBody {
    /// A provider charges for what it said, not for what it would have said.
    fn rebill(&self) {
        if let Inner::Played(player) = &self.inner
            && let Source::Beats { telling, .. } = &player.source
        {
            self.ticket.rebill(telling.spoken());
        }
    }
}

impl Drop for SimBody {
    fn drop(&mut self) {
        if !self.ticket.is_complete() {
            self.rebill();
        }
    }
}
