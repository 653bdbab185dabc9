//! What people are told of without asking: a closed list of events, and when a key is worth a reminder.

use crate::KeyKind;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// Something that somebody may want to be told of. Names are public; one that was released stays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            pub const ALL: &[Event] = &[$(Event::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Event::$variant => $name,)* }
            }
        }
    };
}

events! {
    /// A key ends in 14, 7 or 1 days.
    KeyExpiring "key.expiring",
    KeyExpired "key.expired",
    /// Not used for as many days as the settings say.
    KeyUnused "key.unused",
    KeyReviewDue "key.review_due",
    KeyRotationDue "key.rotation_due",
    /// Seen where secrets do not belong.
    KeyExposed "key.exposed",
    KeyDisabled "key.disabled",
    /// Somebody asks for more than they have.
    ApprovalRequested "approval.requested",
    ApprovalDecided "approval.decided",
    /// Nobody decided in time.
    ApprovalLapsed "approval.lapsed",
    /// What was granted for a time has ended.
    ApprovalEnded "approval.ended",
    /// 50, 80 or 100 percent of a key's spend limit are used up.
    SpendWarning "spend.warning",
    /// Sent by hand, to try a destination.
    Test "notice.test",
}

impl Event {
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }
}

/// How a notice travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Webhook,
    Email,
}

impl Channel {
    pub const fn name(self) -> &'static str {
        match self {
            Channel::Webhook => "webhook",
            Channel::Email => "email",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Channel::Webhook, Channel::Email].into_iter().find(|channel| channel.name() == name)
    }
}

/// Whether a text is an e-mail address: one `@`, and only what can stand in an address without quotes. What this lets
/// through cannot end a line or begin another field.
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b);
    let dotted = |text: &str, part: &dyn Fn(&str) -> bool| text.split('.').all(|it| !it.is_empty() && part(it));
    let label = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !text.starts_with('-') && !text.ends_with('-')
    };
    local.len() <= 64 && domain.len() <= 190 && dotted(local, &|part| part.bytes().all(plain)) && dotted(domain, &label)
}

/// How many days before its end a key is worth a reminder.
pub const EXPIRY_STAGES: [i64; 3] = [1, 7, 14];
/// Which hundredths of a spend limit are worth a word, the most first.
pub const SPEND_SHARES: [i64; 3] = [100, 80, 50];
/// What ended longer ago is no news.
pub const EXPIRED_NEWS_MS: i64 = 7 * DAY_MS;

/// What reminders look at of a key that is neither deleted nor disabled. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub kind: KeyKind,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub review_at: Option<i64>,
    pub rotate_at: Option<i64>,
    /// The day of the last use, or of the making while there was none.
    pub active_day: i64,
    /// In nano-dollars.
    pub spent: i64,
    pub spend_limit: Option<i64>,
}

/// One reminder. A key gets each once: another moment in `due` is another reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reminder {
    pub event: Event,
    /// The days of the stage, the percent of the share, or 0.
    pub stage: i64,
    /// The moment, the day or the limit that it is about.
    pub due: i64,
}

impl Watched {
    /// What is worth a reminder now. Of the stages before an end it is the last that was reached, so that a server that
    /// was down for a week tells one thing; a stage that was over when the key was made is none.
    pub fn reminders(&self, now: i64, unused_days: Option<i64>) -> Vec<Reminder> {
        // Short-lived keys end all day long, and are meant to.
        if self.kind == KeyKind::Temp {
            return Vec::new();
        }
        let mut due = Vec::new();
        if let Some(end) = self.expires_at.filter(|end| *end <= now) {
            if end > now - EXPIRED_NEWS_MS {
                due.push(Reminder { event: Event::KeyExpired, stage: 0, due: end });
            }
            return due;
        }
        if let Some(end) = self.expires_at
            && let Some(stage) = EXPIRY_STAGES.into_iter().find(|days| end - now <= days * DAY_MS)
            && self.created_at <= end - stage * DAY_MS
        {
            due.push(Reminder { event: Event::KeyExpiring, stage, due: end });
        }
        if unused_days.is_some_and(|days| self.active_day < now.div_euclid(DAY_MS) - days) {
            due.push(Reminder { event: Event::KeyUnused, stage: 0, due: self.active_day });
        }
        let reached = |at: Option<i64>| at.filter(|at| *at <= now);
        if let Some(at) = reached(self.review_at) {
            due.push(Reminder { event: Event::KeyReviewDue, stage: 0, due: at });
        }
        if let Some(at) = reached(self.rotate_at) {
            due.push(Reminder { event: Event::KeyRotationDue, stage: 0, due: at });
        }
        if let Some((stage, limit)) = self.share_used() {
            due.push(Reminder { event: Event::SpendWarning, stage, due: limit });
        }
        due
    }

