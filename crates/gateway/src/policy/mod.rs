//! Step 4 of a call: may this key do this at all? One file per check, the cheap ones first; all of them see the head
//! alone, but for the model, which is looked at when it is known which provider would serve it.

mod browser;
mod content;
mod endpoint;
mod ip;
mod model;
mod scope;
mod status;

pub(crate) use model::{check as check_model, offers};

use crate::identify::{Caller, Marks};
use anykey_core::controls::Client;
use anykey_core::endpoint::Route;
use anykey_core::{Code, Dialect, Endpoint, Refusal};
use anykey_store::LiveKey;
use std::sync::Arc;

/// A caller whose key may be used on this route. Made here only.
pub(crate) struct Allowed {
    pub key: Arc<LiveKey>,
    pub route: Route,
    _private: (),
}

/// What a check may look at.
pub(crate) struct Question<'a> {
    pub caller: &'a Caller,
    pub route: &'a Route,
    pub marks: &'a Marks<'a>,
    pub client: Client,
    pub now_ms: i64,
}

impl Question<'_> {
    /// Whether a temporary key asks to end, which nothing keeps it from as long as it lives.
    fn ends_itself(&self) -> bool {
        self.route.endpoint == Endpoint::TempKeyEnd
    }
}

type Check = fn(&Question<'_>) -> Result<(), Refusal>;

/// In this order: what is wrong with the key itself comes before what it may not do.
const CHECKS: &[Check] = &[
    status::check,
    ip::check,
    scope::check,
    endpoint::check,
    browser::check,
    version,
    content::check_type,
    content::check_encoding,
];

pub(crate) fn check(
    caller: Caller,
    route: Route,
    marks: &Marks<'_>,
    client: Client,
    now_ms: i64,
) -> Result<Allowed, (Caller, Refusal)> {
    let question = Question { caller: &caller, route: &route, marks, client, now_ms };
    match CHECKS.iter().try_for_each(|check| check(&question)) {
        Ok(()) => Ok(Allowed { key: caller.key, route, _private: () }),
        Err(refusal) => Err((caller, refusal)),
    }
}

/// Anthropic's API asks for its version on every call; an SDK always sends it.
fn version(question: &Question<'_>) -> Result<(), Refusal> {
    let anthropic = question.route.dialect == Dialect::Anthropic && !question.route.endpoint.is_read();
    if anthropic && !question.marks.anthropic_version {
        return Err(Refusal::new(
            Code::MissingAnthropicVersion,
            "The header anthropic-version is required. Send `anthropic-version: 2023-06-01`.",
        )
        .param("anthropic-version"));
    }
    Ok(())
}
