//! The closed lists of words of chat completions, both ways.

use crate::translate::form::Stop;

/// Why a model stopped; `None` where that was no end of an answer: the words of OpenRouter, DeepSeek, Zhipu and vLLM for
/// that. A forced tool ends with `stop`, so calls count for more than the word.
pub fn stop(word: &str, called: bool) -> Option<Stop> {
    Some(match word {
        "error" | "insufficient_system_resource" | "network_error" | "abort" => return None,
        "length" => Stop::Length,
        "content_filter" | "sensitive" => Stop::Refused,
        _ if called => Stop::ToolUse,
        _ => Stop::End,
    })
}

pub const fn stop_word(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refused => "content_filter",
    }
}
