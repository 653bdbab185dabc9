//! Every way to be told no: the contract's codes in the shape of each dialect, and what becomes of a provider's own no.

use crate::support::{Dialect, STREAMS, World, assert_refusal, setup};
use anykey_testkit::{Canned, CannedUpstream, Reply, Request, TestSim};
use serde_json::{Value, json};

/// A call of a dialect's plainest endpoint with its body changed.
fn edited(dialect: Dialect, edit: impl Fn(String) -> String) -> Request {
    let mut request = dialect.chat().at("echo");
    let body = String::from_utf8(request.body.take().unwrap()).unwrap();
    request.body = Some(edit(body).into_bytes());
    request
}

#[test]
fn every_refusal_has_the_shape_of_the_dialect_that_was_called() {
    let world = World::start();
    let mark = world.sim.requests();
    let limited = |name: &str, usd: &str| {
        world.gateway.key_with(name, json!({ "spend_limits": [{ "window": "total", "usd": usd }] })).secret
    };
    let (rich, poor) = (limited("rich", "5"), limited("poor", "0.000000001"));
    let reader = world.gateway.key_with("reader", json!({ "scopes": ["models:read"] })).secret;
    let admin = world.gateway.admin_key();
    for dialect in Dialect::ALL {
        let chat = || dialect.chat().at("echo");
        let good = || chat().bearer(&world.key.secret);
        let mut cases: Vec<(u16, &str, Request)> = vec![
            (400, "invalid_json", edited(dialect, |body| body + "x").bearer(&world.key.secret)),
            (
                400,
                "duplicate_json_key",
                edited(dialect, |body| body.replacen('{', r#"{"tools":[],"tools":[],"#, 1)).bearer(&world.key.secret),
            ),
            (400, "conflicting_credentials", good().header("x-api-key", "other")),
            (400, "model_unpriced", dialect.chat().at("unpriced").bearer(&rich)),
            (401, "missing_api_key", chat()),
            (401, "invalid_api_key", chat().bearer("ak-live-x")),
            (402, "spend_limit_reached", chat().bearer(&poor)),
            (403, "scope_missing", chat().bearer(&reader)),
            (403, "scope_missing", chat().bearer(&admin)),
            (403, "browser_use_forbidden", good().header("origin", "https://page.example")),
            (403, "browser_use_forbidden", good().header("sec-fetch-site", "cross-site")),
            (404, "model_not_found", dialect.chat().to("/v1", "nowhere/echo").bearer(&world.key.secret)),
            (405, "method_not_allowed", Request { method: "PUT".into(), ..good() }),
            (415, "unsupported_media_type", good().header("content-encoding", "gzip")),
        ];
        match dialect {
            Dialect::OpenAi => {
                cases.push((
                    400,
                    "invalid_parameter",
                    edited(dialect, |body| body.replacen('{', r#"{"stream":1,"#, 1)).bearer(&world.key.secret),
                ));
                cases.push((
                    400,
                    "invalid_parameter",
                    edited(dialect, |body| body.replace("\"model\"", "\"modell\"")).bearer(&world.key.secret),
                ));
                cases.push((400, "unbounded_cost", dialect.chat().at("boundless").bearer(&rich)));
                cases.push((404, "not_found", Request::post("/v1/nowhere").json(&json!({})).bearer(&world.key.secret)));
            }
            Dialect::Anthropic => {
                let mut plain = good();
                plain.headers.retain(|(name, _)| name != "anthropic-version");
                cases.push((400, "missing_anthropic_version", plain));
                cases.push((
                    400,
                    "invalid_parameter",
                    edited(dialect, |body| body.replace("1000", "-1")).bearer(&world.key.secret),
                ));
                cases.push((
                    404,
                    "not_found",
                    Request::post("/anthropic/v1/nowhere").json(&json!({})).bearer(&world.key.secret),
                ));
            }
            Dialect::Gemini => {
                cases.push((
                    400,
                    "conflicting_model",
                    edited(dialect, |body| body.replacen('{', r#"{"model":"models/gemini/other","#, 1))
                        .bearer(&world.key.secret),
                ));
                cases.push((
                    400,
                    "invalid_parameter",
                    edited(dialect, |body| body.replacen('{', r#"{"generationConfig":{"maxOutputTokens":0},"#, 1))
                        .bearer(&world.key.secret),
                ));
                cases.push((
                    404,
                    "not_found",
                    Request::post("/v1beta/nowhere").json(&json!({})).bearer(&world.key.secret),
                ));
            }
        }
        for (status, code, request) in cases {
            let reply = world.gateway.call(&request);
            let message = assert_refusal(&reply, dialect, status, code);
            assert!(
                !message.contains("127.0.0.1") && !message.contains(world.gateway.folder().to_str().unwrap()),
                "{message}"
            );
            assert!(!reply.seen().contains(&world.key.secret));
        }
    }
    assert_eq!(world.sim.requests(), mark, "a refused call reaches nobody");
    // What a caller sent is repeated in part at most, and cannot forge anything.
    let long = format!("nowhere/{}", "<script>alert(1)</script>\u{202e}".repeat(5));
    let reply = world.call(&Dialect::OpenAi.chat().to("/v1", &long));
    let message = assert_refusal(&reply, Dialect::OpenAi, 404, "model_not_found");
    let repeated = message.matches("<script>").count();
    assert!(repeated <= 3, "at most 64 bytes of the caller's input: {message}");
}

#[test]
fn an_array_stream_is_refused_in_an_array() {
    let world = World::start();
    let request = (STREAMS[5].request)("echo");
    for (request, status, code) in [
        (request.clone(), 401, "missing_api_key"),
        (Request { body: Some(b"{".to_vec()), ..request.clone() }.bearer(&world.key.secret), 400, "invalid_json"),
    ] {
        let mut reply = world.gateway.call(&request);
        let Value::Array(mut items) = reply.json() else { panic!("{}", reply.text()) };
        assert_eq!(items.len(), 1);
        reply.body = items.remove(0).to_string().into_bytes();
        assert_refusal(&reply, Dialect::Gemini, status, code);
    }
}

#[test]
fn a_dead_key_is_told_why() {
    let world = World::start();
    let disabled = world.gateway.key("disabled");
    world.gateway.post(&format!("/keys/{}/disable", disabled.id), &json!({}));
    let deleted = world.gateway.key("deleted");
    world.gateway.admin("DELETE", &format!("/keys/{}", deleted.id), None);
    for dialect in Dialect::ALL {
        for (key, code) in [(&disabled, "key_disabled"), (&deleted, "key_revoked")] {
            let reply = world.gateway.call(&dialect.chat().at("echo").bearer(&key.secret));
            assert_refusal(&reply, dialect, 401, code);
        }
    }
}

/// The message in an error, wherever the dialect has it.
fn message(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

#[test]
fn a_providers_own_error_keeps_its_status_and_message() {
    let world = World::start();
    for dialect in Dialect::ALL {
        for (model, status, said) in [
            ("500", 500, "The server had an error"),
            ("echo?status=503", 503, "asked to answer 503"),
            ("echo?status=400", 400, "asked to answer 400"),
            ("echo?status=404", 404, "asked to answer 404"),
            ("echo?status=529", 529, "asked to answer 529"),
            ("nothing-of-the-kind", 404, "nothing-of-the-kind"),
        ] {
            let mark = world.sim.requests();
            let reply = world.call(&dialect.chat().at(model));
            let entry = world.sim.only(mark);
            assert_eq!(u64::from(reply.status), entry.number("status"), "{model}: {}", reply.text());
            assert!(reply.status == status || model.contains("status="), "{model}: {}", reply.text());
            assert!(message(&reply).contains(said), "{model}: {}", reply.text());
            assert_eq!(reply.header("x-anykey-provider"), Some(dialect.name()));
            let record = world.gateway.record(reply.id());
            assert_eq!(
                (&record["outcome"], &record["status"]),
                (&"upstream_error".into(), &reply.status.into()),
                "{record}"
            );
            assert_eq!(record["cost_usd"], "0", "an error costs nothing: {record}");
        }
    }
}

#[test]
fn a_rate_limit_keeps_or_gets_its_retry_after() {
    let world = World::start();
    for dialect in Dialect::ALL {
        for (model, seconds) in [("429", "7"), ("429?retry_after=31", "31")] {
            let reply = world.call(&dialect.chat().at(model));
            assert_eq!(reply.status, 429, "{}", reply.text());
            assert_eq!(reply.header("retry-after"), Some(seconds), "{} {:?}", reply.text(), reply.headers);
            assert!(message(&reply).contains("Rate limit reached"), "{}", reply.text());
        }
    }
    // A provider that says it in milliseconds, or in the body alone.
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key("journey");
    let openai = r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded","param":null}}"#;
    let google = r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"12.5s"}]}}"#;
    for (dialect, fields, body, expected) in [
        (Dialect::OpenAi, &[("retry-after-ms", "1500")][..], openai, "2"),
        (Dialect::Gemini, &[], google, "13"),
        // One that says nothing of it: callers still get a moment.
        (Dialect::OpenAi, &[], openai, "2"),
    ] {
        upstream.answer(Canned::whole(429, fields, body.as_bytes()));
        let reply = gateway.call(&dialect.chat().at("echo").bearer(&key.secret));
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some(expected)), "{:?}", reply.headers);
        assert_eq!(message(&reply), "slow down");
    }
}

#[test]
fn the_operators_fault_is_502_and_says_nothing_of_it() {
    let world = World::start();
    for dialect in Dialect::ALL {
        for model in ["401", "403"] {
            let reply = world.call(&dialect.chat().at(model));
            assert_refusal(&reply, dialect, 502, "upstream_error");
            assert!(
                !reply.seen().contains("CANARY") && !reply.text().contains("credential was refused"),
                "{}",
                reply.text()
            );
            assert_eq!(world.gateway.record(reply.id())["outcome"], "upstream_error");
        }
    }
    assert!(world.gateway.log().contains("refused the operator's credential"), "the operator is told");
    assert!(!world.gateway.log().contains("CANARY"));
}

#[test]
fn a_redirect_is_never_followed() {
    let world = World::start();
    for dialect in Dialect::ALL {
        let mark = world.sim.requests();
        let reply = world.call(&dialect.chat().at("redirect"));
        assert_refusal(&reply, dialect, 502, "upstream_error");
        assert!(reply.header("location").is_none() && !reply.seen().contains("elsewhere"), "{}", reply.seen());
        let entry = world.sim.only(mark);
        assert!(!entry.text("path").contains("elsewhere"), "{}", entry.0);
    }
}

#[test]
fn a_provider_that_cannot_be_reached_is_503_and_one_that_hangs_up_is_502() {
    let sim = TestSim::start();
    let gone = CannedUpstream::start().url();
    let rude = CannedUpstream::start();
    rude.answer(Canned::raw("").then_close());
    let gateway = setup().upstream("", &gone).upstream("rude-", &rude.url()).upstream("sim-", &sim.url()).start();
    let key = gateway.key("journey");
    let call = |dialect: Dialect, provider: String| {
        gateway.call(&dialect.chat().to("/v1", &format!("{provider}/echo")).bearer(&key.secret))
    };
    for dialect in Dialect::ALL {
        let reply = call(dialect, dialect.name().into());
        let message = assert_refusal(&reply, dialect, 503, "upstream_unavailable");
        assert!(message.contains(dialect.name()) && !message.contains("127.0.0.1"), "{message}");
        assert!(reply.header("retry-after").is_some());
        assert_eq!(gateway.record(reply.id())["outcome"], "upstream_failed");

        let reply = call(dialect, format!("rude-{}", dialect.name()));
        assert_refusal(&reply, dialect, 502, "upstream_error");
        assert_eq!(gateway.record(reply.id())["outcome"], "upstream_failed");

        assert_eq!(call(dialect, format!("sim-{}", dialect.name())).status, 200, "others are not affected");
    }
    for noise in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 banana\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    ] {
        rude.answer(Canned::raw(noise).then_close());
        assert_refusal(&call(Dialect::OpenAi, "rude-openai".into()), Dialect::OpenAi, 502, "upstream_error");
    }
}
