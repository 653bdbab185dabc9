//! Limits one call after the other: what is counted, what is told, what is given back, and what a restart remembers.

use super::{bounded, chat, refused};
use crate::support::{Dialect, World};
use anykey_testkit::{Key, Reply, Request};
use serde_json::{Value, json};

fn number(reply: &Reply, name: &str) -> u64 {
    reply.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", reply.headers)).parse().unwrap()
}

fn limited(world: &World, name: &str, limits: Value) -> Key {
    world.gateway.key_with(name, json!({ "controls": { "limits": limits } }))
}

#[test]
fn a_rate_limit_is_told_in_the_words_of_each_dialect() {
    let world = World::start();
    for dialect in Dialect::ALL {
        let key = limited(&world, "limited", json!({ "rpm": 2, "tpd": 100_000 }));
        for remaining in [1, 0] {
            let reply = world.gateway.call(&chat(dialect, &key.secret));
            assert_eq!(reply.status, 200, "{}", reply.text());
            match dialect {
                Dialect::Anthropic => {
                    assert_eq!(number(&reply, "anthropic-ratelimit-requests-limit"), 2);
                    assert_eq!(number(&reply, "anthropic-ratelimit-requests-remaining"), remaining);
                    assert!(reply.header("anthropic-ratelimit-requests-reset").unwrap().ends_with('Z'));
                    assert_eq!(number(&reply, "anthropic-ratelimit-tokens-limit"), 100_000);
                    assert_eq!(reply.header("x-ratelimit-limit-requests"), None);
                }
                Dialect::OpenAi | Dialect::Gemini => {
                    assert_eq!(number(&reply, "x-ratelimit-limit-requests"), 2);
                    assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), remaining);
                    assert!(reply.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
                    assert_eq!(number(&reply, "x-ratelimit-limit-tokens"), 100_000);
                }
            }
        }
        let (reply, message) = refused(&world, &chat(dialect, &key.secret), dialect, 429, "rate_limited");
        let seconds = number(&reply, "retry-after");
        assert!((1..=60).contains(&seconds), "{seconds}");
        for part in ["the API key `limited`", "2 requests per minute", "RPM", &format!("{seconds} s")] {
            assert!(message.to_lowercase().contains(&part.to_lowercase()), "{part}: {message}");
        }
        if dialect == Dialect::Gemini {
            let retry = &reply.json()["error"]["details"][1];
            assert_eq!(retry["@type"], "type.googleapis.com/google.rpc.RetryInfo");
            assert_eq!(retry["retryDelay"], format!("{seconds}s"));
        }
        assert_eq!(world.gateway.record(reply.id())["code"], "rate_limited");
    }
    // A key without limits hears nothing of them.
    let free = world.call(&Dialect::OpenAi.chat().at("echo"));
    assert!(free.headers.iter().all(|(name, _)| !name.contains("ratelimit")), "{:?}", free.headers);
}

#[test]
fn tokens_are_estimated_first_and_counted_as_they_were_used() {
    let world = World::start();
    let key = limited(&world, "tokens", json!({ "tpm": 2_000 }));
    let ask = |most: u64| Dialect::OpenAi.chat().with("echo", &json!({ "max_tokens": most })).bearer(&key.secret);
    let mut used = 0;
    for _ in 0..3 {
        let reply = world.gateway.call(&ask(1_000));
        assert_eq!(reply.status, 200, "{}", reply.text());
        used += reply.json()["usage"]["total_tokens"].as_u64().unwrap();
        assert_eq!(number(&reply, "x-ratelimit-remaining-tokens"), 2_000 - used);
    }
    // What may not fit now, and what never does.
    let (reply, message) = refused(&world, &ask(1_970), Dialect::OpenAi, 429, "rate_limited");
    assert!(message.contains("tokens per minute (TPM)") && message.contains("this call may use"), "{message}");
    assert_eq!(reply.header("x-should-retry"), None);
    let (reply, message) = refused(&world, &ask(2_001), Dialect::OpenAi, 429, "rate_limited");
    assert!(message.contains("lower max_tokens") && reply.header("retry-after").is_some(), "{message}");
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    // A provider that fails used nothing.
    let failed = world.gateway.call(&Dialect::OpenAi.chat().at("500").bearer(&key.secret));
    assert!(failed.status >= 500);
    let reply = world.gateway.call(&ask(10));
    used += reply.json()["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(number(&reply, "x-ratelimit-remaining-tokens"), 2_000 - used);
    // Counting tokens uses none.
    let full = limited(&world, "full", json!({ "tpm": 1 }));
    let counted = world.gateway.call(
        &crate::support::ENDPOINTS.iter().find(|e| e.name == "count_tokens").unwrap().at("echo").bearer(&full.secret),
    );
    assert_eq!(counted.status, 200, "{}", counted.text());
}

#[test]
fn what_is_refused_later_takes_nothing() {
    let world = World::start();
    let controls = json!({ "limits": { "rpm": 2 } });
    let poor = world.gateway.key_with(
        "poor",
        json!({ "controls": controls, "spend_limits": [{ "window": "total", "usd": "0.000000001" }] }),
    );
    for _ in 0..5 {
        let reply = world.gateway.call(&chat(Dialect::OpenAi, &poor.secret));
        assert_eq!(reply.status, 402, "{}", reply.text());
        assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), 2);
    }
    let key = limited(&world, "strict", json!({ "rpm": 2 }));
    let wrong = Request { body: Some(b"{".to_vec()), ..chat(Dialect::OpenAi, &key.secret) };
    assert_eq!(world.gateway.call(&wrong).status, 400);
    let nowhere = Dialect::OpenAi.chat().to("/v1", "nowhere/x").bearer(&key.secret);
    assert_eq!(world.gateway.call(&nowhere).status, 404);
    let reply = world.gateway.call(&chat(Dialect::OpenAi, &key.secret));
    assert_eq!((reply.status, number(&reply, "x-ratelimit-remaining-requests")), (200, 1));
}

