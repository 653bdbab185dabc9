//! Translation by golden files: one folder a case, all dialects side by side. `ANYKEY_GOLDEN=write` renews what is
//! recorded; the requests and the providers' answers are written by hand.

mod broken;
mod count;
mod dropped;
mod gather;
mod table;

use anykey_core::Endpoint;
use anykey_dialect::stream::{End, StreamKind, StreamMeter};
use anykey_dialect::translate::{self, Api, Caller, Reply, StreamTranslator, Target, Translated};
use anykey_dialect::usage::read_answer;
use bytes::Bytes;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translate").join(kind)
}

pub fn cases(kind: &str) -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 3);
    cases
}

/// Every pair that is served.
pub fn pairs() -> impl Iterator<Item = (Api, Api)> {
    let all = Api::ALL.into_iter().flat_map(|client| Api::ALL.map(|provider| (client, provider)));
    all.filter(|(client, provider)| client.reaches(*provider))
}

fn check(path: &Path, actual: &Value) {
    let text = format!("{actual:#}\n");
    if std::env::var_os("ANYKEY_GOLDEN").is_some() {
        fs::write(path, &text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, expected, "{}", path.display());
}

/// A provider's model, whose name makes it one of a known generation.
pub fn target(api: Api) -> Target<'static> {
    let model = match api {
        Api::Chat | Api::Responses => "gpt-5.1",
        Api::Messages => "claude-sonnet-4-5",
        Api::Gemini => "gemini-3-pro",
    };
    Target { api, model, max_output: Some(64_000), openai: true }
}

pub fn ask(client: Api, stream: bool, body: &str, provider: Api) -> Result<Translated, anykey_core::Refusal> {
    let caller = Caller { endpoint: client.endpoint(stream), model: "asked", id: "req_1", now: 1, array: false };
    translate::request(&caller, body.as_bytes(), &target(provider))
}

