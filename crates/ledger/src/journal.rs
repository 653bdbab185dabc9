//! The journal of one run: the gate that admits calls, the segments and who keeps them. Entries are written by
//! [`crate::writer`]; they are read back by [`crate::recovery`].

use crate::budgets::Budgets;
use crate::fs::{FileSystem, is_full, write_all_at};
use crate::options::{Durability, Failure, Options, Unavailable};
use crate::segment::{Segment, SegmentName};
use crate::writer::{Homes, Lane, Place};
use anykey_core::record::AttemptRecord;
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use tokio::sync::{Notify, watch};

const FULL: u8 = 1;
const BEHIND: u8 = 2;
const FAILED: u8 = 4;
const CLOSED: u8 = 8;

pub(crate) struct Journal {
    pub fs: Arc<dyn FileSystem>,
    pub dir: PathBuf,
    pub epoch: u32,
    pub options: Options,
    pub budgets: Budgets,
    /// Zero where calls are admitted.
    gate: AtomicU8,
    failure: watch::Sender<Option<Failure>>,
    closed: watch::Sender<bool>,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Complete segments that something still keeps.
    sealed: Mutex<Vec<Arc<Segment>>>,
    /// Intents that were dropped without an end.
    abandoned: Mutex<Vec<Place>>,
    /// One at a time: removing or syncing complete segments, and one fsync of what is being written.
    tending: Mutex<()>,
    syncing: Mutex<()>,
    /// Records that are not stored yet.
    pending: AtomicUsize,
    pub wake_keeper: Notify,
    pub wake_flusher: Notify,
    pub wake_syncer: Notify,
}

