//! What a notice says in a letter: a subject and a plain text, made of the facts that a webhook gets.

use crate::times::for_people;
use anykey_core::notice::Event;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// A subject line is read in a list.
const LONGEST_NAME: usize = 80;

/// A letter before it is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub subject: String,
    pub text: String,
}

pub fn letter(event: Event, data: &Map<String, Value>) -> Letter {
    let facts = Facts(data);
    let (what, next) = sentence(event, &facts);
    let mut text = format!("{what}\n");
    facts.list(&mut text);
    if !next.is_empty() {
        let _ = write!(text, "\n{next}\n");
    }
    text.push_str("\n-- \nThis was sent by anykey. Who gets which notices is set with `anykey destination`.\n");
    Letter { subject: format!("[anykey] {what}"), text }
}

struct Facts<'a>(&'a Map<String, Value>);

impl Facts<'_> {
    fn get(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.0.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// A text as one line.
    fn text(&self, path: &str) -> String {
        match self.get(path) {
            Some(Value::String(text)) => one_line(text),
            Some(Value::Number(n)) => n.to_string(),
            _ => String::new(),
        }
    }

    fn time(&self, path: &str) -> String {
        self.get(path).and_then(Value::as_i64).map(for_people).unwrap_or_default()
    }

    fn key(&self) -> String {
        format!("Key \"{}\"", self.text("key.name"))
    }

    /// What is known, a line each.
    fn list(&self, text: &mut String) {
        let rows = [
            ("Key", self.text("key.masked")),
            ("Id", self.text("key.id")),
            ("Project", join(&self.text("key.organisation"), &self.text("key.project"))),
            ("Owner", self.text("key.owner")),
            ("Environment", self.text("key.environment")),
            ("Ends", self.time("key.expires_at")),
            ("Last used", self.time("key.last_used_at")),
            ("Request", self.text("request.id")),
            ("Asked by", self.text("request.asked_by")),
            ("For", self.text("request.wants")),
            ("Because", self.text("request.reason")),
            ("Decided by", self.text("request.decided_by")),
            ("Answer", self.text("request.answer")),
            ("Until", self.time("request.until_at")),
            ("Spent", self.text("limit.used_usd")),
            ("Limit", self.text("limit.limit_usd")),
            ("Resets", self.time("limit.resets_at")),
            ("By", self.text("by")),
        ];
        let mut first = true;
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            if std::mem::take(&mut first) {
                text.push('\n');
            }
            let _ = writeln!(text, "{name}: {value}");
        }
    }
}

fn join(organisation: &str, project: &str) -> String {
    if organisation.is_empty() || project.is_empty() { String::new() } else { format!("{organisation}/{project}") }
}

/// Without line breaks and other signs that are not meant to be read, and cut.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(LONGEST_NAME) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain,
    }
}

