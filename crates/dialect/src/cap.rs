//! Bounds the output of a request that names no bound, or a default of ours: one number is put in its place and all else
//! stays as it came.

use crate::head::Span;
use crate::json::{Flaw, Kind, Scanner};
use crate::splice;
use crate::translate::effort;
use anykey_core::Endpoint;
use bytes::Bytes;
use std::borrow::Cow;

/// Whether requests of this endpoint have such a bound.
pub const fn has_bound(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Responses
            | Endpoint::Messages
            | Endpoint::GenerateContent
            | Endpoint::StreamGenerateContent
    )
}

/// The same body with at most so many tokens of output; `openai` says whether OpenAI itself serves it. `None` where it
/// cannot be bounded: the endpoint has no such member, or thinks with a budget of its own that has to fit into it.
///
/// The body must have passed [`scan`](crate::head::scan).
pub fn cap(endpoint: Endpoint, body: &Bytes, openai: bool, model: &str, most: u64) -> Option<Bytes> {
    let mut s = Scanner::new(std::str::from_utf8(body).ok()?);
    let most = most.to_string();
    let chat: &[&str] = if openai || effort::openai_reasons(model) {
        &["max_completion_tokens", "max_tokens"]
    } else {
        &["max_tokens", "max_completion_tokens"]
    };
    let edits = match endpoint {
        Endpoint::ChatCompletions => find(&mut s, chat, &[]).ok()?.edits(chat[0], &most),
        Endpoint::Completions => find(&mut s, &["max_tokens"], &[]).ok()?.edits("max_tokens", &most),
        Endpoint::Responses => find(&mut s, &["max_output_tokens"], &[]).ok()?.edits("max_output_tokens", &most),
        Endpoint::Messages => {
            let found = find(&mut s, &["max_tokens"], &["thinking"]).ok()?;
            if found.inner.is_some() {
                return None;
            }
            found.edits("max_tokens", &most)
        }
        Endpoint::GenerateContent | Endpoint::StreamGenerateContent => {
            const NAMES: &[&str] = &["maxOutputTokens", "max_output_tokens"];
            let config = find(&mut s, &[], &["generationConfig", "generation_config"]).ok()?;
            match config.inner {
                None => config.edits("generationConfig", &format!("{{\"maxOutputTokens\":{most}}}")),
                Some(span) => {
                    // The same text from its start on: places in it are places in the body.
                    let mut inside = Scanner::new(std::str::from_utf8(&body[..span.end]).ok()?);
                    inside.skip_to(span.start);
                    find(&mut inside, NAMES, &[]).ok()?.edits(NAMES[0], &most)
                }
            }
        }
        _ => return None,
    };
    Some(splice::apply(body, &edits))
}

/// What an object says of a bound, and where one can be put.
struct Found {
    /// Just behind the opening brace.
    at: usize,
    only_member: bool,
    /// Values of members of these names that are set.
    set: Vec<Span>,
    /// The value of the first name where it is null.
    null: Option<Span>,
    /// The value of the members that are looked for beside them, where it is not null.
    inner: Option<Span>,
    /// Where it is.
    inner_null: Option<Span>,
}

impl Found {
    fn edits(self, name: &str, value: &str) -> Vec<splice::Edit> {
        let text = || Cow::Owned(value.to_owned());
        if !self.set.is_empty() {
            return self.set.into_iter().map(|span| (span, text())).collect();
        }
        if let Some(span) = self.null.or(self.inner_null) {
            return vec![(span, text())];
        }
        let comma = if self.only_member { "" } else { "," };
        let here = Span { start: self.at, end: self.at };
        vec![(here, Cow::Owned(format!("\"{name}\":{value}{comma}")))]
    }
}

