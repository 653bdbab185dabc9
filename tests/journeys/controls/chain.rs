//! What is set on an organisation or a project holds for every key below it, beside the key's own bounds.

use super::refused;
use crate::support::{Dialect, World};
use anykey_testkit::Key;
use serde_json::{Value, json};

fn chat(key: &Key) -> anykey_testkit::Request {
    super::chat(Dialect::OpenAi, &key.secret)
}

/// A project of an organisation, each with these controls.
fn project(world: &World, organisation: Value, project: Value) {
    world.gateway.post("/organisations", &json!({ "name": "Acme", "controls": organisation }));
    world.gateway.post("/projects", &json!({ "name": "Search", "organisation": "acme", "controls": project }));
}

fn key(world: &World, name: &str, controls: Value) -> Key {
    world.gateway.key_with(name, json!({ "project": "acme/search", "controls": controls }))
}

#[test]
fn keys_of_a_project_share_its_limit_and_a_key_cannot_have_more() {
    let mut world = World::start();
    project(&world, json!({ "limits": { "rpd": 50 } }), json!({ "limits": { "rph": 3 } }));
    let (one, two) = (
        key(&world, "one", json!({ "limits": { "rph": 1 } })),
        key(&world, "two", json!({ "limits": { "rph": 100 } })),
    );
    assert_eq!(world.gateway.call(&chat(&one)).status, 200);
    // A key that is at its own limit takes nothing of the project's.
    for _ in 0..5 {
        let (_, message) = refused(&world, &chat(&one), Dialect::OpenAi, 429, "rate_limited");
        assert!(message.contains("The API key `one` is limited to 1 request per hour"), "{message}");
    }
    assert_eq!([world.gateway.call(&chat(&two)).status, world.gateway.call(&chat(&two)).status], [200, 200]);
    let (_, message) = refused(&world, &chat(&two), Dialect::OpenAi, 429, "rate_limited");
    assert!(message.contains("The project `Search` is limited to 3 requests per hour (RPH)"), "{message}");
    let report = world.gateway.get(&format!("/keys/{}/limits", two.id));
    let by = &report["refused_by"];
    assert_eq!((&by["level"], &by["name"], &by["control"]), (&json!("project"), &json!("Search"), &json!("rph")));
    let levels: Vec<&str> = report["controls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| !c["limit"].is_null())
        .map(|c| c["level"].as_str().unwrap())
        .collect();
    assert_eq!(levels, ["organisation", "project", "key"]);
    // A restart knows what all keys of the project used.
    world.gateway.restart();
    refused(&world, &chat(&two), Dialect::OpenAi, 429, "rate_limited");
    let report = world.gateway.get(&format!("/keys/{}/limits", two.id));
    let used: Vec<u64> = report["controls"].as_array().unwrap().iter().filter_map(|c| c["used"].as_u64()).collect();
    assert_eq!(used, [3, 3, 2], "{report}");
    // A wider project is in force at once, for keys that are in memory too.
    world.gateway.admin("PATCH", "/projects/search", Some(&json!({ "controls": { "limits": { "rph": 4 } } })));
    assert_eq!(world.gateway.call(&chat(&two)).status, 200);
    refused(&world, &chat(&two), Dialect::OpenAi, 429, "rate_limited");
}

#[test]
fn what_an_organisation_forbids_no_key_of_it_may() {
    let world = World::start();
    project(
        &world,
        json!({ "models": { "block": ["*/lorem"] }, "endpoints": ["chat_completions", "messages"] }),
        json!({ "models": { "allow": ["openai/*", "anthropic/*"] } }),
    );
    let wide = key(
        &world,
        "wide",
        json!({ "models": { "allow": ["*/*", "sim/*"] }, "endpoints": ["chat_completions", "embeddings"] }),
    );
    assert_eq!(world.gateway.call(&chat(&wide)).status, 200);
    let ask = |model: &str| Dialect::OpenAi.chat().to("/v1", model).bearer(&wide.secret);
    let (_, message) = refused(&world, &ask("openai/lorem"), Dialect::OpenAi, 403, "model_not_allowed");
    assert!(message.contains("the organisation `Acme`"), "{message}");
    let (_, message) = refused(&world, &ask("sim/echo"), Dialect::OpenAi, 403, "model_not_allowed");
    assert!(message.contains("the project `Search`"), "{message}");
    let messages = super::chat(Dialect::Anthropic, &wide.secret);
    let (_, message) = refused(&world, &messages, Dialect::Anthropic, 403, "endpoint_not_allowed");
    assert!(message.contains("the API key `wide`"), "{message}");
    let embeddings = crate::support::ENDPOINTS.iter().find(|e| e.name == "embeddings").unwrap();
    let (_, message) =
        refused(&world, &embeddings.at("embed").bearer(&wide.secret), Dialect::OpenAi, 403, "endpoint_not_allowed");
    assert!(message.contains("the organisation `Acme`"), "{message}");
}
