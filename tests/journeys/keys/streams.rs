//! A key that loses its power takes its running streams with it.

use crate::support::{Dialect, STREAMS, Streaming, World};
use anykey_testkit::{Key, TestGateway, until};
use serde_json::json;
use std::time::{Duration, Instant};

type End = fn(&TestGateway, &Key);

const ENDS: [(&str, End); 3] = [
    ("disable", |gateway, key| drop(gateway.post(&format!("/keys/{}/disable", key.id), &json!({})))),
    ("regenerate", |gateway, key| drop(gateway.post(&format!("/keys/{}/regenerate", key.id), &json!({})))),
    ("delete", |gateway, key| drop(gateway.admin("DELETE", &format!("/keys/{}", key.id), None))),
];

#[test]
fn running_streams_end_with_an_error_within_a_second() {
    let world = World::start();
    for (name, end) in ENDS {
        for stream in &STREAMS {
            ends_soon(&world, name, end, stream);
        }
    }
}

fn ends_soon(world: &World, name: &str, end: End, stream: &Streaming) {
    let key = world.gateway.key(name);
    let bystander = world.gateway.key("bystander");
    let mark = world.sim.requests();
    let open = |key: &Key| {
        let mut connection = world.gateway.connect();
        connection.send(&(stream.request)("long").bearer(&key.secret).bytes()).unwrap();
        let reply = connection.begin().unwrap();
        assert_eq!(reply.status, 200);
        connection.piece().unwrap().expect("it goes on");
        (connection, reply)
    };
    let (mut cut, mut reply) = open(&key);
    let (mut other, _) = open(&bystander);
    end(&world.gateway, &key);
    let ended = Instant::now();
    cut.finish(&mut reply);
    let took = ended.elapsed();
    assert!(took < Duration::from_secs(1), "{name} {}: {took:?}", stream.name);
    assert!(!reply.whole, "{name} {}: a cut stream has no clean end", stream.name);
    assert!(!stream.is_over(&reply.body), "{name} {}", stream.name);
    let said = reply.text().to_lowercase();
    assert!(said.contains("key_revoked") || said.contains("key_disabled"), "{name} {}: {said}", stream.name);
    let record = world.gateway.record(reply.id());
    assert_eq!(record["outcome"], "cut", "{record}");
    assert!(
        record["usage"]["output"].as_u64().unwrap() > 0 && record["cost_usd"] != "0",
        "what was said is charged: {record}"
    );
    until("the provider is let go", || world.sim.books(mark).iter().any(|entry| entry.is("client_gone")));
    other.piece().unwrap().expect("the streams of other keys go on");
    other.hang_up();
    assert_eq!(stream.dialect == Dialect::Gemini, stream.name.starts_with("gemini"));
}
