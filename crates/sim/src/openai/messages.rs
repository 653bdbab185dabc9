//! Reads the `messages` of a chat request: texts, tool calls and results, and whether they pair up.

use serde_json::Value;

use crate::fault::Fault;
use crate::prompt::{Meter, Prompt};

/// Weighs all messages and finds the last words of the user and of the tools.
pub(super) fn read(body: &Value, meter: &mut Meter, prompt: &mut Prompt, strict: bool) -> Result<(), Fault> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => {
            return Err(Fault::invalid_param(
                "messages",
                "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            ));
        }
        Some(_) => {
            return Err(Fault::invalid_param("messages", "Invalid type for 'messages': expected an array of objects."));
        }
        None => {
            return Err(Fault::invalid_param("messages", "Missing required parameter: 'messages'."));
        }
    };
    if strict {
        check_pairs(messages)?;
    }
    let mut results: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        let text = content(message.get("content"), meter, at, strict)?;
        if strict && role == "tool" {
            check_result(message, at)?;
        }
        for call in tool_calls(message) {
            let function = call.get("function").unwrap_or(call);
            for field in ["name", "arguments"] {
                meter.text(function.get(field).and_then(Value::as_str).unwrap_or_default());
            }
        }
        match role {
            "user" => {
                prompt.user = text;
                results.clear();
            }
            "tool" | "function" => results.push(text),
            "system" | "developer" | "assistant" => results.clear(),
            other => {
                let shown: String = other.chars().take(32).collect();
                return Err(Fault::invalid_param(
                    format!("messages[{at}].role"),
                    format!(
                        "Invalid value: '{shown}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
                    ),
                ));
            }
        }
        meter.boundary(None);
    }
    prompt.tool_result = (!results.is_empty()).then(|| results.join("\n"));
    Ok(())
}

/// The text of a message's content: a string, or the text parts of a list.
fn content(content: Option<&Value>, meter: &mut Meter, at: usize, strict: bool) -> Result<String, Fault> {
    match content {
        Some(Value::String(text)) => {
            meter.text(text);
            Ok(text.clone())
        }
        Some(Value::Array(parts)) => {
            let mut texts = Vec::new();
            for part in parts {
                match part.get("text").or(part.get("refusal")).and_then(Value::as_str) {
                    Some(text) => {
                        meter.text(text);
                        texts.push(text);
                    }
                    None => meter.image(),
                }
            }
            Ok(texts.join("\n"))
        }
        None | Some(Value::Null) => Ok(String::new()),
        Some(_) if !strict => Ok(String::new()),
        Some(_) => Err(Fault::invalid_param(
            format!("messages[{at}].content"),
            format!("Invalid type for 'messages[{at}].content': expected one of a string or array of objects."),
        )),
    }
}

/// Results are text alone.
fn check_result(message: &Value, at: usize) -> Result<(), Fault> {
    let parts = message.get("content").and_then(Value::as_array);
    match parts.and_then(|parts| parts.iter().position(|part| part.get("type").is_none_or(|kind| kind != "text"))) {
        None => Ok(()),
        Some(place) => Err(Fault::invalid_param(
            format!("messages[{at}].content[{place}].type"),
            format!(
                "Invalid 'messages[{at}]'. Image URLs and other content are only allowed for messages with role 'user', but this message with role 'tool' contains one."
            ),
        )),
    }
}

fn tool_calls(message: &Value) -> impl Iterator<Item = &Value> {
    message.get("tool_calls").and_then(Value::as_array).into_iter().flatten()
}

/// Every call is answered before anything else is said, and nothing is answered that was not called.
fn check_pairs(messages: &[Value]) -> Result<(), Fault> {
    let mut open: Vec<&str> = Vec::new();
    let mut in_turn = false;
    for (at, message) in messages.iter().enumerate() {
        if message.get("role").and_then(Value::as_str) == Some("tool") {
            let id = message.get("tool_call_id").and_then(Value::as_str).ok_or_else(|| {
                Fault::invalid_param(
                    format!("messages[{at}].tool_call_id"),
                    format!("Missing required parameter: 'messages[{at}].tool_call_id'."),
                )
            })?;
            let called = open.iter().position(|open| *open == id);
            match called {
                Some(place) if in_turn => {
                    open.remove(place);
                }
                _ => {
                    return Err(Fault::invalid_param(
                        format!("messages.[{at}].role"),
                        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    ));
                }
            }
            continue;
        }
        unanswered(&open, at)?;
        open = tool_calls(message).filter_map(|call| call.get("id")?.as_str()).collect();
        in_turn = !open.is_empty();
        if let Some(long) = open.iter().find(|id| id.len() > 40) {
            return Err(Fault::invalid_param(
                format!("messages[{at}].tool_calls[0].id"),
                format!(
                    "Invalid 'messages[{at}].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length {} instead.",
                    long.len()
                ),
            ));
        }
    }
    unanswered(&open, messages.len())
}

fn unanswered(open: &[&str], at: usize) -> Result<(), Fault> {
    if open.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = open.iter().map(|id| id.chars().take(40).collect()).collect();
    Err(Fault::invalid_param(
        format!("messages.[{at}].role"),
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            ids.join(", ")
        ),
    ))
}
