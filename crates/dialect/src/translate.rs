//! Any client, any model: requests, answers and streams of one dialect in the words of another, through one form in the
//! middle. Pure; the gateway says which pair it is and moves the bytes.
//!
//! `request_read` and `request_write` stand in the folder of each dialect, as do `answer_read`, `answer_write`,
//! `stream_read` and `stream_write`. What they share is beside the folders.

mod chat;
mod count;
pub(crate) mod effort;
mod fields;
pub mod form;
mod gemini;
mod ids;
mod messages;
mod notes;
mod openai;
mod replay;
mod reply;
mod responses;
mod schema;
mod seal;
mod shared;
mod stream;
mod unread;

pub use count::{count_answer, count_request, estimated_count};
pub use reply::Reply;
pub use stream::{StreamTranslator, replayed};
pub use unread::Unread;

use crate::value::{Json, Object};
use anykey_core::{Dialect, Endpoint, Refusal, Usage};
use bytes::Bytes;
use notes::Notes;
use std::borrow::Cow;

/// A way to ask for an answer. OpenAI has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    Chat,
    Responses,
    Messages,
    Gemini,
}

impl Api {
    pub const ALL: [Api; 4] = [Api::Chat, Api::Responses, Api::Messages, Api::Gemini];

    /// The one that an endpoint belongs to, if it is for answers at all.
    pub const fn of(endpoint: Endpoint) -> Option<Api> {
        match endpoint {
            Endpoint::ChatCompletions => Some(Api::Chat),
            Endpoint::Responses => Some(Api::Responses),
            Endpoint::Messages => Some(Api::Messages),
            Endpoint::GenerateContent | Endpoint::StreamGenerateContent => Some(Api::Gemini),
            _ => None,
        }
    }

    /// The endpoint to ask at.
    pub const fn endpoint(self, stream: bool) -> Endpoint {
        match self {
            Api::Chat => Endpoint::ChatCompletions,
            Api::Responses => Endpoint::Responses,
            Api::Messages => Endpoint::Messages,
            Api::Gemini if stream => Endpoint::StreamGenerateContent,
            Api::Gemini => Endpoint::GenerateContent,
        }
    }

    pub const fn dialect(self) -> Dialect {
        match self {
            Api::Chat | Api::Responses => Dialect::OpenAi,
            Api::Messages => Dialect::Anthropic,
            Api::Gemini => Dialect::Gemini,
        }
    }

    /// Whether OpenAI is better asked for this model through responses: those that reason go on with their reasoning
    /// from call to call there, and chat completions has no place for it.
    pub fn prefers_responses(model: &str) -> bool {
        effort::openai_reasons(model)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Api::Chat => "chat",
            Api::Responses => "responses",
            Api::Messages => "messages",
            Api::Gemini => "gemini",
        }
    }

    /// Whether calls from one are served by the other through translation: all but from itself, which is verbatim.
    pub const fn reaches(self, provider: Api) -> bool {
        self as u8 != provider as u8
    }
}

/// Who is to answer, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub api: Api,
    pub model: &'a str,
    /// The longest answer that the model gives.
    pub max_output: Option<u64>,
    /// OpenAI itself, which is stricter than those who imitate it.
    pub openai: bool,
}

/// The caller, as far as the body does not say it.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub endpoint: Endpoint,
    /// The model as the caller named it.
    pub model: &'a str,
    /// anykey's id of the call.
    pub id: &'a str,
    /// Seconds since 1970.
    pub now: u64,
    /// Whether a stream of Gemini's is to come as an array.
    pub array: bool,
}

/// A request in the provider's words.
#[derive(Debug)]
pub struct Translated {
    pub body: Bytes,
    pub reply: Reply,
    /// What could not be carried over, by the caller's names.
    pub dropped: Vec<Cow<'static, str>>,
}

/// Translates a request. The body has been scanned before, so it is JSON; a refusal names the field that cannot be
/// served.
pub fn request(caller: &Caller<'_>, body: &[u8], target: &Target<'_>) -> Result<Translated, Refusal> {
    let client = Api::of(caller.endpoint).ok_or_else(|| fields::unserved("model"))?;
    let mut notes = Notes::new(client);
    let (request, include_usage) = read(client, caller, parse(body)?, &mut notes)?;
    let reply = reply_of(client, caller, &request, include_usage);
    let object = spell(request, target, &mut notes)?;
    Ok(Translated { body: object.text().into(), reply, dropped: notes.names().to_vec() })
}

fn parse(body: &[u8]) -> Result<Json, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| fields::refuse("body", "is not UTF-8"))?;
    Ok(Json::parse(text)?)
}

fn reply_of(client: Api, caller: &Caller<'_>, request: &form::Request, include_usage: bool) -> Reply {
    Reply {
        client,
        model: caller.model.to_owned(),
        id: caller.id.to_owned(),
        created: caller.now,
        include_usage,
        show_thinking: Reply::shows_thinking(client, request),
        array: caller.array,
    }
}

/// A request in the provider's words.
fn spell(request: form::Request, target: &Target<'_>, notes: &mut Notes) -> Result<Object, Refusal> {
    match target.api {
        Api::Chat => chat::request_write::write(request, target, notes),
        Api::Responses => responses::request_write::write(request, target, notes),
        Api::Gemini => gemini::request_write::write(request, target, notes),
        Api::Messages => messages::request_write::write(request, target, notes),
    }
}

fn read(client: Api, caller: &Caller<'_>, json: Json, notes: &mut Notes) -> Result<(form::Request, bool), Refusal> {
    match client {
        Api::Messages => Ok((messages::request_read::read(json, notes)?, false)),
        Api::Gemini => {
            let stream = caller.endpoint == Endpoint::StreamGenerateContent;
            Ok((gemini::request_read::read(json, stream, notes)?, false))
        }
        Api::Responses => Ok((responses::request_read::read(json, notes)?, false)),
        Api::Chat => chat::request_read::read(json, notes),
    }
}

/// An answer in the caller's words.
#[derive(Debug)]
pub struct Told {
    pub body: Bytes,
    pub content_type: &'static str,
    /// What of it the caller's dialect has no place for, by the provider's names.
    pub left_out: Vec<&'static str>,
}

/// Translates a whole answer.
pub fn answer(provider: Api, body: &[u8], usage: Option<&Usage>, reply: &Reply) -> Result<Told, Unread> {
    let mut answer = read_answer(provider, body)?;
    let left_out = std::mem::take(&mut answer.left_out);
    let object = match reply.client {
        Api::Messages => messages::answer_write::write(answer, usage, reply),
        Api::Gemini => gemini::answer_write::write(answer, usage, reply),
        Api::Responses => responses::answer_write::write(answer, usage, reply),
        Api::Chat => chat::answer_write::write(answer, usage, reply),
    };
    Ok(Told { body: object.text().into(), content_type: "application/json", left_out })
}

/// What a body of that provider's says. An error in the place of an answer has a status of 200 at some.
fn read_answer(provider: Api, body: &[u8]) -> Result<form::Answer, Unread> {
    let text = std::str::from_utf8(body).map_err(|_| Unread::NotIts)?;
    let Ok(Json::Object(body)) = Json::parse(text) else { return Err(Unread::NotIts) };
    if shared::has_error(&body) {
        return Err(Unread::error(provider, text));
    }
    match provider {
        Api::Messages => messages::answer_read::read(body),
        Api::Gemini => gemini::answer_read::read(body),
        Api::Responses => responses::answer_read::read(body),
        Api::Chat => chat::answer_read::read(body),
    }
}
