//! Reading a stream of server-sent events from an open answer.

use crate::cli::Failure;
use bytes::{Buf, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// No event that anykey sends is near this.
const LARGEST_EVENT: usize = 16 * 1024 * 1024;

/// Cuts bytes into events, wherever the network cut them.
#[derive(Default)]
pub struct Events {
    buffer: BytesMut,
}

impl Events {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next whole event; comments and events without data are passed over.
    pub fn next_data(&mut self) -> Option<String> {
        loop {
            let (end, gap) = end_of_event(&self.buffer)?;
            let data = data_of(&self.buffer[..end]);
            self.buffer.advance(end + gap);
            if data.is_some() {
                return data;
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

fn data_of(event: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(event);
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_end_matches('\r').strip_prefix("data:"))
        .map(|data| data.strip_prefix(' ').unwrap_or(data))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Hands each event's data to `each`, until the stream ends or `each` says that it has seen the end.
pub async fn for_each(
    response: Response<Incoming>,
    mut each: impl FnMut(&str) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut body = response.into_body();
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::unreachable(format!("the stream broke off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            events.push(&data);
        }
        while let Some(data) = events.next_data() {
            if each(&data)? {
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

    fn collect(piece: usize) -> Vec<String> {
        let mut events = Events::default();
        let mut seen = Vec::new();
        for bytes in STREAM.chunks(piece) {
            events.push(bytes);
            seen.extend(std::iter::from_fn(|| events.next_data()));
        }
        seen
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for piece in 1..=STREAM.len() {
            assert_eq!(collect(piece), ["{\"a\":1}", "one\ntwo"], "pieces of {piece}");
        }
    }
}
