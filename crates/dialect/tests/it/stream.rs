//! Streams in passing: what leaves when, what is learnt, and that cutting the bytes changes nothing.

use super::fuzz::checks::{Observed, observe, shred};
use anykey_core::Unit::*;
use anykey_core::{Code, Refusal, Usage};
use anykey_dialect::stream::{End, Phase, StreamFault, StreamKind, StreamMeter};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

const CHAT: [&str; 6] = [
    r#"data: {"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#,
    r#"data: {"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":"Hello"}}],"usage":null}"#,
    ": keep-alive",
    r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" \"usage\":{\"error\": [DONE] é"}}],"usage":null}"#,
    r#"data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}}}"#,
    "data: [DONE]",
];

const ANTHROPIC: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-x\",\"usage\":{\"input_tokens\":10,",
    "\"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":6,\"cache_creation\":{\"ephemeral_5m_input_tokens\":2,",
    "\"ephemeral_1h_input_tokens\":4},\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15,",
    "\"input_tokens\":null,\"server_tool_use\":{\"web_search_requests\":1}}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-x\",\"usage\":null,\"error\":null,",
    "\"tools\":[{\"parameters\":{\"properties\":{\"sequence_number\":{\"type\":\"integer\"}}}}]},\"sequence_number\":0}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"Hello\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-x\",",
    "\"output\":[{\"type\":\"web_search_call\"}],\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":7}}}\n\n",
);

const GEMINI: [&str; 3] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"Hel"}],"role":"model"}}],"usageMetadata":{"promptTokenCount":7},"modelVersion":"gemini-x","responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"usageMetadata":{"promptTokenCount":999},"finishReason":"X"}}}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"lo ]},[\""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":12},"modelVersion":"gemini-x"}"#,
];

fn joined(frames: &[&str], end: &str) -> String {
    frames.iter().map(|frame| format!("{frame}{end}")).collect()
}

fn gemini_sse() -> String {
    GEMINI.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
}

fn gemini_array() -> String {
    format!("[{}\r\n]\r\n", GEMINI.join("\r\n,\r\n"))
}

