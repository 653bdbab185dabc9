//! What a provider breaks off or says in the wrong words: never a clean end, whoever asks, and however the bytes come.

use super::gather::{END, gathered, plain};
use super::{cases, kind, pairs, reply};
use anykey_core::{Code, Refusal};
use anykey_dialect::stream::{End, StreamKind, StreamMeter};
use anykey_dialect::translate::{self, Api, StreamTranslator, Unread};
use bytes::Bytes;
use serde_json::Value;
use std::fs;

/// Everything that a caller gets of a stream, as the gateway moves it, and whether it ended as it should.
fn relayed(provider: Api, client: Api, array: bool, body: &[u8], size: usize) -> (Vec<u8>, bool) {
    let mut meter = StreamMeter::new(kind(provider), false);
    let mut translator = StreamTranslator::new(provider, reply(client, array));
    let mut out = Vec::new();
    let whole = moved(&mut meter, &mut translator, body, size, &mut out);
    if !whole {
        let refusal = Refusal::new(Code::UpstreamError, "The provider broke off in the middle of its answer.");
        out.push(translator.broken(&refusal, "req_1"));
    }
    (out.concat(), whole)
}

fn moved(
    meter: &mut StreamMeter,
    translator: &mut StreamTranslator,
    body: &[u8],
    size: usize,
    out: &mut Vec<Bytes>,
) -> bool {
    let mut frames = Vec::new();
    for piece in body.chunks(size) {
        let fed = meter.feed(Bytes::copy_from_slice(piece), &mut frames).is_ok();
        if !frames.drain(..).all(|frame| translator.feed(&frame, meter, out).is_ok()) || !fed {
            return false;
        }
    }
    let end = meter.finish(&mut frames);
    if !frames.drain(..).all(|frame| translator.feed(&frame, meter, out).is_ok()) || end == End::Truncated {
        return false;
    }
    meter.release(&mut frames);
    frames.drain(..).all(|frame| translator.feed(&frame, meter, out).is_ok()) && translator.finish(meter, out).is_ok()
}

