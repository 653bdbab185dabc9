//! Reading bodies and queries strictly, with everything that is wrong told at once.

use crate::problem::{FieldError, Kind, Own, Problem, Result};
use anykey_core::Code;
use anykey_core::find::holds_key;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A caller's own text for a message: short, plain, and cut where it may be a secret that came in the wrong place.
pub(crate) fn echo(text: &str) -> String {
    /// Longer words without a break are keys, hashes and the like.
    const LONGEST_WORD: usize = 20;
    /// As much as the masked form of a key shows.
    const HEAD: usize = 16;
    let longest = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or_default();
    if longest <= LONGEST_WORD {
        return anykey_core::refusal::echo(text);
    }
    let head: String = text.chars().take(HEAD).collect();
    format!("{}…", anykey_core::refusal::echo(&head))
}

/// What was found wrong so far.
#[derive(Default)]
pub(crate) struct Findings {
    errors: Vec<FieldError>,
    destination: bool,
}

impl Findings {
    pub fn add(&mut self, field: impl Into<Cow<'static, str>>, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
    }

    /// A URL that must not be called: it has a code of its own.
    pub fn forbid(&mut self, field: &'static str, why: impl fmt::Display) {
        self.destination = true;
        self.add(field, format!("cannot be used: {why}"));
    }

    /// The value of a check, or what is wrong with the field.
    pub fn check<T>(&mut self, field: &'static str, checked: std::result::Result<T, impl Into<String>>) -> Option<T> {
        checked.map_err(|why| self.add(field, why)).ok()
    }

    /// Nothing was wrong, or the problem that tells all of it.
    pub fn end(self) -> Result<()> {
        let Some(first) = self.errors.first() else { return Ok(()) };
        let more = match self.errors.len() - 1 {
            0 => String::new(),
            n => format!(" {n} more under `errors`."),
        };
        let kind = if self.destination { Kind::from(Own::DestinationForbidden) } else { Code::InvalidParameter.into() };
        let detail = format!("`{}` {}.{more}", first.field, first.message);
        Err(Problem { errors: self.errors, ..Problem::new(kind, detail) })
    }
}

/// A field of a body as it was sent. One of the wrong type is kept as such, so that it is told along with the rest.
#[derive(Default)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    Null,
    Given(T),
    Wrong,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Null => Field::Null,
            value => T::deserialize(value).map_or(Field::Wrong, Field::Given),
        })
    }
}

/// What a type is called in the sentence "... is {WHAT}".
pub(crate) trait Named {
    const WHAT: &str;
}

impl Named for String {
    const WHAT: &str = "a string";
}
impl Named for bool {
    const WHAT: &str = "true or false";
}
impl Named for i64 {
    const WHAT: &str = "a whole number";
}
impl Named for Vec<String> {
    const WHAT: &str = "a list of strings";
}
impl Named for BTreeMap<String, String> {
    const WHAT: &str = "an object whose values are strings";
}

impl<T: Named> Field<T> {
    /// What was given; `Some(None)` where null was.
    pub fn change(self, name: &'static str, findings: &mut Findings) -> Option<Option<T>> {
        match self {
            Field::Absent => None,
            Field::Null => Some(None),
            Field::Given(value) => Some(Some(value)),
            Field::Wrong => {
                findings.add(name, format!("is {}", T::WHAT));
                None
            }
        }
    }

    /// What was given; null is the same as nothing.
    pub fn given(self, name: &'static str, findings: &mut Findings) -> Option<T> {
        self.change(name, findings).flatten()
    }

    /// What was given; null is an error, since the field cannot be cleared.
    pub fn kept(self, name: &'static str, findings: &mut Findings) -> Option<T> {
        let change = self.change(name, findings)?;
        if change.is_none() {
            findings.add(name, "cannot be null");
        }
        change
    }

    pub fn required(self, name: &'static str, findings: &mut Findings) -> Option<T> {
        if matches!(self, Field::Absent | Field::Null) {
            findings.add(name, "is required");
        }
        self.given(name, findings)
    }
}

