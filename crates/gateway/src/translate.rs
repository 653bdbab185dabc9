//! Step 5 of a call, where its provider speaks another dialect: the request is translated before it is weighed, so that
//! what is checked, held, sent and charged stays one and the same.

use crate::call::BODY_LIMIT;
use crate::intake::{Call, Translation, Vectors};
use crate::route::Plan;
use anykey_core::{Code, Endpoint, Refusal, RequestId};
use anykey_dialect::embed::{self, Shape};
use anykey_dialect::head;
use anykey_dialect::translate::{self, Api, Caller, Reply, Target};
use bytes::Bytes;

pub(crate) fn request(
    call: Call,
    plan: &Plan,
    api: Api,
    query: Option<&str>,
    id: RequestId,
    now_ms: i64,
) -> Result<Call, Refusal> {
    let id = id.to_string();
    let caller = caller(&call, query, &id, now_ms);
    let target =
        Target { api, model: &plan.model, max_output: plan.max_output, openai: plan.provider.kind.name == "openai" };
    let counting = Api::counting(call.route.endpoint).and(api.count_endpoint());
    let (endpoint, translated) = match counting {
        Some(endpoint) => (endpoint, translate::count_request(&caller, &call.body, &target)?),
        None => (api.endpoint(call.stream), translate::request(&caller, &call.body, &target)?),
    };
    check_size(translated.body.len())?;
    let head = head::scan(endpoint, &translated.body)?;
    let translation =
        Translation { api, endpoint, reply: translated.reply, dropped: translated.dropped.join(", "), vectors: None };
    Ok(Call { head, body: translated.body, translation: Some(Box::new(translation)), ..call })
}

/// A request for embeddings, in the shape of the provider.
pub(crate) fn embedding(call: Call, plan: &Plan, shape: Shape, id: RequestId) -> Result<Call, Refusal> {
    let converted = embed::request(&call.body, shape, &plan.model)?;
    check_size(converted.body.len())?;
    let endpoint = shape.endpoint();
    let head = head::scan(endpoint, &converted.body)?;
    let reply = Reply {
        client: Api::Chat,
        model: call.model.clone(),
        id: id.to_string(),
        created: 0,
        include_usage: false,
        show_thinking: false,
        array: false,
    };
    let translation = Translation {
        api: if shape == Shape::Gemini { Api::Gemini } else { Api::Chat },
        endpoint,
        reply,
        dropped: converted.dropped.join(", "),
        vectors: Some(Vectors { shape, base64: converted.base64 }),
    };
    Ok(Call { head, body: converted.body, translation: Some(Box::new(translation)), ..call })
}

/// How many tokens a request has, where its provider counts none: in the caller's words.
pub(crate) fn estimate(call: &Call, query: Option<&str>, id: RequestId, now_ms: i64) -> Result<Bytes, Refusal> {
    translate::estimated_count(&caller(call, query, &id.to_string(), now_ms), &call.body)
}

fn caller<'a>(call: &'a Call, query: Option<&str>, id: &'a str, now_ms: i64) -> Caller<'a> {
    Caller {
        endpoint: call.route.endpoint,
        model: &call.model,
        id,
        now: u64::try_from(now_ms / 1000).unwrap_or_default(),
        array: wants_array(call.route.endpoint, query),
    }
}

/// Escapes and base64 may make a body grow beyond what is taken of one.
fn check_size(bytes: usize) -> Result<(), Refusal> {
    if bytes as u64 <= BODY_LIMIT {
        return Ok(());
    }
    let message = format!(
        "In the format of the provider that serves this model the body is larger than {} MiB. Send less.",
        BODY_LIMIT >> 20
    );
    Err(Refusal::new(Code::BodyTooLarge, message))
}

/// Gemini's streams are arrays unless events are asked for.
pub(crate) fn wants_array(endpoint: Endpoint, query: Option<&str>) -> bool {
    endpoint == Endpoint::StreamGenerateContent && !query.is_some_and(|q| q.split('&').any(|pair| pair == "alt=sse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_grew_too_large_is_refused() {
        assert!(check_size(BODY_LIMIT as usize).is_ok());
        assert_eq!(check_size(BODY_LIMIT as usize + 1).map_err(|refusal| refusal.code), Err(Code::BodyTooLarge));
    }
}
