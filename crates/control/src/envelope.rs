//! The outermost layer: gives each answer its request id, forbids keeping it, writes problems, and logs one line.

use crate::problem::Problem;
use anykey_core::RequestId;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;

/// Set by [`crate::identify`] on answers to a caller that it knows, for the log.
#[derive(Clone)]
pub(crate) struct By(pub String);

pub(crate) async fn wrap(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    // Without random bytes an id is still unique enough to find a log line by its time.
    let now = crate::wire::now_ms();
    let id = RequestId::random(now).unwrap_or_else(|_| RequestId::new(now, [0; 10]));
    request.extensions_mut().insert(id);
    let id = id.to_string();
    let method = request.method().clone();
    // The route, never the path: a path may hold what its caller mistook for an id.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let mut response = next.run(request).await;
    write_problem(&mut response, &id);
    let by = response.extensions_mut().remove::<By>().map(|by| by.0);
    tracing::info!(
        request_id = id,
        %method,
        route,
        status = response.status().as_u16(),
        by = by.as_deref(),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "admin"
    );
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}

/// Replaces the body of a refusal, whoever made it, by a problem.
fn write_problem(response: &mut Response, id: &str) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::of_status(status));
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.kind.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    *response.status_mut() = StatusCode::from_u16(problem.kind.status).unwrap_or(status);
    *response.body_mut() = Body::from(serde_json::to_vec(&problem.body(id)).unwrap_or_default());
}
