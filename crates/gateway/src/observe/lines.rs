//! One line of JSON for each call, gathered by the thread that served it and taken away by whoever writes the log, so that
//! no call waits for a slow reader of it. A line names a call's key by its id and holds no path and no query: keys travel
//! in both.

use super::Unrecorded;
use anykey_core::RequestId;
use anykey_core::record::{AttemptRecord, Outcome};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

/// What a thread gathers at most, in bytes; after that lines are counted and not kept.
const ROOM: usize = 1 << 20;

/// How many bytes call the writer before its time.
const PLENTY: usize = ROOM / 4;
/// The room that is kept from one time to the next, in bytes.
const KEPT_ROOM: usize = 64 * 1024;

/// The thread that writes the lines, once there is one.
pub(super) type Writer = Arc<OnceLock<Thread>>;

pub(super) struct Lines {
    gathered: Mutex<Gathered>,
    writer: Writer,
}

#[derive(Default)]
struct Gathered {
    text: Vec<u8>,
    missed: u64,
    called: bool,
    kept: Kept,
}

/// Texts that are nearly always those of the line before.
#[derive(Default)]
struct Kept {
    /// A second since 1970, and what stands before its milliseconds.
    second: Option<(i64, String)>,
    client: Option<(IpAddr, String)>,
}

/// What stands before a value.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

impl Lines {
    pub fn new(writer: Writer) -> Self {
        Lines { gathered: Mutex::default(), writer }
    }

    pub fn ended(&self, record: &AttemptRecord) {
        self.add(|line| {
            line.open(record.started_at, &record.request);
            line.text(name!("endpoint"), record.endpoint.name());
            line.text(name!("dialect"), record.dialect.name());
            line.end(record.status, record.outcome, record.code);
            line.shown(name!("key"), record.key.text().as_bytes());
            line.written(name!("model"), &record.model_asked);
            line.written(name!("provider"), &record.provider);
            line.written(name!("model_sent"), &record.model_sent);
            if record.attempt > 0 {
                line.number(name!("attempts"), u64::from(record.attempt));
                line.number(name!("input_tokens"), record.usage.input_tokens());
                line.number(name!("output_tokens"), record.usage.output_tokens());
                line.text(name!("usage"), record.usage_source.name());
                match record.cost {
                    Some(cost) => line.shown(name!("cost_usd"), cost.text().as_bytes()),
                    None => line.bare(name!("cost_usd"), b"null"),
                }
            }
            if record.stream {
                line.bare(name!("stream"), b"true");
            }
            if record.first_byte_us > 0 {
                line.milliseconds(name!("first_byte_ms"), record.first_byte_us);
            }
            line.milliseconds(name!("total_ms"), record.total_us);
            line.number(name!("bytes_in"), record.bytes_in);
            line.number(name!("bytes_out"), record.bytes_out);
            line.written(name!("upstream_id"), &record.upstream_id);
            if let Some(client) = record.client {
                line.client(client);
            }
        });
    }

    pub fn unrecorded(&self, call: &Unrecorded) {
        self.add(|line| {
            line.open(call.started_at, &call.request);
            if let Some(endpoint) = call.endpoint {
                line.text(name!("endpoint"), endpoint.name());
            }
            line.text(name!("dialect"), call.dialect.name());
            line.end(call.status, call.outcome, call.code);
            if let Some(key) = call.key {
                line.shown(name!("key"), key.text().as_bytes());
            }
            line.milliseconds(name!("total_ms"), call.total_us);
            if let Some(client) = call.client {
                line.client(client);
            }
        });
    }

    /// Takes what was gathered, in exchange for an empty buffer.
    pub fn take(&self, buffer: &mut Vec<u8>) {
        let mut gathered = self.gathered.lock();
        std::mem::swap(&mut gathered.text, buffer);
        gathered.called = false;
        // The room for a burst is not kept for ever.
        if buffer.len() <= KEPT_ROOM {
            gathered.text.shrink_to(KEPT_ROOM);
        }
    }

    /// How many lines have found no room.
    pub fn missed(&self) -> u64 {
        self.gathered.lock().missed
    }

    fn add(&self, write: impl FnOnce(&mut Line<'_>)) {
        let mut gathered = self.gathered.lock();
        if gathered.text.len() > ROOM {
            gathered.missed += 1;
            return;
        }
        let Gathered { text, kept, .. } = &mut *gathered;
        let mut line = Line { out: text, kept };
        write(&mut line);
        line.close();
        if gathered.text.len() > PLENTY && !gathered.called {
            gathered.called = true;
            drop(gathered);
            if let Some(writer) = self.writer.get() {
                writer.unpark();
            }
        }
    }
}

/// A line that is being written, without the machinery of formats: it is written for every call, by its own thread.
struct Line<'t> {
    out: &'t mut Vec<u8>,
    kept: &'t mut Kept,
}

