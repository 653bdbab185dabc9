//! Sound: speech that is silence of the right length, and transcripts that say how long a sound was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::books::Bill;
use crate::call::{Call, Chosen};
use crate::fault::{Fault, FaultKind};
use crate::model::{Kind, Model};
use crate::prompt::Input;
use crate::reply::{Payload, Reply};
use crate::script::Usage;
use crate::text::tokens;

use super::form::Form;
use super::{EVENT_STREAM, model_name, ok, parse};

/// Samples of two bytes in a second.
const RATE: usize = 24_000;
/// Characters that are spoken in a second.
const SPOKEN: usize = 15;

pub(super) fn speech(call: &Call<'_>) -> Result<Reply, Fault> {
    let body = parse(call.body)?;
    let sse = body.get("stream_format").and_then(Value::as_str) == Some("sse");
    let chosen = call.choose(model_name(&body)?, Kind::Speech, sse)?;
    let text = body.get("input").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        return Err(Fault::invalid_param("input", "Missing required parameter: 'input'."));
    }
    if call.strict() && body.get("voice").is_none() {
        return Err(Fault::invalid_param("voice", "Missing required parameter: 'voice'."));
    }
    if call.strict() && text.chars().count() > 4096 {
        return Err(Fault::invalid_param("input", "String should have at most 4096 characters"));
    }
    let format = body.get("response_format").and_then(Value::as_str).unwrap_or("mp3");
    let (kind, a_second) = match format {
        "mp3" => ("audio/mpeg", 16_000),
        "opus" => ("audio/ogg", 4_000),
        "aac" => ("audio/aac", 8_000),
        "flac" => ("audio/flac", 35_000),
        "wav" => ("audio/wav", 2 * RATE),
        "pcm" => ("audio/pcm", 2 * RATE),
        _ => return Err(Fault::invalid_param("response_format", "Invalid value for 'response_format'.")),
    };
    let seconds = text.chars().count().div_ceil(SPOKEN);
    let sound = vec![0_u8; seconds * a_second];
    let (input, output) = (tokens(text.len()), seconds as u64 * 21);
    let bill = Bill { input: Input { fresh: input, ..Input::default() }, usage: Usage { output, reasoning: 0 } };
    let reply = if sse {
        let mut out = String::new();
        for piece in sound.chunks(12_000) {
            let delta = json!({ "type": "speech.audio.delta", "audio": STANDARD.encode(piece) });
            out.push_str(&format!("data: {delta}\n\n"));
        }
        let usage = json!({ "input_tokens": input, "output_tokens": output, "total_tokens": input + output });
        let done = match chosen.model {
            Model::NoUsage => json!({ "type": "speech.audio.done" }),
            _ => json!({ "type": "speech.audio.done", "usage": usage }),
        };
        out.push_str(&format!("data: {done}\n\n"));
        Reply::new(StatusCode::OK, EVENT_STREAM, Payload::Whole(Bytes::from(out)))
    } else {
        Reply::new(StatusCode::OK, HeaderValue::from_static(kind), Payload::Whole(Bytes::from(sound)))
    };
    let Chosen { model, name, control } = chosen;
    Ok(Reply { bill, model: Some((model, name)), control, stream: sse, ..reply })
}

pub(super) fn heard(call: &Call<'_>, path: &str) -> Result<Reply, Fault> {
    if !Form::is_one(call) {
        return Err(Fault::new(FaultKind::Status(415), "Unsupported content type: multipart/form-data is required."));
    }
    let form = Form::read(call)?;
    let stream = form.text("stream") == Some("true");
    let chosen = call.choose(form.text("model").unwrap_or_default(), Kind::Transcription, stream)?;
    let files = form.files("file");
    let [file] = files[..] else { return Err(Fault::invalid_param("file", "Missing required parameter: 'file'.")) };
    let seconds = seconds(file).ok_or_else(|| Fault::invalid_param("file", "Invalid file format."))?;
    let whole = seconds.ceil() as u64;
    let verb = if path.ends_with("translations") { "translated" } else { "heard" };
    let text = format!("{verb} {seconds} seconds");
    // Models that are charged by tokens count ten a second, others say the seconds.
    let by_tokens = chosen.model == Model::Transcribe;
    let (input, output) = (whole * 10, tokens(text.len()));
    let usage = match by_tokens {
        true => json!({
            "type": "tokens",
            "input_tokens": input,
            "output_tokens": output,
            "total_tokens": input + output,
            "input_token_details": { "text_tokens": 0, "audio_tokens": input },
        }),
        false => json!({ "type": "duration", "seconds": whole }),
    };
    let tells = chosen.model != Model::NoUsage;
    let format = form.text("response_format").unwrap_or("json");
    let reply = match format {
        _ if stream => events(&text, tells.then_some(usage)),
        "json" | "diarized_json" => {
            let mut out = json!({ "text": text });
            if tells {
                out["usage"] = usage;
            }
            ok(out.to_string())
        }
        "verbose_json" => {
            let segments = json!([{ "id": 0, "start": 0.0, "end": seconds, "text": text }]);
            let mut out = json!({
                "task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": segments,
            });
            if tells {
                out["usage"] = usage;
            }
            ok(out.to_string())
        }
        "text" => plain(format!("{text}\n")),
        "srt" => plain(format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n")),
        "vtt" => plain(format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n")),
        _ => return Err(Fault::invalid_param("response_format", "Invalid value for 'response_format'.")),
    };
    let usage = if by_tokens { Usage { output, reasoning: 0 } } else { Usage::default() };
    let fresh = if by_tokens { input } else { 0 };
    let bill = Bill { input: Input { fresh, ..Input::default() }, usage };
    let Chosen { model, name, control } = chosen;
    Ok(Reply { bill, model: Some((model, name)), control, stream, ..reply })
}

fn plain(text: String) -> Reply {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Reply::new(StatusCode::OK, kind, Payload::Whole(Bytes::from(text)))
}

fn events(text: &str, usage: Option<Value>) -> Reply {
    let mut out = String::new();
    for word in text.split_inclusive(' ') {
        out.push_str(&format!("data: {}\n\n", json!({ "type": "transcript.text.delta", "delta": word })));
    }
    let mut done = json!({ "type": "transcript.text.done", "text": text });
    if let Some(usage) = usage {
        done["usage"] = usage;
    }
    out.push_str(&format!("data: {done}\n\n"));
    Reply::new(StatusCode::OK, EVENT_STREAM, Payload::Whole(Bytes::from(out)))
}

/// Of samples without compression, by what their head says of a second; of anything else, as at 16 kB/s.
fn seconds(file: &[u8]) -> Option<f64> {
    if file.is_empty() {
        return None;
    }
    if !file.starts_with(b"RIFF") {
        return Some(file.len() as f64 / 16_000.0);
    }
    let rate: [u8; 4] = file.get(28..32)?.try_into().ok()?;
    let rate = u32::from_le_bytes(rate);
    (rate > 0 && file.len() > 44).then(|| (file.len() - 44) as f64 / f64::from(rate))
}
