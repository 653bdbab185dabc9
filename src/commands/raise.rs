//! `raise`: more than a limit of money for a while, on a key and on everything above it.

use crate::cli::when::Moment;
use crate::cli::{Failure, values};
use anykey_core::{Nanos, Span};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What is granted.
#[derive(Args, Debug)]
pub struct RaiseArgs {
    /// How much more may be spent, in dollars
    #[arg(long, value_name = "USD", value_parser = amount, requires = "until", required_unless_present = "none")]
    by: Option<String>,

    /// Which limit is raised
    #[arg(long, value_name = "WINDOW", value_parser = window(), default_value = "total")]
    of: Span,

    /// Until when: 3d, 12h or 2026-12-31
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    until: Option<Moment>,

    /// End everything that was granted for a while
    #[arg(long, conflicts_with_all = ["by", "until"])]
    none: bool,
}

fn amount(text: &str) -> Result<String, String> {
    Nanos::parse_usd(text).map(|amount| amount.to_string()).map_err(|error| error.to_string())
}

fn window() -> impl TypedValueParser<Value = Span> {
    PossibleValuesParser::new(Span::ALL.map(Span::field)).try_map(|name| Span::parse(&name).ok_or("no such window"))
}

impl RaiseArgs {
    /// The policy with what is granted, and whether it changes.
    pub fn apply(&self, controls: &Map<String, Value>, now: Timestamp) -> Result<Value, Failure> {
        let mut controls = controls.clone();
        let Some(spend) = controls.get_mut("spend").and_then(Value::as_object_mut) else {
            return Err(Failure::usage("there is no limit of money here"));
        };
        if self.none {
            spend.remove("increases");
            return Ok(Value::Object(controls));
        }
        if !spend.contains_key(self.of.field()) {
            return Err(Failure::usage(format!("there is no {} limit of money here", self.of.word())));
        }
        let until = self.until.map(|until| until.after(now).to_string());
        let increases = spend.entry("increases").or_insert_with(|| json!([]));
        if let Some(increases) = increases.as_array_mut() {
            increases.push(json!({ "window": self.of.field(), "usd": self.by, "until": until }));
        }
        Ok(Value::Object(controls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RaiseArgs,
    }

    fn raise(args: &[&str], controls: Value) -> Result<Value, String> {
        let line = Line::try_parse_from([&["raise"], args].concat()).map_err(|error| error.to_string())?;
        let now = "2026-11-22T00:00:00Z".parse().unwrap();
        line.args.apply(controls.as_object().unwrap(), now).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_granted_is_put_beside_what_is_there() {
        let one = json!({"window": "day", "usd": "1", "until": "2026-11-23T00:00:00Z", "granted_by": "ada"});
        let now = json!({"spend": {"day": "5", "increases": [one]}, "limits": {"rpm": 7}});
        let raised = raise(&["--by", "2.50", "--of", "day", "--until", "3d"], now.clone()).unwrap();
        let new = json!({"window": "day", "usd": "2.5", "until": "2026-11-25T00:00:00Z"});
        assert_eq!(raised, json!({"spend": {"day": "5", "increases": [one, new]}, "limits": {"rpm": 7}}));
        assert_eq!(raise(&["--none"], now).unwrap(), json!({"spend": {"day": "5"}, "limits": {"rpm": 7}}));
    }

    #[test]
    fn what_cannot_be_raised_is_told() {
        let day = || json!({"spend": {"day": "5"}});
        for (args, controls, says) in [
            (&["--by", "1", "--until", "3d"][..], day(), "no total limit"),
            (&["--by", "1", "--of", "day", "--until", "3d"], json!({}), "no limit of money"),
            (&["--by", "1", "--of", "day"], day(), "--until"),
            (&["--by=-1", "--until", "3d"], day(), "negative"),
            (&["--none", "--by", "1", "--until", "3d"], day(), "cannot be used with"),
            (&[], day(), "--by"),
        ] {
            let error = raise(args, controls).unwrap_err();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }
}
