//! Limits under 64 clients that come at once: never one call more, and not one less.

use super::bounded;
use crate::support::{Dialect, World, setup};
use anykey_testkit::{Canned, CannedUpstream, Connection, TestSim, until};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

const CLIENTS: usize = 64;

#[test]
fn of_sixty_four_clients_exactly_as_many_calls_go_through_as_a_minute_has() {
    let world = World::start();
    for dialect in Dialect::ALL {
        let secret = bounded(&world, "minute", json!({ "limits": { "rpm": 100 } }));
        let before = world.sim.requests();
        let (address, bytes) = (world.gateway.address(), dialect.chat().at("echo").bearer(&secret).bytes());
        let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut connection = Connection::open(address).unwrap();
                    for _ in 0..4 {
                        connection.send(&bytes).unwrap();
                        let reply = connection.reply().unwrap();
                        match reply.status {
                            200 => served.fetch_add(1, Ordering::SeqCst),
                            429 => {
                                assert!(reply.header("retry-after").is_some());
                                refused.fetch_add(1, Ordering::SeqCst)
                            }
                            other => panic!("{other}: {}", reply.text()),
                        };
                    }
                });
            }
        });
        assert_eq!((served.into_inner(), refused.into_inner()), (100, CLIENTS * 4 - 100), "{}", dialect.name());
        assert_eq!(world.sim.requests() - before, 100);
    }
}

#[test]
fn of_sixty_four_clients_exactly_as_many_run_at_once_as_may_and_all_get_their_turn() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(
        r#"{"id":"c","object":"chat.completion","model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#,
    ));
    let gateway = setup().upstream("", &upstream.url()).start();
    let key = gateway.key_with("seven", json!({ "controls": { "limits": { "concurrency": 7 } } }));
    let bytes = Dialect::OpenAi.chat().at("echo").bearer(&key.secret).bytes();
    for _ in 0..3 {
        upstream.take_seen();
        let gate = upstream.gate();
        let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut connection = Connection::open(gateway.address()).unwrap();
                    connection.send(&bytes).unwrap();
                    let reply = connection.reply().unwrap();
                    match reply.status {
                        200 => served.fetch_add(1, Ordering::SeqCst),
                        429 => {
                            assert_eq!(reply.header("retry-after"), Some("1"));
                            assert!(reply.text().contains("7 calls at once (concurrency)"), "{}", reply.text());
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                        other => panic!("{other}: {}", reply.text()),
                    };
                });
            }
            until("the others are refused", || refused.load(Ordering::SeqCst) == CLIENTS - 7);
            until("seven are at the provider", || upstream.seen().len() == 7);
            gate.open();
        });
        assert_eq!((served.into_inner(), refused.into_inner()), (7, CLIENTS - 7));
    }
}

/// A place is free before the caller sees the end, and also when the caller hangs up.
#[test]
fn a_place_is_free_as_soon_as_an_answer_ends_or_nobody_waits_for_it() {
    let sim = TestSim::start();
    let gateway = setup().sim(&sim).start();
    let key = gateway.key_with("one", json!({ "controls": { "limits": { "concurrency": 1 } } }));
    let mut connection = gateway.connect();
    for _ in 0..20 {
        let reply = connection.request(&Dialect::OpenAi.chat().at("echo").bearer(&key.secret)).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let long = Dialect::OpenAi.chat().with("long", &json!({ "stream": true })).bearer(&key.secret);
    let mut leaving = gateway.connect();
    leaving.send(&long.bytes()).unwrap();
    let short = Dialect::OpenAi.chat().at("echo").bearer(&key.secret);
    until("the stream runs", || sim.open() == 1);
    assert_eq!(gateway.call(&short).status, 429);
    drop(leaving);
    until("its place is free", || gateway.call(&short).status == 200);
}