fn whole(kind: StreamKind, withhold: bool, text: &str) -> Observed {
    observe(kind, withhold, std::iter::once(text.as_bytes())).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn counts(units: &[(anykey_core::Unit, u64)]) -> Option<Usage> {
    Some(units.iter().copied().chain([(Request, 1)]).collect())
}

/// Feeds each piece and tells what left and in which phase the stream is.
fn step_by_step(meter: &mut StreamMeter, pieces: &[&str]) -> Vec<(String, Phase)> {
    let feed = |piece: &&str| {
        let mut out = Vec::new();
        let phase = meter.feed(Bytes::copy_from_slice(piece.as_bytes()), &mut out).unwrap();
        (text(&out.concat()).to_owned(), phase)
    };
    pieces.iter().map(feed).collect()
}

#[test]
fn a_chat_stream() {
    for end in ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"] {
        let stream = joined(&CHAT, end);
        let seen = whole(StreamKind::OpenAiChat, false, &stream);
        assert_eq!(text(&seen.pushed), joined(&CHAT[..5], end));
        assert_eq!(text(&seen.held), joined(&CHAT[5..], end));
        assert_eq!((seen.end, seen.error), (End::Complete, None));
        assert_eq!(seen.usage, counts(&[(Input, 6), (CacheRead, 4), (Output, 5)]));
        assert_eq!((seen.model.as_deref(), seen.id.as_deref()), (Some("gpt-4o-mini-2024-07-18"), Some("chatcmpl-1")));
        assert_eq!(seen.output_bytes, 5 + r#" \"usage\":{\"error\": [DONE] é"#.len() as u64);
    }
}

#[test]
fn only_the_usage_chunk_is_withheld() {
    for end in ["\n\n", "\r\n\r\n", "\r\r"] {
        let seen = whole(StreamKind::OpenAiChat, true, &joined(&CHAT, end));
        assert_eq!(text(&seen.pushed), joined(&CHAT[..4], end));
        assert_eq!(text(&seen.held), joined(&CHAT[5..], end));
        assert_eq!(seen.usage, counts(&[(Input, 6), (CacheRead, 4), (Output, 5)]));
    }
    // Azure's first chunk has no choices either; others put usage beside choices.
    let others = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\ndata: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    let seen = whole(StreamKind::OpenAiChat, true, others);
    assert_eq!(text(&seen.pushed), others);
    assert_eq!(seen.usage, counts(&[(Input, 1), (Output, 2)]));
}

#[test]
fn frames_leave_as_soon_as_they_are_whole_and_the_last_is_held() {
    let mut meter = StreamMeter::new(StreamKind::OpenAiChat, false);
    let steps =
        step_by_step(&mut meter, &["data: {\"a", "\":1}\n", "\ndata: {}\n\ndata: [DO", "NE]\n", "\n", "\n: later"]);
    let left: Vec<_> = steps.iter().map(|(text, phase)| (text.as_str(), *phase)).collect();
    assert_eq!(
        left,
        [
            ("", Phase::Open),
            ("", Phase::Open),
            ("data: {\"a\":1}\n\ndata: {}\n\n", Phase::Open),
            ("", Phase::Open),
            ("", Phase::Terminal),
            ("", Phase::Terminal),
        ]
    );
    let mut out = Vec::new();
    meter.release(&mut out);
    assert_eq!(out.concat(), b"data: [DONE]\n\n\n: later");
    assert_eq!(step_by_step(&mut meter, &["more"]), [("more".to_owned(), Phase::Terminal)]);
    assert_eq!(meter.finish(&mut out), End::Complete);
}

#[test]
fn whole_frames_are_not_copied() {
    let chunk = Bytes::from(joined(&CHAT[..4], "\n\n"));
    let mut out = Vec::new();
    StreamMeter::new(StreamKind::OpenAiChat, false).feed(chunk.clone(), &mut out).unwrap();
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].as_ptr(), out[0].len()), (chunk.as_ptr(), chunk.len()));
}

#[test]
fn an_anthropic_stream() {
    let seen = whole(StreamKind::Anthropic, false, ANTHROPIC);
    let stop = ANTHROPIC.find("event: message_stop").unwrap();
    assert_eq!((text(&seen.pushed), text(&seen.held)), ANTHROPIC.split_at(stop));
    assert_eq!(seen.end, End::Complete);
    let units = [(Input, 10), (CacheRead, 2), (CacheWrite5m, 2), (CacheWrite1h, 4), (Output, 15), (Search, 1)];
    assert_eq!(seen.usage, counts(&units));
    assert_eq!((seen.model.as_deref(), seen.id.as_deref()), (Some("claude-x"), Some("msg_1")));
    assert_eq!(seen.output_bytes, 5);
}

#[test]
fn a_responses_stream() {
    let seen = whole(StreamKind::Responses, false, RESPONSES);
    let completed = RESPONSES.find("event: response.completed").unwrap();
    assert_eq!((text(&seen.pushed), text(&seen.held)), RESPONSES.split_at(completed));
    assert_eq!(seen.usage, counts(&[(Input, 3), (Output, 3), (Reasoning, 1), (Search, 1)]));
    assert_eq!((seen.model.as_deref(), seen.id.as_deref()), (Some("gpt-x"), Some("resp_1")));
    assert_eq!((seen.end, seen.output_bytes), (End::Complete, 5));
}

#[test]
fn gemini_streams() {
    let (sse, array) = (gemini_sse(), gemini_array());
    let last = "data: ".len() + GEMINI[2].len() + "\r\n\r\n".len();
    for (kind, stream, held) in [
        (StreamKind::GeminiSse, &sse, last),
        (StreamKind::GeminiArray, &array, "\r\n,\r\n".len() + GEMINI[2].len() + "\r\n]\r\n".len()),
    ] {
        let seen = whole(kind, false, stream);
        assert_eq!((text(&seen.pushed), text(&seen.held)), stream.split_at(stream.len() - held));
        assert_eq!(seen.end, End::Complete);
        assert_eq!(seen.usage, counts(&[(Input, 7), (Output, 2), (Reasoning, 3)]));
        assert_eq!((seen.model.as_deref(), seen.id.as_deref()), (Some("gemini-x"), Some("r1")));
        assert!(seen.output_bytes >= 15);
    }
}

