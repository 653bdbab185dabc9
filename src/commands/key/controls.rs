//! The flags for what bounds a key, put together into the `controls` of the admin API.

use anykey_core::controls::{AddressRange, Dimension, Limits, ModelGlob, NameGlob};
use anykey_core::{Endpoint, Nanos, Span};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value, json};

/// Takes a bound away.
const ANY: &str = "any";
const NONE: &str = "none";

/// What bounds a key. Flags that are not given leave their bound as it is.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Bounds")]
pub struct ControlFlags {
    /// Requests in any 60 seconds, or none for no limit
    #[arg(long, value_name = "N", value_parser = limit)]
    rpm: Option<Bound>,

    /// Requests in any 60 minutes
    #[arg(long, value_name = "N", value_parser = limit)]
    rph: Option<Bound>,

    /// Requests in any 24 hours
    #[arg(long, value_name = "N", value_parser = limit)]
    rpd: Option<Bound>,

    /// Tokens, in and out, in any 60 seconds
    #[arg(long, value_name = "N", value_parser = limit)]
    tpm: Option<Bound>,

    /// Tokens, in and out, in any 24 hours
    #[arg(long, value_name = "N", value_parser = limit)]
    tpd: Option<Bound>,

    /// Calls that run at the same time
    #[arg(long, value_name = "N", value_parser = limit)]
    concurrency: Option<Bound>,

    /// Dollars that may be spent in a calendar day, or none for no limit
    #[arg(long, value_name = "USD", value_parser = amount)]
    daily_budget: Option<Spend>,

    /// Dollars that may be spent in a calendar week, which begins on Monday
    #[arg(long, value_name = "USD", value_parser = amount)]
    weekly_budget: Option<Spend>,

    /// Dollars that may be spent in a calendar month
    #[arg(long, value_name = "USD", value_parser = amount)]
    monthly_budget: Option<Spend>,

    /// By whose calendar days, weeks and months begin, such as Europe/Zurich; without one UTC's, or what is set above
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// A limit of money that warns and refuses nothing; may be given several times; none for all to hold
    #[arg(long = "warn-only", value_name = "WINDOW", value_parser = window())]
    warn_only: Vec<String>,

    /// A limit for some models, such as 'openai/gpt-5*=rpm:5,tpm:20000'; may be given several times
    #[arg(long = "model-limit", value_name = "PATTERN=LIMITS", value_parser = model_limit)]
    model_limits: Vec<(String, Limits)>,

    /// Allow only models of this pattern, such as 'openai/*' or 'gpt-4o*'; may be given several times; any for all
    #[arg(long = "model", value_name = "PATTERN", value_parser = model)]
    models: Vec<String>,

    /// Allow all models but those of this pattern; may be given several times; any for all
    #[arg(long = "block-model", value_name = "PATTERN", value_parser = model, conflicts_with = "models")]
    blocked: Vec<String>,

    /// Let callers ask for models by this name only: an alias or a model as they write it; may be given several times; any for all
    #[arg(long = "route", value_name = "NAME", value_parser = name)]
    routing: Vec<String>,

    /// Accept calls from this address or range only, such as 10.0.0.0/8; may be given several times; any for all
    #[arg(long = "ip", value_name = "RANGE", value_parser = range)]
    ips: Vec<String>,

    /// Accept calls of this endpoint only; may be given several times; any for all
    #[arg(long = "endpoint", value_name = "NAME", value_parser = endpoint(), hide_possible_values = true)]
    endpoints: Vec<String>,
}

/// A number, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    At(u64),
    Off,
}

/// An amount as it was written, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spend {
    AtMost(String),
    Any,
}

fn amount(text: &str) -> Result<Spend, String> {
    if text == NONE {
        return Ok(Spend::Any);
    }
    let read = Nanos::parse_usd(text).map(|amount| Spend::AtMost(amount.to_string()));
    read.map_err(|error| error.to_string())
}

fn limit(text: &str) -> Result<Bound, String> {
    if text == NONE {
        return Ok(Bound::Off);
    }
    match text.replace('_', "").parse() {
        Ok(n @ 1..) => Ok(Bound::At(n)),
        _ => Err("a limit is a number from 1, or none".into()),
    }
}

fn model(text: &str) -> Result<String, String> {
    match text {
        ANY => Ok(text.into()),
        _ => ModelGlob::parse(text).map(|glob| glob.to_string()).map_err(|error| error.to_string()),
    }
}

fn name(text: &str) -> Result<String, String> {
    NameGlob::parse(text).map(|glob| glob.to_string()).map_err(|error| error.to_string())
}

