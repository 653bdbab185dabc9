//! The client: HTTP/1.1 to providers, with idle connections kept per destination on each thread.
//!
//! A request is sent and its answer read by the task that asked: nothing is spawned, and dropping an answer's body before
//! its end closes the connection, so a provider stops working for a caller who has gone. Redirects are never followed,
//! nothing is decompressed and no proxy of the environment is used.

use crate::chunked::Chunked;
use crate::deadline::Deadline;
use crate::guard::{Destination, Forbidden};
use crate::head::head_end;
use crate::headers::RawHeaders;
use crate::turn::last_in_line;
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub connect_timeout: Duration,
    /// How long the other side may take from the request's first byte to its answer's.
    pub answer_timeout: Duration,
    /// Shorter than the minute after which most servers close, so that we seldom write into a closing connection.
    pub idle_timeout: Duration,
    pub max_idle: usize,
    pub head_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(55),
            max_idle: 512,
            head_bytes: 64 * 1024,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the name could not be resolved")]
    Resolve(#[source] io::Error),
    #[error("the connection could not be made")]
    Connect(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the connection was closed before an answer came")]
    Closed {
        /// The connection had carried other requests, was closed before a byte of the answer, and may have been closing
        /// while we wrote: the usual race of kept connections.
        reused: bool,
    },
    #[error("no answer began in time")]
    Timeout,
    #[error("the answer is not well formed")]
    Malformed,
}

/// Why an answer's body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the answer broke off")]
    Truncated,
    /// Longer than [`ResponseBody::give_up_after`] allows.
    #[error("the answer stopped in the middle")]
    Stalled,
}

/// An answer whose body is still coming.
pub struct Response {
    pub status: u16,
    pub headers: RawHeaders,
    pub body: ResponseBody,
}

/// A body up to this size is written in one piece with its head.
const GATHER: usize = 32 * 1024;

/// Buffers that are kept for the next requests, and the largest of them in bytes.
const KEPT_HEADS: usize = 64;
const KEPT_HEAD: usize = 8 * 1024;

/// The client of one thread.
pub struct Client {
    tls: Arc<rustls::ClientConfig>,
    options: Options,
    idle: Rc<Idle>,
    /// Buffers of requests that have been sent, for the next ones.
    heads: RefCell<Vec<Vec<u8>>>,
}

type Idle = RefCell<HashMap<Arc<Destination>, VecDeque<(Instant, Box<Connection>)>, foldhash::fast::RandomState>>;

struct Connection {
    io: Io,
    buf: BytesMut,
    deadline: Deadline,
    reused: bool,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    pub fn new(tls: Arc<rustls::ClientConfig>, options: Options) -> Self {
        Client { tls, options, idle: Rc::default(), heads: RefCell::default() }
    }

    /// An empty buffer for the head of a request, with room for a small body of `body` bytes behind it.
    pub fn head(&self, body: usize) -> Vec<u8> {
        let mut head = self.heads.borrow_mut().pop().unwrap_or_default();
        head.reserve(1024 + body.min(GATHER));
        head
    }

    /// Takes back the buffer of a request that was sent.
    pub fn recycle(&self, mut head: Vec<u8>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < KEPT_HEADS && head.capacity() <= KEPT_HEAD {
            head.clear();
            heads.push(head);
        }
    }

    /// Sends a request whose head is ready to be written, and reads the answer's head. `head` is left as it was.
    pub async fn send(&self, to: &Arc<Destination>, head: &mut Vec<u8>, body: &Bytes) -> Result<Response, SendError> {
        let mut connection = match self.take_idle(to).await {
            Some(connection) => connection,
            // Seldom, and large with its TLS handshake: on the heap, so that a call's own future stays small.
            None => Box::pin(self.connect(to)).await?,
        };
        connection.deadline.set(Instant::now() + self.options.answer_timeout);
        // A provider may answer before it has read everything, and close: its answer says more than our broken pipe.
        last_in_line().await;
        let written = connection.write(head, body).await;
        let result = connection.read_head(self.options.head_bytes).await;
        let reusable = written.is_ok();
        let (status, headers, framing, keep) = result?;
        let home = (keep && reusable).then(|| Home {
            idle: self.idle.clone(),
            destination: to.clone(),
            max_idle: self.options.max_idle,
        });
        let body = ResponseBody { connection: Some(connection), framing, home, patience: None, waiting: false };
        Ok(Response { status, headers, body })
    }

