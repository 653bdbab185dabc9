//! Step 5 of a call that is not measured by its tokens alone: what it can use at most, what it surely uses, and its body
//! in the shape in which its provider reads it.

mod pictures;
mod sound;

use crate::intake::Call;
use crate::route::Plan;
use anykey_core::price::Extent;
use anykey_core::{Endpoint, Refusal, Unit, Usage};
use anykey_dialect::head::{self, Items};
use anykey_dialect::rerank::{self, Shape};
use std::rc::Rc;

/// What a call is measured by, decided before it is weighed.
#[derive(Default)]
pub(crate) struct Measured {
    pub most: Extent,
    /// Something that goes in is elsewhere, and nobody knows how large it is.
    pub unbounded: bool,
    /// What it uses whatever its provider says of it.
    pub sure: Usage,
    /// What it uses beside that, where its provider says nothing.
    pub likely: Usage,
    /// Bytes of sound for which a token is counted; 0 where none comes out.
    pub bytes_a_token: u64,
    /// The answer is a text and no JSON.
    pub plain: bool,
    /// The shape in which the caller waits for the answer, where it is not the provider's.
    pub answer_in: Option<Shape>,
    /// The names of what the provider has no place for, as the header has them.
    pub dropped: String,
}

/// Documents that are ranked for the price of one search.
const DOCUMENTS_A_SEARCH: u64 = 100;

/// Measures the call, which has such a measure, and writes it as its provider reads it.
pub(crate) fn prepare(mut call: Call, plan: &Plan) -> Result<Call, Refusal> {
    let (mut answer_in, mut dropped) = (None, String::new());
    if call.route.endpoint == Endpoint::Rerank
        && let Some((converted, caller)) = rerank::request(&call.body, Shape::of(plan.provider.kind))?
    {
        call.head = head::scan(call.route.endpoint, &converted.body)?;
        call.body = converted.body;
        dropped = converted.dropped.join(", ");
        answer_in = Some(caller);
    }
    let Some(items) = call.head.items.as_deref() else { return Ok(call) };
    let measured = match call.route.endpoint {
        Endpoint::Speech => sound::speech(items, &call),
        endpoint if endpoint.hears() => sound::heard(items),
        endpoint if endpoint.is_image() => pictures::drawn(items, &call, plan),
        _ => ranking(items, &call, plan),
    };
    call.measured = Some(Rc::new(Measured { answer_in, dropped, ..measured }));
    Ok(call)
}

/// Providers that count tokens count the query again for every document.
fn ranking(items: &Items, call: &Call, plan: &Plan) -> Measured {
    let queries = items.query.saturating_mul(items.documents);
    let bytes = (call.body.len() as u64).saturating_add(queries);
    let most = match (call.head.unbounded, plan.context_window) {
        (false, _) => bytes,
        (true, Some(window)) => window.saturating_mul(items.documents),
        (true, None) => 0,
    };
    // Whoever is charged by the search need not know how large a picture is.
    let by_search = plan.price.as_ref().is_some_and(|price| price.rates().get(Unit::Search).is_some());
    let unbounded = call.head.unbounded && plan.context_window.is_none() && !by_search;
    let searches = |documents: u64| documents.div_ceil(DOCUMENTS_A_SEARCH).max(1);
    Measured {
        unbounded,
        most: Extent { input: most, output: 0, items: Usage::default().with(Unit::Search, searches(items.pieces)) },
        sure: Usage::default().with(Unit::Search, searches(items.documents)),
        likely: Usage::default().with(Unit::Request, 1).with(Unit::Input, bytes.div_ceil(4)),
        ..Measured::default()
    }
}

impl Measured {
    /// What was used, where the provider said how much of something.
    pub fn completed(&self, said: Usage) -> Usage {
        self.sure.iter().fold(said, |usage, (unit, n)| if usage.get(unit) == 0 { usage.with(unit, n) } else { usage })
    }

    /// What was used, where it said nothing but what was seen of it.
    pub fn estimated(&self, seen_bytes: u64, seen: Option<Usage>) -> Usage {
        let spoken = seen_bytes.checked_div(self.bytes_a_token).unwrap_or(0);
        let guess = self.completed(self.likely);
        let guess = guess.with(Unit::AudioOut, guess.get(Unit::AudioOut).max(spoken));
        let Some(seen) = seen else { return guess };
        Unit::ALL.into_iter().map(|unit| (unit, guess.get(unit).max(seen.get(unit)))).collect()
    }
}
