//! Step 7 of a call, and its guard from the moment the caller is known: the ticket, whose end is the call's record.
//! Whatever happens, every ticket settles exactly once, and before the last byte is released to the caller.

use crate::Worker;
use crate::hold::{self, Held, payers};
use crate::measure::Measured;
use crate::observe::Unrecorded;
use crate::route::Plan;
use anykey_core::endpoint::Route;
use anykey_core::find::without_keys;
use anykey_core::limit::Permit;
use anykey_core::price::Price;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{Code, Nanos, Refusal, RequestId, Unit, Usage};
use anykey_dialect::usage::estimate;
use anykey_ledger::{Intent, Unavailable};
use anykey_store::LiveKey;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Owns what a call has taken and what will be recorded of it. Dropped unsettled, it settles as what that means: the
/// caller hung up. It is handed from room to room, so it stays where it is and its box travels.
pub(crate) struct Ticket {
    worker: Rc<Worker>,
    pub key: Arc<LiveKey>,
    started: Instant,
    /// Taken by the end.
    record: Option<AttemptRecord>,
    id: RequestId,
    intent: Option<Intent>,
    /// What the call took of the limits above it.
    permit: Option<Permit>,
    price: Option<Arc<Price>>,
    seen_bytes: u64,
    seen_usage: Option<Usage>,
    /// Of a call that is not measured by its tokens alone.
    measured: Option<Rc<Measured>>,
    origin: Option<Box<str>>,
}

/// Resolves when the disk has what was journaled.
pub(crate) type Durable = Pin<Box<dyn Future<Output = Result<(), Refusal>>>>;

/// What is known when an attempt ends.
pub(crate) struct Ending {
    pub outcome: Outcome,
    pub status: u16,
    /// What the provider said was used.
    pub usage: Option<Usage>,
    /// The provider did the work (so that it will bill it) although it did not say how much.
    pub worked: bool,
    pub code: &'static str,
}

impl Ticket {
    pub fn open(
        worker: Rc<Worker>,
        key: Arc<LiveKey>,
        route: &Route,
        id: RequestId,
        client: IpAddr,
        now_ms: i64,
    ) -> Box<Self> {
        let none: Arc<str> = worker.nothing.clone();
        worker.observer.opened();
        let record = AttemptRecord {
            request: id,
            attempt: 0,
            key: key.info.id,
            secret: key.public_id,
            endpoint: route.endpoint,
            dialect: route.dialect,
            stream: false,
            provider: none.clone(),
            model_asked: none.clone(),
            model_sent: none.clone(),
            model_served: none.clone(),
            status: 0,
            outcome: Outcome::Unresolved,
            code: "",
            usage: Usage::default(),
            usage_source: UsageSource::None,
            cost: Some(Nanos::ZERO),
            hold: Nanos::ZERO,
            price_id: 0,
            started_at: now_ms,
            first_byte_us: 0,
            total_us: 0,
            bytes_in: 0,
            bytes_out: 0,
            upstream_id: none,
            client: Some(client),
        };
        Box::new(Ticket {
            worker,
            key,
            started: Instant::now(),
            record: Some(record),
            id,
            intent: None,
            permit: None,
            price: None,
            seen_bytes: 0,
            seen_usage: None,
            measured: None,
            origin: None,
        })
    }

    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Milliseconds since 1970.
    pub fn started_at(&self) -> i64 {
        self.record.as_ref().map_or_else(|| self.worker.now_ms(), |record| record.started_at)
    }

    /// The page that called, if one did.
    pub fn came_from(&mut self, origin: Option<&str>) {
        self.origin = origin.map(Box::from);
    }

    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Waits until the disk has what was journaled, where the settings ask for that. `None` where they do not.
    pub fn durable(&self) -> Option<Durable> {
        if !self.worker.gateway.options.strict {
            return None;
        }
        let journal = self.worker.journal.clone();
        Some(Box::pin(async move { journal.durable().await.map_err(Worker::unavailable) }))
    }

    /// Whether the server ends what still runs.
    pub fn is_cutting(&self) -> bool {
        self.worker.gateway.is_cutting()
    }

    /// Ends a call that only reads, or makes what has a record of its own: it leaves none.
    pub fn answered(mut self: Box<Self>, status: u16, code: &'static str) {
        let outcome = if code.is_empty() { Outcome::Completed } else { Outcome::Refused };
        self.leave_no_record(outcome, status, code);
    }

    fn leave_no_record(&mut self, outcome: Outcome, status: u16, code: &'static str) {
        let Some(record) = self.record.take() else { return };
        self.worker.observer.unrecorded(&Unrecorded {
            request: record.request,
            endpoint: Some(record.endpoint),
            dialect: record.dialect,
            key: Some(record.key),
            client: record.client,
            started_at: record.started_at,
            total_us: self.elapsed_us(),
            status,
            outcome,
            code,
        });
    }

