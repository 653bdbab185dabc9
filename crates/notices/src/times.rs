//! Times as people and programs read them.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// `2026-11-21T10:00:00Z`
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default()
}

/// `2026-11-21 10:00 UTC`
pub fn for_people(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}

/// The same facts with every time, a member whose name ends in `_at`, as RFC 3339.
pub fn spelled(data: &Map<String, Value>) -> Map<String, Value> {
    let spell = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Number(ms) if name.ends_with("_at") => ms.as_i64().map_or(Value::Null, |ms| rfc3339(ms).into()),
            Value::Object(inner) => spelled(inner).into(),
            other => other.clone(),
        };
        (name.clone(), value)
    };
    data.iter().map(spell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_spelled_however_deep() {
        let data = json!({"a": {"ends_at": 1000, "n": 5, "made_at": null}, "at": 7});
        let spelled = Value::Object(spelled(data.as_object().unwrap()));
        assert_eq!(spelled, json!({"a": {"ends_at": "1970-01-01T00:00:01Z", "n": 5, "made_at": null}, "at": 7}));
        assert_eq!(for_people(1_790_000_000_000), "2026-09-21 14:13 UTC");
    }
}
