//! The tree against its text.

use super::*;

#[test]
fn what_is_read_is_written_as_it_was_but_for_blanks() {
    let text = r#"{"z":[1.0,1e2,-0.0,123456789012345678901234567890],"a":{"é\"\\\n\u0001":null},"t":true,"e":""}"#;
    assert_eq!(Json::parse(text).unwrap().text(), text);
    assert_eq!(Json::parse(" [ ] ").unwrap().text(), "[]");
    assert!(Json::parse("{\"a\":1,}").is_err());
    assert!(Json::parse(&"[".repeat(200)).is_err());
}

#[test]
fn a_tree_has_a_bound() {
    for (text, values) in [("0", 1), ("[0,0,0]", 4), (r#"{"a":[],"b":{"c":[null,""]}}"#, 6)] {
        assert!(Json::parse_within(text, values).is_ok(), "{text}");
        assert_eq!(Json::parse_within(text, values - 1).unwrap_err().what(), What::TooMany, "{text}");
    }
    let flaw = Json::parse(&format!("[{}0]", "0,".repeat(MOST_VALUES))).unwrap_err();
    assert_eq!((flaw.what(), flaw.at()), (What::TooMany, 2 * MOST_VALUES - 1));
}

#[test]
fn a_raw_object_is_checked_and_loses_its_blanks() {
    let text = "{ \"a b\" :\n [1 , \"\\\\\", \"\\\" \"],\t\"é \":{} }\r\n";
    assert_eq!(Json::raw_object(text).unwrap().text(), r#"{"a b":[1,"\\","\" "],"é ":{}}"#);
    for wrong in ["", "[]", "{", "{}x", "{\"a\"}", "\"{}\""] {
        assert_eq!(Json::raw_object(wrong), None, "{wrong}");
    }
}

#[test]
fn members_are_taken_once() {
    let mut object = Json::parse(r#"{"a":1,"b":"x"}"#).unwrap().into_object();
    assert_eq!(object.take("a").count(), Some(1));
    assert_eq!(object.take("a"), Json::Null);
    assert_eq!(object.text(), r#"{"b":"x"}"#);
}
