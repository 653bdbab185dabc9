//! Reading a stream of server-sent events from an open answer.

use crate::cli::Failure;
use bytes::{Buf, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// No event that anykey sends is near this.
const LARGEST_EVENT: usize = 16 * 1024 * 1024;

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Empty where it is not named.
    pub name: String,
    pub data: String,
}

/// Cuts bytes into events, wherever the network cut them.
#[derive(Default)]
pub struct Events {
    buffer: BytesMut,
}

impl Events {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event; comments and events without data are passed over.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let (end, gap) = end_of_event(&self.buffer)?;
            let event = read(&self.buffer[..end]);
            self.buffer.advance(end + gap);
            if event.is_some() {
                return event;
            }
        }
    }
}

/// Where the first blank line is, and how many bytes it and the line break before it take.
fn end_of_event(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let newline = at + found;
        match &bytes[newline + 1..] {
            [b'\n', ..] => return Some((newline, 2)),
            [b'\r', b'\n', ..] => return Some((newline, 3)),
            _ => at = newline + 1,
        }
    }
    None
}

fn read(lines: &[u8]) -> Option<Event> {
    let text = String::from_utf8_lossy(lines);
    let (mut name, mut data) = (String::new(), None::<String>);
    for line in text.lines().map(|line| line.trim_end_matches('\r')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut data) {
            ("event", _) => name = value.to_string(),
            ("data", None) => data = Some(value.to_string()),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            _ => {}
        }
    }
    data.map(|data| Event { name, data })
}

/// Hands each event to `each`, until the stream ends or `each` says that it has seen the end.
pub async fn for_each(
    response: Response<Incoming>,
    mut each: impl FnMut(Event) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut body = response.into_body();
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::unreachable(format!("the stream broke off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            events.push(&data);
        }
        while let Some(event) = events.next_event() {
            if each(event)? {
                return Ok(());
            }
        }
        if events.buffer.len() > LARGEST_EVENT {
            return Err(Failure::failed("the stream holds an event without an end"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b": hello\n\nevent: x\ndata: {\"a\":1}\n\ndata: one\r\ndata:two\r\n\r\nid: 3\n\ndata: cut";

    fn collect(piece: usize) -> Vec<(String, String)> {
        let mut events = Events::default();
        let mut seen = Vec::new();
        for bytes in STREAM.chunks(piece) {
            events.push(bytes);
            seen.extend(std::iter::from_fn(|| events.next_event()).map(|event| (event.name, event.data)));
        }
        seen
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let expected = [("x", "{\"a\":1}"), ("", "one\ntwo")].map(|(name, data)| (name.to_string(), data.to_string()));
        for piece in 1..=STREAM.len() {
            assert_eq!(collect(piece), expected, "pieces of {piece}");
        }
    }
}
