//! Speed, printed: `cargo test --release -p anykey-ledger -- --ignored --nocapture speed`.

use super::*;
use crate::codec::{Stamp, encode_settle};
use std::future::Future;
use std::hint::black_box;
use std::time::Instant;

/// Books that only count.
struct Sink;

impl crate::Books for Sink {
    fn apply(&self, batch: &[AttemptRecord]) -> impl Future<Output = Result<(), crate::BooksError>> + Send {
        black_box(batch);
        std::future::ready(Ok(()))
    }

    fn spent(&self, _: KeyId) -> impl Future<Output = Result<Nanos, crate::BooksError>> + Send {
        std::future::ready(Ok(Nanos::ZERO))
    }
}

#[test]
#[ignore = "a measurement, for release builds"]
fn encoding() {
    const N: u32 = 1_000_000;
    let record = record(1);
    let mut buffer = Vec::with_capacity(4_096);
    let start = Instant::now();
    for seq in 0..u64::from(N) {
        encode_settle(&mut buffer, Stamp { epoch: 1, seq }, black_box(&record));
        black_box(&buffer);
    }
    println!("encode: {:?} for {} bytes", start.elapsed() / N, buffer.len());
}

#[tokio::test]
#[ignore = "a measurement, for release builds"]
async fn a_call_and_a_replay() {
    const N: u32 = 500_000;
    let dir = tempfile::tempdir().unwrap();
    let idle = Options { flush_interval: Duration::from_secs(100_000), max_pending: usize::MAX, ..Options::default() };
    let quiet = Options { flush_at: usize::MAX, ..idle };
    let ledger = Ledger::open(dir.path(), quiet, Sink).await.unwrap();
    let writer = ledger.writer().unwrap();
    let records: Vec<_> = (0..u64::from(N)).map(record).collect();
    let mut busy = Duration::ZERO;
    for record in records {
        let start = Instant::now();
        let intent = writer.intent(&record, None).unwrap();
        writer.settle(intent, record).unwrap();
        busy += start.elapsed();
        tokio::task::yield_now().await;
    }
    println!("intent and settle: {:?} a call", busy / N);
    drop(ledger);
    let start = Instant::now();
    let ledger = Ledger::open(dir.path(), Options::default(), Sink).await.unwrap();
    let took = start.elapsed();
    assert_eq!(ledger.recovered().records, u64::from(N));
    println!("replay: {:.0} records/s", f64::from(N) / took.as_secs_f64());
}
