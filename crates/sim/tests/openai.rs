//! OpenAI's dialect, shape by shape, and what it refuses.

mod common;

use base64::Engine as _;
use common::{get, masked, post, start};
use serde_json::{Value, json};

fn usage(input: u64, output: u64) -> Value {
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

#[tokio::test]
async fn a_chat_completion() {
    let sim = start().await;
    let body = json!({"model": "sim/echo", "n": 2, "messages": [{"role": "user", "content": "hello"}]});
    let reply = post(sim.addr, "/v1/chat/completions", body).await;
    let choice = |index: u64| {
        json!({
            "index": index, "logprobs": null, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "hello", "refusal": null, "annotations": []},
        })
    };
    assert_eq!(
        masked(reply.json()),
        json!({
            "id": "*", "object": "chat.completion", "created": "*", "model": "sim/echo",
            "choices": [choice(0), choice(1)], "usage": usage(2, 4),
            "service_tier": "default", "system_fingerprint": "fp_practice",
        })
    );
    assert!(reply.json()["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(reply.header("x-request-id").unwrap().starts_with("req_"));
}

#[tokio::test]
async fn chat_chunks_with_and_without_usage() {
    let sim = start().await;
    for include_usage in [true, false] {
        let body = json!({
            "model": "echo", "messages": [{"role": "user", "content": "hello"}], "stream": true,
            "stream_options": {"include_usage": include_usage},
        });
        let chunk = |delta: Value, finish: Value, obfuscation: &str| {
            let mut chunk = json!({
                "id": "*", "object": "chat.completion.chunk", "created": "*", "model": "echo",
                "service_tier": "default", "system_fingerprint": "fp_practice",
                "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
                "obfuscation": obfuscation,
            });
            if include_usage {
                chunk["usage"] = Value::Null;
            }
            chunk
        };
        let mut expected = vec![
            chunk(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null, "q7Xv2KpT9sLm4WdZ"),
            chunk(json!({"content": "hell"}), Value::Null, "2KpT9sLm4WdZ"),
            chunk(json!({"content": "o"}), Value::Null, "7Xv2KpT9sLm4WdZ"),
            chunk(json!({}), json!("stop"), "q7Xv2KpT9sLm4WdZ"),
        ];
        if include_usage {
            let mut last = chunk(json!({}), Value::Null, "");
            last["choices"] = json!([]);
            last["usage"] = usage(2, 2);
            expected.push(last);
        }
        expected.push(json!("[DONE]"));
        let reply = post(sim.addr, "/v1/chat/completions", body).await;
        let data: Vec<Value> = reply.data().into_iter().map(masked).collect();
        assert_eq!(data, expected);
        assert!(reply.events().iter().all(|(name, _)| name.is_empty()), "chat has no event names");
    }
}

#[tokio::test]
async fn chat_tool_calls_stream_by_index() {
    let sim = start().await;
    let body = json!({
        "model": "tool?calls=2", "stream": true, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}],
    });
    let reply = post(sim.addr, "/v1/chat/completions", body).await;
    let deltas: Vec<Value> = reply.data().iter().map(|chunk| masked(chunk["choices"][0]["delta"].clone())).collect();
    let opened = |index: u64| {
        json!({"tool_calls": [{
            "index": index, "id": "*", "type": "function", "function": {"name": "f", "arguments": ""}}]})
    };
    let piece = |index: u64, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": null, "refusal": null}),
            opened(0),
            piece(0, "{\"city\":\"tex"),
            piece(0, "t\"}"),
            opened(1),
            piece(1, "{\"city\":\"tex"),
            piece(1, "t\"}"),
            json!({}),
            Value::Null,
        ]
    );
}

