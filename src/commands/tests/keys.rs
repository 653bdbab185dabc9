//! Keys: making, finding, showing, changing, ending.

use super::*;

#[tokio::test]
async fn a_new_secret_is_alone_on_a_pipe_and_whole_in_json() {
    let made = with_secret(KEY);
    let fake = Fake::start(&[("POST /admin/v1/keys", 201, &made)]).await;
    let bench = Bench::with(&fake);

    let piped = bench.run(&["key", "create", "ci"]).await;
    assert_eq!((piped.exit, piped.out.as_str()), (Exit::Ok, "ak-live-AbCd1234SECRET\n"));
    let json = bench.run(&["key", "create", "ci", "--json"]).await;
    assert_eq!(json.out, format!("{made}\n"), "the API's bytes, unchanged");
    assert_eq!(json.err, "");
    let seen = bench.on_terminal().run(&["key", "create", "ci"]).await;
    insta::assert_snapshot!("create-on-terminal", seen.transcript().replace(&fake.url, "http://SERVER"));
}

#[tokio::test]
async fn create_sends_what_was_said_and_nothing_else() {
    let fake = Fake::start(&[("POST /admin/v1/keys", 201, &with_secret(KEY))]).await;
    let bench = Bench::with(&fake);
    bench.run(&["key", "create", "ci"]).await;
    bench
        .run(&[
            "keys",
            "create",
            "ci",
            "--kind",
            "test",
            "--description",
            "d",
            "--tag",
            "team=search",
            "--tag",
            "a=b",
            "--owner",
            "kai",
            "--project",
            "p",
            "--environment",
            "prod",
            "--scope",
            "models:read",
            "--browser-allowed",
            "--spend-limit",
            "5",
            "--budget",
            "50/mo",
            "--expires",
            "2w",
            "--note",
            "vault",
            "--rotation-interval",
            "90d",
            "--review",
            "2027-01-01",
        ])
        .await;
    bench.run(&["key", "create", "ci", "--expires", "2026-12-31"]).await;
    bench.run(&["key", "create", "ci", "--expires", "never"]).await;
    let bodies: Vec<_> = fake.seen().iter().map(|seen| seen.json()).collect();
    let whole = json!({
        "name": "ci", "kind": "test", "description": "d", "tags": {"team": "search", "a": "b"}, "owner": "kai",
        "project": "p", "environment": "prod", "scopes": ["models:read"], "browser_allowed": true,
        "spend_limits": [{"window": "total", "usd": "5"}, {"window": "monthly", "usd": "50"}], "expires_in": "14d",
        "note": "vault", "rotation_interval_days": 90, "review_at": "2027-01-01T00:00:00Z",
    });
    let dated = json!({"name": "ci", "expires_at": "2026-12-31T00:00:00Z"});
    assert_eq!(bodies, [json!({"name": "ci"}), whole, dated, json!({"name": "ci"})]);
    assert!(fake.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer ak-admin-test")));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_idempotency_key() {
    let made = with_secret(KEY);
    let fake = Fake::start(&[("POST /admin/v1/keys", HANG_UP, ""), ("POST /admin/v1/keys", 201, &made)]).await;
    let ran = Bench::with(&fake).run(&["key", "create", "ci"]).await;
    assert_eq!(ran.out, "ak-live-AbCd1234SECRET\n");
    let keys: Vec<_> = fake.seen().iter().map(|seen| seen.header("idempotency-key").unwrap().to_string()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn lists_for_people_for_pipes_and_as_json() {
    let fake = Fake::start(&[
        ("GET /admin/v1/keys?limit=100", 200, &list_of(&[KEY, &KEY.replace("\"ci\"", "\"b\\tad\\u001b[2J\"")])),
        ("GET /admin/v1/keys?limit=1", 200, &format!(r#"{{"data":[{KEY}],"next":"c1"}}"#)),
        ("GET /admin/v1/keys?status=expired&tag=team%3Dsearch&limit=100", 200, NO_KEYS),
    ])
    .await;
    let bench = Bench::with(&fake);
    insta::assert_snapshot!("list-on-pipe", bench.run(&["key", "list", "--header"]).await.transcript());
    assert_eq!(bench.run(&["key", "ls", "--limit", "1", "--json"]).await.out, format!("[{KEY}]\n"));
    let none = bench.run(&["key", "list", "--status", "expired", "--tag", "team=search"]).await;
    assert_eq!((none.exit, none.out.as_str()), (Exit::Ok, ""));
    let cut = bench.run(&["key", "list", "--limit", "1"]).await;
    assert!(cut.err.contains("there are more"), "{}", cut.err);
    let person = bench.on_terminal();
    insta::assert_snapshot!("list-on-terminal", person.run(&["key", "list"]).await.transcript());
    insta::assert_snapshot!("list-in-colour", person.run(&["key", "list", "--color", "always"]).await.transcript());
}

#[tokio::test]
async fn all_pages_are_read_when_all_are_wanted() {
    let fake = Fake::start(&[
        ("GET /admin/v1/keys?limit=200", 200, &format!(r#"{{"data":[{KEY}],"next":"c 1"}}"#)),
        ("GET /admin/v1/keys?limit=200&after=c%201", 200, &list_of(&[KEY])),
    ])
    .await;
    let ran = Bench::with(&fake).run(&["key", "list", "--all", "--json"]).await;
    assert_eq!(ran.out, format!("[{KEY},{KEY}]\n"));
}

#[tokio::test]
async fn a_key_is_found_by_name_by_id_and_by_its_masked_form() {
    let fake = Fake::start(&[
        (&by_name("ci"), 200, &list_of(&[KEY])),
        (&by_name("ak-live-AbCd1234%E2%80%A6"), 200, NO_KEYS),
        (&by_name("ghost"), 200, NO_KEYS),
        (&by_name("reused"), 200, &list_of(&[&KEY.replace("active", "revoked"), KEY])),
        (&by_name("twins"), 200, &list_of(&[KEY, &KEY.replace("000a", "000b")])),
        (GET_KEY, 200, KEY),
        ("POST /admin/v1/keys/whois", 200, KEY),
    ])
    .await;
    let bench = Bench::with(&fake);
    for which in ["ci", KEY_ID, "ak-live-AbCd1234…", "reused"] {
        let ran = bench.run(&["key", "show", which, "--json"]).await;
        assert_eq!((ran.exit, ran.out), (Exit::Ok, format!("{KEY}\n")), "{which}");
    }
    assert_eq!(
        fake.seen().iter().find(|s| s.line.contains("whois")).unwrap().json(),
        json!({"key": "ak-live-AbCd1234"})
    );
    assert_eq!(bench.run(&["key", "show", "ghost"]).await.exit, Exit::NotFound);
    let twins = bench.run(&["key", "show", "twins"]).await;
    assert_eq!(twins.exit, Exit::Conflict);
    assert!(twins.err.contains(KEY_ID), "{}", twins.err);
    insta::assert_snapshot!("show-on-pipe", bench.run(&["key", "show", "ci"]).await.transcript());
    insta::assert_snapshot!("show-on-terminal", bench.on_terminal().run(&["key", "show", "ci"]).await.transcript());
}

#[tokio::test]
async fn whois_reads_the_secret_from_stdin_and_refuses_it_as_an_argument() {
    let fake = Fake::start(&[("POST /admin/v1/keys/whois", 200, KEY), (GET_KEY, 200, KEY)]).await;
    let secret = anykey_core::Token::mint("ak", anykey_core::KeyKind::Live).unwrap();
    let bench = Bench::with(&fake).input(&format!("{}\n", secret.expose()));
    assert_eq!(bench.run(&["key", "whois", "--json"]).await.out, format!("{KEY}\n"));
    assert_eq!(fake.seen()[0].json(), json!({"key": secret.expose()}));

    for command in ["whois", "show", "disable"] {
        let ran = bench.run(&["key", command, secret.expose()]).await;
        assert_eq!(ran.exit, Exit::Usage);
        assert!(!ran.err.contains(secret.expose()), "{}", ran.err);
    }
    assert_eq!(fake.seen().len(), 2, "nothing more was sent");
}

#[tokio::test]
async fn edit_sends_the_version_it_read_and_merges_tags() {
    let path = format!("PATCH /admin/v1/keys/{KEY_ID}");
    let fake = Fake::start(&[(&by_name("ci"), 200, &list_of(&[KEY])), (GET_KEY, 200, KEY), (&path, 200, KEY)]).await;
    let bench = Bench::with(&fake);
    let ran = bench
        .run(&["key", "edit", "ci", "--name", "ci2", "--tag", "a=b", "--untag", "team", "--expires", "never", "--json"])
        .await;
    assert_eq!((ran.exit, ran.out), (Exit::Ok, format!("{KEY}\n")));
    let sent = fake.seen().pop().unwrap();
    assert_eq!(sent.header("if-match"), Some("\"3\""));
    assert_eq!(sent.json(), json!({"name": "ci2", "tags": {"a": "b"}, "expires_at": null}));

    bench.run(&["key", "edit", "ci", "--expires", "1d", "--no-spend-limit"]).await;
    let sent = fake.seen().pop().unwrap();
    assert_eq!(sent.json(), json!({"expires_at": "2026-11-22T10:00:00Z", "spend_limits": []}));
    assert_eq!(bench.run(&["key", "edit", "ci"]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn disable_runs_at_once_and_says_how_to_undo_it() {
    let (off, on) = (format!("POST /admin/v1/keys/{KEY_ID}/disable"), format!("POST /admin/v1/keys/{KEY_ID}/enable"));
    let fake =
        Fake::start(&[(&by_name("ci"), 200, &list_of(&[KEY])), (GET_KEY, 200, KEY), (&off, 200, KEY), (&on, 200, KEY)])
            .await;
    let bench = Bench::with(&fake);
    insta::assert_snapshot!("disable", bench.run(&["key", "disable", "ci"]).await.transcript());
    assert_eq!(bench.run(&["key", "enable", "ci", "--quiet"]).await.transcript(), "exit 0\n--- stdout\n--- stderr\n");
}

#[tokio::test]
async fn delete_asks_a_person_and_wants_yes_from_a_script() {
    let path = format!("DELETE /admin/v1/keys/{KEY_ID}");
    let fake = Fake::start(&[(&by_name("ci"), 200, &list_of(&[KEY])), (GET_KEY, 200, KEY), (&path, 204, "")]).await;
    let deleted = || fake.lines().iter().filter(|line| line.starts_with("DELETE")).count();
    let script = Bench::with(&fake);
    assert_eq!(script.run(&["key", "delete", "ci"]).await.exit, Exit::Usage);
    let person = Bench::with(&fake).on_terminal();
    assert_eq!(person.clone().input("n\n").run(&["key", "delete", "ci"]).await.exit, Exit::Cancelled);
    assert_eq!(person.clone().input("").run(&["key", "delete", "ci"]).await.exit, Exit::Cancelled);
    assert_eq!(person.clone().input("y\n").run(&["key", "delete", "ci", "--json"]).await.exit, Exit::Usage);
    assert_eq!(deleted(), 0);
    assert_eq!(person.input("y\n").run(&["key", "delete", "ci"]).await.exit, Exit::Ok);
    assert_eq!(script.run(&["key", "rm", "ci", "--yes", "--json"]).await.transcript().lines().next(), Some("exit 0"));
    assert_eq!(deleted(), 2);
}

#[tokio::test]
async fn rotate_sends_the_overlap_and_prints_the_new_secret_alone() {
    let path = format!("POST /admin/v1/keys/{KEY_ID}/rotate");
    let fake =
        Fake::start(&[(&by_name("ci"), 200, &list_of(&[KEY])), (GET_KEY, 200, KEY), (&path, 200, &with_secret(KEY))])
            .await;
    let bench = Bench::with(&fake);
    let body = || fake.seen().pop().unwrap().json();
    assert_eq!(bench.run(&["key", "rotate", "ci"]).await.out, "ak-live-AbCd1234SECRET\n");
    assert_eq!(body(), json!({}));
    bench.run(&["key", "rotate", "ci", "--overlap", "15m"]).await;
    assert_eq!(body(), json!({"overlap": "15m"}));
    bench.run(&["key", "rotate", "ci", "--overlap", "none"]).await;
    assert_eq!(body(), json!({"overlap": "none"}));
    bench.run(&["key", "rotate", "ci", "--leaked"]).await;
    assert_eq!(body(), json!({"leaked": true}));
}

#[tokio::test]
async fn regenerate_asks_a_person_only() {
    let path = format!("POST /admin/v1/keys/{KEY_ID}/regenerate");
    let fake =
        Fake::start(&[(&by_name("ci"), 200, &list_of(&[KEY])), (GET_KEY, 200, KEY), (&path, 200, &with_secret(KEY))])
            .await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["key", "regenerate", "ci"]).await.out, "ak-live-AbCd1234SECRET\n");
    let person = bench.on_terminal();
    assert_eq!(person.clone().input("\n").run(&["key", "regenerate", "ci"]).await.exit, Exit::Cancelled);
    assert_eq!(person.input("yes\n").run(&["key", "regenerate", "ci"]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn import_sends_the_digest_and_prints_the_id() {
    let fake = Fake::start(&[("POST /admin/v1/keys/import", 201, KEY)]).await;
    let digest = "A".repeat(64);
    let ran = Bench::with(&fake).run(&["key", "import", "old", "--sha256", &digest]).await;
    assert_eq!(ran.out, format!("{KEY_ID}\n"));
    assert_eq!(fake.seen()[0].json(), json!({"name": "old", "sha256": digest.to_lowercase()}));
}
