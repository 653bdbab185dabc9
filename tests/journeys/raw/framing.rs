//! Where a request ends: everything that two parsers could read differently is refused, and the connection closed.

use super::{BODY, Quiet, exchange, good, post};
use crate::support::{Dialect, World, assert_refusal};

/// Resident memory of a process in bytes, where the system tells.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[test]
fn b1_to_b4_ambiguous_lengths_are_refused_and_what_hides_behind_them_never_runs() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let hidden = good(&world);
    let length = BODY.len();
    for fields in [
        // B1
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        // B2
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 111111111111111111111\r\n",
        "Content-Length: 4 \r\n",
        "Content-Length: \r\n",
        "Content-Length: 4;a\r\n",
        // B3
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4, 4\r\n",
        // B4
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked \r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
    ] {
        for body in [[b"0\r\n\r\n".as_slice(), &hidden].concat(), [BODY.as_bytes(), &hidden].concat()] {
            let (reply, rest) = exchange(&world, &post(&world, fields, &body));
            if fields.contains('\x0b') {
                assert_eq!(reply.status, 400, "{fields:?}");
            } else {
                assert_refusal(&reply, Dialect::OpenAi, 400, "ambiguous_framing");
            }
            assert_eq!(reply.header("connection"), Some("close"), "{fields:?}");
            assert!(rest.is_empty(), "{fields:?}: {}", String::from_utf8_lossy(&rest));
            quiet.assert_no_request(fields);
        }
    }
    let old = String::from_utf8(post(&world, "Transfer-Encoding: chunked\r\n", b"0\r\n\r\n")).unwrap();
    let (reply, rest) = exchange(&world, old.replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert_refusal(&reply, Dialect::OpenAi, 400, "ambiguous_framing");
    assert!(rest.is_empty());
    quiet.assert("ambiguous lengths");
    // The same call with its true length is a good one.
    let (reply, _) =
        exchange(&world, &post(&world, &format!("Content-Length: {length}\r\nConnection: close\r\n"), BODY.as_bytes()));
    assert_eq!(reply.status, 200);
}

#[test]
fn b5_malformed_chunks_are_refused_in_bounded_memory() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let long_extension = [b"1;ext=".as_slice(), &vec![b'x'; 1 << 20], b"\r\nx\r\n0\r\n\r\n"].concat();
    let bodies: [&[u8]; 15] = [
        b"FFFFFFFFFFFFFFFF1\r\nx\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"+1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"1 \r\nx\r\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\nx\n0\n\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx\r\n0\r\nno trailer\r\n\r\n",
        b"\r\n\r\n",
        b"g\r\nx\r\n0\r\n\r\n",
        b"1;a\nb\r\nx\r\n0\r\n\r\n",
        &long_extension,
    ];
    for body in bodies {
        let hidden = [body, &good(&world)].concat();
        let (reply, rest) = exchange(&world, &post(&world, "Transfer-Encoding: chunked\r\n", &hidden));
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_refusal(&reply, Dialect::OpenAi, 400, "ambiguous_framing");
        assert!(rest.is_empty(), "{shown:?}: {}", String::from_utf8_lossy(&rest));
        quiet.assert_only_refused(&shown);
    }
    let before = resident(world.gateway.pid());
    for _ in 0..64 {
        let (reply, _) = exchange(&world, &post(&world, "Transfer-Encoding: chunked\r\n", &long_extension));
        assert_eq!(reply.status, 400);
    }
    if let Some((before, after)) = before.zip(resident(world.gateway.pid())) {
        assert!(after < before + (32 << 20), "64 MiB of extensions took {} KiB", (after - before) / 1024);
    }
    // Chunks that are well formed, however they are cut, make the same call as a length does.
    let chunked: Vec<u8> = BODY
        .as_bytes()
        .chunks(7)
        .flat_map(|c| [format!("{:X};e=1\r\n", c.len()).as_bytes(), c, b"\r\n"].concat())
        .collect();
    let mark = world.sim.requests();
    let (reply, _) = exchange(
        &world,
        &post(
            &world,
            "Transfer-Encoding: chunked\r\nConnection: close\r\n",
            &[&chunked, b"0\r\nTrailer: x\r\n\r\n".as_slice()].concat(),
        ),
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.sim.only(mark).text("body"), BODY.replace("openai/echo", "echo"));
}

