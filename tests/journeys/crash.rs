//! Killed under load: what a caller saw end is recorded, once, and the sums agree.

use crate::support::{Dialect, ENDPOINTS, STREAMS, setup};
use anykey_testkit::{Connection, Key, Random, Request, Storage, TestGateway, TestSim, nanos, until};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CALLERS: usize = 8;

/// What callers saw.
#[derive(Default)]
struct Saw {
    /// The ids of answers whose end was seen.
    ended: Mutex<Vec<String>>,
    ends: AtomicUsize,
    /// Answers that began and did not end.
    broken: Mutex<Vec<String>>,
    /// Answers that were neither 200 nor a refusal because of the shutdown.
    odd: Mutex<Vec<String>>,
}

/// One caller: mixed calls on one connection, until the gateway is gone.
fn call_on(address: SocketAddr, key: &Key, mut random: Random, saw: &Saw) {
    let Ok(mut connection) = Connection::open(address) else { return };
    loop {
        let (request, is_over) = any_call(&mut random);
        let Ok(mut reply) = connection
            .send(&request.bearer(&key.secret).bytes())
            .map_err(drop)
            .and_then(|()| connection.begin().map_err(drop))
        else {
            return;
        };
        connection.finish(&mut reply);
        let id = reply.id().to_owned();
        if !reply.whole {
            return saw.broken.lock().unwrap().push(id);
        }
        if reply.status == 200 && is_over(&reply.body) {
            saw.ended.lock().unwrap().push(id);
            saw.ends.fetch_add(1, Ordering::SeqCst);
        } else if reply.status != 503 || !reply.text().contains("shutting_down") {
            saw.odd.lock().unwrap().push(format!("{} {}", reply.status, reply.text()));
        }
        if reply.header("connection") == Some("close") {
            let Ok(again) = Connection::open(address) else { return };
            connection = again;
        }
    }
}

type IsOver = Box<dyn Fn(&[u8]) -> bool>;

/// Plain calls and streams of all dialects, long and short.
fn any_call(random: &mut Random) -> (Request, IsOver) {
    if random.below(2) == 0 {
        let plain: Vec<_> = ENDPOINTS.iter().filter(|e| !e.is_free()).collect();
        let endpoint = plain[random.below(plain.len() as u64) as usize];
        return (endpoint.at(endpoint.model), Box::new(|_| true));
    }
    let stream = &STREAMS[random.below(STREAMS.len() as u64) as usize];
    let model = format!("lorem?chunks={}&shred={}", 1 + random.below(20), 40 + random.below(400));
    ((stream.request)(&model), Box::new(|body| stream.is_over(body)))
}

/// Runs callers until `end` has ended the gateway.
fn under_load(
    gateway: &mut TestGateway,
    key: &Key,
    random: &mut Random,
    end: impl FnOnce(&mut TestGateway, &Saw),
) -> Saw {
    let saw = Saw::default();
    let address = gateway.address();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let (random, saw) = (Random::seeded(random.draw()), &saw);
            scope.spawn(move || call_on(address, key, random, saw));
        }
        end(gateway, &saw);
    });
    saw
}

/// Lets a number of calls end and then a few microseconds pass: a moment that has nothing to do with any call.
fn until_some_moment(random: &mut Random, saw: &Saw) {
    let calls = random.below(120) as usize;
    until("calls end", || saw.ends.load(Ordering::SeqCst) >= calls);
    std::thread::sleep(Duration::from_micros(random.below(4000)));
}

