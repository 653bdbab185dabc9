//! Bodies that two parsers could read differently, that are too much, or that are not what they say.

use super::{Quiet, exchange, post};
use crate::support::{Dialect, STREAMS, World, assert_refusal};
use anykey_testkit::Request;
use std::io::ErrorKind;

const MESSAGES: &str = r#""messages":[{"role":"user","content":"x"}]"#;

fn chat(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/chat/completions").body(body)
}

/// Each body is refused with this code, before anything is sent.
fn assert_refused<B: Into<Vec<u8>>>(world: &World, status: u16, code: &str, bodies: impl IntoIterator<Item = B>) {
    let quiet = Quiet::since(world);
    for body in bodies {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let reply = world.call(&chat(body));
        assert_eq!(reply.status, status, "{shown}: {}", reply.text());
        assert_refusal(&reply, Dialect::OpenAi, status, code);
        quiet.assert_only_refused(&shown);
    }
}

#[test]
fn d1_and_d2_a_member_that_is_given_twice_is_refused() {
    let world = World::start();
    let costly = r#""model":"openai/costly""#;
    let cheap = r#""model":"openai/echo""#;
    assert_refused(
        &world,
        400,
        "duplicate_json_key",
        [
            format!("{{{cheap},{MESSAGES},{costly}}}"),
            format!("{{{costly},{MESSAGES},{cheap}}}"),
            format!(r#"{{{cheap},{MESSAGES},"\u006dodel":"openai/costly"}}"#),
            format!(r#"{{"mod\u0065l":"openai/costly",{MESSAGES},{cheap}}}"#),
            format!(r#"{{{cheap},{MESSAGES},{MESSAGES}}}"#),
            format!(r#"{{{cheap},{MESSAGES},"max_tokens":1,"max_tokens":100000}}"#),
            format!(r#"{{{cheap},{MESSAGES},"stream":false,"stream":true}}"#),
            format!(r#"{{{cheap},{MESSAGES},"n":1,"n":100}}"#),
            format!(r#"{{{cheap},{MESSAGES},"unknown":1,"unknown":1}}"#),
            format!(r#"{{{cheap},{MESSAGES},"stream_options":{{"include_usage":true,"include_usage":false}}}}"#),
        ],
    );
    let message = world.call(&chat(format!("{{{cheap},{MESSAGES},{costly}}}"))).json()["error"].clone();
    assert_eq!(message["param"], "model", "the member is named: {message}");
    // Spelling that only some parsers take for the same.
    assert_refused(
        &world,
        400,
        "invalid_parameter",
        [
            format!(r#"{{{cheap},{MESSAGES},"Model":"openai/costly"}}"#),
            format!(r#"{{{cheap},{MESSAGES},"MAX_TOKENS":100000}}"#),
            format!(r#"{{{cheap},{MESSAGES},"me\u017fsages":[]}}"#),
        ],
    );
}

#[test]
fn d7_to_d9_numbers_and_flags_that_bound_the_cost_are_read_strictly() {
    let world = World::start();
    let with = |members: &str| format!(r#"{{"model":"openai/echo",{MESSAGES},{members}}}"#);
    let wrong = ["-1", "0", "1.5", "1e309", "\"9\"", "9223372036854775808", "1e2", "true", "[1]", "-0"];
    assert_refused(&world, 400, "invalid_parameter", wrong.map(|value| with(&format!(r#""max_tokens":{value}"#))));
    assert_refused(
        &world,
        400,
        "invalid_parameter",
        ["1000000", "1e6", "0", "-3", "\"2\""].map(|n| with(&format!(r#""n":{n}"#))),
    );
    assert_refused(
        &world,
        400,
        "invalid_parameter",
        ["\"true\"", "1", "0", "\"\"", "[]"].map(|v| with(&format!(r#""stream":{v}"#))),
    );
    assert_refused(
        &world,
        400,
        "invalid_parameter",
        [
            with(r#""stream":true,"stream_options":{"include_usage":"yes"}"#),
            with(r#""stream":true,"stream_options":[]"#),
        ],
    );
    for members in [r#""max_tokens":null"#, r#""n":null"#, r#""stream":null"#, r#""stream_options":null"#] {
        let reply = world.call(&chat(with(members)));
        assert_eq!(reply.status, 200, "null is unset: {members}: {}", reply.text());
    }
    // A product that leaves every number is refused, and never wraps into a small hold.
    let key =
        world.gateway.key_with("capped", serde_json::json!({ "spend_limits": [{ "window": "total", "usd": "5" }] }));
    let quiet = Quiet::since(&world);
    for max_tokens in ["9223372036854775807", "4611686018427387904"] {
        let body = format!(r#"{{"model":"openai/boundless",{MESSAGES},"n":128,"max_tokens":{max_tokens}}}"#);
        let reply = world.gateway.call(&chat(body).bearer(&key.secret));
        assert!(matches!(reply.status, 400 | 402), "{}", reply.text());
    }
    quiet.assert_no_request("an overflow");
}

#[test]
fn d9_usage_is_asked_for_and_hidden_from_a_caller_who_said_no() {
    let world = World::start();
    for options in
        ["", r#","stream_options":{"include_usage":false}"#, r#","stream_options":{}"#, r#","stream_options":null"#]
    {
        let mark = world.sim.requests();
        let reply = world.call(&chat(format!(r#"{{"model":"openai/echo",{MESSAGES},"stream":true{options}}}"#)));
        assert!(reply.whole && STREAMS[0].is_over(&reply.body));
        assert!(!reply.text().contains("usage\":{"), "{options}: {}", reply.text());
        let entry = world.sim.only(mark);
        let sent: serde_json::Value = serde_json::from_str(entry.text("body")).unwrap();
        assert_eq!(sent["stream_options"]["include_usage"], true, "{options}: {sent}");
        assert_eq!(world.gateway.record(reply.id())["usage_source"], "reported");
    }
}

#[test]
fn d10_and_d12_what_is_not_one_json_document_in_utf8_is_refused() {
    let world = World::start();
    let good = format!(r#"{{"model":"openai/echo",{MESSAGES}}}"#);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = |content: &[u8]| {
        [br#"{"model":"openai/echo","messages":[{"role":"user","content":""#, content, br#""}]}"#].concat()
    };
    assert_refused(
        &world,
        400,
        "invalid_json",
        [
            text(b"\xff"),
            text(b"\xc0\xaf"),
            text(b"\xed\xa0\x80"),
            text(b"\xf4\x90\x80\x80"),
            text(b"\0"),
            text(b"\n"),
            text(br"\ud800"),
            text(br"\udc00\ud800"),
            text(br"\x41"),
            utf16,
            [b"\xef\xbb\xbf", good.as_bytes()].concat(),
            format!("{good}x").into(),
            format!("{good}{good}").into(),
            format!("{good},").into(),
            format!("/**/{good}").into(),
            format!("{good}//").into(),
            good.replace("\"x\"", "NaN").into(),
            good.replace("\"x\"", "Infinity").into(),
            good.replace("\"x\"", "'x'").into(),
            good.replace("\"x\"", "01").into(),
            good.replace("}]", "},]").into(),
            good[..good.len() - 1].to_owned().into(),
            "".to_owned().into(),
            "[]".to_owned().into(),
            "null".to_owned().into(),
            "\"x\"".to_owned().into(),
        ],
    );
}

#[test]
fn d11_depth_and_size_are_bounded() {
    let world = World::start();
    let nested = |depth: usize| {
        format!(r#"{{"model":"openai/echo",{MESSAGES},"x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    assert_refused(&world, 400, "invalid_json", [nested(10_000), nested(1_000_000)]);
    let keys: String = (0..1_000_000).map(|n| format!(r#","k{n}":0"#)).collect();
    let digits = "1".repeat(1_000_000);
    for body in [
        format!(r#"{{"model":"openai/echo",{MESSAGES}{keys}}}"#),
        format!(r#"{{"model":"openai/echo",{MESSAGES},"x":{digits}}}"#),
        nested(100),
    ] {
        let reply = world.call(&chat(body));
        assert!(matches!(reply.status, 200 | 400), "{}", reply.status);
    }
    assert_eq!(world.call(&Dialect::OpenAi.chat().at("echo")).status, 200, "it still serves");
}

#[test]
fn d13_and_d16_only_plain_json_is_taken() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let body = format!(r#"{{"model":"openai/echo",{MESSAGES}}}"#);
    for encoding in ["gzip", "gzip, gzip", "br", "deflate", "zstd", "identity, gzip", "x"] {
        for dialect in Dialect::ALL {
            let reply = world.call(&dialect.chat().at("echo").header("content-encoding", encoding));
            assert_refusal(&reply, dialect, 415, "unsupported_media_type");
        }
    }
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
    {
        let request = Request { headers: vec![("content-type".into(), kind.into())], ..chat(body.as_str()) };
        assert_refusal(&world.call(&request), Dialect::OpenAi, 415, "unsupported_media_type");
    }
    quiet.assert_only_refused("another kind of body");
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let request = Request { headers: vec![("content-type".into(), kind.into())], ..chat(body.as_str()) };
        assert_eq!(world.call(&request).status, 200, "{kind}");
    }
}

const LIMIT: usize = 32 << 20;

#[test]
fn d14_a_body_that_is_too_large_is_refused_without_reading_the_rest() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    // Refused by its length alone: not a byte of the body is sent.
    for length in [LIMIT + 1, 1 << 30, 100 << 20] {
        let mut connection = world.gateway.connect();
        connection.send(&post(&world, &format!("Content-Length: {length}\r\n"), b"")).unwrap();
        let reply = connection.reply().unwrap();
        assert_refusal(&reply, Dialect::OpenAi, 413, "body_too_large");
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(connection.is_closed());
    }
    quiet.assert_only_refused("a declared length");
    // Chunks without end: the gateway stops taking them soon after the limit.
    let mut connection = world.gateway.connect();
    connection.send(&post(&world, "Transfer-Encoding: chunked\r\n", b"")).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    let stopped = loop {
        match connection.send(&chunk) {
            Ok(()) => sent += 0x10000,
            Err(error) => break error,
        }
        assert!(sent < LIMIT + (16 << 20), "{sent} bytes were taken");
    };
    assert!(matches!(stopped.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{stopped}");
    assert!(sent >= LIMIT, "{sent}");
    quiet.assert_only_refused("endless chunks");
    // A body of exactly the limit is read: it is refused for what it is.
    let body = vec![b' '; LIMIT];
    let (reply, _) =
        exchange(&world, &post(&world, &format!("Content-Length: {LIMIT}\r\nConnection: close\r\n"), &body));
    assert_refusal(&reply, Dialect::OpenAi, 400, "invalid_json");
}
