//! `POST /v1/audio/speech`, `transcriptions` and `translations`: sound out, and sound in.

use super::{Form, assert_behind_the_door, charged, refused, with_limit, world};
use crate::support::{Dialect, World, assert_refusal};
use anykey_testkit::{Request, nanos};
use serde_json::{Value, json};

fn speech(members: &Value) -> Request {
    let mut body = json!({ "model": "house/speech", "input": "thirty characters of plain text", "voice": "alloy" });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post("/v1/audio/speech").json(&body)
}

/// Silence of so many seconds, as samples of 16 bits at 16,000 Hz.
fn silence(seconds: usize) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    file.extend_from_slice(&16_000_u32.to_le_bytes());
    file.extend_from_slice(&32_000_u32.to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data\0\0\0\0");
    file.resize(44 + seconds * 32_000, 0);
    file
}

fn transcription(model: &str, seconds: usize) -> Form {
    Form::new("/v1/audio/transcriptions").file("file", "a.wav", &silence(seconds)).value("model", model)
}

fn record(world: &World, id: &str) -> Value {
    world.gateway.record(id)
}

#[test]
fn speech_is_charged_by_the_character_and_comes_as_it_is_made() {
    let world = world();
    let cost = 31 * 15_000;
    for (format, kind, bytes) in
        [("mp3", "audio/mpeg", 48_000), ("pcm", "audio/pcm", 144_000), ("opus", "audio/ogg", 12_000)]
    {
        for shred in ["", "?shred=4096"] {
            let members = json!({ "model": format!("house/speech{shred}"), "response_format": format });
            let reply = world.call(&speech(&members));
            assert!(reply.whole && reply.status == 200, "{}", reply.text());
            assert_eq!((reply.header("content-type"), reply.body.len()), (Some(kind), bytes), "{format}");
            let model = members["model"].as_str().unwrap();
            let record = charged(&world, &reply, "speech", model, cost, "estimated");
            assert_eq!(
                (&record["usage"]["character"], &record["bytes_out"]),
                (&json!(31), &json!(bytes)),
                "{record:#}"
            );
        }
    }
    let mark = world.sim.requests();
    let reply = world.call(&speech(&json!({ "stream_format": "sse" })));
    assert!(reply.whole && reply.text().contains("speech.audio.done"), "{}", reply.text());
    let record = charged(&world, &reply, "speech", "house/speech", cost, "reported");
    assert_eq!(record["usage"]["output"], world.sim.only(mark).number("output_tokens"), "{record:#}");
    assert_behind_the_door(&world, "speech", &speech(&json!({})));
}

#[test]
fn speech_that_breaks_never_looks_whole_and_is_charged() {
    let world = world();
    let reply = world.call(&speech(&json!({ "model": "house/speech?cut_after=9000" })));
    assert_eq!((reply.status, reply.whole), (200, false));
    let record = record(&world, reply.id());
    assert_eq!((&record["outcome"], &record["code"]), (&json!("broken"), &json!("upstream_error")), "{record:#}");
    assert_eq!(nanos(record["cost_usd"].as_str().unwrap()), 31 * 15_000, "{record:#}");
    let reply = world.call(&speech(&json!({ "voice": null, "input": "" })));
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(record_of_error(&world, reply.id()), "0");
}

fn record_of_error(world: &World, id: &str) -> String {
    record(world, id)["cost_usd"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_heard_is_charged_by_the_second_or_by_tokens_in_every_format() {
    let world = world();
    for format in ["json", "verbose_json", "text", "srt", "vtt"] {
        let form = transcription("house/listen", 7).value("response_format", format);
        let reply = world.call(&form.request());
        assert!(reply.text().contains("heard 7 seconds"), "{format}: {}", reply.text());
        let source = if format.ends_with("json") { "reported" } else { "estimated" };
        let record = charged(&world, &reply, "transcriptions", "house/listen", 700_000, source);
        assert_eq!(record["usage"]["second"], 7, "{record:#}");
    }
    let mark = world.sim.requests();
    let reply = world.call(&transcription("house/transcribe", 7).request());
    let entry = world.sim.only(mark);
    let cost = (entry.number("input_tokens") * 6_000_000 + entry.number("output_tokens") * 10_000_000).div_ceil(1000);
    charged(&world, &reply, "transcriptions", "house/transcribe", cost, "reported");
    assert_eq!(entry.text("model"), "transcribe");

    let reply = world.call(&transcription("house/transcribe", 7).value("stream", "true").request());
    assert!(reply.whole && reply.text().contains("transcript.text.done"), "{}", reply.text());
    let record = charged(&world, &reply, "transcriptions", "house/transcribe", cost, "reported");
    assert_eq!(record["stream"], true);

    let translated = Form { path: "/v1/audio/translations".into(), ..transcription("house/listen", 2) };
    let reply = world.call(&translated.request());
    assert!(reply.text().contains("translated 2 seconds"), "{}", reply.text());
    charged(&world, &reply, "translations", "house/listen", 200_000, "reported");
    assert_behind_the_door(&world, "transcriptions", &transcription("house/listen", 1).request());
}

#[test]
fn money_is_held_for_as_long_as_a_sound_can_be() {
    let world = world();
    let call = |name: &str, usd: &str, file: &[u8]| {
        let key = with_limit(&world, name, usd);
        let form = Form::new("/v1/audio/transcriptions").file("file", "a", file).value("model", "house/listen");
        world.gateway.call(&form.request().bearer(&key.secret))
    };
    // Seven seconds at a tenth of a thousandth of a dollar, and one more for what a head may round away.
    assert_eq!(call("known", "0.0008", &silence(7)).status, 200);
    assert_refusal(&call("short", "0.0007", &silence(7)), Dialect::OpenAi, 402, "spend_limit_reached");
    // Of what is not known any byte may be two thousandths of a second.
    assert_refusal(&call("unknown", "0.0099", &[1; 50_000]), Dialect::OpenAi, 402, "spend_limit_reached");
    assert_eq!(call("enough", "0.0100", &[1; 50_000]).status, 200);
}

#[test]
fn what_is_no_form_or_no_sound_is_refused_here() {
    let world = world();
    let no_file = Form::new("/v1/audio/transcriptions").value("model", "house/listen");
    refused(&world, &no_file.request(), 400, "invalid_parameter");
    let two = transcription("house/listen", 1).file("file", "b.wav", b"x");
    refused(&world, &two.request(), 400, "duplicate_json_key");
    let as_text = Form::new("/v1/audio/transcriptions").value("model", "house/listen").value("file", "x");
    refused(&world, &as_text.request(), 400, "invalid_parameter");
    let in_json = Request::post("/v1/audio/transcriptions").json(&json!({ "model": "house/listen" }));
    refused(&world, &in_json, 415, "unsupported_media_type");
    refused(&world, &transcription("anthropic/echo", 1).request(), 404, "model_not_found");
    refused(&world, &Request::post("/v1/audio/speech").body("{"), 400, "invalid_json");
}
