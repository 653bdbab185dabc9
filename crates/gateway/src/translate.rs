//! Step 5 of a call, where its provider speaks another dialect: the request is translated before it is weighed, so that
//! what is checked, held, sent and charged stays one and the same.

use crate::intake::{Call, Translation};
use crate::route::Plan;
use anykey_core::{Endpoint, Refusal, RequestId};
use anykey_dialect::head;
use anykey_dialect::translate::{self, Api, Caller, Target};

pub(crate) fn request(
    call: Call,
    plan: &Plan,
    api: Api,
    query: Option<&str>,
    id: RequestId,
    now_ms: i64,
) -> Result<Call, Refusal> {
    let caller = Caller {
        endpoint: call.route.endpoint,
        model: &call.model,
        id: &id.to_string(),
        now: u64::try_from(now_ms / 1000).unwrap_or_default(),
        array: wants_array(call.route.endpoint, query),
    };
    let target =
        Target { api, model: &plan.model, max_output: plan.max_output, openai: plan.provider.kind.name == "openai" };
    let translated = translate::request(&caller, &call.body, &target)?;
    let head = head::scan(api.endpoint(call.stream), &translated.body)?;
    let translation = Translation { api, reply: translated.reply, dropped: translated.dropped.join(", ") };
    Ok(Call { head, body: translated.body, translation: Some(Box::new(translation)), ..call })
}

/// Gemini's streams are arrays unless events are asked for.
pub(crate) fn wants_array(endpoint: Endpoint, query: Option<&str>) -> bool {
    endpoint == Endpoint::StreamGenerateContent && !query.is_some_and(|q| q.split('&').any(|pair| pair == "alt=sse"))
}
