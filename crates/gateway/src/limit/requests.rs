//! The number of requests that a temporary key has in its life: counted in memory, begun with what is stored.

use crate::Worker;
use anykey_core::{Code, KeyId, Refusal};
use anykey_store::LiveKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of keys that have ended are thrown out when there are more than this.
const KEPT: usize = 1024;

/// How many requests temporary keys have made, in memory.
#[derive(Default)]
pub struct Requests(Mutex<HashMap<KeyId, (i64, Arc<AtomicU64>)>>);

/// One request that was counted. Dropped before [`Counted::sent`], it is not.
pub(crate) struct Counted(Option<Arc<AtomicU64>>);

impl Counted {
    /// The request goes to a provider, so it counts.
    pub fn sent(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = self.0.take() {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Counts a request of a key that has a number of them, or refuses it.
pub(crate) async fn count(worker: &Worker, key: &LiveKey) -> Result<Counted, Refusal> {
    let Some(limit) = key.temp.as_ref().and_then(|temp| temp.request_limit) else { return Ok(Counted(None)) };
    let count = match worker.gateway.requests.known(key.info.id) {
        Some(count) => count,
        None => load(worker, key).await?,
    };
    let took = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |made| (made < limit).then_some(made + 1));
    match took {
        Ok(_) => Ok(Counted(Some(count))),
        Err(_) => Err(Refusal::new(
            Code::AllowanceUsedUp,
            format!(
                "The temporary key `{}` has made all of its {limit} requests, and they do not come back. Mint another one.",
                key.info.name
            ),
        )),
    }
}

/// The first request in this process: what was made before is stored, since nothing is served before the journal is read.
async fn load(worker: &Worker, key: &LiveKey) -> Result<Arc<AtomicU64>, Refusal> {
    let (gateway, id) = (worker.gateway.clone(), key.info.id);
    let loaded = worker.gateway.on_runtime(async move { gateway.store.requests_made(id).await }).await;
    let Some(Ok(made)) = loaded else {
        let text = "The requests of this key could not be looked up. Try again in a moment.";
        return Err(Refusal::new(Code::LedgerUnavailable, text).retry_after(2));
    };
    Ok(worker.gateway.requests.install(id, key.info.expires_at.unwrap_or(i64::MAX), made, worker.now_ms()))
}

impl Requests {
    fn known(&self, id: KeyId) -> Option<Arc<AtomicU64>> {
        self.0.lock().get(&id).map(|(_, count)| Arc::clone(count))
    }

    /// The first who comes back from the database decides; the others count on.
    fn install(&self, id: KeyId, ends_at: i64, made: u64, now_ms: i64) -> Arc<AtomicU64> {
        let mut counts = self.0.lock();
        if counts.len() >= KEPT {
            counts.retain(|_, (ends_at, _)| *ends_at > now_ms);
        }
        let (_, count) = counts.entry(id).or_insert_with(|| (ends_at, Arc::new(AtomicU64::new(made))));
        Arc::clone(count)
    }
}
