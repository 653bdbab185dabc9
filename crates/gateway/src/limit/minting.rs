//! What the minting of a temporary key takes of limits. It is a request of the key that asks, and a few writes to the
//! database with an entry in the audit log that stays, so that there is also a most which no key exceeds.

use super::seed;
use crate::Worker;
use anykey_core::controls::{Controls, Level, Limits};
use anykey_core::limit::{Demand, Full, Permit};
use anykey_core::{Bound, Code, Refusal};
use anykey_store::LiveKey;
use std::sync::{Arc, LazyLock};

/// Temporary keys that one key mints in a minute; a thousand may live at a time.
const A_MINUTE: u64 = 600;

static MOST: LazyLock<Arc<Controls>> = LazyLock::new(|| {
    Arc::new(Controls { limits: Limits { rpm: Some(A_MINUTE), ..Limits::default() }, ..Controls::default() })
});

/// Takes a request of every limit above the key, or says which of them refuses it.
pub(crate) async fn mint(worker: &Worker, key: &LiveKey) -> Result<Permit, Refusal> {
    let limiter = &worker.gateway.limiter;
    let forgetful = limiter.forgetful(&key.bounds, limiter.now());
    if !forgetful.is_empty() {
        Box::pin(seed::remember(worker, forgetful)).await?;
    }
    let most = most(key);
    let bounds: Vec<Bound> = key.bounds.iter().cloned().chain([most.clone()]).collect();
    let demand = Demand { free: true, ..Demand::default() };
    limiter.take(&bounds, None, &demand, limiter.now()).map_err(|full| refused(key, &most, &full))
}

/// Its counters are beside the key's own, which go by the key's id: here the bits of that are turned over.
fn most(key: &LiveKey) -> Bound {
    Bound {
        level: Level::Key,
        id: key.info.id.0.map(|byte| !byte),
        name: (*key.info.name).into(),
        controls: MOST.clone(),
    }
}

fn refused(key: &LiveKey, most: &Bound, full: &Full) -> Refusal {
    if full.bound.id != most.id {
        return Refusal::from(full);
    }
    let seconds = full.wait.map_or(1, |wait| wait.as_secs() + 1);
    let text = format!(
        "The API key `{}` has minted {A_MINUTE} temporary keys within a minute. The next can be minted in {seconds} s.",
        key.info.name
    );
    Refusal::new(Code::RateLimited, text).retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
}
