//! Step 5 of a call: the most that it can cost is set aside before anything is sent, so that a limit holds however many
//! calls run at once.

use crate::Worker;
use crate::intake::Call;
use crate::route::Plan;
use anykey_core::price::CostError;
use anykey_core::spend::{self, SpendLimit};
use anykey_core::{BudgetId, Code, Endpoint, Level, Nanos, Payers, Refusal, Span, Window};
use anykey_dialect::cap;
use anykey_ledger::{BudgetCell, BudgetState, Funded, Hold, Unsent};
use anykey_store::LiveKey;
use std::sync::Arc;

/// Tokens that a provider may count beyond the bytes of a request: roles, separators, the frame of each message.
const OVERHEAD_TOKENS: u64 = 64;
/// Bounds below this are refused by some providers, and hold no answer.
const LEAST_OUTPUT: u64 = 16;
/// How often money that others take first is looked for again.
const TRIES: usize = 8;

/// What was set aside for an attempt; no money where nothing limits the key.
pub(crate) struct Held {
    /// The most that the attempt can cost.
    pub amount: Nanos,
    pub hold: Option<Hold>,
}

/// A limit that a call stands under.
struct Wanted<'k> {
    id: BudgetId,
    limit: Nanos,
    /// What was granted beyond it at the moment of the call.
    extra: Nanos,
    whose: Whose<'k>,
}

enum Whose<'k> {
    /// The key's own field.
    Own,
    /// That of the key that a temporary key was minted from.
    Parent,
    /// A policy's.
    Policy(SpendLimit<'k>),
}

impl Whose<'_> {
    /// The beginning of a sentence.
    fn name(&self, key: &LiveKey) -> String {
        match self {
            Whose::Own => spend::whose(Level::Key, &key.info.name, Span::Total),
            Whose::Parent => "The spend limit of the API key that this temporary key was minted from".to_owned(),
            Whose::Policy(policy) => spend::whose(policy.bound.level, &policy.bound.name, policy.span),
        }
    }
}

/// What a call may cost, and the budgets that it spends from.
struct Weighed<'k> {
    /// The most.
    amount: Nanos,
    wanted: Vec<Wanted<'k>>,
    cells: Vec<Arc<BudgetCell>>,
}

/// `at` is when the call began. All budgets are looked up before any is held: whoever hangs up meanwhile is charged nothing.
async fn weigh<'k>(
    worker: &Worker,
    key: &'k LiveKey,
    call: &Call,
    plan: &Plan,
    at: i64,
) -> Result<Weighed<'k>, Refusal> {
    let nothing = |amount| Weighed { amount, wanted: Vec::new(), cells: Vec::new() };
    if call.route.endpoint.is_free() {
        return Ok(nothing(Nanos::ZERO));
    }
    let wanted = wanted(key, at);
    if wanted.is_empty() {
        // Nothing can be refused, but what the call may cost at most is worth its place in the record.
        return Ok(nothing(worst(call, plan).unwrap_or(Nanos::ZERO)));
    }
    let amount = worst(call, plan)?;
    let mut cells = Vec::with_capacity(wanted.len());
    for limit in &wanted {
        cells.push(cell(worker, limit, at).await?);
    }
    Ok(Weighed { amount, wanted, cells })
}

/// Holds the most that the call can cost of every budget that it spends from, or of none.
pub(crate) async fn take(worker: &Worker, key: &LiveKey, call: &Call, plan: &Plan, at: i64) -> Result<Held, Refusal> {
    let weighed = weigh(worker, key, call, plan, at).await?;
    match hold_all(worker, &weighed, weighed.amount).await {
        Ok(hold) => Ok(Held { amount: weighed.amount, hold }),
        Err(missing) => Err(missing.refusal(key, &weighed)),
    }
}

