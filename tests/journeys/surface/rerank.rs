//! `POST /v1/rerank` and `/v2/rerank`: three providers' shapes, charged by the search or by tokens.

use super::{assert_behind_the_door, charged, refused, with_limit, world};
use crate::support::{Dialect, assert_refusal};
use anykey_testkit::Request;
use serde_json::{Value, json};

/// A search at Cohere's, and a token at Jina's and Voyage's, by the price list of the journeys.
const SEARCH: u64 = 2_000_003_000;
const JINA: u64 = 20_011;
const VOYAGE: u64 = 50_021;

fn documents(n: usize) -> Vec<String> {
    (0..n).map(|i| if i == n - 1 { "the red fox".to_owned() } else { format!("number {i}") }).collect()
}

fn request(path: &str, model: &str, members: &Value) -> Request {
    let mut body = json!({ "model": model, "query": "red fox", "documents": documents(3) });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(path).json(&body)
}

#[test]
fn every_shape_reaches_every_provider_and_comes_back_as_it_was_asked() {
    let world = world();
    for path in ["/v1/rerank", "/v2/rerank", "/api/v1/rerank"] {
        for provider in ["cohere", "jina", "voyage"] {
            let model = format!("{provider}/rerank");
            let mark = world.sim.requests();
            let reply = world.call(&request(path, &model, &json!({ "top_n": 2 })));
            assert_eq!(reply.status, 200, "{path} {model}: {}", reply.text());
            let results = reply.json()["results"].clone();
            assert_eq!((results.as_array().unwrap().len(), &results[0]["index"]), (2, &json!(2)), "{model}");
            assert_eq!(world.sim.only(mark).text("model"), "rerank");
            let mark = world.sim.requests();
            let voyage = json!({ "top_k": 1, "truncation": true, "return_documents": true });
            let reply = world.call(&request(path, &model, &voyage));
            assert_eq!(reply.status, 200, "{path} {model}: {}", reply.text());
            let data = reply.json()["data"].clone();
            assert_eq!((data.as_array().unwrap().len(), &data[0]["index"]), (1, &json!(2)), "{model}");
            let dropped = (provider == "cohere").then_some("return_documents");
            assert_eq!(reply.header("x-anykey-dropped"), dropped, "{model}");
            if provider != "cohere" {
                assert_eq!(data[0]["document"], "the red fox", "{model}");
            }
            world.sim.only(mark);
        }
    }
    let reply = world.call(&request("/v1/rerank", "voyage/rerank", &json!({ "top_n": 2, "rank_fields": ["a"] })));
    assert_eq!((reply.status, reply.header("x-anykey-dropped")), (200, Some("rank_fields")), "{}", reply.text());
}

#[test]
fn who_counts_searches_is_paid_by_the_search_and_who_counts_tokens_by_those() {
    let world = world();
    let reply = world.call(&request("/v2/rerank", "cohere/rerank", &json!({ "documents": documents(101) })));
    let record = charged(&world, &reply, "rerank", "cohere/rerank", (2 * SEARCH).div_ceil(1000), "reported");
    assert_eq!(record["usage"]["search"], 2, "{record:#}");
    assert_eq!(reply.header("x-anykey-cost").map(anykey_testkit::nanos), Some((2 * SEARCH).div_ceil(1000)));
    for (model, rate) in [("jina/rerank", JINA), ("voyage/rerank", VOYAGE)] {
        let mark = world.sim.requests();
        let reply = world.call(&request("/v1/rerank", model, &json!({})));
        let tokens = world.sim.only(mark).number("input_tokens");
        charged(&world, &reply, "rerank", model, (tokens * rate).div_ceil(1000), "reported");
    }
    // A provider that says nothing is paid for what was asked.
    let reply = world.call(&request("/v2/rerank", "cohere/no-usage", &json!({ "documents": documents(201) })));
    charged(&world, &reply, "rerank", "cohere/no-usage", (3 * SEARCH).div_ceil(1000), "estimated");
    // The practice provider's own price is by the search, whatever it counts.
    let reply = world.call(&request("/v1/rerank", "sim/rerank", &json!({})));
    charged(&world, &reply, "rerank", "sim/rerank", 2_000_000, "reported");
}

#[test]
fn money_is_held_for_the_most_searches_that_documents_can_be_cut_into() {
    let world = world();
    // One document may be cut into up to 41 pieces, so three are one search and three thousand long ones many.
    let one = SEARCH.div_ceil(1000);
    let limit = with_limit(&world, "enough", &anykey_testkit::usd(one));
    let short = request("/v2/rerank", "cohere/rerank", &json!({})).bearer(&limit.secret);
    assert_eq!(world.gateway.call(&short).status, 200);
    let mark = world.sim.requests();
    assert_refusal(&world.gateway.call(&short), Dialect::OpenAi, 402, "spend_limit_reached");
    let limit = with_limit(&world, "long", &anykey_testkit::usd(one));
    let long = "word ".repeat(1000);
    let long = request("/v2/rerank", "cohere/rerank", &json!({ "documents": [long, "a", "b"] })).bearer(&limit.secret);
    assert_eq!(world.gateway.call(&long).status, 200, "43 pieces are one search still");
    let limit = with_limit(&world, "longer", &anykey_testkit::usd(one));
    let many: Vec<String> = (0..3).map(|_| "word ".repeat(1000)).collect();
    let mark_long = world.sim.requests();
    assert_eq!(mark_long, mark + 1);
    let many = request("/v2/rerank", "cohere/rerank", &json!({ "documents": many })).bearer(&limit.secret);
    assert_refusal(&world.gateway.call(&many), Dialect::OpenAi, 402, "spend_limit_reached");
    assert_eq!(world.sim.requests(), mark_long);
    assert_behind_the_door(&world, "rerank", &request("/v2/rerank", "cohere/rerank", &json!({})));
}

#[test]
fn what_is_wrong_is_said_before_anybody_is_asked() {
    let world = world();
    let wrong = |members: Value| request("/v1/rerank", "cohere/rerank", &members);
    refused(&world, &wrong(json!({ "documents": [] })), 400, "invalid_parameter");
    refused(&world, &wrong(json!({ "query": null })), 400, "invalid_parameter");
    refused(
        &world,
        &wrong(json!({ "documents": [{ "image": "https://example.com/a.png" }] })),
        400,
        "invalid_parameter",
    );
    refused(&world, &wrong(json!({ "model": "openai/echo" })), 404, "model_not_found");
    refused(&world, &wrong(json!({ "model": null })), 400, "invalid_parameter");
    refused(&world, &Request::post("/v2/chat/completions").json(&json!({})), 404, "not_found");
    let reply = world.call(&wrong(json!({ "model": "cohere/broken-json" })));
    assert_eq!(reply.status, 502, "{}", reply.text());
    let record = world.gateway.record(reply.id());
    assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("broken"), &json!("estimated")), "{record:#}");
}
