//! The courier: takes what waits in the outbox, brings it to its receivers, and looks for keys that are worth a reminder.
//!
//! Everything that was written is delivered at least once or given up with a word why; what a receiver does not want
//! holds up nobody else.

use crate::mail::{MailError, MailOptions, Mailer};
use crate::webhook::{self, BadUrl, Target};
use crate::words;
use anykey_core::notice::{Channel, Event};
use anykey_net::Fetch;
use anykey_store::{Attempt, DestinationPatch, Dispatch, NoticeSettings, Receiver, Store, StoreError};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Deliveries that are under way at once, and those of them to one receiver.
const AT_ONCE: usize = 16;
const TO_ONE: usize = 2;
/// Longer than any attempt takes; a process that has not said anything by then is taken for dead.
const LEASE_MS: i64 = 90_000;
/// How often the outbox is looked at for what other processes left in it, where there may be others.
const LOOK: Duration = Duration::from_secs(15);
/// How often all keys are looked at; a change of a key looks at that key by itself.
const REMIND_MS: i64 = 5 * 60_000;
/// A database that does not answer is not asked at once again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long deliveries that are under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// How long to wait after each attempt that failed; after the last one it is given up. Two days in all.
pub const PATIENCE: &[Duration] = &[
    Duration::from_secs(2),
    Duration::from_secs(30),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(24 * 3600),
];

/// What the settings say.
#[derive(Debug)]
pub struct Options {
    pub mail: Option<MailOptions>,
    /// After how many days without use a key is worth a word.
    pub unused_days: Option<i64>,
    /// Whether webhooks may be on private networks, and without TLS.
    pub allow_private: bool,
    pub patience: &'static [Duration],
}

impl Default for Options {
    fn default() -> Self {
        Options { mail: None, unused_days: Some(90), allow_private: false, patience: PATIENCE }
    }
}

/// Why an address cannot be a destination's.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    #[error(transparent)]
    Url(#[from] BadUrl),
    #[error("mail cannot be sent: the settings name no mail server ([smtp])")]
    NoMail,
    #[error(transparent)]
    Mail(#[from] MailError),
}

/// What a receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub status: Option<i64>,
    /// Why it is not delivered.
    pub error: Option<String>,
    /// Another attempt would end the same.
    for_good: bool,
}

pub struct Courier {
    store: Arc<Store>,
    fetch: Fetch,
    mailer: Option<Mailer>,
    allow_private: bool,
    patience: &'static [Duration],
}

impl Courier {
    /// Tells the store what is set, so that what is written is what can be delivered.
    pub fn new(store: Arc<Store>, fetch: Fetch, options: Options) -> Result<Arc<Courier>, MailError> {
        let mailer = options.mail.map(Mailer::new).transpose()?;
        store.set_notices(NoticeSettings { mail: mailer.is_some(), unused_days: options.unused_days });
        let Options { allow_private, patience, .. } = options;
        Ok(Arc::new(Courier { store, fetch, mailer, allow_private, patience }))
    }

    /// Whether notices can be sent there at all.
    pub fn check(&self, channel: Channel, address: &str) -> Result<(), BadAddress> {
        match channel {
            Channel::Webhook => drop(Target::parse(address, self.allow_private)?),
            Channel::Email if self.mailer.is_none() => return Err(BadAddress::NoMail),
            Channel::Email => drop(crate::mail::mailbox(address)?),
        }
        Ok(())
    }

    /// Sends a test now, past the outbox.
    pub async fn test(&self, to: &Receiver) -> Result<Tried, StoreError> {
        let now = self.store.clock_ms();
        let id = anykey_core::NoticeId::random(now).map_err(|_| StoreError::NoRandom)?;
        Ok(self.bring(to, &id.to_string(), &id.to_string(), Event::Test, now, &Map::new()).await)
    }