    /// What the call took of limits; given back, or corrected, when it ends.
    pub fn permitted(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    pub fn asked(&mut self, model: &str, stream: bool, bytes_in: u64) {
        if let Some(record) = self.record.as_mut() {
            // Whoever pastes a key into the wrong field must not find it in the records.
            record.model_asked = without_keys(model).into();
            record.stream = stream;
            record.bytes_in = bytes_in;
        }
    }

    /// What the call is measured by besides its tokens.
    pub fn measured(&mut self, measured: Option<&Rc<Measured>>) {
        self.measured = measured.cloned();
    }

    /// An attempt begins: its intent is in the journal before the first byte goes to the provider.
    pub fn attempt(&mut self, plan: &Plan, held: Held) -> Result<(), Refusal> {
        self.price.clone_from(&plan.price);
        let Some(record) = &mut self.record else { return Ok(()) };
        record.attempt = record.attempt.saturating_add(1);
        record.provider = plan.provider.name.clone();
        record.model_sent = plan.model.clone();
        record.hold = held.amount;
        record.price_id = plan.price.as_ref().map_or(0, |p| p.id());
        match self.worker.journal.intent(record, held.hold) {
            Ok(intent) => self.intent = Some(intent.paid_by(payers(&self.key))),
            Err(error) => {
                // Nothing was sent, so there was no attempt.
                record.attempt -= 1;
                return Err(Worker::unavailable(error));
            }
        }
        Ok(())
    }

    /// Ends an attempt that never reached the provider, so that the call can be sent again.
    pub fn lost(&mut self) -> Result<(), Refusal> {
        let elapsed = self.elapsed_us();
        if let Some((record, intent)) = self.record.as_ref().zip(self.intent.take()) {
            self.worker.observer.lost(&record.provider);
            let lost = AttemptRecord { outcome: Outcome::UpstreamFailed, total_us: elapsed, ..record.clone() };
            self.worker.journal.settle(intent, lost).map_err(Worker::unavailable)?;
        }
        Ok(())
    }

    pub fn attempts(&self) -> u8 {
        self.record.as_ref().map_or(0, |r| r.attempt)
    }

    pub fn first_byte(&mut self) {
        let elapsed = self.elapsed_us();
        if let Some(record) = self.record.as_mut()
            && record.first_byte_us == 0
        {
            record.first_byte_us = elapsed;
        }
    }

    pub fn served_by(&mut self, model: Option<&str>) {
        if let Some((record, model)) = self.record.as_mut().zip(model)
            && *record.model_served != *model
        {
            // Mostly the name that was sent, whose text is there already.
            record.model_served =
                if *record.model_sent == *model { record.model_sent.clone() } else { cut(model, 256).into() };
        }
    }

    pub fn upstream_id(&mut self, id: Option<&str>) {
        if let Some((record, id)) = self.record.as_mut().zip(id) {
            record.upstream_id = cut(id, 128).into();
        }
    }

    pub fn sent_down(&mut self, bytes: u64) {
        if let Some(record) = self.record.as_mut() {
            record.bytes_out += bytes;
        }
    }

    /// What has passed so far, in case the caller goes before the end.
    pub fn seen(&mut self, output_bytes: u64, usage: Option<Usage>) {
        self.seen_bytes = output_bytes;
        self.seen_usage = usage;
    }

    pub fn status(&mut self, status: u16) {
        if let Some(record) = self.record.as_mut() {
            record.status = status;
        }
    }

    /// Whether a budget pays for the attempt.
    pub fn is_limited(&self) -> bool {
        self.intent.as_ref().is_some_and(Intent::has_hold)
    }

    /// What is set aside for the attempt.
    pub fn held(&self) -> Nanos {
        self.record.as_ref().map_or(Nanos::ZERO, |record| record.hold)
    }

    /// Sets more aside, so that it is at least so much; `false` where a budget has too little left.
    pub fn hold_more(&mut self, amount: Nanos) -> bool {
        let Some((record, intent)) = self.record.as_mut().zip(self.intent.as_mut()) else { return false };
        let by = Nanos(amount.0.saturating_sub(record.hold.0));
        by <= Nanos::ZERO || self.worker.journal.extend(intent, record, by)
    }

    /// Why a stream that was not to become so long ends.
    pub fn outgrown(&self) -> Refusal {
        let whose = hold::empty(&self.worker, &self.key, self.started_at());
        let message = format!(
            "{whose} is reached: the provider writes more than it was asked for, and there is no money left for that. \
             The answer is not complete."
        );
        Refusal::new(Code::SpendLimitReached, message)
    }

    /// Ends a call that anykey refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        let sent = self.attempts() > 0;
        let _ = self.settle(Ending {
            outcome: if sent { Outcome::UpstreamFailed } else { Outcome::Refused },
            status: refusal.status(),
            usage: None,
            worked: false,
            code: refusal.code.name(),
        });
    }

