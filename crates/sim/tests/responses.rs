//! The responses endpoint: its object, its events and their order.

#![allow(clippy::unwrap_used)]

mod common;

use common::{masked, post, start};
use serde_json::{Value, json};

fn tool() -> Value {
    json!({"type": "function", "name": "f", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}})
}

#[tokio::test]
async fn a_response() {
    let sim = start().await;
    let body = json!({"model": "echo", "input": "hello", "instructions": "be kind", "metadata": {"a": "b"}});
    let reply = post(sim.addr, "/v1/responses", body).await;
    assert_eq!(
        masked(reply.json()),
        json!({
            "id": "*", "object": "response", "created_at": "*", "completed_at": "*", "status": "completed",
            "background": false, "error": null, "incomplete_details": null, "instructions": "be kind",
            "max_output_tokens": null, "max_tool_calls": null, "model": "echo",
            "output": [{
                "id": "*", "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "hello"}],
            }],
            "parallel_tool_calls": true, "previous_response_id": null, "prompt_cache_key": null,
            "reasoning": {"effort": null, "summary": null}, "safety_identifier": null, "service_tier": "default",
            "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled",
            "usage": {
                "input_tokens": 3, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 5,
            },
            "user": null, "metadata": {"a": "b"},
        })
    );
}

/// Runs a stream, checks what holds for every one, and gives its event types with runs of deltas as one.
async fn types(addr: std::net::SocketAddr, mut body: Value) -> (Vec<String>, Vec<Value>) {
    body["stream"] = json!(true);
    let events = post(addr, "/v1/responses", body).await.events();
    let mut types: Vec<String> = Vec::new();
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(data["type"], name.as_str());
        assert_eq!(data["sequence_number"], number);
        let last = number + 1 == events.len();
        if let Some(response) = data.get("response") {
            assert_eq!(response["usage"].is_object(), last, "usage comes in the last event only");
        }
        let kind = name.strip_prefix("response.").unwrap();
        if !(kind.ends_with(".delta") && types.last().is_some_and(|before| before == kind)) {
            types.push(kind.to_owned());
        }
    }
    (types, events.into_iter().map(|(_, data)| data).collect())
}

#[tokio::test]
async fn events_of_a_text() {
    let sim = start().await;
    let (types, data) = types(sim.addr, json!({"model": "echo", "input": "hello"})).await;
    assert_eq!(
        types,
        [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(
        masked(data[4].clone()),
        json!({
            "type": "response.output_text.delta", "sequence_number": 4, "item_id": "*", "output_index": 0,
            "content_index": 0, "logprobs": [], "delta": "hell", "obfuscation": "2KpT9sLm4WdZ",
        })
    );
    let item = &data.last().unwrap()["response"]["output"][0];
    assert!(data[2..].iter().filter_map(|event| event.get("item_id")).all(|id| *id == item["id"]));
    assert_eq!(&data[data.len() - 2]["item"], item);
}

#[tokio::test]
async fn events_of_reasoning() {
    let sim = start().await;
    let body = json!({
        "model": "reason", "input": "hello", "reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"],
    });
    let (told, data) = types(sim.addr, body).await;
    assert_eq!(
        told,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    let response = &data.last().unwrap()["response"];
    assert!(response["output"][0]["encrypted_content"].as_str().unwrap().len() > 20);
    assert!(response["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0);
    let (untold, data) = types(sim.addr, json!({"model": "reason", "input": "hello"})).await;
    assert!(!untold.iter().any(|kind| kind.contains("summary")));
    let item = &data.last().unwrap()["response"]["output"][0];
    assert_eq!(masked(item.clone()), json!({"id": "*", "type": "reasoning", "summary": []}));
}

#[tokio::test]
async fn events_of_a_call_and_the_loop_that_ends() {
    let sim = start().await;
    let body = json!({"model": "tool", "input": "x", "tools": [tool()]});
    let (types, data) = types(sim.addr, body.clone()).await;
    assert_eq!(
        types,
        [
            "created",
            "in_progress",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let call = &data.last().unwrap()["response"]["output"][0];
    assert!(call["id"].as_str().unwrap().starts_with("fc_") && call["call_id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(call["arguments"], "{\"city\":\"text\"}");
    let mut next = body;
    next["input"] = json!([
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "42"},
    ]);
    let reply = post(sim.addr, "/v1/responses", next).await.json();
    assert_eq!(reply["output"][0]["content"][0]["text"], "The tool answered: 42");
}

#[tokio::test]
async fn a_response_that_runs_out_of_tokens() {
    let sim = start().await;
    let body = json!({"model": "lorem", "input": "x", "max_output_tokens": 16});
    let (types, data) = types(sim.addr, body).await;
    assert_eq!(types.last().unwrap(), "incomplete");
    let response = &data.last().unwrap()["response"];
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["usage"]["output_tokens"], 16);
}

#[tokio::test]
async fn responses_refuse_what_openai_refuses() {
    let sim = start().await;
    let user = json!({"role": "user", "content": "x"});
    let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "a", "output": "1"});
    let bad = [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 5}), "input"),
        (json!({"input": [user, call]}), "input"),
        (json!({"input": [user, output]}), "input"),
        (json!({"input": [{"role": "robot", "content": "x"}]}), "input[0].role"),
        (json!({"input": "x", "max_output_tokens": 15}), "max_output_tokens"),
        (json!({"input": "x", "previous_response_id": "resp_1"}), "previous_response_id"),
    ];
    for (mut body, param) in bad {
        body["model"] = json!("echo");
        let reply = post(sim.addr, "/v1/responses", body.clone()).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}");
    }
    assert_eq!(common::get(sim.addr, "/v1/responses/resp_1").await.status, 404);
}
