//! `POST /v1/moderations`: free at OpenAI, priced by tokens elsewhere, and with a model that need not be named.

use super::{assert_behind_the_door, charged, refused, world};
use crate::support::setup;
use anykey_testkit::{Request, Setup, TestSim};
use serde_json::{Value, json};

fn request(body: &Value) -> Request {
    Request::post("/v1/moderations").json(body)
}

#[test]
fn it_is_free_at_openai_and_priced_elsewhere() {
    let world = world();
    let ask = |model: &str| world.call(&request(&json!({ "model": model, "input": ["peace", "some violence"] })));
    let reply = ask("openai/moderate");
    let flagged: Vec<bool> =
        reply.json()["results"].as_array().unwrap().iter().map(|r| r["flagged"].as_bool().unwrap()).collect();
    assert_eq!(flagged, [false, true]);
    let record = charged(&world, &reply, "moderations", "openai/moderate", 0, "estimated");
    assert!(record["usage"]["input"].as_u64().unwrap() > 0 && record["usage"].get("output").is_none(), "{record:#}");
    let limited = super::with_limit(&world, "limited", "0.000000001");
    let free = request(&json!({ "model": "openai/moderate", "input": "x" })).bearer(&limited.secret);
    assert_eq!(world.gateway.call(&free).status, 200, "what is free needs no money");

    let reply = ask("mistral/moderate");
    let bytes = r#"{"input":["peace","some violence"],"model":"mistral/moderate"}"#.len() as u64;
    let cost = (bytes.div_ceil(4) * 100_003).div_ceil(1000);
    charged(&world, &reply, "moderations", "mistral/moderate", cost, "estimated");
    assert_behind_the_door(&world, "moderations", &request(&json!({ "model": "mistral/moderate", "input": "x" })));
}

#[test]
fn a_model_that_is_not_named_is_the_one_that_the_sdk_means() {
    let sim = TestSim::start();
    let gateway = setup()
        .provider("openai", "openai", &format!("{}/v1", sim.url()), Setup::credential("openai"))
        .alias("omni-moderation-latest", "openai/moderate")
        .start();
    let key = gateway.key("journey");
    let mark = sim.requests();
    let reply = gateway.call(&request(&json!({ "input": "violence" })).bearer(&key.secret));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sim.only(mark).text("model"), "moderate", "what was checked is what is sent");
    let record = gateway.record(reply.id());
    assert_eq!((&record["model_asked"], &record["model_sent"]), (&json!("omni-moderation-latest"), &json!("moderate")));
}

#[test]
fn what_is_wrong_is_said_by_whoever_finds_it() {
    let world = world();
    refused(
        &world,
        &Request::post("/v1/moderations").body(r#"{"model":"mistral/moderate","input":"#),
        400,
        "invalid_json",
    );
    let twice = r#"{"model":"mistral/moderate","model":"mistral/moderate","input":"x"}"#;
    refused(&world, &Request::post("/v1/moderations").body(twice), 400, "duplicate_json_key");
    refused(&world, &request(&json!({ "model": "anthropic/echo", "input": "x" })), 404, "model_not_found");
    let reply = world.call(&request(&json!({ "model": "mistral/moderate" })));
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("input")), "{}", reply.text());
    let record = world.gateway.record(reply.id());
    assert_eq!((&record["outcome"], &record["cost_usd"]), (&json!("upstream_error"), &json!("0")), "{record:#}");
}
