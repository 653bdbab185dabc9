//! One connection, from its first byte to its last: heads and bodies in, answers out, and an eye on the caller all the
//! while.

use super::{Admission, Answer, Body, Broken, Options, Service, Stream};
use crate::chunked::{self, Chunked};
use crate::deadline::Deadline;
use crate::head::{self, Fault, Framing, RequestHead};
use crate::turn::last_in_line;
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

/// What a connection brings next.
enum Next {
    Head(RequestHead),
    Http2,
    /// Closed, idle for too long, or the server stops.
    End,
}

/// Why the next read did not come.
enum NoInput {
    Closed,
    Timeout,
    Stopping,
}

/// Why a body was not read whole.
enum NoBody {
    Gone,
    Fault(Fault),
}

const READ_SIZE: usize = 8 * 1024;
/// What may be read ahead of a running call; more waits in the kernel.
const READ_AHEAD: usize = 64 * 1024;
/// Pieces up to this size are gathered into one write.
const GATHER: usize = 32 * 1024;

pub(super) struct Connection {
    stream: Stream,
    peer: SocketAddr,
    options: Options,
    buf: BytesMut,
    out: Vec<u8>,
    deadline: Deadline,
    stop: Pin<Box<dyn Future<Output = ()>>>,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: SocketAddr, options: Options, stop: watch::Receiver<bool>) -> Self {
        let mut stopped = stop.clone();
        Connection {
            stream,
            peer,
            options,
            buf: BytesMut::new(),
            out: Vec::with_capacity(1024),
            deadline: Deadline::new(options.head_timeout),
            stop: Box::pin(async move {
                let _ = stopped.wait_for(|s| *s).await;
            }),
            stopping: stop,
        }
    }

    pub(super) async fn run<S: Service>(mut self, service: Rc<S>) {
        let mut first = true;
        loop {
            match self.next_head(first).await {
                Ok(Next::Head(head)) => {
                    if !self.exchange(&*service, head).await {
                        return;
                    }
                }
                Ok(Next::Http2) => {
                    let Connection { stream, peer, buf, stop, .. } = self;
                    return Box::pin(crate::h2::serve(stream, buf.freeze(), peer, service, stop)).await;
                }
                Ok(Next::End) => return,
                Err(fault) => {
                    let answer = service.refuse(None, None, fault);
                    self.answer_and_close(answer, false).await;
                    return;
                }
            }
            first = false;
        }
    }

    /// One request and its answer; true says that the connection may carry another.
    async fn exchange<S: Service>(&mut self, service: &S, head: RequestHead) -> bool {
        let head_only = head.method == http::Method::HEAD;
        let keep = head.keep_alive;
        let plain = head.http_10;
        match service.admit(&head, self.peer).await {
            Admission::Answer(answer) => {
                // A body that nobody will read is not worth keeping the connection for.
                if head.framing == Framing::None {
                    return self.answer(answer, keep, head_only, plain).await;
                }
                self.answer_and_close(answer, head_only).await;
                false
            }
            Admission::Accept { state, body_limit } => match self.read_body(&head, body_limit).await {
                Ok(body) => {
                    let call = pin!(service.call(&head, state, body));
                    match self.unless_gone(call).await {
                        Some(answer) => self.answer(answer, keep, head_only, plain).await,
                        None => false,
                    }
                }
                Err(NoBody::Gone) => false,
                Err(NoBody::Fault(fault)) => {
                    let answer = service.refuse(Some(&head), Some(state), fault);
                    self.answer_and_close(answer, head_only).await;
                    false
                }
            },
        }
    }

    async fn next_head(&mut self, first: bool) -> Result<Next, Fault> {
        let wait = if first { self.options.head_timeout } else { self.options.idle_timeout };
        self.deadline.set(Instant::now() + wait);
        let mut started = false;
        loop {
            if !self.buf.is_empty() {
                if !started {
                    started = true;
                    self.deadline.set(Instant::now() + self.options.head_timeout);
                }
                // HTTP/2 begins with a line that is no request: its first 18 bytes are enough to tell.
                let preface = first && self.buf.starts_with(&crate::h2::PREFACE[..18.min(self.buf.len())]);
                if preface && self.buf.len() >= crate::h2::PREFACE.len() {
                    return Ok(Next::Http2);
                }
                if !preface && let Some(head) = head::read(&mut self.buf, &self.options.limits)? {
                    return Ok(Next::Head(head));
                }
            }
            match self.read_some(!started).await {
                Ok(()) => {}
                Err(NoInput::Timeout) if started => return Err(Fault::Timeout),
                Err(_) => return Ok(Next::End),
            }
        }
    }

    /// Waits for input and appends it to the buffer. Only an idle connection yields to a stopping server.
    async fn read_some(&mut self, idle: bool) -> Result<(), NoInput> {
        self.make_room();
        let Connection { stream, buf, deadline, stop, .. } = self;
        std::future::poll_fn(|cx| {
            match poll_read_buf(Pin::new(&mut *stream), cx, buf) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoInput::Closed)),
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
            if idle && stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(NoInput::Stopping));
            }
            deadline.poll(cx).map(|()| Err(NoInput::Timeout))
        })
        .await
    }

    fn make_room(&mut self) {
        if self.buf.capacity() - self.buf.len() < READ_SIZE / 4 {
            self.buf.reserve(READ_SIZE);
        }
    }

    async fn read_body(&mut self, head: &RequestHead, limit: u64) -> Result<Bytes, NoBody> {
        match head.framing {
            Framing::None => Ok(Bytes::new()),
            Framing::Length(n) if n > limit => Err(NoBody::Fault(Fault::BodyTooLarge)),
            Framing::Length(n) => {
                let n = n as usize;
                if self.buf.len() < n {
                    self.invite(head).await?;
                    let started = Instant::now();
                    while self.buf.len() < n {
                        // Grown as it comes: a length is a promise, not a reason to take memory.
                        let missing = (n - self.buf.len()).min(1024 * 1024);
                        self.buf.reserve(missing);
                        self.read_body_part(started, self.buf.len() as u64).await?;
                    }
                }
                Ok(self.buf.split_to(n).freeze())
            }
            Framing::Chunked => self.read_chunks(head, limit).await,
        }
    }

    async fn read_chunks(&mut self, head: &RequestHead, limit: u64) -> Result<Bytes, NoBody> {
        let mut chunked = Chunked::default();
        let mut body = BytesMut::new();
        let started = Instant::now();
        let mut invited = false;
        loop {
            let next = chunked.next(&mut self.buf);
            match next.map_err(|_| NoBody::Fault(Fault::AmbiguousFraming("the chunks are not well formed")))? {
                Some(data) => {
                    if (body.len() + data.len()) as u64 > limit {
                        return Err(NoBody::Fault(Fault::BodyTooLarge));
                    }
                    body.extend_from_slice(&data);
                }
                None if chunked.is_done() => return Ok(body.freeze()),
                None => {
                    if !invited {
                        invited = true;
                        self.invite(head).await?;
                    }
                    self.read_body_part(started, body.len() as u64).await?;
                }
            }
        }
    }

    /// Tells a client that waits for it that its body is wanted.
    async fn invite(&mut self, head: &RequestHead) -> Result<(), NoBody> {
        if head.expects_continue {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush().await.map_err(|_| NoBody::Gone)?;
        }
        Ok(())
    }

    async fn read_body_part(&mut self, started: Instant, so_far: u64) -> Result<(), NoBody> {
        let earned = Duration::from_millis(so_far.saturating_mul(1000) / self.options.body_min_rate.max(1));
        self.deadline.set(started + self.options.body_grace + earned);
        match self.read_some(false).await {
            Ok(()) => Ok(()),
            Err(NoInput::Timeout) => Err(NoBody::Fault(Fault::Timeout)),
            Err(_) => Err(NoBody::Gone),
        }
    }

    /// Runs a call as long as the client stays; a client who has gone drops it.
    async fn unless_gone<T>(&mut self, mut call: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            self.poll_gone(cx).map(|()| None)
        })
        .await
    }

    /// Ready when the client has closed its side. What it sends meanwhile is the next request.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.buf.len() < READ_AHEAD {
            self.make_room();
            match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.buf)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Answers, then closes in a way that lets the client read the answer although it was still sending.
    async fn answer_and_close<B: Body>(&mut self, answer: Answer<B>, head_only: bool) {
        self.answer(answer, false, head_only, false).await;
        self.linger().await;
    }

    /// Sends an answer; true says that the connection may carry another request.
    async fn answer<B: Body>(&mut self, answer: Answer<B>, keep: bool, head_only: bool, plain: bool) -> bool {
        let Answer { status, lines, mut body, close } = answer;
        let len = body.exact_len();
        let chunks = len.is_none() && !plain && !head_only;
        let keep = keep && !close && (len.is_some() || chunks) && !*self.stopping.borrow();
        self.open_answer(status, &lines, len, chunks, keep);
        drop(lines);
        if head_only {
            return self.flush().await.is_ok() && keep;
        }
        let mut pieces: Vec<Bytes> = Vec::new();
        loop {
            let gathered = self.gather(&mut body, &mut pieces).await;
            if let Gathered::Gone = gathered {
                return false;
            }
            let written = self.send_pieces(&mut pieces, chunks, matches!(gathered, Gathered::End)).await;
            match gathered {
                _ if written.is_err() => return false,
                Gathered::More => {}
                Gathered::End => return keep,
                Gathered::Broken | Gathered::Gone => return false,
            }
        }
    }

    fn open_answer(&mut self, status: u16, lines: &[u8], len: Option<u64>, chunks: bool, keep: bool) {
        use std::io::Write as _;
        // Writing to a Vec cannot fail.
        if status == 200 {
            self.out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Status");
            let _ = write!(self.out, "HTTP/1.1 {status} {reason}\r\n");
        }
        self.out.extend_from_slice(lines);
        if let Some(len) = len {
            if !(status == 204 || status == 304) {
                self.out.extend_from_slice(b"content-length: ");
                self.out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        } else if chunks {
            self.out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if !keep {
            self.out.extend_from_slice(b"connection: close\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Takes everything that the body has ready now, and waits only where it has nothing.
    async fn gather<B: Body>(&mut self, body: &mut B, pieces: &mut Vec<Bytes>) -> Gathered {
        let mut size = 0;
        std::future::poll_fn(|cx| {
            loop {
                match body.poll_data(cx) {
                    Poll::Ready(Some(Ok(piece))) => {
                        size += piece.len();
                        if !piece.is_empty() {
                            pieces.push(piece);
                        }
                        if size > GATHER {
                            return Poll::Ready(Gathered::More);
                        }
                    }
                    Poll::Ready(Some(Err(Broken))) => return Poll::Ready(Gathered::Broken),
                    Poll::Ready(None) => return Poll::Ready(Gathered::End),
                    // The head alone leaves at once too: a caller may be waiting for the status.
                    Poll::Pending if !pieces.is_empty() || !self.out.is_empty() => return Poll::Ready(Gathered::More),
                    Poll::Pending => return self.poll_gone(cx).map(|()| Gathered::Gone),
                }
            }
        })
        .await
    }

    async fn send_pieces(&mut self, pieces: &mut Vec<Bytes>, chunks: bool, last: bool) -> std::io::Result<()> {
        let size: usize = pieces.iter().map(Bytes::len).sum();
        if chunks && size > 0 {
            chunked::open_chunk(&mut self.out, size);
        }
        for piece in pieces.drain(..) {
            if piece.len() > GATHER {
                self.flush().await?;
                self.write_all(&piece).await?;
            } else {
                self.out.extend_from_slice(&piece);
            }
        }
        if chunks && size > 0 {
            self.out.extend_from_slice(b"\r\n");
        }
        if chunks && last {
            self.out.extend_from_slice(chunked::LAST_CHUNK);
        }
        last_in_line().await;
        self.flush().await
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        let mut out = std::mem::take(&mut self.out);
        let written = self.write_all(&out).await;
        out.clear();
        if out.capacity() <= 2 * GATHER {
            self.out = out;
        }
        written
    }

    /// Writes it all, and waits for a client who does not read no longer than `write_timeout` at a time.
    async fn write_all(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        let Connection { stream, deadline, options, .. } = self;
        let mut waiting = false;
        std::future::poll_fn(|cx| {
            loop {
                let progress = match bytes {
                    // Over TLS what was taken may still have to leave.
                    [] => Pin::new(&mut *stream).poll_flush(cx).map_ok(|()| 0),
                    _ => Pin::new(&mut *stream).poll_write(cx, bytes),
                };
                match progress {
                    Poll::Ready(Ok(_)) if bytes.is_empty() => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => {
                        bytes = &bytes[n..];
                        waiting = false;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        if !waiting {
                            waiting = true;
                            deadline.set(Instant::now() + options.write_timeout);
                        }
                        return deadline.poll(cx).map(|()| Err(std::io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        })
        .await
    }

    /// Closing with unread input resets the connection and may destroy the answer on its way, so a little is read past.
    async fn linger(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await;
        self.deadline.set(Instant::now() + Duration::from_secs(2));
        let mut left: usize = 256 * 1024;
        while self.read_some(false).await.is_ok() {
            let read = self.buf.len();
            self.buf.clear();
            match left.checked_sub(read) {
                Some(less) => left = less,
                None => return,
            }
        }
    }
}

enum Gathered {
    More,
    End,
    Broken,
    Gone,
}
