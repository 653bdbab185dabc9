//! Usage, requests, status, env, ask and api.

use super::*;

const ATTEMPT: &str = r#"{"request_id":"req_01kagsehr0000000000000000c","attempt":1,"key_id":"key_01kagsehr0000000000000000a","key_name":"ci","endpoint":"chat_completions","dialect":"openai","stream":true,"provider":"sim","model_asked":"sim/echo","model_sent":"echo","model_served":"echo","status":200,"outcome":"completed","code":"","usage":{"input":2,"cache_read":3,"output":7,"reasoning":1},"usage_source":"provider","cost_usd":"0.000045","hold_usd":"0.01","price_id":1,"started_at":"2026-11-21T09:59:56.123Z","first_byte_ms":3.25,"total_ms":12.6,"bytes_in":120,"bytes_out":900,"upstream_id":null,"client":"127.0.0.1"}"#;
const REFUSED: &str = r#"{"request_id":"req_01kagsehr0000000000000000d","attempt":0,"key_name":"ci","model_asked":"gpt-9","status":404,"outcome":"refused","code":"model_not_found","usage":{},"cost_usd":null,"started_at":"2026-11-21T09:59:57Z","total_ms":0}"#;
const USAGE: &str = r#"{"data":[{"model":"sim/echo","day":"2026-11-20","requests":1200,"errors":2,"input_tokens":40000,"cache_read_tokens":0,"cache_write_tokens":0,"output_tokens":9000,"reasoning_tokens":0,"cost_usd":"1.25","unpriced":0,"estimated":3},{"model":"house/x","day":"2026-11-21","requests":1,"errors":0,"input_tokens":4,"output_tokens":9,"cost_usd":null,"unpriced":1,"estimated":0}],"totals":{"requests":1201,"errors":2,"input_tokens":40004,"output_tokens":9009,"cost_usd":"1.25","unpriced":1,"estimated":3}}"#;

#[tokio::test]
async fn usage_by_several_things_for_people_pipes_json_and_csv() {
    let fake = Fake::start(&[
        ("GET /admin/v1/usage?group_by=model%2Cday&from=2026-11-14T10%3A00%3A00Z", 200, USAGE),
        ("GET /admin/v1/usage?group_by=model&from=2026-10-22T10%3A00%3A00Z", 200, USAGE),
        ("GET /admin/v1/usage?group_by=model&from=2026-10-22T10%3A00%3A00Z&format=csv", 200, "model,requests\r\nx,1\r\n"),
        (&by_name("ci"), 200, &list_of(&[KEY])),
        (
            "GET /admin/v1/usage?group_by=key&from=2026-11-01T00%3A00%3A00Z&to=2026-11-20T00%3A00%3A00Z&key=key_01kagsehr0000000000000000a",
            200,
            r#"{"data":[],"totals":{}}"#,
        ),
    ])
    .await;
    let bench = Bench::with(&fake);
    let person = bench.clone().on_terminal();
    let by_two = ["usage", "--by", "model,day", "--since", "7d"];
    insta::assert_snapshot!("usage-on-terminal", person.run(&by_two).await.transcript());
    insta::assert_snapshot!("usage-on-pipe", bench.run(&["usage", "--header"]).await.transcript());
    assert_eq!(bench.run(&["usage", "--json"]).await.out, format!("{USAGE}\n"));
    assert_eq!(bench.run(&["usage", "--csv"]).await.out, "model,requests\r\nx,1\r\n");
    let filtered = ["usage", "--by", "key", "--since", "2026-11-01", "--until", "2026-11-20", "--key", "ci"];
    assert_eq!(bench.run(&filtered).await.exit, Exit::Ok);
}

