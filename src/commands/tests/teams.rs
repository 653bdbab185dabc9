//! Organisations, projects, members, service accounts, and what is done to many keys.

use super::*;
use crate::commands::Cli;
use clap::Parser;

const ORG: &str = r#"{"id":"org_01","slug":"acme","name":"Acme","description":"","status":"active","controls":{"limits":{"rpm":5}},"key_rules":{"required":[]},"created_at":"2026-11-01T10:00:00Z","updated_at":"2026-11-01T10:00:00Z","version":4}"#;
const MEMBER: &str = r#"{"id":"mem_01","organisation_id":"org_01","person_id":"person_01","email":"Ada@example.com","name":"Ada","role":"member","status":"active","controls":{},"created_at":"2026-11-01T10:00:00Z","version":1}"#;
const JOB: &str = r#"{"id":"job_01","action":"disable","status":"running","total":3,"done":0,"skipped":0,"creator":null,"created_at":"2026-11-21T10:00:00Z","finished_at":null}"#;
const DONE: &str = r#"{"id":"job_01","action":"disable","status":"done","total":3,"done":2,"skipped":1,"creator":null,"created_at":"2026-11-21T10:00:00Z","finished_at":"2026-11-21T10:00:01Z","skipped_keys":[{"key_id":"key_01","reason":"it is disabled already"}]}"#;

#[tokio::test]
async fn an_organisation_is_listed_made_and_changed_by_the_version_that_was_read() {
    let fake = Fake::start(&[
        ("GET /admin/v1/organisations?q=ac&limit=100", 200, &list_of(&[ORG])),
        ("POST /admin/v1/organisations", 201, ORG),
        ("GET /admin/v1/organisations/acme", 200, ORG),
        ("PATCH /admin/v1/organisations/org_01", 200, ORG),
        ("POST /admin/v1/organisations/acme/disable", 200, ORG),
    ])
    .await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["org", "create", "Acme", "--slug", "acme"]).await.exit, Exit::Ok);
    assert_eq!(bench.run(&["org", "update", "acme", "--name", "A"]).await.exit, Exit::Ok);
    assert_eq!(bench.run(&["org", "update", "acme"]).await.exit, Exit::Usage);
    assert!(bench.run(&["org", "disable", "acme"]).await.err.contains("disabled the organisation Acme (org_01)"));
    let seen = fake.seen();
    let of = |line: &str| seen.iter().find(|seen| seen.line.starts_with(line)).unwrap();
    assert_eq!(of("POST /admin/v1/organisations").json(), json!({"name": "Acme", "slug": "acme"}));
    assert_eq!(of("PATCH").json(), json!({"name": "A"}));
    assert_eq!(of("PATCH").header("if-match"), Some("\"4\""));
    insta::assert_snapshot!(
        "orgs-on-terminal",
        bench.on_terminal().run(&["org", "list", "-S", "ac"]).await.transcript()
    );
}