/// Every answer whose end was seen has its record once, nothing is doubled, and all sums agree.
fn assert_books_agree(gateway: &TestGateway, key: &Key, saw: &Saw, asked_upstream: u64) -> usize {
    let records = gateway.records_of(key);
    let mut by_attempt: HashMap<(&str, u64), &Value> = HashMap::new();
    for record in &records {
        let attempt = (record["request_id"].as_str().unwrap(), record["attempt"].as_u64().unwrap());
        assert!(by_attempt.insert(attempt, record).is_none(), "{attempt:?} is recorded twice");
    }
    let completed = |record: &&Value| record["outcome"] == "completed";
    let mut whole: HashMap<&str, usize> = HashMap::new();
    for record in records.iter().filter(completed) {
        *whole.entry(record["request_id"].as_str().unwrap()).or_default() += 1;
    }
    for id in saw.ended.lock().unwrap().iter() {
        assert_eq!(whole.get(id.as_str()), Some(&1), "{id} was seen to end: {:?}", gateway.attempts(id));
    }
    // Nothing that reached the provider is without a record, and no record of a whole answer was invented.
    let attempts = records.iter().filter(|record| record["attempt"] != 0).count() as u64;
    assert!(attempts >= asked_upstream, "{asked_upstream} requests reached the provider, {attempts} are recorded");
    assert!(records.iter().filter(completed).count() as u64 <= asked_upstream);

    let cost = |record: &Value| nanos(record["cost_usd"].as_str().unwrap_or_else(|| panic!("unpriced: {record}")));
    let sum: u64 = records.iter().map(cost).sum();
    let unresolved: Vec<&Value> = records.iter().filter(|record| record["outcome"] == "unresolved").collect();
    for record in &unresolved {
        assert_eq!(record["cost_usd"], record["hold_usd"], "an unknown end costs what was set aside: {record}");
    }
    let totals = gateway.get(&format!("/usage?key={}", key.id))["totals"].clone();
    assert_eq!(totals["requests"], records.len());
    assert_eq!(nanos(totals["cost_usd"].as_str().unwrap()), sum);
    let spent = gateway.get(&format!("/keys/{}", key.id))["spent_usd"].clone();
    assert_eq!(nanos(spent.as_str().unwrap()), sum);
    unresolved.len()
}

fn kill_again_and_again(storage: Storage, rounds: u64, seed: u64) {
    let sim = TestSim::start();
    let Some(mut gateway) = setup().sim(&sim).start_on(storage) else { return };
    let mut random = Random::seeded(seed);
    let (mut ends, mut unresolved, mut records) = (0, 0, 0);
    let mut before: Option<(Key, u64)> = None;
    for round in 0..rounds {
        let key = gateway.key(&format!("round-{round}"));
        let mark = sim.requests();
        let mut moment = Random::seeded(random.draw());
        let saw = under_load(&mut gateway, &key, &mut random, |gateway, saw| {
            until_some_moment(&mut moment, saw);
            gateway.kill();
        });
        // The provider may still be reading what the dead process had sent.
        until("the provider is at rest", || sim.open() == 0);
        gateway.start();
        assert_eq!(*saw.odd.lock().unwrap(), [""; 0], "round {round} of seed {seed}");
        unresolved += assert_books_agree(&gateway, &key, &saw, sim.requests() - mark);
        ends += saw.ends.into_inner();
        if let Some((key, spent)) = &before {
            let now = nanos(gateway.get(&format!("/keys/{}", key.id))["spent_usd"].as_str().unwrap());
            assert_eq!(now, *spent, "an earlier round is not charged again");
        }
        let spent = nanos(gateway.get(&format!("/keys/{}", key.id))["spent_usd"].as_str().unwrap());
        records += gateway.records_of(&key).len();
        before = Some((key, spent));
    }
    let totals = gateway.get("/usage")["totals"].clone();
    assert_eq!(totals["requests"], records);
    assert!(unresolved > 0, "no kill hit a running call: the load is too light to prove anything");
    println!("{rounds} kills, {ends} answers seen to end, {records} records, {unresolved} of them unresolved");
}

#[test]
fn fifty_kills_under_load_lose_nothing_and_double_nothing() {
    kill_again_and_again(Storage::Sqlite, 50, 0x5eed);
}

#[test]
fn kills_under_load_lose_nothing_on_postgres() {
    kill_again_and_again(Storage::Postgres, 10, 0x0dd);
}

