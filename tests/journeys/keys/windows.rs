//! Spend limits by day, week and month, on keys and on what is above them: all at once, shared by whoever is below, to the
//! call, and the same after a crash.

use super::limit::{ANSWER, request, worst};
use crate::support::setup;
use anykey_testkit::{Canned, CannedUpstream, Connection, Request, TestGateway, cost, nanos, until, usd};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

fn gateway(upstream: &CannedUpstream) -> TestGateway {
    upstream.answer(Canned::json(ANSWER));
    setup().upstream("", &upstream.url()).start()
}

fn actual() -> u64 {
    cost("openai", "echo", &json!({ "input": 9, "output": 3 }))
}

/// The policy of the project that keys are in unless they are told otherwise.
fn limit_project(gateway: &TestGateway, spend: &Value) {
    let id = gateway.cli(&["project", "show", "default", "--json"]).json()["id"].as_str().unwrap().to_owned();
    let controls = if spend.is_null() { json!({}) } else { json!({ "spend": spend }) };
    gateway.admin("PATCH", &format!("/projects/{id}"), Some(&json!({ "controls": controls })));
}

fn spend_rows(limits: &Value) -> Vec<Value> {
    let controls = limits["controls"].as_array().unwrap();
    controls.iter().filter(|c| c["control"].as_str().unwrap().starts_with("spend")).cloned().collect()
}

#[test]
fn two_hundred_calls_by_keys_of_one_project_share_its_month() {
    let upstream = CannedUpstream::start();
    let gateway = gateway(&upstream);
    limit_project(&gateway, &json!({ "month": usd(7 * worst()), "day": "100" }));
    let keys = [gateway.key("one"), gateway.key("two"), gateway.key("three")];
    let gate = upstream.gate();
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let address = gateway.address();
    std::thread::scope(|scope| {
        for n in 0..200 {
            let bytes = request().bearer(&keys[n % 3].secret).bytes();
            let (answered, refused) = (&answered, &refused);
            scope.spawn(move || {
                let mut connection = Connection::open(address).unwrap();
                connection.send(&bytes).unwrap();
                let reply = connection.reply().unwrap();
                match reply.status {
                    200 => answered.fetch_add(1, Ordering::SeqCst),
                    402 => {
                        let error = reply.json()["error"]["message"].as_str().unwrap().to_owned();
                        assert!(error.starts_with("The monthly spend limit of the project `"), "{error}");
                        assert!(error.contains("It resets at "), "{error}");
                        refused.fetch_add(1, Ordering::SeqCst)
                    }
                    other => panic!("{other}: {}", reply.text()),
                };
            });
        }
        until("the others are refused", || refused.load(Ordering::SeqCst) == 193);
        until("seven are at the provider", || upstream.seen().len() == 7);
        gate.open();
    });
    assert_eq!((answered.into_inner(), refused.into_inner()), (7, 193));
    let limits = gateway.get(&format!("/keys/{}/limits", keys[0].id));
    let rows = spend_rows(&limits);
    let figures: Vec<_> =
        rows.iter().map(|row| (row["level"].as_str().unwrap(), row["control"].as_str().unwrap())).collect();
    assert_eq!(figures, [("project", "spend.month"), ("project", "spend.day")]);
    for row in &rows {
        assert_eq!(nanos(row["used"].as_str().unwrap()), 7 * actual(), "{row}");
        assert!(row["resets_in"].as_u64().unwrap() <= 31 * 86_400);
    }
}

