//! `If-Match`: a change is made only to the version that the caller saw.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// The version that a change is meant for; `None` takes whatever is there.
pub(crate) struct IfMatch(pub Option<i64>);

impl IfMatch {
    /// The version of the header, or else of the body.
    pub fn or(self, body: Option<i64>) -> Option<i64> {
        self.0.or(body)
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if parts.headers.contains_key(header::IF_MATCH) { Err(malformed()) } else { Ok(IfMatch(None)) };
        };
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(IfMatch(None));
        }
        let text = text.strip_prefix("W/").unwrap_or(text);
        let version = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
        version.map(|v| IfMatch(Some(v))).ok_or_else(malformed)
    }
}

fn malformed() -> Problem {
    Problem::field("If-Match", "is one version in quotes, as ETag gave it: If-Match: \"3\"")
}

/// Names an answer's version.
pub(crate) fn tag(mut response: Response, version: i64) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// A JSON answer that names its version.
pub(crate) fn tagged(body: impl serde::Serialize, version: i64) -> Response {
    tag(axum::Json(body).into_response(), version)
}
