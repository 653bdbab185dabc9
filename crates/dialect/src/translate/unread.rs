//! Why a whole answer cannot be told: it is none, or it tells of a failure. Neither may look like an answer that said
//! nothing.

use super::Api;
use crate::error::{self, UpstreamError};
use anykey_core::refusal::echo;
use std::borrow::Cow;

/// Why an answer cannot be told to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is none of that provider's.
    NotIts,
    /// The provider says that it failed, in a sentence.
    Failed(String),
}

impl Unread {
    /// An error in the place of an answer. `text` is the body.
    pub fn error(provider: Api, text: &str) -> Self {
        Unread::Failed(message(&error::in_stream(provider.dialect(), text)).into_owned())
    }

    /// The model stopped for a reason that is no end of an answer.
    pub fn stopped(word: &str) -> Self {
        Unread::Failed(Unread::stopped_message(word))
    }

    pub fn stopped_message(word: &str) -> String {
        format!("The model stopped before its answer was whole: `{}`.", echo(word))
    }
}

/// The provider's words, but for those about the operator's credential, which may repeat parts of it.
pub fn message(error: &UpstreamError) -> Cow<'_, str> {
    match error.status {
        401 | 403 => "The operator's credential was refused. Your own key is fine; tell the operator.".into(),
        _ => error.message.as_str().into(),
    }
}
