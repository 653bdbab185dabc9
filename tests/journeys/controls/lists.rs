//! Lists of models, names and endpoints: no alias, prefix or spelling leads around one.

use super::{bounded, chat, refused};
use crate::support::{Dialect, ENDPOINTS, Endpoint, World, setup};
use anykey_testkit::{Request, TestSim};
use serde_json::json;

/// A call whose refusal is no array.
fn one_answer(endpoint: &Endpoint) -> Request {
    let mut request = endpoint.at(endpoint.model);
    if endpoint.name == "stream_generate_content" {
        request.target += "?alt=sse";
    }
    request
}

#[test]
fn a_model_that_is_not_allowed_is_refused_on_every_endpoint_of_every_dialect() {
    let world = World::start();
    let elsewhere = bounded(&world, "elsewhere", json!({ "models": { "allow": ["mistral/*", "gpt-*"] } }));
    let blocked = bounded(&world, "blocked", json!({ "models": { "block": ["ECHO", "*/embed"] } }));
    for endpoint in &ENDPOINTS {
        for secret in [&elsewhere, &blocked] {
            let (_, message) =
                refused(&world, &one_answer(endpoint).bearer(secret), endpoint.dialect, 403, "model_not_allowed");
            assert!(message.contains("the API key `") && message.contains("GET /v1/models"), "{message}");
        }
    }
    for dialect in Dialect::ALL {
        let allowed =
            bounded(&world, "allowed", json!({ "models": { "allow": [format!("{}/echo", dialect.name())] } }));
        assert_eq!(world.gateway.call(&chat(dialect, &allowed)).status, 200);
        refused(&world, &dialect.chat().at("lorem").bearer(&allowed), dialect, 403, "model_not_allowed");
        assert_eq!(world.gateway.call(&dialect.chat().at("lorem").bearer(&blocked)).status, 200);
    }
}

#[test]
fn the_target_decides_and_not_the_name_that_leads_to_it() {
    let sim = TestSim::start();
    let gateway = setup()
        .sim(&sim)
        .alias("gpt-cheap", "openai/lorem")
        .alias("house", "openai/echo")
        .alias("twice", "openai/echo")
        .start();
    let key = gateway.key("journey");
    let world = World { sim, gateway, key };
    let ask = |secret: &str, model: &str| Dialect::OpenAi.chat().to("/v1", model).bearer(secret);
    let no =
        |secret: &str, model: &str| refused(&world, &ask(secret, model), Dialect::OpenAi, 403, "model_not_allowed").1;
    let yes = |secret: &str, model: &str| assert_eq!(world.gateway.call(&ask(secret, model)).status, 200, "{model}");

    // An alias that looks allowed leads to a model that is not, and the other way round.
    let by_target = bounded(&world, "by-target", json!({ "models": { "allow": ["openai/echo", "gpt-*"] } }));
    let message = no(&by_target, "gpt-cheap");
    assert!(message.contains("openai/lorem"), "{message}");
    yes(&by_target, "house");
    yes(&by_target, "openai/echo");
    no(&by_target, "sim/echo");

    // A wildcard is for one provider, and none is for the practice provider.
    let wild = bounded(&world, "wild", json!({ "models": { "allow": ["open/*", "*"] } }));
    yes(&wild, "openai/echo");
    no(&wild, "sim/echo");
    let near = bounded(&world, "near", json!({ "models": { "allow": ["open/*"] } }));
    no(&near, "openai/echo");

    // A block list holds in any spelling, and behind an alias.
    let blocked = bounded(&world, "blocked", json!({ "models": { "block": ["openai/Echo"] } }));
    for model in ["openai/echo", "openai/ECHO", "house", "openai/models/echo"] {
        no(&blocked, model);
    }

    // Where calls are routed by name, the names alone are asked for, and the target must be allowed as well.
    let routed =
        bounded(&world, "routed", json!({ "routing": ["house", "gpt-*"], "models": { "allow": ["openai/echo"] } }));
    yes(&routed, "house");
    for model in ["twice", "openai/echo", "gpt-cheap"] {
        no(&routed, model);
    }
}

#[test]
fn lists_of_models_show_what_the_key_may_call() {
    let world = World::start();
    let secret =
        bounded(&world, "narrow", json!({ "models": { "allow": ["sim/echo", "sim/lorem"] }, "routing": ["*/e*"] }));
    let dialects = [
        (Dialect::OpenAi, ("x-none", "")),
        (Dialect::Anthropic, ("anthropic-version", "2023-06-01")),
        (Dialect::Gemini, ("x-goog-api-client", "x")),
    ];
    for (dialect, (name, value)) in dialects {
        let get = |secret: &str, path: &str| world.gateway.call(&Request::get(path).bearer(secret).header(name, value));
        let all = get(&world.key.secret, "/v1/models?limit=1000&pageSize=1000").text();
        assert!(all.contains("sim/echo") && all.contains("sim/lorem") && all.contains("sim/slow"), "{all}");
        let listed = get(&secret, "/v1/models?limit=1000&pageSize=1000").text();
        let shown = |model: &str| listed.contains(model);
        assert!(shown("sim/echo") && !shown("sim/lorem") && !shown("sim/slow"), "{dialect:?}: {listed}");
        assert_eq!(get(&secret, "/v1/models/sim/echo").status, 200);
        let other = get(&secret, "/v1/models/sim/slow");
        assert_eq!(other.status, 403, "{}", other.text());
    }
}

#[test]
fn an_endpoint_that_is_not_on_the_list_is_refused_before_the_body_is_read() {
    let world = World::start();
    let secret = bounded(&world, "chat-only", json!({ "endpoints": ["chat_completions", "key"] }));
    assert_eq!(world.gateway.call(&chat(Dialect::OpenAi, &secret)).status, 200);
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.name != "chat_completions") {
        let mut request = one_answer(endpoint).bearer(&secret);
        request.body = Some(b"not even JSON".to_vec());
        let (_, message) = refused(&world, &request, endpoint.dialect, 403, "endpoint_not_allowed");
        assert!(message.contains(endpoint.name) && message.contains("`chat-only`"), "{message}");
    }
    refused(&world, &Request::get("/v1/models").bearer(&secret), Dialect::OpenAi, 403, "endpoint_not_allowed");
    assert_eq!(world.gateway.call(&Request::get("/v1/key").bearer(&secret)).status, 200);
}

#[test]
fn what_is_written_wrong_is_told_and_nothing_is_made() {
    let world = World::start();
    for (controls, says) in [
        (json!({ "modles": {} }), "modles"),
        (json!({ "limits": { "rpm": 0 } }), "from 1 to"),
        (json!({ "models": { "allow": ["a"], "block": ["b"] } }), "not both"),
        (json!({ "ips": ["10.0.0.1/8"] }), "10.0.0.0/8"),
        (json!({ "endpoints": ["chat"] }), "chat_completions"),
    ] {
        let body = json!({ "name": "wrong", "controls": controls });
        let reply = world.gateway.admin_reply("POST", "/keys", Some(&body));
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(says) && reply.json()["errors"][0]["field"] == "controls", "{}", reply.text());
    }
    assert!(world.gateway.all("/keys?name=wrong").is_empty());
}
