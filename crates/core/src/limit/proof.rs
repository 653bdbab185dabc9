//! Every dimension of every level, for all models and for those of a pattern, under 64 threads that want three times what
//! there is, for several windows of a clock that their steps move on: never one more, and nearly all there is.

use super::tests::{TARGET, bound, busiest, storm, tokens};
use super::*;
use crate::controls::Unit;
use parking_lot::Mutex;
use std::sync::atomic::AtomicU64;

const LEVELS: [Level; 5] = [Level::Organisation, Level::Project, Level::Member, Level::ServiceAccount, Level::Key];
const WINDOWS: u64 = 3;
/// A call takes 20 tokens of input and answers with up to 30.
const INPUT: u64 = 20;

/// What came through of a limit: when it was admitted, and how much.
struct Storm {
    window: Micros,
    admitted: Vec<(Micros, u64)>,
    tries: u64,
}

fn run(level: Level, dimension: Dimension, limit: u64, of_a_pattern: bool) -> Storm {
    let field = dimension.field();
    let controls = if of_a_pattern {
        format!(r#"{{"model_limits":{{"{}/*":{{"{field}":{limit}}}}}}}"#, TARGET.provider)
    } else {
        format!(r#"{{"limits":{{"{field}":{limit}}}}}"#)
    };
    let chain = [bound(level, &controls)];
    let limiter = Limiter::default();
    let window = dimension.window_seconds().unwrap() * 1_000_000;
    let begin = limiter.now();
    let clock = AtomicU64::new(begin);
    let (admitted, tries) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    storm(&limiter, &clock, begin + WINDOWS * window, window / 900, |random, now| {
        tries.fetch_add(1, Ordering::Relaxed);
        let output = 1 + random % 60;
        let Ok(permit) = limiter.take(&chain, TARGET, &tokens(INPUT, output), now) else { return };
        let at = permit.taken[0].share.at;
        if random % 8 == 0 {
            return permit.cancel();
        }
        permit.settle(Some((INPUT, output / 2)), clock.load(Ordering::Relaxed));
        let amount = if dimension.unit() == Unit::Tokens { INPUT + output / 2 } else { 1 };
        admitted.lock().push((at, amount));
    });
    Storm { window, admitted: admitted.into_inner(), tries: tries.into_inner() }
}

#[test]
fn every_window_of_every_level_lets_all_of_its_limit_through_and_no_more() {
    for level in LEVELS {
        for dimension in Dimension::WINDOWED {
            for of_a_pattern in [false, true] {
                let limit = if dimension.unit() == Unit::Tokens { 20_000 } else { 500 };
                let Storm { window, admitted, tries } = run(level, dimension, limit, of_a_pattern);
                let what = format!("{} of a {}, of a pattern: {of_a_pattern}", dimension.name(), level.name());
                let total: u64 = admitted.iter().map(|(_, amount)| amount).sum();
                assert!(tries > 2 * WINDOWS * 500, "{what}: they wanted more than there is: {tries}");
                let most = busiest(admitted, window);
                assert!(most <= limit, "{what}: {most} of {limit} in one window");
                assert!(total >= limit * WINDOWS * 98 / 100, "{what}: {total} of {}", limit * WINDOWS);
            }
        }
    }
}

#[test]
fn of_sixty_four_at_once_as_many_run_as_any_level_lets_and_all_get_their_turn() {
    const MOST: u64 = 7;
    for level in LEVELS {
        for controls in [r#"{"limits":{"concurrency":7}}"#, r#"{"model_limits":{"*/*":{"concurrency":7}}}"#] {
            let limiter = Limiter::default();
            let chain = [bound(level, controls)];
            let (running, most, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
            std::thread::scope(|scope| {
                for _ in 0..64 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let permit = loop {
                                match limiter.take(&chain, TARGET, &Demand::default(), limiter.now()) {
                                    Ok(permit) => break permit,
                                    Err(full) => assert_eq!(full.dimension, Dimension::Concurrency),
                                }
                                std::thread::yield_now();
                            };
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::thread::yield_now();
                            running.fetch_sub(1, Ordering::SeqCst);
                            permit.settle(None, limiter.now());
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert!(most.into_inner() <= MOST, "{} {controls}", level.name());
            assert_eq!(done.into_inner(), 64 * 20);
        }
    }
    // All of the places can be taken.
    let limiter = Limiter::default();
    let chain = [bound(Level::Member, r#"{"limits":{"concurrency":7}}"#)];
    let take = || limiter.take(&chain, TARGET, &Demand::default(), limiter.now());
    let taken: Vec<Permit> = (0..MOST).map(|_| take().unwrap()).collect();
    assert!(take().is_err());
    drop(taken);
    drop(take().unwrap());
}
