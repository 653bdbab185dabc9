//! The closed lists of words of messages, both ways.

use crate::translate::form::{CacheMark, Stop};
use crate::value::{Json, Object};

/// Why a model stopped.
pub fn stop(word: &str, sequence: Option<String>) -> Stop {
    match word {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "stop_sequence" => Stop::Sequence(sequence),
        "tool_use" => Stop::ToolUse,
        "refusal" => Stop::Refused,
        _ => Stop::End,
    }
}

/// The word and the sequence.
pub fn stop_words(stop: &Stop) -> (&'static str, Json) {
    match stop {
        Stop::End => ("end_turn", Json::Null),
        Stop::Length => ("max_tokens", Json::Null),
        Stop::Sequence(Some(sequence)) => ("stop_sequence", sequence.into()),
        Stop::Sequence(None) => ("stop_sequence", Json::Null),
        Stop::ToolUse => ("tool_use", Json::Null),
        Stop::Refused => ("refusal", Json::Null),
    }
}

pub fn cache_control(mark: Option<CacheMark>) -> Option<Object> {
    let object = Object::new().with("type", "ephemeral");
    match mark? {
        CacheMark::Short => Some(object),
        CacheMark::Hour => Some(object.with("ttl", "1h")),
    }
}
