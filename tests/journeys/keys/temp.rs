//! Temporary keys through the real binary: one purse with their parent, their own bounds to the call, and dead with it.

use super::{call, verdict};
use crate::support::{Dialect, World, setup};
use anykey_testkit::{Canned, CannedUpstream, Connection, Reply, Request, TestGateway, cost, nanos, until, usd};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#;

fn request() -> Request {
    Dialect::OpenAi.chat().with("echo", &json!({ "max_tokens": 50 }))
}

/// The most that the call can cost; see `limit.rs`.
fn worst() -> u64 {
    let bytes = request().body.unwrap().len() as u64;
    ((bytes + 64) * 150_001 + 50 * 900_001).div_ceil(1000)
}

fn mint_reply(gateway: &TestGateway, secret: &str, body: &Value) -> Reply {
    gateway.call(&Request::post("/v1/key/temp").json(body).bearer(secret))
}

fn mint(gateway: &TestGateway, secret: &str, body: &Value) -> (String, String) {
    let reply = mint_reply(gateway, secret, body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let made = reply.json();
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

fn spent(gateway: &TestGateway, id: &str) -> u64 {
    nanos(gateway.get(&format!("/keys/{id}"))["spent_usd"].as_str().unwrap())
}

/// Sends `each` calls with every secret at once, and holds the provider until all but `pass` are refused.
fn at_once(gateway: &TestGateway, upstream: &CannedUpstream, secrets: &[&str], each: usize, pass: usize) -> Vec<usize> {
    upstream.take_seen();
    let gate = upstream.gate();
    let refused = AtomicUsize::new(0);
    let answered: Vec<AtomicUsize> = secrets.iter().map(|_| AtomicUsize::new(0)).collect();
    let address = gateway.address();
    std::thread::scope(|scope| {
        for (secret, answered) in secrets.iter().zip(&answered) {
            let bytes = request().bearer(secret).bytes();
            for _ in 0..each {
                let (bytes, refused) = (bytes.clone(), &refused);
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    connection.send(&bytes).unwrap();
                    let reply = connection.reply().unwrap();
                    match reply.status {
                        200 => answered.fetch_add(1, Ordering::SeqCst),
                        402 => refused.fetch_add(1, Ordering::SeqCst),
                        other => panic!("{other}: {}", reply.text()),
                    };
                });
            }
        }
        let all = each * secrets.len();
        until("the others are refused", || refused.load(Ordering::SeqCst) == all - pass);
        until("the rest is at the provider", || upstream.seen().len() == pass);
        gate.open();
    });
    answered.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn a_hundred_calls_at_once_spend_no_more_than_the_temporary_key_or_its_parent_has() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let gateway = setup().upstream("", &upstream.url()).start();
    let actual = cost("openai", "echo", &json!({ "input": 9, "output": 3 }));
    let limited = |name: &str, calls: u64| {
        gateway.key_with(name, json!({ "spend_limits": [{ "window": "total", "usd": usd(calls * worst()) }] }))
    };

    // The temporary key has money for seven, its parent for many.
    let parent = limited("rich", 50);
    let (id, secret) = mint(&gateway, &parent.secret, &json!({"spend_limit_usd": usd(7 * worst())}));
    assert_eq!(at_once(&gateway, &upstream, &[&secret], 100, 7), [7]);
    assert_eq!((spent(&gateway, &id), spent(&gateway, &parent.id)), (7 * actual, 7 * actual));

    // It has no limit of its own: its parent's seven are all there is, for both of them together.
    let parent = limited("poor", 7);
    let (id, secret) = mint(&gateway, &parent.secret, &json!({}));
    let answered = at_once(&gateway, &upstream, &[&secret, &parent.secret], 50, 7);
    assert_eq!(answered.iter().sum::<usize>(), 7, "{answered:?}");
    assert_eq!(spent(&gateway, &parent.id), 7 * actual);
    assert_eq!(spent(&gateway, &id), answered[0] as u64 * actual);

    // Two of one parent, each with money for seven, and ten between them.
    let parent = limited("shared", 10);
    let seven = json!({"spend_limit_usd": usd(7 * worst())});
    let (_, one) = mint(&gateway, &parent.secret, &seven);
    let (_, two) = mint(&gateway, &parent.secret, &seven);
    let answered = at_once(&gateway, &upstream, &[&one, &two], 50, 10);
    assert!(answered.iter().sum::<usize>() == 10 && answered.iter().all(|n| *n <= 7), "{answered:?}");
    assert_eq!(spent(&gateway, &parent.id), 10 * actual);
    let by_key = gateway.get(&format!("/usage?key={}", parent.id));
    assert_eq!(by_key["totals"]["requests"], 100, "its parent answers for all of it: {by_key}");
}

