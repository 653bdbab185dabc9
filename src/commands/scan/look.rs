//! Looking through one file, blob or input, whatever it is read from, and keeping count.

use super::finding::Finding;
use crate::cli::{Failure, Session};
use anykey_core::find::{Finder, Stream};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, ErrorKind, Read};

/// What is read at once. Larger pieces leave the processor's cache before they are looked through.
const PIECE: usize = 256 << 10;
/// As far as git looks for a zero byte, by which both tell binary files.
const HEAD: usize = 8000;
/// More unreadable files than this are counted, not named.
const NAMED: usize = 20;

/// What to look for, and where not to look.
pub struct Look {
    pub finder: Finder,
    pub ignored: HashSet<String>,
    pub binary: bool,
    pub max_size: u64,
    pub keep_secrets: bool,
}

/// What was looked through, and what was not.
#[derive(Debug, Default)]
pub struct Tally {
    pub files: u64,
    pub bytes: u64,
    pub binary: u64,
    pub large: u64,
    pub unreadable: Vec<(String, String)>,
    pub unreadable_unnamed: u64,
}

impl Tally {
    pub fn could_not_read(&mut self, path: impl Into<String>, why: impl fmt::Display) {
        if self.unreadable.len() < NAMED {
            self.unreadable.push((path.into(), why.to_string()));
        } else {
            self.unreadable_unnamed += 1;
        }
    }

    pub fn add(&mut self, other: Tally) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.binary += other.binary;
        self.large += other.large;
        self.unreadable_unnamed += other.unreadable_unnamed;
        for (path, why) in other.unreadable {
            self.could_not_read(path, why);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {}", self.files, shown_size(self.bytes))?;
        if self.binary > 0 {
            write!(f, "; passed over {} binary (--binary)", self.binary)?;
        }
        if self.large > 0 {
            write!(f, "; passed over {} too large (--max-size)", self.large)?;
        }
        if self.unreadable_unnamed > 0 {
            write!(f, "; {} more could not be read", self.unreadable_unnamed)?;
        }
        Ok(())
    }
}

/// One thread's means: a buffer, what it found, what it counted.
pub struct Looker<'l> {
    pub look: &'l Look,
    pub findings: Vec<Finding>,
    pub tally: Tally,
    stream: Stream<'l>,
    buffer: Vec<u8>,
}

impl<'l> Looker<'l> {
    pub fn new(look: &'l Look) -> Self {
        Looker {
            look,
            findings: Vec::new(),
            tally: Tally::default(),
            stream: Stream::new(&look.finder),
            buffer: vec![0; PIECE],
        }
    }

    /// Looks through all of `from`.
    pub fn read(&mut self, mut from: impl Read, path: &str, commit: Option<&str>) -> io::Result<()> {
        self.stream.reset();
        let mut filled = fill(&mut from, &mut self.buffer)?;
        let wide = is_utf16(&self.buffer[..filled]);
        if !wide && !self.look.binary && self.buffer[..filled.min(HEAD)].contains(&0) {
            self.tally.binary += 1;
            return Ok(());
        }
        self.tally.files += 1;
        while filled > 0 {
            self.tally.bytes += filled as u64;
            if wide {
                // A key is ASCII: without its zero bytes UTF-16 reads like any text.
                let piece: Vec<u8> = self.buffer[..filled].iter().copied().filter(|b| *b != 0).collect();
                self.feed(&piece, path, commit);
            } else {
                let piece = std::mem::take(&mut self.buffer);
                self.feed(&piece[..filled], path, commit);
                self.buffer = piece;
            }
            filled = fill(&mut from, &mut self.buffer)?;
        }
        Ok(())
    }

    fn feed(&mut self, piece: &[u8], path: &str, commit: Option<&str>) {
        let (look, findings) = (self.look, &mut self.findings);
        self.stream.feed(piece, &mut |hit| {
            if !look.ignored.contains(hit.form.public_id) {
                findings.push(Finding::new(&hit, path, commit, look.keep_secrets));
            }
        });
    }
}

/// Fills the buffer as far as the input goes: a pipe gives little at a time.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Some shells write their output so.
fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff])
}

/// Looks through standard input.
pub fn input(look: &Look, session: &mut Session) -> Result<(Vec<Finding>, Tally), Failure> {
    let mut looker = Looker::new(look);
    let read = looker.read(session.terminal.input(), "-", None);
    read.map_err(|error| Failure::failed(format!("stdin could not be read: {error}")))?;
    Ok((looker.findings, looker.tally))
}

/// `10M` and the like, in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size, such as 500K, 10M or 2G");
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1u64 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)
}

fn shown_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anykey_core::{KeyKind, Token};

    fn look(binary: bool) -> Look {
        Look {
            finder: Finder::brands(["ak"]),
            ignored: HashSet::new(),
            binary,
            max_size: u64::MAX,
            keep_secrets: false,
        }
    }

    fn found(bytes: &[u8], binary: bool) -> (usize, u64) {
        let look = look(binary);
        let mut looker = Looker::new(&look);
        looker.read(bytes, "f", None).unwrap();
        (looker.findings.len(), looker.tally.binary)
    }

    #[test]
    fn binary_files_are_passed_over_unless_asked_for_and_utf16_is_text() {
        let key = Token::mint("ak", KeyKind::Live).unwrap().expose().to_owned();
        assert_eq!(found(key.as_bytes(), false), (1, 0));
        let binary = format!("\0\0{key}");
        assert_eq!(found(binary.as_bytes(), false), (0, 1));
        assert_eq!(found(binary.as_bytes(), true), (1, 0));
        let utf16 = |bom: [u8; 2], order: fn(u16) -> [u8; 2]| {
            bom.into_iter().chain(key.encode_utf16().flat_map(order)).collect::<Vec<u8>>()
        };
        assert_eq!(found(&utf16([0xff, 0xfe], u16::to_le_bytes), false), (1, 0));
        assert_eq!(found(&utf16([0xfe, 0xff], u16::to_be_bytes), false), (1, 0));
    }

    #[test]
    fn a_key_across_two_reads_is_found_in_its_line() {
        let key = Token::mint("ak", KeyKind::Live).unwrap().expose().to_owned();
        let text = format!("{}\n{}{key}", "x".repeat(PIECE - 40), "y".repeat(10));
        let look = look(false);
        let mut looker = Looker::new(&look);
        looker.read(text.as_bytes(), "f", None).unwrap();
        assert_eq!(looker.findings.len(), 1);
        assert_eq!(looker.findings[0].place(), "f:2:11");
        assert_eq!(looker.tally.bytes, text.len() as u64);
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [("0", 0), ("12", 12), ("3k", 3 << 10), ("10M", 10 << 20), ("2G", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "M", "-1", "1.5G", "99999999999G", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(shown_size(3 << 29), "1.5 GiB");
    }
}