#[tokio::test]
async fn chat_loops_end_after_the_tools_answer() {
    let sim = start().await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let mut body = json!({"model": "tool", "tools": tools, "messages": [{"role": "user", "content": "x"}]});
    let first = post(sim.addr, "/v1/chat/completions", body.clone()).await.json();
    let message = &first["choices"][0]["message"];
    let id = &message["tool_calls"][0]["id"];
    assert_eq!(message["content"], Value::Null);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(message.clone());
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": "42"}));
    let second = post(sim.addr, "/v1/chat/completions", body).await.json();
    assert_eq!(second["choices"][0]["message"]["content"], "The tool answered: 42");
    assert_eq!(second["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn reasoning_is_counted_and_not_shown_in_chat() {
    let sim = start().await;
    let body = json!({"model": "reason", "messages": [{"role": "user", "content": "hello"}]});
    let reply = post(sim.addr, "/v1/chat/completions", body).await.json();
    let usage = &reply["usage"];
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert!(reasoning > 0);
    assert_eq!(usage["completion_tokens"], reasoning + 2);
    assert_eq!(reply["choices"][0]["message"]["content"], "hello");
}

#[tokio::test]
async fn a_repeated_cache_key_reads_the_cache() {
    let sim = start().await;
    let ask = async |path: &str, key: Option<&str>| {
        let input = json!([{"role": "user", "content": "four tokens here"}]);
        let field = if path == "/v1/responses" { "input" } else { "messages" };
        let mut body = json!({"model": "echo", "prompt_cache_key": key});
        body[field] = input;
        post(sim.addr, path, body).await.json()["usage"].clone()
    };
    for (path, details, total) in [
        ("/v1/chat/completions", "prompt_tokens_details", "prompt_tokens"),
        ("/v1/responses", "input_tokens_details", "input_tokens"),
    ] {
        let key = Some(path);
        for (key, cached) in [(key, 0), (key, 4), (None, 0), (Some("other"), 0)] {
            // The key "other" is new only once; each path has its own last case.
            let key = key.map(|key| format!("{path}{key}"));
            let usage = ask(path, key.as_deref()).await;
            assert_eq!((&usage[details]["cached_tokens"], &usage[total]), (&json!(cached), &json!(4)));
        }
    }
}

#[tokio::test]
async fn legacy_completions() {
    let sim = start().await;
    let body = json!({"model": "echo", "prompt": "hello", "max_tokens": 1});
    let reply = masked(post(sim.addr, "/v1/completions", body.clone()).await.json());
    assert_eq!(
        reply,
        json!({
            "id": "*", "object": "text_completion", "created": "*", "model": "echo",
            "system_fingerprint": "fp_practice",
            "choices": [{"text": "hell", "index": 0, "logprobs": null, "finish_reason": "length"}],
            "usage": usage(2, 1),
        })
    );
    let mut stream = body;
    stream["stream"] = json!(true);
    stream["stream_options"] = json!({"include_usage": true});
    let data = post(sim.addr, "/v1/completions", stream).await.data();
    let texts: Vec<&Value> = data.iter().map(|chunk| &chunk["choices"][0]["text"]).collect();
    assert_eq!(texts, [&json!("hell"), &json!(""), &Value::Null, &Value::Null]);
    assert_eq!(data[1]["choices"][0]["finish_reason"], "length");
    assert_eq!((&data[0]["usage"], &data[2]["usage"]), (&Value::Null, &usage(2, 1)));
    assert_eq!(data[3], "[DONE]");
    let many = json!({"model": "echo", "prompt": ["one", "two"], "n": 2});
    let many = post(sim.addr, "/v1/completions", many).await.json();
    let texts: Vec<&Value> = many["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["one", "one", "two", "two"]);
    let tokens = json!({"model": "echo", "prompt": [1, 2, 3, 4, 5, 6, 7]});
    assert_eq!(post(sim.addr, "/v1/completions", tokens).await.json()["usage"]["prompt_tokens"], 7);
}

#[tokio::test]
async fn embeddings_in_both_encodings_are_the_same_numbers() {
    let sim = start().await;
    let ask = async |format: &str, dimensions: Value| {
        let body =
            json!({"model": "embed", "input": ["one", "two"], "encoding_format": format, "dimensions": dimensions});
        post(sim.addr, "/v1/embeddings", body).await.json()
    };
    let floats = ask("float", json!(null)).await;
    let packed = ask("base64", json!(null)).await;
    assert_eq!(floats["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    assert_eq!((&floats["object"], &floats["model"]), (&json!("list"), &json!("embed")));
    for index in 0..2 {
        let numbers: Vec<f32> = serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap();
        let bytes = packed["data"][index]["embedding"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(bytes).unwrap();
        let unpacked: Vec<f32> = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(numbers, unpacked);
        assert_eq!(numbers.len(), 1536);
        assert_eq!(floats["data"][index]["index"], index);
    }
    let small = ask("float", json!(8)).await;
    assert_eq!(small["data"][1]["embedding"].as_array().unwrap().len(), 8);
    let tokens = json!({"model": "embed", "input": [[1, 2, 3], [4]]});
    assert_eq!(post(sim.addr, "/v1/embeddings", tokens).await.json()["usage"]["prompt_tokens"], 4);
    for (input, status) in [(json!(""), 400), (json!([]), 400), (json!(null), 400), (json!(["a", 1]), 400)] {
        let body = json!({"model": "embed", "input": input});
        assert_eq!(post(sim.addr, "/v1/embeddings", body).await.status, status, "{input}");
    }
    let chat_model = json!({"model": "echo", "input": "x"});
    assert_eq!(post(sim.addr, "/v1/embeddings", chat_model).await.status, 404);
}

#[tokio::test]
async fn models_are_listed() {
    let sim = start().await;
    let list = get(sim.addr, "/v1/models").await.json();
    let names: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, anykey_sim::models().iter().map(|model| model.name).collect::<Vec<_>>());
    let one = get(sim.addr, "/v1/models/lorem").await.json();
    assert_eq!(one, json!({"id": "lorem", "object": "model", "created": 1_767_225_600, "owned_by": "practice"}));
    assert_eq!(get(sim.addr, "/v1/models/gpt-5").await.json()["error"]["code"], "model_not_found");
    assert_eq!(get(sim.addr, "/v1/nothing").await.status, 404);
    assert_eq!(get(sim.addr, "/v1/chat/completions").await.status, 405);
}

#[tokio::test]
async fn chat_refuses_what_openai_refuses() {
    let sim = start().await;
    let user = json!({"role": "user", "content": "x"});
    let call = json!({"role": "assistant", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]});
    let result = json!({"role": "tool", "tool_call_id": "a", "content": "1"});
    let stray = json!({"role": "tool", "tool_call_id": "b", "content": "1"});
    let picture = json!({"role": "tool", "tool_call_id": "a", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]});
    let good = json!({"model": "echo", "messages": [user, call, result, user]});
    assert_eq!(post(sim.addr, "/v1/chat/completions", good).await.status, 200);
    let bad = [
        (json!({"messages": []}), "messages"),
        (json!({"messages": "x"}), "messages"),
        (json!({}), "messages"),
        (json!({"messages": [user, call, user]}), "messages.[2].role"),
        (json!({"messages": [user, call]}), "messages.[2].role"),
        (json!({"messages": [user, result]}), "messages.[1].role"),
        (json!({"messages": [user, call, stray]}), "messages.[2].role"),
        (json!({"messages": [user, call, picture]}), "messages[2].content[0].type"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [user], "max_tokens": "9"}), "max_tokens"),
        (json!({"messages": [user], "max_completion_tokens": 0}), "max_completion_tokens"),
        (json!({"messages": [user], "tool_choice": "auto"}), "tool_choice"),
        (json!({"messages": [user], "model": "reason", "max_tokens": 9}), "max_tokens"),
    ];
    for (mut body, param) in bad {
        let model = body["model"].as_str().unwrap_or("echo").to_owned();
        body["model"] = json!(model);
        let reply = post(sim.addr, "/v1/chat/completions", body.clone()).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}");
    }
    let reply = common::send(sim.addr, "POST", "/v1/chat/completions", &[], b"{\"model\":").await;
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (400, &json!("invalid_request_error")));
}
