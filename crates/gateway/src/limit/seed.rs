//! What a bound used before this process began, read from the records the first time that it is asked for: a restart does
//! not give an hour's or a day's limit anew.

use crate::Worker;
use anykey_core::limit::Past;
use anykey_core::{Bound, Code, Refusal};
use std::time::Duration;

/// Tells the limiter what each of these bounds used. The calls that come first wait for it, and only they.
pub(super) async fn remember(worker: &Worker, bounds: Vec<&Bound>) -> Result<(), Refusal> {
    let limiter = &worker.gateway.limiter;
    for bound in bounds {
        let Some(window) = bound.controls.longest_window() else { continue };
        let now_ms = worker.now_ms();
        let since = now_ms.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
        let (store, level, id) = (worker.gateway.store.clone(), bound.level, bound.id);
        let read = worker.gateway.on_runtime(async move { store.recent_use(level, id, since).await }).await;
        let Some(Ok(used)) = read else { return Err(away(bound)) };
        let ago = |at: i64| Duration::from_millis(now_ms.saturating_sub(at).max(0).unsigned_abs());
        let began = now_ms.saturating_sub(i64::try_from(limiter.age().as_millis()).unwrap_or(i64::MAX));
        let past: Vec<Past> = used
            .into_iter()
            // What began after this process did is counted already, or was let through without a limit.
            .filter(|used| used.at < began)
            .map(|used| Past {
                ago: ago(used.at),
                provider: used.provider,
                model: used.model,
                requests: used.requests,
                tokens: used.tokens,
            })
            .collect();
        limiter.remember(bound, &past, limiter.now());
    }
    Ok(())
}

fn away(bound: &Bound) -> Refusal {
    let message = format!("What {bound} has used lately could not be looked up. Try again in a moment.");
    Refusal::new(Code::LedgerUnavailable, message).retry_after(2)
}
