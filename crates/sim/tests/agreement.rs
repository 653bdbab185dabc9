//! What must agree whatever the dialect: streams with whole answers, usage with the books, shreds with what they were.

mod common;

use common::{DIALECTS, Dialect, books, masked, start};
use proptest::prelude::*;
use serde_json::json;

const MODELS: [&str; 8] = ["echo", "lorem", "tool", "reason", "json", "overrun", "echo?chunks=33", "tool?calls=3"];
const TEXT: &str = "Grüße aus 東京 🦀, \"quoted\" and \\ escaped\n\tand \u{1} controlled.";

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let sim = start().await;
    for dialect in DIALECTS {
        for model in MODELS {
            for max_tokens in [None, Some(16), Some(200)] {
                let whole = dialect.ask(sim.addr, model, TEXT, max_tokens, false).await;
                let whole = dialect.read(&whole, false);
                let stream = dialect.ask(sim.addr, model, TEXT, max_tokens, true).await;
                assert_eq!(dialect.read(&stream, true), whole, "{dialect:?} {model} {max_tokens:?}");
                assert!(whole.usage.is_some());
            }
        }
    }
}

#[tokio::test]
async fn every_dialect_says_the_same() {
    let sim = start().await;
    for model in ["echo", "json", "tool", "lorem"] {
        let chat = Dialect::Chat.ask(sim.addr, model, TEXT, Some(40), false).await;
        let chat = Dialect::Chat.read(&chat, false);
        for dialect in DIALECTS {
            let said = dialect.ask(sim.addr, model, TEXT, Some(40), false).await;
            let said = dialect.read(&said, false);
            assert_eq!((&said.text, &said.calls), (&chat.text, &chat.calls), "{dialect:?} {model}");
            assert_eq!(said.usage.unwrap().1, chat.usage.unwrap().1, "{dialect:?} {model}");
        }
    }
}

#[tokio::test]
async fn the_books_hold_what_the_answers_claimed() {
    let sim = start().await;
    let mut claimed = Vec::new();
    for dialect in DIALECTS {
        for stream in [false, true] {
            for model in MODELS {
                let reply = dialect.ask(sim.addr, model, TEXT, Some(50), stream).await;
                claimed.push((model.to_owned(), stream, dialect.read(&reply, stream).usage.unwrap()));
            }
        }
    }
    let booked: Vec<_> = books(sim.addr)
        .await
        .iter()
        .map(|entry| {
            assert_eq!((&entry["completed"], &entry["client_gone"]), (&json!(true), &json!(false)));
            let usage = (entry["input_tokens"].as_u64().unwrap(), entry["output_tokens"].as_u64().unwrap());
            (entry["model"].as_str().unwrap().to_owned(), entry["stream"].as_bool().unwrap(), usage)
        })
        .collect();
    assert_eq!(booked, claimed);
}

#[tokio::test]
async fn tokens_are_bytes_by_four() {
    let sim = start().await;
    for dialect in [Dialect::Chat, Dialect::Messages] {
        let path = dialect.path("echo", false);
        for (text, tokens) in [("a", 1), ("abcd", 1), ("abcde", 2), ("東京", 2)] {
            let body = json!({"model": "echo", "max_tokens": 99, "messages": [{"role": "user", "content": text}]});
            let said = dialect.read(&common::post(sim.addr, &path, body).await, false);
            assert_eq!(said.usage, Some((tokens, tokens)), "{dialect:?} {text}");
        }
    }
}

#[tokio::test]
async fn only_overrun_exceeds_the_limit_and_limits_are_told() {
    let sim = start().await;
    let ends = [
        (Dialect::Chat, "length"),
        (Dialect::Responses, "incomplete"),
        (Dialect::Messages, "max_tokens"),
        (Dialect::Gemini, "MAX_TOKENS"),
    ];
    for (dialect, end) in ends {
        let reply = dialect.ask(sim.addr, "lorem", "x", Some(20), true).await;
        let said = dialect.read(&reply, true);
        assert_eq!((said.usage.unwrap().1, said.stop.as_str()), (20, end));
        let reply = dialect.ask(sim.addr, "overrun", "x", Some(20), true).await;
        assert_eq!(dialect.read(&reply, true).usage.unwrap().1, 40);
    }
}

#[tokio::test]
async fn stop_sequences_end_the_text() {
    let sim = start().await;
    let fields = [
        (Dialect::Chat, "/stop", "stop"),
        (Dialect::Messages, "/stop_sequences", "stop_sequence"),
        (Dialect::Gemini, "/generationConfig/stopSequences", "STOP"),
    ];
    for (dialect, field, end) in fields {
        let mut body = dialect.body("echo", "one two three", None, false);
        let (parent, name) = field.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = json!(["three", "two"]);
        let reply = common::post(sim.addr, &dialect.path("echo", false), body).await;
        let said = dialect.read(&reply, false);
        assert_eq!((said.text.as_str(), said.stop.as_str()), ("one ", end));
        if dialect == Dialect::Messages {
            assert_eq!(reply.json()["stop_sequence"], "two");
        }
    }
}

#[tokio::test]
async fn no_usage_never_tells() {
    let sim = start().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            let reply = dialect.ask(sim.addr, "no-usage", TEXT, None, stream).await;
            assert_eq!(dialect.read(&reply, stream).usage, None, "{dialect:?}");
            for word in ["\"output_tokens", "\"prompt_tokens", "\"input_tokens", "TokenCount"] {
                assert!(!reply.text().contains(word), "{}", reply.text());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shredding_changes_nothing_but_the_pieces(
        which in 0..DIALECTS.len(), stream: bool, size in 1usize..60, text in "\\PC{1,40}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sim = start().await;
            let dialect = DIALECTS[which];
            // Anthropic refuses what is only blank.
            let text = format!("t{text}");
            let plain = dialect.ask(sim.addr, "echo", &text, None, stream).await;
            let body = dialect.body("echo", &text, None, stream).to_string();
            let size_text = size.to_string();
            let headers = [("anthropic-version", "2023-06-01"), ("x-sim-chunk-bytes", size_text.as_str())];
            let shredded = common::send(sim.addr, "POST", &dialect.path("echo", stream), &headers, body.as_bytes()).await;
            assert!(shredded.whole);
            assert_eq!(shredded.body.len(), plain.body.len());
            if stream {
                assert!(shredded.chunks.iter().all(|chunk| chunk.len() <= size));
                let masked_all = |reply: &common::Reply| reply.events().into_iter().map(|(name, data)| (name, masked(data))).collect::<Vec<_>>();
                assert_eq!(masked_all(&shredded), masked_all(&plain));
            } else {
                assert_eq!(masked(shredded.json()), masked(plain.json()));
            }
            assert_eq!(dialect.read(&shredded, stream).text, text);
        });
    }
}
