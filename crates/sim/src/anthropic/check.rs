//! What Anthropic refuses in a messages request.

use serde_json::Value;

use crate::fault::Fault;
use crate::script::signature_holds;

pub(super) fn request(body: &Value) -> Result<(), Fault> {
    let max_tokens = match body.get("max_tokens") {
        None | Some(Value::Null) => return Err(Fault::invalid("max_tokens: Field required")),
        Some(value) => match value.as_u64() {
            Some(0) => {
                return Err(Fault::invalid("max_tokens: Input should be greater than or equal to 1"));
            }
            Some(most) => most,
            None => {
                return Err(Fault::invalid("max_tokens: Input should be a valid integer"));
            }
        },
    };
    if let Some(temperature) = body.get("temperature").and_then(Value::as_f64)
        && !(0.0..=1.0).contains(&temperature)
    {
        return Err(Fault::invalid("temperature: range: 0..1"));
    }
    thinking(body, max_tokens)?;
    conversation(body)
}

/// The rules that hold for counting tokens too.
pub(super) fn conversation(body: &Value) -> Result<(), Fault> {
    let messages = match body.get("messages") {
        None | Some(Value::Null) => return Err(Fault::invalid("messages: Field required")),
        Some(Value::Array(messages)) if messages.is_empty() => {
            return Err(Fault::invalid("messages: at least one message is required"));
        }
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(Fault::invalid("messages: Input should be a valid list")),
    };
    if role(&messages[0]) == Some("assistant") {
        return Err(Fault::invalid("messages: first message must use the \"user\" role"));
    }
    for (at, message) in messages.iter().enumerate() {
        check_message(at, message, at + 1 == messages.len())?;
    }
    for block in list(body.get("system")) {
        check_text(block, "system")?;
    }
    check_pairs(messages)
}

fn thinking(body: &Value, max_tokens: u64) -> Result<(), Fault> {
    if body.pointer("/thinking/type").and_then(Value::as_str) != Some("enabled") {
        return Ok(());
    }
    match body.pointer("/thinking/budget_tokens").and_then(Value::as_u64) {
        None => {
            return Err(Fault::invalid("thinking.enabled.budget_tokens: Field required"));
        }
        Some(budget) if budget < 1024 => {
            return Err(Fault::invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            ));
        }
        Some(budget) if budget >= max_tokens => {
            return Err(Fault::invalid("`max_tokens` must be greater than `thinking.budget_tokens`."));
        }
        Some(_) => {}
    }
    if body.get("temperature").and_then(Value::as_f64).is_some_and(|temperature| temperature != 1.0) {
        return Err(Fault::invalid("`temperature` may only be set to 1 when thinking is enabled."));
    }
    match body.pointer("/tool_choice/type").and_then(Value::as_str) {
        Some("any" | "tool") => Err(Fault::invalid("Thinking may not be enabled when tool_choice forces tool use.")),
        _ => Ok(()),
    }
}

fn check_message(at: usize, message: &Value, last: bool) -> Result<(), Fault> {
    let role = match role(message) {
        // `system` in the middle of a conversation came with a beta that Claude Code sends.
        Some(role @ ("user" | "assistant")) => role,
        Some("system") if at > 0 => "system",
        _ => {
            return Err(Fault::invalid(format!("messages.{at}.role: Input should be 'user' or 'assistant'")));
        }
    };
    let final_assistant = last && role == "assistant";
    let end = match message.get("content") {
        Some(Value::String(text)) if text.is_empty() && !final_assistant => {
            return Err(Fault::invalid(format!(
                "messages.{at}: all messages must have non-empty content except for the optional final assistant message"
            )));
        }
        Some(Value::String(text)) => Some(text.as_str()),
        Some(Value::Array(blocks)) if blocks.is_empty() && !final_assistant => {
            return Err(Fault::invalid(format!(
                "messages.{at}: all messages must have non-empty content except for the optional final assistant message"
            )));
        }
        Some(Value::Array(blocks)) => {
            for (place, block) in blocks.iter().enumerate() {
                check_block(block, &format!("messages.{at}.content.{place}"))?;
            }
            blocks.last().and_then(|block| block.get("text")?.as_str())
        }
        _ => {
            return Err(Fault::invalid(format!("messages.{at}.content: Field required")));
        }
    };
    if final_assistant && end.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err(Fault::invalid("messages: final assistant content cannot end with trailing whitespace"));
    }
    Ok(())
}

