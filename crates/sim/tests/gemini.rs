//! Gemini's dialect, shape by shape, and what it refuses.

mod common;

use common::{get, masked, post, send, start};
use serde_json::{Value, json};

fn usage(prompt: u64, candidates: u64) -> Value {
    json!({
        "promptTokenCount": prompt, "candidatesTokenCount": candidates, "totalTokenCount": prompt + candidates,
        "cachedContentTokenCount": 0, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    })
}

fn ask(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn response(text: &str, finish: Option<&str>, usage: Value) -> Value {
    let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "echo", "responseId": "*"})
}

#[tokio::test]
async fn a_generated_content_under_both_versions() {
    let sim = start().await;
    for version in ["v1", "v1beta"] {
        let reply = post(sim.addr, &format!("/{version}/models/echo:generateContent"), ask("hello")).await;
        assert_eq!(masked(reply.json()), response("hello", Some("STOP"), usage(2, 2)));
    }
}

#[tokio::test]
async fn streams_as_sse_with_crlf_and_as_one_array() {
    let sim = start().await;
    let expected = [
        response("hell", None, usage(2, 1)),
        response("o", None, usage(2, 2)),
        response("", Some("STOP"), usage(2, 2)),
    ];
    let sse = post(sim.addr, "/v1beta/models/echo:streamGenerateContent?alt=sse", ask("hello")).await;
    let data: Vec<Value> = sse.data().into_iter().map(masked).collect();
    assert_eq!(data, expected);
    assert_eq!(sse.text().matches("\r\n\r\n").count(), 3);
    assert_eq!(sse.text().matches('\n').count(), 6);
    let array = post(sim.addr, "/v1beta/models/echo:streamGenerateContent", ask("hello")).await;
    assert_eq!(array.header("content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!(masked(array.json()), json!(expected));
    assert!(array.chunks.len() > 1, "the array is told bit by bit");
    let refused = post(sim.addr, "/v1beta/models/429:streamGenerateContent", ask("x")).await;
    assert_eq!((refused.status, &refused.json()[0]["error"]["code"]), (429, &json!(429)));
}

#[tokio::test]
async fn thoughts_are_counted_apart_and_shown_on_request() {
    let sim = start().await;
    let mut body = ask("hello");
    let hidden = post(sim.addr, "/v1beta/models/reason:generateContent", body.clone()).await.json();
    body["generationConfig"] = json!({"thinkingConfig": {"includeThoughts": true}});
    let shown = post(sim.addr, "/v1beta/models/reason:generateContent", body.clone()).await.json();
    assert_eq!(hidden["usageMetadata"], shown["usageMetadata"]);
    let thoughts = shown["usageMetadata"]["thoughtsTokenCount"].as_u64().unwrap();
    assert_eq!(shown["usageMetadata"]["candidatesTokenCount"], 2);
    assert_eq!(shown["usageMetadata"]["totalTokenCount"], 4 + thoughts);
    let parts = |response: &Value| response["candidates"][0]["content"]["parts"].clone();
    assert_eq!(parts(&hidden).as_array().unwrap().len(), 1);
    assert_eq!(parts(&shown)[0]["thought"], true);
    assert!(parts(&shown)[1]["thoughtSignature"].is_string());
    let stream = post(sim.addr, "/v1beta/models/reason:streamGenerateContent?alt=sse", body).await.data();
    let last = stream.last().unwrap();
    assert_eq!(last["usageMetadata"], shown["usageMetadata"]);
    assert_eq!(parts(last)[0]["thoughtSignature"], parts(&shown)[1]["thoughtSignature"]);
    let counts: Vec<u64> =
        stream.iter().map(|chunk| chunk["usageMetadata"]["totalTokenCount"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted(), "usage is cumulative: {counts:?}");
}

#[tokio::test]
async fn function_calls_are_whole_and_the_loop_ends() {
    let sim = start().await;
    let mut body = ask("x");
    body["tools"] = json!([{"function_declarations": [{"name": "f", "parameters": {
        "type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}}]}]);
    let path = "/v1beta/models/tool?calls=2".replace('?', "%3F");
    let whole = post(sim.addr, &format!("{path}:generateContent"), body.clone()).await.json();
    let candidate = &whole["candidates"][0];
    assert_eq!(candidate["finishReason"], "STOP");
    let parts = candidate["content"]["parts"].as_array().unwrap();
    let call = json!({"name": "f", "args": {"city": "text"}});
    assert!(parts.iter().all(|part| part["functionCall"] == call));
    assert_eq!(parts.iter().filter(|part| part.get("thoughtSignature").is_some()).count(), 1);
    let stream = post(sim.addr, &format!("{path}:streamGenerateContent?alt=sse"), body.clone()).await.data();
    let streamed: Vec<&Value> = stream.iter().map(|chunk| &chunk["candidates"][0]["content"]["parts"][0]).collect();
    assert_eq!(streamed, [&parts[0], &parts[1], &json!({"text": ""})]);
    let answer = json!({"functionResponse": {"name": "f", "response": {"result": 42}}});
    let contents = body["contents"].as_array_mut().unwrap();
    contents.push(candidate["content"].clone());
    contents.push(json!({"role": "user", "parts": [answer, answer]}));
    let end = post(sim.addr, "/v1beta/models/tool:generateContent", body).await.json();
    let text = end["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text, "The tool answered: {\"result\":42}\n{\"result\":42}");
}

#[tokio::test]
async fn tokens_can_be_counted_before() {
    let sim = start().await;
    let billed = post(sim.addr, "/v1beta/models/echo:generateContent", ask("hello there")).await.json();
    let total = &billed["usageMetadata"]["promptTokenCount"];
    let plain = post(sim.addr, "/v1beta/models/echo:countTokens", ask("hello there")).await.json();
    let nested = json!({"generateContentRequest": ask("hello there")});
    let nested = post(sim.addr, "/v1beta/models/echo:countTokens", nested).await.json();
    assert_eq!((&plain["totalTokens"], &plain), (total, &nested));
}

#[tokio::test]
async fn embeddings_one_and_many() {
    let sim = start().await;
    let content = |text: &str| json!({"parts": [{"text": text}]});
    let one = json!({"model": "models/embed", "content": content("a"), "outputDimensionality": 4});
    let single = post(sim.addr, "/v1beta/models/embed:embedContent", one.clone()).await.json();
    assert_eq!(single["embedding"]["values"].as_array().unwrap().len(), 4);
    let two = json!({"model": "models/embed", "content": content("b")});
    let batch = json!({"requests": [one, two]});
    let batch = post(sim.addr, "/v1beta/models/embed:batchEmbedContents", batch).await.json();
    assert_eq!(batch["embeddings"][0], single["embedding"]);
    assert_eq!(batch["embeddings"][1]["values"].as_array().unwrap().len(), 3072);
    for bad in [
        json!({"requests": []}),
        json!({"requests": [{"model": "models/other", "content": content("a")}]}),
        json!({"requests": [{"content": content("a")}]}),
        json!({"requests": [{"model": "models/embed"}]}),
    ] {
        let reply = post(sim.addr, "/v1beta/models/embed:batchEmbedContents", bad.clone()).await;
        assert_eq!((reply.status, &reply.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{bad}");
    }
}

#[tokio::test]
async fn models_are_listed_to_whoever_asks_as_gemini() {
    let sim = start().await;
    let names = |list: &Value| -> Vec<String> {
        let models = list["models"].as_array().unwrap();
        models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = get(sim.addr, "/v1beta/models").await.json();
    assert_eq!(names(&all).len(), anykey_sim::models().len());
    let by_header = send(sim.addr, "GET", "/v1/models", &[("x-goog-api-key", "k")], b"").await.json();
    assert_eq!(by_header, all);
    assert_eq!(get(sim.addr, "/v1/models?key=k").await.json(), all);
    let (mut paged, mut page, mut pages) = (Vec::new(), "/v1beta/models?pageSize=10".to_owned(), 0);
    loop {
        let list = get(sim.addr, &page).await.json();
        (paged, pages) = ([paged, names(&list)].concat(), pages + 1);
        let Some(token) = list["nextPageToken"].as_str() else { break };
        page = format!("/v1beta/models?pageSize=10&pageToken={token}");
    }
    assert_eq!((paged, pages), (names(&all), names(&all).len().div_ceil(10)));
    let one = get(sim.addr, "/v1beta/models/embed").await.json();
    assert_eq!(one["supportedGenerationMethods"], json!(["embedContent"]));
    assert_eq!(get(sim.addr, "/v1beta/models/gemini-3-pro").await.json()["error"]["status"], "NOT_FOUND");
    assert_eq!(post(sim.addr, "/v1beta/models/echo:unknownMethod", json!({})).await.status, 404);
}

#[tokio::test]
async fn contents_are_refused_as_gemini_refuses_them() {
    let sim = start().await;
    let user = |parts: Value| json!({"role": "user", "parts": parts});
    let call = json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]});
    let answer = json!({"functionResponse": {"name": "f", "response": {}}});
    let text = json!({"text": "x"});
    let bad = [
        json!({}),
        json!({"contents": []}),
        json!({"contents": [{"role": "assistant", "parts": [text]}]}),
        json!({"contents": [user(json!([]))]}),
        json!({"contents": [user(json!([text])), call, user(json!([text]))]}),
        json!({"contents": [user(json!([text])), call, user(json!([answer, answer]))]}),
        json!({"contents": [user(json!([answer]))]}),
        json!({"contents": [user(json!([text])), call, user(json!([{"functionResponse": {"response": {}}}]))]}),
        json!({"contents": [user(json!([text])), call, user(json!([{"functionResponse": {"name": "f", "response": "x"}}]))]}),
        json!({"contents": [user(json!([text]))], "generationConfig": {"maxOutputTokens": 0}}),
    ];
    for body in bad {
        let reply = post(sim.addr, "/v1beta/models/echo:generateContent", body.clone()).await;
        assert_eq!((reply.status, &reply.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}");
    }
    let good = json!({"contents": [user(json!([text])), call, user(json!([answer]))]});
    assert_eq!(post(sim.addr, "/v1beta/models/echo:generateContent", good).await.status, 200);
}

#[tokio::test]
async fn gemini_refuses_schemas_of_another_kind_and_calls_without_their_signature() {
    let sim = start().await;
    let path = "/v1beta/models/tool:generateContent";
    let user = json!({"role": "user", "parts": [{"text": "x"}]});
    let result = json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "1"}}}]});
    let with = |schema: Value| json!({"contents": [user], "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]});
    let object = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let first = post(sim.addr, path, with(object.clone())).await.json();
    let signed = first["candidates"][0]["content"].clone();
    assert!(signed["parts"][0]["thoughtSignature"].is_string(), "{first}");
    for wrong in [
        json!({"type": "object", "additionalProperties": false}),
        json!({"type": ["object", "null"]}),
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}),
    ] {
        let reply = post(sim.addr, path, with(wrong.clone())).await;
        assert_eq!(reply.status, 400, "{wrong}");
    }
    let mut unsigned = signed.clone();
    unsigned["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    let mut skipped = unsigned.clone();
    skipped["parts"][0]["thoughtSignature"] = "skip_thought_signature_validator".into();
    for (turn, status) in [(signed, 200), (skipped, 200), (unsigned, 400)] {
        let body = json!({"contents": [user, turn, result]});
        assert_eq!(post(sim.addr, path, body).await.status, status, "{turn}");
    }
}
