//! Measures the hottest write: CPU and wall time per attempt that `Store::apply` stores, by batch size.
//!
//! `cargo run --release -p anykey-store --example apply -- [DATABASE]`, on SQLite in a temporary folder by default.

use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::usage::UsageSource;
use anykey_core::{Dialect, Endpoint, KeyKind, Nanos, RequestId, Unit, Usage};
use anykey_store::{Database, KeyRow, NewKey, Options, Store};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

const KEYS: usize = 50;
const ROWS: usize = 200_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = std::env::args().nth(1).unwrap_or_else(|| "sqlite:".into());
    let dir = std::env::temp_dir().join(format!("anykey-apply-{}", std::process::id()));
    let store = Store::open(Options::new(&dir, Database::parse(&database)?)).await?;
    let mut keys = Vec::with_capacity(KEYS);
    for i in 0..KEYS {
        keys.push(store.create_key(NewKey::new(KeyKind::Live, format!("key {i}"))).await?.0);
    }
    println!("{}: keys, rows a batch, CPU us a row, wall us a row", store.database());
    for count in [1, KEYS] {
        for size in [1_000, 100, 10] {
            let rows = ROWS.min(size * 1_000);
            let (cpu, wall) = measure(&store, &keys[..count], size, rows).await?;
            println!("{count:>6} {size:>6} {cpu:>8.2} {wall:>8.2}");
        }
    }
    store.close().await;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

async fn measure(store: &Store, keys: &[KeyRow], size: usize, rows: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let names: Names = Names::default();
    let batches: Vec<Vec<AttemptRecord>> = (0..rows / size)
        .map(|b| {
            (0..size)
                .map(|i| names.attempt(&keys[i % keys.len()], 1_790_000_000_000 + (b * size + i) as i64))
                .collect::<Result<_, _>>()
        })
        .collect::<Result<_, _>>()?;
    let (cpu, wall) = (cpu_us()?, Instant::now());
    for batch in batches {
        store.apply(batch).await?;
    }
    let (cpu, wall) = (cpu_us()? - cpu, wall.elapsed().as_micros() as f64);
    Ok((cpu / rows as f64, wall / rows as f64))
}

/// Shared texts, as the gateway shares them.
struct Names {
    provider: Arc<str>,
    asked: Arc<str>,
    sent: Arc<str>,
    served: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            provider: "openai".into(),
            asked: "openai/gpt-4o-mini".into(),
            sent: "gpt-4o-mini".into(),
            served: "gpt-4o-mini-2024-07-18".into(),
        }
    }
}

impl Names {
    fn attempt(&self, key: &KeyRow, at: i64) -> Result<AttemptRecord, Box<dyn Error>> {
        Ok(AttemptRecord {
            request: RequestId::random(at)?,
            attempt: 1,
            key: key.id,
            secret: key.secrets[0].public_id.as_bytes().try_into()?,
            endpoint: Endpoint::ChatCompletions,
            dialect: Dialect::OpenAi,
            stream: true,
            provider: Arc::clone(&self.provider),
            model_asked: Arc::clone(&self.asked),
            model_sent: Arc::clone(&self.sent),
            model_served: Arc::clone(&self.served),
            status: 200,
            outcome: Outcome::Completed,
            code: "",
            usage: Usage::default().with(Unit::Input, 1_200).with(Unit::CacheRead, 800).with(Unit::Output, 300),
            usage_source: UsageSource::Reported,
            cost: Some(Nanos(360_000)),
            hold: Nanos(5_000_000),
            price_id: 7,
            started_at: at,
            first_byte_us: 210_000,
            total_us: 1_800_000,
            bytes_in: 4_096,
            bytes_out: 16_384,
            upstream_id: "req_0123456789abcdef01234567".into(),
            client: Some([203, 0, 113, 7].into()),
        })
    }
}

/// User and system time of this process in microseconds, from the clock ticks (10 ms) of `/proc`.
fn cpu_us() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| -> Result<f64, Box<dyn Error>> { Ok(fields.get(i).ok_or("no such field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 10_000.0)
}
