//! Forms (`multipart/form-data`), read strictly and in one pass: where each part stands, and nothing is copied. What two
//! readers could take in two ways is refused, since the provider is the second reader.

use crate::head::Span;
use anykey_core::{Code, Refusal};
use memchr::memmem;

/// As many parts as any request of these endpoints has, and some more.
const MOST_PARTS: usize = 128;
/// The head of a part: its name, a file's name and type.
const MOST_HEAD: usize = 4096;
/// By RFC 2046.
const MOST_BOUNDARY: usize = 70;

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub name: &'a str,
    pub is_file: bool,
    pub value: Span,
}

/// The boundary that a content type names, if it is that of a form.
pub fn boundary(content_type: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(content_type).ok()?;
    let (media, parameters) = text.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut found = None;
    for parameter in parameters.split(';') {
        let (name, value) = parameter.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("boundary") && found.replace(unquoted(value.trim())?).is_some() {
            return None;
        }
    }
    found.filter(|text| is_boundary(text))
}

/// Whether a content type is that of a form, with a boundary or without.
pub fn is_form(content_type: &[u8]) -> bool {
    let media = content_type.split(|b| *b == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data")
}

/// The content type of a form, as it is sent to the provider: with the boundary that was read and nothing else.
pub fn content_type(boundary: &str) -> String {
    let plain = boundary.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let quote = if plain { "" } else { "\"" };
    format!("multipart/form-data; boundary={quote}{boundary}{quote}")
}

fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        None => Some(value),
        Some(rest) => rest.strip_suffix('"').filter(|inside| !inside.contains(['"', '\\'])),
    }
}

fn is_boundary(text: &str) -> bool {
    let fits = (1..=MOST_BOUNDARY).contains(&text.len());
    fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&b))
}

/// The parts of a form, in their order. Refuses what is not whole, and what could be read in two ways.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Refusal> {
    let line = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(line.as_bytes());
    // The first delimiter has no line before it.
    let mut at = if body.starts_with(&line.as_bytes()[2..]) {
        line.len() - 2
    } else {
        return Err(broken("it does not begin with its boundary"));
    };
    let mut parts = Vec::new();
    loop {
        match body.get(at..at + 2) {
            Some(b"--") => return ended(&body[at + 2..], parts),
            Some(b"\r\n") => at += 2,
            _ => return Err(broken("its boundary stands in a line of something else")),
        }
        let Some(length) = finder.find(&body[at..]) else { return Err(broken("it has no end")) };
        if parts.len() == MOST_PARTS {
            return Err(broken("it has too many parts"));
        }
        parts.push(part(body, at, at + length)?);
        at += length + line.len();
    }
}

/// Behind the end may stand a line's end and nothing else.
fn ended<'a>(rest: &[u8], parts: Vec<Part<'a>>) -> Result<Vec<Part<'a>>, Refusal> {
    match rest {
        b"" | b"\r\n" => Ok(parts),
        _ => Err(broken("it goes on behind its end")),
    }
}

fn part(body: &[u8], start: usize, end: usize) -> Result<Part<'_>, Refusal> {
    let within = &body[start..end];
    let head = memmem::find(&within[..within.len().min(MOST_HEAD)], b"\r\n\r\n");
    let Some(length) = head else { return Err(broken("a part has no head, or one that is too long")) };
    let text = std::str::from_utf8(&within[..length]).map_err(|_| broken("the head of a part is not UTF-8"))?;
    let mut named = None;
    for line in text.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { return Err(broken("the head of a part is not one")) };
        if line.contains(['\r', '\n', '\0']) || line.starts_with([' ', '\t']) {
            return Err(broken("the head of a part is folded or holds control characters"));
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            if named.replace(disposition(value.trim())?).is_some() {
                return Err(broken("a part has two names"));
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
            let plain = ["binary", "8bit", "7bit"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
            if !plain {
                return Err(broken("a part is encoded, and parts are taken as they are"));
            }
        }
    }
    let Some((name, is_file)) = named else { return Err(broken("a part has no name")) };
    Ok(Part { name, is_file, value: Span { start: start + length + 4, end } })
}

/// The name of a part, and whether it is a file.
fn disposition(value: &str) -> Result<(&str, bool), Refusal> {
    let Some(parameters) = strip_word(value, "form-data") else {
        return Err(broken("a part is not of a form"));
    };
    let (mut name, mut is_file, mut rest) = (None, false, parameters);
    while let Some(tail) = rest.trim_start().strip_prefix(';') {
        let Some((key, after)) = tail.split_once('=') else {
            return Err(broken("the name of a part cannot be read"));
        };
        let (value, after) = parameter(after.trim_start())?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" if name.replace(value).is_some() => return Err(broken("a part has two names")),
            "name" => {}
            "filename" | "filename*" => is_file = true,
            // `name*` is a second way to say the name.
            _ => return Err(broken("a part has a parameter beside its name and its file's name")),
        }
        rest = after;
    }
    if !rest.trim().is_empty() {
        return Err(broken("the name of a part cannot be read"));
    }
    match name {
        Some(name) if is_name(name) => Ok((name, is_file)),
        _ => Err(broken("a part's name is empty or holds more than letters, digits, `_`, `-`, `.`, `[` and `]`")),
    }
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

