//! Is the key alive? Only a caller who holds the full secret gets this far, so the cause may be named.

use super::Question;
use anykey_core::{Code, Refusal};

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    let key = &question.caller.key;
    let Some(code) = key.dead_at(question.now_ms) else { return Ok(()) };
    let message = match code {
        Code::KeyDisabled => {
            format!("The API key `{}` is disabled. Its owner or an admin can enable it.", key.info.name)
        }
        Code::KeyExpired => {
            format!("The API key `{}` has expired. Ask for a new one, or for a longer life.", key.info.name)
        }
        _ => format!(
            "This secret of the API key `{}` is no longer valid. Use the new one, or ask for it.",
            key.info.name
        ),
    };
    Err(Refusal::new(code, message))
}
