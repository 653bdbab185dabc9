//! What is read of a request, and what is refused.

use anykey_core::{Code, Endpoint, Refusal};
use anykey_dialect::head::{Head, IncludeUsage, Span, scan};
use proptest::prelude::*;
use serde_json::{Value, json};

fn chat(body: &str) -> Result<Head, Refusal> {
    scan(Endpoint::ChatCompletions, body.as_bytes())
}

fn code(endpoint: Endpoint, body: &[u8]) -> Code {
    scan(endpoint, body).expect_err(&String::from_utf8_lossy(body)).code
}

/// The code and the parameter of a refusal.
fn refused(endpoint: Endpoint, body: &str) -> (Code, String) {
    let refusal = scan(endpoint, body.as_bytes()).expect_err(body);
    (refusal.code, refusal.param.unwrap_or_default().into_owned())
}

#[test]
fn a_plain_request() {
    let body = r#" {"messages":[],"model":"gpt\u002d4o","stream":true,"max_tokens":5,"n":2} "#;
    let head = chat(body).unwrap();
    let span = head.model.unwrap();
    assert_eq!(&body[span.start..span.end], r#""gpt\u002d4o""#);
    assert_eq!(head.model_name.as_deref(), Some("gpt-4o"));
    assert!(head.stream && !head.unbounded && !head.encoding_base64);
    assert_eq!((head.max_tokens, head.n), (Some(5), 2));
    assert_eq!(head.include_usage, IncludeUsage::Absent { at: 2, only_member: false });
}

#[test]
fn what_is_not_said_is_unset() {
    let head = chat(r#"{"model":"m","stream":null,"max_tokens":null,"n":null}"#).unwrap();
    assert_eq!((head.stream, head.max_tokens, head.n), (false, None, 1));
    assert_eq!(chat("{}").unwrap().model, None);
    assert_eq!(chat("{}").unwrap().include_usage, IncludeUsage::Absent { at: 1, only_member: true });
}

#[test]
fn every_endpoint_has_its_bound() {
    for (endpoint, body, bound) in [
        (Endpoint::ChatCompletions, r#"{"max_tokens":7,"max_completion_tokens":9}"#, Some(9)),
        (Endpoint::ChatCompletions, r#"{"max_completion_tokens":3,"max_tokens":8}"#, Some(8)),
        (Endpoint::ChatCompletions, r#"{"max_output_tokens":7}"#, None),
        (Endpoint::Completions, r#"{"max_tokens":7}"#, Some(7)),
        (Endpoint::Responses, r#"{"max_output_tokens":7}"#, Some(7)),
        (Endpoint::Messages, r#"{"max_tokens":9223372036854775807}"#, Some(i64::MAX as u64)),
        (Endpoint::GenerateContent, r#"{"generationConfig":{"maxOutputTokens":7}}"#, Some(7)),
        (Endpoint::StreamGenerateContent, r#"{"generation_config":{"max_output_tokens":7}}"#, Some(7)),
        (Endpoint::Embeddings, r#"{"max_tokens":7}"#, None),
    ] {
        assert_eq!(scan(endpoint, body.as_bytes()).unwrap().max_tokens, bound, "{body}");
    }
}

#[test]
fn every_endpoint_has_its_count() {
    for (endpoint, body, n) in [
        (Endpoint::ChatCompletions, r#"{"n":128}"#, 128),
        (Endpoint::Completions, r#"{"n":2,"best_of":5}"#, 5),
        (Endpoint::Completions, r#"{"n":2,"prompt":["a","b","c"]}"#, 6),
        (Endpoint::Completions, r#"{"prompt":[1,2,3],"n":2}"#, 2),
        (Endpoint::Completions, r#"{"prompt":[[1,2],[3]]}"#, 2),
        (Endpoint::Completions, r#"{"prompt":[]}"#, 1),
        (Endpoint::GenerateContent, r#"{"generationConfig":{"candidateCount":4}}"#, 4),
    ] {
        assert_eq!(scan(endpoint, body.as_bytes()).unwrap().n, n, "{body}");
    }
}

#[test]
fn streams() {
    for (endpoint, body, stream) in [
        (Endpoint::Messages, r#"{"stream":true}"#, true),
        (Endpoint::Responses, r#"{"stream":false}"#, false),
        (Endpoint::StreamGenerateContent, r#"{"stream":false}"#, true),
        (Endpoint::GenerateContent, r#"{"stream":true}"#, false),
    ] {
        assert_eq!(scan(endpoint, body.as_bytes()).unwrap().stream, stream, "{body}");
    }
}

#[test]
fn include_usage_in_every_state() {
    let at = |start, end| Span { start, end };
    for (body, state) in [
        (r#"{"stream_options":null}"#, IncludeUsage::Null(at(18, 22))),
        (r#"{"stream_options":{ }}"#, IncludeUsage::Unset { at: 19, only_member: true }),
        (r#"{"stream_options":{"x":1}}"#, IncludeUsage::Unset { at: 19, only_member: false }),
        (r#"{"stream_options":{"include_usage":false}}"#, IncludeUsage::Off(at(35, 40))),
        (r#"{"stream_options":{"include_usage": null}}"#, IncludeUsage::Off(at(36, 40))),
        (r#"{"stream_options":{"x":1,"include_usage":true,"y":2}}"#, IncludeUsage::On),
    ] {
        assert_eq!(chat(body).unwrap().include_usage, state, "{body}");
    }
    let responses = scan(Endpoint::Responses, br#"{"stream_options":{"include_obfuscation":false}}"#).unwrap();
    assert_eq!(responses.include_usage, IncludeUsage::Unsupported);
}

#[test]
fn base64_embeddings() {
    let asks = |body: &str| scan(Endpoint::Embeddings, body.as_bytes()).unwrap().encoding_base64;
    assert!(asks(r#"{"encoding_format":"base64"}"#));
    assert!(!asks(r#"{"encoding_format":"float"}"#));
    assert!(!asks(r#"{"input":"base64"}"#));
}

#[test]
fn gemini_bodies_may_repeat_the_model_but_not_disagree() {
    let batch = r#"{"requests":[{"model":"models/a/b","content":{}},{"model":"a/b"}]}"#;
    let head = scan(Endpoint::BatchEmbedContents, batch.as_bytes()).unwrap();
    assert_eq!(head.body_model.as_deref(), Some("a/b"));
    let texts: Vec<_> = head.body_model_spans.iter().map(|s| &batch[s.start..s.end]).collect();
    assert_eq!(texts, [r#""models/a/b""#, r#""a/b""#]);
    assert_eq!(head.model, None);

    let wrapped = br#"{"generateContentRequest":{"model":"models/m","contents":[]}}"#;
    assert_eq!(scan(Endpoint::GeminiCountTokens, wrapped).unwrap().body_model.as_deref(), Some("m"));

    for body in [
        r#"{"requests":[{"model":"models/a"},{"model":"models/b"}]}"#,
        r#"{"requests":[{"model":"models/a","model":"models/b"}]}"#,
        r#"{"model":"b","requests":[{"model":"a"}]}"#,
    ] {
        assert_eq!(code(Endpoint::BatchEmbedContents, body.as_bytes()), Code::ConflictingModel, "{body}");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "",
        " ",
        "null",
        "[]",
        r#"["m",true]"#,
        r#""x""#,
        "{",
        r#"{"a":1"#,
        r#"{"a":1,}"#,
        r#"{"a":1}x"#,
        r#"{"a":1}{"a":1}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":1}//c"#,
        r#"{/*c*/"a":1}"#,
        "{'a':1}",
        "\u{feff}{}",
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        "{\"a\":\"\0\"}",
        "{\"a\":\0}",
        r#"{"a":01}"#,
        r#"{"a":.5}"#,
        r#"{"a":"\x41"}"#,
        &deep,
    ] {
        assert_eq!(code(Endpoint::ChatCompletions, body.as_bytes()), Code::InvalidJson, "{body}");
    }
    for bytes in [
        &b"{\"a\":\"\xff\"}"[..],
        b"{\"a\":\"\xc0\xaf\"}",
        b"{\0\"\0a\0\"\0:\x001\0}\0",
        b"\xff\xfe{\0}\0",
        b"{\"a\":\"\xed\xa0\x80\"}",
    ] {
        assert_eq!(code(Endpoint::ChatCompletions, bytes), Code::InvalidJson, "{bytes:?}");
    }
}

#[test]
fn nesting_up_to_128_levels_is_accepted() {
    let nested = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(chat(&nested(127)).is_ok());
    assert!(chat(&nested(128)).is_err());
    let messages = |n: usize| {
        let open = r#"{"content":["#.repeat(n);
        format!(r#"{{"messages":[{open}{}]}}"#, "]}".repeat(n))
    };
    assert!(chat(&messages(63)).is_ok());
    assert_eq!(code(Endpoint::ChatCompletions, messages(50_000).as_bytes()), Code::InvalidJson);
}

#[test]
fn a_refusal_says_where() {
    let refusal = chat(r#"{"model":"m",}"#).unwrap_err();
    assert_eq!(refusal.message, "The body is not valid JSON at byte 13: a member's name in quotes was expected.");
}

#[test]
fn a_member_may_be_given_once() {
    for (body, param) in [
        (r#"{"model":"cheap","model":"costly"}"#, "model"),
        (r#"{"model":"cheap","messages":[],"mod\u0065l":"costly"}"#, "model"),
        (r#"{"\u006dodel":"cheap","model":"costly"}"#, "model"),
        (r#"{"model":"m","x":1,"x":1}"#, "x"),
        (r#"{"messages":[],"messages":[]}"#, "messages"),
        (r#"{"stream":true,"stream":false}"#, "stream"),
        (r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#, "stream_options.include_usage"),
        (r#"{"stream_options":{"a":1,"a":1}}"#, "stream_options.a"),
        (r#"{"model":"cheap","extra_body":{"model":"costly"}}"#, "extra_body.model"),
        (r#"{"extra_body":{"x":1,"Model":"costly"},"model":"cheap"}"#, "extra_body.model"),
    ] {
        assert_eq!(refused(Endpoint::ChatCompletions, body), (Code::DuplicateJsonKey, param.into()), "{body}");
    }
    for (body, param) in [
        (r#"{"generationConfig":{},"generation_config":{}}"#, "generation_config"),
        (r#"{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}"#, "generationConfig.maxOutputTokens"),
        (r#"{"generationConfig":{"max_output_tokens":1,"maxOutputTokens":9}}"#, "generationConfig.maxOutputTokens"),
    ] {
        assert_eq!(refused(Endpoint::GenerateContent, body), (Code::DuplicateJsonKey, param.into()), "{body}");
    }
}

#[test]
fn many_members_are_told_apart_quickly() {
    let members: Vec<_> = (0..100_000).map(|i| format!(r#""k{i}":1"#)).collect();
    assert!(chat(&format!("{{{}}}", members.join(","))).is_ok());
    let twice = format!(r#"{{{},"k5":1}}"#, members.join(","));
    assert_eq!(refused(Endpoint::ChatCompletions, &twice), (Code::DuplicateJsonKey, "k5".into()));
    let late = format!(r#"{{{},"max_tokens":1,"max_tokens":2}}"#, members.join(","));
    assert_eq!(code(Endpoint::ChatCompletions, late.as_bytes()), Code::DuplicateJsonKey);
}

#[test]
fn nested_repetition_is_the_callers_own_affair() {
    assert!(chat(r#"{"model":"m","metadata":{"a":1,"a":2},"messages":[{"x":1,"x":2}]}"#).is_ok());
}

#[test]
fn spellings_that_some_parsers_confuse_are_refused() {
    for body in [
        r#"{"model":"cheap","Model":"costly"}"#,
        r#"{"MODEL":"m"}"#,
        r#"{"Max_Tokens":5}"#,
        r#"{"\u017ftream":true}"#,
        r#"{"max_to\u212aens":5}"#,
        r#"{"stream_options":{"Include_usage":false}}"#,
    ] {
        let (code, param) = refused(Endpoint::ChatCompletions, body);
        assert_eq!(code, Code::InvalidParameter, "{body}");
        assert!(!param.is_empty());
    }
    assert!(chat(r#"{"model":"m","modelName":"x","X-Custom":1}"#).is_ok());
}

#[test]
fn types_and_ranges() {
    for (body, param) in [
        (r#"{"model":null}"#, "model"),
        (r#"{"model":5}"#, "model"),
        (r#"{"model":""}"#, "model"),
        (r#"{"model":["m"]}"#, "model"),
        (r#"{"model":"a\nb"}"#, "model"),
        (r#"{"model":"a\u0000"}"#, "model"),
        (r#"{"stream":"true"}"#, "stream"),
        (r#"{"stream":1}"#, "stream"),
        (r#"{"stream_options":true}"#, "stream_options"),
        (r#"{"stream_options":[]}"#, "stream_options"),
        (r#"{"stream_options":{"include_usage":1}}"#, "stream_options.include_usage"),
        (r#"{"max_tokens":0}"#, "max_tokens"),
        (r#"{"max_tokens":-1}"#, "max_tokens"),
        (r#"{"max_tokens":1.5}"#, "max_tokens"),
        (r#"{"max_tokens":1.0}"#, "max_tokens"),
        (r#"{"max_tokens":1e309}"#, "max_tokens"),
        (r#"{"max_tokens":"9"}"#, "max_tokens"),
        (r#"{"max_tokens":9223372036854775808}"#, "max_tokens"),
        (r#"{"max_tokens":99999999999999999999999999}"#, "max_tokens"),
        (r#"{"max_completion_tokens":{}}"#, "max_completion_tokens"),
        (r#"{"n":0}"#, "n"),
        (r#"{"n":129}"#, "n"),
        (r#"{"n":1000000}"#, "n"),
        (r#"{"n":true}"#, "n"),
    ] {
        assert_eq!(refused(Endpoint::ChatCompletions, body), (Code::InvalidParameter, param.into()), "{body}");
    }
    let long = format!(r#"{{"model":"{}"}}"#, "é".repeat(129));
    assert_eq!(refused(Endpoint::Messages, &long), (Code::InvalidParameter, "model".into()));
    assert!(chat(&format!(r#"{{"model":"{}"}}"#, "é".repeat(128))).is_ok());
    assert_eq!(refused(Endpoint::Completions, r#"{"best_of":200}"#), (Code::InvalidParameter, "best_of".into()));
    assert_eq!(
        refused(Endpoint::GenerateContent, r#"{"generationConfig":{"candidateCount":0}}"#),
        (Code::InvalidParameter, "candidateCount".into())
    );
    assert_eq!(
        refused(Endpoint::BatchEmbedContents, r#"{"requests":{}}"#),
        (Code::InvalidParameter, "requests".into())
    );
}

#[test]
fn a_refusal_repeats_little_of_the_input() {
    let key = "k".repeat(5000);
    let refusal = chat(&format!(r#"{{"{key}":1,"{key}":1}}"#)).unwrap_err();
    assert!(refusal.message.len() < 200 && refusal.param.unwrap().len() <= 64);
    let models = format!(r#"{{"requests":[{{"model":"{}"}},{{"model":"{}"}}]}}"#, "a".repeat(200), "b".repeat(200));
    assert!(scan(Endpoint::BatchEmbedContents, models.as_bytes()).unwrap_err().message.len() < 200);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(".*", inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Any JSON may stand around what is read.
    #[test]
    fn values_are_read_from_any_surroundings(
        model in "[a-z/:.-]{1,40}", bound in 1..i64::MAX as u64, n in 1..=128u64, stream: bool,
        around in any_json(), pretty: bool,
    ) {
        let body = json!({"aa": around, "max_tokens": bound, "metadata": around, "model": model, "n": n, "stream": stream, "zz": around});
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let head = chat(&text).unwrap();
        prop_assert_eq!(head.model_name, Some(model));
        prop_assert_eq!((head.max_tokens, head.n, head.stream), (Some(bound), n, stream));
    }

    /// Cutting a document anywhere makes it invalid.
    #[test]
    fn a_part_of_a_document_is_no_document(around in any_json(), at: prop::sample::Index) {
        let text = json!({"model": "m", "x": around}).to_string();
        let mut end = at.index(text.len());
        while !text.is_char_boundary(end) { end -= 1; }
        prop_assert_eq!(code(Endpoint::ChatCompletions, &text.as_bytes()[..end]), Code::InvalidJson);
    }
}
