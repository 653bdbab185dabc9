//! The closed lists of words of chat completions, both ways.

use crate::translate::form::Stop;

/// Why a model stopped. A forced tool ends with `stop`, so calls count for more than the word.
pub fn stop(word: &str, called: bool) -> Stop {
    match word {
        "length" => Stop::Length,
        "content_filter" => Stop::Refused,
        _ if called => Stop::ToolUse,
        _ => Stop::End,
    }
}

pub const fn stop_word(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refused => "content_filter",
    }
}
