//! One line of JSON for each call, gathered by the thread that served it and taken away by whoever writes the log, so that
//! no call waits for a slow reader of it. A line names a call's key by its id and holds no path and no query: keys travel
//! in both.

use super::Unrecorded;
use anykey_core::record::{AttemptRecord, Outcome};
use parking_lot::Mutex;
use std::fmt::Display;
use std::io::Write as _;

/// What a thread gathers at most, in bytes; after that lines are counted and not kept.
const ROOM: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Lines(Mutex<Gathered>);

#[derive(Default)]
struct Gathered {
    text: Vec<u8>,
    missed: u64,
}

impl Lines {
    pub fn ended(&self, record: &AttemptRecord) {
        self.add(|line| {
            line.open(record.started_at, &record.request);
            line.text("endpoint", record.endpoint.name());
            line.text("dialect", record.dialect.name());
            line.end(record.status, record.outcome, record.code);
            line.shown("key", &record.key);
            line.written("model", &record.model_asked);
            line.written("provider", &record.provider);
            line.written("model_sent", &record.model_sent);
            if record.attempt > 0 {
                line.number("attempts", u64::from(record.attempt));
                line.number("input_tokens", record.usage.input_tokens());
                line.number("output_tokens", record.usage.output_tokens());
                line.text("usage", record.usage_source.name());
                match record.cost {
                    Some(cost) => line.shown("cost_usd", &cost),
                    None => line.bare("cost_usd", "null"),
                }
            }
            if record.stream {
                line.bare("stream", "true");
            }
            if record.first_byte_us > 0 {
                line.milliseconds("first_byte_ms", record.first_byte_us);
            }
            line.milliseconds("total_ms", record.total_us);
            line.number("bytes_in", record.bytes_in);
            line.number("bytes_out", record.bytes_out);
            line.written("upstream_id", &record.upstream_id);
            if let Some(client) = record.client {
                line.shown("client", &client);
            }
        });
    }

    pub fn unrecorded(&self, call: &Unrecorded) {
        self.add(|line| {
            line.open(call.started_at, &call.request);
            if let Some(endpoint) = call.endpoint {
                line.text("endpoint", endpoint.name());
            }
            line.text("dialect", call.dialect.name());
            line.end(call.status, call.outcome, call.code);
            if let Some(key) = call.key {
                line.shown("key", &key);
            }
            line.milliseconds("total_ms", call.total_us);
            if let Some(client) = call.client {
                line.shown("client", &client);
            }
        });
    }

    /// Moves what was gathered to the end of `into`.
    pub fn take(&self, into: &mut Vec<u8>) {
        let mut gathered = self.0.lock();
        into.append(&mut gathered.text);
        // The room for a burst is not kept for ever.
        gathered.text.shrink_to(64 * 1024);
    }

    /// How many lines have found no room.
    pub fn missed(&self) -> u64 {
        self.0.lock().missed
    }

    fn add(&self, write: impl FnOnce(&mut Line<'_>)) {
        let mut gathered = self.0.lock();
        if gathered.text.len() > ROOM {
            gathered.missed += 1;
            return;
        }
        let mut line = Line(&mut gathered.text);
        write(&mut line);
        line.close();
    }
}

/// A line that is being written. Writing to memory cannot fail.
struct Line<'t>(&'t mut Vec<u8>);

impl Line<'_> {
    fn open(&mut self, started_at: i64, request: &impl Display) {
        let at = jiff::Timestamp::from_millisecond(started_at).unwrap_or_default();
        let _ = write!(self.0, "{{\"timestamp\":\"{at:.3}\",\"level\":\"INFO\",\"target\":\"anykey::call\"");
        self.shown("request", request);
    }

    fn end(&mut self, status: u16, outcome: Outcome, code: &'static str) {
        self.number("status", u64::from(status));
        self.text("outcome", outcome.name());
        if !code.is_empty() {
            self.text("code", code);
        }
    }

    fn close(&mut self) {
        self.0.extend_from_slice(b"}\n");
    }

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn bare(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.extend_from_slice(json.as_bytes());
    }

    fn number(&mut self, name: &str, n: u64) {
        self.bare(name, itoa::Buffer::new().format(n));
    }

    fn milliseconds(&mut self, name: &str, us: u64) {
        self.name(name);
        let _ = write!(self.0, "{}.{:03}", us / 1000, us % 1000);
    }

    /// A word of our own, which needs no escapes.
    fn text(&mut self, name: &str, word: &str) {
        self.name(name);
        let _ = write!(self.0, "\"{word}\"");
    }

    /// An id, an amount or an address, whose text needs no escapes.
    fn shown(&mut self, name: &str, value: &impl Display) {
        self.name(name);
        let _ = write!(self.0, "\"{value}\"");
    }

    /// What somebody else wrote; left out where it is empty.
    fn written(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.name(name);
            let _ = serde_json::to_writer(&mut *self.0, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::{Dialect, Endpoint, RequestId};

    #[test]
    fn lines_that_nobody_takes_are_counted_and_not_kept() {
        let lines = Lines::default();
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
}
