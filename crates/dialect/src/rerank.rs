//! The two shapes in which documents are ranked: that of Cohere and Jina, whose answer has `results`, and that of Voyage,
//! whose answer has `data`. Where caller and provider write the same one, nothing is touched.

use crate::value::{Json, Object};
use anykey_core::provider::ProviderKind;
use anykey_core::{Code, Refusal};
use bytes::Bytes;
use std::borrow::Cow;

/// How a rerank is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `top_n`, and documents that may be objects.
    Jina,
    /// `top_n`, and documents that are text.
    Cohere,
    /// `top_k`, documents that are text, and `data` in the answer.
    Voyage,
}

/// A request in the provider's shape, with the names of what it has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    pub body: Bytes,
    pub dropped: Vec<String>,
}

impl Shape {
    /// How a kind of provider reads and writes it.
    pub fn of(kind: &ProviderKind) -> Shape {
        match kind.name {
            "voyage" => Shape::Voyage,
            "cohere" => Shape::Cohere,
            _ => Shape::Jina,
        }
    }

    const fn has_data(self) -> bool {
        matches!(self, Shape::Voyage)
    }
}

/// A member that only Voyage's callers send.
const VOYAGE: [&str; 2] = ["top_k", "truncation"];
/// The members that the other shapes share with it.
const SHARED: [&str; 4] = ["model", "query", "documents", "return_documents"];

/// What the caller writes, by what only one kind of caller sends.
fn shape_of(body: &Object) -> Shape {
    let voyage = VOYAGE.iter().any(|name| body.get(name).is_some());
    if voyage && body.get("top_n").is_none() { Shape::Voyage } else { Shape::Jina }
}

/// The request as the provider reads it, and the shape in which the caller wants the answer; `None` where nothing has to
/// be changed. The body must have passed [`scan`](crate::head::scan).
pub fn request(body: &[u8], there: Shape) -> Result<Option<(Converted, Shape)>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| unread("the body", "UTF-8"))?;
    let members = Json::parse(text)?.into_object();
    let caller = shape_of(&members);
    check(&members)?;
    let needs_text = there != Shape::Jina && members.get("documents").is_some_and(has_object);
    if caller.has_data() == there.has_data() && !needs_text {
        return Ok(None);
    }
    let mut out = Object::new();
    let mut dropped = Vec::new();
    for (name, value) in members.into_members() {
        if let Some((name, value)) = member(name, value, there, &mut dropped)? {
            out.put(name, value);
        }
    }
    Ok(Some((Converted { body: Bytes::from(out.text()), dropped }, caller)))
}

/// One member of the request; `None` where the provider has no place for it.
fn member(
    name: Cow<'static, str>,
    value: Json,
    there: Shape,
    dropped: &mut Vec<String>,
) -> Result<Option<(Cow<'static, str>, Json)>, Refusal> {
    let kept = match (&*name, there) {
        ("documents", Shape::Cohere | Shape::Voyage) => Some((name, texts(value)?)),
        ("return_documents", Shape::Cohere) if value.bool() != Some(true) => None,
        ("return_documents", Shape::Cohere) => {
            dropped.push("return_documents".to_owned());
            None
        }
        (shared, _) if SHARED.contains(&shared) => Some((name, value)),
        ("top_n", Shape::Voyage) => Some((Cow::Borrowed("top_k"), value)),
        ("top_k", Shape::Jina | Shape::Cohere) => (!value.is_null()).then_some((Cow::Borrowed("top_n"), value)),
        // It is what the others do anyhow.
        ("truncation", Shape::Jina | Shape::Cohere) if value.bool() != Some(false) => None,
        ("truncation", Shape::Jina | Shape::Cohere) => {
            dropped.push("truncation".to_owned());
            None
        }
        (_, Shape::Voyage) => {
            dropped.push(name.chars().filter(char::is_ascii_graphic).take(64).collect());
            None
        }
        _ => Some((name, value)),
    };
    Ok(kept)
}

fn check(members: &Object) -> Result<(), Refusal> {
    if members.get("query").is_none_or(Json::is_null) {
        return Err(unread("query", "the text by which documents are ranked"));
    }
    match members.get("documents") {
        Some(documents) if !documents.list().is_empty() => Ok(()),
        _ => Err(unread("documents", "a list of at least one document")),
    }
}

fn has_object(documents: &Json) -> bool {
    documents.list().iter().any(|document| document.object().is_some())
}

/// Documents as text; an object's is its `text`.
fn texts(documents: Json) -> Result<Json, Refusal> {
    let text = |document: Json| match document.object() {
        None => Ok(document),
        Some(object) => match object.get("text").and_then(Json::str) {
            Some(text) => Ok(Json::from(text)),
            None => Err(unread("documents[]", "text, which is all that the provider of this model ranks")),
        },
    };
    documents.into_list().into_iter().map(text).collect::<Result<Vec<_>, _>>().map(Json::from)
}

fn unread(name: &'static str, expected: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("`{name}` must be {expected}.")).param(name)
}

