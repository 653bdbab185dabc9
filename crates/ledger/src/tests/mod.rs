//! Tests of the ledger as a whole, on a file system and books that fail on demand.

mod bank;
mod books;
mod budget;
mod codec;
mod crash;
mod disk;
mod extend;
mod flow;
mod histories;
mod replicas;
mod speed;
mod windows;

use crate::{Ledger, Options};
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{BudgetId, Dialect, Endpoint, KeyId, Nanos, RequestId, Unit, Usage, Window};
use books::FakeBooks;
use disk::SimDisk;
use proptest::prelude::*;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DIR: &str = "/journal";

pub(crate) fn key(n: u8) -> KeyId {
    KeyId([n; 16])
}

/// A usual record of a call that went well.
pub(crate) fn record(n: u64) -> AttemptRecord {
    AttemptRecord {
        request: RequestId::new(1_790_000_000_000 + n as i64, [(n % 251) as u8; 10]),
        attempt: 1,
        key: key((n % 5) as u8),
        secret: *b"AbCd1234",
        endpoint: Endpoint::ChatCompletions,
        dialect: Dialect::OpenAi,
        stream: true,
        provider: "openai".into(),
        model_asked: "gpt-5.1-mini".into(),
        model_sent: "gpt-5.1-mini".into(),
        model_served: "gpt-5.1-mini-2026-08-07".into(),
        status: 200,
        outcome: Outcome::Completed,
        code: "",
        usage: Usage::default().with(Unit::Input, 1_234).with(Unit::CacheRead, 8_192).with(Unit::Output, 456),
        usage_source: UsageSource::Reported,
        cost: Some(Nanos(1_000 + n as i64)),
        hold: Nanos(5_000 + n as i64),
        price_id: 4_711,
        started_at: 1_790_000_000_000,
        first_byte_us: 230_000,
        total_us: 2_800_000,
        bytes_in: 5_120,
        bytes_out: 30_000,
        upstream_id: "req_0123456789abcdef0123456789abcdef".into(),
        client: Some([10, 1, 2, 3].into()),
    }
}

/// The record of an attempt whose end is not known, as recovery makes it from the intent.
pub(crate) fn unresolved(r: &AttemptRecord) -> AttemptRecord {
    AttemptRecord {
        model_served: Arc::default(),
        status: 0,
        outcome: Outcome::Unresolved,
        code: "",
        usage: Usage::default(),
        usage_source: UsageSource::Estimated,
        cost: Some(r.hold),
        first_byte_us: 0,
        total_us: 0,
        bytes_in: 0,
        bytes_out: 0,
        upstream_id: Arc::default(),
        client: None,
        ..r.clone()
    }
}

/// Any record that can exist.
pub(crate) fn any_record() -> impl Strategy<Value = AttemptRecord> {
    let identity = (any::<[u8; 16]>(), any::<u8>(), any::<[u8; 16]>(), any::<[u8; 8]>());
    let kind = (0..Endpoint::ALL.len(), 0..Dialect::ALL.len(), any::<bool>(), any::<u16>(), 0..Outcome::ALL.len());
    let texts = ("\\PC{0,20}", "\\PC{0,60}", "\\PC{0,60}", "\\PC{0,60}", "[ -~]{0,128}");
    let same = (any::<bool>(), any::<bool>());
    let usage = proptest::collection::vec((0..Unit::ALL.len(), any::<u64>()), 0..16);
    let money = (any::<Option<i64>>(), any::<i64>(), any::<u64>(), any::<i64>(), 0..3usize);
    let sizes = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let codes = prop_oneof![Just(""), Just("rate_limited"), Just("from_another_version")];
    (identity, kind, texts, same, usage, money, sizes, any::<Option<std::net::IpAddr>>(), codes).prop_map(
        |(identity, kind, texts, same, usage, money, sizes, client, code)| {
            let asked: Arc<str> = texts.1.into();
            let sent: Arc<str> = if same.0 { asked.clone() } else { texts.2.into() };
            let served: Arc<str> = if same.1 { sent.clone() } else { texts.3.into() };
            AttemptRecord {
                request: RequestId(identity.0),
                attempt: identity.1,
                key: KeyId(identity.2),
                secret: identity.3,
                endpoint: Endpoint::ALL[kind.0],
                dialect: Dialect::ALL[kind.1],
                stream: kind.2,
                provider: texts.0.into(),
                model_asked: asked,
                model_sent: sent,
                model_served: served,
                status: kind.3,
                outcome: Outcome::ALL[kind.4],
                code,
                usage: usage.into_iter().map(|(u, n)| (Unit::ALL[u], n)).collect(),
                usage_source: [UsageSource::None, UsageSource::Reported, UsageSource::Estimated][money.4],
                cost: money.0.map(Nanos),
                hold: Nanos(money.1),
                price_id: money.2,
                started_at: money.3,
                first_byte_us: sizes.0,
                total_us: sizes.1,
                bytes_in: sizes.2,
                bytes_out: sizes.3,
                upstream_id: texts.4.into(),
                client,
            }
        },
    )
}

/// Small segments, so that a test sees many.
pub(crate) fn options() -> Options {
    Options { segment_bytes: 64 * 1024, batch_rows: 7, ..Options::default() }
}

/// A record so long that a segment holds only about forty of its intents and settles.
pub(crate) fn long_record(n: u64) -> AttemptRecord {
    AttemptRecord { model_asked: "x".repeat(500).into(), upstream_id: "y".repeat(500).into(), ..record(n) }
}

pub(crate) async fn open(disk: &Arc<SimDisk>, books: &Arc<FakeBooks>, options: Options) -> Ledger {
    Ledger::open_on(disk.clone(), DIR, options, books.clone()).await.unwrap()
}

/// Lets virtual time pass until something is true. The clock stands still while file work runs in other threads, so the
/// limit is one of virtual time, not of the machine's speed.
pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_true() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}