impl Line<'_> {
    fn open(&mut self, started_at: i64, request: &RequestId) {
        let second = started_at.div_euclid(1000);
        if self.kept.second.as_ref().is_none_or(|(known, _)| *known != second) {
            let at = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
            self.kept.second = Some((second, format!("{{\"timestamp\":\"{}.", at.trim_end_matches('Z'))));
        }
        let before = self.kept.second.as_ref().map_or("", |(_, text)| text);
        self.out.extend_from_slice(before.as_bytes());
        self.thousandths(started_at.rem_euclid(1000).unsigned_abs());
        self.out.extend_from_slice(b"Z\",\"level\":\"INFO\",\"target\":\"anykey::call\"");
        self.shown(name!("request"), request.text().as_bytes());
    }

    fn end(&mut self, status: u16, outcome: Outcome, code: &'static str) {
        self.number(name!("status"), u64::from(status));
        self.text(name!("outcome"), outcome.name());
        if !code.is_empty() {
            self.text(name!("code"), code);
        }
    }

    fn close(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }

    fn bare(&mut self, name: &'static [u8], json: &[u8]) {
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(json);
    }

    fn number(&mut self, name: &'static [u8], n: u64) {
        self.bare(name, itoa::Buffer::new().format(n).as_bytes());
    }

    fn milliseconds(&mut self, name: &'static [u8], us: u64) {
        self.number(name, us / 1000);
        self.out.push(b'.');
        self.thousandths(us % 1000);
    }

    /// Three digits.
    fn thousandths(&mut self, n: u64) {
        self.out.extend([n / 100, n / 10, n].map(|n| b'0' + (n % 10) as u8));
    }

    /// A word of our own, which needs no escapes.
    fn text(&mut self, name: &'static [u8], word: &str) {
        self.shown(name, word.as_bytes());
    }

    /// An id, an amount or an address, whose text needs no escapes.
    fn shown(&mut self, name: &'static [u8], text: &[u8]) {
        self.out.extend_from_slice(name);
        self.out.push(b'"');
        self.out.extend_from_slice(text);
        self.out.push(b'"');
    }

    fn client(&mut self, client: IpAddr) {
        if self.kept.client.as_ref().is_none_or(|(known, _)| *known != client) {
            self.kept.client = Some((client, format!("\"{client}\"")));
        }
        if let Some((_, text)) = &self.kept.client {
            self.out.extend_from_slice(name!("client"));
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    /// What somebody else wrote; left out where it is empty.
    fn written(&mut self, name: &'static [u8], text: &str) {
        if !text.is_empty() {
            self.out.extend_from_slice(name);
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut *self.out, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::usage::UsageSource;
    use anykey_core::{Dialect, Endpoint, KeyId, Nanos, Usage};

    fn record() -> AttemptRecord {
        AttemptRecord {
            request: RequestId::new(0, [7; 10]),
            attempt: 1,
            key: KeyId::new(0, [8; 10]),
            secret: [b'a'; anykey_core::token::PUBLIC_ID_LEN],
            endpoint: Endpoint::ChatCompletions,
            dialect: Dialect::OpenAi,
            stream: false,
            provider: "openai".into(),
            model_asked: "m".into(),
            model_sent: "m".into(),
            model_served: "m".into(),
            status: 200,
            outcome: Outcome::Completed,
            code: "",
            usage: Usage::default(),
            usage_source: UsageSource::Reported,
            cost: Some(Nanos(1_500)),
            hold: Nanos::ZERO,
            price_id: 0,
            started_at: 1_700_000_000_000,
            first_byte_us: 1_000,
            total_us: 20_050,
            bytes_in: 1,
            bytes_out: 2,
            upstream_id: "".into(),
            client: None,
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_counted_and_not_kept() {
        let lines = Lines::new(Writer::default());
        let call = Unrecorded {
            request: RequestId::new(0, [7; 10]),
            endpoint: Some(Endpoint::ChatCompletions),
            dialect: Dialect::OpenAi,
            key: None,
            client: Some([127, 0, 0, 1].into()),
            started_at: 1_700_000_000_123,
            total_us: 1_002,
            status: 401,
            outcome: Outcome::Refused,
            code: "key_unknown",
        };
        for _ in 0..8_000 {
            lines.unrecorded(&call);
        }
        let mut text = Vec::new();
        lines.take(&mut text);
        let missed = lines.missed();
        let kept = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count() as u64;
        assert!(missed > 0 && kept + missed == 8_000, "{kept} and {missed}");
        assert!(text.len() < ROOM + 1_000 && text.ends_with(b"}\n"));

        let first = text.split(|b| *b == b'\n').next().unwrap();
        let line: serde_json::Value = serde_json::from_slice(first).unwrap();
        assert_eq!(line["timestamp"], "2023-11-14T22:13:20.123Z");
        assert_eq!((line["status"].as_u64(), line["total_ms"].as_f64()), (Some(401), Some(1.002)));

        let mut more = Vec::new();
        lines.unrecorded(&call);
        lines.take(&mut more);
        assert!(more.ends_with(b"}\n") && lines.missed() == missed, "there is room again");
    }

    #[test]
    fn a_line_is_json_whatever_was_said_and_whenever() {
        let lines = Lines::new(Writer::default());
        let mut record = record();
        let mut text = Vec::new();
        for (at, stamp, client, model) in [
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z", [127, 0, 0, 1], "plain"),
            (1_700_000_000_999, "2023-11-14T22:13:20.999Z", [127, 0, 0, 2], "\"quoted\\\u{1}é"),
            (1_700_000_001_000, "2023-11-14T22:13:21.000Z", [127, 0, 0, 2], "later"),
        ] {
            record.started_at = at;
            record.client = Some(client.into());
            record.model_asked = model.into();
            lines.ended(&record);
            lines.take(&mut text);
            let line: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(line["timestamp"], stamp);
            assert_eq!(line["model"], model);
            assert_eq!((line["cost_usd"].as_str(), line["total_ms"].as_f64()), (Some("0.0000015"), Some(20.05)));
            assert_eq!(line["client"], std::net::Ipv4Addr::from(client).to_string());
            text.clear();
        }
    }

    #[test]
    fn many_lines_call_their_writer_at_once() {
        let writer = Writer::default();
        let lines = Arc::new(Lines::new(writer.clone()));
        writer.set(std::thread::current()).unwrap();
        let record = record();
        let mut buffer = Vec::new();
        while lines.gathered.lock().text.len() <= PLENTY {
            lines.ended(&record);
        }
        // Returns at once, since it was called.
        std::thread::park();
        lines.take(&mut buffer);
        assert!(buffer.len() > PLENTY);
    }
}