/// The same, and a call that does not say how long its answer may become gets the longest that there is money for, where
/// that is shorter than the model's; it comes back with that bound in its body.
pub(crate) async fn take_or_shorten(
    worker: &Worker,
    key: &LiveKey,
    call: Call,
    plan: &Plan,
    at: i64,
) -> Result<(Held, Call), Refusal> {
    let weighed = weigh(worker, key, &call, plan, at).await?;
    match hold_all(worker, &weighed, weighed.amount).await {
        Ok(hold) => Ok((Held { amount: weighed.amount, hold }, call)),
        Err(Missing::Short { of, most }) => {
            let refusal = || Missing::Short { of, most }.refusal(key, &weighed);
            Box::pin(shorten(worker, key, call, plan, &weighed, most)).await?.ok_or_else(refusal)
        }
        Err(missing) => Err(missing.refusal(key, &weighed)),
    }
}

/// Why there is no money, and in which of the budgets.
enum Missing {
    /// No more than this can be held.
    Short {
        of: usize,
        most: Nanos,
    },
    /// Other processes have it, and did not give it back in time.
    Elsewhere {
        of: usize,
    },
    Away,
}

impl Missing {
    fn refusal(self, key: &LiveKey, weighed: &Weighed<'_>) -> Refusal {
        match self {
            Missing::Short { of, .. } => reached(key, &weighed.wanted[of], &weighed.cells[of], weighed.amount),
            Missing::Elsewhere { of } => Refusal::new(
                Code::LedgerUnavailable,
                format!(
                    "{} may cover this call, but another process of this installation has set the money aside and did not \
                     answer in time. Try again in a moment.",
                    weighed.wanted[of].whose.name(key)
                ),
            )
            .retry_after(1),
            Missing::Away => ledger_away(),
        }
    }
}

/// Holds of all, or says which of them has too little. Whoever hangs up meanwhile gets all of it back.
async fn hold_all(worker: &Worker, weighed: &Weighed<'_>, amount: Nanos) -> Result<Option<Hold>, Missing> {
    let mut held = Unsent::default();
    for (of, (limit, cell)) in weighed.wanted.iter().zip(&weighed.cells).enumerate() {
        match cell.try_hold_beyond(amount, limit.extra) {
            Some(hold) => held.add(hold),
            None if cell.is_shared() => {
                let more = Box::pin(fund(worker, cell, amount, limit.extra, of)).await?;
                more.take().into_iter().for_each(|hold| held.add(hold));
            }
            None => return Err(Missing::Short { of, most: cell.free().saturating_add(limit.extra) }),
        }
    }
    Ok(held.take())
}

/// Leases what the call needs of a budget that other processes spend from too.
async fn fund(
    worker: &Worker,
    cell: &Arc<BudgetCell>,
    amount: Nanos,
    extra: Nanos,
    of: usize,
) -> Result<Unsent, Missing> {
    let (ledger, cell) = (worker.gateway.ledger.clone(), cell.clone());
    let funded = worker.gateway.on_runtime(async move { ledger.fund(&cell, amount, extra).await }).await;
    match funded {
        Some(Ok(Funded::Held(held))) => Ok(held),
        Some(Ok(Funded::Short(_, most))) => Err(Missing::Short { of, most }),
        Some(Ok(Funded::Elsewhere(_))) => Err(Missing::Elsewhere { of }),
        Some(Ok(Funded::Loaded(_)) | Err(_)) | None => Err(Missing::Away),
    }
}

/// A call that left the length of its answer open, with the longest that there is money for; `None` where it did not, or
/// where not even a short one fits.
async fn shorten(
    worker: &Worker,
    key: &LiveKey,
    call: Call,
    plan: &Plan,
    weighed: &Weighed<'_>,
    mut most: Nanos,
) -> Result<Option<(Held, Call)>, Refusal> {
    let endpoint = call.endpoint_there();
    // Whoever calls Anthropic's endpoint has to say it, and is told so there.
    let required = endpoint == Endpoint::Messages && call.translation.is_none();
    if call.bounded || required || !cap::has_bound(endpoint) {
        return Ok(None);
    }
    let openai = plan.provider.kind.name == "openai";
    for _ in 0..TRIES {
        let alone = weighed.wanted.iter().zip(&weighed.cells).filter(|(_, cell)| !cell.is_shared());
        let free = alone.map(|(limit, cell)| cell.free().saturating_add(limit.extra)).fold(most, Nanos::min);
        let Some(longest) = affordable(&call, plan, free) else { return Ok(None) };
        let amount = worst_of(&call, plan, longest)?;
        let hold = match hold_all(worker, weighed, amount).await {
            Ok(hold) => hold,
            // Others hold and release meanwhile.
            Err(Missing::Short { most: less, .. }) => {
                most = less;
                continue;
            }
            Err(missing) => return Err(missing.refusal(key, weighed)),
        };
        let Some(body) = cap::cap(endpoint, &call.body, openai, &plan.model, longest) else {
            hold.into_iter().for_each(Hold::release);
            return Ok(None);
        };
        return match call.capped(longest, body) {
            Ok(call) => Ok(Some((Held { amount, hold }, call))),
            Err(refusal) => {
                hold.into_iter().for_each(Hold::release);
                Err(refusal)
            }
        };
    }
    Ok(None)
}