#[test]
fn models_can_have_limits_of_their_own() {
    let world = World::start();
    let secret =
        bounded(&world, "m", json!({ "model_limits": { "openai/*": { "rpm": 1 }, "anthropic/echo": { "rpm": 1 } } }));
    assert_eq!(world.gateway.call(&chat(Dialect::OpenAi, &secret)).status, 200);
    let lorem = Dialect::OpenAi.chat().at("lorem").bearer(&secret);
    let (_, message) = refused(&world, &lorem, Dialect::OpenAi, 429, "rate_limited");
    assert!(message.contains("for the models `openai/*`"), "{message}");
    assert_eq!(world.gateway.call(&chat(Dialect::Anthropic, &secret)).status, 200);
    refused(&world, &chat(Dialect::Anthropic, &secret), Dialect::Anthropic, 429, "rate_limited");
    assert_eq!(world.gateway.call(&chat(Dialect::Gemini, &secret)).status, 200);
}

#[test]
fn a_change_is_in_force_at_once_and_a_restart_forgets_nothing() {
    let mut world = World::start();
    let key = limited(&world, "daily", json!({ "rpd": 2, "tpd": 1_000_000 }));
    let call = |world: &World| world.gateway.call(&chat(Dialect::OpenAi, &key.secret));
    let first = call(&world);
    let used = first.json()["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(call(&world).status, 200);
    assert_eq!(call(&world).status, 429);
    world.gateway.restart();
    let full = call(&world);
    assert_eq!(full.status, 429, "{}", full.text());
    assert_eq!(number(&full, "x-ratelimit-remaining-tokens"), 1_000_000 - 2 * used);
    world.gateway.admin(
        "PATCH",
        &format!("/keys/{}", key.id),
        Some(&json!({ "controls": { "limits": { "rpd": 3 } } })),
    );
    assert_eq!(call(&world).status, 200);
    assert_eq!(call(&world).status, 429);
    world.gateway.kill();
    world.gateway.start();
    assert_eq!(call(&world).status, 429);
    world.gateway.admin("PATCH", &format!("/keys/{}", key.id), Some(&json!({ "controls": null })));
    assert_eq!(call(&world).status, 200);
}

#[test]
fn what_applies_is_told_to_the_key_to_its_manager_and_on_the_command_line() {
    let world = World::start();
    let made = world
        .gateway
        .cli(&["key", "create", "ci", "--rpm", "2", "--model", "openai/*", "--ip", "127.0.0.0/8", "--json"])
        .json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!(
        made["controls"],
        json!({ "models": { "allow": ["openai/*"] }, "ips": ["127.0.0.0/8"], "limits": { "rpm": 2 } })
    );
    let of_key = || world.gateway.call(&Request::get("/v1/key").bearer(secret)).json()["data"]["limits"].clone();
    let of_manager = || world.gateway.get(&format!("/keys/{id}/limits"));
    let open = of_manager();
    assert_eq!((&open["allowed"], &open["refused_by"]), (&json!(true), &json!(null)), "{open}");
    for _ in 0..2 {
        assert_eq!(world.gateway.call(&chat(Dialect::OpenAi, secret)).status, 200);
    }
    for report in [of_key(), of_manager(), world.gateway.cli(&["key", "limits", "ci", "--json"]).json()] {
        assert_eq!(report["allowed"], false, "{report}");
        let by = &report["refused_by"];
        assert_eq!((&by["control"], &by["level"], &by["name"]), (&json!("rpm"), &json!("key"), &json!("ci")));
        assert!((1..=60).contains(&by["retry_after"].as_u64().unwrap()), "{by}");
        let rpm = report["controls"].as_array().unwrap().iter().find(|c| c["control"] == "rpm").unwrap();
        assert_eq!((&rpm["limit"], &rpm["used"], &rpm["remaining"]), (&json!(2), &json!(2), &json!(0)));
        assert!((1..=60).contains(&rpm["resets_in"].as_u64().unwrap()), "{rpm}");
    }
    // The flags change what they name and nothing else.
    let updated = world.gateway.cli(&["key", "update", "ci", "--rpm", "none", "--tpm", "5000", "--json"]).json();
    assert_eq!(updated["controls"]["limits"], json!({ "tpm": 5000 }));
    assert_eq!(updated["controls"]["ips"], json!(["127.0.0.0/8"]));
    let disabled = world.gateway.cli(&["key", "disable", "ci"]);
    assert_eq!(disabled.status, 0, "{}", disabled.stderr);
    let report = of_manager();
    assert_eq!(report["refused_by"]["code"], "key_disabled", "{report}");
    let table = world.gateway.cli(&["key", "limits", "ci"]);
    assert!(table.stderr.contains("is disabled") && table.stdout.contains("tpm\tkey ci\t5000"), "{table:?}");
}
