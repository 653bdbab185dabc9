//! Appending to the journal: one [`Writer`] for each thread of the data plane, one `write` for each entry.

use crate::budget::Hold;
use crate::codec::{self, SEAL_LEN, Stamp};
use crate::fs::write_all_at;
use crate::journal::{Journal, NoSegment};
use crate::options::{Durability, Unavailable};
use crate::segment::{HEADER_LEN, Segment};
use anykey_core::record::AttemptRecord;
use anykey_core::{Nanos, Payers};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use tokio::sync::watch;

/// What one writer owns: its segment, the next one, and its records that wait to be stored.
pub(crate) struct Lane {
    id: u32,
    pub state: Mutex<LaneState>,
    spare: Mutex<Option<Segment>>,
    has_spare: AtomicBool,
    next_number: AtomicU32,
    /// How many entries are on the disk for sure; only moves in strict mode.
    pub durable: watch::Sender<u64>,
}

pub(crate) struct LaneState {
    pub segment: Arc<Segment>,
    pub queue: Queue,
    /// How many entries were ever appended.
    pub appended: u64,
    /// In strict mode, segments that were completed since the last fsync.
    pub unsynced: Vec<Arc<Segment>>,
    /// Where in the segment the next entry goes.
    at: u64,
    index: u32,
    buffer: Vec<u8>,
}

/// Records that wait to be stored, each with the segments that it keeps.
#[derive(Default)]
pub(crate) struct Queue {
    pub records: Vec<AttemptRecord>,
    pub homes: Vec<Homes>,
}

/// The segments that hold a record's entries, and who pays for it.
pub(crate) struct Homes {
    pub settle: Option<Arc<Segment>>,
    pub intent: Option<Arc<Segment>>,
    /// That of the first intent, where the attempt outgrew its hold and the one above is a later one.
    pub first: Option<Arc<Segment>>,
    pub payers: Payers,
}

impl Homes {
    /// The record is stored: its entries are no longer needed.
    pub(crate) fn let_go(&self) {
        for segment in [&self.settle, &self.intent, &self.first].into_iter().flatten() {
            segment.keep.fetch_sub(1, AcqRel);
        }
    }
}

/// Where an intent stands that nothing was appended for at its end.
pub(crate) struct Place {
    pub segment: Arc<Segment>,
    pub at: u64,
    pub len: usize,
    /// As in [`Homes`].
    pub first: Option<Arc<Segment>>,
    /// `None` says its key alone.
    pub payers: Option<Payers>,
    /// What was held for it, charged in full.
    pub charged: Option<Hold>,
}

/// Where an entry stands.
struct Spot {
    segment: Arc<Segment>,
    at: u64,
    len: usize,
}

/// What an entry is for, which decides whether it may use the reserve.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Begin,
    End,
}

impl Lane {
    pub(crate) fn new(id: u32, segment: Arc<Segment>) -> Self {
        Lane {
            id,
            state: Mutex::new(LaneState {
                segment,
                queue: Queue::default(),
                appended: 0,
                unsynced: Vec::new(),
                at: HEADER_LEN as u64,
                index: 0,
                buffer: Vec::with_capacity(codec::MAX_FRAME),
            }),
            spare: Mutex::new(None),
            has_spare: AtomicBool::new(false),
            next_number: AtomicU32::new(1),
            durable: watch::Sender::new(0),
        }
    }

    /// Makes the next segment if it is not there.
    pub(crate) fn stock(&self, journal: &Journal) -> Result<(), NoSegment> {
        // Held while the file is made: a writer that needs it now waits for this one instead of making another.
        let mut spare = self.spare.lock();
        if spare.is_none() && !journal.is_closed() {
            *spare = Some(self.make_next(journal)?);
            self.has_spare.store(true, Release);
        }
        Ok(())
    }

    fn make_next(&self, journal: &Journal) -> Result<Segment, NoSegment> {
        journal.make_segment(self.id, self.next_number.fetch_add(1, AcqRel))
    }

    pub(crate) fn take_spare(&self) -> Option<Segment> {
        let mut spare = self.spare.lock();
        self.has_spare.store(false, Release);
        spare.take()
    }

