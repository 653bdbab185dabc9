//! Which host, path and method is meant: nothing is normalised into another route, and nothing unlisted is served.

use super::{BODY, Quiet, exchange};
use crate::support::{Dialect, World, assert_refusal};
use anykey_testkit::Request;

fn call(world: &World, line: &str, host: &str) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\n{host}X-Api-Key: {}\r\nAnthropic-Version: 2023-06-01\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{BODY}",
        world.key.secret,
        BODY.len()
    )
    .into_bytes()
}

#[test]
fn b11_addresses_that_a_caller_claims_are_not_believed() {
    let world = World::start();
    let request = ["x-forwarded-for", "forwarded", "x-real-ip", "x-anykey-client"]
        .into_iter()
        .fold(Dialect::OpenAi.chat().at("echo"), |request, name| request.header(name, "for=203.0.113.9"));
    let reply = world.call(&request);
    assert_eq!(world.gateway.record(reply.id())["client"], "127.0.0.1");
}

#[test]
fn b13_hosts_that_are_malformed_doubled_or_contradicted_are_refused() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let long = format!("Host: {}\r\n", "h".repeat(5 << 10));
    for host in [
        "Host: evil/?\r\n",
        "Host: evil/#\r\n",
        "Host: a@b\r\n",
        "Host: \r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        &long,
    ] {
        let (reply, rest) = exchange(&world, &call(&world, "POST /v1/chat/completions", host));
        assert_refusal(&reply, Dialect::OpenAi, 400, "invalid_parameter");
        assert!(rest.is_empty(), "{host:?}");
    }
    for target in ["http://other/v1/chat/completions", "http://a@b/v1/chat/completions", "http:///v1/chat/completions"]
    {
        let (reply, _) = exchange(&world, &call(&world, &format!("POST {target}"), "Host: a\r\n"));
        assert_eq!(reply.status, 400, "{target}");
    }
    quiet.assert("a bad host");
    let (reply, _) = exchange(&world, &call(&world, "POST http://a/v1/chat/completions", "Host: a\r\n"));
    assert_eq!(reply.status, 200, "the absolute form with the same host: {}", reply.text());
}

#[test]
fn b14_and_b15_paths_are_matched_to_the_byte() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    for path in [
        "/v1/./messages",
        "/v1/x/../messages",
        "/v1/%2e%2e/admin",
        "/v1%2Fmessages",
        "/v1/messages/",
        "/V1/messages",
        "/v1/messages;a=b",
        "/v1/messages%00",
        "/v1/Messages",
        "/v1///messages",
        "///v1/messages",
        "/v1/%6dessages",
        "/v1/../admin/v1/keys",
        "/v1/..%2fadmin/v1/keys",
        "/v2/messages",
        "/messages",
        "/",
        "/v1",
        "/v1/",
        "/openai/messages",
        "/anthropic/v1/chat/completions",
        "/v1beta/chat/completions",
        "/anthropic/messages",
        "/v1/chat/completions/x",
        "/v1/messages\\",
        "/v1/models/../x:generateContent",
        "/v1/models/%2e%2e/x:generateContent",
        "/v1/models/:generateContent",
        "/api/v1beta/models/gemini/echo:generateContent",
    ] {
        let (reply, _) = exchange(&world, &call(&world, &format!("POST {path}"), "Host: a\r\n"));
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert!(reply.text().contains("not_found") || reply.text().contains("NOT_FOUND"), "{path}: {}", reply.text());
    }
    for path in [
        "/v1/%zz",
        "/v1/messages%",
        "/v1/%c0%ae",
        "/v1/messages%f",
        "/v1/%ff/messages",
        "/v1/models/%fe:generateContent",
    ] {
        let (reply, _) = exchange(&world, &call(&world, &format!("POST {path}"), "Host: a\r\n"));
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
    quiet.assert("an unlisted path");
}

#[test]
fn b16_what_is_too_long_is_named() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let uri = format!("POST /v1/chat/completions?x={}", "u".repeat(64 << 10));
    let (reply, _) = exchange(&world, &call(&world, &uri, "Host: a\r\n"));
    assert_refusal(&reply, Dialect::OpenAi, 414, "uri_too_long");
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "y".repeat(128 << 10));
    for fields in [many, large] {
        let (reply, rest) =
            exchange(&world, &call(&world, "POST /v1/chat/completions", &format!("Host: a\r\n{fields}")));
        assert_refusal(&reply, Dialect::OpenAi, 431, "headers_too_large");
        assert!(rest.is_empty());
    }
    quiet.assert("too long");
}

#[test]
fn b17_other_methods_are_refused() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    for method in ["TRACE", "GET", "PUT", "DELETE", "PATCH", "HEAD", "PRI", "BREW", "post"] {
        let request = Request::new(method, "/v1/messages").header("anthropic-version", "2023-06-01");
        let mut connection = world.gateway.connect();
        connection.send(&request.bearer(&world.key.secret).header("connection", "close").bytes()).unwrap();
        let reply = connection.begin().unwrap();
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.header("allow").is_some_and(|allowed| allowed.contains("POST")), "{method}: {:?}", reply.headers);
    }
    for line in ["CONNECT provider:443", "CONNECT /v1/messages", "PRI *", "POST v1/messages", "POST *"] {
        let (reply, _) = exchange(&world, &call(&world, line, "Host: a\r\n"));
        assert!(matches!(reply.status, 400 | 405), "{line}: {}", reply.status);
    }
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let reply = world.call(&Request::get("/v1/messages").header(name, "POST"));
        assert_refusal(&reply, Dialect::Anthropic, 405, "method_not_allowed");
    }
    quiet.assert("another method");
}
