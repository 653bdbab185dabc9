//! JSON as a tree, for translating: members keep their order and numbers their spelling, since both mean something to
//! models and to prompt caches. Stands on the scanner; everything under `translate` reads and writes with it.

#[cfg(test)]
mod tests;

use crate::json::{Flaw, Kind, Scanner, What};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Any JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Object),
    /// A document that goes on as it was written, without the blanks between its values.
    Raw(String),
}

/// A value costs many times its text (`0,` becomes 24 bytes), so a tree has a bound of its own. A long conversation has
/// some ten thousand values.
const MOST_VALUES: usize = 1 << 20;

/// Members in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(Cow<'static, str>, Json)>);

impl Json {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Json, Flaw> {
        Json::parse_within(text, MOST_VALUES)
    }

    fn parse_within(text: &str, mut most: usize) -> Result<Json, Flaw> {
        let mut scanner = Scanner::new(text);
        let value = Json::read(&mut scanner, &mut most)?;
        scanner.end()?;
        Ok(value)
    }

    /// An object that nobody will look into: checked, and written as it is. `None` where it is not one.
    pub fn raw_object(text: &str) -> Option<Json> {
        let mut scanner = Scanner::new(text);
        let is_object = scanner.kind().ok()? == Kind::Object;
        scanner.skip().and_then(|_| scanner.end()).ok()?;
        is_object.then(|| Json::Raw(squeezed(text)))
    }

    fn read(s: &mut Scanner<'_>, left: &mut usize) -> Result<Json, Flaw> {
        *left = left.checked_sub(1).ok_or_else(|| Flaw::new(s.position(), What::TooMany))?;
        Ok(match s.kind()? {
            Kind::Null => s.skip().map(|_| Json::Null)?,
            Kind::Bool(value) => s.skip().map(|_| Json::Bool(value))?,
            Kind::Number => Json::Number(s.number()?.to_owned()),
            Kind::String => Json::String(s.string()?.decode().into_owned()),
            Kind::Array => {
                let mut list = Vec::new();
                s.array(|s| {
                    list.push(Json::read(s, left)?);
                    Ok::<_, Flaw>(())
                })?;
                Json::Array(list)
            }
            Kind::Object => {
                let mut object = Object::new();
                s.object(|s, key| {
                    let value = Json::read(s, left)?;
                    object.0.push((Cow::Owned(key.decode().into_owned()), value));
                    Ok::<_, Flaw>(())
                })?;
                Json::Object(object)
            }
        })
    }

    pub fn is_null(&self) -> bool {
        *self == Json::Null
    }

    pub fn str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn into_string(self) -> Option<String> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn count(&self) -> Option<u64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn object(&self) -> Option<&Object> {
        match self {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The members; none where this is not an object.
    pub fn into_object(self) -> Object {
        match self {
            Json::Object(object) => object,
            _ => Object::new(),
        }
    }

    /// The elements; none where this is not an array.
    pub fn into_list(self) -> Vec<Json> {
        match self {
            Json::Array(list) => list,
            _ => Vec::new(),
        }
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::Array(list) => list,
            _ => &[],
        }
    }

    /// A member; null where there is none.
    pub fn at(&self, name: &str) -> &Json {
        const NOTHING: &Json = &Json::Null;
        self.object().and_then(|o| o.get(name)).unwrap_or(NOTHING)
    }

    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(text) | Json::Raw(text) => out.push_str(text),
            Json::String(text) => quote(text, out),
            Json::Array(list) => {
                out.push('[');
                for (i, value) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Json::Object(object) => object.write(out),
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

impl Object {
    pub const fn new() -> Self {
        Object(Vec::new())
    }

    /// Adds a member at the end.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.put(name, value);
        self
    }

    /// Adds a member where there is something to say.
    #[must_use]
    pub fn maybe(mut self, name: &'static str, value: Option<impl Into<Json>>) -> Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    pub fn put(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        self.0.push((name.into(), value.into()));
    }

    /// Puts a member in its place, or at the end where there is none of the name.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        let (name, value) = (name.into(), value.into());
        match self.get_mut(&name) {
            Some(place) => *place = value,
            None => self.0.push((name, value)),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Takes a member out; null where there is none.
    pub fn take(&mut self, name: &str) -> Json {
        match self.0.iter().position(|(key, _)| key == name) {
            Some(at) => self.0.remove(at).1,
            None => Json::Null,
        }
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The members by themselves.
    pub fn into_members(self) -> Vec<(Cow<'static, str>, Json)> {
        self.0
    }

    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (i, (key, value)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            quote(key, out);
            out.push(':');
            value.write(out);
        }
        out.push('}');
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

impl FromIterator<(Cow<'static, str>, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (Cow<'static, str>, Json)>>(members: I) -> Self {
        Object(members.into_iter().collect())
    }
}

/// JSON without the blanks between its values; line ends among them would end a line of a stream.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\n' | '\r' | '\t' if !in_string => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Writes a string with its quotes.
fn quote(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            // Writing to a string does not fail.
            other => drop(write!(out, "\\u{other:04x}")),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::String(text)
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Self {
        Json::String(text.clone())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Json::Number(number.to_string())
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Json::Number(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Bool(value)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Json::Object(object)
    }
}

impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Self {
        Json::Array(list)
    }
}

impl FromIterator<Json> for Json {
    fn from_iter<I: IntoIterator<Item = Json>>(values: I) -> Self {
        Json::Array(values.into_iter().collect())
    }
}
