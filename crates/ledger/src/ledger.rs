//! The ledger as the rest of the program sees it: opened once, with recovery; asked for writers, budgets and flushes;
//! closed at the end.

use crate::books::{AnyBooks, Books, BooksError};
use crate::budget::BudgetCell;
use crate::flush::{self, Flusher, Requests};
use crate::fs::{Disk, FileSystem};
use crate::fund::{Fund, Funded, Patience};
use crate::journal::Journal;
use crate::options::{Durability, Failure, Options, Unavailable};
use crate::recovery::{self, OpenError, Recovered};
use crate::writer::Writer;
use anykey_core::record::{AttemptRecord, Outcome};
use anykey_core::{BudgetId, Nanos, Window};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

/// How often room for the next segment is looked for on a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// The smallest segment: room for a few of the longest entries.
const SMALLEST: u64 = 64 * 1024;

/// The ledger. Clones are the same ledger. Dropping the last one without [`Ledger::close`] is like a crash: nothing is
/// lost, and the next start stores what was not stored.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    journal: Arc<Journal>,
    requests: Arc<Requests>,
    tail: broadcast::Sender<Arc<AttemptRecord>>,
    recovered: Recovered,
    tasks: Vec<JoinHandle<()>>,
    _lock: Box<dyn Send + Sync>,
}

/// What [`Ledger::close`] could not do.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error("{0} records are not in the books yet; they are safe in the journal and the next start stores them")]
    NotStored(usize),
    #[error("the journal could not be made durable: {0}")]
    Io(#[from] io::Error),
}

impl Ledger {
    /// Opens the journal in a directory that it has for itself, which is made if it is not there.
    ///
    /// Recovers first: whatever earlier runs left is checked as a whole, then stored. While the books are away it waits
    /// for them, so it returns only when the books are complete. Must be called in a tokio runtime with time enabled,
    /// which then also runs the ledger's background work.
    pub async fn open(dir: impl Into<PathBuf>, options: Options, books: impl Books) -> Result<Ledger, OpenError> {
        Self::open_on(Arc::new(Disk), dir, options, books).await
    }

    /// As [`Ledger::open`], on another file system.
    pub async fn open_on(
        fs: Arc<dyn FileSystem>,
        dir: impl Into<PathBuf>,
        mut options: Options,
        books: impl Books,
    ) -> Result<Ledger, OpenError> {
        options.segment_bytes = options.segment_bytes.max(SMALLEST);
        let dir = dir.into();
        let books: Arc<dyn AnyBooks> = Arc::new(books);
        let lock = blocking(&fs, &dir, take).await?;
        let (epoch, recovered) = recover(&fs, &dir, &options, &*books).await?;
        let journal = Arc::new(Journal::new(fs, dir, epoch, options));
        let tail = broadcast::Sender::new(journal.options.tail_capacity.max(1));
        let requests = Arc::new(Requests::default());
        let flusher = Flusher::new(journal.clone(), books, requests.clone(), tail.clone());
        let spawn = |what, work: Work| tokio::spawn(watched(journal.clone(), what, work));
        let mut tasks = vec![
            spawn("the flush", Box::pin(flusher.run())),
            spawn("the keeping of segments", Box::pin(keep(journal.clone()))),
        ];
        if journal.options.durability == Durability::Strict {
            tasks.push(spawn("the syncing of the journal", Box::pin(sync(journal.clone()))));
        }
        Ok(Ledger(Arc::new(Inner { journal, requests, tail, recovered, tasks, _lock: lock })))
    }

    /// What was found when this ledger was opened.
    pub fn recovered(&self) -> Recovered {
        self.0.recovered
    }

    /// Makes a writer with its own segments. Writes and syncs two small files' worth of metadata, so it is for the start
    /// of a thread, not for the path of a call.
    pub fn writer(&self) -> Result<Writer, OpenError> {
        let journal = self.0.journal.clone();
        let lane = journal.open_lane().map_err(|why| OpenError::Io { dir: journal.dir.clone(), why })?;
        Ok(Writer { journal, lane })
    }

    /// Whether a new call may be sent. One atomic load; ask before anything is sent.
    pub fn admit(&self) -> Result<(), Unavailable> {
        self.0.journal.admit()
    }

