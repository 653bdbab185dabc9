//! One file of the journal: its name, its header, and how to read it back.

use crate::codec::{self, Frame, Kind, Read, Stamp, VERSION};
use crate::fs::{File, write_all_at};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};

pub(crate) const HEADER_LEN: usize = 64;
const MAGIC: [u8; 8] = *b"AKJRNL\r\n";
const CHECKED: usize = HEADER_LEN - 4;
const SYNCED: u16 = 1;

/// `<epoch>-<writer>-<number>.log`: sorts by age within a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub epoch: u32,
    pub writer: u32,
    pub number: u32,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:04}-{:010}.log", self.epoch, self.writer, self.number)
    }
}

impl SegmentName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix(".log")?.split('-');
        let mut next = || parts.next()?.parse().ok();
        let name = SegmentName { epoch: next()?, writer: next()?, number: next()? };
        (name.to_string() == text).then_some(name)
    }

    /// The stamp of the entry at `index` in this segment. No two entries of a writer share one, in any segment, so that
    /// an entry in a wrong place is noticed.
    pub(crate) fn stamp(self, index: u32) -> Stamp {
        Stamp { epoch: self.epoch, seq: u64::from(self.number) << 32 | u64::from(index) }
    }

    /// `synced` says that the segment was completed and is on the disk as a whole: then a bad entry in it cannot be a
    /// write that a power cut tore.
    pub(crate) fn header(self, synced: bool) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        header[8..10].copy_from_slice(&VERSION.to_le_bytes());
        header[10..12].copy_from_slice(&if synced { SYNCED } else { 0 }.to_le_bytes());
        header[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        header[16..20].copy_from_slice(&self.writer.to_le_bytes());
        header[20..24].copy_from_slice(&self.number.to_le_bytes());
        let crc = crc32fast::hash(&header[..CHECKED]);
        header[CHECKED..].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

/// A segment that this process writes.
pub(crate) struct Segment {
    pub name: SegmentName,
    pub file: Box<dyn File>,
    /// Entries that keep the file: intents without a stored end, and settles that are not stored.
    pub keep: AtomicU64,
    /// Whether everything in the completed segment is on the disk.
    pub synced: AtomicBool,
}

impl Segment {
    /// Writes the header into a fresh file and makes it durable.
    pub(crate) fn start(name: SegmentName, file: Box<dyn File>) -> io::Result<Self> {
        write_all_at(&*file, &name.header(false), 0)?;
        file.sync()?;
        Ok(Segment { name, file, keep: AtomicU64::new(0), synced: AtomicBool::new(false) })
    }
}

/// Why a segment cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("its format version is {0}, this program reads version {VERSION}; run the version that wrote it")]
    Version(u16),
    #[error("its header is damaged")]
    Header,
    #[error("the entry at byte {0} is damaged, and it is not the end of the journal")]
    Entry(usize),
    #[error("the entry at byte {0} has a right checksum but a content that this program cannot read")]
    Content(usize),
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its seal: it is complete.
    Sealed,
    /// With blank space: the writer stopped here.
    Open,
    /// With bytes that are no entry, from this place on.
    Torn(usize),
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Never written: the process died while it made the file.
    Blank,
    Good {
        synced: bool,
    },
}

pub(crate) fn read_header(name: SegmentName, bytes: &[u8]) -> Result<Header, Damage> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return blank_or(bytes, Damage::Header);
    };
    if header[..8] != MAGIC {
        return blank_or(bytes, Damage::Header);
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    [false, true]
        .into_iter()
        .find(|synced| name.header(*synced) == *header)
        .map(|synced| Header::Good { synced })
        .ok_or(Damage::Header)
}

fn blank_or(bytes: &[u8], damage: Damage) -> Result<Header, Damage> {
    if bytes.iter().all(|b| *b == 0) { Ok(Header::Blank) } else { Err(damage) }
}

/// Reads a segment's entries in order and says how it ends. `each` returns whether it could read the entry.
pub(crate) fn scan<'a>(
    name: SegmentName,
    bytes: &'a [u8],
    mut each: impl FnMut(Frame<'a>) -> bool,
) -> Result<End, Damage> {
    let mut at = HEADER_LEN;
    for index in 0.. {
        match codec::read_frame(bytes.get(at..).unwrap_or_default()) {
            Read::Blank => return Ok(End::Open),
            Read::Frame(frame) if frame.stamp == name.stamp(index) => {
                if frame.kind == Kind::Seal {
                    return Ok(End::Sealed);
                }
                if !each(frame) {
                    return Err(Damage::Content(at));
                }
                at += frame.len;
            }
            Read::Frame(_) | Read::Bad => return Ok(End::Torn(at)),
        }
    }
    Ok(End::Open)
}
