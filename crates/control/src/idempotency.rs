//! `Idempotency-Key`: a request that is sent again, because its answer was lost, gets the same answer and changes nothing.

use crate::App;
use crate::caller::Caller;
use crate::precondition;
use crate::problem::{Own, Problem, Result};
use anykey_core::find::holds_key;
use anykey_store::Begun;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::future::Future;

/// An answer that can be kept.
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Reply {
    pub fn new(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
        Ok(Reply { status, body })
    }

    fn response(self) -> Response {
        #[derive(Deserialize)]
        struct Versioned {
            version: Option<i64>,
        }
        let version = serde_json::from_slice::<Versioned>(&self.body).ok().and_then(|object| object.version);
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match version {
            Some(version) => precondition::tag(response, version),
            None => response,
        }
    }
}

/// A request that makes something.
pub(crate) struct Once {
    key: Option<String>,
    /// Who asks for what: two callers, or two operations, never share a key.
    route: String,
}

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let what = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let route = format!("{} {} {what}", caller.id(), parts.method);
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let key = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value.to_str().map_err(|_| malformed())?.trim()),
            _ => return Err(malformed()),
        };
        if key.is_some_and(|key| !(1..=255).contains(&key.len())) {
            return Err(malformed());
        }
        if key.is_some_and(holds_key) {
            return Err(Problem::field(
                "Idempotency-Key",
                "holds an API key, and is kept for a day; send any other text",
            ));
        }
        Ok(Once { key: key.map(str::to_owned), route })
    }
}

fn malformed() -> Problem {
    Problem::field("Idempotency-Key", "is 1 to 255 characters of ASCII, sent once")
}

impl Once {
    /// Does the work unless it was done. It runs to its end even when the caller hangs up, so that a claim on a key never
    /// stays open.
    pub async fn run(
        self,
        app: &App,
        body: &[u8],
        work: impl Future<Output = Result<Reply>> + Send + 'static,
    ) -> Result<Response> {
        let claim = match &self.key {
            None => None,
            Some(key) => match app.store().idempotency_begin(&self.route, key, body).await? {
                Begun::Fresh(claim) => Some(claim),
                Begun::Replay { status, body } => return Ok(replay(status, body)),
                Begun::OtherBody => {
                    return Err(Problem::new(
                        Own::IdempotencyConflict,
                        "This Idempotency-Key was used for another request within the last day. Use a new one.",
                    ));
                }
                Begun::Running => {
                    let mut problem = Problem::new(
                        Own::IdempotencyInProgress,
                        "The same request is being worked on. Send it again in a moment for its answer.",
                    );
                    problem.retry_after = Some(1);
                    return Err(problem);
                }
            },
        };
        let app = app.clone();
        let done = tokio::spawn(anykey_store::carried(async move {
            let reply = work.await;
            let Some(claim) = claim else { return reply };
            let kept = match &reply {
                Ok(reply) => app.store().idempotency_finish(claim, reply.status.as_u16(), &reply.body).await,
                Err(_) => app.store().idempotency_abandon(claim).await,
            };
            // The work is done or not, whatever became of the note about it.
            if let Err(error) = kept {
                tracing::warn!(%error, "an idempotency key could not be closed");
            }
            reply
        }));
        let reply = done.await.map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))??;
        Ok(reply.response())
    }
}

fn replay(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = Reply { status, body }.response();
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
