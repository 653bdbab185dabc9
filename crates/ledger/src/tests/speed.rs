//! Speed, printed: `cargo test --release -p anykey-ledger -- --ignored --nocapture`.

use super::*;
use crate::codec::{Stamp, encode_settle};
use anykey_core::lease::Lease;
use std::future::Future;
use std::hint::black_box;
use std::time::Instant;

/// Prints what `work` took for each of `n`: by the clock, and of processor time in all threads, which is what counts on a
/// machine that does other things too.
async fn measure(what: &str, n: u32, work: impl Future<Output = ()>) {
    let (start, before) = (Instant::now(), processor_ms());
    work.await;
    let (wall, cpu) = (start.elapsed(), (processor_ms() - before) * 1e6);
    let n = f64::from(n);
    println!("{what}: {:.0} ns, of processor time {:.0} ns", wall.as_nanos() as f64 / n, cpu / n);
}

/// User and system time of this process, in ticks of 10 ms; zero where the system does not say.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// Books that only count.
struct Sink;

impl crate::Books for Sink {
    fn apply(
        &self,
        batch: &[AttemptRecord],
        _: &[Lease],
    ) -> impl Future<Output = Result<(), crate::BooksError>> + Send {
        black_box(batch);
        std::future::ready(Ok(()))
    }

    fn spent(&self, _: BudgetId, _: Window) -> impl Future<Output = Result<Nanos, crate::BooksError>> + Send {
        std::future::ready(Ok(Nanos::ZERO))
    }
}

/// Books that never answer.
struct Away;

impl crate::Books for Away {
    fn apply(&self, _: &[AttemptRecord], _: &[Lease]) -> impl Future<Output = Result<(), crate::BooksError>> + Send {
        std::future::pending()
    }

    fn spent(&self, _: BudgetId, _: Window) -> impl Future<Output = Result<Nanos, crate::BooksError>> + Send {
        std::future::pending()
    }
}

#[tokio::test]
#[ignore = "a measurement, for release builds"]
async fn speed() {
    encoding().await;
    calls_and_replay().await;
}

async fn encoding() {
    const N: u32 = 2_000_000;
    let record = record(1);
    let mut buffer = Vec::with_capacity(4_096);
    measure("encoding a settle", N, async {
        for seq in 0..u64::from(N) {
            encode_settle(&mut buffer, Stamp { epoch: 1, seq }, black_box(&record));
            black_box(&buffer);
        }
    })
    .await;
}

/// A million entries on the disk of the temporary folder.
async fn calls_and_replay() {
    const N: u32 = 500_000;
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Options::default(), Sink).await.unwrap();
    let writer = ledger.writer().unwrap();
    let records: Vec<_> = (0..u64::from(N)).map(record).collect();
    measure("intent, settle and flush of a call", N, async {
        for record in records {
            let intent = writer.intent(&record, None).unwrap();
            writer.settle(intent, record).unwrap();
            tokio::task::yield_now().await;
        }
        ledger.flush().await.unwrap();
    })
    .await;
    replay(2 * N).await;
}

async fn replay(n: u32) {
    let dir = tempfile::tempdir().unwrap();
    let boundless = Options { max_pending: usize::MAX, ..Options::default() };
    let ledger = Ledger::open(dir.path(), boundless, Away).await.unwrap();
    let writer = ledger.writer().unwrap();
    for i in 0..u64::from(n / 2) {
        let intent = writer.intent(&record(i), None).unwrap();
        writer.settle(intent, record(i)).unwrap();
    }
    drop(ledger);
    measure("replay of an entry", n, async {
        let ledger = Ledger::open(dir.path(), Options::default(), Sink).await.unwrap();
        assert_eq!(ledger.recovered().records, u64::from(n / 2));
    })
    .await;
}
