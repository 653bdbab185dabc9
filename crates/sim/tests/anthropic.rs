//! Anthropic's dialect, shape by shape, and what it refuses.

mod common;

use common::{masked, post, send, start};
use serde_json::{Value, json};

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

fn usage(input: u64, output: u64) -> Value {
    json!({
        "input_tokens": input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output, "service_tier": "standard",
    })
}

fn ask(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn a_message() {
    let sim = start().await;
    let reply = post(sim.addr, "/v1/messages?beta=true", ask("echo", "hello")).await;
    assert_eq!(
        masked(reply.json()),
        json!({
            "id": "*", "type": "message", "role": "assistant", "model": "echo",
            "content": [{"type": "text", "text": "hello"}],
            "stop_reason": "end_turn", "stop_sequence": null, "usage": usage(2, 2),
        })
    );
    assert!(reply.json()["id"].as_str().unwrap().starts_with("msg_01"));
    assert!(reply.header("request-id").unwrap().starts_with("req_01"));
}

#[tokio::test]
async fn the_events_of_a_message() {
    let sim = start().await;
    let mut body = ask("echo", "hello");
    body["stream"] = json!(true);
    let events = post(sim.addr, "/v1/messages", body).await.events();
    assert!(events.iter().all(|(name, data)| data["type"] == name.as_str()));
    let data: Vec<Value> = events.into_iter().map(|(_, data)| masked(data)).collect();
    let delta =
        |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    assert_eq!(
        data,
        [
            json!({"type": "message_start", "message": {
                "id": "*", "type": "message", "role": "assistant", "model": "echo", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": usage(2, 1),
            }}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            delta("hell"),
            delta("o"),
            json!({"type": "content_block_stop", "index": 0}),
            json!({
                "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {
                    "input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                    "output_tokens": 2,
                },
            }),
            json!({"type": "message_stop"}),
        ]
    );
}

#[tokio::test]
async fn a_thinking_block_is_signed_and_must_come_back_unchanged() {
    let sim = start().await;
    let mut body = ask("reason", "hello");
    body["stream"] = json!(true);
    let data = post(sim.addr, "/v1/messages", body).await.data();
    let deltas: Vec<&Value> = data.iter().filter(|event| event["index"] == 0 && event["delta"].is_object()).collect();
    let (last, before) = deltas.split_last().unwrap();
    assert_eq!(last["delta"]["type"], "signature_delta");
    assert!(before.iter().all(|event| event["delta"]["type"] == "thinking_delta"));
    let details = &data[data.len() - 2]["usage"]["output_tokens_details"];
    assert!(details["thinking_tokens"].as_u64().unwrap() > 0);

    let first = post(sim.addr, "/v1/messages", ask("reason", "hello")).await.json();
    assert_eq!(first["content"][0]["signature"], last["delta"]["signature"]);
    let again = |content: Value| {
        let mut body = ask("reason", "hello");
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": content}));
        messages.push(json!({"role": "user", "content": "more"}));
        body
    };
    assert_eq!(post(sim.addr, "/v1/messages", again(first["content"].clone())).await.status, 200);
    let mut forged = first["content"].clone();
    forged[0]["thinking"] = json!("something else");
    assert_eq!(post(sim.addr, "/v1/messages", again(forged)).await.status, 400);

    let mut omitted = ask("reason", "hello");
    omitted["max_tokens"] = json!(2000);
    omitted["thinking"] = json!({"type": "enabled", "budget_tokens": 1024, "display": "omitted"});
    let omitted = post(sim.addr, "/v1/messages", omitted).await.json();
    assert_eq!(omitted["content"][0]["thinking"], "");
    assert_eq!(omitted["content"][0]["signature"], first["content"][0]["signature"]);
    assert_eq!(omitted["usage"]["output_tokens"], first["usage"]["output_tokens"]);
    let mut disabled = ask("reason", "hello");
    disabled["thinking"] = json!({"type": "disabled"});
    let disabled = post(sim.addr, "/v1/messages", disabled).await.json();
    assert_eq!(disabled["content"], json!([{"type": "text", "text": "hello"}]));
}

#[tokio::test]
async fn a_tool_call_streams_its_input_and_the_loop_ends() {
    let sim = start().await;
    let mut body = ask("tool", "x");
    body["tools"] = json!([{"name": "f", "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]);
    let whole = post(sim.addr, "/v1/messages", body.clone()).await.json();
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(
        masked(whole["content"].clone()),
        json!([{"type": "tool_use", "id": "*", "name": "f", "input": {"city": "text"}}])
    );
    let mut stream = body.clone();
    stream["stream"] = json!(true);
    let data = post(sim.addr, "/v1/messages", stream).await.data();
    assert_eq!(
        masked(data[1].clone())["content_block"],
        json!({"type": "tool_use", "id": "*", "name": "f", "input": {}})
    );
    let pieces: Vec<&Value> = data.iter().filter_map(|event| event.pointer("/delta/partial_json")).collect();
    assert_eq!(pieces, ["", "{\"city\":\"tex", "t\"}"]);

    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": whole["content"]}));
    let id = &whole["content"][0]["id"];
    messages.push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "42"}]}));
    let end = post(sim.addr, "/v1/messages", body).await.json();
    assert_eq!(end["content"][0]["text"], "The tool answered: 42");
}