    /// Appends one entry. Returns where it stands.
    fn append(
        &self,
        journal: &Journal,
        state: &mut MutexGuard<'_, LaneState>,
        purpose: Purpose,
        encode: impl Fn(&mut Vec<u8>, Stamp),
    ) -> Result<Spot, Unavailable> {
        let state = &mut **state;
        encode(&mut state.buffer, state.segment.name.stamp(state.index));
        let size = journal.options.segment_bytes;
        let end = state.at + (state.buffer.len() + SEAL_LEN) as u64;
        // Without a next segment the last quarter belongs to the ends of calls that are running.
        if purpose == Purpose::Begin && end > size - size / 4 && !self.has_spare.load(Acquire) {
            self.insist(journal)?;
        }
        if end > size {
            self.rotate(journal, state)?;
            encode(&mut state.buffer, state.segment.name.stamp(state.index));
        }
        let at = state.at;
        write_all_at(&*state.segment.file, &state.buffer, at).map_err(|e| journal.fail("appending an entry", &e))?;
        state.at += state.buffer.len() as u64;
        state.index += 1;
        state.appended += 1;
        state.segment.keep.fetch_add(1, AcqRel);
        Ok(Spot { segment: state.segment.clone(), at, len: state.buffer.len() })
    }

    /// The next segment is late: the disk is slow, which is waited for, or full.
    fn insist(&self, journal: &Journal) -> Result<(), Unavailable> {
        self.stock(journal).map_err(|e| {
            journal.wake_keeper.notify_one();
            if e.passes { Unavailable::StorageFull } else { journal.fail("preparing a segment", &e.why) }
        })
    }

    /// Seals the segment and goes on in the next one.
    fn rotate(&self, journal: &Journal, state: &mut LaneState) -> Result<(), Unavailable> {
        let next = match self.take_spare() {
            Some(spare) => spare,
            None => self.make_next(journal).map_err(|e| journal.fail("preparing a segment", &e.why))?,
        };
        codec::encode_seal(&mut state.buffer, state.segment.name.stamp(state.index));
        write_all_at(&*state.segment.file, &state.buffer, state.at)
            .map_err(|e| journal.fail("sealing a segment", &e))?;
        let full = std::mem::replace(&mut state.segment, Arc::new(next));
        if journal.options.durability == Durability::Strict {
            state.unsynced.push(full.clone());
        }
        journal.sealed(full);
        state.at = HEADER_LEN as u64;
        state.index = 0;
        Ok(())
    }
}

/// Appends entries. Clones share one lane; threads that each make their own do not wait for each other.
#[derive(Clone)]
pub struct Writer {
    pub(crate) journal: Arc<Journal>,
    pub(crate) lane: Arc<Lane>,
}

/// What settling an attempt came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// By how much the cost is above what was held; zero nearly always. It was charged all the same.
    pub overrun: Nanos,
}

impl Writer {
    /// Whether a new call may be sent at all; see [`crate::Ledger::admit`].
    pub fn admit(&self) -> Result<(), Unavailable> {
        self.journal.admit()
    }

    /// Journals that an attempt is about to be sent, before its first byte is. `hold` is the money that was taken for it,
    /// where its key has a budget. If this refuses, nothing may be sent; the hold is given back.
    pub fn intent(&self, record: &AttemptRecord, hold: Option<Hold>) -> Result<Intent, Unavailable> {
        debug_assert!(hold.as_ref().is_none_or(|h| h.amount() == record.hold));
        let appended = self.journal.admit().and_then(|()| {
            let mut state = self.lane.state.lock();
            // Again under the lock: after `Journal::shut` nothing is appended.
            self.journal.admit_end()?;
            self.lane.append(&self.journal, &mut state, Purpose::Begin, |b, stamp| {
                codec::encode_intent(b, stamp, record);
            })
        });
        match appended {
            Ok(spot) => Ok(Intent { journal: self.journal.clone(), spot: Some(spot), first: None, hold, payers: None }),
            Err(refusal) => {
                if let Some(hold) = hold {
                    hold.release();
                }
                Err(refusal)
            }
        }
    }

    /// Holds more money for an attempt that is running and outgrows its hold, and journals that, so that a crash charges the
    /// larger one. `record` is as it was for the intent, with the hold that there was. Returns whether the attempt may go
    /// on: `false` says that a budget has too little left, or that the disk has no room for the entry, and then nothing has
    /// changed. An attempt that no budget limits has nothing to hold and always may.
    pub fn extend(&self, intent: &mut Intent, record: &mut AttemptRecord, by: Nanos) -> bool {
        let Some(hold) = &mut intent.hold else { return true };
        if !hold.extend(by) {
            return false;
        }
        let before = std::mem::replace(&mut record.hold, hold.amount());
        let appended = self.journal.admit_end().and_then(|()| {
            let mut state = self.lane.state.lock();
            self.journal.admit_end()?;
            self.lane.append(&self.journal, &mut state, Purpose::Begin, |b, stamp| {
                codec::encode_intent(b, stamp, record);
            })
        });
        match appended {
            Ok(spot) => {
                // The first entry stays, since a power cut may take the newest; those between have said all they had to.
                let older = intent.spot.replace(spot).map(|spot| spot.segment);
                if intent.first.is_none() {
                    intent.first = older;
                } else if let Some(older) = older {
                    older.keep.fetch_sub(1, AcqRel);
                }
                true
            }
            Err(_) => {
                hold.shrink(by);
                record.hold = before;
                false
            }
        }
    }