fn stop_under_load(storage: Storage) {
    let sim = TestSim::start();
    let Some(mut gateway) = setup().sim(&sim).start_on(storage) else { return };
    let mut random = Random::seeded(7);
    for round in 0..5 {
        let key = gateway.key(&format!("round-{round}"));
        let mark = sim.requests();
        let mut moment = Random::seeded(random.draw());
        let saw = under_load(&mut gateway, &key, &mut random, |gateway, saw| {
            until_some_moment(&mut moment, saw);
            assert_eq!(gateway.stop(), Some(0), "{}", gateway.log());
        });
        assert_eq!(*saw.broken.lock().unwrap(), [""; 0], "a running answer is brought to its end");
        assert_eq!(*saw.odd.lock().unwrap(), [""; 0]);
        gateway.start();
        let unresolved = assert_books_agree(&gateway, &key, &saw, sim.requests() - mark);
        assert_eq!(unresolved, 0);
    }
}

#[test]
fn a_shutdown_under_load_brings_answers_to_their_end_and_loses_nothing() {
    stop_under_load(Storage::Sqlite);
}

#[test]
fn a_shutdown_under_load_loses_nothing_on_postgres() {
    stop_under_load(Storage::Postgres);
}

#[test]
fn a_call_that_comes_while_the_gateway_stops_is_told_so() {
    let sim = TestSim::start();
    let mut gateway = setup().sim(&sim).start();
    let key = gateway.key("journey");
    // A running stream keeps the process until it is cut, and an open connection takes one more call.
    let mut running = gateway.connect();
    let slow = (STREAMS[0].request)("lorem?chunks=40&chunk_delay=50").bearer(&key.secret);
    running.send(&slow.bytes()).unwrap();
    let mut answer = running.begin().unwrap();
    let mut open = gateway.connect();
    let chat = Dialect::OpenAi.chat().at("echo").bearer(&key.secret).bytes();
    // Half a request is on its way when the signal comes, so that the connection is not idle.
    open.send(&chat[..20]).unwrap();
    until("the first half has arrived", || gateway.call(&Request::get("/healthz")).status == 200);
    gateway.ask_to_stop();
    until("it takes no new connections", || Connection::open(gateway.address()).is_err());
    open.send(&chat[20..]).unwrap();
    let refused = open.reply().unwrap();
    crate::support::assert_refusal(&refused, Dialect::OpenAi, 503, "shutting_down");
    assert_eq!(refused.header("retry-after"), Some("1"));
    running.finish(&mut answer);
    assert!(answer.whole && STREAMS[0].is_over(&answer.body), "{}", answer.text());
    assert_eq!(gateway.stopped().code(), Some(0), "{}", gateway.log());
    gateway.start();
    assert_eq!(gateway.record(answer.id())["outcome"], "completed");
}

#[test]
fn an_answer_without_end_is_ended_by_a_shutdown_and_says_so() {
    let sim = TestSim::start();
    let mut gateway = setup().sim(&sim).start();
    let key = gateway.key("journey");
    // All at once, since the gateway gives running answers twenty seconds.
    let mut running: Vec<_> = STREAMS
        .iter()
        .map(|stream| {
            let mut connection = gateway.connect();
            connection.send(&(stream.request)("long").bearer(&key.secret).bytes()).unwrap();
            let reply = connection.begin().unwrap();
            connection.piece().unwrap().expect("it goes on");
            (stream, connection, reply)
        })
        .collect();
    gateway.ask_to_stop();
    for (stream, connection, reply) in &mut running {
        connection.finish(reply);
        let text = reply.text().to_lowercase();
        let end = &text[text.floor_char_boundary(text.len().saturating_sub(500))..];
        assert!(!reply.whole && !stream.is_over(&reply.body), "{}: {end}", stream.name);
        assert!(end.contains("shutting_down"), "{}: {end}", stream.name);
    }
    assert_eq!(gateway.stopped().code(), Some(0), "{}", gateway.log());
    gateway.start();
    for (stream, _, reply) in &running {
        let record = gateway.record(reply.id());
        assert_eq!(record["outcome"], "cut", "{}: {record}", stream.name);
        assert!(record["usage"]["output"].as_u64().unwrap() > 0, "what was said is charged: {record}");
    }
}
