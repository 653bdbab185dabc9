//! How limits stand, in the headers where the SDKs of each dialect look for them. Of several limits of one kind the one
//! with the least left is shown.

use crate::Worker;
use crate::route::Target;
use anykey_core::Dialect;
use anykey_core::controls::Unit;
use anykey_core::limit::Standing;
use anykey_net::server::Answer;
use anykey_store::LiveKey;
use std::time::Duration;

/// Adds the headers to an answer to a key that has limits. `target`: the model that served, for limits of models.
pub(crate) fn stamp<B>(
    worker: &Worker,
    key: &LiveKey,
    target: Option<Target<'_>>,
    dialect: Dialect,
    answer: &mut Answer<B>,
) {
    if !key.bounds.iter().any(|bound| bound.controls.has_limits()) {
        return;
    }
    let limiter = &worker.gateway.limiter;
    let (mut requests, mut tokens) = (None, None);
    limiter.standings(&key.bounds, target, limiter.now(), |standing| {
        let slot = match standing.dimension.unit() {
            Unit::Requests => &mut requests,
            Unit::Tokens => &mut tokens,
            Unit::Calls => return,
        };
        let shown = Shown::of(&standing);
        if slot.as_ref().is_none_or(|other: &Shown| shown.remaining < other.remaining) {
            *slot = Some(shown);
        }
    });
    for (unit, shown) in [("requests", requests), ("tokens", tokens)] {
        let Some(shown) = shown else { continue };
        match dialect {
            Dialect::Anthropic => anthropic(unit, &shown, worker.now_ms(), answer),
            // Gemini has no such headers of its own.
            Dialect::OpenAi | Dialect::Gemini => openai(unit, &shown, answer),
        }
    }
}

struct Shown {
    limit: u64,
    remaining: u64,
    reset: Duration,
}

impl Shown {
    fn of(standing: &Standing<'_>) -> Self {
        Shown { limit: standing.limit, remaining: standing.remaining(), reset: standing.reset }
    }
}

fn openai<B>(unit: &str, shown: &Shown, answer: &mut Answer<B>) {
    answer.number(&format!("x-ratelimit-limit-{unit}"), shown.limit);
    answer.number(&format!("x-ratelimit-remaining-{unit}"), shown.remaining);
    answer.field(&format!("x-ratelimit-reset-{unit}"), span(shown.reset).as_bytes());
}

fn anthropic<B>(unit: &str, shown: &Shown, now_ms: i64, answer: &mut Answer<B>) {
    answer.number(&format!("anthropic-ratelimit-{unit}-limit"), shown.limit);
    answer.number(&format!("anthropic-ratelimit-{unit}-remaining"), shown.remaining);
    let at = now_ms.saturating_add(i64::try_from(shown.reset.as_millis()).unwrap_or(i64::MAX));
    // The next whole second: in the one before, something may still count.
    let at = jiff::Timestamp::from_second(at.div_euclid(1000) + i64::from(at.rem_euclid(1000) > 0));
    if let Ok(at) = at {
        answer.field(&format!("anthropic-ratelimit-{unit}-reset"), at.to_string().as_bytes());
    }
}

/// As OpenAI writes it: `20ms`, `6.5s`, `6m0s`, `23h59m59s`.
fn span(span: Duration) -> String {
    let millis = u64::try_from(span.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    if millis < 60_000 {
        let (seconds, rest) = (millis / 1000, millis % 1000);
        let fraction = format!(".{rest:03}");
        return format!("{seconds}{}s", fraction.trim_end_matches('0').trim_end_matches('.'));
    }
    let seconds = millis.div_ceil(1000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_openai_does() {
        for (millis, text) in [
            (0, "0ms"),
            (20, "20ms"),
            (1000, "1s"),
            (6_500, "6.5s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (86_399_001, "24h0m0s"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn anthropics_reset_is_a_moment() {
        let mut answer = Answer::new(200, ());
        let shown = Shown { limit: 60, remaining: 12, reset: Duration::from_millis(1_500) };
        anthropic("requests", &shown, 1_700_000_000_000, &mut answer);
        let fields: Vec<(String, String)> = answer
            .fields()
            .map(|(n, v)| (String::from_utf8(n.to_vec()).unwrap(), String::from_utf8(v.to_vec()).unwrap()))
            .collect();
        let expected = [
            ("anthropic-ratelimit-requests-limit", "60"),
            ("anthropic-ratelimit-requests-remaining", "12"),
            ("anthropic-ratelimit-requests-reset", "2023-11-14T22:13:22Z"),
        ];
        assert_eq!(fields, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