#[test]
fn b7_malformed_header_fields_are_refused() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let framing = format!("Content-Length: {}\r\n", BODY.len());
    for field in [
        b"X-A: b\r\n c\r\n".as_slice(),
        b"X-A : b\r\n",
        b" X-A: b\r\n",
        b"X-A: b\0c\r\n",
        b"X-A: b\rc\r\n",
        b"X-A: b\nc: d\r\n",
        b"X-A: \x80\r\n",
        b"X-A: caf\xc3\xa9\r\n",
        b": b\r\n",
        b"X-A\r\n",
        b"X(A): b\r\n",
        b"X-\x01A: b\r\n",
        b"X-A: \x7f\r\n",
    ] {
        let mut bytes = post(&world, &framing, b"");
        bytes.truncate(bytes.len() - 2);
        let bytes = [&bytes, field, b"\r\n", BODY.as_bytes(), &good(&world)].concat();
        let (reply, rest) = exchange(&world, &bytes);
        assert_eq!(reply.status, 400, "{:?}", String::from_utf8_lossy(field));
        assert_refusal(&reply, Dialect::OpenAi, 400, "invalid_parameter");
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(field));
    }
    quiet.assert("malformed fields");
}

#[test]
fn b8_nothing_behind_an_upgrade_is_tunnelled() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    for path in ["/v1/realtime", "/v1/chat/completions", "/v1/nowhere"] {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            world.key.secret
        );
        let frame = b"\x81\x85\x01\x02\x03\x04hello-frame\n";
        let (reply, rest) = exchange(&world, &[head.as_bytes(), frame].concat());
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        // What follows is no request, so the connection ends with that.
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{path}: {}", String::from_utf8_lossy(&rest));
    }
    quiet.assert("an upgrade");
}

#[test]
fn b20_a_bad_request_among_pipelined_ones_ends_the_connection() {
    let world = World::start();
    let mark = world.sim.requests();
    let call = |n: usize| {
        let body = BODY.replace("\"x\"", &format!("\"number {n}\""));
        post(&world, &format!("Content-Length: {}\r\n", body.len()), body.as_bytes())
    };
    let mut connection = world.gateway.connect();
    let bytes: Vec<u8> = (0..100)
        .flat_map(|n| if n == 50 { post(&world, "Content-Length: 4\r\nContent-Length: 5\r\n", b"") } else { call(n) })
        .collect();
    connection.send(&bytes).unwrap();
    for n in 0..50 {
        let reply = connection.reply().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["choices"][0]["message"]["content"], format!("number {n}"));
    }
    assert_refusal(&connection.reply().unwrap(), Dialect::OpenAi, 400, "ambiguous_framing");
    assert!(connection.read_to_close().is_empty());
    assert_eq!(world.sim.requests() - mark, 50);
    assert_eq!(world.gateway.records_of(&world.key).len(), 50);
}

#[test]
fn b21_a_stranger_is_refused_before_the_body_is_asked_for() {
    let world = World::start();
    let quiet = Quiet::since(&world);
    let expect = |key: &str| {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{key}Content-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            BODY.len()
        );
        let mut connection = world.gateway.connect();
        connection.send(head.as_bytes()).unwrap();
        connection
    };
    let mut stranger = expect("");
    let reply = stranger.reply().unwrap();
    assert_refusal(&reply, Dialect::OpenAi, 401, "missing_api_key");
    assert!(reply.interim.is_empty());
    assert!(stranger.is_closed(), "a connection whose body nobody read cannot carry another request");
    quiet.assert("a stranger");

    // A caller with a key is invited, and only then sends.
    let mut caller = expect(&format!("X-Api-Key: {}\r\n", world.key.secret));
    let invitation = caller.interim().unwrap();
    assert_eq!(invitation, 100);
    caller.send(BODY.as_bytes()).unwrap();
    assert_eq!(caller.reply().unwrap().status, 200);
}