#[tokio::test]
async fn marked_prefixes_are_written_then_read() {
    let sim = start().await;
    let ask = async |first: &str, ttl: Value, stream: bool| {
        let mut marker = json!({"type": "ephemeral"});
        if ttl.is_string() {
            marker["ttl"] = ttl;
        }
        let body = json!({
            "model": "echo", "max_tokens": 9, "stream": stream,
            "system": [{"type": "text", "text": first, "cache_control": marker}],
            "messages": [{"role": "user", "content": "1234"}],
        });
        let reply = post(sim.addr, "/v1/messages", body).await;
        match stream {
            true => reply.data()[0]["message"]["usage"].clone(),
            false => reply.json()["usage"].clone(),
        }
    };
    let figures = |usage: Value| {
        let of = |pointer: &str| usage.pointer(pointer).unwrap().as_u64().unwrap();
        assert_eq!(
            of("/cache_creation_input_tokens"),
            of("/cache_creation/ephemeral_5m_input_tokens") + of("/cache_creation/ephemeral_1h_input_tokens")
        );
        (
            of("/input_tokens"),
            of("/cache_creation/ephemeral_5m_input_tokens"),
            of("/cache_creation/ephemeral_1h_input_tokens"),
            of("/cache_read_input_tokens"),
        )
    };
    assert_eq!(figures(ask("twelve bytes", json!(null), false).await), (1, 3, 0, 0));
    assert_eq!(figures(ask("twelve bytes", json!(null), true).await), (1, 0, 0, 3));
    assert_eq!(figures(ask("other 12byte", json!("1h"), true).await), (1, 0, 3, 0));
    assert_eq!(figures(ask("other 12byte", json!("1h"), false).await), (1, 0, 0, 3));
}

#[tokio::test]
async fn tokens_can_be_counted_before() {
    let sim = start().await;
    let mut body = ask("echo", "some words to count");
    body["system"] = json!("and a system prompt");
    let counted = post(sim.addr, "/v1/messages/count_tokens", body.clone()).await.json();
    let billed = post(sim.addr, "/v1/messages", body).await.json();
    assert_eq!(counted, json!({"input_tokens": billed["usage"]["input_tokens"]}));
}

#[tokio::test]
async fn models_are_paged() {
    let sim = start().await;
    let mut names = Vec::new();
    let mut path = "/v1/models?limit=7".to_owned();
    loop {
        let page = send(sim.addr, "GET", &path, &[VERSION], b"").await.json();
        let data = page["data"].as_array().unwrap();
        assert_eq!((&page["first_id"], &page["last_id"]), (&data[0]["id"], &data[data.len() - 1]["id"]));
        names.extend(data.iter().map(|model| model["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            break;
        }
        path = format!("/v1/models?limit=7&after_id={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(names, anykey_sim::models().iter().map(|model| model.name).collect::<Vec<_>>());
    let one = send(sim.addr, "GET", "/v1/models/echo", &[VERSION], b"").await.json();
    assert_eq!((&one["type"], &one["display_name"]), (&json!("model"), &json!("Practice echo")));
}

#[tokio::test]
async fn messages_refuse_what_anthropic_refuses() {
    let sim = start().await;
    let user = |content: Value| json!({"role": "user", "content": content});
    let assistant = |content: Value| json!({"role": "assistant", "content": content});
    let call = assistant(json!([{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]));
    let result = json!({"type": "tool_result", "tool_use_id": "t1", "content": "1"});
    let text = json!({"type": "text", "text": "x"});
    let good = json!([user(json!("x")), call, user(json!([result, text])), assistant(json!("so"))]);
    let body = json!({"model": "echo", "max_tokens": 9, "messages": good});
    assert_eq!(post(sim.addr, "/v1/messages", body).await.status, 200);
    let bad_messages = [
        json!([]),
        json!("x"),
        json!([assistant(json!("x"))]),
        json!([{"role": "system", "content": "x"}]),
        json!([user(json!(""))]),
        json!([user(json!([]))]),
        json!([user(json!([{"type": "text", "text": ""}]))]),
        json!([user(json!([{"type": "text", "text": "  "}]))]),
        json!([user(json!("x")), call, user(json!("x"))]),
        json!([user(json!("x")), call]),
        json!([user(json!("x")), call, user(json!([text, result]))]),
        json!([user(json!([result]))]),
        json!([
            user(json!("x")),
            assistant(json!([{"type": "tool_use", "id": "a b", "name": "f", "input": {}}])),
            user(json!([{"type": "tool_result", "tool_use_id": "a b"}]))
        ]),
        json!([user(json!("x")), assistant(json!("trailing "))]),
    ];
    for messages in bad_messages {
        let body = json!({"model": "echo", "max_tokens": 9, "messages": messages});
        let reply = post(sim.addr, "/v1/messages", body).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{messages}"
        );
    }
    let fields = [
        json!({"max_tokens": null}),
        json!({"max_tokens": 0}),
        json!({"max_tokens": "9"}),
        json!({"temperature": 1.5}),
        json!({"max_tokens": 1024, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
        json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 10}}),
        json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}, "temperature": 0.5}),
        json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}, "tool_choice": {"type": "any"}}),
    ];
    for field in fields {
        let mut body = ask("echo", "x");
        body.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        assert_eq!(post(sim.addr, "/v1/messages", body).await.status, 400, "{field}");
    }
    let body = ask("echo", "x").to_string();
    let versionless = send(sim.addr, "POST", "/v1/messages", &[], body.as_bytes()).await;
    assert_eq!((versionless.status, &versionless.json()["type"]), (400, &json!("error")));
}