fn range(text: &str) -> Result<String, String> {
    match text {
        ANY => Ok(text.into()),
        _ => AddressRange::parse(text).map(|range| range.to_string()).map_err(|error| error.to_string()),
    }
}

fn endpoint() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Endpoint::ALL.map(Endpoint::name).into_iter().chain([ANY]))
}

fn window() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Span::ALL.map(Span::field).into_iter().chain([NONE]))
}

/// `openai/*=rpm:5,tpm:100`; `openai/*=none` takes them away.
fn model_limit(text: &str) -> Result<(String, Limits), String> {
    const WHAT: &str = "is a pattern and limits, such as 'openai/gpt-5*=rpm:5,tpm:20000', or 'openai/gpt-5*=none'";
    let (pattern, limits) = text.rsplit_once('=').ok_or(WHAT)?;
    let pattern = ModelGlob::parse(pattern).map_err(|error| error.to_string())?.to_string();
    if limits == NONE {
        return Ok((pattern, Limits::default()));
    }
    let mut map = Map::new();
    for limit in limits.split(',') {
        let (name, number) = limit.split_once(':').ok_or(WHAT)?;
        map.insert(name.to_ascii_lowercase(), json!(number.parse::<u64>().map_err(|_| WHAT)?));
    }
    let limits = serde_json::from_value(Value::Object(map)).map_err(|error| error.to_string())?;
    Ok((pattern, limits))
}

impl ControlFlags {
    fn limits(&self) -> [(Dimension, Option<Bound>); 6] {
        [
            (Dimension::Rpm, self.rpm),
            (Dimension::Rph, self.rph),
            (Dimension::Rpd, self.rpd),
            (Dimension::Tpm, self.tpm),
            (Dimension::Tpd, self.tpd),
            (Dimension::Concurrency, self.concurrency),
        ]
    }

    fn spend(&self) -> [(Span, Option<&Spend>); 3] {
        [
            (Span::Day, self.daily_budget.as_ref()),
            (Span::Week, self.weekly_budget.as_ref()),
            (Span::Month, self.monthly_budget.as_ref()),
        ]
    }

    fn of_money(&self) -> bool {
        self.time_zone.is_some() || !self.warn_only.is_empty() || self.spend().iter().any(|(_, limit)| limit.is_some())
    }

    pub fn is_empty(&self) -> bool {
        !self.of_money()
            && self.limits().iter().all(|(_, bound)| bound.is_none())
            && self.model_limits.is_empty()
            && [&self.models, &self.blocked, &self.routing, &self.ips, &self.endpoints].iter().all(|l| l.is_empty())
    }

    /// The controls as they shall be, from those that are; `None` where no flag was given.
    pub fn apply(&self, current: &Map<String, Value>) -> Option<Value> {
        if self.is_empty() {
            return None;
        }
        let mut controls = current.clone();
        let mut limits = object(&controls, "limits");
        for (dimension, bound) in self.limits() {
            match bound {
                Some(Bound::At(n)) => drop(limits.insert(dimension.field().into(), json!(n))),
                Some(Bound::Off) => drop(limits.remove(dimension.field())),
                None => {}
            }
        }
        put(&mut controls, "limits", Value::Object(limits));
        let mut spend = object(&controls, "spend");
        for (span, limit) in self.spend() {
            match limit {
                Some(Spend::AtMost(amount)) => drop(spend.insert(span.field().into(), json!(amount))),
                Some(Spend::Any) => drop(spend.remove(span.field())),
                None => {}
            }
        }
        if let Some(zone) = &self.time_zone {
            put(&mut spend, "time_zone", if zone == NONE { Value::Null } else { json!(zone) });
        }
        if !self.warn_only.is_empty() {
            let windows: Vec<&String> = self.warn_only.iter().filter(|window| *window != NONE).collect();
            put(&mut spend, "warn_only", if windows.is_empty() { Value::Null } else { json!(windows) });
        }
        if self.of_money() {
            // Also where it is empty: of a key a policy that does not name it leaves the limits as they are.
            controls.insert("spend".into(), Value::Object(spend));
        }
        let mut model_limits = object(&controls, "model_limits");
        for (pattern, limits) in &self.model_limits {
            match limits.is_empty() {
                true => drop(model_limits.remove(pattern)),
                false => drop(model_limits.insert(pattern.clone(), json!(limits))),
            }
        }
        put(&mut controls, "model_limits", Value::Object(model_limits));
        if !self.models.is_empty() {
            put(&mut controls, "models", list(&self.models).map_or(Value::Null, |globs| json!({ "allow": globs })));
        }
        if !self.blocked.is_empty() {
            put(&mut controls, "models", list(&self.blocked).map_or(Value::Null, |globs| json!({ "block": globs })));
        }
        for (field, names) in [("routing", &self.routing), ("ips", &self.ips), ("endpoints", &self.endpoints)] {
            if !names.is_empty() {
                put(&mut controls, field, list(names).map_or(Value::Null, |names| json!(names)));
            }
        }
        Some(Value::Object(controls))
    }
}

