//! Step 6 of a call, on the way down: a stream that outgrows what was set aside for it. Money for more is taken from the same
//! budgets while it runs; where there is none left, it is cut before others' money is spent.

use crate::hold;
use crate::intake::Call;
use crate::route::Plan;
use crate::settle::Ticket;
use anykey_core::Nanos;
use anykey_core::price::Price;
use anykey_dialect::stream::StreamMeter;
use std::sync::Arc;

/// What a token is taken for where more is set aside; the same as in an estimate.
const BYTES_PER_TOKEN: u64 = 4;

/// No text has more characters for each token than this, over many tokens and with repetitions counted once: English has
/// under five, and every other language and code has fewer. So an answer that has more has more tokens.
const MOST_CHARACTERS: u64 = 6;

/// A short answer may be of a few long words.
const FEW_TOKENS: u64 = 24;

/// How much longer a stream becomes before money is looked for again where there was none.
const AGAIN: u64 = 256;

/// Watches a stream that spends somebody's budget.
pub(crate) struct Growth {
    price: Arc<Price>,
    /// The most tokens of input, which stay set aside: how many there are is often not said before the end.
    input: u64,
    /// The tokens of output that the hold pays for.
    output: u64,
    /// Beyond so many bytes the answer may have more tokens than that.
    look_at: u64,
    /// How often the provider had said what was used.
    told: u32,
}

impl Growth {
    /// `None` where nothing limits the call: then it is not looked at again.
    pub fn watch(ticket: &Ticket, call: &Call, plan: &Plan) -> Option<Box<Growth>> {
        // What is measured otherwise has the most that it can use set aside, and its events are no text that grows.
        if !ticket.is_limited() || call.measured.is_some() {
            return None;
        }
        let (input, output) = hold::bounds(call, plan)?;
        let look_at = output.saturating_mul(BYTES_PER_TOKEN);
        Some(Box::new(Growth { price: plan.price.clone()?, input, output, look_at, told: 0 }))
    }

    /// Whether the stream may go on.
    pub fn goes_on(&mut self, meter: &StreamMeter, ticket: &mut Ticket) -> bool {
        if meter.told() != self.told {
            self.told = meter.told();
            // What is only waiting for its end has been done, and is charged as it is.
            if !self.covers_what_is_told(meter, ticket) && !meter.is_ending() {
                return false;
            }
        }
        meter.output_bytes() <= self.look_at || self.covers_what_came(meter, ticket)
    }

    /// What the provider says is certain.
    fn covers_what_is_told(&self, meter: &StreamMeter, ticket: &mut Ticket) -> bool {
        let cost = meter.usage().and_then(|usage| self.price.cost(&usage).ok()).unwrap_or_default();
        let with_some_more = cost.saturating_add(Nanos(cost.0 / 8));
        cost <= ticket.held() || ticket.hold_more(with_some_more) || ticket.hold_more(cost)
    }

    /// The bytes that came say about how many tokens they are, which is good enough to set more aside; whoever is cut must
    /// have had more for sure.
    fn covers_what_came(&mut self, meter: &StreamMeter, ticket: &mut Ticket) -> bool {
        let bytes = meter.output_bytes();
        let about = bytes.div_ceil(BYTES_PER_TOKEN);
        if self.grow_to(about.saturating_add(about / 4), ticket) || self.grow_to(about, ticket) {
            self.look_at = self.output.saturating_mul(BYTES_PER_TOKEN);
            return true;
        }
        self.look_at = bytes.saturating_add(AGAIN);
        let at_least = (meter.characters() / MOST_CHARACTERS).saturating_sub(FEW_TOKENS);
        at_least <= self.output
    }

    fn grow_to(&mut self, output: u64, ticket: &mut Ticket) -> bool {
        let grown = self.price.worst(self.input, output, 1).is_ok_and(|worst| ticket.hold_more(worst));
        if grown {
            self.output = output;
        }
        grown
    }
}