    /// Drops connections that have been idle for too long; called now and then by the thread.
    pub fn sweep(&self) {
        let oldest = Instant::now().checked_sub(self.options.idle_timeout);
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain(|(since, _)| oldest.is_none_or(|oldest| *since > oldest));
            !kept.is_empty()
        });
    }

    /// The connection used last is the warmest. One that has anything to say while idle is closing, or confused.
    async fn take_idle(&self, to: &Destination) -> Option<Box<Connection>> {
        loop {
            let (since, mut connection) = self.idle.borrow_mut().get_mut(to)?.pop_back()?;
            if since.elapsed() < self.options.idle_timeout && connection.is_quiet().await {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    async fn connect(&self, to: &Destination) -> Result<Box<Connection>, SendError> {
        let stream = match tokio::time::timeout(self.options.connect_timeout, self.open(to)).await {
            Ok(opened) => opened?,
            Err(_) => return Err(SendError::Connect(io::ErrorKind::TimedOut.into())),
        };
        let deadline = Deadline::new(self.options.answer_timeout);
        Ok(Box::new(Connection { io: stream, buf: BytesMut::new(), deadline, reused: false }))
    }

    async fn open(&self, to: &Destination) -> Result<Io, SendError> {
        let addresses: Vec<_> =
            tokio::net::lookup_host((to.host.as_str(), to.port)).await.map_err(SendError::Resolve)?.collect();
        to.check_answers(&addresses)?;
        // The addresses that were checked are the ones that are connected to; the name is not asked again.
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(SendError::Connect)?;
        let _ = stream.set_nodelay(true);
        if !to.tls {
            return Ok(Io::Plain(stream));
        }
        let name = rustls::pki_types::ServerName::try_from(to.host.clone()).map_err(|_| SendError::Malformed)?;
        let connector = tokio_rustls::TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, stream).await.map_err(SendError::Tls)?;
        Ok(Io::Tls(Box::new(stream)))
    }
}

/// How an answer's body is delimited.
#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(Chunked),
    Close,
}

impl Connection {
    async fn write(&mut self, head: &mut Vec<u8>, body: &Bytes) -> io::Result<()> {
        if body.len() <= GATHER {
            // One write for both; the head's buffer takes the body for as long as that lasts.
            let len = head.len();
            head.extend_from_slice(body);
            let written = self.write_all(head).await;
            head.truncate(len);
            written
        } else {
            self.write_all(head).await?;
            self.write_all(body).await
        }
    }

    /// Writes and flushes, until the deadline.
    async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            let Connection { io, deadline, .. } = self;
            loop {
                let step = match bytes.is_empty() {
                    true => Pin::new(&mut *io).poll_flush(cx).map_ok(|()| None),
                    false => Pin::new(&mut *io).poll_write(cx, bytes).map_ok(Some),
                };
                match step {
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(Some(0))) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(Some(n))) => bytes = &bytes[n..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
                }
            }
        })
        .await
    }

    /// Nothing to read and not closed.
    async fn is_quiet(&mut self) -> bool {
        let Connection { io, buf, .. } = self;
        buf.reserve(1);
        std::future::poll_fn(|cx| Poll::Ready(poll_read_buf(Pin::new(&mut *io), cx, buf).is_pending())).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buf.capacity() - self.buf.len() < 1024 {
            // Doubles while reads fill it, so that a stream of small events costs little memory.
            let size = if self.buf.is_empty() { 8 * 1024 } else { self.buf.len().clamp(8 * 1024, 64 * 1024) };
            self.buf.reserve(size);
        }
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buf)
    }

    async fn read_head(&mut self, limit: usize) -> Result<(u16, RawHeaders, Framing, bool), SendError> {
        let mut nothing = true;
        loop {
            if let Some(end) = head_end(&self.buf) {
                let text = self.buf.split_to(end).freeze();
                match parse_head(text)? {
                    Some(head) => return Ok(head),
                    None => continue,
                }
            }
            if self.buf.len() > limit {
                return Err(SendError::Malformed);
            }
            let filled = std::future::poll_fn(|cx| match self.poll_fill(cx) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending => self.deadline.poll(cx).map(|()| None),
            });
            match filled.await {
                None => return Err(SendError::Timeout),
                Some(Ok(0) | Err(_)) => return Err(SendError::Closed { reused: nothing && self.reused }),
                Some(Ok(_)) => nothing = false,
            }
        }
    }
}