#[tokio::test]
async fn a_policy_comes_out_of_a_file_and_a_slash_is_part_of_a_name() {
    let fake = Fake::start(&[
        ("GET /admin/v1/projects/acme%2Fsearch", 200, ORG),
        ("PATCH /admin/v1/projects/org_01", 200, ORG),
    ])
    .await;
    let bench = Bench::with(&fake);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.json");
    std::fs::write(&file, r#"{"limits": {"rpm": 5}}"#).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(bench.run(&["project", "update", "acme/search", "--controls", file]).await.exit, Exit::Ok);
    assert_eq!(fake.seen().last().unwrap().json(), json!({"controls": {"limits": {"rpm": 5}}}));
    std::fs::write(file, "{").unwrap();
    assert_eq!(bench.run(&["project", "update", "acme/search", "--controls", file]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn an_owner_is_found_by_the_e_mail_whatever_its_case() {
    let fake = Fake::start(&[
        (GET_KEY, 200, KEY),
        ("GET /admin/v1/members?q=ada%40example.com&limit=50", 200, &list_of(&[MEMBER])),
        ("GET /admin/v1/members?q=a%40example.com&limit=50", 200, &list_of(&[MEMBER])),
        (&format!("POST /admin/v1/keys/{KEY_ID}/transfer"), 200, KEY),
    ])
    .await;
    let bench = Bench::with(&fake);
    let given = bench.run(&["key", "transfer", KEY_ID, "--to", "ada@example.com"]).await;
    assert_eq!(given.exit, Exit::Ok, "{}", given.err);
    assert_eq!(fake.seen().last().unwrap().json(), json!({"owner_id": "mem_01"}));
    let nobody = bench.run(&["key", "transfer", KEY_ID, "--to", "a@example.com"]).await;
    assert_eq!(nobody.exit, Exit::NotFound, "part of an e-mail is nobody");
}

#[tokio::test]
async fn many_keys_are_changed_by_a_job_that_is_waited_for() {
    let fake = Fake::start(&[
        ("POST /admin/v1/keys/bulk", 202, JOB),
        ("GET /admin/v1/jobs/job_01", 200, JOB),
        ("GET /admin/v1/jobs/job_01", 200, DONE),
    ])
    .await;
    let bench = Bench::with(&fake);
    let filter = ["--org", "acme", "--unused", "90d", "--tag", "team=a"];
    let ran = bench.run(&[&["key", "bulk", "disable", "--yes"][..], &filter].concat()).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(ran.err.contains("2 of 3 keys changed, 1 left as they are"), "{}", ran.err);
    let asked = json!({"action": "disable", "filter": {"organisation": "acme", "unused": "90d", "tag": "team=a"}});
    assert_eq!(fake.seen()[0].json(), asked);
    assert!(fake.seen()[0].header("idempotency-key").is_some());
    let tagged = ["key", "bulk", "tag", KEY_ID, "--set", "a=b", "--untag", "c", "--yes", "--no-wait"];
    assert_eq!(bench.run(&tagged).await.exit, Exit::Ok);
    let asked = json!({"action": "tag", "keys": [KEY_ID], "tags": {"a": "b"}, "untag": ["c"]});
    assert_eq!(fake.seen().last().unwrap().json(), asked);
    for wrong in [
        &["key", "bulk", "disable", "--yes"][..],
        &["key", "bulk", "tag", KEY_ID, "--yes"],
        &["key", "bulk", "extend", KEY_ID, "--expires", "never", "--yes"],
    ] {
        assert_eq!(bench.run(wrong).await.exit, Exit::Usage, "{wrong:?}");
    }
    for conflict in [
        &["key", "bulk", "disable", KEY_ID, "--org", "acme"][..],
        &["key", "list", "--unused", "1d", "--expiring", "1d"],
    ] {
        assert!(Cli::try_parse_from([&["anykey"], conflict].concat()).is_err(), "{conflict:?}");
    }
}

/// A search among very many keys may look at a page's worth of them and find none.
#[tokio::test]
async fn an_empty_page_in_the_middle_is_not_the_end() {
    let fake = Fake::start(&[
        ("GET /admin/v1/keys?q=needle&limit=100", 200, r#"{"data":[],"next":"c1"}"#),
        ("GET /admin/v1/keys?q=needle&limit=100&after=c1", 200, &list_of(&[KEY])),
        ("GET /admin/v1/keys?q=stuck&limit=100", 200, r#"{"data":[],"next":"c1"}"#),
        ("GET /admin/v1/keys?q=stuck&limit=100&after=c1", 200, r#"{"data":[],"next":"c1"}"#),
    ])
    .await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["key", "list", "-S", "needle", "--json"]).await.out, format!("[{KEY}]\n"));
    assert_eq!(bench.run(&["key", "list", "-S", "stuck", "--json"]).await.out, "[]\n");
}

#[tokio::test]
async fn who_is_in_a_project_is_listed() {
    let ada = r#"{"kind":"member","id":"mem_01","person_id":"person_01","name":"Ada","email":"ada@example.com","role":"member","owner":true,"status":"active","keys":2}"#;
    let eve = r#"{"kind":"member","id":"mem_02","person_id":"person_02","name":"Eve","email":"eve@example.com","role":"admin","owner":false,"status":"disabled","keys":1}"#;
    let deploy = r#"{"kind":"service_account","id":"svc_01","person_id":null,"name":"deploy","email":null,"role":null,"owner":false,"status":"active","keys":0}"#;
    let line = "GET /admin/v1/projects/acme%2Fsearch/members?limit=100";
    let fake = Fake::start(&[(line, 200, &list_of(&[deploy, eve, ada]))]).await;
    let bench = Bench::with(&fake);
    let members = ["project", "members", "acme/search"];
    insta::assert_snapshot!("project-members-on-terminal", bench.on_terminal().run(&members).await.transcript());
    let piped = Bench::with(&fake).run(&members).await;
    assert_eq!(piped.exit, Exit::Ok);
    assert!(piped.out.contains("mem_01\tmember\tAda\tada@example.com\towner\t2\tactive\n"), "{}", piped.out);
}