    /// Works until it is told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut flying = Flying::default();
        let mut next_look = 0;
        while !*stop.borrow() {
            let wait = match self.round(&mut flying, &mut next_look).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, "the outbox of notices cannot be read; it is tried again");
                    PAUSE
                }
            };
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                () = self.store.outbox_filled() => {}
                true = flying.landed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        let _ = tokio::time::timeout(GRACE, async { while flying.landed().await {} }).await;
    }

    /// Looks for reminders, ends requests and grants that are over, sends off what is due, and says how long there is
    /// nothing more to do.
    async fn round(self: &Arc<Self>, flying: &mut Flying, next_look: &mut i64) -> Result<Duration, StoreError> {
        let now = self.store.clock_ms();
        if now >= *next_look {
            self.store.remind().await?;
            *next_look = now.saturating_add(REMIND_MS);
        }
        self.store.end_approvals().await?;
        while flying.lanes.len() < AT_ONCE {
            let Some(dispatch) = self.store.take_delivery(&flying.busy(), LEASE_MS).await? else { break };
            let (courier, lane) = (Arc::clone(self), dispatch.lane.clone());
            let task = flying.tasks.spawn(async move { courier.deliver(dispatch).await });
            flying.lanes.insert(task.id(), lane);
        }
        if let Some(end) = self.store.next_expiry().await? {
            *next_look = (*next_look).min(end);
        }
        let ends = self.store.next_approval_end().await?;
        let due = [self.store.next_delivery().await?, ends].into_iter().flatten().fold(*next_look, i64::min);
        // What is due already waits for a lane, and is looked at when one is free.
        Ok(match u64::try_from(due.saturating_sub(self.store.clock_ms())) {
            Ok(ms) if ms > 0 && self.store.is_shared() => Duration::from_millis(ms).min(LOOK),
            Ok(ms) if ms > 0 => Duration::from_millis(ms),
            _ => Duration::from_millis(250),
        })
    }

    async fn deliver(&self, dispatch: Dispatch) {
        let data = match serde_json::from_str(&dispatch.data) {
            Ok(Value::Object(data)) => data,
            _ => Map::new(),
        };
        let (notice, delivery) = (dispatch.notice.to_string(), dispatch.delivery.to_string());
        let tried = self.bring(&dispatch.to, &notice, &delivery, dispatch.event, dispatch.created_at, &data).await;
        if tried.status == Some(410) {
            self.end(&dispatch).await;
        }
        let outcome = self.outcome(tried, dispatch.attempt);
        if let Attempt::GivenUp { error, .. } = &outcome {
            tracing::warn!(%delivery, event = dispatch.event.name(), error, "a notice was given up");
        }
        if let Err(error) = self.store.delivery_tried(dispatch.delivery, dispatch.attempt, outcome).await {
            tracing::warn!(%error, %delivery, "what became of a notice could not be written; it may be sent twice");
        }
    }

    async fn bring(
        &self,
        to: &Receiver,
        notice: &str,
        delivery: &str,
        event: Event,
        created_at: i64,
        data: &Map<String, Value>,
    ) -> Tried {
        match to {
            Receiver::Webhook { url, secrets } => {
                let target = match Target::parse(url, self.allow_private) {
                    Ok(target) => target,
                    Err(error) => return Tried { status: None, error: Some(error.to_string()), for_good: true },
                };
                let sent_at = self.store.clock_ms() / 1000;
                let body = webhook::body(event, created_at, data);
                match webhook::send(&self.fetch, &target, secrets, notice, sent_at, body).await {
                    Ok(status) => answered(status),
                    Err(error) => Tried { status: None, error: Some(error.to_string()), for_good: false },
                }
            }
            Receiver::Mailbox(address) => {
                let Some(mailer) = &self.mailer else {
                    let error = BadAddress::NoMail.to_string();
                    return Tried { status: None, error: Some(error), for_good: false };
                };
                let written_at = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(created_at).unwrap_or(0));
                match mailer.send(address, delivery, written_at, &words::letter(event, data)).await {
                    Ok(()) => Tried { status: None, error: None, for_good: false },
                    Err(no) => Tried { status: no.code, error: Some(no.error), for_good: no.for_good },
                }
            }
        }
    }

    fn outcome(&self, tried: Tried, attempt: i64) -> Attempt {
        let Tried { status, error, for_good } = tried;
        let Some(error) = error else { return Attempt::Sent { status } };
        let wait = usize::try_from(attempt - 1).ok().and_then(|n| self.patience.get(n));
        match wait {
            Some(wait) if !for_good => {
                let at = self.store.clock_ms().saturating_add(millis(*wait)).saturating_add(jitter(*wait));
                Attempt::Later { at, status, error }
            }
            _ => Attempt::GivenUp { status, error },
        }
    }

    /// 410 asks for no more messages, ever.
    async fn end(&self, dispatch: &Dispatch) {
        let Some(id) = anykey_core::DestinationId::parse(&dispatch.lane) else { return };
        let patch = DestinationPatch { disabled: Some(true), ..DestinationPatch::default() };
        match self.store.update_destination(id, None, patch).await {
            Ok(_) => tracing::warn!(destination = %id, "a webhook says that it is gone (410), so it is disabled"),
            Err(error) => tracing::warn!(%error, destination = %id, "a webhook that is gone could not be disabled"),
        }
    }
}

fn answered(status: u16) -> Tried {
    let error = match status {
        200..=299 => None,
        300..=399 => Some(format!("the receiver answered {status}; redirects are not followed")),
        410 => Some("the receiver answered 410: it wants no more messages".to_owned()),
        _ => Some(format!("the receiver answered {status}")),
    };
    Tried { status: Some(i64::from(status)), error, for_good: status == 410 }
}

/// Deliveries that are under way, and the lane of each.
#[derive(Default)]
struct Flying {
    tasks: JoinSet<()>,
    lanes: HashMap<tokio::task::Id, String>,
}

impl Flying {
    /// Lanes that have as much under way as one may.
    fn busy(&self) -> Vec<String> {
        let mut count: HashMap<&str, usize> = HashMap::new();
        for lane in self.lanes.values() {
            *count.entry(lane).or_default() += 1;
        }
        count.into_iter().filter(|(_, n)| *n >= TO_ONE).map(|(lane, _)| lane.to_owned()).collect()
    }

    /// Waits for one to end; `false` where there is none.
    async fn landed(&mut self) -> bool {
        let Some(done) = self.tasks.join_next_with_id().await else { return false };
        let id = match done {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a delivery ended badly; it is tried again");
                error.id()
            }
        };
        self.lanes.remove(&id);
        true
    }
}

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

/// Up to a tenth more, so that what failed together does not come back together.
fn jitter(wait: Duration) -> i64 {
    let mut byte = [0u8; 1];
    // Without random bytes there is no jitter, which is no matter.
    let _ = getrandom::fill(&mut byte);
    millis(wait) / 10 * i64::from(byte[0]) / 255
}
