//! Pictures: a dot, as often as it was asked for, with the counts of OpenAI's own table.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::books::Bill;
use crate::call::{Call, Chosen};
use crate::fault::Fault;
use crate::model::{Kind, Model};
use crate::prompt::Input;
use crate::reply::{Payload, Reply};
use crate::script::Usage;
use crate::text::tokens;

use super::form::Form;
use super::{EVENT_STREAM, model_name, number, ok, parse, wants_stream};

/// A PNG of one pixel.
const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// What was asked for, in JSON or in a form.
struct Wish {
    chosen: Chosen,
    prompt: String,
    n: u64,
    size: String,
    quality: String,
    stream: bool,
    partial: u64,
    pictures: usize,
}

pub(super) fn answer(call: &Call<'_>, path: &str) -> Result<Reply, Fault> {
    let variation = path.ends_with("variations");
    let edit = path.ends_with("edits");
    let wish = if Form::is_one(call) { of_form(call)? } else { of_json(call)? };
    let missing = |name: &str| Fault::invalid_param(name, format!("Missing required parameter: '{name}'."));
    if !variation && wish.prompt.is_empty() {
        return Err(missing("prompt"));
    }
    if (variation || edit) && wish.pictures == 0 {
        return Err(missing("image"));
    }
    if call.strict() && !matches!(&*wish.quality, "low" | "medium" | "high" | "auto" | "hd" | "standard") {
        return Err(Fault::invalid_param("quality", "Invalid value for 'quality'."));
    }
    let one = of_table(&wish.size, &wish.quality) + 100 * wish.partial;
    let text = tokens(wish.prompt.len());
    let image = 194 * wish.pictures as u64;
    let bill = Bill {
        input: Input { fresh: text + image, ..Input::default() },
        usage: Usage { output: one * wish.n, reasoning: 0 },
    };
    let counts = |n: u64| {
        json!({
            "total_tokens": text + image + one * n,
            "input_tokens": text + image,
            "output_tokens": one * n,
            "input_tokens_details": { "text_tokens": text, "image_tokens": image },
        })
    };
    let tells = wish.chosen.model == Model::Image;
    let reply = if wish.stream {
        let prefix = if edit { "image_edit" } else { "image_generation" };
        events(call, &wish, prefix, tells.then(|| counts(1)))
    } else {
        let data: Vec<Value> = (0..wish.n).map(|_| json!({ "b64_json": DOT })).collect();
        let mut out = json!({ "created": call.created, "data": data });
        if tells {
            out["usage"] = counts(wish.n);
        }
        ok(out.to_string())
    };
    let Chosen { model, name, control } = wish.chosen;
    Ok(Reply { bill, model: Some((model, name)), control, stream: wish.stream, ..reply })
}

/// Each picture comes unfinished as often as was asked, and then finished; the stream ends without a word.
fn events(call: &Call<'_>, wish: &Wish, prefix: &str, counts: Option<Value>) -> Reply {
    let mut out = String::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = json!(format!("{prefix}.{kind}"));
        out.push_str(&format!("event: {prefix}.{kind}\ndata: {data}\n\n"));
    };
    let head = || json!({ "b64_json": DOT, "created_at": call.created, "size": wish.size, "quality": wish.quality });
    for _ in 0..wish.n {
        for index in 0..wish.partial {
            let mut data = head();
            data["partial_image_index"] = json!(index);
            event("partial_image", data);
        }
        let mut data = head();
        if let Some(counts) = &counts {
            data["usage"] = counts.clone();
        }
        event("completed", data);
    }
    Reply::new(http::StatusCode::OK, EVENT_STREAM, Payload::Whole(Bytes::from(out)))
}

/// By size and quality, as OpenAI publishes it; what is not in it is refused there and large here.
fn of_table(size: &str, quality: &str) -> u64 {
    match (quality, size) {
        ("low", "1024x1536") => 400,
        ("low", "1536x1024") => 408,
        ("low", _) => 272,
        ("medium", "1024x1536") => 1568,
        ("medium", "1536x1024") => 1584,
        ("medium", _) => 1056,
        (_, "1024x1536") => 6208,
        (_, "1536x1024") => 6240,
        _ => 4160,
    }
}

fn of_json(call: &Call<'_>) -> Result<Wish, Fault> {
    let body = parse(call.body)?;
    let stream = wants_stream(&body);
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let or_auto = |name: &str| Some(text(name)).filter(|t| !t.is_empty()).unwrap_or_else(|| "auto".to_owned());
    Ok(Wish {
        chosen: call.choose(model_name(&body)?, Kind::Image, stream)?,
        prompt: text("prompt"),
        n: number(&body, "n", 1, call.strict())?.unwrap_or(1),
        size: or_auto("size"),
        quality: or_auto("quality"),
        stream,
        partial: number(&body, "partial_images", 0, call.strict())?.unwrap_or(0),
        pictures: body.get("images").and_then(Value::as_array).map_or(0, Vec::len),
    })
}

fn of_form(call: &Call<'_>) -> Result<Wish, Fault> {
    let form = Form::read(call)?;
    let text = |name: &str| form.text(name).unwrap_or_default().to_owned();
    let or_auto = |name: &str| Some(text(name)).filter(|t| !t.is_empty()).unwrap_or_else(|| "auto".to_owned());
    let count = |name: &str, least: u64| form.text(name).and_then(|n| n.parse().ok()).unwrap_or(least);
    let stream = form.text("stream") == Some("true");
    Ok(Wish {
        chosen: call.choose(form.text("model").unwrap_or_default(), Kind::Image, stream)?,
        prompt: text("prompt"),
        n: count("n", 1),
        size: or_auto("size"),
        quality: or_auto("quality"),
        stream,
        partial: count("partial_images", 0),
        pictures: form.files("image").len() + form.files("mask").len(),
    })
}
