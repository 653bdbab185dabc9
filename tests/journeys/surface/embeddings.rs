//! `POST /v1/embeddings` in OpenAI's shape at every provider of vectors, as numbers and as base64.

use super::{charged, refused, with_limit, world};
use crate::support::{Dialect, assert_refusal};
use anykey_testkit::{Request, cost};
use serde_json::{Value, json};

fn request(model: &str, members: &Value) -> Request {
    let mut body = json!({ "model": model, "input": ["alpha", "beta"] });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post("/v1/embeddings").json(&body)
}

fn vectors(answer: &Value) -> Vec<Vec<f32>> {
    let vector =
        |one: &Value| one["embedding"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect();
    answer["data"].as_array().unwrap().iter().map(vector).collect()
}

#[test]
fn vectors_are_the_same_whoever_makes_them() {
    let world = world();
    let plain = |model: &str, members: Value| {
        let reply = world.call(&request(model, &members));
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        reply
    };
    let own = plain("openai/embed", json!({ "dimensions": 16 })).json();
    let packed = plain("openai/embed", json!({ "dimensions": 16, "encoding_format": "base64" })).json();
    for model in ["gemini/embed", "jina/embed", "voyage/embed", "cohere/embed"] {
        let reply = plain(model, json!({ "dimensions": 16 }));
        let answer = reply.json();
        assert_eq!(vectors(&answer), vectors(&own), "{model}");
        let again = plain(model, json!({ "dimensions": 16, "encoding_format": "base64" })).json();
        assert_eq!(again["data"], packed["data"], "{model}");
        if model == "cohere/embed" {
            continue;
        }
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!(model)));
        assert_eq!(answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]);
        let dropped = plain(model, json!({ "user": "somebody" }));
        assert_eq!(dropped.header("x-anykey-dropped"), Some("user"), "{model}");
    }
}

#[test]
fn they_are_charged_as_their_provider_counts() {
    let world = world();
    let mark = world.sim.requests();
    let reply = world.call(&request("gemini/embed", &json!({})));
    let record = world.gateway.record(reply.id());
    assert_eq!(record["usage"]["input"], world.sim.only(mark).number("input_tokens"), "{record:#}");
    let nanos = cost("gemini", "embed", &record["usage"]);
    charged(&world, &reply, "embeddings", "gemini/embed", nanos, "reported");
    let poor = with_limit(&world, "poor", "0.000000001");
    let refusal = world.gateway.call(&request("gemini/embed", &json!({})).bearer(&poor.secret));
    assert_refusal(&refusal, Dialect::OpenAi, 402, "spend_limit_reached");
    refused(&world, &request("gemini/embed", &json!({ "input": [1, 2, 3] })), 400, "invalid_parameter");
    refused(&world, &request("voyage/embed", &json!({ "dimensions": 0 })), 400, "invalid_parameter");
    refused(&world, &request("anthropic/embed", &json!({})), 404, "model_not_found");
    let broken = world.call(&request("gemini/broken-json", &json!({})));
    assert_eq!(broken.status, 502, "{}", broken.text());
    let limited = world.call(&request("gemini/429", &json!({})));
    assert_refusal_of_upstream(&limited);
}

fn assert_refusal_of_upstream(reply: &anykey_testkit::Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("Rate limit"), "{}", reply.text());
}
