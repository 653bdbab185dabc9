//! Two processes on one PostgreSQL spend from one limit: together never more than there is, and all of it can be used.

use crate::keys::limit::{ANSWER, request, worst};
use crate::support::setup;
use anykey_testkit::{
    Canned, CannedUpstream, Connection, Key, Random, Storage, TestGateway, TestSim, cost, nanos, until, usd,
};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn spent(gateway: &TestGateway, key: &Key) -> u64 {
    nanos(gateway.get(&format!("/keys/{}", key.id))["spent_usd"].as_str().unwrap())
}

fn limited(gateway: &TestGateway, name: &str, limit: u64) -> Key {
    gateway.key_with(name, json!({ "spend_limits": [{ "window": "total", "usd": usd(limit) }] }))
}

/// Calls until the process is reached, for one that has just heard of the key.
fn call(address: SocketAddr, bytes: &[u8]) -> (u16, String) {
    let mut connection = Connection::open(address).unwrap();
    connection.send(bytes).unwrap();
    let reply = connection.reply().unwrap();
    (reply.status, reply.text())
}

#[test]
fn of_two_hundred_calls_at_two_replicas_exactly_those_run_that_there_is_money_for() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let Some(here) = setup().upstream("", &upstream.url()).start_on(Storage::Postgres) else { return };
    let there = here.replica();
    let actual = cost("openai", "echo", &json!({ "input": 9, "output": 3 }));
    for round in 0..10 {
        let key = limited(&here, &format!("round-{round}"), 7 * worst() + round % 2);
        upstream.take_seen();
        let gate = upstream.gate();
        let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let bytes = request().bearer(&key.secret).bytes();
        std::thread::scope(|scope| {
            for n in 0..200 {
                let address = if n % 2 == 0 { here.address() } else { there.address() };
                let (bytes, answered, refused) = (&bytes, &answered, &refused);
                scope.spawn(move || match call(address, bytes) {
                    (200, _) => answered.fetch_add(1, Ordering::SeqCst),
                    (402, text) if text.contains("spend_limit_reached") => refused.fetch_add(1, Ordering::SeqCst),
                    other => panic!("{other:?}"),
                });
            }
            until("the others are refused", || refused.load(Ordering::SeqCst) == 193);
            until("seven are at the provider", || upstream.seen().len() == 7);
            gate.open();
        });
        assert_eq!((answered.into_inner(), refused.into_inner()), (7, 193), "round {round}");
        // Each stores its own within a second.
        until("all seven are stored", || spent(&here, &key) == 7 * actual);
    }
}

/// What callers saw of calls under a limit.
#[derive(Default)]
struct Saw {
    ended: Mutex<Vec<String>>,
    refused: AtomicUsize,
    odd: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Calls one process again and again, also after it was killed, until it is told to stop.
fn keep_calling(address: &Mutex<SocketAddr>, bytes: &[u8], saw: &Saw) {
    while !saw.stop.load(Ordering::SeqCst) {
        let at = *address.lock().unwrap();
        let Ok(mut connection) = Connection::open(at) else {
            std::thread::yield_now();
            continue;
        };
        let Ok(reply) = connection.send(bytes).map_err(drop).and_then(|()| connection.reply().map_err(drop)) else {
            continue;
        };
        match reply.status {
            200 if reply.whole => saw.ended.lock().unwrap().push(reply.id().to_owned()),
            402 => drop(saw.refused.fetch_add(1, Ordering::SeqCst)),
            // The other one has the rest and is dead at the moment, or this one is.
            503 | 200 => {}
            status => saw.odd.lock().unwrap().push(format!("{status} {}", reply.text())),
        }
    }
}

#[test]
fn replicas_that_are_killed_at_any_moment_never_spend_more_than_the_limit() {
    let sim = TestSim::start();
    let Some(first) = setup().sim(&sim).start_on(Storage::Postgres) else { return };
    let second = first.replica();
    let mut gateways = [first, second];
    let mut random = Random::seeded(0x1ea5e);
    for round in 0..3 {
        let limit = (40 + random.below(60)) * worst();
        let key = limited(&gateways[0], &format!("round-{round}"), limit);
        let bytes = request().bearer(&key.secret).bytes();
        let addresses = [gateways[0].address(), gateways[1].address()].map(Mutex::new);
        let saw = Saw::default();
        std::thread::scope(|scope| {
            for n in 0..6 {
                let (address, bytes, saw) = (&addresses[n % 2], &bytes, &saw);
                scope.spawn(move || keep_calling(address, bytes, saw));
            }
            for _ in 0..4 {
                let mark = saw.ended.lock().unwrap().len();
                let calls = random.below(30) as usize;
                let is_some = || saw.ended.lock().unwrap().len() >= mark + calls || !saw.odd.lock().unwrap().is_empty();
                until("calls end or the money is used up", || is_some() || saw.refused.load(Ordering::SeqCst) > 20);
                let which = random.below(2) as usize;
                gateways[which].kill();
                gateways[which].start();
                *addresses[which].lock().unwrap() = gateways[which].address();
            }
            let is_odd = || !saw.odd.lock().unwrap().is_empty();
            until("the money is used up", || saw.refused.load(Ordering::SeqCst) > 40 || is_odd());
            saw.stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(*saw.odd.lock().unwrap(), [""; 0]);
        // Each stores what it still has when it is asked for its records.
        gateways[1].records_of(&key);
        let records = gateways[0].records_of(&key);
        let spent = spent(&gateways[0], &key);
        assert!(spent <= limit, "{spent} of {limit}");
        let sum: u64 = records.iter().map(|record| nanos(record["cost_usd"].as_str().unwrap())).sum();
        assert_eq!(sum, spent);
        for id in saw.ended.lock().unwrap().iter() {
            let of = records.iter().filter(|record| record["request_id"] == id.as_str());
            assert_eq!(of.filter(|record| record["outcome"] == "completed").count(), 1, "{id} was seen to end");
        }
        println!(
            "round {round}: {} ended, {} records, ${spent} of ${limit}",
            saw.ended.lock().unwrap().len(),
            records.len()
        );
    }
}