    /// Resolves when the journal can no longer be written. The process must then exit (with status 74), because a file
    /// whose write or fsync failed cannot be trusted again; the next start recovers.
    pub async fn failed(&self) -> Failure {
        self.0.journal.failed().await
    }

    /// How many records are journaled but not yet in the books.
    pub fn pending(&self) -> usize {
        self.0.journal.pending()
    }

    /// Waits until everything appended so far is in the books; as long as they are away, it waits for them.
    pub async fn flush(&self) -> Result<(), Unavailable> {
        let done = self.0.requests.flush();
        self.0.journal.wake_flusher.notify_one();
        done.await.map_err(|_| Unavailable::Closed)
    }

    /// Each record once it is in the books. A listener that falls too far behind misses some and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AttemptRecord>> {
        self.0.tail.subscribe()
    }

    /// The budget of the window that a moment (milliseconds since 1970) lies in, if it is in memory; see
    /// [`Ledger::budget_within`].
    pub fn budget_in_memory(&self, id: impl Into<BudgetId>, at: i64) -> Option<Arc<BudgetCell>> {
        self.0.journal.budgets.get(id.into(), at)
    }

    /// A budget over all time.
    pub async fn budget(
        &self,
        id: impl Into<BudgetId>,
        limit: impl Fn() -> Nanos + Send + Sync + 'static,
    ) -> Result<Arc<BudgetCell>, BooksError> {
        self.budget_within(id.into(), Window::ALL, limit).await
    }

    /// A budget over a window of time. The first use loads what was spent in it, exactly, with one read of the books for
    /// all who ask; from then on it is memory only. A budget that is in memory keeps the limit it has: change it with
    /// [`Ledger::set_limit`]. An error means that the books are away and nothing about it is in memory: the answer to the
    /// caller is 503, never 402.
    pub async fn budget_within(
        &self,
        id: BudgetId,
        window: Window,
        limit: impl Fn() -> Nanos + Send + Sync + 'static,
    ) -> Result<Arc<BudgetCell>, BooksError> {
        if let Some(cell) = self.budget_in_memory(id, window.start) {
            return Ok(cell);
        }
        match self.ask(id, window, limit, None).await? {
            Funded::Loaded(cell) => Ok(cell),
            _ => Err(BooksError::new("a budget was asked for and something else came")),
        }
    }

    /// Holds money of a budget that several processes spend from, where what is leased here is not enough: it leases more,
    /// up to the limit and `extra` beyond it, and waits a moment for others to give back what they do not need.
    pub async fn fund(&self, cell: &Arc<BudgetCell>, amount: Nanos, extra: Nanos) -> Result<Funded, BooksError> {
        let limit = cell.limit();
        self.ask(cell.id(), cell.window(), move || limit, Some((amount, extra))).await
    }

    async fn ask(
        &self,
        id: BudgetId,
        window: Window,
        limit: impl Fn() -> Nanos + Send + Sync + 'static,
        wanted: Option<(Nanos, Nanos)>,
    ) -> Result<Funded, BooksError> {
        let (answer, wait) = oneshot::channel();
        self.0.requests.fund(Fund {
            id,
            window,
            limit: Box::new(limit),
            wanted,
            patience: Patience::default(),
            answer,
        });
        self.0.journal.wake_flusher.notify_one();
        wait.await.unwrap_or_else(|_| Err(BooksError::new("the ledger is closed")))
    }

    /// Changes a limit, in force for every hold after this returns. To be called after the change is where the `limit` of
    /// [`Ledger::budget`] reads it; then a budget that is being loaded at this moment gets it too.
    pub fn set_limit(&self, id: impl Into<BudgetId>, limit: Nanos) {
        self.0.journal.budgets.set_limit(id.into(), limit);
    }

    /// Frees the memory of a budget that nobody uses. Returns whether it is gone.
    pub fn forget_budget(&self, id: impl Into<BudgetId>) -> bool {
        let journal = &self.0.journal;
        journal.budgets.forget(id.into(), || journal.has_abandoned())
    }

    /// Stops appends, stores what is queued, and removes the journal. If the books do not take it all within `patience`,
    /// the rest stays in the journal for the next start. So do attempts that are still running: settle them first.
    pub async fn close(&self, patience: Duration) -> Result<(), CloseError> {
        let journal = &self.0.journal;
        journal.shut();
        // A time-out shows in what is still pending.
        let _ = timeout(patience, self.flush()).await;
        self.0.tasks.iter().for_each(JoinHandle::abort);
        let files = journal.clone();
        run(&*journal.fs, move || {
            files.sync_lanes();
            files.clear_away()
        })
        .await?;
        match journal.pending() {
            0 => Ok(()),
            n => Err(CloseError::NotStored(n)),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Writers may live longer; another ledger may open this directory as soon as the lock is gone.
        self.journal.shut();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Background work that panics leaves the ledger unable to do its part; then the process has to start again.
async fn watched(journal: Arc<Journal>, what: &'static str, work: Work) {
    struct Watch(Arc<Journal>, &'static str);
    impl Drop for Watch {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.fail(self.1, &io::Error::other("a panic"));
            }
        }
    }
    let _watch = Watch(journal, what);
    work.await;
}

/// Runs file work where it may block. A panic in it is carried on.
async fn run<T: Send + 'static>(fs: &dyn FileSystem, work: impl FnOnce() -> T + Send + 'static) -> T {
    if fs.is_instant() {
        return work();
    }
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and takes no more work; the task that asked goes with it.
            Err(_) => std::future::pending().await,
        },
    }
}

