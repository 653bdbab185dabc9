//! Limits under a chain of bounds, and under 64 threads that all want more than there is.

use super::*;
use std::sync::atomic::AtomicU64;

const MINUTE: Micros = 60_000_000;
pub(super) const TARGET: Target<'static> = Target { provider: "openai", model: "gpt-4o" };

pub(super) fn bound(level: Level, controls: &str) -> Bound {
    let controls = Arc::new(Controls::from_json(controls).unwrap());
    Bound { level, id: [level as u8; 16], name: level.name().into(), controls }
}

fn key(limits: &str) -> [Bound; 1] {
    [bound(Level::Key, &format!(r#"{{"limits":{limits}}}"#))]
}

/// So many input tokens and an answer of at most `output`.
pub(super) fn tokens(input: u64, output: u64) -> Demand {
    Demand { bytes: input * 4, output: Some(output), ..Demand::default() }
}

fn used(limiter: &Limiter, bounds: &[Bound], now: Micros) -> Vec<(Dimension, u64)> {
    let mut all = Vec::new();
    limiter.all_standings(bounds, now, |s| all.push((s.dimension, s.used)));
    all
}

#[test]
fn a_call_takes_of_every_bound_or_of_none() {
    let limiter = Limiter::default();
    let chain = [
        bound(Level::Organisation, r#"{"limits":{"rpm":3}}"#),
        bound(Level::Project, r#"{"ips":["10.0.0.0/8"]}"#),
        bound(Level::Key, r#"{"limits":{"rpm":2,"concurrency":9},"model_limits":{"gpt-*":{"rph":9},"o1":{"rpm":1}}}"#),
    ];
    let take = |now| limiter.take(&chain, TARGET, &Demand::default(), now);
    let now = limiter.now();
    take(now).unwrap().settle(None, now);
    take(now).unwrap().settle(None, now);
    let full = take(now + 1).unwrap_err();
    assert_eq!((full.bound.level, full.dimension, full.limit, full.used), (Level::Key, Dimension::Rpm, 2, 2));
    assert_eq!(full.wait, Some(Duration::from_micros(MINUTE)));
    // The refused call took nothing of the organisation, of the hour of `gpt-*`, or of the calls at once.
    let left = used(&limiter, &chain, now + 1);
    let numbers: Vec<u64> = left.iter().map(|(_, used)| *used).collect();
    assert_eq!(numbers, [2, 2, 0, 2, 0], "{left:?}");
    // The outer bound holds for its other keys.
    let other = [chain[0].clone(), Bound { id: [99; 16], ..chain[2].clone() }];
    limiter.take(&other, TARGET, &Demand::default(), now).unwrap().settle(None, now);
    let full = limiter.take(&other, TARGET, &Demand::default(), now).unwrap_err();
    assert_eq!(full.bound.level, Level::Organisation);
    assert_eq!(used(&limiter, &other, now)[1], (Dimension::Rpm, 1));
}

#[test]
fn a_pattern_limits_its_models_together_and_no_others() {
    let limiter = Limiter::default();
    let chain = [bound(Level::Key, r#"{"model_limits":{"openai/*":{"rpm":2},"gpt-4o":{"rpm":1}}}"#)];
    let now = limiter.now();
    let take = |model| limiter.take(&chain, Target { provider: "openai", model }, &Demand::default(), now);
    take("gpt-4o").unwrap().settle(None, now);
    assert_eq!(take("gpt-4o").unwrap_err().models.unwrap().to_string(), "gpt-4o");
    take("o1").unwrap().settle(None, now);
    assert_eq!(take("o1").unwrap_err().models.unwrap().to_string(), "openai/*");
    let elsewhere = limiter.take(&chain, Target { provider: "sim", model: "echo" }, &Demand::default(), now);
    assert!(elsewhere.unwrap().taken.is_empty());
}

#[test]
fn a_call_that_was_not_sent_gives_all_back_and_one_that_ended_what_it_did_not_use() {
    let limiter = Limiter::default();
    let chain = key(r#"{"rpm":5,"tpm":1000,"concurrency":2}"#);
    let now = limiter.now();
    let permit = limiter.take(&chain, TARGET, &tokens(100, 400), now).unwrap();
    assert_eq!(used(&limiter, &chain, now).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 500, 1]);
    permit.cancel();
    assert_eq!(used(&limiter, &chain, now).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 0, 0]);
    limiter.take(&chain, TARGET, &tokens(100, 400), now).unwrap().settle(Some((90, 10)), now + 5);
    drop(limiter.take(&chain, TARGET, &tokens(1, 1), now).unwrap());
    assert_eq!(used(&limiter, &chain, now).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 100, 0]);
    // More than was thought counts from when it is known.
    let late = now + MINUTE / 2;
    limiter.take(&chain, TARGET, &tokens(10, 10), now).unwrap().settle(Some((10, 300)), late);
    assert_eq!(used(&limiter, &chain, late)[1], (Dimension::Tpm, 410));
    assert_eq!(used(&limiter, &chain, now + MINUTE + 1)[1], (Dimension::Tpm, 290));
}

#[test]
fn a_call_larger_than_a_limit_is_told_that_it_never_fits() {
    let limiter = Limiter::default();
    let chain = key(r#"{"tpm":100}"#);
    let full = limiter.take(&chain, TARGET, &tokens(50, 51), limiter.now()).unwrap_err();
    assert_eq!((full.dimension, full.wanted, full.wait), (Dimension::Tpm, 101, None));
    // What counts tokens uses none.
    let counting = Demand { bytes: 1_000_000, free: true, ..Demand::default() };
    assert!(limiter.take(&chain, TARGET, &counting, limiter.now()).is_ok());
}

#[test]
fn an_answer_without_a_bound_is_taken_to_be_as_long_as_recent_ones() {
    let limiter = Limiter::default();
    let chain = key(r#"{"tpm":1000}"#);
    let now = limiter.now();
    let unbounded = Demand { bytes: 40, ..Demand::default() };
    // The first could take anything, so it gets all there is, and the second has to wait for it.
    let first = limiter.take(&chain, TARGET, &unbounded, now).unwrap();
    assert_eq!(used(&limiter, &chain, now)[0].1, 1000);
    assert!(limiter.take(&chain, TARGET, &unbounded, now).is_err());
    first.settle(Some((10, 20)), now);
    let second = limiter.take(&chain, TARGET, &unbounded, now).unwrap();
    assert_eq!(used(&limiter, &chain, now)[0].1, 60);
    // Text that is denser than usual is learned too.
    second.settle(Some((40, 20)), now);
    let _third = limiter.take(&chain, TARGET, &unbounded, now).unwrap();
    assert_eq!(used(&limiter, &chain, now)[0].1, 90 + 60);
}

#[test]
fn what_was_used_before_a_restart_counts_once() {
    let limiter = Limiter::default();
    let chain = [bound(Level::Key, r#"{"limits":{"rph":10,"tpd":1000},"model_limits":{"gpt-4o":{"rpd":9}}}"#)];
    let now = limiter.now();
    assert_eq!(limiter.forgetful(&chain, now).len(), 1);
    let past = |minutes: u64, requests: u64| Past {
        ago: Duration::from_secs(60 * minutes),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        requests,
        tokens: 10 * requests,
    };
    let all = [past(23 * 60, 4), past(59, 3)];
    limiter.remember(&chain[0], &all, now);
    limiter.remember(&chain[0], &all, now);
    assert!(limiter.forgetful(&chain, now).is_empty());
    assert_eq!(used(&limiter, &chain, now).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [3, 70, 7]);
    assert_eq!(used(&limiter, &chain, now + 2 * MINUTE).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 70, 7]);
    // Later nothing that counts can be from before.
    let fresh = key(r#"{"tpd":1000}"#);
    assert!(limiter.forgetful(&fresh, now + DAY).is_empty());
}

#[test]
fn what_nobody_uses_is_dropped() {
    let limiter = Limiter::default();
    let now = limiter.now();
    for n in 0..100u8 {
        let chain = [Bound { id: [n; 16], ..bound(Level::Key, r#"{"limits":{"rpm":5}}"#) }];
        limiter.take(&chain, TARGET, &Demand::default(), now).unwrap().settle(None, now);
    }
    let chain = key(r#"{"concurrency":5}"#);
    let permit = limiter.take(&chain, TARGET, &Demand::default(), now).unwrap();
    let sweep = |now| (0..SHARDS / SWEPT).for_each(|_| limiter.sweep(now));
    sweep(now + MINUTE);
    assert_eq!(limiter.len(), 100, "the key with id 5 is among them");
    sweep(now + MINUTE + 1);
    assert_eq!(limiter.len(), 1);
    permit.cancel();
    sweep(now + MINUTE + 1);
    assert!(limiter.is_empty());
}

/// Threads that share a clock which each of their steps moves on, by at most `pace`.
pub(super) fn storm(
    limiter: &Limiter,
    clock: &AtomicU64,
    until: Micros,
    pace: Micros,
    step: impl Fn(u64, Micros) + Sync,
) {
    std::thread::scope(|scope| {
        for seed in 0..64u64 {
            let step = &step;
            scope.spawn(move || {
                let mut random = seed;
                loop {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let now = clock.fetch_add(1 + (random >> 33) % pace, Ordering::Relaxed);
                    if now > until {
                        return;
                    }
                    step(random >> 40, now);
                }
            });
        }
    });
    assert!(limiter.len() <= 2);
}

/// The most that any closed window holds.
pub(super) fn busiest(mut admitted: Vec<(Micros, u64)>, window: Micros) -> u64 {
    admitted.sort_unstable();
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for (at, amount) in &admitted {
        sum += amount;
        while admitted[first].0 + window < *at {
            sum -= admitted[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

#[test]
fn sixty_four_threads_never_get_one_request_or_token_more_and_nearly_all_there_is() {
    const MINUTES: u64 = 5;
    let limiter = Limiter::default();
    let chain = [bound(Level::Project, r#"{"limits":{"tpm":30000}}"#), bound(Level::Key, r#"{"limits":{"rpm":500}}"#)];
    let begin = limiter.now();
    let clock = AtomicU64::new(begin);
    let (requests, tokens_used) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    storm(&limiter, &clock, begin + MINUTES * MINUTE, 9_000, |random, now| {
        let output = 1 + random % 60;
        let Ok(permit) = limiter.take(&chain, TARGET, &tokens(20, output), now) else { return };
        // A thread may be held up between two bounds, so each has the time at which it let the call through.
        let [of_key, of_project] = [permit.taken[0].share.at, permit.taken[1].share.at];
        // One in eight fails before it is sent.
        if random % 8 == 0 {
            return permit.cancel();
        }
        permit.settle(Some((20, output / 2)), clock.load(Ordering::Relaxed));
        requests.lock().push((of_key, 1));
        tokens_used.lock().push((of_project, 20 + output / 2));
    });
    let (requests, tokens_used) = (requests.into_inner(), tokens_used.into_inner());
    let total = requests.len() as u64;
    assert!(busiest(requests, MINUTE) <= 500);
    assert!(busiest(tokens_used, MINUTE) <= 30_000);
    assert!(total >= 500 * MINUTES * 98 / 100, "{total} of {}", 500 * MINUTES);
}

#[test]
fn of_sixty_four_calls_at_once_so_many_run_as_may() {
    let limiter = Limiter::default();
    let chain =
        [bound(Level::Project, r#"{"limits":{"rpm":60}}"#), bound(Level::Key, r#"{"limits":{"concurrency":7}}"#)];
    let all_tried = std::sync::Barrier::new(64);
    for round in 1..=5 {
        let let_in = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let permit = limiter.take(&chain, TARGET, &Demand::default(), limiter.now());
                    let_in.fetch_add(u64::from(permit.is_ok()), Ordering::SeqCst);
                    all_tried.wait();
                    match permit {
                        Ok(permit) => permit.settle(None, limiter.now()),
                        Err(full) => assert_eq!((full.dimension, full.used), (Dimension::Concurrency, 7)),
                    }
                });
            }
        });
        assert_eq!(let_in.into_inner(), 7);
        // Those that were refused inside took nothing outside.
        assert_eq!(used(&limiter, &chain, limiter.now())[0], (Dimension::Rpm, 7 * round));
    }
}

#[test]
fn nearly_all_tokens_of_a_limit_can_be_used() {
    const MINUTES: u64 = 5;
    let limiter = Limiter::default();
    let chain = key(r#"{"tpm":20000}"#);
    let begin = limiter.now();
    let clock = AtomicU64::new(begin);
    let used = Mutex::new(Vec::new());
    storm(&limiter, &clock, begin + MINUTES * MINUTE, 9_000, |random, now| {
        let output = 1 + random % 60;
        let Ok(permit) = limiter.take(&chain, TARGET, &tokens(20, output), now) else { return };
        let at = permit.taken[0].share.at;
        permit.settle(Some((20, output / 2)), clock.load(Ordering::Relaxed));
        used.lock().push((at, 20 + output / 2));
    });
    let used = used.into_inner();
    let total: u64 = used.iter().map(|(_, n)| n).sum();
    assert!(busiest(used, MINUTE) <= 20_000);
    assert!(total >= 20_000 * MINUTES * 98 / 100, "{total} of {}", 20_000 * MINUTES);
}
