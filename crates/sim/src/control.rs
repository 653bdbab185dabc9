//! The control parameters: delays, cuts, shredding and statuses on request, from headers, the model's suffix or `/_ctl`.

use std::time::Duration;

use http::HeaderMap;

use crate::text::percent_decode;

/// Upper bounds, so that a mistyped parameter cannot exhaust the machine.
const MAX_MS: u64 = 600_000;
const MAX_CHUNKS: u64 = 1_000_000;
const MAX_BYTES: u64 = 256 << 20;
const MAX_TIMES: u64 = 1_000;

/// What a caller asked of one answer beyond the model's own behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// Wait before the response head.
    pub delay_ms: Option<u64>,
    /// Wait between the head and the first byte of the body.
    pub ttfb_ms: Option<u64>,
    /// Wait before each piece of a stream (before each write when shredding).
    pub chunk_delay_ms: Option<u64>,
    /// The answer's text is this many pieces of one token each.
    pub chunks: Option<u64>,
    /// The answer's text is this many bytes.
    pub bytes: Option<u64>,
    /// Every write of the body is at most this many bytes.
    pub shred: Option<u64>,
    /// The connection drops after this many bytes of the body.
    pub cut_after: Option<u64>,
    /// Answer with this status instead.
    pub status: Option<u64>,
    /// Tokens per second.
    pub tps: Option<u64>,
    /// Seconds to wait, in a rate limit's refusal.
    pub retry_after: Option<u64>,
    /// `flaky` fails every n-th time.
    pub every: Option<u64>,
    /// `tool` makes this many calls at once.
    pub calls: Option<u64>,
    /// `overrun` writes so many times what it was allowed.
    pub times: Option<u64>,
}

/// A parameter that cannot be understood; the text is for the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadControl(pub String);

impl Control {
    /// Reads `a=1&b=2`.
    pub(crate) fn from_query(query: &str) -> Result<Self, BadControl> {
        let mut control = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            control.set(&percent_decode(name), &percent_decode(value))?;
        }
        Ok(control)
    }

    /// Reads the `x-sim-*` headers.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, BadControl> {
        let mut control = Self::default();
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix("x-sim-") {
                control.set(name, value.to_str().unwrap_or_default())?;
            }
        }
        Ok(control)
    }

    /// The parameters of `self`, and where it has none those of `base`.
    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            delay_ms: self.delay_ms.or(base.delay_ms),
            ttfb_ms: self.ttfb_ms.or(base.ttfb_ms),
            chunk_delay_ms: self.chunk_delay_ms.or(base.chunk_delay_ms),
            chunks: self.chunks.or(base.chunks),
            bytes: self.bytes.or(base.bytes),
            shred: self.shred.or(base.shred),
            cut_after: self.cut_after.or(base.cut_after),
            status: self.status.or(base.status),
            tps: self.tps.or(base.tps),
            retry_after: self.retry_after.or(base.retry_after),
            every: self.every.or(base.every),
            calls: self.calls.or(base.calls),
            times: self.times.or(base.times),
        }
    }

    /// The pause before each piece of a stream.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match (self.chunk_delay_ms, self.tps) {
            (Some(ms), _) => Some(Duration::from_millis(ms)).filter(|pause| !pause.is_zero()),
            (None, Some(tps)) => Some(Duration::from_secs(1) / u32::try_from(tps).unwrap_or(u32::MAX)),
            (None, None) => None,
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BadControl> {
        let name = name.replace('-', "_");
        let (slot, least, most) = match name.as_str() {
            "delay" | "delay_ms" => (&mut self.delay_ms, 0, MAX_MS),
            "ttfb" | "ttfb_ms" => (&mut self.ttfb_ms, 0, MAX_MS),
            "chunk_delay" | "chunk_delay_ms" => (&mut self.chunk_delay_ms, 0, MAX_MS),
            "chunks" => (&mut self.chunks, 1, MAX_CHUNKS),
            "bytes" => (&mut self.bytes, 1, MAX_BYTES),
            "shred" | "chunk_bytes" => (&mut self.shred, 1, MAX_BYTES),
            "cut_after" => (&mut self.cut_after, 0, u64::MAX),
            "status" => (&mut self.status, 300, 599),
            "tps" => (&mut self.tps, 1, 1_000_000),
            "retry_after" => (&mut self.retry_after, 0, 86_400),
            "every" => (&mut self.every, 1, u64::MAX),
            "calls" => (&mut self.calls, 1, 64),
            "times" => (&mut self.times, 1, MAX_TIMES),
            _ => {
                return Err(BadControl(format!("there is no control parameter '{name}'")));
            }
        };
        let number = value
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| BadControl(format!("{name} must be a whole number from {least} to {most}")))?;
        *slot = Some(number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_queries_and_headers_alike() {
        let query = Control::from_query("delay=200&chunk_delay=10&shred=7&cut_after=500").unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-sim-delay-ms", "200"),
            ("x-sim-chunk-delay-ms", "10"),
            ("x-sim-chunk-bytes", "7"),
            ("x-sim-cut-after", "500"),
            ("x-other", "not ours"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(Control::from_headers(&headers).unwrap(), query);
        assert_eq!(query.delay_ms, Some(200));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(Control::from_query("dealy=1").is_err());
        assert!(Control::from_query("chunks=0").is_err());
        assert!(Control::from_query("shred=-1").is_err());
        assert!(Control::from_query("bytes=99999999999").is_err());
    }

    #[test]
    fn the_nearer_source_wins() {
        let near = Control::from_query("delay=1").unwrap();
        let far = Control::from_query("delay=2&chunks=3").unwrap();
        let both = near.over(far);
        assert_eq!((both.delay_ms, both.chunks), (Some(1), Some(3)));
    }
}
