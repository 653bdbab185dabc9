//! Destinations of notices, deliveries, and requests for more than a key has.

use super::*;
use crate::commands::Cli;
use clap::Parser as _;

const HOOK: &str = r#"{"id":"dst_01","organisation_id":null,"project_id":null,"name":"ops","channel":"webhook","address":"https://hooks.example.com/in","events":["key.expiring"],"status":"active","old_secret_until":null,"created_at":"2026-11-21T09:00:00Z","updated_at":"2026-11-21T09:00:00Z","version":2}"#;
const DELIVERY: &str = r#"{"id":"dlv_01","notice_id":"msg_01","event":"key.expiring","organisation_id":null,"project_id":null,"key_id":"key_01","destination_id":"dst_01","channel":"webhook","address":"https://hooks.example.com","state":"waiting","attempts":3,"next_at":"2026-11-21T10:05:00Z","last_status":500,"last_error":"the receiver answered 500","done_at":null,"created_at":"2026-11-21T09:00:00Z"}"#;
const REQUEST: &str = r#"{"id":"apr_01","organisation_id":"org_01","project_id":"proj_01","key_id":"key_01","wants":"600 requests per minute","wish":{},"reason":"a launch","asked_by":{"id":"person_01","name":"ada@example.com"},"state":"waiting","lapses_at":"2026-11-28T10:00:00Z","decided_by":null,"decided_at":null,"answer":null,"ends_at":null,"created_at":"2026-11-21T09:00:00Z","updated_at":"2026-11-21T09:00:00Z","version":1}"#;

#[tokio::test]
async fn a_webhook_is_made_and_its_secret_alone_is_printed() {
    let made = HOOK.replace("\"version\"", "\"secret\":\"whsec_abc\",\"version\"");
    let fake = Fake::start(&[
        ("POST /admin/v1/destinations", 201, &made),
        ("POST /admin/v1/destinations/dst_01/rotate", 200, &made),
        ("GET /admin/v1/destinations/dst_01", 200, HOOK),
        ("PATCH /admin/v1/destinations/dst_01", 200, HOOK),
    ])
    .await;
    let bench = Bench::with(&fake);
    let create = ["destination", "create", "ops", "--webhook", "https://hooks.example.com/in", "--events"];
    let ran = bench.run(&[&create[..], &["key.expiring,key.expired", "--org", "acme"]].concat()).await;
    assert_eq!((ran.out.as_str(), ran.exit), ("whsec_abc\n", Exit::Ok));
    assert_eq!(bench.run(&["destination", "rotate", "dst_01", "--overlap", "1h"]).await.out, "whsec_abc\n");
    assert_eq!(bench.run(&["destination", "disable", "dst_01"]).await.exit, Exit::Ok);
    assert_eq!(bench.run(&["destination", "update", "dst_01", "--events", "all"]).await.exit, Exit::Ok);
    assert_eq!(bench.run(&["destination", "update", "dst_01"]).await.exit, Exit::Usage);
    let bodies: Vec<_> = fake.seen().iter().filter(|seen| !seen.body.is_empty()).map(|seen| seen.json()).collect();
    let expected = [
        json!({"name": "ops", "url": "https://hooks.example.com/in", "organisation": "acme",
               "events": ["key.expiring", "key.expired"]}),
        json!({"overlap": "1h"}),
        json!({"disabled": true}),
        json!({"events": []}),
    ];
    assert_eq!(bodies, expected);
    let patch = fake.seen().into_iter().find(|seen| seen.line.starts_with("PATCH")).unwrap();
    assert_eq!(patch.header("if-match"), Some("\"2\""));
}