#[test]
fn a_gemini_frame_that_may_be_the_last_waits_for_the_next() {
    let mut meter = StreamMeter::new(StreamKind::GeminiSse, false);
    let stop = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n";
    let after = "data: {\"usageMetadata\":{\"promptTokenCount\":1}}\n\n";
    let steps = step_by_step(&mut meter, &[stop, ": keep-alive\n\n", after]);
    let left: Vec<_> = steps.iter().map(|(text, phase)| (text.as_str(), *phase)).collect();
    assert_eq!(left, [("", Phase::Open), (stop, Phase::Open), (": keep-alive\n\n", Phase::Open)]);
    let mut out = Vec::new();
    assert_eq!(meter.finish(&mut out), End::Complete);
    assert!(out.is_empty());
    meter.release(&mut out);
    assert_eq!(out.concat(), after.as_bytes());
}

#[test]
fn a_blocked_prompt_is_an_end() {
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n\r\n";
    assert_eq!(whole(StreamKind::GeminiSse, false, blocked).end, End::Complete);
    let rated = "data: {\"promptFeedback\":{\"safetyRatings\":[]}}\r\n\r\n";
    assert_eq!(whole(StreamKind::GeminiSse, false, rated).end, End::Truncated);
}

#[test]
fn a_stream_without_its_end_is_truncated() {
    let array = gemini_array();
    let sse = format!("data: {}\r\n\r\n", GEMINI[0]);
    for (kind, stream) in [
        (StreamKind::OpenAiChat, joined(&CHAT[..5], "\n\n")),
        (StreamKind::OpenAiChat, String::new()),
        (StreamKind::Anthropic, ANTHROPIC[..ANTHROPIC.find("event: message_stop").unwrap()].to_owned()),
        (StreamKind::Responses, RESPONSES[..RESPONSES.len() - 2].rsplit_once("event").unwrap().0.to_owned()),
        (StreamKind::GeminiSse, sse),
        (StreamKind::GeminiArray, array[..array.rfind(']').unwrap()].to_owned()),
    ] {
        assert_eq!(whole(kind, false, &stream).end, End::Truncated, "{stream}");
    }
}

#[test]
fn half_a_frame_never_leaves_but_a_careless_end_counts() {
    let half = whole(StreamKind::OpenAiChat, false, "data: {}\n\ndata: {\"choi");
    assert_eq!((text(&half.pushed), half.end), ("data: {}\n\n", End::Truncated));
    for tail in ["data: [DONE]", "data: [DONE]\n", "data:[DONE]\r\n"] {
        let seen = whole(StreamKind::OpenAiChat, false, &format!("data: {{}}\n\n{tail}"));
        assert_eq!((text(&seen.pushed), text(&seen.held), seen.end), ("data: {}\n\n", tail, End::Complete));
    }
    let gemini = gemini_sse();
    let seen = whole(StreamKind::GeminiSse, false, gemini.trim_end());
    assert_eq!((seen.end, seen.usage.unwrap().get(Reasoning)), (End::Complete, 3));
}

