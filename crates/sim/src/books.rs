//! The provider's own books: what crossed the wire and what was billed for it, for tests to compare with.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::prompt::Input;
use crate::script::Usage;

const MOST_ENTRIES: usize = 100_000;
const MOST_BYTES: usize = 128 << 20;
/// Bodies up to this size are kept whole.
const KEPT_BODY: usize = 64 << 10;
/// Bodies up to this size are within what every entry is reckoned to weigh.
const SMALL_BODY: usize = 512;
const ENTRY_WEIGHT: usize = 512 + SMALL_BODY;

/// What one call is billed for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bill {
    pub input: Input,
    pub usage: Usage,
}

/// Everything that is noted once the answer is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    pub dialect: &'static str,
    pub model: Option<String>,
    pub stream: bool,
    pub status: u16,
    pub bill: Bill,
}

/// One line of the books.
#[derive(Debug)]
struct Entry {
    n: u64,
    method: Method,
    target: Box<str>,
    /// Copied, each line `name NUL value LF`: hyper's own are slices of a whole read buffer and would keep it alive.
    headers: Box<[u8]>,
    body: Mutex<KeptBody>,
    note: Mutex<Note>,
    completed: AtomicBool,
    client_gone: AtomicBool,
    cut: AtomicBool,
    bytes_sent: AtomicU64,
}

#[derive(Debug, Default)]
struct KeptBody {
    bytes: Option<Bytes>,
    length: usize,
    /// Made at once for bodies that are not kept, else only when somebody asks.
    sha256: Option<[u8; 32]>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<(Arc<Entry>, usize)>,
    bytes: usize,
}

/// Counters and, when faults are allowed, the ring of entries.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub connections: AtomicU64,
    requests: AtomicU64,
    open: AtomicU64,
    ring: Option<Mutex<Ring>>,
}

impl Books {
    pub(crate) fn new(keep: bool) -> Self {
        Self { ring: keep.then(Mutex::default), ..Self::default() }
    }

    /// Opens a line for a request whose head has arrived.
    pub(crate) fn open(self: &Arc<Self>, head: &Parts) -> Ticket {
        let n = self.requests.fetch_add(1, Relaxed) + 1;
        self.open.fetch_add(1, Relaxed);
        let entry = self.ring.as_ref().map(|ring| {
            let entry = Arc::new(Entry::new(n, head));
            let weight = ENTRY_WEIGHT + entry.headers.len();
            ring.lock().push(Arc::clone(&entry), weight);
            entry
        });
        Ticket { books: Some(Arc::clone(self)), n, entry, ended: false }
    }

    pub(crate) fn stats(&self) -> Value {
        json!({
            "connections": self.connections.load(Relaxed),
            "requests": self.requests.load(Relaxed),
            "open": self.open.load(Relaxed),
        })
    }

    /// The entries after number `after`, oldest first, as a JSON array.
    pub(crate) fn list(&self, after: u64) -> String {
        let entries: Vec<Arc<Entry>> = self.ring.iter().flat_map(|ring| ring.lock().after(after)).collect();
        let mut out = String::from("[");
        for (place, entry) in entries.iter().enumerate() {
            let separator = if place == 0 { "" } else { ",\n" };
            let _ = write!(out, "{separator}{}", entry.to_json());
        }
        out.push(']');
        out
    }

    /// Forgets the entries; the numbering and the counters of what is open go on.
    pub(crate) fn clear(&self) {
        if let Some(ring) = &self.ring {
            *ring.lock() = Ring::default();
        }
    }
}

impl Ring {
    fn after(&self, n: u64) -> Vec<Arc<Entry>> {
        let newer = self.entries.iter().filter(|(entry, _)| entry.n > n);
        newer.map(|(entry, _)| Arc::clone(entry)).collect()
    }

    fn push(&mut self, entry: Arc<Entry>, weight: usize) {
        self.entries.push_back((entry, weight));
        self.bytes += weight;
        self.shrink();
    }

    /// Adds the weight of a body that was kept for the entry `n`.
    fn grow(&mut self, n: u64, weight: usize) {
        if let Some((_, size)) = self.entries.iter_mut().rev().find(|(entry, _)| entry.n == n) {
            *size += weight;
            self.bytes += weight;
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        while self.entries.len() > MOST_ENTRIES || self.bytes > MOST_BYTES {
            let Some((_, weight)) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= weight;
        }
    }
}

impl Entry {
    fn new(n: u64, head: &Parts) -> Self {
        let mut headers = Vec::with_capacity(512);
        for (name, value) in &head.headers {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.push(0);
            headers.extend_from_slice(value.as_bytes());
            headers.push(b'\n');
        }
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        Self {
            n,
            method: head.method.clone(),
            target: target.into(),
            headers: headers.into_boxed_slice(),
            body: Mutex::default(),
            note: Mutex::default(),
            completed: AtomicBool::new(false),
            client_gone: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            bytes_sent: AtomicU64::new(0),
        }
    }

