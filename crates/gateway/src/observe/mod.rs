//! What an operator sees of calls as they end: figures to scrape, and a line of log for each. Every call passes here
//! once: from its ticket, or from the door where it never got one.

mod figures;
mod lines;

pub use figures::{BOUNDS, Counts, End, Served, Times, Work};

use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{Dialect, Endpoint, KeyId, RequestId};
use figures::Figures;
use lines::{Lines, Writer};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::Thread;

/// What all threads saw. Each adds to its own part, which only a scrape or the log's writer shares with it for a moment.
pub struct Observed {
    parts: Mutex<Vec<Arc<Part>>>,
    with_lines: bool,
    writer: Writer,
}

struct Part {
    figures: Figures,
    lines: Lines,
}

impl Observed {
    /// Nothing is gathered for a log that nobody writes.
    pub fn new(with_lines: bool) -> Self {
        Observed { parts: Mutex::default(), with_lines, writer: Writer::default() }
    }

    /// Where one more thread tells what it sees.
    pub(crate) fn observer(&self) -> Observer {
        let part = Arc::new(Part { figures: Figures::default(), lines: Lines::new(self.writer.clone()) });
        self.parts.lock().push(part.clone());
        Observer { part, with_lines: self.with_lines }
    }

    /// The figures of all threads together.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for part in self.parts.lock().iter() {
            part.figures.add_to(&mut sum);
            sum.missed_lines += part.lines.missed();
        }
        sum
    }

    /// The thread that will write the lines: it is unparked when there are many.
    pub fn lines_are_written_by(&self, thread: Thread) {
        let _ = self.writer.set(thread);
    }

    /// Writes the lines that were gathered since the last time, oldest first within a thread. `buffer` is empty before
    /// and after.
    pub fn write_lines(&self, buffer: &mut Vec<u8>, mut write: impl FnMut(&[u8])) {
        // Held for no longer than it takes to copy the pointers: whoever reads the log may be slow.
        let parts: Vec<Arc<Part>> = self.parts.lock().clone();
        for part in parts {
            part.lines.take(buffer);
            if !buffer.is_empty() {
                write(buffer);
                buffer.clear();
            }
        }
    }
}

/// One thread's ear to its calls.
pub(crate) struct Observer {
    part: Arc<Part>,
    with_lines: bool,
}

/// A call that was answered without a record: a stranger's, or one that only reads.
pub(crate) struct Unrecorded {
    pub request: RequestId,
    pub endpoint: Option<Endpoint>,
    pub dialect: Dialect,
    /// The key, where one was known.
    pub key: Option<KeyId>,
    pub client: Option<IpAddr>,
    pub started_at: i64,
    pub total_us: u64,
    pub status: u16,
    pub outcome: Outcome,
    pub code: &'static str,
}

impl Observer {
    pub fn opened(&self) {
        self.part.figures.running(1);
    }

    pub fn closed(&self) {
        self.part.figures.running(-1);
    }

    pub fn connections(&self, change: i64) {
        self.part.figures.connections(change);
    }

    pub fn ended(&self, record: &AttemptRecord) {
        self.part.figures.ended(record);
        if self.with_lines {
            self.part.lines.ended(record);
        }
    }

    /// An attempt that never reached its provider, after which the call goes on.
    pub fn lost(&self, provider: &Arc<str>) {
        self.part.figures.lost(provider);
    }

    pub fn unrecorded(&self, call: &Unrecorded) {
        self.part.figures.unrecorded(call.endpoint, call.outcome, call.code);
        if self.with_lines {
            self.part.lines.unrecorded(call);
        }
    }
}
