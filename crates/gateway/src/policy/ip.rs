//! Does the call come from an address that the key, and every level above it, is used from?

use super::Question;
use anykey_core::Refusal;

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    if question.ends_itself() {
        return Ok(());
    }
    question.caller.key.bounds.iter().try_for_each(|bound| bound.check_address(question.client))
}