/// Reads an answer's head; `None` for an interim one.
fn parse_head(text: Bytes) -> Result<Option<(u16, RawHeaders, Framing, bool)>, SendError> {
    let mut slots = [const { MaybeUninit::uninit() }; 128];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, &text, &mut slots);
    if !matches!(parsed, Ok(httparse::Status::Complete(_))) {
        return Err(SendError::Malformed);
    }
    let (Some(status), Some(minor)) = (response.code, response.version) else { return Err(SendError::Malformed) };
    if (100..200).contains(&status) {
        // 101 would turn the connection into something that was not asked for.
        return if status == 101 { Err(SendError::Malformed) } else { Ok(None) };
    }
    let mut keep = minor == 1;
    let (mut length, mut chunked) = (None, false);
    for field in response.headers.iter() {
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                keep &= !field.value.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let n: u64 = std::str::from_utf8(field.value)
                    .ok()
                    .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|t| t.parse().ok())
                    .ok_or(SendError::Malformed)?;
                if length.replace(n).is_some_and(|before| before != n) {
                    return Err(SendError::Malformed);
                }
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(SendError::Malformed);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    let framing = match (length, chunked) {
        (_, _) if status == 204 || status == 304 => Framing::Length(0),
        (Some(_), true) => return Err(SendError::Malformed),
        (_, true) => Framing::Chunked(Chunked::default()),
        (Some(n), _) => Framing::Length(n),
        (None, false) => Framing::Close,
    };
    keep &= !matches!(framing, Framing::Close);
    Ok(Some((status, RawHeaders::from_parsed(text.clone(), response.headers), framing, keep)))
}

/// Where a connection goes when its answer has been read to the end.
struct Home {
    idle: Rc<Idle>,
    destination: Arc<Destination>,
    max_idle: usize,
}

/// The rest of an answer. Dropped before its end it closes the connection.
pub struct ResponseBody {
    connection: Option<Box<Connection>>,
    framing: Framing,
    home: Option<Home>,
    patience: Option<Duration>,
    /// The deadline is that of the pause which lasts now.
    waiting: bool,
}

impl ResponseBody {
    /// The length in bytes that is still to come, where the provider said it.
    pub fn remaining(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(n) => Some(n),
            _ => None,
        }
    }

    /// From now on a pause that is longer ends the body with [`BodyError::Stalled`].
    pub fn give_up_after(&mut self, pause: Duration) {
        self.patience = Some(pause);
    }

    /// The next piece as it came; `None` at the end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        loop {
            match &mut self.framing {
                Framing::Length(0) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Framing::Length(left) if !connection.buf.is_empty() => {
                    let take = (*left).min(connection.buf.len() as u64);
                    *left -= take;
                    let data = connection.buf.split_to(take as usize).freeze();
                    return Poll::Ready(Some(Ok(data)));
                }
                Framing::Chunked(chunked) => match chunked.next(&mut connection.buf) {
                    Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                    Ok(None) if chunked.is_done() => {
                        self.finish();
                        return Poll::Ready(None);
                    }
                    Ok(None) => {}
                    Err(_) => return self.fail(BodyError::Truncated),
                },
                Framing::Close if !connection.buf.is_empty() => {
                    return Poll::Ready(Some(Ok(connection.buf.split().freeze())));
                }
                Framing::Length(_) | Framing::Close => {}
            }
            let filled = match connection.poll_fill(cx) {
                Poll::Ready(filled) => filled,
                Poll::Pending => {
                    let Some(pause) = self.patience else { return Poll::Pending };
                    if !self.waiting {
                        self.waiting = true;
                        connection.deadline.set(Instant::now() + pause);
                    }
                    ready!(connection.deadline.poll(cx));
                    return self.fail(BodyError::Stalled);
                }
            };
            self.waiting = false;
            match filled {
                Ok(0) if matches!(self.framing, Framing::Close) => {
                    self.connection = None;
                    return Poll::Ready(None);
                }
                Ok(0) | Err(_) => return self.fail(BodyError::Truncated),
                Ok(_) => {}
            }
        }
    }

    fn fail(&mut self, why: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.connection = None;
        Poll::Ready(Some(Err(why)))
    }

    /// Bytes after the end are nobody's answer: such a connection is not kept.
    fn finish(&mut self) {
        if let (Some(connection), Some(home)) = (self.connection.take(), self.home.take())
            && connection.buf.is_empty()
        {
            let mut idle = home.idle.borrow_mut();
            let kept = idle.entry(home.destination).or_default();
            if kept.len() >= home.max_idle {
                kept.pop_front();
            }
            kept.push_back((Instant::now(), connection));
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}
