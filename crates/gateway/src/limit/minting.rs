//! What the minting of a temporary key takes of limits. It is a request of the key that asks, and a few writes to the
//! database with an entry in the audit log that stays, so that there is also a most which no key exceeds.

use super::seed;
use crate::Worker;
use anykey_core::controls::{Controls, Level, Limits};
use anykey_core::limit::{Demand, Full, Limiter, Micros, Permit};
use anykey_core::{Bound, Code, KeyId, Refusal};
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
    take(limiter, &key.bounds, &most(key.info.id, &key.info.name), limiter.now())
}

/// Takes of what is above the key, of the key, and of the most that any key mints.
fn take(limiter: &Limiter, bounds: &[Bound], most: &Bound, now: Micros) -> Result<Permit, Refusal> {
    let bounds: Vec<Bound> = bounds.iter().chain([most]).cloned().collect();
    let demand = Demand { free: true, ..Demand::default() };
    limiter.take(&bounds, None, &demand, now).map_err(|full| refused(most, &full))
}

/// Its counters are beside the key's own, which go by the key's id: here the bits of that are turned over.
fn most(key: KeyId, name: &str) -> Bound {
    Bound { level: Level::Key, id: key.0.map(|byte| !byte), name: name.into(), controls: MOST.clone() }
}

fn refused(most: &Bound, full: &Full) -> Refusal {
    if full.bound.id != most.id {
        return Refusal::from(full);
    }
    let seconds = full.wait.map_or(1, |wait| wait.as_secs() + 1);
    let text = format!(
        "The API key `{}` has minted {A_MINUTE} temporary keys within a minute. The next can be minted in {seconds} s.",
        most.name
    );
    Refusal::new(Code::RateLimited, text).retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const MINUTE: Micros = 60 * SECOND;
    const KEY: KeyId = KeyId([7; 16]);

    fn mint(limiter: &Limiter, bounds: &[Bound], now: Micros) -> Result<(), Refusal> {
        take(limiter, bounds, &most(KEY, "ci"), now).map(|permit| permit.settle(None, now))
    }

    /// Under a clock that the test moves, for three minutes, by a caller that wants twice what there is.
    #[test]
    fn no_key_mints_more_than_six_hundred_in_any_minute_and_nearly_all_of_them_can_be_minted() {
        let limiter = Limiter::default();
        let begin = limiter.now();
        let minted: Vec<Micros> =
            (0..3 * 1200).map(|n| begin + n * MINUTE / 1200).filter(|now| mint(&limiter, &[], *now).is_ok()).collect();
        for (n, first) in minted.iter().enumerate() {
            let within = minted[n..].iter().take_while(|at| **at <= first + MINUTE).count() as u64;
            assert!(within <= A_MINUTE, "{within} from {first} on");
        }
        assert!(minted.len() as u64 >= 3 * A_MINUTE * 98 / 100, "{}", minted.len());
    }

    #[test]
    fn the_next_is_minted_when_the_refusal_says_and_not_before() {
        let limiter = Limiter::default();
        let now = limiter.now();
        for _ in 0..A_MINUTE {
            mint(&limiter, &[], now).unwrap();
        }
        let full = mint(&limiter, &[], now + 20 * SECOND).unwrap_err();
        assert_eq!((full.code, full.retry_after), (Code::RateLimited, Some(41)));
        assert!(full.message.contains("`ci` has minted 600 temporary keys within a minute"), "{}", full.message);
        assert!(mint(&limiter, &[], now + MINUTE).is_err());
        mint(&limiter, &[], now + MINUTE + 1).unwrap();
        // Another key has its own, and calls of this one are not counted with them.
        take(&limiter, &[], &most(KeyId([8; 16]), "other"), now).unwrap().settle(None, now);
        let own = Bound { id: KEY.0, ..most(KEY, "ci") };
        limiter.take(&[own], None, &Demand::default(), now).unwrap().settle(None, now);
    }

    #[test]
    fn what_is_above_a_key_holds_for_what_it_mints_and_is_named() {
        let limiter = Limiter::default();
        let now = limiter.now();
        let controls = Controls { limits: Limits { rph: Some(2), ..Limits::default() }, ..Controls::default() };
        let project =
            [Bound { level: Level::Project, id: [1; 16], name: "search".into(), controls: Arc::new(controls) }];
        mint(&limiter, &project, now).unwrap();
        mint(&limiter, &project, now).unwrap();
        let full = mint(&limiter, &project, now + MINUTE).unwrap_err();
        assert!(full.message.contains("The project `search` is limited to 2 requests per hour"), "{}", full.message);
        // What the project refused took none of the key's own.
        limiter.take(&[most(KEY, "ci")], None, &Demand::default(), now).unwrap().settle(None, now);
        let left = A_MINUTE - 3;
        (0..left).for_each(|_| mint(&limiter, &[], now).unwrap());
        assert!(mint(&limiter, &[], now).is_err());
    }
}
