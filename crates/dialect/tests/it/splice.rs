//! What a rewritten body looks like, to the byte.

use anykey_core::Endpoint::{self, *};
use anykey_dialect::head::scan;
use anykey_dialect::splice::rewrite;
use bytes::Bytes;

fn rewritten(endpoint: Endpoint, body: &str, model: Option<&str>, usage: bool) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let head = scan(endpoint, &body).unwrap();
    String::from_utf8(rewrite(&body, &head, model, usage).to_vec()).unwrap()
}

#[test]
fn only_the_model_changes() {
    let body = "{ \"seed\":1e+2,\t\"mod\\u0065l\" : \"sim\\/echo\" ,\r\n\"x\":\"\\u00e9\",\"x2\":[ ] }";
    assert_eq!(rewritten(ChatCompletions, body, Some("echo"), false), body.replace("\"sim\\/echo\"", "\"echo\""));
    assert_eq!(rewritten(Messages, r#"{"model":"a"}"#, Some("q\"\\\t"), false), r#"{"model":"q\"\\\u0009"}"#);
}

#[test]
fn usage_is_asked_for_wherever_it_was_not() {
    for (body, expected) in [
        (r#"{}"#, r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{ "stream":true}"#, r#"{"stream_options":{"include_usage":true}, "stream":true}"#),
        (r#"{"stream_options": null}"#, r#"{"stream_options": {"include_usage":true}}"#),
        (r#"{"stream_options":{}}"#, r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{"stream_options":{"a":1}}"#, r#"{"stream_options":{"include_usage":true,"a":1}}"#),
        (r#"{"stream_options":{"include_usage":false,"a":1}}"#, r#"{"stream_options":{"include_usage":true,"a":1}}"#),
    ] {
        assert_eq!(rewritten(ChatCompletions, body, None, true), expected);
        assert_eq!(rewritten(Responses, body, None, true), body, "the responses API has no such flag");
    }
    let both = r#"{"stream_options":{"include_usage":null},"model":"a"}"#;
    assert_eq!(
        rewritten(Completions, both, Some("bb"), true),
        r#"{"stream_options":{"include_usage":true},"model":"bb"}"#
    );
    let other_order = r#"{"model":"a","stream_options":{"include_usage":null}}"#;
    assert_eq!(
        rewritten(Completions, other_order, Some("bb"), true),
        r#"{"model":"bb","stream_options":{"include_usage":true}}"#
    );
}

#[test]
fn nothing_is_copied_when_nothing_changes() {
    let body = Bytes::from_static(br#"{"model":"m","stream_options":{"include_usage":true}}"#);
    let head = scan(ChatCompletions, &body).unwrap();
    assert_eq!(rewrite(&body, &head, Some("m"), true).as_ptr(), body.as_ptr());
}

#[test]
fn gemini_bodies_keep_their_prefix() {
    let body = r#"{"requests":[{"model":"models/sim/e","content":{}},{"content":{},"model":"sim/e"}]}"#;
    assert_eq!(
        rewritten(BatchEmbedContents, body, Some("e"), true),
        r#"{"requests":[{"model":"models/e","content":{}},{"content":{},"model":"e"}]}"#
    );
}
