//! Does the key name the scope that the endpoint asks for?

use super::Question;
use anykey_core::{Code, Endpoint, KeyKind, Refusal};

pub(super) fn check(question: &Question<'_>) -> Result<(), Refusal> {
    let (key, wanted) = (&question.caller.key, question.route.endpoint.scope());
    let info = &key.info;
    if info.kind == KeyKind::Admin {
        return Err(Refusal::new(
            Code::ScopeMissing,
            "This is a management key: it manages keys and cannot call models. Use an inference key.",
        ));
    }
    // A temporary key needs it for nothing but to end itself.
    if key.may(wanted) || question.route.endpoint == Endpoint::TempKeyEnd {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ScopeMissing,
        format!("The API key `{}` does not have the scope `{}` that this endpoint asks for.", info.name, wanted.name()),
    ))
}
