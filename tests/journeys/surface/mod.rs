//! What is served beside text and vectors: each endpoint through the same door, at its own price, to the same record.

mod audio;
mod embeddings;
mod images;
mod moderations;
mod rerank;

use crate::support::{Dialect, World, assert_refusal, setup};
use anykey_testkit::{Key, Reply, Request, Setup, TestSim};
use serde_json::{Value, json};

/// The practice provider behind the kinds that serve these endpoints, each with the shape of its own.
fn world() -> World {
    let sim = TestSim::start();
    let (url, secret) = (sim.url(), Setup::credential("openai"));
    let gateway = setup()
        .sim(&sim)
        .provider("house", "compatible", &format!("{url}/v1"), secret)
        .provider("mistral", "mistral", &format!("{url}/v1"), secret)
        .provider("cohere", "cohere", &url, secret)
        .provider("jina", "jina", &format!("{url}/v1"), secret)
        .provider("voyage", "voyage", &format!("{url}/voyage/v1"), secret)
        .start();
    let key = gateway.key("journey");
    World { sim, gateway, key }
}

/// A form that is being filled in.
struct Form {
    path: String,
    body: Vec<u8>,
}

impl Form {
    fn new(path: &str) -> Form {
        Form { path: path.into(), body: Vec::new() }
    }

    fn value(self, name: &str, value: &str) -> Form {
        self.part(&format!("name=\"{name}\""), value.as_bytes())
    }

    fn file(self, name: &str, file: &str, content: &[u8]) -> Form {
        let head = format!("name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream");
        self.part(&head, content)
    }

    fn part(mut self, head: &str, content: &[u8]) -> Form {
        self.body.extend_from_slice(format!("--bound\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        self.body.extend_from_slice(content);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    fn request(self) -> Request {
        let mut request = Request::post(self.path).header("content-type", "multipart/form-data; boundary=bound");
        request.body = Some([&*self.body, b"--bound--\r\n"].concat());
        request
    }
}

fn with_limit(world: &World, name: &str, usd: &str) -> Key {
    world.gateway.key_with(name, json!({ "spend_limits": [{ "window": "total", "usd": usd }] }))
}

fn refused(world: &World, request: &Request, status: u16, code: &str) -> String {
    let mark = world.sim.requests();
    let message = assert_refusal(&world.call(request), Dialect::OpenAi, status, code);
    assert_eq!(world.sim.requests(), mark, "nothing is asked of a provider");
    message
}

/// Its record, which says what was asked and that it was charged in this way.
fn charged(world: &World, reply: &Reply, endpoint: &str, model: &str, nanos: u64, source: &str) -> Value {
    let record = world.gateway.record(reply.id());
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!((&record["endpoint"], &record["model_asked"]), (&json!(endpoint), &json!(model)), "{record:#}");
    assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("completed"), &json!(source)), "{record:#}");
    assert_eq!(anykey_testkit::nanos(record["cost_usd"].as_str().unwrap()), nanos, "{record:#}");
    record
}

/// What every endpoint stands behind: scope, lists of endpoints and of models, and the end of money.
fn assert_behind_the_door(world: &World, endpoint: &str, request: &Request) {
    let key = |name: &str, body: Value| world.gateway.key_with(&format!("{name}-{endpoint}"), body);
    let call = |key: &Key| world.gateway.call(&request.clone().bearer(&key.secret));
    let mark = world.sim.requests();
    let reader = key("reader", json!({ "scopes": ["models:read"] }));
    assert_refusal(&call(&reader), Dialect::OpenAi, 403, "scope_missing");
    let elsewhere = key("elsewhere", json!({ "controls": { "endpoints": ["chat_completions"] } }));
    assert_refusal(&call(&elsewhere), Dialect::OpenAi, 403, "endpoint_not_allowed");
    let others = key("others", json!({ "controls": { "models": { "allow": ["openai/gpt-*"] } } }));
    assert_refusal(&call(&others), Dialect::OpenAi, 403, "model_not_allowed");
    let browser = request.clone().header("origin", "https://example.com");
    let from_page = world.gateway.call(&browser.bearer(&world.key.secret));
    assert_refusal(&from_page, Dialect::OpenAi, 403, "browser_use_forbidden");
    let poor = with_limit(world, &format!("poor-{endpoint}"), "0.000000001");
    let refusal = call(&poor);
    assert_refusal(&refusal, Dialect::OpenAi, 402, "spend_limit_reached");
    assert_eq!(world.sim.requests(), mark, "nothing is asked of a provider");
    let record = world.gateway.record(refusal.id());
    assert_eq!((&record["outcome"], &record["cost_usd"]), (&json!("refused"), &json!("0")), "{record:#}");
    let only = key("only", json!({ "controls": { "endpoints": [endpoint] } }));
    let allowed = call(&only);
    assert_eq!(allowed.status, 200, "{}", allowed.text());
}