#[tokio::test]
async fn requests_are_listed_and_shown() {
    let fake = Fake::start(&[
        ("GET /admin/v1/requests?since=2026-11-21T09%3A00%3A00Z&status=4xx&limit=100", 200, &list_of(&[REFUSED])),
        ("GET /admin/v1/requests?limit=100", 200, &list_of(&[ATTEMPT, REFUSED])),
        ("GET /admin/v1/requests/req_01kagsehr0000000000000000c", 200, &list_of(&[ATTEMPT])),
    ])
    .await;
    let bench = Bench::with(&fake);
    let person = bench.clone().on_terminal();
    insta::assert_snapshot!("requests-on-terminal", person.run(&["request", "list"]).await.transcript());
    insta::assert_snapshot!("requests-on-pipe", bench.run(&["request", "list", "--header"]).await.transcript());
    assert_eq!(
        bench.run(&["requests", "ls", "--since", "1h", "--status", "4xx", "--json"]).await.out,
        format!("[{REFUSED}]\n")
    );
    let show = ["request", "show", "req_01kagsehr0000000000000000c"];
    insta::assert_snapshot!("request-on-terminal", person.run(&show).await.transcript());
    assert_eq!(bench.run(&[show[0], show[1], show[2], "--json"]).await.out, format!("[{ATTEMPT}]\n"));
    let missing = bench.run(&["request", "show", "req_none"]).await;
    assert_eq!(missing.exit, Exit::NotFound);
    assert!(missing.err.contains("try:   anykey request list"), "{}", missing.err);
}

#[tokio::test]
async fn tail_prints_a_line_an_attempt_until_the_server_goes() {
    let events = format!(": hello\n\ndata: {ATTEMPT}\n\nevent: missed\ndata: 7\n\ndata: {REFUSED}\n\n");
    let fake = Fake::start(&[("GET /admin/v1/requests/tail?status=2xx", 200, &events)]).await;
    let bench = Bench::with(&fake);
    let tail = ["request", "tail", "--status", "2xx"];
    let json = bench.run(&[tail[0], tail[1], tail[2], tail[3], "--json"]).await;
    assert_eq!((json.exit, json.out), (Exit::Unreachable, format!("{ATTEMPT}\n{REFUSED}\n")));
    insta::assert_snapshot!("tail-on-pipe", bench.run(&tail).await.transcript());
    insta::assert_snapshot!("tail-on-terminal", bench.on_terminal().run(&tail).await.transcript());
}

#[tokio::test]
async fn status_shows_what_the_server_says() {
    let status = r#"{"version":"0.1.0","uptime_s":61,"database":"sqlite","keys":3,"providers":1}"#;
    let fake = Fake::start(&[("GET /admin/v1/status", 200, status)]).await;
    let bench = Bench::with(&fake);
    assert_eq!(bench.run(&["status", "--json"]).await.out, format!("{status}\n"));
    let out = bench.run(&["status"]).await.out;
    assert!(out.contains("database\tsqlite\n") && out.contains(&format!("url\t{}\n", fake.url)), "{out}");
}

#[tokio::test]
async fn env_prints_addresses_and_the_key_that_it_is_given_or_makes() {
    let fake = Fake::start(&[("POST /admin/v1/keys", 201, &with_secret(KEY))]).await;
    let bench = Bench::with(&fake);
    let bare = bench.run(&["env", "--format", "dotenv"]).await;
    assert!(bare.out.contains("OPENAI_BASE_URL=") && !bare.out.contains("API_KEY"), "{}", bare.out);
    assert!(bare.err.contains("--new-key"), "{}", bare.err);
    assert!(fake.seen().is_empty(), "no key is made unasked");

    let made = bench.run(&["env", "--new-key", "laptop", "--for", "claude-code"]).await;
    insta::assert_snapshot!("env-claude-code", made.transcript().replace(&fake.url, "http://SERVER"));
    let given = bench.env("ANYKEY_API_KEY", "ak-live-mine").run(&["env", "--json"]).await;
    let variables: serde_json::Value = serde_json::from_str(&given.out).unwrap();
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "ANYKEY_API_KEY"] {
        assert_eq!(variables[name], "ak-live-mine", "{name}");
    }
}

const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hel\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn ask_makes_a_key_for_the_question_and_deletes_it() {
    let delete = format!("DELETE /admin/v1/keys/{KEY_ID}");
    let fake = Fake::start(&[
        ("POST /admin/v1/keys", 201, &with_secret(KEY)),
        ("POST /v1/chat/completions", 200, STREAM),
        (&delete, 204, ""),
    ])
    .await;
    let ran = Bench::with(&fake).run(&["ask", "hello"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "hello\n"));
    let seen = fake.seen();
    assert_eq!(seen[0].json(), json!({"name": "anykey-ask", "expires_in": "10m"}));
    assert_eq!(seen[1].header("authorization"), Some("Bearer ak-live-AbCd1234SECRET"));
    assert_eq!(seen[1].json()["model"], "sim/echo");
    assert_eq!(seen[2].line, delete);
}

