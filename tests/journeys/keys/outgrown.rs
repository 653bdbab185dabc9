//! A provider that writes more than it was asked for: the call gets more of its budgets while it streams, or is cut.

use crate::support::{Dialect, STREAMS, Streaming, World, setup};
use anykey_testkit::{Canned, CannedUpstream, Reply, Request, cost, nanos, usd};
use serde_json::{Value, json};

/// Tokens that are asked for.
const BOUND: u64 = 400;

/// A stream to a model with a bound on its output.
fn bounded(stream: &Streaming, model: &str) -> Request {
    let mut request = (stream.request)(model);
    let mut body: Value = serde_json::from_slice(&request.body.take().unwrap()).unwrap();
    match stream.name {
        "responses" => body["max_output_tokens"] = json!(BOUND),
        "chat" | "completions" | "messages" => body["max_tokens"] = json!(BOUND),
        _ => body["generationConfig"] = json!({ "maxOutputTokens": BOUND }),
    }
    Request { body: Some(body.to_string().into_bytes()), ..request }
}

fn amount(record: &Value, field: &str) -> u64 {
    nanos(record[field].as_str().unwrap_or_else(|| panic!("no {field} in {record:#}")))
}

/// The same call with a key that may spend so much.
fn with_limit(world: &World, name: &str, limit: u64, request: &Request) -> (Reply, Value, u64) {
    let key = world.gateway.key_with(name, json!({ "spend_limits": [{ "window": "total", "usd": usd(limit) }] }));
    let reply = world.gateway.call(&request.clone().bearer(&key.secret));
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    let record = world.gateway.record_soon(reply.id());
    let spent = nanos(world.gateway.get(&format!("/keys/{}", key.id))["spent_usd"].as_str().unwrap());
    assert_eq!(spent, amount(&record, "cost_usd"), "{name}");
    (reply, record, spent)
}

/// What is set aside for a call before it is sent.
fn hold(world: &World, request: &Request) -> u64 {
    amount(&world.gateway.record_soon(world.call(request).id()), "hold_usd")
}

#[test]
fn without_money_it_is_cut_in_the_words_of_each_dialect() {
    let world = World::start();
    for stream in &STREAMS {
        let whole = hold(&world, &bounded(stream, "overrun?times=1"));
        let request = bounded(stream, "overrun?times=50&chunk_delay=1");
        // The name is longer, and each byte of it may be a token.
        let limit = whole + 100 * 3_750;
        let mark = world.sim.requests();
        let (reply, record, spent) = with_limit(&world, stream.name, limit, &request);
        assert!(!reply.whole && !stream.is_over(&reply.body), "{}: it must not look whole", stream.name);
        assert!(reply.text().contains("spend_limit_reached"), "{}: {}", stream.name, reply.text());
        assert!(reply.text().contains("The spend limit of the API key"), "{}", stream.name);
        assert_eq!((&record["outcome"], &record["code"]), (&json!("cut"), &json!("spend_limit_reached")), "{record:#}");
        assert_eq!(record["usage_source"], "estimated", "{record:#}");
        assert!(spent <= limit && spent > limit / 4, "{}: {spent} of {limit}", stream.name);
        let entry = world.sim.only(mark);
        assert!(entry.is("client_gone"), "{}: the provider writes for nobody: {}", stream.name, entry.0);
    }
}

#[test]
fn with_money_it_goes_on_and_others_cannot_spend_it() {
    let world = World::start();
    for stream in &STREAMS {
        let request = bounded(stream, "overrun?times=7");
        let first = hold(&world, &request);
        let mark = world.sim.requests();
        let (reply, record, spent) = with_limit(&world, stream.name, 20 * first, &request);
        assert!(reply.whole && stream.is_over(&reply.body), "{}: {}", stream.name, reply.text());
        assert_eq!(
            (&record["outcome"], &record["usage_source"]),
            (&json!("completed"), &json!("reported")),
            "{record:#}"
        );
        let entry = world.sim.only(mark);
        assert_eq!(entry.number("output_tokens"), 7 * BOUND, "{}", stream.name);
        assert_eq!(spent, cost(stream.dialect.name(), "overrun", &record["usage"]), "{}", stream.name);
        let held = amount(&record, "hold_usd");
        assert!(held > first && spent <= held && held <= 20 * first, "{}: {spent} of {held}", stream.name);
    }
}

#[test]
fn nobody_who_keeps_to_the_bound_is_cut() {
    let world = World::start();
    for stream in &STREAMS {
        for model in ["lorem", "lorem?shred=3", "echo", "no-usage"] {
            let request = bounded(stream, model);
            let limit = hold(&world, &request);
            let (reply, record, spent) = with_limit(&world, model, limit, &request);
            // OpenAI's responses call an answer that filled its bound incomplete.
            assert!(reply.whole && !reply.text().contains("spend_limit_reached"), "{} {model}", stream.name);
            assert_eq!((&record["outcome"], amount(&record, "hold_usd")), (&json!("completed"), limit), "{record:#}");
            assert!(spent <= limit);
        }
    }
}

