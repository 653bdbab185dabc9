//! Counting tokens for a caller whose provider counts in other words, or not at all: then they are estimated from what the
//! request says, in no dialect's words.

use super::fields::{self, Fields};
use super::form::{Block, Body, Format, Request, Source};
use super::notes::Notes;
use super::{Api, Caller, Target, Told, Translated, Unread, shared};
use crate::value::{Json, Object};
use anykey_core::{Endpoint, Refusal};
use bytes::Bytes;

/// Bytes of text that make a token, as prose and code mostly do.
const BYTES_PER_TOKEN: u64 = 4;
/// What stands around a turn or a tool beside its text.
const FRAME: u64 = 4;
/// What an image counts, at most.
const IMAGE: u64 = 1600;
/// Bytes of base64 of a document or a sound that make a token.
const DATA_PER_TOKEN: u64 = 16;

impl Api {
    /// The one in whose words an endpoint has tokens counted.
    pub const fn counting(endpoint: Endpoint) -> Option<Api> {
        match endpoint {
            Endpoint::CountTokens => Some(Api::Messages),
            Endpoint::GeminiCountTokens => Some(Api::Gemini),
            _ => None,
        }
    }

    /// Where to have tokens counted, in the one way or the other.
    pub const fn count_endpoint(self) -> Option<Endpoint> {
        match self {
            Api::Messages => Some(Endpoint::CountTokens),
            Api::Gemini => Some(Endpoint::GeminiCountTokens),
            Api::Chat | Api::Responses => None,
        }
    }
}

/// What a request to count says, and what of it is not known.
fn read(caller: &Caller<'_>, body: &[u8]) -> Result<(Api, Request, Notes), Refusal> {
    let client = Api::counting(caller.endpoint).ok_or_else(|| fields::unserved("model"))?;
    let mut json = super::parse(body)?;
    if client == Api::Gemini {
        json = unwrapped(json)?;
    }
    let mut notes = Notes::new(client);
    let (request, _) = super::read(client, caller, json, &mut notes)?;
    Ok((client, request, notes))
}

/// Gemini takes the contents alone, or a whole request in a member of its own.
fn unwrapped(json: Json) -> Result<Json, Refusal> {
    let mut f = Fields::proto(json, "")?;
    Ok(match f.take("generateContentRequest") {
        Some(request) => request,
        None => Json::Object(f.rest()),
    })
}

/// Translates a request to count for a provider that counts.
pub fn count_request(caller: &Caller<'_>, body: &[u8], target: &Target<'_>) -> Result<Translated, Refusal> {
    let (client, request, mut notes) = read(caller, body)?;
    let reply = super::reply_of(client, caller, &request, false);
    let object = super::spell(request, target, &mut notes)?;
    let object = match target.api {
        Api::Gemini => {
            let model = Object::new().with("model", format!("models/{}", target.model));
            let whole: Object = model.into_members().into_iter().chain(object.into_members()).collect();
            Object::new().with("generateContentRequest", whole)
        }
        // What only steers an answer has no place there.
        _ => object.into_members().into_iter().filter(|(name, _)| COUNTED.contains(&&**name)).collect(),
    };
    Ok(Translated { body: object.text().into(), reply, dropped: notes.names().to_vec() })
}

/// The members of Anthropic's messages that are counted.
const COUNTED: [&str; 6] = ["model", "messages", "system", "tools", "tool_choice", "thinking"];

/// A provider's count in the caller's words.
pub fn count_answer(provider: Api, body: &[u8], client: Api) -> Result<Told, Unread> {
    let text = std::str::from_utf8(body).map_err(|_| Unread::NotIts)?;
    let Ok(Json::Object(body)) = Json::parse(text) else { return Err(Unread::NotIts) };
    if shared::has_error(&body) {
        return Err(Unread::error(provider, text));
    }
    let name = if provider == Api::Gemini { "totalTokens" } else { "input_tokens" };
    let tokens = body.get(name).and_then(Json::count).ok_or(Unread::NotIts)?;
    Ok(Told { body: count(client, tokens), content_type: "application/json", left_out: Vec::new() })
}

/// A count as callers of this way to ask read it.
fn count(client: Api, tokens: u64) -> Bytes {
    let name = if client == Api::Gemini { "totalTokens" } else { "input_tokens" };
    Object::new().with(name, tokens).text().into()
}

/// About how many tokens a request has, in the caller's words. For providers who count none.
pub fn estimated_count(caller: &Caller<'_>, body: &[u8]) -> Result<Bytes, Refusal> {
    let (client, request, _) = read(caller, body)?;
    let mut sum = Sum::default();
    for turn in &request.turns {
        sum.fixed = sum.fixed.saturating_add(FRAME);
        sum.blocks(&turn.blocks);
    }
    for tool in &request.tools {
        sum.fixed = sum.fixed.saturating_add(FRAME);
        sum.text(&tool.name);
        sum.text(tool.description.as_deref().unwrap_or_default());
        sum.json(tool.schema.as_ref());
    }
    if let Some(Format::Schema { schema, .. }) = &request.format {
        sum.json(Some(schema));
    }
    Ok(count(client, sum.tokens()))
}

/// What was found so far.
#[derive(Default)]
struct Sum {
    text: u64,
    fixed: u64,
}

impl Sum {
    fn text(&mut self, text: &str) {
        self.text = self.text.saturating_add(text.len() as u64);
    }

    fn json(&mut self, json: Option<&Json>) {
        if let Some(json) = json {
            self.text(&json.text());
        }
    }

    fn data(&mut self, data: &str) {
        self.fixed = self.fixed.saturating_add(IMAGE.max(data.len() as u64 / DATA_PER_TOKEN));
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.block(&block.body);
        }
    }

    fn block(&mut self, body: &Body) {
        match body {
            Body::Text { text, .. } | Body::Refusal(text) | Body::Thinking { text, .. } => self.text(text),
            Body::Image { .. } => self.fixed = self.fixed.saturating_add(IMAGE),
            Body::Audio { data, .. } => self.data(data),
            Body::File { source, .. } => match source {
                Source::Text(text) => self.text(text),
                Source::Inline { data, .. } => self.data(data),
                // Nobody has looked what is there.
                Source::Url { .. } => self.data(""),
            },
            Body::ToolUse { name, arguments, .. } => {
                self.text(name);
                self.text(arguments);
            }
            Body::ToolResult { content, .. } => self.blocks(content),
        }
    }

    fn tokens(&self) -> u64 {
        self.text.div_ceil(BYTES_PER_TOKEN).saturating_add(self.fixed)
    }
}