    /// The largest share of the limit that is used up, and the limit.
    fn share_used(&self) -> Option<(i64, i64)> {
        let limit = self.spend_limit.filter(|limit| *limit > 0 && self.spent > 0)?;
        let share = SPEND_SHARES.into_iter().find(|percent| self.spent >= share_of(limit, *percent))?;
        Some((share, limit))
    }
}

/// So many hundredths of a limit, as SQL says it too.
const fn share_of(limit: i64, percent: i64) -> i64 {
    if percent == 100 { limit } else { limit / 100 * percent }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000 * DAY_MS;

    fn watched() -> Watched {
        Watched {
            kind: KeyKind::Live,
            created_at: 0,
            expires_at: None,
            review_at: None,
            rotate_at: None,
            active_day: 1_000,
            spent: 0,
            spend_limit: None,
        }
    }

    fn told(watched: Watched) -> Vec<(&'static str, i64, i64)> {
        watched.reminders(NOW, Some(90)).into_iter().map(|it| (it.event.name(), it.stage, it.due)).collect()
    }

    #[test]
    fn names_round_trip() {
        for event in Event::ALL {
            assert_eq!(Event::from_name(event.name()), Some(*event));
        }
    }

    #[test]
    fn an_end_is_told_of_by_the_last_stage_that_was_reached() {
        for (left, stage) in [(1, 1), (DAY_MS, 1), (DAY_MS + 1, 7), (7 * DAY_MS, 7), (7 * DAY_MS + 1, 14)] {
            let end = NOW + left;
            assert_eq!(told(Watched { expires_at: Some(end), ..watched() }), [("key.expiring", stage, end)], "{left}");
        }
        assert_eq!(told(Watched { expires_at: Some(NOW + 14 * DAY_MS + 1), ..watched() }), []);
    }

    #[test]
    fn a_stage_that_was_over_when_the_key_was_made_is_not_told() {
        let end = NOW + 10 * DAY_MS;
        assert_eq!(told(Watched { expires_at: Some(end), created_at: NOW, ..watched() }), []);
        assert_eq!(told(Watched { expires_at: Some(NOW + 3_600_000), created_at: NOW, ..watched() }), []);
        assert_eq!(told(Watched { expires_at: Some(end), created_at: end - 14 * DAY_MS, ..watched() }).len(), 1);
    }

    #[test]
    fn what_has_ended_is_told_once_and_nothing_else_of_it() {
        let ended = Watched { expires_at: Some(NOW), review_at: Some(NOW), active_day: 1, ..watched() };
        assert_eq!(told(ended), [("key.expired", 0, NOW)]);
        assert_eq!(told(Watched { expires_at: Some(NOW - EXPIRED_NEWS_MS), ..watched() }), []);
    }

    #[test]
    fn what_is_due_is_told_from_its_moment_on() {
        assert_eq!(told(Watched { review_at: Some(NOW), ..watched() }), [("key.review_due", 0, NOW)]);
        assert_eq!(told(Watched { review_at: Some(NOW + 1), rotate_at: Some(NOW + 1), ..watched() }), []);
        assert_eq!(told(Watched { rotate_at: Some(5), ..watched() }), [("key.rotation_due", 0, 5)]);
        assert_eq!(told(Watched { active_day: 909, ..watched() }), [("key.unused", 0, 909)]);
        assert_eq!(told(Watched { active_day: 910, ..watched() }), []);
        assert_eq!(Watched { active_day: 1, ..watched() }.reminders(NOW, None), []);
    }

    #[test]
    fn of_a_spend_limit_the_largest_share_is_told() {
        let of = |spent: i64, limit: i64| told(Watched { spent, spend_limit: Some(limit), ..watched() });
        for (spent, share) in [(500, 50), (799, 50), (800, 80), (999, 80), (1_000, 100), (5_000, 100)] {
            assert_eq!(of(spent, 1_000), [("spend.warning", share, 1_000)], "{spent}");
        }
        for (spent, limit) in [(499, 1_000), (0, 1_000), (0, 0), (7, 0)] {
            assert_eq!(of(spent, limit), [], "{spent} of {limit}");
        }
        assert_eq!(of(i64::MAX, i64::MAX), [("spend.warning", 100, i64::MAX)]);
        assert_eq!(told(Watched { spent: 7, ..watched() }), []);
    }

    #[test]
    fn short_lived_keys_are_not_told_of() {
        assert_eq!(told(Watched { kind: KeyKind::Temp, expires_at: Some(NOW), active_day: 0, ..watched() }), []);
    }

    #[test]
    fn addresses_cannot_break_a_line() {
        for good in ["a@b", "ada.lovelace+keys@mail.example.com", "o'hara@x-y.example"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b\r\nBcc: x@y",
            "a\n@b",
            "<a@b>",
            "a,b@c",
            "a@b,c@d",
            "a..b@c",
            ".a@b",
            "a@-b",
            "a@b-",
            "a@[127.0.0.1]",
            "\"a\"@b",
            "é@b",
            "a@é",
            "a;b@c",
            "a:b@c",
            "a(b)@c",
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
