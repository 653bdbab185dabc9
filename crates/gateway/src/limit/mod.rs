//! Step 5 of a call: requests, tokens and calls at once are taken of every limit above the key, all of them or none. A key
//! without limits passes here on one look at an empty list.

mod estimate;
mod headers;
mod minting;
mod requests;
mod seed;

pub(crate) use headers::stamp;
pub(crate) use minting::mint;
pub(crate) use requests::{Requests, count};

use crate::Worker;
use crate::intake::Call;
use crate::route::Plan;
use anykey_core::Refusal;
use anykey_core::limit::{Demand, Permit};
use anykey_store::LiveKey;

/// What the call takes of limits, or which of them refuses it. `None` where there are none.
pub(crate) async fn take(worker: &Worker, key: &LiveKey, call: &Call, plan: &Plan) -> Result<Option<Permit>, Refusal> {
    if !key.bounds.iter().any(|bound| bound.controls.has_limits()) {
        return Ok(None);
    }
    let limiter = &worker.gateway.limiter;
    let forgetful = limiter.forgetful(&key.bounds, limiter.now());
    if !forgetful.is_empty() {
        Box::pin(seed::remember(worker, forgetful)).await?;
    }
    let demand = demand(key, call, plan);
    let taken = limiter.take(&key.bounds, plan.target(), &demand, limiter.now());
    taken.map(Some).map_err(|full| Refusal::from(&*full))
}

/// Only where tokens are limited the body is looked at again.
fn demand(key: &LiveKey, call: &Call, plan: &Plan) -> Demand {
    let limits = |bound: &anykey_core::Bound| {
        let target = plan.target();
        let of_models = bound.controls.model_limits_of(target.provider, target.model);
        of_models.map(|(_, limits)| limits).chain([&bound.controls.limits]).any(|limits| limits.counts_tokens())
    };
    if call.route.endpoint.is_free() || !key.bounds.iter().any(limits) {
        return Demand { free: true, ..Demand::default() };
    }
    estimate::demand(call, plan)
}
