//! Tests of the scanner.

use super::*;

#[test]
fn grammar() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    for good in [
        "0",
        "-0",
        "1.5e-3",
        "1e400",
        "null",
        " true ",
        "\"\"",
        "[]",
        "{}",
        "[ ]",
        "{ }",
        "[[],{}]",
        r#"{"a":[1,{"b":"\u00e9\ud83d\ude00\n"}],"c":{}}"#,
        &deep(128),
    ] {
        assert!(is_valid(good), "{good}");
    }
    for bad in [
        "",
        " ",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "NaN",
        "nul",
        "tru",
        "[1,]",
        "[,1]",
        "[,]",
        "{,}",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{1:2}",
        "[1}",
        "{\"a\":1]",
        "[",
        "{",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\n\"",
        "1 2",
        "[]]",
        "/*c*/1",
        "\u{feff}1",
        &deep(129),
    ] {
        assert!(!is_valid(bad), "{bad}");
    }
}

#[test]
fn a_flaw_says_where() {
    let mut scanner = Scanner::new(r#"{"a": 1, b: 2}"#);
    assert_eq!(scanner.skip(), Err(Flaw::new(9, What::NoMember)));
}

#[test]
fn escapes_resolve() {
    let mut scanner = Scanner::new(r#""\"\\\/\b\f\n\r\t\u0041\ud83d\ude00é""#);
    let text = scanner.string().unwrap();
    assert_eq!(text.decode(), "\"\\/\u{8}\u{c}\n\r\tA😀é");
}

#[test]
fn plain_runs_stop_at_the_first_special_byte() {
    for length in 0..40 {
        for special in [b'"', b'\\', 0, 0x1f] {
            let mut bytes = vec![0x80; length];
            bytes.push(special);
            bytes.extend_from_slice(b"\x01\"!\x21");
            assert_eq!(plain_run(&bytes), length);
        }
    }
    assert_eq!(plain_run(b" !#[]^_\x7f\xff"), 9);
}