fn check_block(block: &Value, place: &str) -> Result<(), Fault> {
    match block.get("type").and_then(Value::as_str) {
        None => Err(Fault::invalid(format!("{place}.type: Field required"))),
        Some("text") => check_text(block, "messages"),
        Some("thinking") => {
            let text = |name: &str| block.get(name).and_then(Value::as_str);
            match (text("thinking"), text("signature")) {
                (Some(thinking), Some(signature)) if signature_holds(thinking, signature) => Ok(()),
                (_, None) => Err(Fault::invalid(format!("{place}.thinking.signature: Field required"))),
                _ => Err(Fault::invalid(format!("{place}: Invalid `signature` in `thinking` block"))),
            }
        }
        Some("tool_use") => check_id(block.get("id"), &format!("{place}.tool_use.id")),
        Some(_) => Ok(()),
    }
}

fn check_text(block: &Value, place: &str) -> Result<(), Fault> {
    match block.get("text").and_then(Value::as_str) {
        Some("") => Err(Fault::invalid(format!("{place}: text content blocks must be non-empty"))),
        Some(text) if text.trim().is_empty() => {
            Err(Fault::invalid(format!("{place}: text content blocks must contain non-whitespace text")))
        }
        Some(_) => Ok(()),
        None => Err(Fault::invalid(format!("{place}: text: Field required"))),
    }
}

fn check_id(id: Option<&Value>, place: &str) -> Result<(), Fault> {
    let fits = |id: &str| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    match id.and_then(Value::as_str) {
        Some(id) if fits(id) => Ok(()),
        Some(_) => Err(Fault::invalid(format!("{place}: String should match pattern '^[a-zA-Z0-9_-]+$'"))),
        None => Err(Fault::invalid(format!("{place}: Field required"))),
    }
}

/// Every call is answered at the head of the next message, and nothing else is.
fn check_pairs(messages: &[Value]) -> Result<(), Fault> {
    let mut called: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let blocks: Vec<&Value> = list(message.get("content")).collect();
        let results = ids(&blocks, "tool_result", "tool_use_id");
        if let Some(stray) = results.iter().find(|id| !called.contains(id)) {
            let shown: String = stray.chars().take(64).collect();
            return Err(Fault::invalid(format!(
                "messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {shown}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )));
        }
        let head = blocks.iter().take_while(|block| block.get("type").is_some_and(|kind| kind == "tool_result"));
        let answered = ids(&head.copied().collect::<Vec<_>>(), "tool_result", "tool_use_id");
        unanswered(&called, &answered, at)?;
        called = ids(&blocks, "tool_use", "id");
    }
    unanswered(&called, &[], messages.len())
}

fn unanswered(called: &[&str], answered: &[&str], at: usize) -> Result<(), Fault> {
    let Some(open) = called.iter().find(|id| !answered.contains(id)) else {
        return Ok(());
    };
    let shown: String = open.chars().take(64).collect();
    Err(Fault::invalid(format!(
        "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {shown}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        at - 1
    )))
}

fn ids<'a>(blocks: &[&'a Value], kind: &str, field: &str) -> Vec<&'a str> {
    let of_kind = blocks.iter().filter(|block| block.get("type").is_some_and(|of| of == kind));
    of_kind.filter_map(|block| block.get(field)?.as_str()).collect()
}

fn role(message: &Value) -> Option<&str> {
    message.get("role").and_then(Value::as_str)
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