async fn blocking<T: Send + 'static>(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    work: impl FnOnce(&dyn FileSystem, &Path) -> T + Send + 'static,
) -> T {
    let (files, dir) = (fs.clone(), dir.to_owned());
    run(&**fs, move || work(&*files, &dir)).await
}

fn take(fs: &dyn FileSystem, dir: &Path) -> Result<Box<dyn Send + Sync>, OpenError> {
    fs.create_dir_all(dir).and_then(|()| fs.lock(dir)).map_err(|why| match why.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(dir.to_owned()),
        _ => OpenError::Io { dir: dir.to_owned(), why },
    })
}

/// Checks everything, stores everything, and only then removes it. Returns the number of the new run.
async fn recover(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    options: &Options,
    books: &dyn AnyBooks,
) -> Result<(u32, Recovered), OpenError> {
    let survey = Arc::new(blocking(fs, dir, recovery::survey).await?);
    let mut found = Recovered::default();
    for i in 0..survey.segments.len() {
        let reader = survey.clone();
        let records = blocking(fs, dir, move |fs, dir| reader.records(fs, dir, &reader.segments[i])).await?;
        for batch in records.chunks(options.batch_rows.max(1)) {
            flush::store(books, batch, &[], |_| ()).await;
        }
        found.records += records.len() as u64;
        found.unresolved += records.iter().filter(|r| r.outcome == Outcome::Unresolved).count() as u64;
        found.cut += u64::from(survey.segments[i].is_cut());
    }
    if books.is_shared() {
        let replica = blocking(fs, dir, recovery::replica).await?;
        flush::insist(|| books.begin(replica), |_| ()).await;
    }
    let epoch = survey.epoch + 1;
    blocking(fs, dir, move |fs, dir| {
        recovery::write_epoch(fs, dir, epoch)?;
        survey.segments.iter().try_for_each(|old| recovery::retire(fs, dir, old))?;
        fs.sync_dir(dir)
    })
    .await
    .map_err(|why| OpenError::Io { dir: dir.to_owned(), why })?;
    if found != Recovered::default() {
        tracing::info!(found.records, found.unresolved, found.cut, "the journal of an earlier run was stored");
    }
    Ok((epoch, found))
}

/// Prepares segments ahead of need and removes those that are no longer needed.
async fn keep(journal: Arc<Journal>) {
    loop {
        if journal.is_full() {
            tokio::select! {
                () = journal.wake_keeper.notified() => {}
                () = sleep(RETRY) => {}
            }
        } else {
            journal.wake_keeper.notified().await;
        }
        let files = journal.clone();
        run(&*journal.fs, move || {
            files.stock();
            files.tend_sealed();
        })
        .await;
    }
}

/// Strict mode: one fsync after the other, as long as entries wait for one. Those that come while one runs share the next.
async fn sync(journal: Arc<Journal>) {
    loop {
        journal.wake_syncer.notified().await;
        let files = journal.clone();
        run(&*journal.fs, move || files.sync_lanes()).await;
    }
}
