//! The bytes of the journal's entries: compact, framed, each with its checksum and its place.
//!
//! ```text
//! frame  = crc u32 | len u32 | kind u8 | epoch u32 | seq u64 | body        little-endian; crc and len not counted in len
//! intent = opening
//! settle = opening closing
//! ```
//!
//! The CRC32 covers everything after itself. Numbers in bodies are LEB128, signed ones zigzag; texts carry their length
//! and are cut at [`MAX_TEXT`] bytes. Numbers that stand for endpoints, dialects, outcomes and units are those of their
//! types in `anykey-core` and never change their meaning; a change of layout is a new [`VERSION`].

use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::token::PUBLIC_ID_LEN;
use anykey_core::usage::UsageSource;
use anykey_core::{Code, Dialect, Endpoint, KeyId, Nanos, RequestId, Unit, Usage};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;

/// The version of this layout, written in each segment's header.
pub(crate) const VERSION: u16 = 1;

/// No text in an entry is longer, so that no entry outgrows [`MAX_FRAME`].
pub(crate) const MAX_TEXT: usize = 512;

/// No frame is longer.
pub(crate) const MAX_FRAME: usize = 4096;

const CHECKSUM: usize = 4;
const PREFIX: usize = 8;
const STAMP: usize = 1 + 4 + 8;

/// A seal has no body.
pub(crate) const SEAL_LEN: usize = PREFIX + STAMP;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An attempt is about to be sent to a provider.
    Intent = 1,
    /// An attempt has ended.
    Settle = 2,
    /// The segment is complete; nothing follows in it.
    Seal = 3,
}

/// Where an entry stands: in which run of the server, and at which place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub epoch: u32,
    pub seq: u64,
}

pub(crate) fn encode_intent(buffer: &mut Vec<u8>, stamp: Stamp, record: &AttemptRecord) {
    frame(buffer, Kind::Intent, stamp, |b| put_opening(b, record));
}

pub(crate) fn encode_settle(buffer: &mut Vec<u8>, stamp: Stamp, record: &AttemptRecord) {
    frame(buffer, Kind::Settle, stamp, |b| {
        put_opening(b, record);
        put_closing(b, record);
    });
}

pub(crate) fn encode_seal(buffer: &mut Vec<u8>, stamp: Stamp) {
    frame(buffer, Kind::Seal, stamp, |_| ());
}

/// Writes one frame into an emptied buffer.
fn frame(buffer: &mut Vec<u8>, kind: Kind, stamp: Stamp, body: impl FnOnce(&mut Vec<u8>)) {
    buffer.clear();
    buffer.extend_from_slice(&[0; PREFIX]);
    buffer.push(kind as u8);
    buffer.extend_from_slice(&stamp.epoch.to_le_bytes());
    buffer.extend_from_slice(&stamp.seq.to_le_bytes());
    body(buffer);
    let len = (buffer.len() - PREFIX) as u32;
    buffer[CHECKSUM..PREFIX].copy_from_slice(&len.to_le_bytes());
    let crc = crc32fast::hash(&buffer[CHECKSUM..]);
    buffer[..CHECKSUM].copy_from_slice(&crc.to_le_bytes());
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub kind: Kind,
    pub stamp: Stamp,
    pub body: &'a [u8],
    /// Its length with everything.
    pub len: usize,
}

/// What stands at a place in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read<'a> {
    Frame(Frame<'a>),
    /// Nothing was ever written from here on.
    Blank,
    /// Bytes that are no frame.
    Bad,
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn read_frame(bytes: &[u8]) -> Read<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return if is_blank(bytes) { Read::Blank } else { Read::Bad };
    };
    if prefix == &[0; PREFIX] {
        return if is_blank(rest) { Read::Blank } else { Read::Bad };
    }
    whole_frame(bytes, *prefix).map_or(Read::Bad, Read::Frame)
}

