//! The listener: accepts connections, finds the endpoint of a path, and gives the answer the manners that were asked for.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::SimOptions;
use crate::books::{Note, Ticket};
use crate::call::{Call, State, now};
use crate::control::Control;
use crate::fault::{Fault, FaultKind};
use crate::model::Model;
use crate::play::{Manner, SimBody};
use crate::reply::{Payload, Reply};
use crate::{anthropic, gemini, openai};

/// Bodies larger than this are refused, as Anthropic refuses what exceeds 32 MB.
const MOST_BODY: usize = 32 << 20;
/// How long a shutdown waits for answers that are on their way.
const GRACE: Duration = Duration::from_secs(5);

/// The practice provider.
pub struct Sim;

/// A practice provider at work. It stops when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Sim {
    /// Listens on `addr` (port 0 finds a free one) and serves on tasks of the current tokio runtime.
    pub async fn bind(addr: SocketAddr, opts: SimOptions) -> io::Result<Running> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let state = Arc::new(State::new(opts));
        let task = Some(tokio::spawn(accept(listener, state, stopped)));
        Ok(Running { addr, stop, task })
    }
}

impl Running {
    /// Stops accepting, lets answers that are on their way finish for a few seconds, and closes.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Which language a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
        }
    }

    /// The three model lists share a path; the headers say whose is meant.
    fn of(path: &str, headers: &HeaderMap, query: &str) -> Self {
        if path.starts_with("/v1beta") {
            return Dialect::Gemini;
        }
        if let Some(model) = path.strip_prefix("/v1/models") {
            let gemini_key = headers.contains_key("x-goog-api-key")
                || headers.contains_key("x-goog-api-client")
                || query.split('&').any(|pair| pair.starts_with("key="));
            return match () {
                () if headers.contains_key("anthropic-version") => Dialect::Anthropic,
                () if gemini_key || model.contains(':') => Dialect::Gemini,
                () => Dialect::OpenAi,
            };
        }
        match path.starts_with("/v1/messages") {
            true => Dialect::Anthropic,
            false => Dialect::OpenAi,
        }
    }

    fn answer(self, call: &Call<'_>, method: &Method, path: &str) -> Result<Reply, Fault> {
        match self {
            Dialect::OpenAi => openai::answer(call, method, path),
            Dialect::Anthropic => anthropic::answer(call, method, path),
            Dialect::Gemini => gemini::answer(call, method, path),
        }
    }

    fn refuse(self, fault: Fault, call: &Call<'_>) -> Reply {
        let (control, model, stream) = (*fault.control, fault.model.clone(), fault.stream);
        let reply = match self {
            Dialect::OpenAi => openai::refuse(&fault, call),
            Dialect::Anthropic => anthropic::refuse(&fault, call),
            Dialect::Gemini => gemini::refuse(&fault, call),
        };
        let reply = match fault.kind {
            FaultKind::Redirect(place) => reply.text_header("location", place),
            _ => reply,
        };
        Reply { control, model_name: model, stream, ..reply }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    state.books.connections.fetch_add(1, Relaxed);
                    connections.spawn(serve(stream, Arc::clone(&state), stopped.clone()));
                }
                // Out of file descriptors, most likely: let some connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn serve(stream: TcpStream, state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(handle(&state, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // An error here is the client's hanging up or our own cut; both are in the books already.
        _ = connection.as_mut() => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn handle(state: &State, request: Request<Incoming>) -> Response<SimBody> {
    let (head, incoming) = request.into_parts();
    let method = head.method.clone();
    let uri = head.uri.clone();
    let (path, query) = (uri.path(), uri.query().unwrap_or(""));
    if state.opts.faults && path.starts_with("/_") {
        return answer_ours(state, &method, path, query, head);
    }
    let dialect = Dialect::of(path, &head.headers, query);
    let ticket = state.books.open(&head);
    let headers = head.headers;
    let seed = state.seed.fetch_add(1, Relaxed);
    let mut call = Call {
        state,
        headers: &headers,
        query,
        body: &[],
        seed,
        created: now().as_secs(),
        control: Control::default(),
    };
    let body = match Limited::new(incoming, MOST_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => Err(Fault::new(FaultKind::TooLarge, "Request exceeds the maximum size")),
    };
    let bytes = body.as_ref().cloned().unwrap_or_default();
    ticket.keep_body(&bytes);
    call.body = &bytes;
    let control = match state.opts.faults {
        true => Control::from_headers(&headers),
        false => Ok(Control::default()),
    };
    let reply = body
        .and_then(|_| control.map_err(|bad| Fault::invalid(bad.0)))
        .and_then(|control| {
            call.control = control;
            dialect.answer(&call, &method, path)
        })
        .unwrap_or_else(|fault| dialect.refuse(fault, &call));
    send(dialect, reply, ticket).await
}