#[test]
fn of_a_hundred_calls_at_once_as_many_run_as_there_are_requests_also_after_a_crash() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let mut gateway = setup().upstream("", &upstream.url()).start();
    let parent = gateway.key("parent");
    let (_, secret) = mint(&gateway, &parent.secret, &json!({"max_requests": 7}));
    // A call that goes nowhere is none.
    let lost = gateway.call(&Request::post("/v1/chat/completions").json(&json!({"messages": []})).bearer(&secret));
    assert_eq!(lost.status, 400);
    assert_eq!(call(&gateway, &secret).status, 200);
    gateway.kill();
    gateway.start();
    assert_eq!(at_once(&gateway, &upstream, &[&secret], 100, 6), [6]);
    assert_eq!(verdict(&gateway, &secret), "allowance_used_up");
}

#[test]
fn a_temporary_key_may_what_it_was_minted_for_and_no_more() {
    let world = World::start();
    let gateway = &world.gateway;
    let minted = |body: Value| mint(gateway, &world.key.secret, &body).1;
    let code = |reply: Reply| reply.json()["error"]["code"].as_str().unwrap_or("200").to_owned();

    let only = minted(json!({"models": ["openai/embed"]}));
    assert_eq!(verdict(gateway, &only), "model_not_allowed");
    let some = minted(json!({"models": ["openai/ec*"], "ip": "caller"}));
    assert_eq!(verdict(gateway, &some), "200");
    let elsewhere = minted(json!({"ip": "203.0.113.9"}));
    assert_eq!(verdict(gateway, &elsewhere), "ip_not_allowed");
    let reads = minted(json!({"scopes": ["models:read"]}));
    assert_eq!(verdict(gateway, &reads), "scope_missing");

    let page = |secret: &str| {
        code(gateway.call(&Dialect::OpenAi.chat().at("echo").bearer(secret).header("origin", "https://example.com")))
    };
    assert_eq!(page(&minted(json!({}))), "browser_use_forbidden");
    assert_eq!(page(&minted(json!({"browser_allowed": true}))), "200");

    let plain = minted(json!({}));
    assert_eq!(code(mint_reply(gateway, &plain, &json!({}))), "endpoint_not_allowed", "it cannot mint another");
    for (body, param) in [
        (json!({"expires_in": "25h"}), "expires_in"),
        (json!({"scopes": ["admin:*"]}), "scopes"),
        (json!({"max_requests": 0}), "max_requests"),
        (json!({"spend_limit_usd": "-1"}), "spend_limit_usd"),
    ] {
        let reply = mint_reply(gateway, &world.key.secret, &body);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.text());
    }
    assert_eq!(code(mint_reply(gateway, &world.key.secret, &json!({"root": true}))), "invalid_json");
    assert_eq!(code(gateway.call(&Request::post("/v1/key/temp").json(&json!({})))), "missing_api_key");
}

