//! How commands fail: the exit code, what is said, and that stdout stays empty.

use super::*;

#[tokio::test]
async fn refusals_of_the_server_have_their_exit_codes() {
    for (status, exit) in [
        (400, Exit::Failed),
        (401, Exit::Auth),
        (403, Exit::Auth),
        (404, Exit::NotFound),
        (409, Exit::Conflict),
        (412, Exit::Conflict),
        (429, Exit::Limit),
        (500, Exit::Failed),
    ] {
        let problem = r#"{"title":"No","detail":"It was refused.","code":"some_code","request_id":"req_9"}"#;
        let fake = Fake::start(&[("GET /admin/v1/status", status, problem)]).await;
        let ran = Bench::with(&fake).run(&["status", "--json"]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{status}");
        assert!(ran.err.starts_with("error: It was refused (some_code)\n"), "{}", ran.err);
        assert!(ran.err.ends_with("request id: req_9\n"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bench = Bench::offline().env("ANYKEY_URL", &url).env("ANYKEY_ADMIN_KEY", "ak-admin-test");
    let ran = bench.run(&["key", "list"]).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.contains(&url), "{}", ran.err);
}

#[tokio::test]
async fn an_answer_that_is_no_admin_api_is_a_failure_and_not_a_panic() {
    for body in ["", "<html></html>", "[]", "{\"data\":7}"] {
        let fake = Fake::start(&[("GET /admin/v1/keys?limit=100", 200, body)]).await;
        let ran = Bench::with(&fake).run(&["key", "list"]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, ""), "{body}");
    }
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_ends_the_list() {
    let fake = Fake::start(&[
        ("GET /admin/v1/keys?limit=200", 200, r#"{"data":[],"next":"again"}"#),
        ("GET /admin/v1/keys?limit=200&after=again", 200, r#"{"data":[],"next":"again"}"#),
    ])
    .await;
    assert_eq!(Bench::with(&fake).run(&["key", "list", "--all", "--json"]).await.out, "[]\n");
}

#[tokio::test]
async fn debug_and_errors_show_no_secret() {
    let fake =
        Fake::start(&[("POST /admin/v1/providers", 422, r#"{"title":"Refused","code":"provider_test_failed"}"#)]).await;
    let bench = Bench::with(&fake).env("UP", "sk-canary-upstream");
    let ran = bench.run(&["provider", "add", "openai", "--key-env", "UP", "--debug"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    for secret in ["sk-canary-upstream", "ak-admin-test"] {
        assert!(!ran.err.contains(secret) && !ran.out.contains(secret), "{}{}", ran.out, ran.err);
    }
    assert!(ran.err.contains("--force"), "{}", ran.err);
}
