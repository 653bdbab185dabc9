//! Providers' errors on their way to the caller.

use anykey_core::Dialect::{self, *};
use anykey_dialect::UpstreamError;
use anykey_dialect::error::{RetryHints, upstream_error};
use bytes::Bytes;
use serde_json::{Value, json};

fn carried(provider: Dialect, caller: Dialect, status: u16, body: impl Into<Bytes>) -> UpstreamError {
    upstream_error(provider, caller, "acme", status, &body.into(), RetryHints::default(), "req_1")
}

fn body(error: &UpstreamError) -> Value {
    serde_json::from_slice(error.body()).unwrap()
}

const OPENAI: &str =
    r#"{ "error": {"message":"Slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}, "x": 1 }"#;
const ANTHROPIC: &str =
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_up"}"#;
const GEMINI: &str = r#"{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.2s"}]}}"#;

#[test]
fn the_callers_own_dialect_passes_unchanged() {
    for (dialect, status, text) in [(OpenAi, 429, OPENAI), (Anthropic, 529, ANTHROPIC), (Gemini, 429, GEMINI)] {
        let error = carried(dialect, dialect, status, text);
        assert_eq!((error.status, error.upstream_status), (status, status));
        assert_eq!(error.body(), text);
    }
    let array = format!("[{GEMINI}]");
    assert_eq!(carried(Gemini, Gemini, 429, array.clone()).body(), &array);
}

#[test]
fn other_dialects_are_put_into_the_callers() {
    let error = carried(OpenAi, Anthropic, 429, OPENAI);
    assert_eq!(
        body(&error)["error"],
        json!({"type": "rate_limit_error", "message": "Slow down", "code": "rate_limit_exceeded"})
    );
    let error = carried(Anthropic, OpenAi, 529, ANTHROPIC);
    assert_eq!((error.status, error.kind.as_deref()), (529, Some("overloaded_error")));
    assert_eq!(body(&error)["error"]["type"], "server_error");
    assert_eq!(body(&error)["error"]["code"], "upstream_error");
    let error = carried(Anthropic, Gemini, 529, ANTHROPIC);
    assert_eq!(
        (&body(&error)["error"]["code"], &body(&error)["error"]["status"]),
        (&json!(529), &json!("UNAVAILABLE"))
    );
    let error = carried(Gemini, Anthropic, 429, GEMINI);
    assert_eq!(body(&error)["error"]["message"], "Quota");
}

#[test]
fn a_refused_credential_is_the_operators_fault() {
    let secret = r#"{"error":{"message":"Incorrect API key provided: sk-ab12","type":"invalid_request_error","code":"invalid_api_key"}}"#;
    let invalid = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
    for (provider, status, text) in [(OpenAi, 401, secret), (Anthropic, 403, ANTHROPIC), (Gemini, 400, invalid)] {
        for caller in Dialect::ALL {
            let error = carried(provider, caller, status, text);
            assert!(error.credential_refused());
            assert_eq!((error.status, error.upstream_status), (502, status));
            let said = body(&error)["error"]["message"].as_str().unwrap().to_owned();
            assert!(said.contains("acme") && !said.contains("sk-"), "{said}");
        }
    }
    assert!(!carried(OpenAi, OpenAi, 502, OPENAI).credential_refused());
    assert!(
        !carried(Gemini, Gemini, 400, r#"{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}"#)
            .credential_refused()
    );
}

#[test]
fn what_is_not_an_error_of_the_dialect_is_wrapped() {
    let page = "<!DOCTYPE html>\r\n<html><head><TITLE lang=\"en\"> 502 Bad\u{7}\nGateway </TITLE></head><body>host</body></html>";
    for (text, message) in [
        (page, "502 Bad Gateway"),
        ("<html>no title</html>", "The provider answered with status 502."),
        ("", "The provider answered with status 502."),
        ("upstream\u{1b}[31m connect\r\nerror", "upstream[31m connect  error"),
        (r#"{"message":"flat","code":400}"#, "flat"),
        (r#"{"error":"a text"}"#, "a text"),
        (r#"{"detail":"Not Found"}"#, "Not Found"),
        ("[1]", "The provider answered with status 502."),
    ] {
        for caller in Dialect::ALL {
            let error = carried(OpenAi, caller, 502, text.to_owned());
            assert_eq!(error.message, message);
            assert_eq!(body(&error)["error"]["message"], message);
        }
    }
    let long = carried(OpenAi, OpenAi, 500, "é".repeat(2000));
    assert_eq!(long.message.len(), 512);
    let not_utf8 = carried(OpenAi, OpenAi, 500, Bytes::from_static(b"a\xffb"));
    assert_eq!(not_utf8.message, "a\u{fffd}b");
}

#[test]
fn hints_when_to_retry() {
    let after = |retry_after, retry_after_ms, text: &'static str| {
        let hints = RetryHints { retry_after, retry_after_ms };
        upstream_error(Gemini, OpenAi, "p", 429, &Bytes::from_static(text.as_bytes()), hints, "r").retry_after
    };
    assert_eq!(after(Some("7"), None, "{}"), Some(7));
    assert_eq!(after(Some("0.2"), None, "{}"), Some(1));
    assert_eq!(after(Some("9"), Some("1500"), "{}"), Some(2));
    assert_eq!(after(Some("9"), Some("soon"), "{}"), Some(9));
    assert_eq!(after(None, None, GEMINI), Some(8));
    assert_eq!(after(Some("3"), None, GEMINI), Some(3));
    assert_eq!(after(Some("-1"), None, "{}"), None);
    assert_eq!(after(Some("NaN"), None, "{}"), None);
    assert_eq!(after(Some("1e99"), None, "{}"), Some(u32::MAX));
    assert_eq!(after(Some("Wed, 21 Oct 2026 07:28:00 GMT"), None, "{}"), None);
    assert_eq!(after(None, None, "{}"), None);
}
