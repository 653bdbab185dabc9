//! What applies to a key: first whether a call would be let in now, then every control with its source and how it stands.
//! Both planes answer with it, so that a key and its manager read the same.

use crate::controls::{Bound, Controls, Dimension, Level, Models};
use crate::limit::{Full, Limiter, Standing};
use crate::spend::{self, Span, Spend, SpendLimit};
use crate::{Code, Nanos, Refusal, Scope, Scopes};
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// What a key says of itself beside its bounds.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub name: &'a str,
    /// Why it cannot be used at all.
    pub dead: Option<Refusal>,
    pub scopes: Scopes,
    pub browser_allowed: bool,
    /// What its calls spend from, its own last.
    pub purses: Vec<Purse<'a>>,
    /// RFC 3339.
    pub expires_at: Option<String>,
    pub environment: Option<&'a str>,
}

/// The most that may be spent, by a key or by all that is below somebody above it, and what was. A temporary key spends
/// from its parent's as well.
#[derive(Clone, Copy, Debug)]
pub struct Purse<'a> {
    pub level: Level,
    /// Whose it is.
    pub name: &'a str,
    pub span: Span,
    pub limit: Nanos,
    pub spent: Nanos,
    /// When nothing of it is used any more; never of a total.
    pub resets_at: Option<Timestamp>,
    /// The largest share of it, in hundredths, that somebody is told of and that is used up.
    pub warning: Option<u8>,
    /// It refuses nothing.
    pub warn_only: bool,
}

impl Purse<'_> {
    pub fn left(&self) -> Nanos {
        Nanos(self.limit.0.saturating_sub(self.spent.0).max(0))
    }

    const fn control(&self) -> &'static str {
        match self.span {
            Span::Total => "spend_limit",
            Span::Day => "spend.day",
            Span::Week => "spend.week",
            Span::Month => "spend.month",
        }
    }

    fn resets_in(&self) -> Option<u64> {
        let left = self.resets_at?.duration_since(Timestamp::now());
        Some(u64::try_from(left.as_millis().max(0).unsigned_abs().div_ceil(1000)).unwrap_or(u64::MAX))
    }
}

/// What policies limit at a moment, with what was spent of each limit, in the order of [`spend::limits_of`].
pub fn purses<'b>(bounds: &'b [Bound], spends: &[Spend], at: i64) -> Vec<Purse<'b>> {
    let limits = spend::limits_of(bounds).zip(spends);
    let purse = |(limit, spend): (SpendLimit<'b>, &Spend)| Purse {
        level: limit.bound.level,
        name: &limit.bound.name,
        span: limit.span,
        limit: limit.limit.saturating_add(limit.extra(at)),
        warning: limit.bound.controls.spend.warning(spend.spent, limit.limit.saturating_add(limit.extra(at))),
        spent: spend.spent,
        resets_at: spend.window.resets_at(),
        warn_only: limit.warns_only(),
    };
    limits.map(purse).collect()
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether a call that comes now, and that the lists below let through, would be let in.
    pub allowed: bool,
    /// The same in a sentence.
    pub verdict: String,
    pub refused_by: Option<RefusedBy>,
    /// Outermost first.
    pub controls: Vec<Applied>,
}

/// The control that would refuse a call now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedBy {
    pub control: &'static str,
    pub level: &'static str,
    pub name: String,
    /// The code that the call would get.
    pub code: &'static str,
    /// Seconds until it would be let in, where that is only a question of time.
    pub retry_after: Option<u32>,
}

/// One control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// `rpm`, `models`, `ips`, `spend_limit`: the name of the setting.
    pub control: &'static str,
    /// Where it is set.
    pub level: &'static str,
    pub name: String,
    /// The models that a limit is for, where it is not for all.
    pub models: Option<String>,
    /// What a list says.
    pub value: Option<String>,
    pub limit: Option<Amount>,
    pub used: Option<Amount>,
    pub remaining: Option<Amount>,
    /// Seconds until nothing of a limit is used any more.
    pub resets_in: Option<u64>,
    /// The moment, of a window of the calendar.
    pub resets_at: Option<String>,
    /// The largest share of a limit of money that is used up and worth a warning: 50, 80 or 100 percent, or as it is set.
    pub warning: Option<u8>,
    /// A limit of money that refuses nothing.
    pub warn_only: bool,
}

/// A count, or dollars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    Count(u64),
    Usd(String),
}

