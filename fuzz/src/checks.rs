//! The properties that must hold for any bytes. Used by the fuzz targets, and by `crates/dialect/tests` on stable.

use anykey_core::{Code, Dialect, Endpoint, Refusal, Unit};
use anykey_dialect::error::{RetryHints, render, upstream_error as read_error};
use anykey_dialect::head::{Head, IncludeUsage, scan};
use anykey_dialect::splice::rewrite;
use anykey_dialect::stream::{End, StreamFault, StreamKind, StreamMeter};
use anykey_dialect::translate::{self, Api, Caller, Reply, StreamTranslator, Target};
use anykey_dialect::usage;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// The first byte chooses, the rest is the body.
fn endpoint(data: &[u8]) -> Option<(Endpoint, &[u8])> {
    let (first, body) = data.split_first()?;
    Some((Endpoint::ALL[usize::from(*first) % 11], body))
}

/// The members of an object with their values as written, repeated ones too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        d.deserialize_map(MembersVisitor)
    }
}

impl Members {
    fn has_repeats(&self) -> bool {
        let plain = |key: &str| key.replace('_', "").to_ascii_lowercase();
        let mut keys: Vec<_> = self.0.iter().map(|(key, _)| plain(key)).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    fn inner(&self, names: &[&str]) -> Option<Members> {
        let (_, value) = self.0.iter().find(|(key, _)| names.contains(&key.as_str()))?;
        serde_json::from_str(value.get()).ok()
    }
}

/// `scan` agrees with serde_json on what is JSON and on every value it reads; it is stricter only where it says so.
pub fn head_scan(data: &[u8]) {
    let Some((endpoint, body)) = endpoint(data) else { return };
    let scanned = scan(endpoint, body);
    let parsed = serde_json::from_slice::<Value>(body);
    match (&scanned, &parsed) {
        (Ok(_), Err(error)) => {
            let error = error.to_string();
            // Values of numbers are not ours to judge, and our depth is one more than serde_json's.
            assert!(error.contains("number out of range") || error.contains("recursion limit"), "accepted: {error}");
            assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok());
        }
        (Err(refusal), Ok(Value::Object(_))) => justified(refusal, endpoint, body),
        (Err(refusal), _) => assert_eq!(refusal.status(), 400),
        (Ok(head), Ok(value)) => same_values(endpoint, head, value),
    }
    if let Ok(head) = &scanned {
        spans_hold(head, body);
    }
}

fn justified(refusal: &Refusal, endpoint: Endpoint, body: &[u8]) {
    let members: Members = serde_json::from_slice(body).expect("an object");
    let repeats = |names: &[&str]| members.inner(names).is_some_and(|inner| inner.has_repeats());
    let has_repeats = members.has_repeats()
        || repeats(&["stream_options"])
        || repeats(&["generationConfig"])
        || repeats(&["generation_config"]);
    match refusal.code {
        Code::DuplicateJsonKey => assert!(has_repeats, "{refusal}"),
        // Of a repeated member serde_json keeps one; the other may have been bad.
        Code::InvalidParameter if has_repeats => {}
        Code::InvalidParameter => {
            let param = refusal.param.as_deref().expect("a parameter is named");
            let leaf = param.rsplit('.').next().unwrap_or(param);
            let is_lookalike =
                leaf.bytes().any(|b| !b.is_ascii_lowercase() && b != b'_') && refusal.message.contains("case");
            let value: Value = serde_json::from_slice(body).expect("an object");
            assert!(is_lookalike || has_bad(&value, leaf), "{refusal}");
        }
        Code::ConflictingModel => assert!(endpoint.upstream_path("m").contains('m')),
        _ => panic!("valid JSON was refused: {refusal}"),
    }
}