#[test]
fn errors_inside_a_stream_are_its_end() {
    for (kind, stream, status, message) in [
        (
            StreamKind::OpenAiChat,
            "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}\n\n",
            500,
            "boom",
        ),
        (StreamKind::OpenAiChat, "event: error\ndata: {\"message\":\"slow down\",\"code\":429}\n\n", 429, "slow down"),
        (
            StreamKind::Anthropic,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            529,
            "Overloaded",
        ),
        (
            StreamKind::Responses,
            "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow down\",\"sequence_number\":3}\n\n",
            429,
            "slow down",
        ),
        (
            StreamKind::Responses,
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"sorry\"}}}\n\n",
            500,
            "sorry",
        ),
        (
            StreamKind::GeminiSse,
            "data: {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
            503,
            "busy",
        ),
        (
            StreamKind::GeminiArray,
            "[{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}]",
            503,
            "busy",
        ),
    ] {
        let seen = whole(kind, false, stream);
        assert_eq!(seen.error, Some((status, message.to_owned())), "{stream}");
        assert_eq!((seen.end, text(&seen.pushed), text(&seen.held)), (End::Complete, "", stream));
    }
    let calm = "data: {\"choices\":[],\"error\":null}\n\ndata: {\"choices\":[],\"error\":\"\"}\n\n";
    assert_eq!(whole(StreamKind::OpenAiChat, false, calm).error, None);
}

#[test]
fn pictures_and_sound_are_over_when_the_last_of_them_is_and_the_body_ends() {
    let partial = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n";
    let done = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\",\"usage\":{\"input_tokens\":3,\"output_tokens\":40}}\n\n";
    let seen = whole(StreamKind::Media, false, &format!("{partial}{done}{partial}{done}"));
    assert_eq!((seen.end, text(&seen.held)), (End::Complete, done), "the last one waits");
    assert_eq!(seen.usage, counts(&[(Input, 6), (ImageOut, 80), (Image, 2)]));
    assert_eq!(whole(StreamKind::Media, false, partial).end, End::Truncated);
    let heard = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hello\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"hello\",\"usage\":{\"input_tokens\":9,\"output_tokens\":2,\"input_token_details\":{\"audio_tokens\":9}}}\n\n";
    let seen = whole(StreamKind::Media, false, heard);
    assert_eq!((seen.end, seen.usage, seen.output_bytes), (End::Complete, counts(&[(AudioIn, 9), (Output, 2)]), 5));
    let spoken = "data: {\"type\":\"speech.audio.done\"}\n\n";
    assert_eq!(whole(StreamKind::Media, false, spoken).end, End::Complete);
    let failed = "data: {\"type\":\"error\",\"error\":{\"message\":\"no\"}}\n\n";
    let seen = whole(StreamKind::Media, false, failed);
    assert!(seen.error.is_some() && seen.usage.is_none());
    let ended = format!("{done}data: [DONE]\n\n");
    assert_eq!(whole(StreamKind::Media, false, &ended).end, End::Complete);
}

#[test]
fn frames_have_a_limit() {
    for kind in StreamKind::ALL {
        let mut meter = StreamMeter::new(kind, false);
        let (piece, mut out) = (Bytes::from(vec![b'x'; 1 << 18]), Vec::new());
        let pieces = kind.frame_limit() / piece.len();
        // The array needs a bracket to be inside of an element.
        meter.feed(Bytes::from_static(b"[{"), &mut out).unwrap();
        for _ in 0..pieces - 1 {
            assert_eq!(meter.feed(piece.clone(), &mut out), Ok(Phase::Open));
        }
        assert_eq!(meter.feed(piece.clone(), &mut out), Err(StreamFault::FrameTooLarge));
        assert_eq!(meter.feed(Bytes::from_static(b"\n\n"), &mut out), Err(StreamFault::FrameTooLarge));
        assert_eq!((meter.finish(&mut out), out.len()), (End::Truncated, 0));
    }
    let mut meter = StreamMeter::new(StreamKind::OpenAiChat, false);
    let mut big = vec![b'x'; 1 << 21];
    big.extend_from_slice(b"\n\n");
    let mut out = Vec::new();
    let first = Bytes::from([b"data: {}\n\n".as_slice(), &big].concat());
    assert_eq!(meter.feed(first, &mut out), Err(StreamFault::FrameTooLarge));
    assert_eq!(out.concat(), b"data: {}\n\n", "what came before leaves");
}