/// A chat stream of these pieces, whose provider counts so many tokens.
fn told(pieces: &[String], tokens: usize) -> String {
    let chunk = |choices: Value, usage: Value| {
        format!("data: {}\n\n", json!({ "id": "c", "model": "echo", "choices": choices, "usage": usage }))
    };
    let mut body: String = pieces
        .iter()
        .map(|piece| chunk(json!([{ "index": 0, "delta": { "content": piece }, "finish_reason": null }]), Value::Null))
        .collect();
    body += &chunk(json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]), Value::Null);
    body += &chunk(json!([]), json!({ "prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": tokens + 9 }));
    body + "data: [DONE]\n\n"
}

#[test]
fn long_words_blanks_pictures_and_every_script_are_within_the_bound() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    let request = Dialect::OpenAi.chat().with("echo", &json!({ "max_tokens": 100, "stream": true }));
    // A hundred tokens each, and more than four bytes to a token.
    for piece in
        ["across", " wider", "नमस्ते", "\u{6771}\u{4eac}\u{90fd}", &"-".repeat(64), &" ".repeat(120), "\"\\\n\t{}"]
    {
        let pieces = vec![piece.to_owned(); 100];
        upstream.answer(Canned::stream("text/event-stream", [told(&pieces, 100).as_bytes()]));
        let free = gateway.key("free");
        let limit = amount(&gateway.record_soon(gateway.call(&request.clone().bearer(&free.secret)).id()), "hold_usd");
        let limits = json!({ "spend_limits": [{ "window": "total", "usd": usd(limit) }] });
        let key = gateway.key_with("exact", limits);
        let reply = gateway.call(&request.clone().bearer(&key.secret));
        assert!(reply.whole && reply.text().contains("[DONE]"), "{piece:?}: {}", reply.text());
        assert_eq!(gateway.record_soon(reply.id())["outcome"], "completed");
    }
}

#[test]
fn a_limit_that_only_warns_refuses_nothing_and_is_told() {
    let world = World::start();
    let request = Dialect::OpenAi.chat().with("lorem", &json!({ "max_tokens": 200 }));
    let soft = json!({ "controls": { "spend": { "day": "0.0000001", "warn_only": ["day"] } } });
    let key = world.gateway.key_with("soft", soft);
    for _ in 0..3 {
        assert_eq!(world.gateway.call(&request.clone().bearer(&key.secret)).status, 200);
    }
    let report = world.gateway.get(&format!("/keys/{}/limits", key.id));
    let day = report["controls"].as_array().unwrap().iter().find(|c| c["control"] == "spend.day").unwrap();
    assert_eq!((&day["warn_only"], &day["warning"]), (&json!(true), &json!(100)), "{report:#}");
    assert_eq!(report["allowed"], true, "{report:#}");
    // Enforced, the same limit has long been passed.
    let hard = json!({ "controls": { "spend": { "day": "0.0000001" } } });
    world.gateway.admin("PATCH", &format!("/keys/{}", key.id), Some(&hard));
    let refused = world.gateway.call(&request.bearer(&key.secret));
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (402, Some("spend_limit_reached")));
}

#[test]
fn what_a_level_has_spent_held_and_left_is_told_by_itself() {
    let world = World::start();
    let gateway = &world.gateway;
    let organisation = gateway.get("/organisations/default")["id"].as_str().unwrap().to_owned();
    let limits = json!({ "controls": { "spend": { "total": "5", "month": "2", "warn_only": ["month"] } } });
    gateway.admin("PATCH", &format!("/organisations/{organisation}"), Some(&limits));
    let request = Dialect::OpenAi.chat().with("lorem", &json!({ "max_tokens": 200 }));
    let cost = amount(&gateway.record(world.call(&request).id()), "cost_usd");
    let told = gateway.get("/organisations/default/spend");
    assert_eq!(
        (&told["level"], &told["time_zone"], &told["id"]),
        (&json!("organisation"), &json!("UTC"), &json!(organisation))
    );
    for (n, window, left, warn_only) in
        [(0, "total", Some(5_000_000_000), false), (1, "month", Some(2_000_000_000), true), (3, "day", None, false)]
    {
        let row = &told["windows"][n];
        let left = left.map_or(Value::Null, |limit: u64| json!(usd(limit - cost).trim_end_matches('0')));
        assert_eq!(
            (&row["window"], &row["left_usd"], &row["warn_only"]),
            (&json!(window), &left, &json!(warn_only)),
            "{row}"
        );
        assert_eq!((amount(row, "spent_usd"), amount(row, "held_usd")), (cost, 0), "{row}");
        assert_eq!(row["resets_at"].is_null(), n == 0, "{row}");
    }
    // While an answer runs, what it may cost is set aside.
    let slow = Dialect::OpenAi.chat().with("lorem?chunk_delay=200", &json!({ "max_tokens": 500, "stream": true }));
    let mut connection = gateway.connect();
    connection.send(&slow.bearer(&world.key.secret).bytes()).unwrap();
    connection.begin().unwrap();
    let held = amount(&gateway.get("/organisations/default/spend")["windows"][0], "held_usd");
    assert!(held > 500 * 600, "{held}");
    connection.hang_up();
    let printed = gateway.cli(&["org", "spend", "default"]).stdout;
    assert!(printed.contains("month") && printed.contains("2, warns only"), "{printed}");
}