async fn send(dialect: Dialect, reply: Reply, ticket: Ticket) -> Response<SimBody> {
    ticket.note(|| Note {
        dialect: dialect.name(),
        model: reply.model_name.clone().or(reply.model.as_ref().map(|(_, name)| name.clone())),
        stream: reply.stream,
        status: reply.status.as_u16(),
        bill: reply.bill,
    });
    let model = reply.model.as_ref().map(|(model, _)| *model);
    let whole = matches!(reply.payload, Payload::Whole(_));
    let (delay, manner) = manners(model, &reply.control, whole, reply.bill.usage.output);
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    let body = match reply.payload {
        Payload::Whole(bytes) => SimBody::whole(bytes, manner, ticket),
        Payload::Stream { encoder, answer } => SimBody::stream(answer, encoder, manner, ticket),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// The wait before the head, and how the body is played.
fn manners(model: Option<Model>, control: &Control, whole: bool, output: u64) -> (Option<Duration>, Manner) {
    let (own_delay, own_pause) = match model {
        Some(Model::Slow) => (Some(500), Some(50)),
        Some(Model::Long) => (None, Some(10)),
        _ => (None, None),
    };
    let mut delay = control.delay_ms.or(own_delay).map(Duration::from_millis);
    let paced =
        Control { chunk_delay_ms: control.chunk_delay_ms.or(own_pause.filter(|_| control.tps.is_none())), ..*control };
    let mut pause = paced.pause();
    if whole {
        // Nobody sees the pieces of a whole answer; only the time that it took to write them.
        if let (Some(pause), Some(_)) = (pause, control.tps) {
            let writing = pause.saturating_mul(u32::try_from(output).unwrap_or(u32::MAX));
            delay = Some(delay.unwrap_or_default() + writing);
        }
        pause = pause.filter(|_| control.shred.is_some());
    }
    let manner = Manner {
        ttfb: control.ttfb_ms.map(Duration::from_millis),
        pause,
        shred: control.shred.map(|bytes| bytes as usize),
        cut_after: control.cut_after,
        cut_midway: model == Some(Model::Cut) && control.cut_after.is_none(),
        garble_midway: model == Some(Model::BrokenJson),
    };
    (delay.filter(|delay| !delay.is_zero()), manner)
}

/// The endpoints that no real provider has: books, counters, defaults, reset.
fn answer_ours(
    state: &State,
    method: &Method,
    path: &str,
    query: &str,
    head: http::request::Parts,
) -> Response<SimBody> {
    let books = &state.books;
    let reply = match (method.as_str(), path) {
        ("GET", "/_ctl") => match Control::from_query(query) {
            Ok(control) => {
                *state.defaults.write() = control;
                ours(StatusCode::OK, format!("{{\"defaults\":{}}}", serde_json::Value::from(query)))
            }
            Err(bad) => ours(StatusCode::BAD_REQUEST, serde_json::json!({ "error": bad.0 }).to_string()),
        },
        ("GET", "/_sim/books") => {
            let after = query.strip_prefix("after=").and_then(|n| n.parse().ok()).unwrap_or(0);
            ours(StatusCode::OK, books.list(after))
        }
        ("GET", "/_sim/stats") => ours(StatusCode::OK, books.stats().to_string()),
        ("POST", "/_sim/reset") => {
            state.reset();
            ours(StatusCode::OK, "{}".to_owned())
        }
        (_, "/_sim/elsewhere") => {
            // Whoever comes here has followed a redirect: that goes into the books.
            let ticket = books.open(&head);
            ticket.note(|| Note { dialect: "none", status: 200, ..Note::default() });
            return respond(ours(StatusCode::OK, "{\"elsewhere\":true}".to_owned()), ticket);
        }
        _ => ours(StatusCode::NOT_FOUND, "{\"error\":\"not found\"}".to_owned()),
    };
    respond(reply, Ticket::unbooked())
}

fn ours(status: StatusCode, body: String) -> Reply {
    Reply::json(status, Bytes::from(body))
}

fn respond(reply: Reply, ticket: Ticket) -> Response<SimBody> {
    let bytes = match reply.payload {
        Payload::Whole(bytes) => bytes,
        Payload::Stream { .. } => Bytes::new(),
    };
    let mut response = Response::new(SimBody::whole(bytes, Manner::default(), ticket));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
