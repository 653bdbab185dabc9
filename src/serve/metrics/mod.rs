//! `GET /metrics`: the figures of this process for Prometheus, on a listener of its own, because they are for those who
//! run it and the main one is for everybody.

mod page;
mod process;

use anykey_gateway::Gateway;
use anykey_ledger::Ledger;
use anykey_net::server::{Admission, Answer, Body, Broken, Service};
use anykey_net::{Fault, RequestHead};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

pub const PATH: &str = "/metrics";

/// The text format of OpenMetrics 1.0, which Prometheus reads.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the figures are.
#[derive(Clone)]
pub struct Metrics {
    gateway: Arc<Gateway>,
    ledger: Ledger,
    /// Pages are made where they hold up no call.
    runtime: Handle,
}

impl Metrics {
    pub fn new(gateway: Arc<Gateway>, ledger: Ledger) -> Self {
        let runtime = gateway.runtime.clone();
        Metrics { gateway, ledger, runtime }
    }

    pub async fn answer(&self) -> Answer<Option<Bytes>> {
        let metrics = self.clone();
        match self.runtime.spawn(async move { metrics.page() }).await {
            Ok(page) => {
                Answer::new(200, Some(page.into())).with("content-type", FORMAT).with("cache-control", "no-store")
            }
            Err(_) => text(503, "stopping\n"),
        }
    }

    fn page(&self) -> String {
        page::render(page::Facts {
            counts: self.gateway.observed.counts(),
            pending_records: self.ledger.pending(),
            admits: self.ledger.admit().is_ok(),
            process: process::Process::read(),
        })
    }
}

fn text(status: u16, text: &'static str) -> Answer<Option<Bytes>> {
    Answer::new(status, Some(Bytes::from_static(text.as_bytes()))).with("content-type", "text/plain; charset=utf-8")
}

/// The listener for those who run the process.
pub struct MetricsService(pub Metrics);

pub struct Page(Option<Bytes>);

impl Body for Page {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        Poll::Ready(self.0.take().map(Ok))
    }

    fn exact_len(&self) -> Option<u64> {
        Some(self.0.as_ref().map_or(0, |page| page.len() as u64))
    }
}

impl Service for MetricsService {
    type Body = Page;
    type State = ();

    async fn admit(&self, head: &RequestHead, _: SocketAddr) -> Admission<(), Page> {
        let answer = match (&head.method, head.path()) {
            (&http::Method::GET | &http::Method::HEAD, PATH) => self.0.answer().await,
            (_, PATH) => text(405, "GET\n").with("allow", "GET, HEAD"),
            _ => text(404, "the figures are at /metrics\n"),
        };
        Admission::Answer(answer.map(Page))
    }

    async fn call(&self, _: &RequestHead, (): (), _: Bytes) -> Answer<Page> {
        text(404, "").map(Page)
    }

    fn refuse(&self, _: Option<&RequestHead>, _: Option<()>, _: Fault) -> Answer<Page> {
        let mut answer = text(400, "this is not well-formed HTTP\n").map(Page);
        answer.close = true;
        answer
    }
}
