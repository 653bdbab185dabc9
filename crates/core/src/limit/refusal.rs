//! The words of a limit that refuses: which one, whose it is, how it stands, and when it is worth coming back.

use super::Full;
use crate::controls::{Dimension, Unit};
use crate::{Code, Refusal};
use std::time::Duration;

impl From<&Full> for Refusal {
    fn from(full: &Full) -> Self {
        refusal(full)
    }
}

fn refusal(full: &Full) -> Refusal {
    let Full { bound, dimension, limit, used, wanted, .. } = full;
    let models = full.models.as_ref().map(|glob| format!(" for the models `{glob}`")).unwrap_or_default();
    let words = if *limit == 1 { dimension.words().replacen("s ", " ", 1) } else { dimension.words().to_owned() };
    let limited = format!("{bound} is limited to {limit} {words}{models} ({})", dimension.name());
    let (message, seconds) = match full.wait {
        None => (
            format!(
                "{limited}, and this call alone may use {wanted} {}. It does not fit however long you wait: {}.",
                unit(*dimension),
                advice(*dimension)
            ),
            dimension.window_seconds().unwrap_or(1) as u32,
        ),
        Some(_) if *dimension == Dimension::Concurrency => {
            (format!("{limited}, and {used} are running. Send the call again when one of them has ended."), 1)
        }
        Some(wait) => {
            let seconds = whole_seconds(wait);
            let wanted = if *wanted == 1 { String::new() } else { format!(", and this call may use {wanted}") };
            (format!("{limited}: {used} used{wanted}. Send it again in {seconds} s."), seconds)
        }
    };
    let refusal = Refusal::new(Code::RateLimited, sentence(message)).retry_after(seconds);
    if full.wait.is_none() { refusal.hopeless() } else { refusal }
}

const fn unit(dimension: Dimension) -> &'static str {
    match dimension.unit() {
        Unit::Requests => "requests",
        Unit::Tokens => "tokens",
        Unit::Calls => "calls",
    }
}

const fn advice(dimension: Dimension) -> &'static str {
    match dimension.unit() {
        Unit::Tokens => "set a lower max_tokens, send less, or ask for a higher limit",
        Unit::Requests | Unit::Calls => "ask for a higher limit",
    }
}

/// `Retry-After` knows whole seconds only; one too few would be refused again.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}

/// Begins with a capital letter.
fn sentence(text: String) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bound, Controls, Level};
    use std::sync::Arc;

    fn full(dimension: Dimension, wanted: u64, wait: Option<Duration>) -> Full {
        let controls = Arc::new(Controls::default());
        let bound = Bound { level: Level::Project, id: [0; 16], name: "search".into(), controls };
        Full { bound, models: None, dimension, limit: 60, used: 58, wanted, wait }
    }

    #[test]
    fn a_refusal_names_the_limit_its_owner_and_the_time() {
        let said = refusal(&full(Dimension::Rpm, 1, Some(Duration::from_micros(12_000_001))));
        assert_eq!((said.retry_after, said.hopeless), (Some(13), false));
        assert_eq!(
            said.message,
            "The project `search` is limited to 60 requests per minute (RPM): 58 used. Send it again in 13 s."
        );
        let said = refusal(&full(Dimension::Tpm, 90, None));
        assert_eq!((said.retry_after, said.hopeless), (Some(60), true));
        assert!(said.message.contains("this call alone may use 90 tokens"), "{}", said.message);
        let said = refusal(&full(Dimension::Concurrency, 1, Some(Duration::ZERO)));
        assert_eq!(said.retry_after, Some(1));
        let of_models =
            Full { models: Some("gpt-*".parse().unwrap()), ..full(Dimension::Tpd, 9, Some(Duration::ZERO)) };
        assert!(refusal(&of_models).message.contains("tokens per day for the models `gpt-*` (TPD)"));
    }
}
