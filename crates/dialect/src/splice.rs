//! Rewrites a request body byte-exactly: only the model's name and the usage flag change, all else stays as it came.

use crate::head::{Head, IncludeUsage, Span};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// Bytes to stand in place of a range.
pub(crate) type Edit = (Span, Cow<'static, str>);

/// Replaces the model (everywhere the body names it; `models/` in front stays as the caller wrote it) and, for OpenAI
/// streams, asks for usage. Returns the same bytes, without a copy, when nothing changes.
///
/// `head` must come from [`scan`](crate::head::scan) of the same body.
pub fn rewrite(body: &Bytes, head: &Head, model: Option<&str>, inject_usage: bool) -> Bytes {
    let mut edits: Vec<Edit> = Vec::new();
    if let Some(model) = model {
        model_edits(body, head, model, &mut edits);
    }
    if inject_usage {
        edits.extend(usage_edit(head.include_usage));
    }
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_unstable_by_key(|(span, _)| span.start);
    apply(body, &edits)
}

fn model_edits(body: &Bytes, head: &Head, model: &str, edits: &mut Vec<Edit>) {
    if let Some(span) = head.model
        && head.model_name.as_deref() != Some(model)
    {
        // In a form it stands without quotes; names hold no line's end.
        let is_form = head.items.as_ref().is_some_and(|items| items.boundary.is_some());
        let text = if is_form { model.replace(char::is_control, "") } else { quote("", model) };
        edits.push((span, Cow::Owned(text)));
    }
    if head.body_model.as_deref().is_none_or(|name| name == model) {
        return;
    }
    for span in &head.body_model_spans {
        let prefixed = body[span.start..span.end].starts_with(b"\"models/");
        edits.push((*span, Cow::Owned(quote(if prefixed { "models/" } else { "" }, model))));
    }
}

fn usage_edit(state: IncludeUsage) -> Option<Edit> {
    let here = |at| Span { start: at, end: at };
    let edit = match state {
        IncludeUsage::Unsupported | IncludeUsage::On => return None,
        IncludeUsage::Absent { at, only_member: true } => (here(at), r#""stream_options":{"include_usage":true}"#),
        IncludeUsage::Absent { at, only_member: false } => (here(at), r#""stream_options":{"include_usage":true},"#),
        IncludeUsage::Null(span) => (span, r#"{"include_usage":true}"#),
        IncludeUsage::Unset { at, only_member: true } => (here(at), r#""include_usage":true"#),
        IncludeUsage::Unset { at, only_member: false } => (here(at), r#""include_usage":true,"#),
        IncludeUsage::Off(span) => (span, "true"),
    };
    Some((edit.0, Cow::Borrowed(edit.1)))
}

pub(crate) fn apply(body: &[u8], edits: &[Edit]) -> Bytes {
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + added);
    let mut from = 0;
    for (span, text) in edits {
        out.extend_from_slice(&body[from..span.start]);
        out.extend_from_slice(text.as_bytes());
        from = span.end;
    }
    out.extend_from_slice(&body[from..]);
    out.freeze()
}

/// A JSON string.
fn quote(prefix: &str, text: &str) -> String {
    let mut out = String::with_capacity(prefix.len() + text.len() + 2);
    out.push('"');
    out.push_str(prefix);
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