/// The longest answer that costs no more than this, unless that is too short to be one.
fn affordable(call: &Call, plan: &Plan, free: Nanos) -> Option<u64> {
    let fits = |output| worst_of(call, plan, output).is_ok_and(|cost| cost <= free);
    let (mut least, mut beyond) = (LEAST_OUTPUT, output_bound(call, plan).ok()?);
    if !fits(least) || beyond <= least {
        return None;
    }
    // `least` fits and `beyond` does not.
    while beyond - least > 1 {
        let middle = least + (beyond - least) / 2;
        if fits(middle) {
            least = middle;
        } else {
            beyond = middle;
        }
    }
    Some(least)
}

/// Everybody whose money the calls of a key spend.
pub(crate) fn payers(key: &LiveKey) -> Payers {
    let parent = key.temp.as_ref().map(|temp| temp.parent_id);
    Payers { key: key.info.id, parent, placement: Some(key.placement) }
}

/// What limits the calls of a key, outermost first. Of two limits of one budget the lower one counts.
fn wanted(key: &LiveKey, at: i64) -> Vec<Wanted<'_>> {
    let policies = spend::limits_of(&key.bounds).filter(|limit| !limit.warns_only()).map(|limit| Wanted {
        id: limit.id(),
        limit: limit.limit,
        extra: limit.extra(at),
        whose: Whose::Policy(limit),
    });
    let parent = key.temp.as_ref().and_then(|temp| Some((temp.parent_id, temp.parent_spend_limit?, Whose::Parent)));
    let own = key.info.spend_limit.map(|limit| (key.info.id, limit, Whose::Own));
    let fields = parent.into_iter().chain(own);
    let fields = fields.filter(|(id, ..)| !spend::key_warns_only(&key.bounds, *id)).map(|(id, limit, whose)| Wanted {
        id: id.into(),
        limit,
        extra: spend::extra_of_key(&key.bounds, id, at),
        whose,
    });
    let mut wanted: Vec<Wanted<'_>> = policies.collect();
    for field in fields {
        match wanted.iter_mut().find(|known| known.id == field.id) {
            Some(known) if known.limit <= field.limit => {}
            Some(known) => *known = field,
            None => wanted.push(field),
        }
    }
    wanted
}

/// A budget with the limit that is in force.
async fn cell(worker: &Worker, wanted: &Wanted<'_>, at: i64) -> Result<Arc<BudgetCell>, Refusal> {
    let cell = match worker.gateway.ledger.budget_in_memory(wanted.id, at) {
        Some(cell) => cell,
        None => Box::pin(load(worker, wanted, at)).await?,
    };
    if cell.limit() != wanted.limit {
        cell.set_limit(wanted.limit);
    }
    Ok(cell)
}

/// The first use of a budget in its window; from then on it is in memory.
async fn load(worker: &Worker, wanted: &Wanted<'_>, at: i64) -> Result<Arc<BudgetCell>, Refusal> {
    let ledger = worker.gateway.ledger.clone();
    let (id, limit) = (wanted.id, wanted.limit);
    let window = match &wanted.whose {
        Whose::Policy(policy) => policy.window(at),
        Whose::Own | Whose::Parent => Window::ALL,
    };
    let loaded = worker.gateway.on_runtime(async move { ledger.budget_within(id, window, move || limit).await }).await;
    loaded.and_then(Result::ok).ok_or_else(ledger_away)
}

