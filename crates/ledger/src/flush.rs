//! The flush: takes records from the writers' queues to the books, again and again until they are stored, and lets the
//! journal's segments go. Budgets are brought into memory and funded between two batches ([`crate::fund`]), because only
//! here it is known what the books contain.

use crate::books::{AnyBooks, BooksError};
use crate::codec::{self, Kind, Read};
use crate::fund::{AGAIN, Fund};
use crate::journal::Journal;
use crate::lease::Leases;
use crate::writer::{Homes, Place, Queue};
use anykey_core::lease::Lease;
use anykey_core::record::AttemptRecord;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often it is looked whether others wait for what this process has leased.
const LOOK: Duration = Duration::from_millis(250);

/// What others ask of the flusher.
#[derive(Default)]
pub(crate) struct Requests {
    flushes: Mutex<Vec<oneshot::Sender<()>>>,
    funds: Mutex<Vec<Fund>>,
}

impl Requests {
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        self.flushes.lock().push(done);
        wait
    }

    pub(crate) fn fund(&self, fund: Fund) {
        self.funds.lock().push(fund);
    }

    pub(crate) fn take_funds(&self) -> Vec<Fund> {
        std::mem::take(&mut *self.funds.lock())
    }

    fn is_empty(&self) -> bool {
        self.flushes.lock().is_empty() && self.funds.lock().is_empty()
    }
}

/// Repeats a batch until it is stored.
pub(crate) async fn store(
    books: &dyn AnyBooks,
    batch: &[AttemptRecord],
    leases: &[Lease],
    failed: impl FnMut(&BooksError),
) {
    insist(|| books.apply(batch, leases), failed).await;
}

/// Repeats what the books must take until they do.
pub(crate) async fn insist<F: Future<Output = Result<(), BooksError>>>(
    mut work: impl FnMut() -> F,
    mut failed: impl FnMut(&BooksError),
) {
    let mut pause = FIRST_PAUSE;
    while let Err(why) = work().await {
        tracing::warn!(error = %why, "the books could not be written; trying again");
        failed(&why);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

pub(crate) struct Flusher {
    pub journal: Arc<Journal>,
    pub books: Arc<dyn AnyBooks>,
    pub requests: Arc<Requests>,
    pub tail: broadcast::Sender<Arc<AttemptRecord>>,
    pub leases: Leases,
    /// Who waits until others have given back what they do not need.
    pub waiting: Vec<Fund>,
    batch: Queue,
    /// Emptied queues, given back to the writers so that they need not grow theirs again.
    emptied: Vec<Queue>,
}

impl Flusher {
    pub(crate) fn new(
        journal: Arc<Journal>,
        books: Arc<dyn AnyBooks>,
        requests: Arc<Requests>,
        tail: broadcast::Sender<Arc<AttemptRecord>>,
    ) -> Self {
        Flusher {
            journal,
            books,
            requests,
            tail,
            leases: Leases::default(),
            waiting: Vec::new(),
            batch: Queue::default(),
            emptied: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let journal = self.journal.clone();
        let every = journal.options.flush_interval.max(Duration::from_millis(1));
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => self.keep_leases().await,
                _ = look.tick(), if self.books.is_shared() => self.heed_others().await,
                () = journal.wake_flusher.notified() => {}
                () = sleep(AGAIN), if !self.waiting.is_empty() => {}
            }
            self.cycle().await;
            while journal.pending() >= journal.options.flush_at || !self.requests.is_empty() {
                self.cycle().await;
            }
        }
    }

    /// Stores everything that was queued when it began, then answers who asked before that.
    async fn cycle(&mut self) {
        let flushes = std::mem::take(&mut *self.requests.flushes.lock());
        self.drain();
        self.store_batch().await;
        self.journal.relieve();
        if self.journal.is_closed() {
            self.close_leases().await;
        }
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        for fund in self.take_funds() {
            self.fund(fund).await;
        }
    }

    fn drain(&mut self) {
        for lane in self.journal.lanes() {
            let mut taken = self.emptied.pop().unwrap_or_default();
            std::mem::swap(&mut lane.state.lock().queue, &mut taken);
            if self.batch.records.is_empty() {
                std::mem::swap(&mut self.batch, &mut taken);
            } else {
                self.batch.append(&mut taken);
            }
            self.keep_emptied(taken);
        }
        for place in self.journal.take_abandoned() {
            self.resolve(place);
        }
    }

    /// A queue that grew while the database was away is not kept at that size.
    fn keep_emptied(&mut self, queue: Queue) {
        if queue.records.capacity() <= 4 * self.journal.options.batch_rows {
            self.emptied.push(queue);
        }
    }

    /// An intent that nobody settled: its hold is charged, as it would be after a crash.
    fn resolve(&mut self, place: Place) {
        let Some(record) = read_intent(&place) else {
            tracing::error!(segment = %place.segment.name, at = place.at, "a dropped call could not be read back; the next start records it");
            self.journal.stored(1);
            return;
        };
        tracing::warn!(request = %record.request, attempt = record.attempt, "a call was dropped without an end; its hold is charged");
        let payers = place.payers.unwrap_or(record.key.into());
        let (began, cost) = (record.started_at, record.cost.unwrap_or_default());
        self.journal.budgets.charge(&payers, began, cost, place.charged.as_ref());
        self.batch.push(record, Homes { settle: None, intent: Some(place.segment), first: place.first, payers });
    }

    async fn store_batch(&mut self) {
        let rows = self.journal.options.batch_rows.max(1);
        for (records, homes) in self.batch.records.chunks(rows).zip(self.batch.homes.chunks(rows)) {
            let leases = self.leases.store(records, homes);
            store(&*self.books, records, &leases, |why| self.refuse_funds(why)).await;
            homes.iter().for_each(Homes::let_go);
            self.journal.stored(records.len());
            self.journal.relieve();
        }
        if !self.batch.homes.is_empty() && self.journal.has_sealed() {
            self.journal.wake_keeper.notify_one();
        }
        self.batch.homes.clear();
        self.show();
        let batch = std::mem::take(&mut self.batch);
        if batch.records.capacity() <= 4 * rows {
            self.batch = batch;
        }
    }

    /// Empties the batch, through whoever listens.
    fn show(&mut self) {
        if self.tail.receiver_count() == 0 {
            self.batch.records.clear();
        }
        for record in self.batch.records.drain(..) {
            // The last listener may just have left.
            let _ = self.tail.send(Arc::new(record));
        }
    }

    /// While the books are away a budget that is not in memory cannot be known, nor more of it leased; whoever asks is told
    /// at once.
    fn refuse_funds(&self, why: &BooksError) {
        for fund in self.requests.take_funds() {
            fund.refuse(why);
        }
    }
}

fn read_intent(place: &Place) -> Option<AttemptRecord> {
    let mut bytes = vec![0; place.len];
    place.segment.file.read_exact_at(&mut bytes, place.at).ok()?;
    match codec::read_frame(&bytes) {
        Read::Frame(frame) if frame.kind == Kind::Intent => codec::decode_intent(frame.body),
        _ => None,
    }
}
