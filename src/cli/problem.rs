//! Refusals, from the admin API (problem+json) and from the dialects that `ask` speaks, turned into what the command says
//! and its exit code.

use crate::cli::{Exit, Failure};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    code: String,
    request_id: Option<String>,
    errors: Vec<FieldError>,
    error: Option<DialectError>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FieldError {
    field: String,
    message: String,
}

/// OpenAI's and Gemini's `error.message`, Anthropic's too.
#[derive(Deserialize, Default)]
#[serde(default)]
struct DialectError {
    message: String,
    code: serde_json::Value,
    #[serde(rename = "type")]
    kind: String,
}

/// What a status that is not 2xx means.
pub fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let parsed: Option<Problem> = serde_json::from_slice(body).ok();
    let ours = parsed.is_some();
    let problem = parsed.unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_string);
    let request_id = problem.request_id.clone().or_else(|| header("x-request-id"));

    let code = code(&problem);
    let mut failure = Failure::new(exit_of(status, ours), sentence(&problem, status)).request_id(request_id).code(code);
    // A single finding is the sentence itself.
    for error in problem.errors.iter().filter(|error| !problem.detail.contains(&error.message)) {
        failure = failure.detail(format!("{}: {}", error.field, error.message));
    }
    if let Some(seconds) = header("retry-after") {
        failure = failure.detail(format!("It may be tried again in {seconds} s."));
    }
    match next_step(status, &problem.code) {
        Some(next) => failure.hint(next),
        None => failure,
    }
}

fn exit_of(status: StatusCode, ours: bool) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::Auth,
        404 | 410 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        402 | 429 => Exit::Limit,
        // Said by something in front of anykey: anykey itself was not reached.
        502..=504 if !ours => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

fn sentence(problem: &Problem, status: StatusCode) -> String {
    let dialect = problem.error.as_ref();
    let said = [problem.detail.as_str(), problem.title.as_str(), dialect.map_or("", |e| e.message.as_str())]
        .into_iter()
        .find(|text| !text.is_empty());
    match (said, code(problem)) {
        (Some(said), Some(code)) => format!("{} ({code})", said.trim_end_matches('.')),
        (Some(said), None) => said.trim_end_matches('.').to_string(),
        (None, _) => format!("the server answered {status} and did not say why"),
    }
}

fn code(problem: &Problem) -> Option<&str> {
    let dialect = problem.error.as_ref();
    [problem.code.as_str(), dialect.and_then(|e| e.code.as_str()).unwrap_or_default()]
        .into_iter()
        .chain(dialect.map(|e| e.kind.as_str()))
        .find(|text| !text.is_empty())
}

fn next_step(status: StatusCode, code: &str) -> Option<&'static str> {
    match (status.as_u16(), code) {
        (401, _) => {
            Some("set ANYKEY_ADMIN_KEY to a working admin key, or run this on the server's machine with --data-dir")
        }
        (403, _) => Some("use an admin key: anykey key create NAME --kind admin"),
        (412, _) => Some("the same command again: somebody else changed it meanwhile"),
        (422, "provider_test_failed") => Some("correct the credential or the address, or add it untested with --force"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Failure {
        failure(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn every_status_has_its_exit_code() {
        for (status, exit) in [
            (400, Exit::Failed),
            (401, Exit::Auth),
            (402, Exit::Limit),
            (403, Exit::Auth),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (422, Exit::Failed),
            (429, Exit::Limit),
            (500, Exit::Failed),
            (503, Exit::Failed),
        ] {
            assert_eq!(of(status, r#"{"title":"x"}"#).exit, exit, "{status}");
        }
        assert_eq!(of(502, "<html>bad gateway</html>").exit, Exit::Unreachable);
    }

    #[test]
    fn a_problem_is_told_with_its_fields_and_request() {
        let body = r#"{"type":"about:blank","title":"Invalid","status":400,"code":"invalid_parameter",
            "detail":"Two fields are wrong.","request_id":"req_7","errors":[{"field":"name","message":"is too long"}]}"#;
        assert_eq!(
            of(400, body).to_string(),
            "error: Two fields are wrong (invalid_parameter)\n       name: is too long\nrequest id: req_7"
        );
    }

    #[test]
    fn a_dialect_error_is_told_too() {
        let body =
            r#"{"error":{"message":"The key has spent its limit.","type":"billing","code":"spend_limit_reached"}}"#;
        let failure = of(402, body);
        assert_eq!(failure.exit, Exit::Limit);
        assert_eq!(failure.to_string(), "error: The key has spent its limit (spend_limit_reached)");
    }
}
