//! Attempts as they finish, as a stream of events.

use super::filter::{self, Asked};
use super::view::RequestView;
use crate::App;
use crate::caller::Caller;
use crate::input::{Findings, Params};
use crate::power::Power;
use crate::problem::Result;
use anykey_core::record::AttemptRecord;
use anykey_core::{KeyId, Permission, Reached, Sight};
use anykey_store::RequestFilter;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::Deserialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use utoipa::IntoParams;

/// A comment now and then tells that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Names that are kept; then they are looked up anew, so that a renamed key is noticed in the end.
const MAX_NAMES: usize = 1000;
/// How long it holds what whoever watches reaches.
const HOLDS: Duration = Duration::from_secs(5);

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
    caller: Caller,
    power: Power,
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
    let filter = asked.read(&power, &mut findings);
    findings.end()?;
    let watch = Watch { caller, sight: filter.within.clone(), since: Instant::now(), places: HashMap::new() };
    let records = app.deps.books.subscribe();
    let tail = Tail { records, stop: app.deps.stop.clone(), app, filter, watch, names: HashMap::new() };
    let events = futures_util::stream::unfold(tail, async |mut tail| Some((Ok(tail.next().await?), tail)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Tail {
    app: App,
    records: broadcast::Receiver<Arc<AttemptRecord>>,
    stop: watch::Receiver<bool>,
    filter: RequestFilter,
    watch: Watch,
    names: HashMap<KeyId, Option<String>>,
}

/// What whoever watches reaches. Roles may end while they do, and keys may move, so it is asked anew now and then.
struct Watch {
    caller: Caller,
    sight: Sight,
    since: Instant,
    places: HashMap<KeyId, bool>,
}

impl Watch {
    /// Whether they may see what this key did; an error says that this cannot be known now.
    async fn covers(&mut self, app: &App, key: KeyId) -> Result<bool> {
        if self.since.elapsed() >= HOLDS || self.places.len() >= MAX_NAMES {
            self.sight = match self.caller.is_over(app).await? {
                true => Sight::Within(Reached::default()),
                false => self.caller.grant(app).await?.sight(Permission::RequestsRead),
            };
            self.since = Instant::now();
            self.places.clear();
        }
        if self.sight == Sight::Everything {
            return Ok(true);
        }
        if let Some(seen) = self.places.get(&key) {
            return Ok(*seen);
        }
        let place = app.store().place_of_key(key).await?;
        let seen = place.is_some_and(|place| self.sight.covers(&place));
        self.places.insert(key, seen);
        Ok(seen)
    }
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
                    match self.watch.covers(&self.app, record.key).await {
                        Ok(true) => {}
                        Ok(false) if self.watch.sight.is_nothing() => return None,
                        // What cannot be known to be theirs is not shown.
                        Ok(false) | Err(_) => continue,
                    }
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