fn ledger_away() -> Refusal {
    Refusal::new(Code::LedgerUnavailable, "The spend of this key could not be looked up. Try again in a moment.")
        .retry_after(2)
}

fn reached(key: &LiveKey, wanted: &Wanted<'_>, cell: &BudgetCell, amount: Nanos) -> Refusal {
    let BudgetState { limit, spent, held, .. } = cell.state();
    let limit = limit.saturating_add(wanted.extra);
    let whose = wanted.whose.name(key);
    let running =
        if held > Nanos::ZERO { format!(", ${held} is set aside for calls that are running") } else { String::new() };
    let resets = spend::resets(cell.window().resets_at());
    Refusal::new(
        Code::SpendLimitReached,
        format!(
            "{whose} is reached: ${spent} of ${limit} is spent{running}, and this call may cost up to ${amount}. \
             {resets} Set a lower max_tokens, or ask for a higher limit."
        ),
    )
}

/// Whose limit it is that has no more for a call that runs; the beginning of a sentence.
pub(crate) fn empty(worker: &Worker, key: &LiveKey, at: i64) -> String {
    let free = |limit: &Wanted<'_>| {
        let cell = worker.gateway.ledger.budget_in_memory(limit.id, at);
        cell.map_or(Nanos(i64::MAX), |cell| cell.free().saturating_add(limit.extra))
    };
    let wanted = wanted(key, at);
    wanted
        .iter()
        .min_by_key(|limit| free(limit))
        .map_or_else(|| "The spend limit".to_owned(), |limit| limit.whose.name(key))
}

/// The most tokens of input, and of output over all answers; `None` where nobody knows.
pub(crate) fn bounds(call: &Call, plan: &Plan) -> Option<(u64, u64)> {
    let output = output_bound(call, plan).ok()?.saturating_mul(call.head.n.max(1));
    Some((input_bound(call, plan).ok()?, output))
}

/// The dearest that the call can become: every byte a token, every token of output used.
fn worst(call: &Call, plan: &Plan) -> Result<Nanos, Refusal> {
    // An unpriced model is told before an unbounded answer.
    plan.price.as_ref().ok_or_else(|| unpriced(call))?;
    worst_of(call, plan, output_bound(call, plan)?)
}

/// The most tokens that an answer may have.
fn output_bound(call: &Call, plan: &Plan) -> Result<u64, Refusal> {
    Ok(match (call.head.max_tokens, plan.max_output, plan.context_window) {
        _ if call.route.endpoint.is_without_output() || call.measured.is_some() => 0,
        (Some(asked), Some(most), _) => asked.min(most),
        (Some(asked), None, _) => asked,
        (None, most, window) => most.or(window).ok_or_else(|| {
            Refusal::new(
                Code::UnboundedCost,
                "A spend limit applies to this key, and nobody knows how long this model's answer may become. Set max_tokens.",
            )
            .param("max_tokens")
        })?,
    })
}

fn worst_of(call: &Call, plan: &Plan, output: u64) -> Result<Nanos, Refusal> {
    let price = plan.price.as_ref().ok_or_else(|| unpriced(call))?;
    let worst = match &call.measured {
        Some(measured) if measured.unbounded => return Err(unbounded()),
        Some(measured) => price.worst_of(&measured.most),
        None => {
            let n = u32::try_from(call.head.n).unwrap_or(u32::MAX);
            price.worst(input_bound(call, plan)?, output, n)
        }
    };
    worst.map_err(|error| match error {
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
        (true, None) => Err(unbounded()),
    }
}

fn unbounded() -> Refusal {
    Refusal::new(
        Code::UnboundedCost,
        "A spend limit applies to this key, and the call refers to content outside its body (a URL, a file or a stored \
         conversation) whose size nobody knows. Put the content into the body.",
    )
}

fn unpriced(call: &Call) -> Refusal {
    Refusal::new(
        Code::ModelUnpriced,
        format!(
            "A spend limit applies to this key, and the price of the model `{}` is not known, so the limit could not be kept. \
             An operator can load a newer price list: anykey price update.",
            anykey_core::refusal::echo(&call.model)
        ),
    )
    .param("model")
}
