//! What the hot path costs: `cargo bench -p anykey-dialect`. Prints nanoseconds per call, the best of several rounds.

use anykey_core::Endpoint;
use anykey_dialect::head::scan;
use anykey_dialect::splice::rewrite;
use anykey_dialect::stream::{StreamKind, StreamMeter};
use anykey_dialect::translate::{Api, Caller, Reply, StreamTranslator, Target, request as translate_request};
use anykey_dialect::usage::read_answer;
use bytes::Bytes;
use std::hint::black_box;
use std::time::Instant;

const CALLS: u32 = 20_000;
const ROUNDS: usize = 9;

fn time(name: &str, mut call: impl FnMut()) {
    let round = |_| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<44} {best:>9.0} ns");
}

fn request(bytes: usize) -> Bytes {
    let text = "The quick brown fox said \\\"hi\\\" to the dog.\\n".repeat(bytes / 48);
    let turn = r#"{"role":"system","content":"Be brief."}"#;
    Bytes::from(format!(
        r#"{{"model":"openai/gpt-4o-mini","messages":[{turn},{{"role":"user","content":"{text}"}}],"temperature":0.7,"max_tokens":256,"stream":true}}"#
    ))
}

fn chunk(kind: StreamKind) -> Bytes {
    let padding = "x".repeat(60);
    Bytes::from(match kind {
        StreamKind::Anthropic => format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{padding}\"}}}}\n\n"
        ),
        StreamKind::Responses => format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":\"msg_0123456789\",\"output_index\":0,\"content_index\":0,\"delta\":\" hi\",\"logprobs\":[],\"obfuscation\":\"{padding}\"}}\n\n"
        ),
        StreamKind::GeminiSse => format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{padding}\"}}],\"role\":\"model\"}},\"index\":0}}],\"usageMetadata\":{{\"promptTokenCount\":7,\"candidatesTokenCount\":9,\"totalTokenCount\":16}},\"modelVersion\":\"gemini-x\",\"responseId\":\"r\"}}\r\n\r\n"
        ),
        _ => format!(
            "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1740009600,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" hi\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"{padding}\"}}\n\n"
        ),
    })
}

fn translation() {
    let body = request(1 << 10);
    let caller = Caller { endpoint: Endpoint::ChatCompletions, model: "asked", id: "req_1", now: 1, array: false };
    for api in [Api::Messages, Api::Gemini, Api::Responses] {
        let target = Target { api, model: "m", max_output: Some(4096), openai: false };
        time(&format!("translate a request of {} bytes to {}", body.len(), api.name()), || {
            black_box(translate_request(&caller, black_box(&body), &target).is_ok());
        });
    }
    let kinds = [
        (Api::Chat, StreamKind::OpenAiChat, Api::Messages),
        (Api::Messages, StreamKind::Anthropic, Api::Chat),
        (Api::Gemini, StreamKind::GeminiSse, Api::Chat),
    ];
    for (provider, kind, client) in kinds {
        let chunk = chunk(kind);
        let meter = StreamMeter::new(kind, false);
        let reply = Reply {
            client,
            model: "asked".into(),
            id: "req_1".into(),
            created: 1,
            include_usage: true,
            show_thinking: true,
            array: false,
        };
        let mut translator = StreamTranslator::new(provider, reply.clone());
        let (mut out, mut fed) = (Vec::new(), 0);
        time(&format!("translate a chunk of {} bytes to {}", chunk.len(), client.name()), || {
            out.clear();
            fed += chunk.len();
            // A translator takes only so much.
            if fed > 32 << 20 {
                (translator, fed) = (StreamTranslator::new(provider, reply.clone()), 0);
            }
            black_box(translator.feed(black_box(&chunk), &meter, &mut out).is_ok());
        });
    }
}

fn main() {
    for bytes in [1 << 10, 128 << 10] {
        let body = request(bytes);
        let head = scan(Endpoint::ChatCompletions, &body).expect("a valid request");
        time(&format!("scan the head of {} bytes", body.len()), || {
            black_box(scan(Endpoint::ChatCompletions, black_box(&body)).is_ok());
        });
        time(&format!("rewrite {} bytes, model and usage", body.len()), || {
            black_box(rewrite(black_box(&body), &head, Some("gpt-4o-mini"), true));
        });
    }
    for kind in [StreamKind::OpenAiChat, StreamKind::Responses, StreamKind::Anthropic, StreamKind::GeminiSse] {
        let chunk = chunk(kind);
        let mut meter = StreamMeter::new(kind, true);
        let mut out = Vec::new();
        time(&format!("pass a chunk of {} bytes, {kind:?}", chunk.len()), || {
            out.clear();
            black_box(meter.feed(chunk.clone(), &mut out).is_ok());
        });
    }
    translation();
    let answer = br#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there, how are you?"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
    time(&format!("read an answer of {} bytes", answer.len()), || {
        black_box(read_answer(Endpoint::ChatCompletions, black_box(answer)));
    });
}
