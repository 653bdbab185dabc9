//! Finds what a request uses beyond its own bytes: URLs, stored files, server-side tools. Such a request's cost has no
//! bound in its body.

use crate::json::{Flaw, Kind, Scanner};
use anykey_core::Dialect;

/// Whether content (messages, input items, parts, blocks) points outside of the body. Arguments and results of tools are
/// not looked into, since the names in them are the caller's own.
pub fn content(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    match s.kind()? {
        Kind::Array => any_element(s, content),
        Kind::Object => part(s),
        _ => s.skip().map(|_| false),
    }
}

fn any_element(s: &mut Scanner<'_>, check: fn(&mut Scanner<'_>) -> Result<bool, Flaw>) -> Result<bool, Flaw> {
    let mut found = false;
    s.array(|s| {
        found |= check(s)?;
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}

fn part(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    let mut found = false;
    s.object(|s, key| {
        found |= match key.decode().as_ref() {
            "content" | "parts" | "output" => content(s)?,
            "type" => kind_is_reference(s)?,
            "image_url" | "video_url" | "audio_url" | "file_url" => url(s)?,
            "file_id" | "fileData" => s.skip()? != Kind::Null,
            "source" | "file" | "audio" => holder(s)?,
            "functionResponse" | "function_response" => response_parts(s)?,
            // An object at Gemini, a data URL or plain base64 at OpenAI.
            "file_data" => {
                if s.kind()? == Kind::Object {
                    s.skip().map(|_| true)?
                } else {
                    remote(s)?
                }
            }
            _ => s.skip().map(|_| false)?,
        };
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}

fn kind_is_reference(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::String {
        return s.skip().map(|_| false);
    }
    Ok(matches!(s.string()?.decode().as_ref(), "item_reference" | "container_upload"))
}

/// A URL, as a string or in an object; data URLs carry their content with them.
fn url(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    match s.kind()? {
        Kind::Object => holder(s),
        Kind::String => Ok(!starts_with(s.string()?.decode().as_ref(), "data:")),
        _ => s.skip().map(|_| false),
    }
}

/// An object that holds content or says where it is.
fn holder(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Object {
        return s.skip().map(|_| false);
    }
    let mut found = false;
    s.object(|s, key| {
        found |= match key.decode().as_ref() {
            "url" => url(s)?,
            "file_id" | "id" => s.skip()? != Kind::Null,
            "file_data" => remote(s)?,
            "content" => content(s)?,
            _ => s.skip().map(|_| false)?,
        };
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}

fn response_parts(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Object {
        return s.skip().map(|_| false);
    }
    let mut found = false;
    s.object(|s, key| {
        found |= if key.decode() == "parts" { content(s)? } else { s.skip().map(|_| false)? };
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}

fn remote(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::String {
        return s.skip().map(|_| false);
    }
    Ok(starts_with(s.string()?.decode().as_ref(), "http"))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a tool list holds one that the provider runs itself.
pub fn tools(dialect: Dialect, s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Array {
        return s.skip().map(|_| false);
    }
    any_element(s, if dialect == Dialect::Gemini { gemini_tool } else { typed_tool })
}

fn typed_tool(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Object {
        return s.skip().map(|_| false);
    }
    let mut found = false;
    s.object(|s, key| {
        if key.decode() == "type" && s.kind()? == Kind::String {
            found |= !runs_at_the_caller(s.string()?.decode().as_ref());
        } else {
            s.skip()?;
        }
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}

/// Types of tools whose calls come back to the caller. A type that isn't known may cost anything.
fn runs_at_the_caller(kind: &str) -> bool {
    const OPENAI: [&str; 6] = ["function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview"];
    const ANTHROPIC: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];
    OPENAI.contains(&kind) || ANTHROPIC.iter().any(|prefix| kind.starts_with(prefix))
}

fn gemini_tool(s: &mut Scanner<'_>) -> Result<bool, Flaw> {
    if s.kind()? != Kind::Object {
        return s.skip().map(|_| false);
    }
    let mut found = false;
    s.object(|s, key| {
        let at_caller = ["functionDeclarations", "function_declarations", "computerUse", "computer_use"];
        let declared = s.skip()? != Kind::Null;
        found |= declared && !at_caller.contains(&key.decode().as_ref());
        Ok::<_, Flaw>(())
    })?;
    Ok(found)
}
