//! Reads the `input` items of a responses request.

use serde_json::Value;

use crate::fault::Fault;
use crate::prompt::{Meter, Prompt};

pub(super) fn read(body: &Value, meter: &mut Meter, prompt: &mut Prompt, strict: bool) -> Result<(), Fault> {
    if let Some(instructions) = body.get("instructions").and_then(Value::as_str) {
        meter.text(instructions);
        meter.boundary(None);
    }
    match body.get("input") {
        Some(Value::String(text)) => {
            meter.text(text);
            meter.boundary(None);
            prompt.user = text.clone();
            Ok(())
        }
        Some(Value::Array(items)) if !items.is_empty() => {
            if strict {
                check_pairs(items)?;
            }
            read_items(items, meter, prompt)
        }
        Some(Value::Array(_)) | None => Err(Fault::invalid_param("input", "Missing required parameter: 'input'.")),
        Some(_) => Err(Fault::invalid_param(
            "input",
            "Invalid type for 'input': expected one of a string or array of input items.",
        )),
    }
}

fn read_items(items: &[Value], meter: &mut Meter, prompt: &mut Prompt) -> Result<(), Fault> {
    let mut results: Vec<String> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => {
                let text = content(item.get("content"), meter);
                match item.get("role").and_then(Value::as_str) {
                    Some("user") => prompt.user = text,
                    Some("assistant" | "system" | "developer") => {}
                    _ => {
                        return Err(Fault::invalid_param(
                            format!("input[{at}].role"),
                            "Invalid value. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
                        ));
                    }
                }
                results.clear();
            }
            "function_call" | "custom_tool_call" => {
                for field in ["name", "arguments", "input"] {
                    meter.text(item.get(field).and_then(Value::as_str).unwrap_or_default());
                }
                results.clear();
            }
            "function_call_output" | "custom_tool_call_output" => results.push(content(item.get("output"), meter)),
            "reasoning" => {
                let summary = item.get("summary").and_then(Value::as_array).into_iter().flatten();
                for part in summary {
                    meter.text(part.get("text").and_then(Value::as_str).unwrap_or_default());
                }
            }
            // Calls of hosted tools and whatever comes next: weighed whole, as nobody here knows their parts.
            _ => meter.json(item),
        }
        meter.boundary(None);
    }
    prompt.tool_result = (!results.is_empty()).then(|| results.join("\n"));
    Ok(())
}

fn content(content: Option<&Value>, meter: &mut Meter) -> String {
    match content {
        Some(Value::String(text)) => {
            meter.text(text);
            text.clone()
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
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn check_pairs(items: &[Value]) -> Result<(), Fault> {
    let of = |kinds: [&str; 2]| -> Vec<&str> {
        items
            .iter()
            .filter(|item| item.get("type").and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind)))
            .filter_map(|item| item.get("call_id")?.as_str())
            .collect()
    };
    let calls = of(["function_call", "custom_tool_call"]);
    let outputs = of(["function_call_output", "custom_tool_call_output"]);
    let lone = |these: &[&str], those: &[&str]| -> Option<String> {
        let lone = these.iter().find(|id| !those.contains(id))?;
        Some(lone.chars().take(40).collect())
    };
    if let Some(id) = lone(&outputs, &calls) {
        let message = format!("No tool call found for function call output with call_id {id}.");
        return Err(Fault::invalid_param("input", message));
    }
    if let Some(id) = lone(&calls, &outputs) {
        return Err(Fault::invalid_param("input", format!("No tool output found for function call {id}.")));
    }
    Ok(())
}