/// The error that a stream ends with, as an SDK of the client's dialect finds it.
fn error(client: Api, array: bool, body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap();
    assert!(!text.contains(END[client as usize]), "an error is no end: {text}");
    if array {
        let list: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        return list.last().unwrap()["error"].clone();
    }
    let frame = text.trim_end().replace("\r\n", "\n");
    let last = frame.rsplit("\n\n").next().unwrap().to_owned();
    let data: Value = serde_json::from_str(last.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap();
    if matches!(client, Api::Messages | Api::Responses) {
        assert!(last.starts_with("event: error\n"), "{text}");
        assert_eq!(data["type"], "error");
    }
    data["error"].clone()
}

/// Where the events of a stream end, and the middle of each.
fn cuts(body: &str) -> Vec<usize> {
    let end = if body.contains("\r\n") { "\r\n\r\n" } else { "\n\n" };
    let (mut cuts, mut from) = (vec![0], 0);
    while let Some(at) = body[from..].find(end) {
        let next = from + at + end.len();
        cuts.extend([(from + next) / 2, next]);
        from = next;
    }
    cuts.retain(|at| body.is_char_boundary(*at));
    cuts
}

#[test]
fn a_stream_that_is_cut_anywhere_says_so_or_says_the_same() {
    let (mut broken, mut whole) = (0, 0);
    for case in cases("answers") {
        for (client, provider) in pairs() {
            let Ok(events) = fs::read_to_string(case.join(format!("{}.sse", provider.name()))) else { continue };
            let lf = events.replace("\r\n", "\n");
            let (all, ended) = relayed(provider, client, false, lf.as_bytes(), lf.len());
            assert!(ended);
            let all = plain(client, &gathered(client, &all));
            for body in [lf.clone(), lf.replace('\n', "\r\n")] {
                for cut in cuts(&body) {
                    for size in [1, 7] {
                        let name = format!("{} {client:?} from {provider:?} {cut} in {size}", case.display());
                        let (got, ended) = relayed(provider, client, false, &body.as_bytes()[..cut], size);
                        if ended {
                            whole += 1;
                            assert_eq!(plain(client, &gathered(client, &got)), all, "{name}");
                        } else {
                            broken += 1;
                            let told = error(client, false, &got);
                            assert!(told["message"].is_string(), "{name}: {told}");
                        }
                    }
                }
            }
        }
    }
    assert!(broken > 1000 && whole > 100, "{broken} broken, {whole} whole");
}

#[test]
fn an_array_that_breaks_off_is_still_one() {
    for case in cases("answers") {
        for provider in [Api::Chat, Api::Responses, Api::Messages] {
            let events = fs::read_to_string(case.join(format!("{}.sse", provider.name()))).unwrap();
            for cut in cuts(&events) {
                let (got, ended) = relayed(provider, Api::Gemini, true, &events.as_bytes()[..cut], 7);
                if !ended {
                    assert!(error(Api::Gemini, true, &got)["message"].is_string());
                }
            }
        }
    }
}

/// Streams that a provider breaks without the connection's help.
const LIES: [(Api, &str, &str); 20] = [
    (Api::Chat, "an event named error", "event: error\ndata: {\"message\":\"no\"}\n\n"),
    (Api::Chat, "an error as text", "data: {\"error\":\"quota\"}\n\n"),
    (Api::Chat, "an event named error that is no JSON", "event: error\ndata: no\n\ndata: [DONE]\n\n"),
    (Api::Chat, "an end and nothing else", "data: [DONE]\n\n"),
    (
        Api::Chat,
        "an end that nobody gave a reason for",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n",
    ),
    (
        Api::Chat,
        "one of two without a reason",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"},{\"index\":1,\"delta\":{}}]}\n\n\
         data: [DONE]\n\n",
    ),
    (
        Api::Chat,
        "an error as a reason to stop",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"error\"}]}\n\ndata: [DONE]\n\n",
    ),
    (
        Api::Chat,
        "an end with something other than blanks around it",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: \u{a0}[DONE]\n\n",
    ),
    (Api::Messages, "an end without a beginning", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    (
        Api::Messages,
        "an end without a reason",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\"}}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
    (
        Api::Messages,
        "an error in another event",
        "data: {\"type\":\"message_delta\",\"error\":{\"message\":\"no\"}}\n\n",
    ),
    (Api::Messages, "an end that is no JSON", "event: message_stop\ndata: no\n\n"),
    (
        Api::Responses,
        "a failure",
        "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"no\"}}}\n\n",
    ),
    (
        Api::Responses,
        "an end that says it failed",
        "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"failed\",\"output\":[]}}\n\n",
    ),
    (Api::Responses, "an end without a response", "data: {\"type\":\"response.completed\"}\n\n"),
    (Api::Responses, "an end without output", "data: {\"type\":\"response.completed\",\"response\":{}}\n\n"),
    (Api::Gemini, "an error as text", "data: {\"error\":\"quota\"}\n\n"),
    (
        Api::Gemini,
        "an error beside an end",
        "data: {\"error\":\"quota\",\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
    ),
    (
        Api::Gemini,
        "a call that went wrong",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}\n\n",
    ),
    (
        Api::Gemini,
        "one of two without a reason",
        "data: {\"candidates\":[{\"index\":0,\"finishReason\":\"STOP\"},{\"index\":1,\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}\n\n",
    ),
];

#[test]
fn no_lie_is_taken_for_a_clean_end() {
    for (provider, what, body) in LIES {
        for (client, _) in pairs().filter(|(_, p)| *p == provider) {
            for array in [false, true].into_iter().filter(|array| !array || client == Api::Gemini) {
                for size in [1, 7, body.len()] {
                    let (got, _) = relayed(provider, client, array, body.as_bytes(), size);
                    let told = error(client, array, &got);
                    assert!(told["message"].is_string(), "{provider:?}: {what} for {client:?}");
                }
            }
        }
    }
}

#[test]
fn the_providers_words_for_a_failure_are_told() {
    for (provider, body, expected) in [
        (Api::Chat, "event: error\ndata: {\"message\":\"too much\"}\n\n", "too much"),
        (Api::Gemini, "data: {\"error\":\"too much\"}\n\n", "too much"),
        (
            Api::Gemini,
            "data: {\"candidates\":[{\"finishReason\":\"OTHER\"}]}\n\n",
            "The model stopped before its answer was whole: `OTHER`.",
        ),
        (
            Api::Chat,
            "data: {\"error\":{\"message\":\"Incorrect API key provided: sk-abc\",\"code\":401}}\n\n",
            "The operator's credential was refused. Your own key is fine; tell the operator.",
        ),
    ] {
        for (client, _) in pairs().filter(|(_, p)| *p == provider) {
            let (got, _) = relayed(provider, client, false, body.as_bytes(), 7);
            assert_eq!(error(client, false, &got)["message"], expected, "{client:?}: {body}");
        }
    }
}

#[test]
fn what_was_understood_before_a_frame_that_was_not_is_sent_with_its_number() {
    let body = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\"}}\n\n\
                event: content_block_start\ndata: {oops\n\n";
    let (got, ended) = relayed(Api::Messages, Api::Responses, false, body.as_bytes(), body.len());
    let text = String::from_utf8(got).unwrap();
    assert!(!ended && text.starts_with("event: response.created\n"), "{text}");
    let numbers: Vec<&str> = text.split("\"sequence_number\":").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!(numbers, ["0", "1", "2"]);
}

/// Bodies with a status of 200 that are no answers.
fn no_answers(provider: Api) -> Vec<(&'static str, Option<&'static str>)> {
    let mut bodies = vec![
        ("", None),
        ("[]", None),
        ("{", None),
        ("\"x\"", None),
        ("{}", None),
        ("{\"a\":1}", None),
        (r#"{"error":{"message":"too much"}}"#, Some("too much")),
        (r#"{"error":"too much"}"#, Some("too much")),
        (
            r#"{"error":{"message":"key sk-1 is wrong","code":"401","status":"UNAUTHENTICATED"}}"#,
            Some("The operator's credential was refused. Your own key is fine; tell the operator."),
        ),
    ];
    bodies.extend(match provider {
        Api::Chat => vec![
            (r#"{"choices":[]}"#, None),
            (r#"{"choices":{}}"#, None),
            (
                r#"{"choices":[{"message":{"content":"x"},"finish_reason":"error"}]}"#,
                Some("The model stopped before its answer was whole: `error`."),
            ),
            (
                r#"{"error":{"message":"no"},"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#,
                Some("no"),
            ),
        ],
        Api::Responses => vec![
            (r#"{"status":"failed","output":[],"error":{"message":"no"}}"#, Some("no")),
            (r#"{"status":"failed","output":[]}"#, Some("The model stopped before its answer was whole: `failed`.")),
            (
                r#"{"status":"cancelled","output":[]}"#,
                Some("The model stopped before its answer was whole: `cancelled`."),
            ),
            (r#"{"status":"completed"}"#, None),
        ],
        Api::Messages => vec![(r#"{"type":"message","stop_reason":"end_turn"}"#, None)],
        Api::Gemini => vec![
            (r#"{"candidates":[]}"#, None),
            (r#"{"usageMetadata":{"promptTokenCount":1}}"#, None),
            (r#"{"promptFeedback":{}}"#, None),
            (
                r#"{"candidates":[{"content":{},"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#,
                Some("The model stopped before its answer was whole: `MALFORMED_FUNCTION_CALL`."),
            ),
            (
                r#"{"candidates":[{"finishReason":"UNEXPECTED_TOOL_CALL"}]}"#,
                Some("The model stopped before its answer was whole: `UNEXPECTED_TOOL_CALL`."),
            ),
        ],
    });
    bodies
}

#[test]
fn what_is_not_a_providers_answer_is_told_apart() {
    for (client, provider) in pairs() {
        for (body, why) in no_answers(provider) {
            let expected = why.map_or(Unread::NotIts, |why| Unread::Failed(why.to_owned()));
            let told = translate::answer(provider, body.as_bytes(), None, &reply(client, false));
            assert_eq!(told.map(|told| told.body), Err(expected.clone()), "{client:?} from {provider:?}: {body}");
            let replayed = translate::replayed(provider, body.as_bytes(), None, &reply(client, false));
            assert_eq!(replayed.map(|told| told.body), Err(expected), "{client:?} from {provider:?}: {body}");
        }
    }
}

#[test]
fn a_model_that_says_nothing_has_still_answered() {
    for (provider, body) in [
        (Api::Chat, r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}],"error":null}"#),
        (Api::Responses, r#"{"status":"completed","output":[],"error":null}"#),
        (Api::Responses, r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}"#),
        (Api::Messages, r#"{"content":[],"stop_reason":"end_turn"}"#),
        (Api::Gemini, r#"{"candidates":[{"finishReason":"STOP"}],"error":""}"#),
        (Api::Gemini, r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#),
    ] {
        for (client, _) in pairs().filter(|(_, p)| *p == provider) {
            assert!(translate::answer(provider, body.as_bytes(), None, &reply(client, false)).is_ok(), "{body}");
        }
    }
}

#[test]
fn a_response_that_is_only_told_whole_is_told() {
    let body = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[\
                {\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hello\"}]}]}}\n\n";
    let (got, ended) = relayed(Api::Responses, Api::Chat, false, body.as_bytes(), 7);
    assert!(ended);
    let whole = gathered(Api::Chat, &got);
    assert_eq!(
        (&whole["id"], &whole["choices"][0]["message"]["content"]),
        (&"chatcmpl-resp_1".into(), &"hello".into())
    );
}

#[test]
fn a_name_that_cannot_be_told_is_replaced() {
    let kind = StreamKind::GeminiSse;
    for id in ["x".repeat(129), "a\\nb".to_owned(), String::new()] {
        let body = format!(
            "{{\"responseId\":\"{id}\",\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"x\"}}]}},\"finishReason\":\"STOP\"}}]}}"
        );
        let told = translate::answer(Api::Gemini, body.as_bytes(), None, &reply(Api::Chat, false)).unwrap();
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(told["id"], "chatcmpl-req_1");
        let (mut meter, mut translator) =
            (StreamMeter::new(kind, false), StreamTranslator::new(Api::Gemini, reply(Api::Chat, false)));
        let mut out = Vec::new();
        assert!(moved(&mut meter, &mut translator, format!("data: {body}\n\n").as_bytes(), 7, &mut out));
        assert_eq!(gathered(Api::Chat, &out.concat())["id"], "chatcmpl-req_1");
    }
}