#[test]
fn a_provider_cannot_fill_memory_behind_the_end() {
    let mut meter = StreamMeter::new(StreamKind::OpenAiChat, false);
    let mut out = Vec::new();
    meter.feed(Bytes::from_static(b"data: [DONE]\n\n"), &mut out).unwrap();
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    assert_eq!(meter.feed(piece.clone(), &mut out), Ok(Phase::Terminal));
    assert_eq!(meter.feed(piece, &mut out), Err(StreamFault::DataAfterEnd));
}

#[test]
fn a_broken_stream_ends_with_an_error_that_parses() {
    let refusal = Refusal::new(Code::UpstreamError, "The provider's stream broke off.");
    let body =
        |bytes: &Bytes| -> Value { serde_json::from_str(text(bytes).split_once("data: ").unwrap().1.trim()).unwrap() };
    for (kind, sent) in [
        (StreamKind::OpenAiChat, joined(&CHAT[..2], "\n\n")),
        (StreamKind::Anthropic, ANTHROPIC[..ANTHROPIC.find("event: ping").unwrap()].to_owned()),
        (StreamKind::GeminiSse, format!("data: {}\r\n\r\n", GEMINI[0])),
    ] {
        let mut meter = StreamMeter::new(kind, false);
        step_by_step(&mut meter, &[&sent]);
        let json = body(&meter.broken(&refusal, "req_1"));
        assert_eq!(json["error"]["message"], "The provider's stream broke off.");
    }
    let mut meter = StreamMeter::new(StreamKind::Responses, false);
    step_by_step(&mut meter, &[&RESPONSES[..RESPONSES.find("event: response.completed").unwrap()]]);
    assert_eq!(body(&meter.broken(&refusal, "req_1"))["sequence_number"], 2);

    let mut meter = StreamMeter::new(StreamKind::GeminiArray, false);
    let nothing_sent: Value = serde_json::from_slice(&meter.broken(&refusal, "req_1")).unwrap();
    assert_eq!(nothing_sent[0]["error"]["code"], 502);
    let left = step_by_step(&mut meter, &[&gemini_array()[..GEMINI[0].len() + 10]]).remove(0).0;
    let together: Value = serde_json::from_str(&format!("{left}{}", text(&meter.broken(&refusal, "req_1")))).unwrap();
    assert_eq!((together.as_array().unwrap().len(), &together[1]["error"]["code"]), (2, &502.into()));
}

/// One stream of each kind, with every line end that the kind may have.
fn streams() -> Vec<(StreamKind, bool, String)> {
    let mut streams = vec![(StreamKind::GeminiArray, false, gemini_array())];
    for end in ["\n", "\r\n", "\r"] {
        let ended = |text: &str| text.replace("\r\n", "\n").replace('\n', end);
        for withhold in [false, true] {
            streams.push((StreamKind::OpenAiChat, withhold, joined(&CHAT, &end.repeat(2))));
            streams.push((StreamKind::OpenAiCompletions, withhold, joined(&CHAT[3..], &end.repeat(2))));
        }
        streams.push((StreamKind::Anthropic, false, ended(ANTHROPIC)));
        streams.push((StreamKind::Responses, false, ended(RESPONSES)));
        streams.push((StreamKind::GeminiSse, false, ended(&gemini_sse())));
    }
    streams
}

#[test]
fn reads_of_one_and_of_seven_bytes_change_nothing() {
    for (kind, withhold, stream) in streams() {
        let expected = whole(kind, withhold, &stream);
        assert_eq!(expected.end, End::Complete);
        for size in [1, 2, 7] {
            assert_eq!(observe(kind, withhold, stream.as_bytes().chunks(size)).unwrap(), expected);
        }
    }
}

proptest! {
    #[test]
    fn reads_of_any_size_change_nothing(seed: u64, cut: prop::sample::Index) {
        for (kind, withhold, stream) in streams() {
            let stream = &stream.as_bytes()[..cut.index(stream.len() + 1)];
            let expected = observe(kind, withhold, std::iter::once(stream)).unwrap();
            prop_assert_eq!(observe(kind, withhold, shred(stream, seed).into_iter()).unwrap(), expected);
        }
    }
}