    fn headers(&self) -> Vec<Value> {
        let lines = String::from_utf8_lossy(&self.headers);
        let pairs = lines.lines().filter_map(|line| line.split_once('\0'));
        pairs.map(|(name, value)| json!([name, value])).collect()
    }

    fn to_json(&self) -> Value {
        let note = self.note.lock().clone();
        let body = self.body.lock();
        let sha256 = match (&body.sha256, &body.bytes) {
            (Some(digest), _) => hex(digest),
            (None, Some(bytes)) => hex(&Sha256::digest(bytes)),
            (None, None) => hex(&Sha256::digest(b"")),
        };
        let text = body.bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let Bill { input, usage } = note.bill;
        json!({
            "n": self.n,
            "method": self.method.as_str(),
            "path": self.target,
            "headers": self.headers(),
            "dialect": note.dialect,
            "model": note.model,
            "stream": note.stream,
            "status": note.status,
            "body_bytes": body.length,
            "body_sha256": sha256,
            "body": text,
            "input_tokens": input.total(),
            "cached_tokens": input.cache_read,
            "cache_write_5m_tokens": input.cache_write_5m,
            "cache_write_1h_tokens": input.cache_write_1h,
            "output_tokens": usage.output,
            "reasoning_tokens": usage.reasoning,
            "completed": self.completed.load(Relaxed),
            "client_gone": self.client_gone.load(Relaxed),
            "cut": self.cut.load(Relaxed),
            "bytes_sent": self.bytes_sent.load(Relaxed),
        })
    }
}

/// The hold of one request on its line; dropped before the answer is out, it says that the client went away.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// None for requests that are about the books themselves.
    books: Option<Arc<Books>>,
    n: u64,
    entry: Option<Arc<Entry>>,
    ended: bool,
}

impl Ticket {
    /// A ticket that notes nothing.
    pub(crate) fn unbooked() -> Self {
        Self { books: None, n: 0, entry: None, ended: false }
    }

    pub(crate) fn keep_body(&self, body: &Bytes) {
        let Some(entry) = &self.entry else {
            return;
        };
        let kept = body.len() <= KEPT_BODY;
        *entry.body.lock() = KeptBody {
            bytes: kept.then(|| Bytes::copy_from_slice(body)),
            length: body.len(),
            sha256: (!kept).then(|| Sha256::digest(body).into()),
        };
        let ring = self.books.as_ref().and_then(|books| books.ring.as_ref());
        if let (true, Some(ring)) = (kept && body.len() > SMALL_BODY, ring) {
            ring.lock().grow(self.n, body.len());
        }
    }

    pub(crate) fn note(&self, note: impl FnOnce() -> Note) {
        if let Some(entry) = &self.entry {
            *entry.note.lock() = note();
        }
    }

    /// Bills what was said so far instead of the whole answer.
    pub(crate) fn rebill(&self, usage: Usage) {
        if let Some(entry) = &self.entry {
            entry.note.lock().bill.usage = usage;
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        if let Some(entry) = &self.entry {
            entry.bytes_sent.fetch_add(bytes as u64, Relaxed);
        }
    }

    pub(crate) fn complete(&mut self) {
        self.ended = true;
        if let Some(entry) = &self.entry {
            entry.completed.store(true, Relaxed);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.ended
    }

    /// The provider itself breaks off.
    pub(crate) fn cut(&mut self) {
        self.ended = true;
        if let Some(entry) = &self.entry {
            entry.cut.store(true, Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(books) = &self.books {
            books.open.fetch_sub(1, Relaxed);
        }
        if let Some(entry) = &self.entry
            && !self.ended
        {
            entry.client_gone.store(true, Relaxed);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_by_number_and_by_bytes() {
        let books = Arc::new(Books::new(true));
        let head = || http::Request::get("/v1/models").body(()).unwrap().into_parts().0;
        for _ in 0..MOST_ENTRIES + 5 {
            books.open(&head()).complete();
        }
        {
            let ring = books.ring.as_ref().unwrap().lock();
            assert_eq!(ring.entries.len(), MOST_ENTRIES);
            assert_eq!(ring.entries[0].0.n, 6);
        }
        let body = Bytes::from(vec![0; KEPT_BODY]);
        for _ in 0..3000 {
            books.open(&head()).keep_body(&body);
        }
        let ring = books.ring.as_ref().unwrap().lock();
        assert!(ring.bytes <= MOST_BYTES);
        let weights: usize = ring.entries.iter().map(|(_, weight)| weight).sum();
        assert_eq!(weights, ring.bytes);
    }

    #[test]
    fn a_dropped_ticket_says_that_the_client_went_away() {
        let books = Arc::new(Books::new(true));
        let head = http::Request::get("/").body(()).unwrap().into_parts().0;
        drop(books.open(&head));
        let mut done = books.open(&head);
        done.complete();
        drop(done);
        let entries: Value = serde_json::from_str(&books.list(0)).unwrap();
        assert_eq!((&entries[0]["client_gone"], &entries[1]["client_gone"]), (&json!(true), &json!(false)));
        assert_eq!(books.stats()["open"], 0);
    }
}
