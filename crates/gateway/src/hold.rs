//! Step 5 of a call: the most that it can cost is set aside before anything is sent, so that a limit holds however many
//! calls run at once.

use crate::Worker;
use crate::intake::Call;
use crate::route::Plan;
use anykey_core::price::CostError;
use anykey_core::{Code, KeyId, Nanos, Refusal};
use anykey_ledger::{BudgetCell, BudgetState, Hold};
use anykey_store::LiveKey;
use std::sync::Arc;

/// Tokens that a provider may count beyond the bytes of a request: roles, separators, the frame of each message.
const OVERHEAD_TOKENS: u64 = 64;

/// What was set aside for an attempt; no money where the key has no limit.
pub(crate) struct Held {
    /// The most that the attempt can cost.
    pub amount: Nanos,
    pub hold: Option<Hold>,
}

pub(crate) async fn take(worker: &Worker, key: &LiveKey, call: &Call, plan: &Plan) -> Result<Held, Refusal> {
    if call.route.endpoint.is_free() {
        return Ok(Held { amount: Nanos::ZERO, hold: None });
    }
    let parent = key.temp.as_ref().map(|temp| Above { id: temp.parent_id, limit: temp.parent_spend_limit });
    let limited = key.info.spend_limit.is_some() || parent.as_ref().is_some_and(|above| above.limit.is_some());
    if !limited && parent.is_none() {
        // Nothing can be refused, but what the call may cost at most is worth its place in the record.
        let amount = worst(call, plan).unwrap_or(Nanos::ZERO);
        return Ok(Held { amount, hold: None });
    }
    let amount = if limited { worst(call, plan)? } else { worst(call, plan).unwrap_or(Nanos::ZERO) };
    // Under a parent there is always a hold of the key's own, by which the parent's is found at the end.
    let own = cell(worker, key.info.id, key.info.spend_limit.unwrap_or(Nanos(i64::MAX))).await?;
    let held = own.try_hold(amount).ok_or_else(|| reached(key, &own.state(), amount))?;
    let Some(above) = parent else { return Ok(Held { amount, hold: Some(held) }) };
    match hold_above(worker, &above, amount).await {
        Ok(Some(more)) => Ok(Held { amount, hold: Some(held.under(more)) }),
        Ok(None) => Ok(Held { amount, hold: Some(held) }),
        Err(refusal) => {
            held.release();
            Err(refusal)
        }
    }
}

/// The key that a temporary key was minted from, as far as money goes.
struct Above {
    id: KeyId,
    limit: Option<Nanos>,
}

/// What a temporary key spends is its parent's money too: both have to have it.
async fn hold_above(worker: &Worker, above: &Above, amount: Nanos) -> Result<Option<Hold>, Refusal> {
    let Some(limit) = above.limit else {
        // A budget that somebody looks at although it refuses nothing now is kept true.
        return Ok(worker.gateway.ledger.budget_in_memory(above.id).map(|cell| cell.follow()));
    };
    let cell = cell(worker, above.id, limit).await?;
    let BudgetState { spent, .. } = cell.state();
    let reached = || {
        Refusal::new(
            Code::SpendLimitReached,
            format!(
                "The spend limit of the API key that this temporary key was minted from is reached: ${spent} of ${limit} \
                 is spent, and this call may cost up to ${amount}. The limit does not reset. Set a lower max_tokens, or \
                 ask for a higher limit."
            ),
        )
    };
    cell.try_hold(amount).map(Some).ok_or_else(reached)
}

/// A key's budget with the limit that is in force.
async fn cell(worker: &Worker, id: KeyId, limit: Nanos) -> Result<Arc<BudgetCell>, Refusal> {
    let cell = match worker.gateway.ledger.budget_in_memory(id) {
        Some(cell) => cell,
        None => Box::pin(load(worker, id, limit)).await?,
    };
    if cell.limit() != limit {
        cell.set_limit(limit);
    }
    Ok(cell)
}

/// The first use of a key's budget; from then on it is in memory.
async fn load(worker: &Worker, id: KeyId, limit: Nanos) -> Result<Arc<BudgetCell>, Refusal> {
    let ledger = worker.gateway.ledger.clone();
    let loaded = worker.gateway.on_runtime(async move { ledger.budget(id, move || limit).await }).await;
    loaded.and_then(Result::ok).ok_or_else(ledger_away)
}

fn ledger_away() -> Refusal {
    Refusal::new(Code::LedgerUnavailable, "The spend of this key could not be looked up. Try again in a moment.")
        .retry_after(2)
}

fn reached(key: &LiveKey, budget: &BudgetState, amount: Nanos) -> Refusal {
    let BudgetState { limit, spent, held, .. } = *budget;
    let running =
        if held > Nanos::ZERO { format!(", ${held} is set aside for calls that are running") } else { String::new() };
    Refusal::new(
        Code::SpendLimitReached,
        format!(
            "The spend limit of the API key `{}` is reached: ${spent} of ${limit} is spent{running}, and this call may \
             cost up to ${amount}. The limit does not reset. Set a lower max_tokens, or ask for a higher limit.",
            key.info.name
        ),
    )
}

/// The dearest that the call can become: every byte a token, every token of output used.
fn worst(call: &Call, plan: &Plan) -> Result<Nanos, Refusal> {
    let price = plan.price.as_ref().ok_or_else(|| unpriced(call))?;
    let input = input_bound(call, plan)?;
    let output = match (call.head.max_tokens, plan.max_output, plan.context_window) {
        _ if call.route.endpoint.scope() == anykey_core::Scope::EmbeddingsWrite => 0,
        (Some(asked), Some(most), _) => asked.min(most),
        (Some(asked), None, _) => asked,
        (None, most, window) => most.or(window).ok_or_else(|| {
            Refusal::new(
                Code::UnboundedCost,
                "This key has a spend limit, and nobody knows how long this model's answer may become. Set max_tokens.",
            )
            .param("max_tokens")
        })?,
    };
    let n = u32::try_from(call.head.n).unwrap_or(u32::MAX);
    price.worst(input, output, n).map_err(|error| match error {
        CostError::Unpriced(_) => unpriced(call),
        CostError::Overflow => Refusal::new(Code::InvalidParameter, "The call could cost more than can be counted."),
    })
}

/// Tokens are never more than bytes; what is not in the body is bounded by the model's context window alone.
fn input_bound(call: &Call, plan: &Plan) -> Result<u64, Refusal> {
    let in_body = call.body.len() as u64 + OVERHEAD_TOKENS;
    match (call.head.unbounded, plan.context_window) {
        (false, Some(window)) => Ok(in_body.min(window)),
        (false, None) => Ok(in_body),
        (true, Some(window)) => Ok(window),
        (true, None) => Err(Refusal::new(
            Code::UnboundedCost,
            "This key has a spend limit, and the call refers to content outside its body (a URL, a file or a stored \
             conversation) whose size nobody knows. Put the content into the body.",
        )),
    }
}

fn unpriced(call: &Call) -> Refusal {
    Refusal::new(
        Code::ModelUnpriced,
        format!(
            "This key has a spend limit, and the price of the model `{}` is not known, so the limit could not be kept. \
             An operator can load a newer price list: anykey price update.",
            anykey_core::refusal::echo(&call.model)
        ),
    )
    .param("model")
}
