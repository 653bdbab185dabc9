//! What cannot be carried is named, wherever it stands: nothing goes in silence.

use super::{ask, reply};
use anykey_dialect::stream::{StreamKind, StreamMeter};
use anykey_dialect::translate::{self, Api, StreamTranslator};
use bytes::Bytes;
use serde_json::{Value, json};

fn dropped(client: Api, provider: Api, body: Value) -> Vec<String> {
    let translated = ask(client, false, &body.to_string(), provider).unwrap();
    translated.dropped.iter().map(ToString::to_string).collect()
}

#[test]
fn images_among_the_instructions() {
    let image = "data:image/png;base64,AAAA";
    let chat = json!({ "model": "m", "messages": [
        { "role": "system", "content": [{ "type": "text", "text": "s" }, { "type": "image_url", "image_url": { "url": image } }] },
        { "role": "user", "content": "x" },
    ] });
    for provider in [Api::Messages, Api::Gemini] {
        assert_eq!(dropped(Api::Chat, provider, chat.clone()), ["messages[].content[]"]);
    }
    let gemini = json!({
        "systemInstruction": { "parts": [{ "text": "s" }, { "inlineData": { "mimeType": "image/png", "data": "AAAA" } }] },
        "contents": [{ "parts": [{ "text": "x" }] }],
    });
    assert_eq!(dropped(Api::Gemini, Api::Messages, gemini), ["systemInstruction.parts[]"]);
}

#[test]
fn members_of_inner_objects() {
    let source = json!({ "type": "base64", "media_type": "image/png", "data": "AAAA", "crop": 1 });
    let messages = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": [{ "type": "image", "source": source }] },
    ] });
    assert_eq!(dropped(Api::Messages, Api::Chat, messages), ["messages[].content[].source.crop"]);
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let forced = json!({ "type": "function", "function": { "name": "f", "extra": 1 } });
    let chat = |choice: &Value| json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "tools": tools, "tool_choice": choice });
    assert_eq!(dropped(Api::Chat, Api::Messages, chat(&forced)), ["tool_choice.function.extra"]);
    let allowed =
        json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [forced], "extra": 1 } });
    assert_eq!(dropped(Api::Chat, Api::Messages, chat(&allowed)), ["tool_choice.allowed_tools.extra"]);
}

#[test]
fn the_name_of_a_file_that_goes_by_its_address() {
    let source = json!({ "type": "url", "url": "https://example.com/a.pdf" });
    let messages = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": [{ "type": "document", "title": "A", "source": source }] },
    ] });
    assert_eq!(dropped(Api::Messages, Api::Responses, messages), ["messages[].content[].title"]);
}

#[test]
fn another_providers_signature() {
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [
            { "type": "redacted_thinking", "data": "c2VjcmV0" },
            { "type": "text", "text": "a" },
        ] },
        { "role": "user", "content": "y" },
    ] });
    for provider in [Api::Chat, Api::Responses, Api::Gemini] {
        assert_eq!(dropped(Api::Messages, provider, body.clone()), ["messages[].content[].thinking"], "{provider:?}");
    }
}

#[test]
fn what_only_geminis_format_holds_in_an_answer() {
    let part = json!({ "inlineData": { "mimeType": "image/png", "data": "AAAA" } });
    let body = json!({ "responseId": "r", "candidates": [
        { "content": { "parts": [{ "text": "see" }, part] }, "finishReason": "STOP" },
    ] })
    .to_string();
    for client in [Api::Chat, Api::Responses, Api::Messages] {
        for translate in [translate::answer, translate::replayed] {
            let told = translate(Api::Gemini, body.as_bytes(), None, &reply(client, false)).unwrap();
            assert_eq!(told.left_out, ["answer.parts[].inlineData"]);
        }
        let mut meter = StreamMeter::new(StreamKind::GeminiSse, false);
        let mut translator = StreamTranslator::new(Api::Gemini, reply(client, false));
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        meter.feed(Bytes::from(format!("data: {body}\n\n")), &mut frames).unwrap();
        meter.finish(&mut frames);
        meter.release(&mut frames);
        for frame in &frames {
            translator.feed(frame, &meter, &mut out).unwrap();
        }
        translator.finish(&meter, &mut out).unwrap();
        let text = String::from_utf8(out.concat()).unwrap();
        assert!(text.contains("\n\n: x-anykey-dropped: answer.parts[].inlineData\n\n"), "{text}");
    }
}

