//! A spend limit holds however many calls run at once, to the call.

use crate::support::{Dialect, setup};
use anykey_testkit::{Canned, CannedUpstream, Connection, Request, cost, nanos, until, usd};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#;

pub(crate) fn request() -> Request {
    Dialect::OpenAi.chat().with("echo", &json!({ "max_tokens": 50 }))
}

/// The most that the call can cost: each byte (and 64 for the frame) a token of input, 50 tokens of output, each at the
/// dearest rate of the price list.
pub(crate) fn worst() -> u64 {
    let bytes = request().body.unwrap().len() as u64;
    ((bytes + 64) * 150_001 + 50 * 900_001).div_ceil(1000)
}

#[test]
fn of_two_hundred_calls_at_once_exactly_those_run_that_there_is_money_for() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let gateway = setup().upstream("", &upstream.url()).start();
    let free = gateway.key("free");
    let measured = gateway.call(&request().bearer(&free.secret));
    let record = gateway.record(measured.id());
    assert_eq!(nanos(record["hold_usd"].as_str().unwrap()), worst(), "{record}");
    let actual = cost("openai", "echo", &record["usage"]);

    // Exactly enough for seven, and one nano-dollar short of eight.
    for (round, limit) in [7 * worst(), 8 * worst() - 1, 7 * worst()].into_iter().enumerate() {
        let limits = json!({ "spend_limits": [{ "window": "total", "usd": usd(limit) }] });
        let key = gateway.key_with(&format!("round-{round}"), limits);
        upstream.take_seen();
        let gate = upstream.gate();
        let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (address, bytes) = (gateway.address(), request().bearer(&key.secret).bytes());
        std::thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    let mut connection = Connection::open(address).unwrap();
                    connection.send(&bytes).unwrap();
                    let reply = connection.reply().unwrap();
                    match reply.status {
                        200 => answered.fetch_add(1, Ordering::SeqCst),
                        402 => {
                            assert_eq!(reply.json()["error"]["code"], "spend_limit_reached");
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                        other => panic!("{other}: {}", reply.text()),
                    };
                });
            }
            // The provider keeps the seven waiting until all others have been told.
            until("the others are refused", || refused.load(Ordering::SeqCst) == 193);
            until("seven are at the provider", || upstream.seen().len() == 7);
            assert_eq!(answered.load(Ordering::SeqCst), 0);
            gate.open();
        });
        assert_eq!((answered.into_inner(), refused.into_inner()), (7, 193));
        assert_eq!(upstream.seen().len(), 7);
        let spent = nanos(gateway.get(&format!("/keys/{}", key.id))["spent_usd"].as_str().unwrap());
        assert_eq!(spent, 7 * actual, "what was held and not used is free again");
        let records = gateway.records_of(&key);
        let of = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
        assert_eq!((of("completed"), of("refused")), (7, 193));
    }
}

#[test]
fn a_limit_is_spent_to_the_last_call_and_survives_a_restart() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let mut gateway = setup().upstream("", &upstream.url()).start();
    let actual = cost("openai", "echo", &json!({ "input": 9, "output": 3 }));
    // Each call needs room for its worst, and leaves what it cost.
    let limit = worst() + 4 * actual;
    let key = gateway.key_with("capped", json!({ "spend_limits": [{ "window": "total", "usd": usd(limit) }] }));
    let mut served = 0;
    loop {
        let reply = gateway.call(&request().bearer(&key.secret));
        match reply.status {
            200 => served += 1,
            402 => break,
            other => panic!("{other}: {}", reply.text()),
        }
        assert!(served <= 5, "{served}");
        if served % 2 == 0 {
            gateway.kill();
            gateway.start();
        }
    }
    assert_eq!(served, 5);
    let spent = nanos(gateway.get(&format!("/keys/{}", key.id))["spent_usd"].as_str().unwrap());
    assert_eq!(spent, 5 * actual);
    assert!(spent <= limit);
}
