//! Attempts as they finish, as a stream of events.

use super::filter::{self, Asked};
use super::view::RequestView;
use crate::App;
use crate::input::{Findings, Params};
use crate::problem::Result;
use anykey_core::KeyId;
use anykey_core::record::AttemptRecord;
use anykey_store::RequestFilter;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::Deserialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use utoipa::IntoParams;

/// A comment now and then tells that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Names that are kept; then they are looked up anew, so that a renamed key is noticed in the end.
const MAX_NAMES: usize = 1000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TailParams {
    /// A key's id.
    key: Option<String>,
    /// As it was asked or as it was sent.
    model: Option<String>,
    provider: Option<String>,
    /// One status, such as `404`, or a class: `4xx`, `5xx`.
    status: Option<String>,
    /// `completed`, `refused`, `upstream_error`, `upstream_failed`, `broken`, `client_gone`, `cut` or `unresolved`.
    outcome: Option<String>,
    /// Only attempts that began at this time or later.
    since: Option<String>,
    /// Only attempts that began before this time.
    until: Option<String>,
}

/// Watch attempts finish. One event each, with the attempt as JSON; an event `missed` says how many a slow reader lost.
#[utoipa::path(get, path = "/requests/tail", operation_id = "tail_requests", tag = "requests", params(TailParams),
    responses((status = 200, description = "Server-sent events, each a request", body = RequestView, content_type = "text/event-stream")))]
pub(super) async fn tail(
    State(app): State<App>,
    Params(params): Params<TailParams>,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    let mut findings = Findings::default();
    let asked = Asked {
        key: params.key,
        model: params.model,
        provider: params.provider,
        status: params.status,
        outcome: params.outcome,
        since: params.since,
        until: params.until,
    };
    let filter = asked.read(&mut findings);
    findings.end()?;
    let tail =
        Tail { records: app.deps.books.subscribe(), stop: app.deps.stop.clone(), app, filter, names: HashMap::new() };
    let events = futures_util::stream::unfold(tail, async |mut tail| Some((Ok(tail.next().await?), tail)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Tail {
    app: App,
    records: broadcast::Receiver<Arc<AttemptRecord>>,
    stop: watch::Receiver<bool>,
    filter: RequestFilter,
    names: HashMap<KeyId, Option<String>>,
}

impl Tail {
    /// The next event; `None` when the process stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let received = tokio::select! {
                // The sender of the signal is gone only with the process.
                _ = self.stop.wait_for(|stop| *stop) => return None,
                received = self.records.recv() => received,
            };
            match received {
                Ok(record) if filter::matches(&self.filter, &record) => {
                    let name = self.name_of(record.key).await;
                    let json = serde_json::to_string(&RequestView::new(&record, name)).unwrap_or_default();
                    return Some(Event::default().data(json));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(n)) => return Some(Event::default().event("missed").data(n.to_string())),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn name_of(&mut self, key: KeyId) -> Option<String> {
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        // A name is a courtesy: without the database the attempt is shown all the same.
        let name = self.app.store().key_names(&[key]).await.ok()?.remove(&key);
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(key, name.clone());
        name
    }
}