    /// Ends a call that anykey answers itself: a request like another, which used nothing.
    pub fn settle_here(&mut self) -> Result<(), Refusal> {
        if let Some(permit) = self.permit.take() {
            permit.settle(Some((0, 0)), self.worker.gateway.limiter.now());
        }
        let ending = Ending { outcome: Outcome::Completed, status: 200, usage: None, worked: false, code: "" };
        self.settle(ending).map(|_| ())
    }

    /// Ends the call: what it used is priced, charged and journaled. The first end counts. Returns the cost; an error
    /// says that the record could not be kept, and then the caller must not see the answer's end.
    pub fn settle(&mut self, ending: Ending) -> Result<Option<Nanos>, Refusal> {
        let Some(mut record) = self.record.take() else { return Ok(None) };
        record.outcome = ending.outcome;
        record.status = ending.status;
        record.code = ending.code;
        record.total_us = self.elapsed_us();
        (record.usage, record.usage_source) = match ending.usage {
            Some(usage) => (self.measured.as_ref().map_or(usage, |m| m.completed(usage)), UsageSource::Reported),
            None if ending.worked
                && let Some(measured) = &self.measured =>
            {
                (measured.estimated(self.seen_bytes, self.seen_usage), UsageSource::Estimated)
            }
            None if ending.worked => {
                let guess = estimate(record.endpoint, record.bytes_in, self.seen_bytes);
                (larger(guess, self.seen_usage), UsageSource::Estimated)
            }
            None => (Usage::default(), UsageSource::None),
        };
        record.cost = if record.endpoint.is_free() || record.usage.is_empty() {
            Some(Nanos::ZERO)
        } else {
            let by_items = record.endpoint.counts_items();
            let cost = |price: &Arc<Price>| {
                if by_items { price.cost_of(&record.usage) } else { price.cost(&record.usage) }
            };
            self.price.as_ref().and_then(|price| cost(price).ok())
        };
        // A guess never charges more than was set aside for the worst.
        if record.usage_source == UsageSource::Estimated && record.hold > Nanos::ZERO {
            record.cost = record.cost.map(|cost| cost.min(record.hold));
        }
        if let Some(permit) = self.permit.take() {
            release(permit, &record, self.worker.gateway.limiter.now());
        }
        self.worker.observer.ended(&record);
        let (cost, id) = (record.cost, record.request);
        let kept = match self.intent.take() {
            Some(intent) => self.worker.journal.settle(intent, record).map(|settled| settled.overrun),
            None => self.worker.journal.record(record).map(|()| Nanos::ZERO),
        };
        match kept {
            Ok(Nanos::ZERO) => Ok(cost),
            Ok(overrun) => {
                tracing::warn!(request = %id, %overrun, "the provider billed more than the call could cost");
                Ok(cost)
            }
            // A refusal that finds no room on a full disk is told to its caller, and that is all.
            Err(Unavailable::StorageFull) => Ok(cost),
            Err(error) => Err(Worker::unavailable(error)),
        }
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.worker.observer.closed();
        let Some(record) = &self.record else { return };
        let stopping = self.worker.gateway.is_stopping();
        let outcome = if stopping { Outcome::Cut } else { Outcome::ClientGone };
        if record.endpoint.is_read() || record.endpoint.is_minting() {
            return self.leave_no_record(outcome, 0, "");
        }
        let (status, worked) = (record.status, record.attempt > 0);
        let _ = self.settle(Ending { outcome, status, usage: None, worked, code: "" });
    }
}

/// A call that was sent counts as a request, with the tokens that it used; one that was not, not at all.
fn release(permit: Permit, record: &AttemptRecord, now: u64) {
    if record.attempt == 0 {
        permit.cancel();
    } else {
        permit.settle(Some((record.usage.input_tokens(), record.usage.output_tokens())), now);
    }
}

/// Unit by unit the larger of what was guessed and what the provider had said before the end.
fn larger(guess: Usage, seen: Option<Usage>) -> Usage {
    let Some(seen) = seen else { return guess };
    // The guess knows plain input and output only; classes that the provider named replace plain input.
    let input = if seen.input_tokens() > 0 { seen.get(Unit::Input) } else { guess.get(Unit::Input) };
    let output = guess.get(Unit::Output).saturating_sub(seen.get(Unit::Reasoning)).max(seen.get(Unit::Output));
    seen.with(Unit::Input, input).with(Unit::Output, output).with(Unit::Request, guess.get(Unit::Request))
}

/// At most `limit` bytes, at a character's edge.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_said_is_never_lowered_by_a_guess() {
        let guess = Usage::default().with(Unit::Input, 100).with(Unit::Output, 40).with(Unit::Request, 1);
        let seen = Usage::default().with(Unit::Input, 7).with(Unit::CacheRead, 90).with(Unit::Output, 1);
        let both = larger(guess, Some(seen));
        assert_eq!((both.get(Unit::Input), both.get(Unit::CacheRead), both.get(Unit::Output)), (7, 90, 40));
        assert_eq!(larger(guess, None), guess);
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("ab", 9), "ab");
    }
}
