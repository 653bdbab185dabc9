//! Is the key alive? Only a caller who holds the full secret gets this far, so the cause may be named.

use super::Question;
use anykey_core::controls::Level;
use anykey_core::{Code, Refusal};
use anykey_store::LiveKey;

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    let key = &question.caller.key;
    let Some(code) = key.dead_at(question.now_ms) else { return Ok(()) };
    // What is disabled may be enabled again, so such a key has not ended yet.
    if code == Code::KeyDisabled && question.ends_itself() {
        return Ok(());
    }
    let message = match code {
        Code::KeyDisabled if !key.info.disabled => closed(key),
        Code::KeyDisabled => {
            format!("The API key `{}` is disabled. Its owner or an admin can enable it.", key.info.name)
        }
        Code::KeyExpired => {
            format!("The API key `{}` has expired. Ask for a new one, or for a longer life.", key.info.name)
        }
        _ if key.temp.is_some() => format!(
            "The temporary key `{}` has ended: the key that it was minted from is gone or has another secret. Mint \
             another one.",
            key.info.name
        ),
        _ => format!(
            "This secret of the API key `{}` is no longer valid. Use the new one, or ask for it.",
            key.info.name
        ),
    };
    Err(Refusal::new(code, message))
}

/// Something above the key is disabled or deleted.
fn closed(key: &LiveKey) -> String {
    let name = &key.info.name;
    match key.closed_by() {
        Some((level @ (Level::Member | Level::ServiceAccount), owner)) => format!(
            "The API key `{name}` cannot be used: the {} that owns it, `{owner}`, is disabled or gone. An admin can give \
             the key to another owner.",
            level.words()
        ),
        Some((Level::Key, parent)) => format!(
            "The temporary key `{name}` cannot be used: the API key `{parent}` that it was minted from is disabled. An \
             admin of the gateway can enable it."
        ),
        Some((level, above)) => format!(
            "The API key `{name}` cannot be used: its {} `{above}` is disabled or gone. An admin of the gateway can \
             enable it.",
            level.words()
        ),
        None => format!("The API key `{name}` is disabled. Its owner or an admin can enable it."),
    }
}