impl Journal {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, dir: PathBuf, epoch: u32, options: Options) -> Self {
        Journal {
            fs,
            dir,
            epoch,
            options,
            budgets: Budgets::default(),
            gate: AtomicU8::new(0),
            failure: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            lanes: Mutex::default(),
            sealed: Mutex::default(),
            abandoned: Mutex::default(),
            tending: Mutex::default(),
            syncing: Mutex::default(),
            pending: AtomicUsize::new(0),
            wake_keeper: Notify::new(),
            wake_flusher: Notify::new(),
            wake_syncer: Notify::new(),
        }
    }

    /// Whether a new call may be sent. One atomic load where it may.
    pub(crate) fn admit(&self) -> Result<(), Unavailable> {
        match self.gate.load(Acquire) {
            0 => Ok(()),
            bits => Err(refusal(bits)),
        }
    }

    /// Whether the end of a running call may be appended: also on a full disk and with the database away.
    pub(crate) fn admit_end(&self) -> Result<(), Unavailable> {
        match self.gate.load(Acquire) & (FAILED | CLOSED) {
            0 => Ok(()),
            bits => Err(refusal(bits)),
        }
    }

    /// Poisons the journal: nothing is appended any more. Only the first failure is kept.
    pub(crate) fn fail(&self, what: &'static str, why: &io::Error) -> Unavailable {
        self.gate.fetch_or(FAILED, AcqRel);
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                tracing::error!(what, error = %why, "the journal failed; no further call is admitted");
                *failure = Some(Failure { what, why: why.to_string() });
            }
            first
        });
        Unavailable::Failed
    }

    /// Resolves when the journal has failed.
    pub(crate) async fn failed(&self) -> Failure {
        let mut watch = self.failure.subscribe();
        loop {
            if let Some(failure) = watch.borrow_and_update().clone() {
                return failure;
            }
            // The sender is in `self`, so the channel is open.
            let _ = watch.changed().await;
        }
    }

    /// Stops all appends. None is under way when this returns.
    pub(crate) fn shut(&self) {
        self.gate.fetch_or(CLOSED, AcqRel);
        for lane in self.lanes() {
            drop(lane.state.lock());
        }
        self.closed.send_replace(true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.gate.load(Acquire) & CLOSED != 0
    }

    /// Resolves when nothing is appended any more.
    pub(crate) async fn closed(&self) {
        // The sender is in `self`, so the channel is open.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn has_failed(&self) -> bool {
        self.gate.load(Acquire) & FAILED != 0
    }

    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().clone()
    }

    /// Makes a new lane with its first segment and, if there is room, the next one.
    pub(crate) fn open_lane(&self) -> io::Result<Arc<Lane>> {
        let mut lanes = self.lanes.lock();
        if self.is_closed() {
            return Err(io::Error::other("the ledger is closed"));
        }
        let id = lanes.len() as u32;
        let first = self.make_segment(id, 0).map_err(|e| e.why)?;
        let lane = Arc::new(Lane::new(id, Arc::new(first)));
        lanes.push(lane.clone());
        drop(lanes);
        self.stock();
        Ok(lane)
    }

    /// Runs `with` while no writer can append: to see all queues at one instant.
    pub(crate) fn with_all_queues<T>(
        &self,
        with: impl FnOnce(&mut dyn Iterator<Item = (&AttemptRecord, &Homes)>) -> T,
    ) -> T {
        let lanes = self.lanes.lock();
        let states: Vec<_> = lanes.iter().map(|lane| lane.state.lock()).collect();
        with(&mut states.iter().flat_map(|state| state.queue.records.iter().zip(&state.queue.homes)))
    }

    /// Makes, names and starts one segment, durably.
    pub(crate) fn make_segment(&self, lane: u32, number: u32) -> Result<Segment, NoSegment> {
        let name = SegmentName { epoch: self.epoch, writer: lane, number };
        let path = self.dir.join(name.to_string());
        // Too many open files, a missing right: also reasons to wait rather than to die. Nothing was written yet.
        let file = self.fs.create(&path, self.options.segment_bytes).map_err(NoSegment::may_pass)?;
        let started = Segment::start(name, file).and_then(|segment| {
            self.fs.sync_dir(&self.dir)?;
            Ok(segment)
        });
        started.map_err(|e| {
            // It holds no entry; the next try takes another name.
            let _ = self.fs.remove(&path);
            NoSegment { passes: is_full(&e), why: e }
        })
    }

    /// Gives every lane its next segment. Where one cannot be made calls are refused until it can.
    pub(crate) fn stock(&self) {
        let mut full = false;
        for lane in self.lanes() {
            match lane.stock(self) {
                Ok(()) => {}
                Err(NoSegment { passes: true, why }) => {
                    tracing::warn!(error = %why, "no room for the journal's next segment; calls are refused");
                    full = true;
                }
                Err(NoSegment { passes: false, why }) => {
                    self.fail("preparing a segment", &why);
                }
            }
        }
        self.set(FULL, full);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.gate.load(Acquire) & FULL != 0
    }

    fn set(&self, bit: u8, on: bool) {
        if on {
            self.gate.fetch_or(bit, AcqRel);
        } else {
            self.gate.fetch_and(!bit, AcqRel);
        }
    }

    pub(crate) fn sealed(&self, segment: Arc<Segment>) {
        self.sealed.lock().push(segment);
        self.wake_keeper.notify_one();
    }

    pub(crate) fn has_sealed(&self) -> bool {
        !self.sealed.lock().is_empty()
    }

    /// Removes complete segments that nothing keeps; makes the others durable and marks them so.
    pub(crate) fn tend_sealed(&self) {
        let _one = self.tending.lock();
        let segments = std::mem::take(&mut *self.sealed.lock());
        let kept: Vec<_> = segments.into_iter().filter(|segment| !self.tend(segment)).collect();
        self.sealed.lock().extend(kept);
    }

    /// Returns whether the segment is gone.
    fn tend(&self, segment: &Segment) -> bool {
        if segment.keep.load(Acquire) == 0 {
            return self.remove(segment);
        }
        // After a failure nothing is synced again: the failed file may be this one.
        if !self.has_failed() && !segment.synced.swap(true, AcqRel) {
            let synced = segment.file.sync().and_then(|()| write_all_at(&*segment.file, &segment.name.header(true), 0));
            if let Err(e) = synced {
                self.fail("syncing a segment", &e);
            }
        }
        false
    }

    fn remove(&self, segment: &Segment) -> bool {
        let removed = self.fs.remove(&self.dir.join(segment.name.to_string()));
        if let Err(e) = &removed {
            tracing::warn!(segment = %segment.name, error = %e, "a segment that is no longer needed stays for now");
        }
        removed.is_ok()
    }

    /// One fsync for all entries that wait for one.
    pub(crate) fn sync_lanes(&self) {
        if self.options.durability == Durability::Fast || self.has_failed() {
            return;
        }
        let _one = self.syncing.lock();
        for lane in self.lanes() {
            let mut state = lane.state.lock();
            let appended = state.appended;
            if *lane.durable.borrow() == appended {
                continue;
            }
            let mut segments = std::mem::take(&mut state.unsynced);
            segments.push(state.segment.clone());
            drop(state);
            if let Err(e) = segments.iter().try_for_each(|s| s.file.sync()) {
                self.fail("syncing the journal", &e);
                return;
            }
            lane.durable.send_replace(appended);
        }
    }

    /// After [`Journal::shut`]: removes what is not needed and makes the rest durable.
    pub(crate) fn clear_away(&self) -> io::Result<()> {
        let _one = self.tending.lock();
        let mut segments = std::mem::take(&mut *self.sealed.lock());
        for lane in self.lanes() {
            segments.push(lane.state.lock().segment.clone());
            segments.extend(lane.take_spare().map(Arc::new));
        }
        let mut done = Ok(());
        for segment in segments {
            if segment.keep.load(Acquire) == 0 {
                self.remove(&segment);
            } else if !self.has_failed() && !segment.synced.swap(true, AcqRel) {
                done = done.and(segment.file.sync());
            }
        }
        done.and(self.fs.sync_dir(&self.dir))
    }

    /// Counts a record that waits to be stored. Comes before the record can be seen by the flusher, which counts down.
    pub(crate) fn one_more(&self) {
        let pending = self.pending.fetch_add(1, AcqRel) + 1;
        if pending == self.options.flush_at {
            self.wake_flusher.notify_one();
        }
        if pending >= self.options.max_pending {
            self.set(BEHIND, true);
        }
    }

    pub(crate) fn stored(&self, records: usize) {
        self.pending.fetch_sub(records, AcqRel);
    }

    /// Admits again once the backlog has gone down by a quarter.
    pub(crate) fn relieve(&self) {
        if self.pending() < self.options.max_pending.div_ceil(4) * 3 {
            self.set(BEHIND, false);
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Acquire)
    }

    pub(crate) fn abandon(&self, place: Place) {
        self.one_more();
        self.abandoned.lock().push(place);
    }

    pub(crate) fn has_abandoned(&self) -> bool {
        !self.abandoned.lock().is_empty()
    }

    pub(crate) fn take_abandoned(&self) -> Vec<Place> {
        std::mem::take(&mut *self.abandoned.lock())
    }
}

/// The gravest reason first.
fn refusal(bits: u8) -> Unavailable {
    if bits & FAILED != 0 {
        Unavailable::Failed
    } else if bits & CLOSED != 0 {
        Unavailable::Closed
    } else if bits & FULL != 0 {
        Unavailable::StorageFull
    } else {
        Unavailable::LedgerUnavailable
    }
}

/// A segment could not be made.
pub(crate) struct NoSegment {
    /// Whether it is worth trying again.
    pub passes: bool,
    pub why: io::Error,
}

impl NoSegment {
    fn may_pass(why: io::Error) -> Self {
        NoSegment { passes: true, why }
    }
}