#[test]
fn every_level_has_its_own_money_and_a_crash_forgets_none_of_it() {
    let upstream = CannedUpstream::start();
    let mut gateway = gateway(&upstream);
    // Each call needs room for its worst, and leaves what it cost: three calls by the key, five by all of its project.
    let room = |calls: u64| usd(worst() + (calls - 1) * actual());
    limit_project(&gateway, &json!({ "week": room(5), "time_zone": "Pacific/Auckland" }));
    let limited = gateway.key_with("limited", json!({ "controls": { "spend": { "day": room(3) } } }));
    let free = gateway.key("free");
    let verdict = |gateway: &TestGateway, secret: &str| {
        let reply = gateway.call(&request().bearer(secret));
        match reply.status {
            200 => "200".to_owned(),
            402 => reply.json()["error"]["message"].as_str().unwrap().split(" is reached").next().unwrap().to_owned(),
            other => panic!("{other}: {}", reply.text()),
        }
    };
    for n in 0..3 {
        assert_eq!(verdict(&gateway, &limited.secret), "200", "{n}");
        gateway.kill();
        gateway.start();
    }
    assert_eq!(verdict(&gateway, &limited.secret), "The daily spend limit of the API key `limited`");
    for _ in 0..2 {
        assert_eq!(verdict(&gateway, &free.secret), "200");
    }
    let project = verdict(&gateway, &free.secret);
    assert!(project.starts_with("The weekly spend limit of the project `"), "{project}");
    gateway.kill();
    gateway.start();
    assert_eq!(verdict(&gateway, &free.secret), project);

    // A temporary key spends its parent's day and its project's week.
    limit_project(&gateway, &Value::Null);
    assert_eq!(verdict(&gateway, &free.secret), "200", "in force when the change returns");
    let minted = gateway.call(&Request::post("/v1/key/temp").json(&json!({})).bearer(&limited.secret)).json();
    let secret = minted["secret"].as_str().unwrap();
    assert_eq!(verdict(&gateway, secret), "The daily spend limit of the API key `limited`");
}

#[test]
fn a_limit_that_is_set_while_calls_run_counts_them() {
    let upstream = CannedUpstream::start();
    let gateway = gateway(&upstream);
    let key = gateway.key("early");
    let gate = upstream.gate();
    let address = gateway.address();
    let bytes = request().bearer(&key.secret).bytes();
    std::thread::scope(|scope| {
        let early = scope.spawn(|| {
            let mut connection = Connection::open(address).unwrap();
            connection.send(&bytes).unwrap();
            connection.reply().unwrap().status
        });
        until("the first call is at the provider", || upstream.seen().len() == 1);
        limit_project(&gateway, &json!({ "day": usd(worst() + actual()) }));
        // It needs the whole limit but for what one call costs.
        let second = scope.spawn(|| {
            let mut connection = Connection::open(address).unwrap();
            connection.send(&bytes).unwrap();
            connection.reply().unwrap().status
        });
        until("the second call is at the provider", || upstream.seen().len() == 2);
        gate.open();
        assert_eq!((early.join().unwrap(), second.join().unwrap()), (200, 200));
    });
    assert_eq!(gateway.call(&request().bearer(&key.secret)).status, 402, "both have been counted");
    let rows = spend_rows(&gateway.get(&format!("/keys/{}/limits", key.id)));
    assert_eq!(nanos(rows[0]["used"].as_str().unwrap()), 2 * actual());
}

#[test]
fn what_cannot_be_a_limit_is_told() {
    let upstream = CannedUpstream::start();
    let gateway = gateway(&upstream);
    for (spend, says) in [
        (json!({ "month": "-1" }), "negative"),
        (json!({ "year": "1" }), "unknown field"),
        (json!({ "month": "1", "time_zone": "Mars" }), "no time zone"),
    ] {
        let body = json!({ "name": "x", "controls": { "spend": spend } });
        let reply = gateway.admin_reply("POST", "/keys", Some(&body));
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(says), "{}", reply.text());
    }
    let made =
        gateway.cli(&["key", "create", "cli", "--monthly-budget", "20", "--time-zone", "Europe/Zurich", "--json"]);
    assert_eq!(made.json()["controls"], json!({ "spend": { "month": "20", "time_zone": "Europe/Zurich" } }));
}