fn whole_frame(bytes: &[u8], prefix: [u8; PREFIX]) -> Option<Frame<'_>> {
    let crc = u32::from_le_bytes(*prefix.first_chunk()?);
    let len = u32::from_le_bytes(*prefix.last_chunk()?) as usize;
    if !(STAMP..=MAX_FRAME - PREFIX).contains(&len) {
        return None;
    }
    let covered = bytes.get(CHECKSUM..PREFIX + len)?;
    if crc32fast::hash(covered) != crc {
        return None;
    }
    let mut reader = Reader(&covered[PREFIX - CHECKSUM..]);
    let kind = match reader.byte()? {
        1 => Kind::Intent,
        2 => Kind::Settle,
        3 => Kind::Seal,
        _ => return None,
    };
    let stamp = Stamp { epoch: u32::from_le_bytes(reader.array()?), seq: u64::from_le_bytes(reader.array()?) };
    Some(Frame { kind, stamp, body: reader.0, len: PREFIX + len })
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// The identity of an attempt.
pub(crate) type AttemptId = (RequestId, u8);

/// Reads only the identity that every body begins with.
pub(crate) fn attempt_id(body: &[u8]) -> Option<AttemptId> {
    let mut reader = Reader(body);
    Some((RequestId(reader.array()?), reader.byte()?))
}

/// Reads an intent as the record of an attempt whose end is unknown: the hold is charged.
pub(crate) fn decode_intent(body: &[u8]) -> Option<AttemptRecord> {
    let mut reader = Reader(body);
    let record = opening(&mut reader)?;
    reader.0.is_empty().then_some(record)
}

pub(crate) fn decode_settle(body: &[u8]) -> Option<AttemptRecord> {
    let mut reader = Reader(body);
    let mut record = opening(&mut reader)?;
    closing(&mut reader, &mut record)?;
    reader.0.is_empty().then_some(record)
}

const STREAM: u8 = 1;
const SENT_AS_ASKED: u8 = 2;

fn put_opening(b: &mut Vec<u8>, r: &AttemptRecord) {
    let sent_as_asked = r.model_sent == r.model_asked;
    b.extend_from_slice(&r.request.0);
    b.push(r.attempt);
    b.extend_from_slice(&r.key.0);
    b.extend_from_slice(&r.secret);
    b.push(r.endpoint as u8);
    b.push(r.dialect as u8);
    b.push(if r.stream { STREAM } else { 0 } | if sent_as_asked { SENT_AS_ASKED } else { 0 });
    put_text(b, &r.provider);
    put_text(b, &r.model_asked);
    if !sent_as_asked {
        put_text(b, &r.model_sent);
    }
    put_signed(b, r.hold.0);
    put_number(b, r.price_id);
    put_signed(b, r.started_at);
}

fn opening(r: &mut Reader<'_>) -> Option<AttemptRecord> {
    let request = RequestId(r.array()?);
    let attempt = r.byte()?;
    let key = KeyId(r.array()?);
    let secret = r.array::<PUBLIC_ID_LEN>()?;
    let (endpoint, dialect) = (r.byte()?, r.byte()?);
    let flags = r.byte()?;
    let provider = r.text()?;
    let model_asked = r.text()?;
    let model_sent = if flags & SENT_AS_ASKED != 0 { model_asked.clone() } else { r.text()? };
    let hold = Nanos(r.signed()?);
    let price_id = r.number()?;
    let started_at = r.signed()?;
    Some(AttemptRecord {
        request,
        attempt,
        key,
        secret,
        endpoint: Endpoint::ALL.into_iter().find(|e| *e as u8 == endpoint)?,
        dialect: Dialect::ALL.into_iter().find(|d| *d as u8 == dialect)?,
        stream: flags & STREAM != 0,
        provider,
        model_asked,
        model_sent,
        model_served: Arc::default(),
        status: 0,
        outcome: Outcome::Unresolved,
        code: "",
        usage: Usage::default(),
        usage_source: UsageSource::Estimated,
        // Without a price and a hold there is nothing to charge; unpriced is not the same as free.
        cost: (price_id != 0 || hold != Nanos::ZERO).then_some(hold),
        hold,
        price_id,
        started_at,
        first_byte_us: 0,
        total_us: 0,
        bytes_in: 0,
        bytes_out: 0,
        upstream_id: Arc::default(),
        client: None,
    })
}

const PRICED: u8 = 1;
const SERVED_AS_SENT: u8 = 2;
const CLIENT_V4: u8 = 4;
const CLIENT_V6: u8 = 8;

