//! The closed lists of words of generateContent, both ways.

use crate::translate::form::Stop;

/// Said in place of a signature for a call of a history that never had one; Google documents it for that.
pub const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Why a model stopped; `None` where that was no end of an answer: `OTHER`, `MALFORMED_FUNCTION_CALL`,
/// `UNEXPECTED_TOOL_CALL` and whatever else Google comes to call a failure. Calls end with `STOP` as well.
pub fn stop(word: &str, called: bool) -> Option<Stop> {
    Some(match word {
        "STOP" | "" | UNSPECIFIED if called => Stop::ToolUse,
        "STOP" | "" | UNSPECIFIED => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Stop::Refused,
        _ => return None,
    })
}

/// Said of a candidate that has not stopped.
pub const UNSPECIFIED: &str = "FINISH_REASON_UNSPECIFIED";

pub const fn stop_word(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolUse => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}
