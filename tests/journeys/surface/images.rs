//! `POST /v1/images/generations`, `edits` and `variations`, in JSON and in forms: charged by the picture or by its tokens.

use super::{Form, assert_behind_the_door, charged, refused, with_limit, world};
use crate::support::{Dialect, assert_refusal};
use anykey_testkit::{Request, nanos};
use serde_json::{Value, json};

const DOLLAR: u64 = 1_000_000_000;

fn generation(members: &Value) -> Request {
    let mut body = json!({ "model": "house/image", "prompt": "a dot" });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post("/v1/images/generations").json(&body)
}

#[test]
fn a_picture_is_charged_by_its_tokens_or_by_itself() {
    let world = world();
    let mark = world.sim.requests();
    let reply = world.call(&generation(&json!({ "n": 2, "size": "1024x1024", "quality": "low" })));
    let entry = world.sim.only(mark);
    assert_eq!(entry.number("output_tokens"), 544);
    let text = entry.number("input_tokens");
    let cost = (text * 5_000_000 + 544 * 32_000_000).div_ceil(1000);
    let record = charged(&world, &reply, "image_generations", "house/image", cost, "reported");
    assert_eq!((&record["usage"]["image"], &record["usage"]["image_out"]), (&json!(2), &json!(544)), "{record:#}");
    assert!(nanos(record["hold_usd"].as_str().unwrap()) >= cost, "{record:#}");
    for (members, cost) in [
        (json!({}), 40 * DOLLAR / 1000),
        (json!({ "n": 3 }), 120 * DOLLAR / 1000),
        (json!({ "quality": "hd" }), 80 * DOLLAR / 1000),
        (json!({ "quality": "hd", "size": "1024x1792" }), 120 * DOLLAR / 1000),
        (json!({ "quality": "hd", "size": "1024x1024" }), 80 * DOLLAR / 1000),
        (json!({ "quality": "auto", "size": "auto" }), 40 * DOLLAR / 1000),
    ] {
        let mut members = members;
        members["model"] = json!("house/picture");
        let reply = world.call(&generation(&members));
        charged(&world, &reply, "image_generations", "house/picture", cost, "reported");
    }
    assert_behind_the_door(&world, "image_generations", &generation(&json!({ "quality": "low" })));
}

#[test]
fn forms_go_up_as_they_came_but_for_the_models_name() {
    let world = world();
    let form = |path: &str| {
        Form::new(path)
            .value("prompt", "a dot")
            .file("image[]", "a.png", b"\x89PNG\r\n--almost\0")
            .file("image[]", "b.png", b"\x89PNG")
            .value("model", "house/image")
            .value("quality", "low")
            .value("n", "2")
    };
    let mark = world.sim.requests();
    let sent = form("/v1/images/edits").request();
    let reply = world.call(&sent);
    let record = charged_any(&world, &reply, "image_edits");
    assert_eq!(record["usage"]["image"], 2, "{record:#}");
    let entry = world.sim.only(mark);
    let before = String::from_utf8_lossy(sent.body.as_ref().unwrap()).replace("house/image", "image");
    assert_eq!(entry.text("body"), before, "nothing else is touched");
    assert_eq!(entry.text("model"), "image");
    let reply = world.call(&form("/v1/images/variations").request());
    charged_any(&world, &reply, "image_variations");
    let in_json =
        json!({ "model": "house/image", "prompt": "x", "images": [{ "image_url": "https://example.com/a.png" }] });
    let reply = world.call(&Request::post("/v1/images/edits").json(&in_json));
    charged_any(&world, &reply, "image_edits");
    assert_behind_the_door(&world, "image_edits", &form("/v1/images/edits").request());
}

fn charged_any(world: &crate::support::World, reply: &anykey_testkit::Reply, endpoint: &str) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = world.gateway.record(reply.id());
    assert_eq!((&record["endpoint"], &record["usage_source"]), (&json!(endpoint), &json!("reported")), "{record:#}");
    assert!(nanos(record["cost_usd"].as_str().unwrap()) > 0, "{record:#}");
    record
}