/// A value, quoted or not, and what stands behind it. In a file's name quotes may be escaped.
fn parameter(text: &str) -> Result<(&str, &str), Refusal> {
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Ok((text[..end].trim_end(), &text[end..]));
    };
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            '"' if !escaped => return Ok((&inside[..at], &inside[at + 1..])),
            c => escaped = c == '\\' && !escaped,
        }
    }
    Err(broken("a quote is not closed"))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.[]".contains(&b))
}

fn broken(what: &str) -> Refusal {
    let message = format!("The body is not a form that can be read: {what}. Send `multipart/form-data`, whole.");
    Refusal::new(Code::InvalidParameter, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(head, value): &(&str, &str)| format!("--XX\r\nContent-Disposition: {head}\r\n\r\n{value}\r\n");
        parts.iter().map(part).collect::<String>() + "--XX--\r\n"
    }

    fn read(body: &str) -> Result<Vec<(String, bool, String)>, Refusal> {
        let own =
            |part: Part<'_>| (part.name.to_owned(), part.is_file, body[part.value.start..part.value.end].to_owned());
        Ok(parts(body.as_bytes(), "XX")?.into_iter().map(own).collect())
    }

    #[test]
    fn parts_are_found_where_they_stand() {
        let body = form(&[
            ("form-data; name=\"model\"", "whisper-1"),
            ("form-data; name=\"file\"; filename=\"a \\\"b\\\".mp3\"\r\nContent-Type: audio/mpeg", "\r\n--XY\r\n\0"),
            ("form-data; name=n", ""),
        ]);
        let found = read(&body).unwrap();
        assert_eq!(found[0], ("model".into(), false, "whisper-1".into()));
        assert_eq!(found[1], ("file".into(), true, "\r\n--XY\r\n\0".into()));
        assert_eq!(found[2], ("n".into(), false, String::new()));
        assert_eq!(read("--XX--").unwrap(), []);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let whole = form(&[("form-data; name=\"model\"", "m")]);
        for body in [
            whole.replace("--XX--", "--XX"),
            whole.replace("--XX--\r\n", ""),
            format!("preamble\r\n{whole}"),
            format!("{whole}epilogue"),
            whole.replace("--XX\r\n", "--XX \r\n"),
            form(&[("form-data; name=\"model\"; name=\"other\"", "m")]),
            form(&[("form-data; name*=utf-8''model", "m")]),
            form(&[("form-data; name=\"mo\\\"del\"", "m")]),
            form(&[("form-data; name=\"m%22\"", "m")]),
            form(&[("form-data; name=\"\"", "m")]),
            form(&[("form-data; name=\"model", "m")]),
            form(&[("attachment; name=\"model\"", "m")]),
            form(&[("form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"", "m")]),
            form(&[("form-data; name=\"a\"\r\n b", "m")]),
            form(&[("form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64", "bQ==")]),
            form(&[("form-data; name=\"a\"", "x\r\n--XXY\r\nmore")]),
            "--XX\r\n\r\nm\r\n--XX--".to_owned(),
            "--XX\r\nContent-Type: text/plain\r\n\r\nm\r\n--XX--".to_owned(),
            form(&vec![("form-data; name=a", "b"); MOST_PARTS + 1]),
        ] {
            let refusal = read(&body).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidParameter, "{body:?}");
        }
    }

    #[test]
    fn a_boundary_is_read_as_it_is_sent_on() {
        for (given, read) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a:b\"", Some("a:b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a b\"", None),
            ("multipart/form-data; boundary=\"a\\b\"", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary(given.as_bytes()), read, "{given}");
            if let Some(read) = read {
                assert_eq!(boundary(content_type(read).as_bytes()), Some(read));
            }
        }
        assert!(is_form(b"multipart/form-data") && !is_form(b"application/json"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n".to_vec();
            framed.extend_from_slice(&body);
            framed.extend_from_slice(b"\r\n--XX--");
            if let Ok(found) = parts(&framed, "XX") && found.len() == 1 {
                prop_assert_eq!(&framed[found[0].value.start..found[0].value.end], &body[..]);
            }
            let _ = parts(&body, "XX");
        }
    }
}