/// Puts the answer together.
pub fn report(facts: &Facts<'_>, bounds: &[Bound], limiter: &Limiter) -> Report {
    let now = limiter.now();
    let mut controls = Vec::new();
    let mut full: Option<Full> = None;
    let mut full_models: Vec<String> = Vec::new();
    for bound in bounds {
        lists(bound, &mut controls);
        limiter.all_standings(std::slice::from_ref(bound), now, |standing| {
            controls.push(counted(&standing));
            if standing.remaining() > 0 {
                return;
            }
            match standing.models {
                // The innermost is the one that a call meets first.
                None => full = Some(as_full(&standing)),
                Some(glob) => full_models.push(glob.to_string()),
            }
        });
    }
    of_key(facts, &mut controls);
    let refused = refused(facts, full.as_ref());
    let verdict = match &refused {
        Some((_, refusal)) => format!("A call would be refused now ({}). {}", refusal.code.name(), refusal.message),
        None if full_models.is_empty() => "A call would be let in now.".to_owned(),
        None => format!(
            "A call would be let in now, but not one for the models {}: their limits are used up.",
            full_models.join(", ")
        ),
    };
    let refused_by = refused.map(|(by, _)| by);
    Report { allowed: refused_by.is_none(), verdict, refused_by, controls }
}

fn refused(facts: &Facts<'_>, full: Option<&Full>) -> Option<(RefusedBy, Refusal)> {
    let by = |control, level: Level, name: &str, refusal: Refusal| {
        let by = RefusedBy {
            control,
            level: level.name(),
            name: name.to_owned(),
            code: refusal.code.name(),
            retry_after: refusal.retry_after,
        };
        (by, refusal)
    };
    if let Some(dead) = &facts.dead {
        return Some(by("status", Level::Key, facts.name, dead.clone()));
    }
    if let Some(full) = full {
        return Some(by(full.dimension.field(), full.bound.level, &full.bound.name, Refusal::from(full)));
    }
    let purse = facts.purses.iter().find(|purse| !purse.warn_only && purse.spent >= purse.limit)?;
    let Purse { level, name, limit, spent, .. } = *purse;
    let whose = spend::whose(level, name, purse.span);
    let resets = spend::resets(purse.resets_at);
    let message = format!("{whose} is reached: ${spent} of ${limit} is spent. {resets}");
    Some(by(purse.control(), level, name, Refusal::new(Code::SpendLimitReached, message)))
}

fn as_full(standing: &Standing<'_>) -> Full {
    Full {
        bound: standing.bound.clone(),
        models: None,
        dimension: standing.dimension,
        limit: standing.limit,
        used: standing.used,
        wanted: 1,
        wait: Some(standing.next),
    }
}

fn counted(standing: &Standing<'_>) -> Applied {
    let windowed = standing.dimension != Dimension::Concurrency;
    Applied {
        models: standing.models.map(ToString::to_string),
        limit: Some(Amount::Count(standing.limit)),
        used: Some(Amount::Count(standing.used)),
        remaining: Some(Amount::Count(standing.remaining())),
        resets_in: windowed.then(|| seconds(standing.reset)),
        ..blank(standing.dimension.field(), standing.bound)
    }
}

fn seconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn blank(control: &'static str, bound: &Bound) -> Applied {
    Applied {
        control,
        level: bound.level.name(),
        name: bound.name.to_string(),
        models: None,
        value: None,
        limit: None,
        used: None,
        remaining: None,
        resets_in: None,
        resets_at: None,
        warning: None,
        warn_only: false,
    }
}

fn words<T: ToString>(entries: impl IntoIterator<Item = T>) -> String {
    entries.into_iter().map(|entry| entry.to_string()).collect::<Vec<_>>().join(", ")
}

/// The lists of a bound.
fn lists(bound: &Bound, controls: &mut Vec<Applied>) {
    let Controls { scopes, endpoints, models, routing, ips, .. } = &*bound.controls;
    let models = models.as_ref().map(|models| match models {
        Models::Allow(globs) => format!("allow {}", words(globs)),
        Models::Block(globs) => format!("block {}", words(globs)),
    });
    let said = [
        ("scopes", scopes.map(|set| words(set.iter().map(Scope::name)))),
        ("endpoints", endpoints.map(|set| words(set.iter().map(crate::Endpoint::name)))),
        ("models", models),
        ("routing", routing.as_ref().map(words)),
        ("ips", ips.as_ref().map(words)),
    ];
    let said = said.into_iter().filter_map(|(control, value)| Some((control, value?)));
    controls.extend(said.map(|(control, value)| Applied { value: Some(value), ..blank(control, bound) }));
}