/// The provider's answer in the caller's shape; `None` where it is no ranking.
pub fn answer(body: &[u8], caller: Shape) -> Option<Bytes> {
    let (from, to) = if caller.has_data() { ("results", "data") } else { ("data", "results") };
    let members = Json::parse(std::str::from_utf8(body).ok()?).ok()?;
    members.object()?;
    let members = members.into_object();
    if members.get(from).is_none() {
        // It has the caller's shape already.
        return members.get(to).is_some().then(|| Bytes::copy_from_slice(body));
    }
    let mut out = Object::new();
    for (name, value) in members.into_members() {
        match &*name {
            name if name == from => {
                out.put(to, value.into_list().into_iter().map(|one| ranked(one, caller)).collect::<Json>())
            }
            _ => out.put(name, value),
        }
    }
    Some(Bytes::from(out.text()))
}

/// A place in the ranking; the document that it may repeat is text at Voyage and an object elsewhere.
fn ranked(one: Json, caller: Shape) -> Json {
    let mut members = one.into_object();
    let document = match (members.get("document"), caller) {
        (Some(Json::Object(object)), Shape::Voyage) => object.get("text").and_then(Json::str).map(Json::from),
        (Some(document), Shape::Jina | Shape::Cohere) => {
            document.str().map(|text| Json::from(Object::new().with("text", text)))
        }
        _ => None,
    };
    if let Some(document) = document {
        members.set("document", document);
    }
    Json::from(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(body: &str, there: Shape) -> Option<(String, Vec<String>, Shape)> {
        let (converted, caller) = request(body.as_bytes(), there).unwrap()?;
        Some((String::from_utf8(converted.body.to_vec()).unwrap(), converted.dropped, caller))
    }

    #[test]
    fn who_writes_alike_is_left_alone() {
        let jina = r#"{"model":"m","query":"q","documents":["a","b"],"top_n":1}"#;
        let voyage = r#"{"model":"m","query":"q","documents":["a","b"],"top_k":null,"truncation":true}"#;
        assert_eq!(converted(jina, Shape::Jina), None);
        assert_eq!(converted(jina, Shape::Cohere), None);
        assert_eq!(converted(voyage, Shape::Voyage), None);
        assert_eq!(converted(r#"{"query":"q","documents":[{"text":"a"}]}"#, Shape::Jina), None);
    }

    #[test]
    fn each_is_asked_in_its_own_words() {
        let jina = r#"{"model":"m","query":"q","documents":["a",{"text":"b"}],"top_n":1,"max_chunks_per_doc":2}"#;
        assert_eq!(
            converted(jina, Shape::Voyage),
            Some((
                r#"{"model":"m","query":"q","documents":["a","b"],"top_k":1}"#.to_owned(),
                vec!["max_chunks_per_doc".to_owned()],
                Shape::Jina
            ))
        );
        let voyage = r#"{"query":"q","documents":["a"],"model":"m","top_k":null,"truncation":true}"#;
        assert_eq!(
            converted(voyage, Shape::Cohere),
            Some((r#"{"query":"q","documents":["a"],"model":"m"}"#.to_owned(), vec![], Shape::Voyage))
        );
        let strict = r#"{"query":"q","documents":["a"],"model":"m","top_k":3,"truncation":false}"#;
        assert_eq!(
            converted(strict, Shape::Jina),
            Some((
                r#"{"query":"q","documents":["a"],"model":"m","top_n":3}"#.to_owned(),
                vec!["truncation".to_owned()],
                Shape::Voyage
            ))
        );
    }

    #[test]
    fn what_cannot_be_ranked_is_named() {
        for (body, there, name) in [
            (r#"{"documents":["a"]}"#, Shape::Jina, "query"),
            (r#"{"query":"q"}"#, Shape::Jina, "documents"),
            (r#"{"query":"q","documents":[]}"#, Shape::Jina, "documents"),
            (r#"{"query":"q","documents":[{"image":"https://example.com/a.png"}]}"#, Shape::Cohere, "documents[]"),
        ] {
            let refusal = request(body.as_bytes(), there).unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (Code::InvalidParameter, Some(name)), "{body}");
        }
    }

    #[test]
    fn answers_come_back_in_the_callers_shape() {
        let voyage = br#"{"object":"list","data":[{"relevance_score":0.9,"index":1,"document":"b"}],"usage":{"total_tokens":7}}"#;
        let there = answer(voyage, Shape::Jina).unwrap();
        assert_eq!(
            there,
            r#"{"object":"list","results":[{"relevance_score":0.9,"index":1,"document":{"text":"b"}}],"usage":{"total_tokens":7}}"#
        );
        assert_eq!(answer(&there, Shape::Voyage).unwrap(), &voyage[..]);
        assert_eq!(answer(&there, Shape::Jina).unwrap(), there);
        assert_eq!(answer(b"[]", Shape::Jina), None);
        assert_eq!(answer(br#"{"object":"list"}"#, Shape::Voyage), None);
    }
}
