//! Embeddings in OpenAI's shape at providers that write another: Gemini, Jina and Voyage. Vectors are not read into a
//! tree, since there may be millions of numbers; they pass as they are written, or become base64 where the caller wants
//! that.

use crate::json::{Flaw, Kind, Scanner};
use crate::value::{Json, Object};
use anykey_core::provider::ProviderKind;
use anykey_core::{Code, Endpoint, Refusal, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::fmt::Write as _;

/// How a provider writes embeddings, where that is not OpenAI's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Gemini,
    Jina,
    Voyage,
}

/// A request in the provider's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    pub body: Bytes,
    pub dropped: Vec<String>,
    /// The caller waits for base64.
    pub base64: bool,
}

impl Shape {
    pub fn of(kind: &ProviderKind) -> Option<Shape> {
        match kind.name {
            "gemini" => Some(Shape::Gemini),
            "jina" => Some(Shape::Jina),
            "voyage" => Some(Shape::Voyage),
            _ => None,
        }
    }

    /// Where at the provider such a call goes.
    pub const fn endpoint(self) -> Endpoint {
        match self {
            Shape::Gemini => Endpoint::BatchEmbedContents,
            Shape::Jina | Shape::Voyage => Endpoint::Embeddings,
        }
    }

    /// What callers may say beyond OpenAI's words, since the provider knows it.
    const fn own(self) -> &'static [&'static str] {
        match self {
            Shape::Gemini => &[],
            Shape::Jina => &["task", "late_chunking", "truncate", "normalized"],
            Shape::Voyage => &["input_type", "truncation"],
        }
    }
}

/// The request as the provider reads it; vectors are asked for as numbers, which all of them write alike. The body must
/// have passed [`scan`](crate::head::scan).
pub fn request(body: &[u8], there: Shape, model: &str) -> Result<Converted, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| wrong("the body", "UTF-8"))?;
    let mut inputs = None;
    let (mut dimensions, mut base64, mut own, mut dropped) = (None, false, Vec::new(), Vec::new());
    for (name, value) in Json::parse(text)?.into_object().into_members() {
        match &*name {
            "model" => {}
            "input" => inputs = Some(texts(value)?),
            "dimensions" => dimensions = dimension(&value)?,
            "encoding_format" => base64 = encoding(&value)?,
            known if there.own().contains(&known) => own.push((name, value)),
            _ if value.is_null() => {}
            other => dropped.push(other.chars().filter(char::is_ascii_graphic).take(64).collect()),
        }
    }
    let inputs = inputs.ok_or_else(|| wrong("input", "a text or a list of texts"))?;
    let mut out = match there {
        Shape::Gemini => {
            let name = format!("models/{model}");
            let one = |text: String| {
                let parts = vec![Json::from(Object::new().with("text", text))];
                let content = Object::new().with("parts", parts);
                Json::from(
                    Object::new()
                        .with("model", &name)
                        .with("content", content)
                        .maybe("outputDimensionality", dimensions),
                )
            };
            Object::new().with("requests", inputs.into_iter().map(one).collect::<Json>())
        }
        Shape::Jina | Shape::Voyage => {
            let name = if there == Shape::Jina { "dimensions" } else { "output_dimension" };
            let inputs: Json = inputs.into_iter().map(Json::from).collect();
            Object::new().with("model", model).with("input", inputs).maybe(name, dimensions)
        }
    };
    own.into_iter().for_each(|(name, value)| out.put(name, value));
    Ok(Converted { body: Bytes::from(out.text()), dropped, base64 })
}