#[test]
fn what_a_stream_for_geminis_sdks_leaves_out_is_in_its_last_chunk() {
    let image = json!({ "images": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] });
    let chunk = |delta: &Value, stop: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": stop });
        format!("data: {}\n\n", json!({ "id": "c", "choices": [choice] }))
    };
    let said = chunk(&json!({ "content": "see" }), Value::Null);
    let shown = chunk(&image, Value::Null).repeat(2);
    let body = format!("{said}{shown}{}data: [DONE]\n\n", chunk(&json!({}), json!("stop")));
    for array in [false, true] {
        // Its SDK for Python takes a comment for half an error.
        let told = super::stream(Api::Chat, Api::Gemini, body.as_bytes(), 7, array);
        let told = super::gather::gathered(Api::Gemini, &told);
        assert_eq!(told["x-anykey-dropped"], "answer.message.images", "{told}");
    }
    let told = String::from_utf8(super::stream(Api::Chat, Api::Messages, body.as_bytes(), 7, false)).unwrap();
    assert_eq!(told.matches(": x-anykey-dropped: answer.message.images\n\n").count(), 1, "{told}");
}

/// Thinking that is shown, thinking that is not, and the call that both led to.
fn redacted() -> Value {
    json!([
        { "type": "thinking", "thinking": "Paris?", "signature": "RXJVQi8=" },
        { "type": "redacted_thinking", "data": "EmwKAhgBEgy3/va2AAAA" },
        { "type": "tool_use", "id": "toolu_1", "name": "look_up", "input": { "q": "Paris" } },
    ])
}

#[test]
fn redacted_thinking_comes_back_whole_on_the_next_turn() {
    let answer = json!({ "id": "msg_1", "type": "message", "content": redacted(), "stop_reason": "tool_use" });
    for (client, next) in
        [(Api::Chat, next_chat as fn(&Value) -> Value), (Api::Responses, next_responses), (Api::Gemini, next_gemini)]
    {
        let told =
            translate::answer(Api::Messages, answer.to_string().as_bytes(), None, &reply(client, false)).unwrap();
        let turn = next(&serde_json::from_slice(&told.body).unwrap());
        let translated = ask(client, false, &turn.to_string(), Api::Messages).unwrap();
        assert_eq!(translated.dropped, Vec::<String>::new(), "{client:?}: {turn}");
        let body: Value = serde_json::from_slice(&translated.body).unwrap();
        assert_eq!(body["messages"][1]["content"], redacted(), "{client:?}: {turn}");
        // The model goes on thinking, which it may only where all of its thinking came back.
        assert_eq!(body["thinking"]["type"], "enabled", "{client:?}");
    }
}

fn next_chat(answer: &Value) -> Value {
    let message = answer["choices"][0]["message"].clone();
    let result = json!({ "role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "a city" });
    json!({ "model": "m", "reasoning_effort": "medium",
        "messages": [{ "role": "user", "content": "x" }, message, result] })
}

fn next_responses(answer: &Value) -> Value {
    let mut input = vec![json!({ "role": "user", "content": "x" })];
    let output = answer["output"].as_array().unwrap().clone();
    let id = output.last().unwrap()["call_id"].clone();
    input.extend(output);
    input.push(json!({ "type": "function_call_output", "call_id": id, "output": "a city" }));
    json!({ "model": "m", "reasoning": { "effort": "medium" }, "input": input })
}

fn next_gemini(answer: &Value) -> Value {
    let result = json!({ "functionResponse": { "name": "look_up", "response": { "result": "a city" } } });
    json!({ "generationConfig": { "thinkingConfig": { "thinkingBudget": 8192 } }, "contents": [
        { "role": "user", "parts": [{ "text": "x" }] },
        answer["candidates"][0]["content"],
        { "role": "user", "parts": [result] },
    ] })
}

#[test]
fn log_probabilities_are_told_once_and_whole() {
    let token = |text: &str| json!({ "token": text, "logprob": -0.5, "bytes": null, "top_logprobs": [] });
    let part = |text: &str| json!({ "type": "output_text", "text": text, "logprobs": [token(text)] });
    let body = json!({ "id": "resp_1", "status": "completed", "output": [
        { "type": "message", "content": [part("a"), part("b")] },
    ] })
    .to_string();
    let told = translate::answer(Api::Responses, body.as_bytes(), None, &reply(Api::Chat, false)).unwrap();
    let told: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!(told["choices"][0]["logprobs"]["content"], json!([token("a"), token("b")]));

    let chunk = |text: &str, stop: Value| {
        let choice = json!({ "index": 0, "delta": { "content": text }, "logprobs": { "content": [token(text)] },
            "finish_reason": stop });
        format!("data: {}\n\n", json!({ "id": "c", "choices": [choice] }))
    };
    let stream = format!("{}{}data: [DONE]\n\n", chunk("a", Value::Null), chunk("b", json!("stop")));
    let whole = json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": "ab" },
        "logprobs": { "content": [token("a"), token("b")] }, "finish_reason": "stop" }] });
    let streamed = super::stream(Api::Chat, Api::Responses, stream.as_bytes(), 7, false);
    let replayed = translate::replayed(Api::Chat, whole.to_string().as_bytes(), None, &reply(Api::Responses, false));
    for told in [streamed, replayed.unwrap().body.to_vec()] {
        let response = super::gather::gathered(Api::Responses, &told);
        assert_eq!(response["output"][0]["content"][0]["logprobs"], json!([token("a"), token("b")]), "{response}");
    }
}
