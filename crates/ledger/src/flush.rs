//! The flush: takes records from the writers' queues to the books, again and again until they are stored, and lets the
//! journal's segments go. It also loads budgets, because only here it is known what the books contain.

use crate::books::{AnyBooks, BooksError};
use crate::budget::BudgetCell;
use crate::codec::{self, Kind, Read};
use crate::journal::Journal;
use crate::writer::{Homes, Place, Queue};
use anykey_core::record::AttemptRecord;
use anykey_core::{BudgetId, Nanos, Window};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What others ask of the flusher.
#[derive(Default)]
pub(crate) struct Requests {
    flushes: Mutex<Vec<oneshot::Sender<()>>>,
    loads: Mutex<Vec<Load>>,
}

/// A budget that is to be brought into memory.
pub(crate) struct Load {
    pub id: BudgetId,
    pub window: Window,
    pub limit: Box<dyn FnOnce() -> Nanos + Send>,
    pub answer: oneshot::Sender<Result<Arc<BudgetCell>, BooksError>>,
}

impl Requests {
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        self.flushes.lock().push(done);
        wait
    }

    pub(crate) fn load(&self, load: Load) {
        self.loads.lock().push(load);
    }

    fn take_loads(&self) -> Vec<Load> {
        std::mem::take(&mut *self.loads.lock())
    }

    fn is_empty(&self) -> bool {
        self.flushes.lock().is_empty() && self.loads.lock().is_empty()
    }
}

/// Repeats a batch until it is stored.
pub(crate) async fn store(books: &dyn AnyBooks, batch: &[AttemptRecord], mut failed: impl FnMut(&BooksError)) {
    let mut pause = FIRST_PAUSE;
    while let Err(why) = books.apply(batch).await {
        tracing::warn!(error = %why, records = batch.len(), "the records could not be stored yet");
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
        Flusher { journal, books, requests, tail, batch: Queue::default(), emptied: Vec::new() }
    }

    pub(crate) async fn run(mut self) {
        let journal = self.journal.clone();
        let every = journal.options.flush_interval.max(Duration::from_millis(1));
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = journal.wake_flusher.notified() => {}
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
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        for load in self.requests.take_loads() {
            self.load(load).await;
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
            store(&*self.books, records, |why| self.refuse_loads(why)).await;
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

    /// While the books are away a budget that is not in memory cannot be known; whoever asks is told at once.
    fn refuse_loads(&self, why: &BooksError) {
        for load in self.requests.take_loads() {
            let _ = load.answer.send(Err(why.clone()));
        }
    }

    /// What somebody has spent is what the books say, and what waits in the queues. Between batches the two are disjoint and
    /// complete; the queues stand still while the budget is put in place, and every later settle finds it.
    async fn load(&self, load: Load) {
        let Load { id, window, limit, answer: asked } = load;
        let answer = match self.journal.budgets.get(id, window.start) {
            Some(cell) => Ok(cell),
            None => self.books.spent(id, window).await.map(|stored| {
                self.journal.with_all_queues(|queued| {
                    let spent = queued
                        .filter(|(r, homes)| window.contains(r.started_at) && homes.payers.include(id.subject))
                        .fold(stored, |sum, (r, _)| sum.saturating_add(r.cost.unwrap_or_default()));
                    self.journal.budgets.install(id, window, limit, spent)
                })
            }),
        };
        let _ = asked.send(answer);
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