fn texts(input: Json) -> Result<Vec<String>, Refusal> {
    let tokens = || wrong("input", "text: tokens mean something to OpenAI's own models only");
    let texts = match input {
        Json::String(text) => vec![text],
        Json::Array(list) => {
            list.into_iter().map(|one| one.into_string().ok_or_else(tokens)).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(wrong("input", "a text or a list of texts")),
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(wrong("input", "at least one text, and none of them empty"));
    }
    Ok(texts)
}

fn dimension(value: &Json) -> Result<Option<u64>, Refusal> {
    match value {
        Json::Null => Ok(None),
        value => match value.count() {
            Some(n) if n > 0 => Ok(Some(n)),
            _ => Err(wrong("dimensions", "a whole number of at least 1")),
        },
    }
}

fn encoding(value: &Json) -> Result<bool, Refusal> {
    match (value.str(), value.is_null()) {
        (Some("base64"), _) => Ok(true),
        (Some("float"), _) | (None, true) => Ok(false),
        _ => Err(wrong("encoding_format", "`float` or `base64`")),
    }
}

fn wrong(name: &'static str, expected: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("`{name}` must be {expected}.")).param(name)
}

/// The provider's answer in OpenAI's shape; `None` where it holds no vectors.
pub fn answer(body: &[u8], there: Shape, base64: bool, model: &str, usage: Option<&Usage>) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let (list, vector) = if there == Shape::Gemini { ("embeddings", "values") } else { ("data", "embedding") };
    let mut out = String::with_capacity(text.len() + 256);
    out.push_str(r#"{"object":"list","data":["#);
    let mut found = 0usize;
    let mut s = Scanner::new(text);
    let read = s.object(|s, key| {
        if key.decode() != list || s.kind()? != Kind::Array {
            return s.skip().map(|_| ());
        }
        s.array(|s| {
            let (mut place, mut written) = (found as u64, None);
            if s.kind()? != Kind::Object {
                return s.skip().map(|_| ());
            }
            s.object(|s, key| {
                let name = key.decode();
                if name == "index" && s.kind()? == Kind::Number {
                    place = s.number()?.parse().unwrap_or(place);
                } else if name == vector && s.kind()? == Kind::Array {
                    written = Some(numbers(s, text, base64)?);
                } else {
                    s.skip()?;
                }
                Ok::<_, Flaw>(())
            })?;
            if let Some(written) = written {
                let comma = if found == 0 { "" } else { "," };
                let _ = write!(out, r#"{comma}{{"object":"embedding","index":{place},"embedding":{written}}}"#);
                found += 1;
            }
            Ok::<_, Flaw>(())
        })
    });
    if read.is_err() || found == 0 {
        return None;
    }
    let tokens = usage.map_or(0, Usage::input_tokens);
    let counts = Object::new().with("prompt_tokens", tokens).with("total_tokens", tokens);
    let _ = write!(out, r#"],"model":{},"usage":{}}}"#, Json::from(model).text(), counts.text());
    Some(Bytes::from(out))
}

/// A vector as it is written, or as little-endian floats of 32 bits in base64.
fn numbers<'a>(s: &mut Scanner<'a>, text: &'a str, base64: bool) -> Result<String, Flaw> {
    if !base64 {
        let (_, span) = s.value()?;
        return Ok(text[span.start..span.end].to_owned());
    }
    let mut bytes = Vec::new();
    s.array(|s| {
        let number: f32 =
            if s.kind()? == Kind::Number { s.number()?.parse().unwrap_or(0.0) } else { s.skip().map(|_| 0.0)? };
        bytes.extend_from_slice(&number.to_le_bytes());
        Ok::<_, Flaw>(())
    })?;
    Ok(format!("\"{}\"", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(body: &str, there: Shape) -> (String, Vec<String>, bool) {
        let converted = request(body.as_bytes(), there, "m").unwrap();
        (String::from_utf8(converted.body.to_vec()).unwrap(), converted.dropped, converted.base64)
    }

    #[test]
    fn each_is_asked_in_its_own_words() {
        let body = r#"{"input":["a","b"],"model":"p/m","encoding_format":"base64","dimensions":8,"user":"u"}"#;
        let dropped = || vec!["user".to_owned()];
        let part = |text: &str| {
            format!(r#"{{"model":"models/m","content":{{"parts":[{{"text":"{text}"}}]}},"outputDimensionality":8}}"#)
        };
        let gemini = format!(r#"{{"requests":[{},{}]}}"#, part("a"), part("b"));
        assert_eq!(converted(body, Shape::Gemini), (gemini, dropped(), true));
        let jina = r#"{"model":"m","input":["a","b"],"dimensions":8}"#.to_owned();
        assert_eq!(converted(body, Shape::Jina), (jina, dropped(), true));
        let voyage = r#"{"model":"m","input":["a","b"],"output_dimension":8}"#.to_owned();
        assert_eq!(converted(body, Shape::Voyage), (voyage, dropped(), true));
        let own = r#"{"input":"a","model":"p/m","input_type":"query","dimensions":null,"user":null}"#;
        let expected = r#"{"model":"m","input":["a"],"input_type":"query"}"#.to_owned();
        assert_eq!(converted(own, Shape::Voyage), (expected, vec![], false));
        for (body, name) in [
            (r#"{"input":[1,2]}"#, "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":""}"#, "input"),
            ("{}", "input"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions"),
            (r#"{"input":"a","encoding_format":"hex"}"#, "encoding_format"),
        ] {
            let refusal = request(body.as_bytes(), Shape::Gemini, "m").unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(name), "{body}");
        }
    }

    #[test]
    fn vectors_come_back_as_they_were_asked_for() {
        let gemini =
            br#"{"embeddings":[{"values":[0.5, -1]},{"values":[2e0]}],"usageMetadata":{"promptTokenCount":3}}"#;
        let usage = Usage::default().with(anykey_core::Unit::Input, 3);
        let plain = answer(gemini, Shape::Gemini, false, "g/m", Some(&usage)).unwrap();
        let expected = concat!(
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5, -1]},"#,
            r#"{"object":"embedding","index":1,"embedding":[2e0]}],"model":"g/m","usage":{"prompt_tokens":3,"total_tokens":3}}"#
        );
        assert_eq!(plain, expected);
        let packed = answer(gemini, Shape::Gemini, true, "g/m", None).unwrap();
        let first = STANDARD.encode([0.5_f32.to_le_bytes(), (-1_f32).to_le_bytes()].concat());
        assert!(String::from_utf8_lossy(&packed).contains(&format!(r#""index":0,"embedding":"{first}""#)));
        let voyage = br#"{"data":[{"embedding":[1],"index":1},{"index":0,"embedding":[2]}]}"#;
        let plain = answer(voyage, Shape::Voyage, false, "m", None).unwrap();
        assert!(String::from_utf8_lossy(&plain).contains(r#""index":1,"embedding":[1]"#));
        for none in [&b"{}"[..], b"[]", br#"{"data":[]}"#, br#"{"data":[{"embedding":"AA=="}]}"#, b"{"] {
            assert_eq!(answer(none, Shape::Jina, false, "m", None), None);
        }
    }
}
