//! Faults, pacing and the books: everything that is done on request.

mod common;

use std::time::{Duration, Instant};

use anykey_sim::{Sim, SimOptions};
use common::{DIALECTS, Dialect, books, get, open, post, send, start, start_with};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello there"}], "stream": stream})
}

#[tokio::test]
async fn refusals_have_the_shape_of_their_dialect() {
    let sim = start().await;
    let table = [
        // model, then status and machine word for OpenAI, Anthropic, Gemini
        ("401", (401, "invalid_api_key"), (401, "authentication_error"), (401, "UNAUTHENTICATED")),
        ("403", (403, "insufficient_permissions"), (403, "permission_error"), (403, "PERMISSION_DENIED")),
        ("429", (429, "rate_limit_exceeded"), (429, "rate_limit_error"), (429, "RESOURCE_EXHAUSTED")),
        ("500", (500, "server_error"), (500, "api_error"), (500, "INTERNAL")),
        ("nobody", (404, "model_not_found"), (404, "not_found_error"), (404, "NOT_FOUND")),
        ("flaky?every=1", (503, "server_error"), (529, "overloaded_error"), (503, "UNAVAILABLE")),
        ("echo?status=400", (400, "invalid_request_error"), (400, "invalid_request_error"), (400, "INVALID_ARGUMENT")),
        ("echo?status=529", (529, "server_error"), (529, "overloaded_error"), (529, "UNAVAILABLE")),
    ];
    for (model, openai, anthropic, gemini) in table {
        for dialect in DIALECTS {
            for stream in [false, true] {
                let reply = dialect.ask(sim.addr, model, "x", None, stream).await;
                let body = reply.json();
                let (status, word) = match dialect {
                    Dialect::Chat | Dialect::Responses => openai,
                    Dialect::Messages => anthropic,
                    Dialect::Gemini => gemini,
                };
                assert_eq!(reply.status, status, "{dialect:?} {model}");
                assert!(reply.header("content-type").unwrap().starts_with("application/json"));
                let error = &body["error"];
                assert!(!error["message"].as_str().unwrap().is_empty());
                match dialect {
                    Dialect::Chat | Dialect::Responses => {
                        assert!(error["code"] == word || error["type"] == word, "{body}");
                        assert_eq!(error.as_object().unwrap().len(), 4);
                    }
                    Dialect::Messages => {
                        assert_eq!((&body["type"], &error["type"]), (&json!("error"), &json!(word)));
                        assert_eq!(body["request_id"], reply.header("request-id").unwrap());
                    }
                    Dialect::Gemini => {
                        assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(word)));
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn rate_limits_say_when_to_retry() {
    let sim = start().await;
    for dialect in DIALECTS {
        let reply = dialect.ask(sim.addr, "429?retry_after=9", "x", None, false).await;
        match dialect {
            Dialect::Gemini => {
                assert_eq!(reply.header("retry-after"), None);
                let details = reply.json()["error"]["details"].as_array().unwrap().clone();
                let info = details.iter().find(|info| info["@type"] == "type.googleapis.com/google.rpc.RetryInfo");
                assert_eq!(info.unwrap()["retryDelay"], "9s");
            }
            _ => assert_eq!(reply.header("retry-after"), Some("9")),
        }
    }
}

#[tokio::test]
async fn a_required_key_is_looked_for_in_the_dialects_own_header() {
    let sim = start_with(Some("the-key")).await;
    let carriers = [
        (Dialect::Chat, ("authorization", "Bearer the-key"), 401, 401),
        (Dialect::Messages, ("x-api-key", "the-key"), 401, 401),
        (Dialect::Gemini, ("x-goog-api-key", "the-key"), 403, 400),
    ];
    for (dialect, own, missing, wrong) in carriers {
        for (_, carrier, ..) in carriers {
            let headers = [("anthropic-version", "2023-06-01"), carrier];
            let body = dialect.body("echo", "x", None, false).to_string();
            let reply = send(sim.addr, "POST", &dialect.path("echo", false), &headers, body.as_bytes()).await;
            let expected = if carrier == own { 200 } else { missing };
            assert_eq!(reply.status, expected, "{dialect:?} with {}", carrier.0);
        }
        let bad = (own.0, own.1.replace("the-key", "another"));
        let headers = [("anthropic-version", "2023-06-01"), (bad.0, bad.1.as_str())];
        let body = dialect.body("echo", "x", None, false).to_string();
        let reply = send(sim.addr, "POST", &dialect.path("echo", false), &headers, body.as_bytes()).await;
        assert_eq!(reply.status, wrong);
    }
}

#[tokio::test]
async fn a_cut_comes_after_exactly_as_many_bytes_and_is_no_clean_end() {
    let sim = start().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            for bytes in [0, 1, 77, 150] {
                let model = format!("echo?cut_after={bytes}");
                let reply = dialect.ask(sim.addr, &model, "some words to cut", None, stream).await;
                assert_eq!((reply.status, reply.body.len(), reply.whole), (200, bytes, false), "{dialect:?} {stream}");
                let booked = books(sim.addr).await.pop().unwrap();
                assert_eq!(booked["bytes_sent"], bytes);
                assert_eq!(
                    (&booked["cut"], &booked["completed"], &booked["client_gone"]),
                    (&json!(true), &json!(false), &json!(false))
                );
            }
        }
    }
}

#[tokio::test]
async fn the_cut_model_breaks_off_midway_and_bills_what_it_said() {
    let sim = start().await;
    for dialect in DIALECTS {
        let text = "twelve bytes".repeat(10);
        let whole = dialect.ask(sim.addr, "cut", &text, None, false).await;
        assert!(!whole.whole && !whole.body.is_empty());
        let stream = dialect.ask(sim.addr, "cut", &text, None, true).await;
        assert!(!stream.whole && stream.text().contains("twel"));
        for end in ["[DONE]", "message_stop", "response.completed", "finishReason"] {
            assert!(!stream.text().contains(end), "{}", stream.text());
        }
        assert_eq!(books(sim.addr).await.pop().unwrap()["output_tokens"], 15);
    }
}

#[tokio::test]
async fn broken_json_is_framed_well_and_parses_badly() {
    let sim = start().await;
    for dialect in DIALECTS {
        let reply = dialect.ask(sim.addr, "broken-json", "a few words", None, false).await;
        assert!(reply.status == 200 && reply.whole);
        assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
        let reply = dialect.ask(sim.addr, "broken-json", "a few words", None, true).await;
        assert!(reply.whole);
        let text = reply.text();
        let last = text.trim_end().lines().last().unwrap();
        assert!(serde_json::from_str::<Value>(last.strip_prefix("data: ").unwrap()).is_err());
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let sim = start().await;
    let path = "/v1/chat/completions";
    let mut stream = open(sim.addr, "POST", path, &[], chat("long", true).to_string().as_bytes()).await;
    let mut first = [0; 64];
    stream.read_exact(&mut first).await.unwrap();
    drop(stream);
    let gone = async {
        loop {
            let entry = books(sim.addr).await.swap_remove(0);
            if entry["client_gone"] == true {
                return entry;
            }
        }
    };
    let entry = tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    assert_eq!((&entry["completed"], &entry["cut"]), (&json!(false), &json!(false)));
    let billed = entry["output_tokens"].as_u64().unwrap();
    assert!((1..10_000).contains(&billed), "{billed}");
    let stats = get(sim.addr, "/_sim/stats").await.json();
    assert_eq!((&stats["open"], &stats["requests"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn delays_are_kept() {
    let sim = start().await;
    let cases = [
        ("echo?delay=80", false),
        ("echo?ttfb=80", true),
        ("echo?chunk_delay=40&chunks=3", true),
        ("lorem?tps=800", false),
    ];
    for (model, stream) in cases {
        let begun = Instant::now();
        let reply = post(sim.addr, "/v1/chat/completions", chat(model, stream)).await;
        assert!(reply.whole && reply.status == 200);
        assert!(begun.elapsed() >= Duration::from_millis(75), "{model}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn controls_come_from_headers_suffix_and_defaults_in_this_order() {
    let sim = start().await;
    let pieces = |reply: &common::Reply| {
        reply
            .data()
            .iter()
            .filter(|chunk| chunk["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()))
            .count()
    };
    let path = "/v1/chat/completions";
    assert_eq!(get(sim.addr, "/_ctl?chunks=5").await.status, 200);
    assert_eq!(pieces(&post(sim.addr, path, chat("echo", true)).await), 5);
    let body = chat("echo", true).to_string();
    let header = send(sim.addr, "POST", path, &[("x-sim-chunks", "4")], body.as_bytes()).await;
    assert_eq!(pieces(&header), 4);
    let body = chat("echo?chunks=3", true).to_string();
    let both = send(sim.addr, "POST", path, &[("x-sim-chunks", "4")], body.as_bytes()).await;
    assert_eq!(pieces(&both), 3);
    assert_eq!(send(sim.addr, "POST", "/_sim/reset", &[], b"").await.status, 200);
    assert_eq!(pieces(&post(sim.addr, path, chat("echo?bytes=4096", true)).await), 1024);
    assert_eq!(post(sim.addr, path, chat("echo?chunks=nine", true)).await.status, 400);
    assert_eq!(get(sim.addr, "/_ctl?sleep=5").await.status, 400);
}

#[tokio::test]
async fn flaky_fails_every_nth_time() {
    let sim = start().await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(post(sim.addr, "/v1/chat/completions", chat("flaky", false)).await.status);
    }
    assert_eq!(seen, [200, 200, 503, 200, 200, 503]);
}

#[tokio::test]
async fn a_followed_redirect_is_caught() {
    let sim = start().await;
    let reply = post(sim.addr, "/v1/chat/completions", chat("redirect", false)).await;
    assert_eq!(reply.status, 307);
    let place = reply.header("location").unwrap().to_owned();
    assert_eq!(books(sim.addr).await.len(), 1);
    let path = place.strip_prefix(&format!("http://{}", sim.addr)).unwrap();
    assert_eq!(post(sim.addr, path, json!({})).await.status, 200);
    assert_eq!(books(sim.addr).await[1]["path"], "/_sim/elsewhere");
}

#[tokio::test]
async fn the_books_show_what_crossed() {
    let sim = start().await;
    let body = br#"{"model" : "echo", "zzz":1, "messages":[{"role":"user","content":"hi"}]}"#;
    let headers = [("authorization", "Bearer secret"), ("x-strange", "kept")];
    send(sim.addr, "POST", "/v1/chat/completions?a=b", &headers, body).await;
    let entry = books(sim.addr).await.pop().unwrap();
    assert_eq!(entry["body"], std::str::from_utf8(body).unwrap());
    assert_eq!(entry["body_bytes"], body.len());
    // sha256 of the bytes above, computed elsewhere.
    assert_eq!(entry["body_sha256"], "6c131236004721c8d8a8d111b2525c8c4c6e1e46d97465f4a6fa7d0ed476078e");
    assert_eq!((&entry["method"], &entry["path"]), (&json!("POST"), &json!("/v1/chat/completions?a=b")));
    for (name, value) in headers {
        assert!(entry["headers"].as_array().unwrap().contains(&json!([name, value])));
    }
    assert_eq!((&entry["n"], &entry["dialect"], &entry["status"]), (&json!(1), &json!("openai"), &json!(200)));
    let large = json!({"model": "echo?bytes=1", "messages": [{"role": "user", "content": "x".repeat(70_000)}]});
    post(sim.addr, "/v1/chat/completions", large.clone()).await;
    let newer = get(sim.addr, "/_sim/books?after=1").await.json();
    assert_eq!(newer.as_array().unwrap().len(), 1);
    assert_eq!((&newer[0]["body"], &newer[0]["body_bytes"]), (&Value::Null, &json!(large.to_string().len())));
    assert_eq!(newer[0]["body_sha256"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn without_faults_nothing_can_be_asked_for() {
    let opts = SimOptions { faults: false, ..SimOptions::default() };
    let sim = Sim::bind("127.0.0.1:0".parse().unwrap(), opts).await.unwrap();
    let body = chat("echo", false).to_string();
    let reply = send(sim.addr, "POST", "/v1/chat/completions", &[("x-sim-status", "503")], body.as_bytes()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(post(sim.addr, "/v1/chat/completions", chat("echo?status=503", false)).await.status, 404);
    for path in ["/_sim/books", "/_sim/stats", "/_ctl?delay=1"] {
        assert_eq!(get(sim.addr, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_shutdown_lets_answers_finish() {
    let sim = start().await;
    let addr = sim.addr;
    let body = chat("echo?chunk_delay=20&chunks=5", true).to_string();
    let mut stream = open(addr, "POST", "/v1/chat/completions", &[], body.as_bytes()).await;
    let mut raw = vec![0; 16];
    stream.read_exact(&mut raw).await.unwrap();
    sim.shutdown().await;
    stream.read_to_end(&mut raw).await.unwrap();
    let text = String::from_utf8(raw).unwrap();
    assert!(text.contains("[DONE]") && text.ends_with("0\r\n\r\n"), "{text}");
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