/// Whether a member of that name holds what it may not, anywhere.
fn has_bad(value: &Value, name: &str) -> bool {
    let is_bad = |value: &Value| match name {
        "model" => value.as_str().is_none_or(|m| m.is_empty() || m.len() > 256 || m.chars().any(char::is_control)),
        "stream" | "include_usage" => !(value.is_boolean() || value.is_null()),
        "stream_options" | "generationConfig" | "generation_config" => !(value.is_object() || value.is_null()),
        "requests" => !value.is_array(),
        "n" | "best_of" | "candidateCount" | "candidate_count" => {
            !(value.is_null() || value.as_u64().is_some_and(|n| (1..=128).contains(&n)))
        }
        _ => !(value.is_null() || value.as_u64().is_some_and(|n| n >= 1 && n <= i64::MAX as u64)),
    };
    match value {
        Value::Object(members) => members.iter().any(|(key, v)| (key == name && is_bad(v)) || has_bad(v, name)),
        Value::Array(elements) => elements.iter().any(|v| has_bad(v, name)),
        _ => false,
    }
}

fn same_values(endpoint: Endpoint, head: &Head, value: &Value) {
    let gemini = endpoint as u8 >= Endpoint::GenerateContent as u8;
    if gemini {
        if let Some(model) = value["model"].as_str() {
            assert_eq!(head.body_model.as_deref(), Some(model.strip_prefix("models/").unwrap_or(model)));
        }
        assert_eq!(head.stream, endpoint == Endpoint::StreamGenerateContent);
        return;
    }
    assert_eq!(head.model_name.as_deref(), value["model"].as_str());
    if endpoint != Endpoint::Embeddings {
        assert_eq!(head.stream, value["stream"].as_bool().unwrap_or(false));
    }
    let bounds: &[&str] = match endpoint {
        Endpoint::ChatCompletions => &["max_tokens", "max_completion_tokens"],
        Endpoint::Responses => &["max_output_tokens"],
        Endpoint::Embeddings => &[],
        _ => &["max_tokens"],
    };
    assert_eq!(head.max_tokens, bounds.iter().filter_map(|name| value[name].as_u64()).max());
    if endpoint == Endpoint::ChatCompletions {
        assert_eq!(head.n, value["n"].as_u64().unwrap_or(1));
        let asked = value["stream_options"]["include_usage"].as_bool() == Some(true);
        assert_eq!(head.include_usage == IncludeUsage::On, asked);
    }
    assert_eq!(head.encoding_base64, endpoint == Endpoint::Embeddings && value["encoding_format"] == "base64");
}

/// Spans are what they say.
fn spans_hold(head: &Head, body: &[u8]) {
    if let Some(span) = head.model {
        let text: String = serde_json::from_slice(&body[span.start..span.end]).expect("the span is a string");
        assert_eq!(Some(text), head.model_name);
    }
    for span in &head.body_model_spans {
        let text: String = serde_json::from_slice(&body[span.start..span.end]).expect("the span is a string");
        assert_eq!(Some(text.strip_prefix("models/").unwrap_or(&text)), head.body_model.as_deref());
    }
}

/// A rewritten body differs in the model and the usage flag, in nothing else.
pub fn splice(data: &[u8]) {
    const MODEL: &str = "new/\"model\\\u{1}é";
    let Some((endpoint, body)) = endpoint(data) else { return };
    let body = Bytes::copy_from_slice(body);
    let Ok(head) = scan(endpoint, &body) else { return };
    let untouched = rewrite(&body, &head, head.model_name.as_deref(), false);
    assert_eq!(untouched.as_ptr(), body.as_ptr(), "nothing changes, nothing is copied");

    let quoted = serde_json::to_string(MODEL).expect("a string");
    if let Some(span) = head.model {
        let expected = [&body[..span.start], quoted.as_bytes(), &body[span.end..]].concat();
        let model_only = rewrite(&body, &head, Some(MODEL), false);
        // Escapes may be spelled in more than one way.
        assert_eq!(model_only.len(), expected.len());
        assert_eq!(model_only[..span.start], expected[..span.start]);
        assert_eq!(model_only[model_only.len() - (body.len() - span.end)..], body[span.end..]);
    }
    let both = rewrite(&body, &head, Some(MODEL), true);
    let (Ok(mut before), Ok(after)) = (serde_json::from_slice::<Value>(&body), serde_json::from_slice::<Value>(&both))
    else {
        // Numbers that serde_json cannot hold.
        return;
    };
    if head.model.is_some() {
        before["model"] = MODEL.into();
    }
    if head.include_usage != IncludeUsage::Unsupported {
        if !before["stream_options"].is_object() {
            before["stream_options"] = serde_json::json!({});
        }
        before["stream_options"]["include_usage"] = true.into();
    }
    if head.body_model.is_none() {
        assert_eq!(before, after);
    }
    if head.model.is_some() {
        // The control character in it would be refused from a caller.
        let again = scan(endpoint, &rewrite(&body, &head, Some("new"), true)).expect("a rewritten body is valid");
        assert_eq!(again.model_name.as_deref(), Some("new"));
        assert!(matches!(again.include_usage, IncludeUsage::On | IncludeUsage::Unsupported));
    }
}