#[test]
fn requests() {
    for case in cases("requests") {
        for (client, provider) in pairs() {
            let source = case.join(format!("{}.json", client.name()));
            let Ok(body) = fs::read_to_string(&source) else { continue };
            let recorded = match ask(client, false, &body, provider) {
                Ok(translated) => {
                    let text = String::from_utf8(translated.body.to_vec()).unwrap();
                    // Models write the members of their answer in the schema's order. The recorded file is sorted.
                    if case.ends_with("structured") {
                        assert!(text.contains(r#""properties":{"reason":"#), "{text}");
                    }
                    let again: Value = serde_json::from_str(&text).unwrap();
                    assert!(again.is_object());
                    json!({ "dropped": translated.dropped, "body": again })
                }
                Err(refusal) => json!({ "refused": refusal.param, "why": refusal.message }),
            };
            check(&case.join(format!("{}-to-{}.json", client.name(), provider.name())), &recorded);
        }
    }
}

pub fn kind(api: Api) -> StreamKind {
    match api {
        Api::Chat => StreamKind::OpenAiChat,
        Api::Responses => StreamKind::Responses,
        Api::Messages => StreamKind::Anthropic,
        Api::Gemini => StreamKind::GeminiSse,
    }
}

pub fn reply(client: Api, array: bool) -> Reply {
    Reply {
        client,
        model: "asked".into(),
        id: "req_1".into(),
        created: 1,
        include_usage: true,
        show_thinking: true,
        array,
    }
}

/// A stream as the gateway moves it, in pieces of some size.
fn stream(provider: Api, client: Api, body: &[u8], size: usize, array: bool) -> Vec<u8> {
    let mut meter = StreamMeter::new(kind(provider), false);
    let mut translator = StreamTranslator::new(provider, reply(client, array));
    let (mut frames, mut out) = (Vec::new(), Vec::new());
    for piece in body.chunks(size) {
        meter.feed(Bytes::copy_from_slice(piece), &mut frames).unwrap();
        for frame in frames.drain(..) {
            translator.feed(&frame, &meter, &mut out).unwrap();
        }
    }
    let before_the_end = out.concat();
    let end = gather::END[client as usize];
    assert!(!String::from_utf8_lossy(&before_the_end).contains(end), "the end was told before it was settled");
    assert_eq!(meter.finish(&mut frames), End::Complete);
    meter.release(&mut frames);
    for frame in frames.drain(..) {
        translator.feed(&frame, &meter, &mut out).unwrap();
    }
    translator.finish(&meter, &mut out).unwrap();
    assert!(translator.is_over());
    out.concat()
}

#[test]
fn answers_whole_and_streamed_in_any_pieces() {
    for case in cases("answers") {
        for (client, provider) in pairs() {
            let Ok(body) = fs::read(case.join(format!("{}.json", provider.name()))) else { continue };
            let usage = read_answer(provider.endpoint(false), &body).usage;
            let whole = translate::answer(provider, &body, usage.as_ref(), &reply(client, false)).unwrap();
            assert!(whole.left_out.is_empty(), "{whole:?}");
            let whole: Value = serde_json::from_slice(&whole.body).unwrap();
            check(&case.join(format!("{}-from-{}.json", client.name(), provider.name())), &whole);

            let events = fs::read_to_string(case.join(format!("{}.sse", provider.name()))).unwrap();
            let lf = events.replace("\r\n", "\n");
            let crlf = lf.replace('\n', "\r\n");
            let at_once = stream(provider, client, lf.as_bytes(), lf.len(), false);
            let name = format!("{} {client:?} from {provider:?}", case.display());
            for bytes in [&lf, &crlf] {
                for size in [1, 7, bytes.len()] {
                    let got = stream(provider, client, bytes.as_bytes(), size, false);
                    // When usage is known depends on the pieces; what is told does not.
                    let got = gather::gathered(client, &got);
                    assert_eq!(gather::plain(client, &got), gather::plain(client, &whole), "{name} in {size}");
                }
            }
            let gathered = gather::gathered(client, &at_once);
            assert_eq!(gather::plain(client, &gathered), gather::plain(client, &whole), "{name}");
            let replayed = translate::replayed(provider, &body, usage.as_ref(), &reply(client, false)).unwrap();
            let gathered = gather::gathered(client, &replayed.body);
            assert_eq!(gather::plain(client, &gathered), gather::plain(client, &whole), "{name}");
            if client == Api::Gemini {
                let array = stream(provider, client, lf.as_bytes(), 7, true);
                assert_eq!(gather::gathered(client, &array), gather::gathered(client, &at_once), "{name}");
            }
        }
    }
}

#[test]
fn errors_in_a_stream_are_told_in_the_callers_words() {
    let failures = [
        (
            Api::Chat,
            "data: {\"error\":{\"message\":\"too much\",\"type\":\"server_error\",\"code\":\"overloaded\"}}\n\n",
        ),
        (
            Api::Messages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"too much\"}}\n\n",
        ),
        (
            Api::Responses,
            "event: error\ndata: {\"type\":\"error\",\"code\":\"overloaded\",\"message\":\"too much\",\"sequence_number\":0}\n\n",
        ),
        (Api::Gemini, "data: {\"error\":{\"code\":503,\"message\":\"too much\",\"status\":\"UNAVAILABLE\"}}\n\n"),
    ];
    for (client, provider) in pairs() {
        let Some((_, failure)) = failures.iter().find(|(api, _)| *api == provider) else { continue };
        let told = stream(provider, client, failure.as_bytes(), 7, false);
        let text = String::from_utf8(told).unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let error: Value = serde_json::from_str(data).unwrap();
        assert_eq!(error["error"]["message"], "too much", "{client:?} from {provider:?}: {text}");
        assert!(!text.contains(gather::END[client as usize]), "an error is no end: {text}");
    }
}

#[test]
fn an_endpoint_without_answers_is_not_translated() {
    assert_eq!(Api::of(Endpoint::Embeddings), None);
    for api in Api::ALL {
        assert_eq!(Api::of(api.endpoint(true)), Some(api));
        assert!(!api.reaches(api), "the diagonal is verbatim");
    }
}