    /// Journals the end of an attempt, before the last byte of its answer is released to the caller, charges its budget
    /// and queues the record for the books. If this fails the caller must not see the end: the attempt is recorded as
    /// unresolved at the next start.
    pub fn settle(&self, mut intent: Intent, record: AttemptRecord) -> Result<Settled, Unavailable> {
        let mut state = self.lane.state.lock();
        self.journal.admit_end()?;
        let home = self.append_settle(&mut state, Purpose::End, &record)?.segment;
        let began = intent.spot.take().map(|spot| spot.segment);
        let first = intent.first.take();
        let payers = intent.payers.unwrap_or(record.key.into());
        let (at, cost) = (record.started_at, record.cost.unwrap_or_default());
        self.journal.one_more();
        state.queue.push(record, Homes { settle: Some(home), intent: began, first, payers });
        let hold = intent.hold.take();
        self.journal.budgets.charge(&payers, at, cost, hold.as_ref());
        Ok(Settled { overrun: hold.map_or(Nanos::ZERO, |hold| hold.settle(cost)) })
    }

    /// Journals a record that had no intent, because nothing was sent: a refusal. Such records may not use the space that
    /// is reserved for calls that are running, so this is refused on a full disk.
    pub fn record(&self, record: AttemptRecord) -> Result<(), Unavailable> {
        self.journal.admit()?;
        let mut state = self.lane.state.lock();
        self.journal.admit_end()?;
        let home = self.append_settle(&mut state, Purpose::Begin, &record)?.segment;
        let payers = Payers::from(record.key);
        let (at, cost) = (record.started_at, record.cost.unwrap_or_default());
        self.journal.one_more();
        state.queue.push(record, Homes { settle: Some(home), intent: None, first: None, payers });
        self.journal.budgets.charge(&payers, at, cost, None);
        Ok(())
    }

    fn append_settle(
        &self,
        state: &mut MutexGuard<'_, LaneState>,
        purpose: Purpose,
        record: &AttemptRecord,
    ) -> Result<Spot, Unavailable> {
        self.lane.append(&self.journal, state, purpose, |b, stamp| codec::encode_settle(b, stamp, record))
    }

    /// Waits until everything that this writer has appended is as durable as the settings ask for. Returns at once in
    /// [`Durability::Fast`].
    pub async fn durable(&self) -> Result<(), Unavailable> {
        if self.journal.options.durability == Durability::Fast {
            return Ok(());
        }
        let target = self.lane.state.lock().appended;
        let mut durable = self.lane.durable.subscribe();
        self.journal.wake_syncer.notify_one();
        tokio::select! {
            biased;
            reached = durable.wait_for(|done| *done >= target) => reached.map(|_| ()).map_err(|_| Unavailable::Closed),
            _ = self.journal.failed() => Err(Unavailable::Failed),
            () = self.journal.closed() => Err(Unavailable::Closed),
        }
    }
}

impl Queue {
    pub(crate) fn push(&mut self, record: AttemptRecord, homes: Homes) {
        self.records.push(record);
        self.homes.push(homes);
    }

    pub(crate) fn append(&mut self, other: &mut Queue) {
        self.records.append(&mut other.records);
        self.homes.append(&mut other.homes);
    }
}

/// An attempt that was journaled as about to be sent. It ends in [`Writer::settle`], through any writer. Dropped instead,
/// it is recorded as unresolved and its hold is charged.
#[must_use = "an intent that is dropped is recorded as unresolved"]
pub struct Intent {
    journal: Arc<Journal>,
    /// Of its newest entry.
    spot: Option<Spot>,
    first: Option<Arc<Segment>>,
    hold: Option<Hold>,
    payers: Option<Payers>,
}

impl Intent {
    /// Whether money was taken of a budget for it.
    pub fn has_hold(&self) -> bool {
        self.hold.is_some()
    }

    /// Says whose money the attempt spends, where that is more than its key's.
    pub fn paid_by(mut self, payers: Payers) -> Self {
        self.payers = Some(payers);
        self
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some(Spot { segment, at, len }) = self.spot.take() {
            let mut charged = self.hold.take();
            if let Some(hold) = &mut charged {
                hold.charge_all();
            }
            let first = self.first.take();
            self.journal.abandon(Place { segment, at, len, first, payers: self.payers, charged });
        }
    }
}