#[test]
fn unfinished_pictures_pass_and_every_finished_one_is_charged() {
    let world = world();
    let members = json!({ "stream": true, "partial_images": 2, "n": 2, "quality": "medium", "size": "1024x1024" });
    for shred in ["", "?shred=7"] {
        let mut members = members.clone();
        members["model"] = json!(format!("house/image{shred}"));
        let mark = world.sim.requests();
        let reply = world.call(&generation(&members));
        assert!(reply.whole && reply.header("content-type").unwrap().starts_with("text/event-stream"));
        let text = reply.text();
        assert_eq!(text.matches("event: image_generation.partial_image").count(), 4, "{text}");
        assert_eq!(text.matches("event: image_generation.completed").count(), 2, "{text}");
        let record = charged_any(&world, &reply, "image_generations");
        let billed = world.sim.only(mark).number("output_tokens");
        assert_eq!(
            (&record["usage"]["image"], &record["usage"]["image_out"]),
            (&json!(2), &json!(billed)),
            "{record:#}"
        );
    }
    // One that breaks is charged for what was asked, and its caller is told.
    let mut broken = members.clone();
    broken["model"] = json!("house/image?cut_after=700");
    let reply = world.call(&generation(&broken));
    assert!(!reply.whole, "{}", reply.text());
    let record = world.gateway.record(reply.id());
    assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("broken"), &json!("estimated")), "{record:#}");
    assert!(nanos(record["cost_usd"].as_str().unwrap()) > 0, "{record:#}");
}

#[test]
fn money_is_held_for_the_largest_picture_that_may_come() {
    let world = world();
    let call = |usd: &str, members: Value| {
        let key = with_limit(&world, &format!("limit {usd} {members}"), usd);
        world.gateway.call(&generation(&members).bearer(&key.secret))
    };
    // 4,160 tokens at 32 dollars a million are 13 cents; low quality is nine tenths of a cent.
    assert_refusal(
        &call("0.10", json!({ "quality": "high", "size": "1024x1024" })),
        Dialect::OpenAi,
        402,
        "spend_limit_reached",
    );
    assert_eq!(call("0.10", json!({ "quality": "low", "size": "1024x1024" })).status, 200);
    assert_refusal(
        &call("0.10", json!({ "quality": "low", "size": "1024x1024", "n": 5 })),
        Dialect::OpenAi,
        402,
        "spend_limit_reached",
    );
    assert_refusal(
        &call("0.10", json!({ "model": "house/picture", "n": 3 })),
        Dialect::OpenAi,
        402,
        "spend_limit_reached",
    );
    assert_eq!(call("0.10", json!({ "model": "house/picture", "n": 2 })).status, 200);
}

#[test]
fn forms_that_can_be_read_in_two_ways_are_refused_here() {
    let world = world();
    let form = || Form::new("/v1/images/edits").value("prompt", "x").file("image", "a.png", b"x");
    for (form, code) in [
        (form(), "invalid_parameter"),
        (form().value("model", "house/image").value("model", "house/echo"), "duplicate_json_key"),
        (form().value("model", "house/image").value("Model", "house/echo"), "invalid_parameter"),
        (form().value("model[]", "house/image"), "invalid_parameter"),
        (form().file("model", "m.txt", b"house/image"), "invalid_parameter"),
        (form().value("model", "house/image").value("n", "two"), "invalid_parameter"),
        (form().value("model", "house/image").value("n", "1000"), "invalid_parameter"),
        (form().value("model", "house/image").value("stream", "perhaps"), "invalid_parameter"),
        (form().value("model", "house/image\r\n--b"), "invalid_parameter"),
    ] {
        refused(&world, &form.request(), 400, code);
    }
    let mut cut = form().value("model", "house/image").request();
    let length = cut.body.as_ref().unwrap().len();
    cut.body.as_mut().unwrap().truncate(length - 6);
    refused(&world, &cut, 400, "invalid_parameter");
    let in_json = json!({ "model": "house/image" });
    refused(&world, &Request::post("/v1/images/variations").json(&in_json), 415, "unsupported_media_type");
    let elsewhere = Request { target: "/v1/chat/completions".into(), ..form().request() };
    refused(&world, &elsewhere, 415, "unsupported_media_type");
    let mut boundless = form().value("model", "house/image").request();
    for (name, value) in &mut boundless.headers {
        if name == "content-type" {
            *value = "multipart/form-data".into();
        }
    }
    refused(&world, &boundless, 415, "unsupported_media_type");
}