/// Everything that a meter told about a stream.
#[derive(Debug, PartialEq)]
pub struct Observed {
    pub pushed: Vec<u8>,
    pub held: Vec<u8>,
    pub end: End,
    pub usage: Option<anykey_core::Usage>,
    pub model: Option<String>,
    pub id: Option<String>,
    pub output_bytes: u64,
    pub error: Option<(u16, String)>,
}

/// Runs a stream through a meter in the pieces given.
pub fn observe<'a>(
    kind: StreamKind,
    withhold: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Observed, StreamFault> {
    let mut meter = StreamMeter::new(kind, withhold);
    let (mut pushed, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        meter.feed(Bytes::copy_from_slice(piece), &mut pushed)?;
    }
    let end = meter.finish(&mut pushed);
    if end == End::Complete {
        meter.release(&mut held);
    }
    Ok(Observed {
        pushed: pushed.concat(),
        held: held.concat(),
        end,
        usage: meter.usage(),
        model: meter.model_served().map(str::to_owned),
        id: meter.response_id().map(str::to_owned),
        output_bytes: meter.output_bytes(),
        error: meter.error().map(|e| (e.status, e.message.clone())),
    })
}

/// Cuts bytes into pieces of pseudo-random length from 0 to 40.
pub fn shred(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let (mut pieces, mut rest, mut state) = (Vec::new(), bytes, seed | 1);
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (piece, tail) = rest.split_at(((state >> 32) as usize % 41).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

/// However a stream is cut into reads, the same bytes leave and the same is learnt.
pub fn stream_meter(data: &[u8]) {
    let [kind, withhold, bytes @ ..] = data else { return };
    let kind = StreamKind::ALL[usize::from(*kind) % 6];
    let withhold = withhold & 1 == 1;
    let whole = observe(kind, withhold, std::iter::once(bytes)).expect("no frame is too large");
    let seed =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    for pieces in [bytes.chunks(1).collect(), bytes.chunks(7).collect(), shred(bytes, seed)] {
        let cut = observe(kind, withhold, pieces.into_iter()).expect("no frame is too large");
        assert_eq!(cut, whole);
    }
    if !withhold {
        let left = [whole.pushed, whole.held].concat();
        assert!(bytes.starts_with(&left), "what left is what came");
    }
}

/// Counts never exceed what they are parts of, and only a whole document is complete.
pub fn read_answer(data: &[u8]) {
    let Some((endpoint, body)) = endpoint(data) else { return };
    let answer = usage::read_answer(endpoint, body);
    let parsed = serde_json::from_slice::<Value>(body);
    if parsed.is_ok() {
        assert!(answer.complete);
    }
    if answer.complete {
        assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok());
    }
    let (Some(counted), Ok(value)) = (answer.usage, parsed) else { return };
    let counts = &value["usage"];
    let whole = |name: &str| counts[name].is_null() || counts[name].is_u64();
    let chat = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
    if chat && counts.is_object() && whole("prompt_tokens") && whole("input_tokens") {
        let given = |name: &str| counts[name].as_u64().unwrap_or(0);
        assert_eq!(counted.input_tokens(), given("prompt_tokens").max(given("input_tokens")));
        assert!(counted.output_tokens() >= given("completion_tokens").max(given("output_tokens")));
        assert_eq!(counted.get(Unit::Request), 1);
    }
}

/// Whatever a provider answers, the caller gets an error in the caller's dialect.
pub fn upstream_error(data: &[u8]) {
    let [choice, status, body @ ..] = data else { return };
    let provider = Dialect::ALL[usize::from(*choice) % 3];
    let status = 400 + u16::from(*status) % 200;
    let body = Bytes::copy_from_slice(body);
    for caller in Dialect::ALL {
        let error = read_error(provider, caller, "p", status, &body, RetryHints::default(), "req_1");
        assert!(error.message.len() <= 512 && !error.message.chars().any(char::is_control));
        assert!(error.status == status || error.credential_refused());
        let mut shape: Value = serde_json::from_slice(error.body()).expect("JSON");
        if let Value::Array(list) = &mut shape {
            shape = list.swap_remove(0);
        }
        let message = &shape["error"]["message"];
        assert!(message.is_string(), "{shape}");
        match caller {
            Dialect::OpenAi => {}
            Dialect::Anthropic => assert_eq!(shape["type"], "error"),
            Dialect::Gemini => assert!(shape["error"]["code"].is_number()),
        }
    }
    let refusal = Refusal::new(Code::UpstreamError, String::from_utf8_lossy(&body).into_owned());
    for dialect in Dialect::ALL {
        let _: Value = serde_json::from_slice(&render(dialect, &refusal, "req_1")).expect("JSON");
    }
}

/// The first byte chooses a pair that is served, the rest is the input.
fn pair(data: &[u8]) -> Option<(Api, Api, &[u8])> {
    let (first, rest) = data.split_first()?;
    let all = Api::ALL.into_iter().flat_map(|client| Api::ALL.map(|provider| (client, provider)));
    let served: Vec<_> = all.filter(|(client, provider)| client.reaches(*provider)).collect();
    let (client, provider) = served[usize::from(*first) % served.len()];
    Some((client, provider, rest))
}

/// A request that is translated is one that the provider's own reader accepts, the same every time, and no secret way
/// around the bound that was checked: it is scanned again before it is held and sent.
pub fn translate_request(data: &[u8]) {
    let Some((client, provider, body)) = pair(data) else { return };
    let endpoint = client.endpoint(body.len() % 2 == 0);
    if scan(endpoint, body).is_err() {
        return;
    }
    let caller = Caller { endpoint, model: "asked", id: "req_1", now: 1, array: false };
    let target = Target { api: provider, model: "m", max_output: Some(1000), openai: true };
    let translate = || translate::request(&caller, body, &target);
    match (translate(), translate()) {
        (Ok(one), Ok(two)) => {
            assert_eq!(one.body, two.body);
            assert!(is_object(&one.body));
            for name in &one.dropped {
                assert!(name.is_ascii() && name.len() <= 64 && !name.contains(','), "{name}");
            }
        }
        (Err(one), Err(two)) => assert_eq!(one, two),
        (one, two) => panic!("{one:?} and {two:?}"),
    }
    count_request(client, body, &target);
}

/// What can be counted can be estimated, and a count is asked for in whole JSON.
fn count_request(client: Api, body: &[u8], target: &Target<'_>) {
    let Some(endpoint) = client.count_endpoint() else { return };
    let caller = Caller { endpoint, model: "asked", id: "req_1", now: 1, array: false };
    let estimated = translate::estimated_count(&caller, body);
    assert!(estimated.as_ref().map_or(true, |count| is_object(count)));
    if target.api.count_endpoint().is_some()
        && let Ok(asked) = translate::count_request(&caller, body, target)
    {
        assert!(is_object(&asked.body) && estimated.is_ok());
    }
}

fn reply(client: Api) -> Reply {
    Reply {
        client,
        model: "asked".into(),
        id: "req_1".into(),
        created: 1,
        include_usage: true,
        show_thinking: true,
        array: false,
    }
}

/// Values of numbers are not ours to judge, so that serde_json must not either.
fn is_object(json: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(json).is_ok_and(|json| json.get().starts_with('{'))
}

/// Whatever a provider answers, the caller gets JSON or is told that it was none; an error is never an answer. Whole and
/// as a stream it is the same.
pub fn translate_answer(data: &[u8]) {
    let Some((client, provider, body)) = pair(data) else { return };
    let usage = usage::read_answer(provider.endpoint(false), body).usage;
    let told = translate::answer(provider, body, usage.as_ref(), &reply(client));
    let replayed = translate::replayed(provider, body, usage.as_ref(), &reply(client));
    assert_eq!(told.is_ok(), replayed.is_ok());
    let Ok(told) = told else { return };
    assert!(is_object(&told.body));
    // serde_json refuses some numbers that pass, and keeps the last of two members where we keep the first.
    if let Ok(body) = serde_json::from_slice::<Members>(body)
        && !body.has_repeats()
    {
        assert!(!body.0.iter().any(|(key, value)| key == "error" && value.get().starts_with('{')));
    }
}

/// A stream says the same however its bytes are cut, what comes out are whole frames, and it ends with an end or with an
/// error, never in the middle.
pub fn translate_stream(data: &[u8]) {
    let Some((client, provider, body)) = pair(data) else { return };
    let kind = match provider {
        Api::Chat => StreamKind::OpenAiChat,
        Api::Responses => StreamKind::Responses,
        Api::Messages => StreamKind::Anthropic,
        Api::Gemini => StreamKind::GeminiSse,
    };
    let run = |size: usize| {
        let mut meter = StreamMeter::new(kind, false);
        let mut translator = StreamTranslator::new(provider, reply(client));
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        for piece in body.chunks(size) {
            let fed = meter.feed(Bytes::copy_from_slice(piece), &mut frames);
            let understood = frames.drain(..).all(|frame| translator.feed(&frame, &meter, &mut out).is_ok());
            if fed.is_err() || !understood {
                return None;
            }
        }
        let end = meter.finish(&mut frames);
        if end == End::Complete {
            meter.release(&mut frames);
        }
        if !frames.drain(..).all(|frame| translator.feed(&frame, &meter, &mut out).is_ok()) {
            return None;
        }
        let whole = end == End::Complete && translator.finish(&meter, &mut out).is_ok();
        assert!(!whole || translator.is_over());
        let refusal = Refusal::new(Code::UpstreamError, "It broke.");
        let broken = translator.broken(&refusal, "req_1");
        assert_eq!(broken.is_empty(), translator.is_over());
        let text = String::from_utf8(out.concat()).unwrap().replace("\r\n", "\n");
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let ends = match client {
            Api::Chat => "data: [DONE]",
            Api::Responses => "event: response.",
            Api::Messages => "event: message_stop",
            Api::Gemini => "\"finishReason\"",
        };
        if translator.is_over() {
            assert!(last.contains(ends) || last.contains("\"error\""), "{text}");
        }
        Some((end, text))
    };
    let (Some(by_one), Some(by_seven)) = (run(1), run(7)) else { return };
    assert_eq!(by_one.0, by_seven.0);
    assert!(by_one.1.is_empty() || by_one.1.ends_with("\n\n"), "{}", by_one.1);
    assert_eq!(without_usage(&by_one.1), without_usage(&by_seven.1));
}

/// When the usage of a stream is known depends on how it was cut.
fn without_usage(text: &str) -> Vec<String> {
    let frames = text.split("\n\n").map(|frame| {
        let cut = ["\"usage\"", "\"usageMetadata\""].iter().filter_map(|name| frame.find(name)).min();
        frame[..cut.unwrap_or(frame.len())].to_owned()
    });
    frames.collect()
}