fn find(s: &mut Scanner<'_>, names: &[&str], beside: &[&str]) -> Result<Found, Flaw> {
    // Passes white space, if there is any.
    s.peek();
    let mut found =
        Found { at: s.position() + 1, only_member: true, set: Vec::new(), null: None, inner: None, inner_null: None };
    s.object(|s, key| {
        found.only_member = false;
        let key = key.decode();
        let place = names.iter().position(|name| *name == key);
        let other = beside.contains(&key.as_ref());
        let (kind, span) = s.value()?;
        match (place, kind) {
            (Some(0), Kind::Null) => found.null = Some(span),
            (Some(_), Kind::Null) => {}
            (Some(_), _) => found.set.push(span),
            (None, Kind::Null) if other => found.inner_null = Some(span),
            (None, _) if other => found.inner = Some(span),
            (None, _) => {}
        }
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::scan;

    fn capped(endpoint: Endpoint, body: &str, openai: bool) -> Option<String> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        scan(endpoint, &body).unwrap();
        let capped = cap(endpoint, &body, openai, "some-model", 77)?;
        assert_eq!(scan(endpoint, &capped).unwrap().max_tokens, Some(77), "what is sent is what was held");
        Some(String::from_utf8(capped.to_vec()).unwrap())
    }

    #[test]
    fn one_number_is_put_in_and_nothing_else_changes() {
        use Endpoint::{ChatCompletions, Completions, GenerateContent, Messages, Responses, StreamGenerateContent};
        for (endpoint, openai, body, expected) in [
            (ChatCompletions, true, r#"{ "model":"m"}"#, r#"{"max_completion_tokens":77, "model":"m"}"#),
            (ChatCompletions, false, " {\"n\":2}\n", " {\"max_tokens\":77,\"n\":2}\n"),
            (ChatCompletions, false, "{}", r#"{"max_tokens":77}"#),
            (
                ChatCompletions,
                true,
                r#"{"max_tokens":null,"model":"m"}"#,
                r#"{"max_completion_tokens":77,"max_tokens":null,"model":"m"}"#,
            ),
            (
                ChatCompletions,
                true,
                r#"{"model":"m","max_completion_tokens" : null}"#,
                r#"{"model":"m","max_completion_tokens" : 77}"#,
            ),
            (ChatCompletions, true, r#"{"max_tokens":4096,"a":1}"#, r#"{"max_tokens":77,"a":1}"#),
            (Completions, true, r#"{"prompt":"x"}"#, r#"{"max_tokens":77,"prompt":"x"}"#),
            (Responses, true, r#"{"input":"é"}"#, r#"{"max_output_tokens":77,"input":"é"}"#),
            (Messages, false, r#"{"max_tokens":8192,"messages":[]}"#, r#"{"max_tokens":77,"messages":[]}"#),
            (Messages, false, r#"{"max_tokens":8192,"thinking":null}"#, r#"{"max_tokens":77,"thinking":null}"#),
            (
                GenerateContent,
                false,
                r#"{"contents":[]}"#,
                r#"{"generationConfig":{"maxOutputTokens":77},"contents":[]}"#,
            ),
            (GenerateContent, false, "{}", r#"{"generationConfig":{"maxOutputTokens":77}}"#),
            (
                StreamGenerateContent,
                false,
                r#"{"generationConfig": null}"#,
                r#"{"generationConfig": {"maxOutputTokens":77}}"#,
            ),
            (
                GenerateContent,
                false,
                r#"{"generation_config": { "topK":1}, "x":2}"#,
                r#"{"generation_config": {"maxOutputTokens":77, "topK":1}, "x":2}"#,
            ),
            (
                GenerateContent,
                false,
                r#"{"a":0,"generationConfig":{"topK":1,"max_output_tokens":900}}"#,
                r#"{"a":0,"generationConfig":{"topK":1,"max_output_tokens":77}}"#,
            ),
        ] {
            assert_eq!(capped(endpoint, body, openai).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn a_budget_for_thinking_is_left_alone() {
        let body = r#"{"max_tokens":8192,"thinking":{"type":"enabled","budget_tokens":4096}}"#;
        assert_eq!(capped(Endpoint::Messages, body, false), None);
        let none = cap(Endpoint::Embeddings, &Bytes::from_static(b"{}"), true, "m", 77);
        assert!(none.is_none() && !has_bound(Endpoint::Embeddings));
    }
}
