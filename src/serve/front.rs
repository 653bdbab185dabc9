//! The door: what is about the server itself and the admin API go to the control plane, all else to the path of a call.

use super::metrics::{self, Metrics};
use anykey_control::{PeerAddr, Sessions};
use anykey_gateway::{Admitted, Calls, Relay, Worker, client};
use anykey_net::server::{Admission, Answer, Body, Broken, Service};
use anykey_net::{Fault, Framing, RequestHead};
use bytes::Bytes;
use http_body::Body as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;
use tower::ServiceExt as _;

/// The largest body that the admin API takes: a price list.
const ADMIN_BODY_LIMIT: u64 = 16 << 20;

pub struct Front {
    calls: Calls,
    control: axum::Router,
    /// Where the admin API runs, so that it never holds up a call.
    runtime: Handle,
    admission: AdminAdmission,
    /// The figures, where the settings have them on this listener.
    metrics: Option<Metrics>,
}

/// Whose bodies are read at the admin API before anybody there looks at them.
#[derive(Clone)]
pub struct AdminAdmission {
    /// Whether reports of exposed keys are taken: their signature is over the body, so it has to be read.
    pub reports: bool,
    pub sessions: Sessions,
}

/// Content from either plane.
pub enum Content {
    Relay(Relay),
    Admin(Pin<Box<axum::body::Body>>),
    Text(Option<Bytes>),
}

pub enum Visitor {
    Call(Admitted),
    Admin(SocketAddr),
}

impl Front {
    pub fn new(
        worker: Rc<Worker>,
        control: axum::Router,
        runtime: Handle,
        admission: AdminAdmission,
        metrics: Option<Metrics>,
    ) -> Self {
        Front { calls: Calls(worker), control, runtime, admission, metrics }
    }

    /// Drops what is no longer of use; called now and then.
    pub fn sweep(&self) {
        self.calls.0.sweep();
    }

    /// How large a body of this request may be. None of a stranger's is read, but for the few by which strangers come in
    /// and those that are signed.
    async fn admin_limit(&self, head: &RequestHead, peer: SocketAddr) -> Option<u64> {
        let path = head.path();
        if let Some(limit) = anykey_control::signed_report_limit(path).filter(|_| self.admission.reports) {
            return Some(limit);
        }
        if let Some(limit) = anykey_control::sign_in_limit(path) {
            return Some(limit);
        }
        let known =
            head.framing == Framing::None || self.calls.0.knows(head, peer.ip()).await || self.is_signed_in(head).await;
        known.then_some(ADMIN_BODY_LIMIT)
    }

    async fn is_signed_in(&self, head: &RequestHead) -> bool {
        let cookies = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
        let cookies = cookies.filter_map(|(_, value)| http::HeaderValue::from_bytes(value).ok());
        let headers: http::HeaderMap = cookies.map(|value| (http::header::COOKIE, value)).collect();
        let sessions = self.admission.sessions.clone();
        let Some(token) = sessions.token(&headers) else { return false };
        self.runtime.spawn(async move { sessions.knows(&token).await }).await.unwrap_or(false)
    }

    /// Whether the server lives and takes calls: for whoever starts and watches it.
    async fn health(&self, path: &str) -> Option<Answer<Content>> {
        let (status, text) = match path {
            "/healthz" => (200, "ok\n"),
            "/readyz" => match Box::pin(self.calls.0.gateway.ready()).await {
                Ok(()) => (200, "ready\n"),
                Err(why) => (503, why),
            },
            metrics::PATH if self.metrics.is_some() => {
                let answer = Box::pin(self.metrics.as_ref()?.answer()).await;
                return Some(answer.map(Content::Text));
            }
            _ => return None,
        };
        let answer = Answer::new(status, Content::Text(Some(Bytes::from_static(text.as_bytes()))));
        Some(answer.with("content-type", "text/plain; charset=utf-8").with("cache-control", "no-store"))
    }

