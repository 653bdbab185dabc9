//! HTTP/2 with prior knowledge, through hyper, for the same [`Service`] as HTTP/1.1.

use crate::head::{Fault, Framing, RequestHead};
use crate::headers::RawHeaders;
use crate::server::{Admission, Answer, Body, Broken, Service, Stream};
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a body may take to arrive over HTTP/2.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// Serves a connection whose first bytes, the preface among them, have been read already.
pub(crate) async fn serve<S: Service>(
    stream: Stream,
    read: Bytes,
    peer: SocketAddr,
    service: Rc<S>,
    stop: Pin<Box<dyn Future<Output = ()>>>,
) {
    let handler = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(exchange(&*service, request, peer).await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Prefixed { read, stream }), handler));
    let mut stop = stop;
    let mut stopping = false;
    std::future::poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}

async fn exchange<S: Service>(
    service: &S,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
) -> hyper::Response<Adapter<S::Body>> {
    let (parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(|a| ("host", a.as_str().as_bytes()));
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let framing = if body.is_end_stream() { Framing::None } else { Framing::Chunked };
    let headers = RawHeaders::from_pairs(authority.into_iter().chain(fields));
    let head = RequestHead::from_parts(parts.method, &parts.uri, headers, framing);
    let answer = match service.admit(&head, peer).await {
        Admission::Answer(answer) => answer,
        Admission::Accept { state, body_limit } => {
            match tokio::time::timeout(BODY_TIMEOUT, collect(body, body_limit)).await {
                Ok(Ok(body)) => service.call(&head, state, body).await,
                Ok(Err(fault)) => service.refuse(Some(&head), Some(state), fault),
                Err(_) => service.refuse(Some(&head), Some(state), Fault::Timeout),
            }
        }
    };
    respond(answer)
}

async fn collect(body: Incoming, limit: u64) -> Result<Bytes, Fault> {
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Fault::Malformed("the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            if (whole.len() + data.len()) as u64 > limit {
                return Err(Fault::BodyTooLarge);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

fn respond<B: Body>(answer: Answer<B>) -> hyper::Response<Adapter<B>> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in answer.fields() {
        let name = http::HeaderName::from_bytes(name);
        let value = http::HeaderValue::from_bytes(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let status = http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = hyper::Response::new(Adapter(answer.body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Runs a connection's streams on the thread that accepted it.
#[derive(Clone)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

struct Adapter<B>(B);

impl<B: Body> hyper::body::Body for Adapter<B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_data(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.exact_len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A stream whose beginning was read by somebody else.
struct Prefixed {
    read: Bytes,
    stream: Stream,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..n]);
        self.read.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