/// What happened, and what to do next.
fn sentence(event: Event, facts: &Facts<'_>) -> (String, &'static str) {
    let key = facts.key();
    match event {
        Event::KeyExpiring => {
            let days = match facts.text("days").as_str() {
                "1" => "within a day".to_owned(),
                days => format!("within {days} days"),
            };
            (
                format!("{key} ends {days}"),
                "What uses it will be refused from then on. Extend it with `anykey key edit KEY --expires 90d`, or make \
                 another.",
            )
        }
        Event::KeyExpired => (
            format!("{key} has ended"),
            "What uses it is refused. Extend it with `anykey key edit KEY --expires 90d`, or make another.",
        ),
        Event::KeyUnused => (
            format!("{key} has not been used for {} days", facts.text("days")),
            "A key that nobody needs is a risk for nothing. Disable it with `anykey key disable KEY`.",
        ),
        Event::KeyReviewDue => (
            format!("{key} is to be reviewed"),
            "Is it still needed, and does it hold no more than it has to? Then set the next date with \
             `anykey key edit KEY --review-at DATE`.",
        ),
        Event::KeyRotationDue => (
            format!("{key} is to be rotated"),
            "`anykey key rotate KEY` makes a second secret; the first one lives on until the second is in use.",
        ),
        Event::KeyExposed => (
            format!("{key} was seen where secrets do not belong"),
            "Whoever saw it can use it while it is enabled. Give it a new secret with `anykey key regenerate KEY`.",
        ),
        Event::KeyDisabled => (format!("{key} was disabled"), "What uses it is refused until it is enabled again."),
        Event::ApprovalRequested => (
            format!("{} asks for {}", facts.text("request.asked_by"), facts.text("request.wants")),
            "Decide with `anykey approval approve REQUEST` or `anykey approval refuse REQUEST --reason WHY`.",
        ),
        Event::ApprovalDecided => {
            let made = !facts.text("request.new_key").is_empty() && facts.text("request.state") == "approved";
            let next = if made { "Collect its secret, once, with `anykey approval collect REQUEST`." } else { "" };
            (format!("The request for {} was {}", facts.text("request.wants"), facts.text("request.state")), next)
        }
        Event::ApprovalLapsed => (
            format!("Nobody decided on the request for {} in time", facts.text("request.wants")),
            "Ask again if it is still needed.",
        ),
        Event::ApprovalEnded => (format!("What was granted for a time has ended: {}", facts.text("request.wants")), ""),
        Event::SpendWarning => spend_warning(facts),
        Event::Test => ("This is a test".to_owned(), "Notices arrive here."),
    }
}

fn spend_warning(facts: &Facts<'_>) -> (String, &'static str) {
    let who = match facts.text("limit.level").as_str() {
        "key" | "" => facts.key(),
        _ => format!("The {} \"{}\"", facts.text("limit.of"), facts.text("limit.name")),
    };
    let window = match facts.text("limit.window").as_str() {
        "total" | "" => String::new(),
        window => format!("{window} "),
    };
    let percent = facts.text("limit.percent");
    let next = match facts.get("limit.warn_only") {
        Some(Value::Bool(true)) => "This limit only warns: calls go on.",
        _ => {
            "Once it is used up, calls are refused until it resets. It is raised for a while with `anykey key raise`, `anykey \
             project raise` and so on, and for good with `edit`."
        }
    };
    (format!("{who} has used {percent}% of its {window}spend limit"), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(event: Event, data: Value) -> Letter {
        letter(event, data.as_object().unwrap())
    }

    #[test]
    fn a_letter_says_what_and_to_what_and_what_next() {
        let key = json!({"name": "ci", "masked": "ak-live-AbCd1234…", "organisation": "acme", "project": "search",
                         "expires_at": 1_790_000_000_000i64, "owner": null});
        let letter = written(Event::KeyExpiring, json!({"key": key, "days": 7}));
        assert_eq!(letter.subject, "[anykey] Key \"ci\" ends within 7 days");
        for part in
            ["Key: ak-live-AbCd1234…\n", "Project: acme/search\n", "Ends: 2026-09-21 14:13 UTC\n", "--expires 90d"]
        {
            assert!(letter.text.contains(part), "{part}: {}", letter.text);
        }
        assert!(!letter.text.contains("Owner"));
    }

    #[test]
    fn every_event_has_words_and_no_name_breaks_a_line() {
        let name = format!("x\r\nBcc: eve@example.com\u{85}\u{2028}{}", "y".repeat(500));
        let data = json!({"key": {"name": name}, "request": {"wants": name, "asked_by": name}});
        for event in Event::ALL {
            let letter = written(*event, data.clone());
            assert!(
                !letter.subject.contains(['\r', '\n']) && letter.subject.chars().count() < 260,
                "{}",
                letter.subject
            );
            assert!(letter.subject.len() > "[anykey] ".len() + 5);
            assert!(!letter.text.contains("\nBcc"));
        }
    }
}
