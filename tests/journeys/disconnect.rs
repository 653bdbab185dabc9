//! A caller who hangs up, at every point of an answer: one record, charged for what was said, and the provider is let go.

use crate::support::{Dialect, STREAMS, Streaming, World, setup};
use anykey_testkit::{Canned, CannedUpstream, Connection, Key, Request, TestGateway, cost, nanos, until, until_some};
use serde_json::Value;

/// Pieces of an answer that says one four-letter word (a token by any count) per piece, and then nothing more.
fn pieces(stream: &Streaming, words: usize) -> Vec<Vec<u8>> {
    let word = |n: usize| format!("w{n:03}");
    let event = |name: &str, data: String| format!("event: {name}\ndata: {data}\n\n").into_bytes();
    let plain = |data: String| format!("data: {data}\n\n").into_bytes();
    match stream.name {
        "chat" => (0..words)
            .map(|n| plain(format!(r#"{{"id":"c","object":"chat.completion.chunk","model":"echo","choices":[{{"index":0,"delta":{{"content":"{}"}}}}]}}"#, word(n))))
            .collect(),
        "completions" => (0..words)
            .map(|n| plain(format!(r#"{{"id":"c","object":"text_completion","model":"echo","choices":[{{"index":0,"text":"{}"}}]}}"#, word(n))))
            .collect(),
        "responses" => (0..words)
            .map(|n| event("response.output_text.delta", format!(r#"{{"type":"response.output_text.delta","sequence_number":{n},"item_id":"m","output_index":0,"content_index":0,"delta":"{}"}}"#, word(n))))
            .collect(),
        "messages" => {
            let start = event("message_start", r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"echo","content":[],"stop_reason":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#.into());
            let delta = |n| event("content_block_delta", format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{}"}}}}"#, word(n)));
            // The head of the message comes with its first word.
            (0..words).map(|n| if n == 0 { [start.clone(), delta(0)].concat() } else { delta(n) }).collect()
        }
        "gemini sse" => (0..words)
            .map(|n| format!("data: {}\r\n\r\n", gemini(&word(n), n)).into_bytes())
            .collect(),
        _ => (0..words).map(|n| format!("{}{}", if n == 0 { "[" } else { ",\r\n" }, gemini(&word(n), n)).into_bytes()).collect(),
    }
}

fn gemini(word: &str, n: usize) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"role":"model","parts":[{{"text":"{word}"}}]}},"index":0}}],"usageMetadata":{{"promptTokenCount":25,"candidatesTokenCount":{},"totalTokenCount":{}}},"modelVersion":"echo"}}"#,
        n + 1,
        n + 26
    )
}

/// Reads until so many words have come.
fn read_words(connection: &mut Connection, words: usize) {
    let mut text = String::new();
    while (0..words).any(|n| !text.contains(&format!("w{n:03}"))) {
        let piece = connection.piece().unwrap().expect("the answer has not ended");
        text.push_str(&String::from_utf8(piece).unwrap());
    }
}

fn begin(gateway: &TestGateway, key: &Key, request: Request) -> Connection {
    let mut connection = gateway.connect();
    connection.send(&request.bearer(&key.secret).bytes()).unwrap();
    connection
}

#[test]
fn a_caller_who_hangs_up_at_any_chunk_is_charged_once_for_what_was_said() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    for stream in &STREAMS {
        let key = gateway.key(stream.name);
        for words in 0..10 {
            let said = pieces(stream, words);
            upstream.answer(Canned::stalled_stream(stream.content_type, said.iter().map(Vec::as_slice)));
            let closed = upstream.hung_up();
            let mut connection = begin(&gateway, &key, (stream.request)("echo"));
            let reply = connection.begin().unwrap();
            assert_eq!(reply.status, 200);
            // The last frame of an array is known to be whole only when the next begins.
            let seen = if stream.name == "gemini array" { words.saturating_sub(1) } else { words };
            read_words(&mut connection, seen);
            connection.hang_up();
            let record = gateway.record_soon(reply.id());
            assert_eq!(record["outcome"], "client_gone", "{} at {words}: {record}", stream.name);
            assert_eq!(record["usage_source"], "estimated", "{record}");
            let output = record["usage"]["output"].as_u64().unwrap_or(0);
            assert!(output >= seen as u64, "{} at {words}: {record}", stream.name);
            // Where the provider has said how long the prompt is, that stands; else its bytes are counted.
            let told = words > 0 && stream.dialect != Dialect::OpenAi;
            let counted = record["bytes_in"].as_u64().unwrap().div_ceil(4);
            let input = record["usage"]["input"].as_u64().unwrap();
            // A frame that the caller has not seen may have been on its way when they left.
            let unread = told && seen == 0 && input == counted;
            assert!(unread || input == if told { 25 } else { counted }, "{record}");
            let charged = nanos(record["cost_usd"].as_str().unwrap());
            let hold = nanos(record["hold_usd"].as_str().unwrap());
            assert_eq!(charged, cost(stream.dialect.name(), "echo", &record["usage"]).min(hold), "{record}");
            assert!(charged > 0, "never nothing");
            until("the provider is let go", || upstream.hung_up() > closed);
        }
        let records = gateway.records_of(&key);
        assert_eq!(records.len(), 10, "exactly one record each");
    }
}

#[test]
fn the_provider_sees_that_a_caller_left_and_stops() {
    let world = World::start();
    for stream in &STREAMS {
        for chunk in [0, 1, 2, 5] {
            let mark = world.sim.requests();
            let mut connection = begin(&world.gateway, &world.key, (stream.request)("long"));
            let reply = connection.begin().unwrap();
            for _ in 0..chunk {
                connection.piece().unwrap().expect("it goes on");
            }
            connection.hang_up();
            let record = world.gateway.record_soon(reply.id());
            assert_eq!(record["outcome"], "client_gone", "{record}");
            let entry = world.sim.only(mark);
            assert!(entry.is("client_gone") && !entry.is("completed"), "{}", entry.0);
            // What the provider had on its way when the gateway let go is in nobody's power, so the record says that it
            // is an estimate; that it covers all that arrived is proved above, where nothing is on its way.
            assert_eq!(record["usage_source"], "estimated", "{record}");
            assert!(record["usage"]["output"].as_u64().unwrap() > 0, "{record}");
        }
    }
    assert_eq!(world.gateway.records_of(&world.key).len(), STREAMS.len() * 4);
}

#[test]
fn a_caller_who_leaves_before_the_answer_begins_is_charged_what_was_sent() {
    let upstream = CannedUpstream::start();
    let gateway = setup().upstream("", &upstream.url()).start();
    for dialect in Dialect::ALL {
        let key = gateway.key(dialect.name());
        let gate = upstream.gate();
        upstream.take_seen();
        let connection = begin(&gateway, &key, dialect.chat().at("echo"));
        until("the provider has the request", || !upstream.seen().is_empty());
        connection.hang_up();
        let record: Value = until_some("the call is recorded", || gateway.records_of(&key).pop());
        gate.open();
        assert_eq!(record["outcome"], "client_gone", "{record}");
        assert_eq!(record["usage_source"], "estimated", "{record}");
        let charged = nanos(record["cost_usd"].as_str().unwrap());
        assert!(charged > 0 && charged <= nanos(record["hold_usd"].as_str().unwrap()), "{record}");
        assert_eq!(gateway.records_of(&key).len(), 1);
    }
}

#[test]
fn a_caller_who_leaves_before_the_body_is_whole_costs_nothing() {
    let world = World::start();
    let mark = world.sim.requests();
    let bytes = Dialect::OpenAi.chat().at("echo").bearer(&world.key.secret).bytes();
    for sent in [10, bytes.len() / 2, bytes.len() - 1] {
        let mut connection = world.gateway.connect();
        connection.send(&bytes[..sent]).unwrap();
        connection.hang_up();
    }
    // A call behind them is served, and theirs left nothing that costs.
    assert_eq!(world.call(&Dialect::OpenAi.chat().at("echo")).status, 200);
    for record in world.gateway.records_of(&world.key).iter().filter(|record| record["outcome"] != "completed") {
        assert_eq!((&record["attempt"], &record["cost_usd"]), (&0.into(), &"0".into()), "{record}");
    }
    assert_eq!(world.sim.requests() - mark, 1);
}
