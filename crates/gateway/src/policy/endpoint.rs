//! Is the endpoint on the lists of the key and of every level above it?

use super::Question;
use anykey_core::Refusal;

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    if question.ends_itself() {
        return Ok(());
    }
    question.caller.key.bounds.iter().try_for_each(|bound| bound.check_endpoint(question.route.endpoint))
}
