//! Does the key name the scope that the endpoint asks for?

use super::Question;
use anykey_core::{Code, KeyKind, Refusal};

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    let (info, wanted) = (&question.caller.key.info, question.route.endpoint.scope());
    if info.kind == KeyKind::Admin {
        return Err(Refusal::new(
            Code::ScopeMissing,
            "This is a management key: it manages keys and cannot call models. Use an inference key.",
        ));
    }
    // A temporary key needs none to end itself.
    if question.ends_itself() {
        return Ok(());
    }
    question.caller.key.bounds.iter().try_for_each(|bound| bound.check_scope(wanted))?;
    if info.scopes.contains(wanted) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ScopeMissing,
        format!("The API key `{}` does not have the scope `{}` that this endpoint asks for.", info.name, wanted.name()),
    ))
}