fn put_closing(b: &mut Vec<u8>, r: &AttemptRecord) {
    let served_as_sent = r.model_served == r.model_sent;
    let client = match r.client {
        None => 0,
        Some(IpAddr::V4(_)) => CLIENT_V4,
        Some(IpAddr::V6(_)) => CLIENT_V6,
    };
    let priced = if r.cost.is_some() { PRICED } else { 0 };
    b.push(priced | if served_as_sent { SERVED_AS_SENT } else { 0 } | client);
    b.push(r.outcome as u8);
    b.push(r.usage_source as u8);
    put_number(b, u64::from(r.status));
    put_text(b, r.code);
    if !served_as_sent {
        put_text(b, &r.model_served);
    }
    put_usage(b, &r.usage);
    if let Some(cost) = r.cost {
        put_signed(b, cost.0);
    }
    for n in [r.first_byte_us, r.total_us, r.bytes_in, r.bytes_out] {
        put_number(b, n);
    }
    put_text(b, &r.upstream_id);
    match r.client {
        None => {}
        Some(IpAddr::V4(ip)) => b.extend_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => b.extend_from_slice(&ip.octets()),
    }
}

fn closing(r: &mut Reader<'_>, record: &mut AttemptRecord) -> Option<()> {
    let flags = r.byte()?;
    let (outcome, source) = (r.byte()?, r.byte()?);
    record.outcome = Outcome::ALL.into_iter().find(|o| *o as u8 == outcome)?;
    record.usage_source =
        [UsageSource::None, UsageSource::Reported, UsageSource::Estimated].into_iter().find(|s| *s as u8 == source)?;
    record.status = r.number()?.try_into().ok()?;
    record.code = code_named(r.str()?);
    record.model_served = if flags & SERVED_AS_SENT != 0 { record.model_sent.clone() } else { r.text()? };
    record.usage = r.usage()?;
    record.cost = if flags & PRICED != 0 { Some(Nanos(r.signed()?)) } else { None };
    record.first_byte_us = r.number()?;
    record.total_us = r.number()?;
    record.bytes_in = r.number()?;
    record.bytes_out = r.number()?;
    record.upstream_id = r.text()?;
    record.client = match flags & (CLIENT_V4 | CLIENT_V6) {
        0 => None,
        CLIENT_V4 => Some(IpAddr::from(r.array::<4>()?)),
        CLIENT_V6 => Some(IpAddr::from(r.array::<16>()?)),
        _ => return None,
    };
    Some(())
}

/// A bit for each unit that was used, then their counts.
fn put_usage(b: &mut Vec<u8>, usage: &Usage) {
    let used = usage.iter().fold(0u64, |bits, (unit, _)| bits | 1 << unit as u8);
    put_number(b, used);
    for (_, count) in usage.iter() {
        put_number(b, count);
    }
}

fn put_number(b: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        b.push(n as u8 | 0x80);
        n >>= 7;
    }
    b.push(n as u8);
}

fn put_signed(b: &mut Vec<u8>, n: i64) {
    put_number(b, ((n << 1) ^ (n >> 63)) as u64);
}

fn put_text(b: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    put_number(b, text.len() as u64);
    b.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            let part = u64::from(b & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            n |= part << shift;
            if b & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        self.number().map(|n| (n >> 1) as i64 ^ -((n & 1) as i64))
    }

    fn str(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.number()?).ok()?;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }

    fn text(&mut self) -> Option<Arc<str>> {
        self.str().map(|s| if s.is_empty() { Arc::default() } else { Arc::from(s) })
    }

    fn usage(&mut self) -> Option<Usage> {
        let used = self.number()?;
        let mut usage = Usage::default();
        for unit in Unit::ALL {
            if used & 1 << unit as u8 != 0 {
                usage.set(unit, self.number()?);
            }
        }
        (used >> Unit::ALL.len() == 0).then_some(usage)
    }
}

/// At most so many codes that are not in [`Code::ALL`] are remembered in one run.
const FOREIGN_CODES: usize = 256;

/// The static text of a code. A code that this version does not know (another version wrote the journal) is kept as it
/// is, in a table that only grows by distinct codes and is bounded.
fn code_named(name: &str) -> &'static str {
    static FOREIGN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    if name.is_empty() {
        return "";
    }
    if let Some(code) = Code::from_name(name) {
        return code.name();
    }
    let mut foreign = FOREIGN.lock();
    if let Some(known) = foreign.iter().find(|known| **known == name) {
        return known;
    }
    if foreign.len() >= FOREIGN_CODES {
        return "unknown";
    }
    let kept: &'static str = Box::leak(name.into());
    foreign.push(kept);
    kept
}
