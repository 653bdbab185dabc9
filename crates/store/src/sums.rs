//! What attempts add up to, by day, key, provider and model.

use crate::db::Value;
use crate::leases::Cost;
use crate::usage_types::UsageSums;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{KeyId, Nanos, Unit, Usage};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;
pub(crate) const DAY_COLUMNS: usize = 14;
/// More tokens than any call has; a larger number is a provider's mistake and must not spoil the sums.
const ABSURD: u64 = 1_000_000_000_000;

/// What rows of `usage_day` are told apart by. Ordered, so that two replicas lock rows in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DayKey {
    pub day: i64,
    pub key: KeyId,
    pub provider: Arc<str>,
    pub model: Arc<str>,
}

impl DayKey {
    /// A model that no provider was asked for is left out: callers may write any name, and each would be a row.
    pub fn of(record: &AttemptRecord, key: KeyId) -> Self {
        DayKey {
            day: record.started_at.div_euclid(DAY_MS),
            key,
            provider: Arc::clone(&record.provider),
            model: Arc::clone(&record.model_sent),
        }
    }
}

/// The sums of a batch and what each key was charged.
#[derive(Default)]
pub(crate) struct Batch {
    /// Of temporary keys, the keys that they were minted from: what they cost is charged to both, and the sums of a day
    /// are the parent's.
    pub parents: HashMap<KeyId, KeyId>,
    pub days: BTreeMap<DayKey, UsageSums>,
    pub spent: BTreeMap<KeyId, i64>,
    /// What the budgets are charged that several processes spend from; kept where there are any.
    pub costs: Option<Vec<Cost>>,
}

impl Batch {
    pub fn add(&mut self, record: &AttemptRecord) {
        let sums = UsageSums::of(record);
        self.note(record, sums.cost.0);
        self.charge(record.key, sums.cost.0);
        self.sums(record).add(&sums);
    }

    /// Takes back a row that is replaced.
    pub fn take_back(&mut self, record: &AttemptRecord) {
        let sums = UsageSums::of(record).negated();
        self.note(record, sums.cost.0);
        self.charge(record.key, sums.cost.0);
        self.sums(record).add(&sums);
    }

    fn note(&mut self, record: &AttemptRecord, amount: i64) {
        if amount != 0
            && let Some(costs) = &mut self.costs
        {
            costs.push(Cost { key: record.key, began: record.started_at, amount });
        }
    }

    fn charge(&mut self, key: KeyId, amount: i64) {
        if let Some(parent) = self.parents.get(&key).copied() {
            self.charge(parent, amount);
        }
        if amount != 0 {
            let spent = self.spent.entry(key).or_insert(0);
            *spent = spent.saturating_add(amount);
        }
    }

    fn sums(&mut self, record: &AttemptRecord) -> &mut UsageSums {
        let key = self.parents.get(&record.key).copied().unwrap_or(record.key);
        self.days.entry(DayKey::of(record, key)).or_default()
    }
}

impl UsageSums {
    /// What one attempt adds.
    pub fn of(record: &AttemptRecord) -> Self {
        let count = |units: &[Unit]| sum_of(&record.usage, units);
        let sent = record.outcome != Outcome::Refused;
        UsageSums {
            requests: 1,
            errors: i64::from(is_error(record)),
            input: count(&[Unit::Input, Unit::AudioIn, Unit::ImageIn]),
            cache_read: count(&[Unit::CacheRead, Unit::AudioCacheRead]),
            cache_write: count(&[Unit::CacheWrite5m, Unit::CacheWrite1h]),
            output: count(&[Unit::Output, Unit::AudioOut, Unit::ImageOut]),
            reasoning: count(&[Unit::Reasoning]),
            cost: record.cost.unwrap_or(Nanos::ZERO),
            unpriced: i64::from(sent && record.cost.is_none()),
            estimated: i64::from(record.usage_source == UsageSource::Estimated),
        }
    }

    pub fn add(&mut self, other: &UsageSums) {
        let add = |a: &mut i64, b: i64| *a = a.saturating_add(b);
        add(&mut self.requests, other.requests);
        add(&mut self.errors, other.errors);
        add(&mut self.input, other.input);
        add(&mut self.cache_read, other.cache_read);
        add(&mut self.cache_write, other.cache_write);
        add(&mut self.output, other.output);
        add(&mut self.reasoning, other.reasoning);
        add(&mut self.cost.0, other.cost.0);
        add(&mut self.unpriced, other.unpriced);
        add(&mut self.estimated, other.estimated);
    }

    fn negated(self) -> Self {
        UsageSums {
            requests: -self.requests,
            errors: -self.errors,
            input: -self.input,
            cache_read: -self.cache_read,
            cache_write: -self.cache_write,
            output: -self.output,
            reasoning: -self.reasoning,
            cost: Nanos(-self.cost.0),
            unpriced: -self.unpriced,
            estimated: -self.estimated,
        }
    }

    /// In the order of the columns of `usage_day`.
    pub(crate) fn columns(&self) -> [i64; 10] {
        [
            self.requests,
            self.errors,
            self.input,
            self.cache_read,
            self.cache_write,
            self.output,
            self.reasoning,
            self.cost.0,
            self.unpriced,
            self.estimated,
        ]
    }
}

pub(crate) fn day_columns(key: &DayKey, sums: &UsageSums, values: &mut Vec<Value>) {
    values.extend([Value::from(key.day), Value::from(&key.key.0), Value::from(&key.provider), Value::from(&key.model)]);
    values.extend(sums.columns().map(Value::from));
}

fn sum_of(usage: &Usage, units: &[Unit]) -> i64 {
    units.iter().map(|unit| usage.get(*unit).min(ABSURD) as i64).sum()
}

/// A caller who hung up is no error of anybody's.
fn is_error(record: &AttemptRecord) -> bool {
    record.status >= 400 || !matches!(record.outcome, Outcome::Completed | Outcome::ClientGone)
}