/// Declares a body: its fields as the document shows them, read as [`Field`]s.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident as $shown:ident {
        required { $($(#[$must_doc:meta])* $must:ident: $must_type:ty,)* }
        optional { $($(#[$may_doc:meta])* $may:ident: $may_type:ty,)* }
    }) => {
        $(#[$doc])*
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        #[schema(as = $shown)]
        pub(crate) struct $name {
            $(
                $(#[$must_doc])*
                #[serde(default)]
                #[schema(value_type = $must_type, required = true)]
                pub $must: crate::input::Field<$must_type>,
            )*
            $(
                $(#[$may_doc])*
                #[serde(default)]
                #[schema(value_type = Option<$may_type>, required = false)]
                pub $may: crate::input::Field<$may_type>,
            )*
        }
    };
}
pub(crate) use body;

/// A JSON body, and its bytes as they were sent.
pub(crate) struct Body<T> {
    pub value: T,
    pub raw: Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let json = is_json(request.headers());
        let raw = bytes(request, state).await?;
        if raw.is_empty() {
            // An operation whose fields are all optional needs no body.
            return Ok(Body { value: read(b"{}")?, raw });
        }
        if !json {
            return Err(Problem::of_status(axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        Ok(Body { value: read(&raw)?, raw })
    }
}

/// The bytes of a body, within the limit of the route.
pub(crate) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes> {
    Bytes::from_request(request, state).await.map_err(|why| Problem::of_status(why.into_response().status()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads an object: no field twice, none unknown.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let Object(object) = serde_json::from_slice(bytes).map_err(|error| {
        if error.to_string().starts_with(TWICE) {
            Problem::new(
                Code::DuplicateJsonKey,
                "The body has a field twice, which readers take differently. Send it once.",
            )
        } else if error.is_data() {
            Problem::new(Code::InvalidJson, "The body is not a JSON object.")
        } else {
            let place = format!("line {}, column {}", error.line(), error.column());
            Problem::new(Code::InvalidJson, format!("The body is not valid JSON: it breaks at {place}."))
        }
    })?;
    no_keys_in(&object)?;
    build(object)
}

/// Fields that are there to take a secret, and to keep it sealed, hashed or not at all. Everything else is a text that is
/// kept and shown.
const TAKE_SECRETS: [&str; 7] = ["key", "found", "token", "api_key", "password", "current_password", "new_password"];

/// Refuses a whole key in a text that would be kept: a note, a name, a reason, a tag.
fn no_keys_in(object: &Map<String, Value>) -> Result<()> {
    let mut findings = Findings::default();
    for (name, value) in object {
        if !TAKE_SECRETS.contains(&name.as_str()) && (holds_key(name) || any_text(value, &holds_key)) {
            findings.add(
                echo(name),
                "holds an API key, and what is sent here is kept and shown to others. Leave it out, and rotate that key \
                 if others have seen it",
            );
        }
    }
    findings.end()
}

fn any_text(value: &Value, is: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, is)),
        Value::Object(object) => object.iter().any(|(name, value)| is(name) || any_text(value, is)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn build<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T> {
    let known = fields_of::<T>();
    let mut findings = Findings::default();
    for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
        findings.add(echo(name), "is not known here");
    }
    findings.end()?;
    // Every field is optional or a `Field`, which takes anything.
    T::deserialize(Value::Object(object))
        .map_err(|_| Problem::new(Code::InvalidParameter, "A field is not of the type that it should be."))
}

const TWICE: &str = "a field twice";

/// An object that has no field twice, however deep.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Strict::deserialize(deserializer)?.0 {
            Value::Object(object) => Ok(Object(object)),
            _ => Err(serde::de::Error::custom("not an object")),
        }
    }
}

/// A value whose objects have no field twice. `Value` itself would silently keep the last.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(serde::de::Error::custom(TWICE));
            }
        }
        Ok(object.into())
    }
}

/// The names of a struct's fields, asked of the struct itself.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Ask<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("only a struct has fields"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> std::result::Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(serde::de::Error::custom("asked only for the fields"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    let _ = T::deserialize(Ask(&mut fields));
    fields
}

/// A query whose parameters are all known and come once. The fields of `T` are optional strings.
pub(crate) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
            Problem::new(Code::InvalidParameter, "The query cannot be read: it is not percent-encoded text.")
        })?;
        let mut object = Map::new();
        for (name, value) in pairs {
            if object.contains_key(&name) {
                return Err(Problem::field(echo(&name), "comes twice"));
            }
            object.insert(name, Value::String(value));
        }
        build(object).map(Params)
    }
}

