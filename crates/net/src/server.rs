//! The server: one task per connection on the thread that accepted it, from the first byte to the last.
//!
//! A [`Service`] sees a request twice: [`Service::admit`] with its head alone, so that a stranger never makes us buffer a
//! body, and [`Service::call`] with the body read whole and bounded. While a call runs, the connection is watched: a
//! caller who hangs up drops the call's future or its answer's body, and that is how the rooms above learn of it.

mod connection;
mod stream;

use crate::head::{Fault, Limits, RequestHead};
use bytes::Bytes;
use connection::Connection;
use rustls::ServerConfig;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
pub(crate) use stream::Stream;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// An answer's content, pulled piece by piece.
pub trait Body: Unpin + 'static {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>>;

    /// The length in bytes where it is known up front; otherwise the answer is sent in chunks.
    fn exact_len(&self) -> Option<u64>;
}

/// The content cannot be finished: the connection is closed so that the answer never looks whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub struct Broken;

/// A status, ready-made header lines and content.
#[derive(Debug)]
pub struct Answer<B> {
    pub status: u16,
    lines: Vec<u8>,
    pub body: B,
    /// Close the connection after this answer.
    pub close: bool,
}

impl<B> Answer<B> {
    pub fn new(status: u16, body: B) -> Self {
        Answer { status, lines: Vec::with_capacity(512), body, close: false }
    }

    /// Adds a field. A value that holds a control character is not sent: nothing may forge a line.
    pub fn field(&mut self, name: &str, value: &[u8]) {
        // Without a way out of the middle the compiler looks at many bytes at once.
        if value.iter().fold(false, |any, b| any | ((*b < 0x20) & (*b != b'\t')) | (*b == 0x7f)) {
            return;
        }
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }

    pub fn number(&mut self, name: &str, n: u64) {
        self.field(name, itoa::Buffer::new().format(n).as_bytes());
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.field(name, value.as_bytes());
        self
    }

    /// The fields, for another protocol version to send.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.split(|b| *b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line.get(colon + 2..)?))
        })
    }

    pub fn map<C>(self, f: impl FnOnce(B) -> C) -> Answer<C> {
        Answer { status: self.status, lines: self.lines, body: f(self.body), close: self.close }
    }
}

/// What the head alone decides.
pub enum Admission<A, B> {
    /// Read the body, at most so many bytes, and call.
    Accept { state: A, body_limit: u64 },
    /// Answer now; the body is not read.
    Answer(Answer<B>),
}

/// What a server serves. Futures stay on their thread.
pub trait Service: 'static {
    type Body: Body;
    type State: 'static;

    fn admit(&self, head: &RequestHead, peer: SocketAddr) -> impl Future<Output = Admission<Self::State, Self::Body>>;

    fn call(&self, head: &RequestHead, state: Self::State, body: Bytes) -> impl Future<Output = Answer<Self::Body>>;

    /// Says no to what the server itself found wrong. `head` and `state` as far as they were known.
    fn refuse(&self, head: Option<&RequestHead>, state: Option<Self::State>, fault: Fault) -> Answer<Self::Body>;

    /// Connections came or went.
    fn connections(&self, change: i64) {
        let _ = change;
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: Limits,
    /// From a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// A body may take this long, and then as long as `body_min_rate` says.
    pub body_grace: Duration,
    /// Bytes per second below which a body is given up after the grace.
    pub body_min_rate: u64,
    /// How long a client may refuse to read its answer.
    pub write_timeout: Duration,
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            limits: Limits::default(),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_grace: Duration::from_secs(30),
            body_min_rate: 1024,
            write_timeout: Duration::from_secs(60),
            max_connections: 50_000,
        }
    }
}

/// Serves a listener, over TLS where that is given, until `stop` turns true; then lets what is running finish for at most
/// `drain`. Must run inside a `LocalSet`.
pub async fn serve<S: Service>(
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
    service: Rc<S>,
    options: Options,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stopped = stop.clone();
    let mut connections = tokio::task::JoinSet::new();
    let mut stopping = pin!(stop.wait_for(|s| *s));
    loop {
        let full = connections.len() >= options.max_connections;
        tokio::select! {
            _ = &mut stopping => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => service.connections(-1),
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    service.connections(1);
                    match &tls {
                        None => {
                            let connection = Connection::new(Stream::Plain(stream), peer, options, stopped.clone());
                            connections.spawn_local(connection.run(service.clone()))
                        }
                        Some(tls) => {
                            let tls = TlsAcceptor::from(tls.clone());
                            connections.spawn_local(secured(stream, tls, peer, options, stopped.clone(), service.clone()))
                        }
                    };
                }
                Err(error) => {
                    // Out of descriptors, most likely: one breath instead of a spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async {
        while connections.join_next().await.is_some() {
            service.connections(-1);
        }
    };
    let _ = tokio::time::timeout(drain, finished).await;
    connections.shutdown().await;
    Ok(())
}

/// A connection over TLS. Whoever does not finish the handshake in the time that a request's head may take is left.
async fn secured<S: Service>(
    socket: TcpStream,
    tls: TlsAcceptor,
    peer: SocketAddr,
    options: Options,
    mut stop: watch::Receiver<bool>,
    service: Rc<S>,
) {
    let stopped = stop.clone();
    let handshake = Box::pin(tokio::time::timeout(options.head_timeout, Stream::secure(socket, tls)));
    let stream = tokio::select! {
        _ = stop.wait_for(|s| *s) => return,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        },
    };
    // On the heap: it is the larger part of this future, and most of the time the only one.
    Box::pin(Connection::new(stream, peer, options, stopped).run(service)).await;
}
