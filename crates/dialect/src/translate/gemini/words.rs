//! The closed lists of words of generateContent, both ways.

use crate::translate::form::Stop;

/// Said in place of a signature for a call of a history that never had one; Google documents it for that.
pub const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Why a model stopped. Calls end with `STOP` as well.
pub fn stop(word: &str, called: bool) -> Stop {
    match word {
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" | "LANGUAGE" => {
            Stop::Refused
        }
        _ if called => Stop::ToolUse,
        _ => Stop::End,
    }
}

pub const fn stop_word(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolUse => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}
