//! Counting tokens for models of another format: by the provider where it counts, by anykey where it does not.

use super::{Side, world};
use crate::support::World;
use anykey_testkit::{Reply, Request, nanos};
use serde_json::json;

const TEXT: &str = "How many tokens does this sentence have?";

fn anthropic(world: &World, model: &str) -> Reply {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": TEXT }] });
    let request = Request::post("/v1/messages/count_tokens").body(body.to_string());
    world.call(&request.header("anthropic-version", "2023-06-01"))
}

fn gemini(world: &World, model: &str) -> Reply {
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": TEXT }] }] });
    world.call(&Request::post(format!("/v1beta/models/{model}:countTokens")).body(body.to_string()))
}

#[test]
fn a_provider_that_counts_is_asked_and_another_is_not() {
    let world = world();
    let sides: [(Side, bool); 6] = super::SIDES.map(|side| (side, matches!(side.provider, "anthropic" | "gemini")));
    for (side, counts) in sides {
        for (name, reply) in [("input_tokens", anthropic as fn(&World, &str) -> Reply), ("totalTokens", gemini)] {
            let mark = world.sim.requests();
            let reply = reply(&world, &side.model("echo"));
            assert_eq!(reply.status, 200, "{side:?}: {}", reply.text());
            let tokens = reply.json()[name].as_u64().unwrap();
            assert!((8..20).contains(&tokens), "{side:?} {name}: {tokens}");
            assert_eq!(reply.header("x-anykey-estimated"), (!counts).then_some("true"), "{side:?} {name}");
            let record = world.gateway.record_soon(reply.id());
            assert_eq!(record["outcome"], "completed", "{record}");
            assert_eq!(nanos(record["cost_usd"].as_str().unwrap()), 0, "{record}");
            if counts {
                assert_eq!(world.sim.only(mark).text("dialect"), side.dialect);
                assert_eq!(reply.header("x-anykey-provider"), Some(side.provider));
            } else {
                assert_eq!(world.sim.requests(), mark, "nobody was asked");
            }
        }
    }
}