#[test]
fn a_temporary_key_ends_itself_or_with_its_parent() {
    let world = World::start();
    let gateway = &world.gateway;
    let end = |secret: &str| gateway.call(&Request::post("/v1/key/temp/end").json(&json!({})).bearer(secret));
    let (id, secret) = mint(gateway, &world.key.secret, &json!({}));
    assert_eq!(verdict(gateway, &secret), "200");
    let ended = end(&secret);
    assert_eq!((ended.status, ended.json()), (200, json!({"id": id, "ended": true})));
    assert_eq!(verdict(gateway, &secret), "key_expired");
    assert_eq!(end(&world.key.secret).status, 403, "only a temporary key ends itself");
    // Ending needs no scope but the key.
    let (_, bare) = mint(gateway, &world.key.secret, &json!({"scopes": ["models:read"]}));
    assert_eq!(end(&bare).status, 200);

    // Nor does it need the address, or to be in use.
    let (_, elsewhere) = mint(gateway, &world.key.secret, &json!({"ip": "203.0.113.9"}));
    assert_eq!(verdict(gateway, &elsewhere), "ip_not_allowed");
    assert_eq!(end(&elsewhere).status, 200);
    assert_eq!(verdict(gateway, &elsewhere), "key_expired");

    let (_, secret) = mint(gateway, &world.key.secret, &json!({}));
    let (_, over) = mint(gateway, &world.key.secret, &json!({}));
    gateway.post(&format!("/keys/{}/disable", world.key.id), &json!({}));
    assert_eq!(verdict(gateway, &secret), "key_disabled");
    assert_eq!(end(&over).status, 200);
    gateway.post(&format!("/keys/{}/enable", world.key.id), &json!({}));
    assert_eq!(verdict(gateway, &over), "key_expired", "it ended while its parent was disabled");
    gateway.post(&format!("/keys/{}/enable", world.key.id), &json!({}));
    assert_eq!(verdict(gateway, &secret), "200");
    gateway.post(&format!("/keys/{}/regenerate", world.key.id), &json!({}));
    assert_eq!(verdict(gateway, &secret), "key_revoked");
}

#[test]
fn a_client_secret_has_openais_shape_and_may_stand_in_a_page() {
    let world = World::start();
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let ask = |body: Value| {
        world.gateway.call(&Request::post("/v1/realtime/client_secrets").json(&body).bearer(&world.key.secret))
    };
    let session = json!({"type": "realtime", "model": "openai/echo", "instructions": "be brief"});
    let made = ask(json!({"expires_after": {"anchor": "created_at", "seconds": 60}, "session": session}));
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let (value, ends) = (made["value"].as_str().unwrap(), made["expires_at"].as_u64().unwrap());
    assert!(value.starts_with("ak-temp-") && (before + 59..=before + 90).contains(&ends), "{made}");
    assert_eq!(
        (&made["session"]["model"], &made["session"]["object"]),
        (&json!("openai/echo"), &json!("realtime.session"))
    );
    let from_page = Dialect::OpenAi.chat().at("echo").bearer(value).header("origin", "https://example.com");
    assert_eq!(world.gateway.call(&from_page).status, 200);
    // It does what the session needs and no more.
    let code = |reply: Reply| reply.json()["error"]["code"].as_str().unwrap_or("200").to_owned();
    assert_eq!(code(world.gateway.call(&Dialect::OpenAi.chat().at("lorem").bearer(value))), "model_not_allowed");
    assert_eq!(code(world.gateway.call(&Request::get("/v1/models").bearer(value))), "scope_missing");
    assert_eq!(ask(json!({"session": {"type": "realtime", "model": "*"}})).status, 400);
    assert_eq!(ask(json!({})).status, 200);
    assert_eq!(ask(json!({"expires_after": {"seconds": 7201}})).status, 400);
}

