//! What writers of answers know of the call that is answered.

use super::Api;
use super::form::Request;
use super::seal::{self, Signature};

/// The caller's side of a call.
#[derive(Clone, Debug)]
pub struct Reply {
    pub client: Api,
    /// The model as the caller named it. Some clients forget thinking that came from another name.
    pub model: String,
    /// For answers whose provider names them not.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Whether the stream of a chat completion ends with a chunk of usage.
    pub include_usage: bool,
    /// Whether the caller asked to see thinking.
    pub show_thinking: bool,
    /// Whether a stream of Gemini's is an array rather than events.
    pub array: bool,
}

impl Reply {
    /// Whether thinking that this request led to is shown: where it can be told from the answer without being asked for,
    /// it is unless the caller said no.
    pub fn shows_thinking(client: Api, request: &Request) -> bool {
        let said = request.reasoning.as_ref().and_then(|reasoning| reasoning.show);
        match client {
            Api::Chat | Api::Responses => said.unwrap_or(true),
            Api::Messages | Api::Gemini => said.unwrap_or(false),
        }
    }

    /// Whether the stream is an array, as Gemini's are unless events are asked for.
    pub fn is_array(&self) -> bool {
        self.client == Api::Gemini && self.array
    }

    /// The provider's name for the answer, or ours where it has none that could be told: every chunk repeats it.
    pub fn answer_id(&self, id: &str) -> String {
        let id = if super::ids::is_plain(id) { id } else { &self.id };
        match self.client {
            Api::Chat => super::ids::answer("chatcmpl-", id),
            Api::Responses => super::ids::answer("resp_", id),
            Api::Messages => super::ids::answer("msg_", id),
            Api::Gemini => id.to_owned(),
        }
    }
}

/// Puts the signatures of thinking that has no place of its own onto the next call's id.
#[derive(Clone, Debug, Default)]
pub struct Riders {
    waiting: Vec<Signature>,
}

impl Riders {
    pub fn wait(&mut self, signature: &Signature) {
        if self.waiting.last() != Some(signature) {
            self.waiting.push(signature.clone());
        }
    }

    /// The id as the caller sees it.
    pub fn id(&mut self, id: &str, own: Option<&Signature>) -> String {
        match own {
            Some(own) => seal::ride(id, std::slice::from_ref(own)),
            None => seal::ride(id, &std::mem::take(&mut self.waiting)),
        }
    }
}