    async fn administer(&self, head: &RequestHead, peer: SocketAddr, body: Bytes) -> Answer<Content> {
        let mut request = http::Request::new(axum::body::Body::from(body));
        *request.method_mut() = head.method.clone();
        let target = match head.query() {
            Some(query) => format!("{}?{query}", head.path()),
            None => head.path().to_owned(),
        };
        match target.parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return plain(400, "the path is not well formed\n"),
        }
        for (name, value) in head.headers.iter() {
            let name = http::HeaderName::from_bytes(name);
            let value = http::HeaderValue::from_bytes(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                request.headers_mut().append(name, value);
            }
        }
        let trusted = &self.calls.0.gateway.options.trusted_proxies;
        request.extensions_mut().insert(PeerAddr(client(head, peer.ip(), trusted)));
        let answered = self.runtime.spawn(self.control.clone().oneshot(request)).await;
        let Ok(Ok(response)) = answered else { return plain(500, "the admin API failed\n") };
        let (parts, body) = response.into_parts();
        let mut answer = Answer::new(parts.status.as_u16(), Content::Admin(Box::pin(body)));
        for (name, value) in &parts.headers {
            // The length is the server's to say.
            if name != http::header::CONTENT_LENGTH {
                answer.field(name.as_str(), value.as_bytes());
            }
        }
        answer
    }
}

fn plain(status: u16, text: &'static str) -> Answer<Content> {
    Answer::new(status, Content::Text(Some(Bytes::from_static(text.as_bytes())))).with("content-type", "text/plain")
}

fn is_admin(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

impl Service for Front {
    type Body = Content;
    type State = Visitor;

    async fn admit(&self, head: &RequestHead, peer: SocketAddr) -> Admission<Visitor, Content> {
        if is_admin(head.path()) {
            return match Box::pin(self.admin_limit(head, peer)).await {
                Some(body_limit) => Admission::Accept { state: Visitor::Admin(peer), body_limit },
                None => Admission::Answer(Box::pin(self.administer(head, peer, Bytes::new())).await),
            };
        }
        if let Some(answer) = self.health(head.path()).await {
            return Admission::Answer(answer);
        }
        match self.calls.admit(head, peer).await {
            Admission::Accept { state, body_limit } => Admission::Accept { state: Visitor::Call(state), body_limit },
            Admission::Answer(answer) => Admission::Answer(answer.map(Content::Relay)),
        }
    }

    async fn call(&self, head: &RequestHead, visitor: Visitor, body: Bytes) -> Answer<Content> {
        match visitor {
            Visitor::Call(admitted) => self.calls.call(head, admitted, body).await.map(Content::Relay),
            Visitor::Admin(peer) => Box::pin(self.administer(head, peer, body)).await,
        }
    }

    fn connections(&self, change: i64) {
        self.calls.connections(change);
    }

    fn refuse(&self, head: Option<&RequestHead>, visitor: Option<Visitor>, fault: Fault) -> Answer<Content> {
        let admitted = match visitor {
            Some(Visitor::Call(admitted)) => Some(admitted),
            Some(Visitor::Admin(_)) | None => None,
        };
        self.calls.refuse(head, admitted, fault).map(Content::Relay)
    }
}

impl Body for Content {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        match self {
            Content::Relay(relay) => relay.poll_data(cx),
            Content::Text(text) => Poll::Ready(text.take().map(Ok)),
            Content::Admin(body) => loop {
                match ready!(body.as_mut().poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                    Some(Err(_)) => return Poll::Ready(Some(Err(Broken))),
                    None => return Poll::Ready(None),
                }
            },
        }
    }

    fn exact_len(&self) -> Option<u64> {
        match self {
            Content::Relay(relay) => relay.exact_len(),
            Content::Text(text) => Some(text.as_ref().map_or(0, |t| t.len() as u64)),
            Content::Admin(body) => body.size_hint().exact(),
        }
    }
}
