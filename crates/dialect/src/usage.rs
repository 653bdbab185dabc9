//! What a whole answer used, in anykey's disjoint units, whichever way the provider counts.

use anykey_core::{Endpoint, Usage};

/// What the gateway reads of a whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `None` when the provider gave no counts.
    pub usage: Option<Usage>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    pub id: Option<String>,
    /// The body is a whole JSON document.
    pub complete: bool,
}

/// Reads an answer that came in one piece.
pub fn read_answer(_endpoint: Endpoint, _body: &[u8]) -> Answer {
    unreachable!("the body of this function comes with the next commit")
}

/// Usage where a provider gave none: a token for every four bytes, at least one each way.
pub fn estimate(_endpoint: Endpoint, _request_bytes: u64, _output_bytes: u64) -> Usage {
    unreachable!("the body of this function comes with the next commit")
}