/// The entries; none where `any` is among them.
fn list(entries: &[String]) -> Option<&[String]> {
    (!entries.iter().any(|entry| entry == ANY)).then_some(entries)
}

fn object(controls: &Map<String, Value>, field: &str) -> Map<String, Value> {
    controls.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Sets a field, or takes it away where nothing is left of it.
fn put(controls: &mut Map<String, Value>, field: &str, value: Value) {
    if value.is_null() || value.as_object().is_some_and(Map::is_empty) {
        controls.remove(field);
    } else {
        controls.insert(field.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ControlFlags,
    }

    fn apply(args: &[&str], current: Value) -> Result<Option<Value>, String> {
        let line = Line::try_parse_from([&["key"], args].concat()).map_err(|error| error.to_string())?;
        Ok(line.flags.apply(current.as_object().unwrap()))
    }

    #[test]
    fn flags_change_what_they_name_and_nothing_else() {
        assert_eq!(apply(&[], json!({"limits": {"rpm": 1}})), Ok(None));
        let current = json!({"limits": {"rpm": 1, "tpm": 9}, "ips": ["10.0.0.0/8"], "models": {"block": ["x"]}});
        let changed =
            apply(&["--rpm", "60", "--tpm", "none", "--model", "openai/*", "--model", "gpt-*"], current.clone());
        let expected =
            json!({"limits": {"rpm": 60}, "ips": ["10.0.0.0/8"], "models": {"allow": ["openai/*", "gpt-*"]}});
        assert_eq!(changed, Ok(Some(expected)));
        let opened = apply(&["--ip", "any", "--model", "any", "--rpm", "none", "--tpm", "none"], current);
        assert_eq!(opened, Ok(Some(json!({}))));
        let limited = apply(&["--model-limit", "openai/gpt-5*=rpm:5,tpm:20000", "--endpoint", "messages"], json!({}));
        let expected = json!({"model_limits": {"openai/gpt-5*": {"rpm": 5, "tpm": 20000}}, "endpoints": ["messages"]});
        assert_eq!(limited, Ok(Some(expected.clone())));
        assert_eq!(apply(&["--model-limit", "openai/gpt-5*=none", "--endpoint", "any"], expected), Ok(Some(json!({}))));
        let spend =
            apply(&["--monthly-budget", "99.50", "--daily-budget", "5", "--time-zone", "Asia/Tokyo"], json!({}));
        let expected = json!({"spend": {"day": "5", "month": "99.5", "time_zone": "Asia/Tokyo"}});
        assert_eq!(spend, Ok(Some(expected.clone())));
        let opened = ["--monthly-budget", "none", "--daily-budget", "none", "--time-zone", "none"];
        assert_eq!(apply(&opened, expected), Ok(Some(json!({ "spend": {} }))));
        let soft = apply(&["--warn-only", "day", "--warn-only", "month"], json!({ "spend": { "day": "5" } }));
        let expected = json!({ "spend": { "day": "5", "warn_only": ["day", "month"] } });
        assert_eq!(soft, Ok(Some(expected.clone())));
        assert_eq!(apply(&["--warn-only", "none"], expected), Ok(Some(json!({ "spend": { "day": "5" } }))));
        assert_eq!(
            apply(&["--route", "house-*", "--block-model", "gpt-5", "--ip", "::ffff:10.0.0.1"], json!({})),
            Ok(Some(json!({"routing": ["house-*"], "models": {"block": ["gpt-5"]}, "ips": ["10.0.0.1"]})))
        );
    }

    #[test]
    fn a_mistake_is_told_before_the_server_is_asked() {
        for (args, says) in [
            (["--rpm", "0"], "a limit is a number from 1, or none"),
            (["--warn-only", "year"], "month"),
            (["--daily-budget", "much"], "an amount is a decimal number of dollars"),
            (["--ip", "10.0.0.1/8"], "10.0.0.0/8 for the range"),
            (["--model", "a b"], "the only wildcard is *"),
            (["--endpoint", "chat"], "chat_completions"),
            (["--model-limit", "gpt-5=5"], "such as 'openai/gpt-5*=rpm:5"),
            (["--model-limit", "gpt-5=rps:5"], "rps"),
        ] {
            let error = apply(&args, json!({})).unwrap_err();
            assert!(error.contains(says), "{args:?}: {error}");
        }
        assert!(apply(&["--model", "a", "--block-model", "b"], json!({})).is_err());
    }
}
