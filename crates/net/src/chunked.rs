//! The chunked transfer coding, read strictly: what two parsers could read differently is an error.

use bytes::{Bytes, BytesMut};

/// A chunk's size line with its extensions is at most this long; more is an attack, not a message.
const SIZE_LINE_LIMIT: usize = 128;
const TRAILER_LIMIT: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("malformed chunk size")]
    Size,
    #[error("a chunk does not end where its size says")]
    End,
    #[error("trailers are too large or malformed")]
    Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers(usize),
    Done,
}

/// A decoder that is fed a connection's read buffer.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked { state: State::Size }
    }
}

impl Chunked {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece of content out of `buf`. `Ok(None)` says that more input is needed, or that the body is
    /// [done](Chunked::is_done); bytes after the body stay in `buf`.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, ChunkError> {
        loop {
            match self.state {
                State::Size => match line(buf, SIZE_LINE_LIMIT).map_err(|()| ChunkError::Size)? {
                    None => return Ok(None),
                    Some(line) => {
                        self.state = match size(&line)? {
                            0 => State::Trailers(0),
                            n => State::Data(n),
                        }
                    }
                },
                State::Data(left) => {
                    if buf.is_empty() {
                        return Ok(None);
                    }
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                    let data = buf.split_to(take).freeze();
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Some(data));
                }
                State::DataEnd => match buf.as_ref() {
                    [] | [b'\r'] => return Ok(None),
                    [b'\r', b'\n', ..] => {
                        let _ = buf.split_to(2);
                        self.state = State::Size;
                    }
                    _ => return Err(ChunkError::End),
                },
                State::Trailers(seen) => match line(buf, TRAILER_LIMIT).map_err(|()| ChunkError::Trailers)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.state = State::Done,
                    // Trailers are read past and dropped: nothing here may act on a field that came after the body.
                    Some(line) if seen + line.len() <= TRAILER_LIMIT && line.contains(&b':') => {
                        self.state = State::Trailers(seen + line.len());
                    }
                    Some(_) => return Err(ChunkError::Trailers),
                },
                State::Done => return Ok(None),
            }
        }
    }
}

/// Takes a line that ends in CRLF; a bare LF or CR is an error.
fn line(buf: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, ()> {
    match memchr::memchr(b'\n', buf) {
        Some(at) if at > limit => Err(()),
        Some(at) => {
            let mut line = buf.split_to(at + 1);
            if !line.ends_with(b"\r\n") {
                return Err(());
            }
            line.truncate(at - 1);
            if memchr::memchr2(b'\r', 0, &line).is_some() { Err(()) } else { Ok(Some(line)) }
        }
        None if buf.len() > limit => Err(()),
        None => Ok(None),
    }
}

/// Hexadecimal digits, then nothing or an extension.
fn size(line: &[u8]) -> Result<u64, ChunkError> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if !(1..=15).contains(&digits) {
        return Err(ChunkError::Size);
    }
    let rest = &line[digits..];
    if !rest.is_empty() && !rest.starts_with(b";") {
        return Err(ChunkError::Size);
    }
    std::str::from_utf8(&line[..digits])
        .ok()
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(ChunkError::Size)
}

/// Opens a chunk of `len` bytes in `out`.
pub(crate) fn open_chunk(out: &mut Vec<u8>, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for i in (0..nibbles).rev() {
        out.push(DIGITS[len >> (4 * i) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), ChunkError> {
        let (mut chunked, mut buf, mut body) = (Chunked::default(), BytesMut::new(), vec![]);
        for piece in pieces {
            buf.extend_from_slice(piece);
            while let Some(data) = chunked.next(&mut buf)? {
                body.extend_from_slice(&data);
            }
        }
        Ok((body, chunked.is_done(), buf.to_vec()))
    }

    proptest! {
        #[test]
        fn any_body_in_any_pieces(body: Vec<Vec<u8>>, cut in 1usize..9) {
            let mut wire = vec![];
            for chunk in body.iter().filter(|c| !c.is_empty()) {
                open_chunk(&mut wire, chunk.len());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(LAST_CHUNK);
            wire.extend_from_slice(b"GET");
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(decode(&pieces), Ok((body.concat(), true, b"GET".to_vec())));
        }

        #[test]
        fn noise_never_panics(noise: Vec<u8>, cut in 1usize..9) {
            let _ = decode(&noise.chunks(cut).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let long = [b"1;".as_slice(), &[b'x'; 4096], b"\r\na\r\n"].concat();
        for wire in [
            &b"FFFFFFFFFFFFFFFF1\r\n"[..],
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b" 1\r\na\r\n",
            b"1 \r\na\r\n",
            b"\r\n",
            b"1\na\r\n",
            b"1\r\na\n",
            b"1\r\nab\r\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\n\n",
            &long,
        ] {
            assert!(decode(&[wire]).is_err(), "{:?}", String::from_utf8_lossy(wire));
        }
    }
}