/// What is no list and no rate, but a field of the key.
fn of_key(facts: &Facts<'_>, controls: &mut Vec<Applied>) {
    let own = |control, value| Applied {
        control,
        level: Level::Key.name(),
        name: facts.name.to_owned(),
        models: None,
        value,
        limit: None,
        used: None,
        remaining: None,
        resets_in: None,
        resets_at: None,
        warning: None,
        warn_only: false,
    };
    controls.push(own("scopes", Some(words(facts.scopes.iter().map(Scope::name)))));
    controls.push(own("browser", Some(if facts.browser_allowed { "allowed" } else { "not allowed" }.to_owned())));
    if let Some(environment) = facts.environment {
        controls.push(own("environment", Some(environment.to_owned())));
    }
    if let Some(at) = &facts.expires_at {
        controls.push(own("expires_at", Some(at.clone())));
    }
    let usd = |amount: Nanos| Some(Amount::Usd(amount.to_string()));
    controls.extend(facts.purses.iter().map(|purse| Applied {
        level: purse.level.name(),
        name: purse.name.to_owned(),
        resets_in: purse.resets_in(),
        resets_at: purse.resets_at.map(|at| at.to_string()),
        warning: purse.warning,
        warn_only: purse.warn_only,
        limit: usd(purse.limit),
        used: usd(purse.spent),
        remaining: usd(purse.left()),
        ..own(purse.control(), None)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Demand, Target};
    use std::sync::Arc;

    fn facts() -> Facts<'static> {
        Facts {
            name: "ci",
            dead: None,
            scopes: Scopes::DEFAULT,
            browser_allowed: false,
            purses: vec![purse("ci", 5_000_000_000, 1_000_000_000)],
            expires_at: None,
            environment: Some("prod"),
        }
    }

    fn purse(name: &str, limit: i64, spent: i64) -> Purse<'_> {
        let (limit, spent) = (Nanos(limit), Nanos(spent));
        Purse {
            level: Level::Key,
            name,
            span: Span::Total,
            limit,
            spent,
            resets_at: None,
            warning: None,
            warn_only: false,
        }
    }

    fn bound(level: Level, name: &str, controls: &str) -> Bound {
        let controls = Arc::new(Controls::from_json(controls).unwrap());
        Bound { level, id: [level as u8; 16], name: name.into(), controls }
    }

    #[test]
    fn the_verdict_comes_first_and_names_what_refuses() {
        let limiter = Limiter::default();
        let chain = [
            bound(Level::Project, "search", r#"{"limits":{"rpm":2},"ips":["10.0.0.0/8"]}"#),
            bound(Level::Key, "ci", r#"{"models":{"allow":["sim/*"]},"model_limits":{"sim/*":{"rpm":1}}}"#),
        ];
        let open = report(&facts(), &chain, &limiter);
        assert!(open.allowed && open.verdict == "A call would be let in now.", "{open:?}");
        let rows: Vec<(&str, &str)> = open.controls.iter().map(|c| (c.level, c.control)).collect();
        let expected = [
            ("project", "ips"),
            ("project", "rpm"),
            ("key", "models"),
            ("key", "rpm"),
            ("key", "scopes"),
            ("key", "browser"),
            ("key", "environment"),
            ("key", "spend_limit"),
        ];
        assert_eq!(rows, expected);
        let call = |model| limiter.take(&chain, Target { provider: "sim", model }, &Demand::default(), limiter.now());
        call("echo").unwrap().settle(None, limiter.now());
        let partly = report(&facts(), &chain, &limiter);
        assert!(partly.allowed && partly.verdict.contains("not one for the models sim/*"), "{}", partly.verdict);
        let other = Target { provider: "openai", model: "x" };
        limiter.take(&chain, other, &Demand::default(), limiter.now()).unwrap().settle(None, limiter.now());
        let full = report(&facts(), &chain, &limiter);
        let by = full.refused_by.unwrap();
        assert_eq!((by.control, by.level, &*by.name, by.code), ("rpm", "project", "search", "rate_limited"));
        assert!((1..=60).contains(&by.retry_after.unwrap()));
        assert_eq!(full.controls[1].remaining, Some(Amount::Count(0)));
    }

    #[test]
    fn what_ends_a_key_comes_before_what_bounds_it() {
        let limiter = Limiter::default();
        let dead = Refusal::new(Code::KeyDisabled, "The API key `ci` is disabled.");
        let used_up = purse("parent", 1, 1);
        let spent = Facts { purses: [vec![used_up], facts().purses].concat(), ..facts() };
        assert_eq!(report(&spent, &[], &limiter).refused_by.unwrap().code, "spend_limit_reached");
        let soft = Purse { warn_only: true, ..used_up };
        let told = report(&Facts { purses: vec![soft], ..facts() }, &[], &limiter);
        assert!(told.allowed && told.controls.iter().any(|control| control.warn_only), "{}", told.verdict);
        let month = Purse {
            level: Level::Project,
            span: Span::Month,
            resets_at: Some("2026-12-01T00:00:00Z".parse().unwrap()),
            ..purse("search", 1, 1)
        };
        let by_month = report(&Facts { purses: vec![month], ..facts() }, &[], &limiter);
        assert_eq!(
            by_month.verdict,
            "A call would be refused now (spend_limit_reached). The monthly spend limit of the project `search` is \
             reached: $0.000000001 of $0.000000001 is spent. It resets at 2026-12-01T00:00:00Z."
        );
        let by = by_month.refused_by.unwrap();
        assert_eq!((by.control, by.level, &*by.name), ("spend.month", "project", "search"));
        let both = report(&Facts { dead: Some(dead), ..spent }, &[], &limiter);
        assert_eq!(both.refused_by.unwrap().code, "key_disabled");
        assert!(both.verdict.contains("is disabled"));
    }
}
