//! Which attempts are meant.

use crate::input::Findings;
use crate::power::Power;
use crate::wire::read_time;
use anykey_core::KeyId;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_store::{RequestFilter, StatusFilter};

/// A filter as it was written.
#[derive(Default)]
pub(super) struct Asked {
    pub key: Option<String>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub status: Option<String>,
    pub outcome: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
}

impl Asked {
    pub fn read(self, power: &Power, findings: &mut Findings) -> RequestFilter {
        let key = self.key.and_then(|text| findings.check("key", KeyId::parse(&text).ok_or("is a key's id")));
        let status = self.status.and_then(|text| {
            findings.check("status", status(&text).ok_or("is a status such as 404, or a class such as 4xx"))
        });
        let outcome = self.outcome.and_then(|text| {
            let known = || format!("is one of {}", Outcome::ALL.map(Outcome::name).join(", "));
            findings.check("outcome", Outcome::from_name(&text).ok_or_else(known))
        });
        let mut time = |name, text: Option<String>| text.and_then(|text| findings.check(name, read_time(&text)));
        RequestFilter {
            within: power.sight(),
            key,
            status,
            outcome,
            since: time("since", self.since),
            until: time("until", self.until),
            model: self.model,
            provider: self.provider,
        }
    }
}

fn status(text: &str) -> Option<StatusFilter> {
    match text.as_bytes() {
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(StatusFilter::Class(u16::from(class - b'0'))),
        // A caller who hung up got no status.
        b"0" => Some(StatusFilter::Exactly(0)),
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok().map(StatusFilter::Exactly),
        _ => None,
    }
}

/// Whether a record is meant, decided without the database.
pub(super) fn matches(filter: &RequestFilter, record: &AttemptRecord) -> bool {
    let model = |name: &String| **name == *record.model_asked || **name == *record.model_sent;
    let status = |wanted: StatusFilter| match wanted {
        StatusFilter::Exactly(status) => record.status == status,
        StatusFilter::Class(class) => record.status / 100 == class,
    };
    filter.key.is_none_or(|key| key == record.key)
        && filter.model.as_ref().is_none_or(model)
        && filter.provider.as_ref().is_none_or(|name| **name == *record.provider)
        && filter.status.is_none_or(status)
        && filter.outcome.is_none_or(|outcome| outcome == record.outcome)
        && filter.since.is_none_or(|since| record.started_at >= since)
        && filter.until.is_none_or(|until| record.started_at < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_or_classes() {
        assert_eq!(status("404"), Some(StatusFilter::Exactly(404)));
        assert_eq!(status("4xx"), Some(StatusFilter::Class(4)));
        assert_eq!(status("0"), Some(StatusFilter::Exactly(0)));
        for text in ["", "4x", "9xx", "40", "4044", "abc", "xxx", "600"] {
            assert_eq!(status(text), None, "{text}");
        }
    }
}