#[tokio::test]
async fn a_test_that_does_not_arrive_fails() {
    let fake = Fake::start(&[
        ("POST /admin/v1/destinations/dst_01/test", 200, r#"{"ok":true,"status":204,"error":null}"#),
        (
            "POST /admin/v1/destinations/dst_02/test",
            200,
            r#"{"ok":false,"status":500,"error":"the receiver answered 500"}"#,
        ),
        ("GET /admin/v1/destinations/dst_01", 200, HOOK),
        ("DELETE /admin/v1/destinations/dst_01", 200, HOOK),
    ])
    .await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["destination", "test", "dst_01"]).await.exit, Exit::Ok);
    let ran = bench.run(&["destination", "test", "dst_02"]).await;
    assert!(ran.exit == Exit::Failed && ran.err.contains("the receiver answered 500"), "{}", ran.err);
    assert_ne!(bench.run(&["destination", "delete", "dst_01"]).await.exit, Exit::Ok, "nobody said yes");
    assert_eq!(bench.run(&["destination", "delete", "dst_01", "--yes"]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn lists_are_tables() {
    let fake = Fake::start(&[
        ("GET /admin/v1/destinations?limit=100", 200, &list_of(&[HOOK])),
        ("GET /admin/v1/deliveries?state=waiting&limit=100", 200, &list_of(&[DELIVERY])),
        ("POST /admin/v1/deliveries/dlv_01/replay", 200, DELIVERY),
        ("GET /admin/v1/approvals?state=waiting&limit=100", 200, &list_of(&[REQUEST])),
        ("GET /admin/v1/approvals/apr_01", 200, REQUEST),
    ])
    .await;
    let bench = Bench::with(&fake);
    assert!(
        bench
            .run(&["delivery", "replay", "dlv_01"])
            .await
            .err
            .contains("key.expiring goes to https://hooks.example.com")
    );
    let mut shown = String::new();
    for arguments in [
        &["destination", "list"][..],
        &["delivery", "list", "--state", "waiting"],
        &["approval", "list", "--state", "waiting"],
        &["approval", "show", "apr_01"],
    ] {
        shown.push_str(&Bench::with(&fake).on_terminal().run(arguments).await.transcript());
    }
    insta::assert_snapshot!("notices-on-terminal", shown);
}

#[tokio::test]
async fn more_is_asked_for_and_decided_on() {
    let fake = Fake::start(&[
        (&by_name("ci"), 200, &list_of(&[KEY])),
        ("POST /admin/v1/approvals", 201, REQUEST),
        ("POST /admin/v1/approvals/apr_01/approve", 200, REQUEST),
        ("POST /admin/v1/approvals/apr_01/refuse", 200, REQUEST),
        ("POST /admin/v1/approvals/apr_01/withdraw", 200, REQUEST),
    ])
    .await;
    let bench = Bench::with(&fake);
    let ask =
        ["approval", "ask", "ci", "--reason", "a launch", "--model", "openai/*", "--rpm", "600", "--spend-limit", "50"];
    let ran = bench.run(&[&ask[..], &["--expires", "30d", "--lapses", "3d"]].concat()).await;
    assert!(ran.exit == Exit::Ok && ran.err.contains("asked for 600 requests per minute (apr_01)"), "{}", ran.err);
    for decide in [
        &["approve", "apr_01", "--for", "7d", "--answer", "fine"][..],
        &["refuse", "apr_01", "--reason", "no"],
        &["withdraw", "apr_01"],
    ] {
        assert_eq!(bench.run(&[&["approval"], decide].concat()).await.exit, Exit::Ok);
    }
    let bodies: Vec<_> = fake.seen().iter().filter(|seen| !seen.body.is_empty()).map(|seen| seen.json()).collect();
    let expected = [
        json!({"key": KEY_ID, "reason": "a launch", "models": ["openai/*"], "limits": {"rpm": 600},
               "spend_limit_usd": "50", "expires_at": "2026-12-21T10:00:00Z", "lapses_in": "3d"}),
        json!({"lasts": "7d", "answer": "fine"}),
        json!({"reason": "no"}),
        json!({}),
    ];
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn a_key_is_asked_for_and_its_secret_collected() {
    let made = r#"{"id":"key_01","name":"dash","kind":"live","masked":"ak-live-AbCd1234…","secret":"ak-live-canary"}"#;
    let fake = Fake::start(&[
        ("POST /admin/v1/approvals", 201, REQUEST),
        ("POST /admin/v1/approvals/apr_01/collect", 200, made),
    ])
    .await;
    let bench = Bench::with(&fake);
    let ask = ["approval", "ask", "--new", "dash", "--project", "acme/search", "--reason", "it has none", "--rpm", "5"];
    let ran = bench.run(&ask).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let expected = json!({"name": "dash", "project": "acme/search", "reason": "it has none", "limits": {"rpm": 5}});
    assert_eq!(fake.seen()[0].json(), expected);
    let ran = bench.run(&["approval", "collect", "apr_01"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "ak-live-canary\n"), "{}", ran.err);
    // Of one key or the other, never of both or of none.
    for wrong in [&["ci", "--new", "dash"][..], &["ci", "--project", "p"], &[]] {
        let line = [&["anykey", "approval", "ask", "--reason", "r"], wrong].concat();
        assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
    }
}
