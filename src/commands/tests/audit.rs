//! The audit log: lists, exports, and verifying it with and without a server.

use super::*;
use anykey_store::{Database, Options, Store};

const ENTRY: &str = r#"{"seq":7,"at":"2026-11-21T09:59:00Z","actor":{"kind":"key","id":"key_boss","name":"boss ak-admin-AbCd1234…"},"surface":"cli","ip":"10.0.4.7","client":"anykey-cli/0.1.0","request_id":"req_1","verb":"key.disable","organisation":null,"object":{"kind":"key","id":"key_01kagsehr0000000000000000a","name":"ci"},"before":{"disabled":false},"after":{"disabled":true},"hash":"0f"}"#;

#[tokio::test]
async fn changes_are_listed_and_narrowed() {
    let fake = Fake::start(&[
        ("GET /admin/v1/audit?limit=100", 200, &list_of(&[ENTRY])),
        (&by_name("ci"), 200, &list_of(&[KEY])),
        (
            "GET /admin/v1/audit?verb=key.disable%2Ckey.enable&object=key_01kagsehr0000000000000000a&actor=key_boss&from=2026-11-20T10%3A00%3A00Z&limit=5",
            200,
            &list_of(&[ENTRY]),
        ),
    ])
    .await;
    let bench = Bench::with(&fake);
    insta::assert_snapshot!(
        "audit-on-terminal",
        bench.clone().on_terminal().run(&["audit", "list"]).await.transcript()
    );
    insta::assert_snapshot!("audit-on-pipe", bench.run(&["audit", "ls", "--header"]).await.transcript());
    let narrow =
        ["audit", "list", "--verb", "key.disable,key.enable", "--key", "ci", "--by", "key_boss", "--since", "1d"];
    let narrow = [&narrow[..], &["--limit", "5", "--json"]].concat();
    assert_eq!(bench.run(&narrow).await.out, format!("[{ENTRY}]\n"));
}

#[tokio::test]
async fn an_export_passes_unchanged() {
    let fake = Fake::start(&[
        ("GET /admin/v1/audit/export?format=ndjson", 200, "{\"seq\":1}\n{\"seq\":2}\n"),
        ("GET /admin/v1/audit/export?format=csv&kind=key", 200, "seq\r\n1\r\n"),
        ("GET /admin/v1/audit/export?format=csv", HANG_UP, ""),
    ])
    .await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["audit", "export"]).await.out, "{\"seq\":1}\n{\"seq\":2}\n");
    assert_eq!(bench.run(&["audit", "export", "--csv", "--kind", "key"]).await.out, "seq\r\n1\r\n");
    assert_eq!(bench.run(&["audit", "export", "--csv"]).await.exit, Exit::Unreachable);
}

#[tokio::test]
async fn verify_tells_what_the_server_found_and_fails_where_something_is_wrong() {
    let hash = "ab".repeat(32);
    let whole = format!(r#"{{"ok":true,"count":7,"head_hash":"{hash}","broken":null,"alarms":[]}}"#);
    let broken = format!(
        r#"{{"ok":false,"count":3,"head_hash":"{hash}","broken":{{"kind":"altered","seq":4,"message":"entry 4 does not agree"}},"alarms":[]}}"#
    );
    let alarm = format!(r#"{{"ok":false,"count":7,"head_hash":"{hash}","broken":null,"alarms":[5]}}"#);
    let noted = format!("GET /admin/v1/audit/verify?seq=7&hash={hash}");
    let ask = "GET /admin/v1/audit/verify";
    let fake = Fake::start(&[(ask, 200, &whole), (ask, 200, &broken), (ask, 200, &alarm), (&noted, 200, &whole)]).await;
    let bench = Bench::with(&fake);
    insta::assert_snapshot!("verify-whole", bench.run(&["audit", "verify"]).await.transcript());
    insta::assert_snapshot!("verify-broken", bench.run(&["audit", "verify"]).await.transcript());
    let alarmed = bench.run(&["audit", "verify", "--json"]).await;
    assert_eq!((alarmed.exit, alarmed.out), (Exit::Failed, format!("{alarm}\n")));
    assert!(alarmed.err.contains("before entry 5"), "{}", alarmed.err);
    let head = format!("7:{hash}");
    assert_eq!(bench.run(&["audit", "verify", "--noted", &head]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn verify_reads_the_folder_of_a_server_that_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let bench = Bench::offline();
    let none = bench.run(&["audit", "verify", "--data-dir", dir]).await;
    assert_eq!(none.exit, Exit::Unreachable, "an empty folder is none of ours: {}", none.err);

    let store = Store::open(Options::new(folder.path(), Database::Sqlite(None))).await.unwrap();
    store.set_alias("fast", "openai/x").await.unwrap();
    let busy = bench.run(&["audit", "verify", "--data-dir", dir]).await;
    assert_eq!(busy.exit, Exit::Failed);
    assert!(busy.err.contains("another process"), "{}", busy.err);
    let head = store.verify_audit(None).await.unwrap().head_hash;
    store.close().await;
    drop(store);

    for flags in [&[][..], &["--offline"]] {
        let ran = bench.run(&[&["audit", "verify", "--json", "--data-dir", dir], flags].concat()).await;
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&found["count"], &found["head_hash"]), (&json!(2), &json!(head)));
    }
    let noted = format!("1:{head}");
    let other = bench.run(&["audit", "verify", "--data-dir", dir, "--noted", &noted]).await;
    assert_eq!(other.exit, Exit::Failed);
    assert!(other.err.contains("entry 1 is not the one that was noted"), "{}", other.err);
}