/// Path parameters as text.
pub(crate) struct PathParam(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathParam {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(text)| PathParam(text))
            .map_err(|_| Problem::of_status(axum::http::StatusCode::NOT_FOUND))
    }
}

/// Text of at most `most` characters, without control characters.
pub(crate) fn text(name: &'static str, value: Option<String>, most: usize, findings: &mut Findings) -> Option<String> {
    let value = value?;
    if value.chars().count() > most {
        findings.add(name, format!("has at most {most} characters"));
    } else if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        findings.add(name, "has no control characters");
    } else {
        return Some(value);
    }
    None
}

/// `true` or `false`.
pub(crate) fn flag(name: &'static str, value: Option<&str>, findings: &mut Findings) -> bool {
    match value {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => {
            findings.add(name, "is true or false");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        name: Field<String>,
        #[serde(default)]
        tags: Field<BTreeMap<String, String>>,
    }

    fn code(body: &str) -> &'static str {
        read::<Sample>(body.as_bytes()).err().map_or("", |problem| problem.kind.code)
    }

    #[test]
    fn bodies_are_read_strictly() {
        assert_eq!(fields_of::<Sample>(), ["name", "tags"]);
        assert_eq!(code(r#"{"name":"a","tags":{"a":"b"}}"#), "");
        assert_eq!(code(r#"{"name":"a","name":"b"}"#), "duplicate_json_key");
        assert_eq!(code(r#"{"tags":{"a":"b","a":"c"}}"#), "duplicate_json_key");
        assert_eq!(code(r#"{"tags":[{"a":[{"b":1,"b":2}]}]}"#), "duplicate_json_key");
        for text in ["", "{", "[]", "null", "\"a\"", "{}x", "{\"name\":}", "\u{feff}{}"] {
            assert_eq!(code(text), "invalid_json", "{text}");
        }
        assert_eq!(code(&format!("{{\"tags\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000))), "invalid_json");
        let problem = read::<Sample>(br#"{"colour":1,"size":2}"#).err().expect("refused");
        assert_eq!(problem.errors.len(), 2);
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        assert_eq!(echo("rotation_interval_day"), "rotation_interval_day");
        assert_eq!(echo("openai/gpt-4o-mini\r\n"), "openai/gpt-4o-mini\u{fffd}\u{fffd}");
        let key = anykey_core::Token::mint("ak", anykey_core::KeyKind::Live).expect("random bytes");
        assert_eq!(echo(key.expose()), format!("{}…", &key.expose()[..16]));
        assert_eq!(echo(&"a".repeat(1000)), format!("{}…", "a".repeat(16)));
    }

    #[test]
    fn wrong_types_are_findings_and_null_is_told_from_absent() {
        let sample: Sample = read(br#"{"name":5,"tags":null}"#).expect("readable");
        let mut findings = Findings::default();
        assert_eq!(sample.name.change("name", &mut findings), None);
        assert_eq!(sample.tags.change("tags", &mut findings), Some(None));
        let problem = findings.end().expect_err("the name is wrong");
        assert_eq!(problem.errors[0].message, "is a string");
        let sample: Sample = read(b"{}").expect("readable");
        assert!(matches!(sample.name, Field::Absent));
    }
}