#[test]
fn a_list_of_models_shows_what_the_temporary_key_may_call() {
    let world = World::start();
    let listed = |body: Value| -> Vec<String> {
        let secret = mint(&world.gateway, &world.key.secret, &body).1;
        let reply = world.gateway.call(&Request::get("/v1/models").bearer(&secret));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let models = reply.json();
        models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let (all, some) = (listed(json!({})), listed(json!({"models": ["openai/ch*"]})));
    assert!(!some.is_empty() && some.len() < all.len(), "{some:?} of {all:?}");
    assert!(some.iter().all(|model| all.contains(model) && model.contains("openai/ch")), "{some:?}");
}

/// What the parent may at a time is shared: minting does not multiply it. Lowered, it is lower for all of them at once.
#[test]
fn limits_of_a_parent_are_shared_with_its_temporary_keys() {
    let upstream = CannedUpstream::start();
    upstream.answer(Canned::json(ANSWER));
    let gateway = setup().upstream("", &upstream.url()).start();
    let parent = gateway.key_with("parent", json!({"controls": {"limits": {"rpm": 10, "concurrency": 3}}}));
    let minted: Vec<(String, String)> = (0..3).map(|_| mint(&gateway, &parent.secret, &json!({}))).collect();
    let secrets: Vec<&str> = minted.iter().map(|(_, secret)| secret.as_str()).chain([&*parent.secret]).collect();
    let answered = limited(&gateway, &upstream, &secrets, 8, 3);
    assert_eq!(answered, 3, "three calls at once, whoever makes them");
    let more = secrets.iter().cycle().take(40).filter(|secret| verdict(&gateway, secret) == "200").count();
    assert_eq!(minted.len() + 3 + more, 10, "ten requests a minute between them, and to mint one is a request");
    let late = mint_reply(&gateway, &parent.secret, &json!({}));
    assert_eq!((late.status, &late.json()["error"]["code"]), (429, &json!("rate_limited")), "{}", late.text());
    assert!(late.header("retry-after").is_some());
    assert_eq!(verdict(&gateway, &minted[0].1), "rate_limited");

    // One session: a call at a time, and one of its own.
    let rich = gateway.key("rich");
    let (_, session) = mint(&gateway, &rich.secret, &json!({"max_concurrent": 1}));
    assert_eq!(limited(&gateway, &upstream, &[&session], 8, 1), 1);
    assert_eq!(verdict(&gateway, &session), "200");
    let change = |fields: &Value| gateway.admin("PATCH", &format!("/keys/{}", rich.id), Some(fields));
    let tighter = json!({"controls": {"models": {"allow": ["anthropic/*"]}}});
    change(&tighter);
    assert_eq!(verdict(&gateway, &session), "model_not_allowed");
    let none = json!({"controls": {}, "scopes": ["models:read"]});
    change(&none);
    assert_eq!(verdict(&gateway, &session), "scope_missing");
    let spent = json!({"scopes": ["completions:write"], "spend_limits": [{"window": "total", "usd": "0.000000001"}]});
    change(&spent);
    assert_eq!(verdict(&gateway, &session), "spend_limit_reached");
}

/// Sends `each` calls with every secret at once, and holds the provider until all but `pass` are refused for a limit.
fn limited(gateway: &TestGateway, upstream: &CannedUpstream, secrets: &[&str], each: usize, pass: usize) -> usize {
    upstream.take_seen();
    let gate = upstream.gate();
    let (refused, answered) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for bytes in secrets.iter().flat_map(|secret| std::iter::repeat_n(request().bearer(secret).bytes(), each)) {
            scope.spawn(move || {
                let mut connection = Connection::open(gateway.address()).unwrap();
                connection.send(&bytes).unwrap();
                match connection.reply().unwrap().status {
                    200 => answered.fetch_add(1, Ordering::SeqCst),
                    429 => refused.fetch_add(1, Ordering::SeqCst),
                    other => panic!("{other}"),
                };
            });
        }
        until("the others are refused", || refused.load(Ordering::SeqCst) == each * secrets.len() - pass);
        until("the rest is at the provider", || upstream.seen().len() == pass);
        gate.open();
    });
    answered.load(Ordering::SeqCst)
}