#[tokio::test]
async fn ask_deletes_its_key_also_when_the_answer_is_a_refusal() {
    let delete = format!("DELETE /admin/v1/keys/{KEY_ID}");
    let refusal = r#"{"type":"error","error":{"type":"not_found_error","message":"No model gpt-9."}}"#;
    let fake = Fake::start(&[
        ("POST /admin/v1/keys", 201, &with_secret(KEY)),
        ("POST /v1/messages", 404, refusal),
        (&delete, 204, ""),
    ])
    .await;
    let ran = Bench::with(&fake).run(&["ask", "hello", "--as", "anthropic", "-m", "gpt-9"]).await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert!(ran.err.starts_with("error: No model gpt-9 (not_found_error)\n"), "{}", ran.err);
    assert_eq!(fake.lines().last(), Some(&delete));
    assert_eq!(fake.seen()[1].header("anthropic-version"), Some("2023-06-01"));
}

#[tokio::test]
async fn ask_uses_the_callers_key_and_needs_no_admin_key() {
    let whole = r#"{"candidates":[]}"#;
    let fake = Fake::start(&[
        ("POST /v1beta/models/sim/echo:generateContent", 200, whole),
        ("POST /v1/chat/completions", 200, &STREAM[..STREAM.len() - "data: [DONE]\n\n".len()]),
    ])
    .await;
    let bench = Bench::offline().env("ANYKEY_URL", &fake.url).env("ANYKEY_API_KEY", "ak-live-mine").input("from stdin");
    let ran = bench.run(&["ask", "-", "--as", "gemini", "--json", "--max-tokens", "5"]).await;
    assert_eq!((ran.exit, ran.out), (Exit::Ok, format!("{whole}\n")));
    let sent = fake.seen().pop().unwrap();
    assert_eq!(sent.json()["contents"][0]["parts"][0]["text"], "from stdin");
    assert_eq!(sent.json()["generationConfig"]["maxOutputTokens"], 5);
    assert_eq!(sent.header("authorization"), Some("Bearer ak-live-mine"));

    let cut = bench.run(&["ask", "hello"]).await;
    assert_eq!((cut.exit, cut.out.as_str()), (Exit::Failed, "hello\n"), "an answer without its end is no success");
}

#[tokio::test]
async fn api_sends_fields_as_body_or_query_and_prints_the_answer() {
    let fake = Fake::start(&[
        ("POST /admin/v1/keys", 201, KEY),
        ("GET /admin/v1/keys?q=a%20b&limit=1", 200, NO_KEYS),
        ("GET /admin/v1/keys?limit=200", 200, &list_of(&["1", "2"])),
        ("DELETE /admin/v1/keys/x", 204, ""),
    ])
    .await;
    let bench = Bench::with(&fake).input("{\"name\":\"stdin\"}");
    let posted = bench
        .run(&["api", "post", "/keys", "-f", "name=ci", "-f", "browser_allowed=true", "-f", "tags={\"a\":\"b\"}"])
        .await;
    assert_eq!(posted.out, format!("{KEY}\n"));
    assert_eq!(fake.seen()[0].json(), json!({"name": "ci", "browser_allowed": true, "tags": {"a": "b"}}));
    bench.run(&["api", "POST", "/keys", "--input", "-"]).await;
    assert_eq!(fake.seen()[1].json(), json!({"name": "stdin"}));
    assert_eq!(bench.run(&["api", "GET", "/admin/v1/keys?q=a%20b", "-f", "limit=1"]).await.out, format!("{NO_KEYS}\n"));
    assert_eq!(bench.run(&["api", "GET", "keys", "--paginate"]).await.out, "[1,2]\n");
    assert_eq!(bench.run(&["api", "DELETE", "/keys/x"]).await.transcript(), "exit 0\n--- stdout\n--- stderr\n");
    assert_eq!(bench.run(&["api", "GET", "/nothing"]).await.exit, Exit::NotFound);
}
