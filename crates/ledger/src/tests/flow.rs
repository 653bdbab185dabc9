//! The ledger at work: flushing, refusing, failing, closing.

use super::books::Fate;
use super::disk::HeldCreates;
use super::*;
use crate::segment::HEADER_LEN;
use crate::{CloseError, Durability, Intent, OpenError, Unavailable, Writer};
use std::sync::atomic::Ordering::SeqCst;

const NEVER: Duration = Duration::from_secs(100_000);

fn begin(writer: &Writer, n: u64) -> Intent {
    writer.intent(&record(n), None).unwrap()
}

fn whole_call(writer: &Writer, n: u64) {
    let intent = begin(writer, n);
    writer.settle(intent, record(n)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flush_stores_everything_appended_before_it() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { flush_interval: NEVER, ..options() }).await;
    let writers = [ledger.writer().unwrap(), ledger.writer().unwrap()];
    for n in 0..40 {
        whole_call(&writers[n as usize % 2], n);
    }
    assert_eq!(ledger.pending(), 40);
    books.will([Fate::FailsBefore, Fate::FailsAfter, Fate::FailsAfter]);
    ledger.flush().await.unwrap();
    assert_eq!((books.rows().len(), books.changes(), ledger.pending()), (40, 40, 0));
    assert_eq!(books.rows()[&(record(7).request, 1)], record(7));
    assert!(books.batches().iter().all(|n| *n <= 7));
    books.assert_balanced();
}

#[tokio::test(start_paused = true)]
async fn records_are_stored_after_an_interval() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    whole_call(&ledger.writer().unwrap(), 1);
    let start = tokio::time::Instant::now();
    until("the record is stored", || books.rows().len() == 1).await;
    assert!(start.elapsed() <= Duration::from_millis(1_100));
}

#[tokio::test(start_paused = true)]
async fn many_records_do_not_wait_for_the_interval() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { flush_interval: NEVER, flush_at: 20, ..options() }).await;
    let writer = ledger.writer().unwrap();
    (0..19).for_each(|n| whole_call(&writer, n));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(books.rows().len(), 0);
    whole_call(&writer, 19);
    until("the records are stored", || books.rows().len() == 20).await;
}

#[tokio::test(start_paused = true)]
async fn closing_stores_all_and_leaves_no_segment() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    (0..500).for_each(|n| whole_call(&writer, n));
    ledger.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!((books.rows().len(), disk.names()), (500, vec!["epoch".to_owned()]));
    assert_eq!(writer.admit(), Err(Unavailable::Closed));
    assert_eq!(writer.record(record(501)), Err(Unavailable::Closed));
    assert!(ledger.writer().is_err());
    assert_eq!(disk.names(), ["epoch"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_at_the_close_is_stored_at_the_next_start() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    books.away.store(true, SeqCst);
    whole_call(&writer, 1);
    let running = begin(&writer, 2);
    let closed = ledger.close(Duration::from_secs(5)).await;
    assert!(matches!(closed, Err(CloseError::NotStored(1))));
    assert_eq!(writer.settle(running, record(2)), Err(Unavailable::Closed));
    drop((ledger, writer));
    books.away.store(false, SeqCst);
    // Closing made it durable.
    let ledger = open(&disk.after_power_cut(), &books, options()).await;
    let found = ledger.recovered();
    assert_eq!((found.records, found.unresolved, found.cut), (2, 1, 0));
    assert_eq!(books.rows()[&(record(1).request, 1)], record(1));
    assert_eq!(books.rows()[&(record(2).request, 1)], unresolved(&record(2)));
}

#[tokio::test(start_paused = true)]
async fn stored_segments_go_and_a_running_call_keeps_only_its_own() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let running = begin(&writer, 9_999);
    let first = disk.segments()[0].clone();
    for n in 0..3_000 {
        whole_call(&writer, n);
        if n % 100 == 0 {
            ledger.flush().await.unwrap();
        }
    }
    ledger.flush().await.unwrap();
    until("stored segments are gone", || disk.segments().len() == 3).await;
    assert_eq!(disk.segments()[0], first, "with the intent of the running call; beside it the current and the next");
    writer.settle(running, record(9_999)).unwrap();
    ledger.flush().await.unwrap();
    until("its segment is gone", || disk.segments().len() == 2).await;
    assert_eq!(books.rows().len(), 3_001);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_recorded_as_unresolved() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    drop(begin(&writer, 1));
    ledger.flush().await.unwrap();
    assert_eq!(books.rows()[&(record(1).request, 1)], unresolved(&record(1)));
    // Nothing is left that a crash would have to recover.
    let after = FakeBooks::new();
    ledger.close(Duration::from_secs(1)).await.unwrap();
    drop(ledger);
    open(&disk, &after, options()).await;
    assert!(after.rows().is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_the_books_away_too_long_calls_are_refused_until_they_are_back() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { max_pending: 50, ..options() }).await;
    let writer = ledger.writer().unwrap();
    books.away.store(true, SeqCst);
    let running: Vec<_> = (100..110).map(|n| begin(&writer, n)).collect();
    for n in 0..50 {
        assert_eq!(ledger.admit(), Ok(()), "{n}");
        whole_call(&writer, n);
    }
    assert_eq!(ledger.admit(), Err(Unavailable::LedgerUnavailable));
    assert_eq!(writer.intent(&record(50), None).err(), Some(Unavailable::LedgerUnavailable));
    for (n, intent) in (100..).zip(running) {
        writer.settle(intent, record(n)).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((ledger.pending(), ledger.admit()), (60, Err(Unavailable::LedgerUnavailable)));
    books.away.store(false, SeqCst);
    until("calls are admitted again", || ledger.admit().is_ok()).await;
    ledger.flush().await.unwrap();
    assert_eq!((books.rows().len(), books.changes()), (60, 60));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_seen_before_a_call_is_sent_and_running_calls_settle() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    books.away.store(true, SeqCst);
    disk.faults().full.store(true, SeqCst);
    let mut running = Vec::new();
    let mut n = 0;
    while ledger.admit().is_ok() {
        running.push((n, begin(&writer, n)));
        n += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ledger.admit(), Err(Unavailable::StorageFull));
    assert_eq!(writer.record(record(n)), Err(Unavailable::StorageFull), "a refusal does not use up the reserve");
    let (last, running): (Vec<_>, Vec<_>) = running.into_iter().partition(|(n, _)| n % 2 == 0);
    for (n, intent) in running {
        writer.settle(intent, record(n)).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(ledger.admit(), Err(Unavailable::StorageFull));
    disk.faults().full.store(false, SeqCst);
    until("it recovers by itself", || ledger.admit().is_ok()).await;
    for (n, intent) in last {
        writer.settle(intent, record(n)).unwrap();
    }
    books.away.store(false, SeqCst);
    ledger.flush().await.unwrap();
    assert_eq!((books.rows().len(), books.changes()), (n as usize, n as usize));
}

#[tokio::test]
async fn without_a_next_segment_the_last_quarter_is_for_running_calls() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { segment_bytes: 128 * 1024, ..options() }).await;
    let writer = ledger.writer().unwrap();
    disk.faults().full.store(true, SeqCst);
    // Nothing else runs in between, as if the disk were slow: nobody notices yet that it is full.
    let mut running = Vec::new();
    let refused = loop {
        match writer.intent(&record(running.len() as u64), None) {
            Ok(intent) => running.push(intent),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused, ledger.admit()), (Unavailable::StorageFull, Ok(())));
    for (n, intent) in (0..).zip(running).take(100) {
        writer.settle(intent, record(n)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_poisons_and_the_next_start_recovers() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let (writer, other) = (ledger.writer().unwrap(), ledger.writer().unwrap());
    whole_call(&writer, 1);
    let running = begin(&writer, 2);
    let unhurt = begin(&other, 3);
    disk.faults().write_fails.store(true, SeqCst);
    assert_eq!(writer.settle(running, record(2)), Err(Unavailable::Failed));
    disk.faults().write_fails.store(false, SeqCst);
    assert_eq!(ledger.failed().await.what, "appending an entry");
    assert_eq!(ledger.admit(), Err(Unavailable::Failed));
    assert_eq!(other.settle(unhurt, record(3)), Err(Unavailable::Failed));
    let left = disk.after_kill();
    drop(ledger);
    open(&left, &books, options()).await;
    let rows = books.rows();
    assert_eq!(rows[&(record(1).request, 1)], record(1));
    assert_eq!(rows[&(record(2).request, 1)], unresolved(&record(2)));
    assert_eq!(rows[&(record(3).request, 1)], unresolved(&record(3)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_fsync_poisons_and_is_never_repeated() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { durability: Durability::Strict, ..options() }).await;
    let writer = ledger.writer().unwrap();
    let intent = begin(&writer, 1);
    writer.durable().await.unwrap();
    disk.faults().sync_fails.store(true, SeqCst);
    writer.settle(intent, record(1)).unwrap();
    assert_eq!(writer.durable().await, Err(Unavailable::Failed));
    assert_eq!(ledger.failed().await.what, "syncing the journal");
    assert_eq!(ledger.admit(), Err(Unavailable::Failed));
    disk.faults().sync_fails.store(false, SeqCst);
    let syncs = disk.faults().syncs.load(SeqCst);
    books.away.store(true, SeqCst);
    assert_eq!(writer.durable().await, Err(Unavailable::Failed));
    assert!(ledger.close(Duration::from_secs(1)).await.is_err());
    assert_eq!(disk.faults().syncs.load(SeqCst), syncs);
}

#[tokio::test(start_paused = true)]
async fn short_writes_are_completed() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    disk.faults().short_writes.store(true, SeqCst);
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    books.away.store(true, SeqCst);
    (0..400).for_each(|n| whole_call(&writer, n));
    let left = disk.after_kill();
    drop(ledger);
    let after = FakeBooks::new();
    assert_eq!(open(&left, &after, options()).await.recovered().cut, 0);
    assert_eq!(after.rows().len(), 400);
}

#[tokio::test(start_paused = true)]
async fn fast_mode_syncs_nothing_on_the_path_of_a_call() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    let syncs = disk.faults().syncs.load(SeqCst);
    (0..100).for_each(|n| whole_call(&writer, n));
    writer.durable().await.unwrap();
    assert_eq!(disk.faults().syncs.load(SeqCst), syncs);
}

#[tokio::test(start_paused = true)]
async fn waiting_entries_share_one_fsync() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, Options { durability: Durability::Strict, ..options() }).await;
    let writer = ledger.writer().unwrap();
    let syncs = disk.faults().syncs.load(SeqCst);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100 {
        whole_call(&writer, n);
        let writer = writer.clone();
        calls.spawn(async move { writer.durable().await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(disk.faults().syncs.load(SeqCst) - syncs, 1, "for 200 entries");
}

/// The first segment is complete, the writer is in the second, and no background work can get at either.
async fn just_rotated(disk: &Arc<SimDisk>, books: &Arc<FakeBooks>) -> (Ledger, Writer, usize, HeldCreates) {
    let strict = Options { durability: Durability::Strict, flush_interval: NEVER, flush_at: usize::MAX, ..options() };
    let ledger = open(disk, books, strict).await;
    let writer = ledger.writer().unwrap();
    let held = disk.hold_creates();
    let mut n = 0;
    while disk.content(&disk.segments()[1])[HEADER_LEN..].iter().all(|b| *b == 0) {
        whole_call(&writer, n);
        n += 1;
    }
    (ledger, writer, n as usize, held)
}

#[tokio::test(start_paused = true)]
async fn strict_mode_syncs_what_was_appended_before_the_segment_changed() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let (_ledger, writer, calls, _held) = just_rotated(&disk, &books).await;
    writer.durable().await.unwrap();
    let after = FakeBooks::new();
    open(&disk.after_power_cut(), &after, options()).await;
    assert_eq!(after.rows().len(), calls);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_fsync_no_other_segment_is_synced_either() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let (ledger, writer, _, held) = just_rotated(&disk, &books).await;
    books.away.store(true, SeqCst);
    disk.faults().sync_fails.store(true, SeqCst);
    assert_eq!(writer.durable().await, Err(Unavailable::Failed));
    disk.faults().sync_fails.store(false, SeqCst);
    let before = disk.faults().syncs.load(SeqCst);
    drop(held);
    until("the next segment is made", || disk.segments().len() == 3).await;
    let made = 1;
    assert!(ledger.close(Duration::from_secs(1)).await.is_err());
    assert_eq!(disk.faults().syncs.load(SeqCst) - before, made, "only the header of the fresh file");
}

/// Threads append while the ledger is dropped and opened again: what a writer was told is appended is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_append_slips_behind_the_back_of_the_next_ledger() {
    for _ in 0..30 {
        let (disk, books) = (SimDisk::new(), FakeBooks::new());
        let quiet = Options { flush_interval: NEVER, flush_at: usize::MAX, ..options() };
        let ledger = open(&disk, &books, quiet).await;
        let threads: Vec<_> = (0..2u64)
            .map(|t| {
                let writer = ledger.writer().unwrap();
                let append = move |n| match t {
                    0 => writer.record(record(n)).is_ok(),
                    _ => writer.intent(&record(1 << 32 | n), None).is_ok(),
                };
                std::thread::spawn(move || (0..).take_while(|n| append(*n)).count())
            })
            .collect();
        until("both have begun", || ledger.pending() > 20).await;
        drop(ledger);
        let ledger = open(&disk, &books, options()).await;
        let appended: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!((books.rows().len(), ledger.recovered().records), (appended, appended as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_see_records_once_they_are_stored() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let writer = ledger.writer().unwrap();
    whole_call(&writer, 0);
    ledger.flush().await.unwrap();
    let mut tail = ledger.subscribe();
    whole_call(&writer, 1);
    whole_call(&writer, 2);
    assert!(tail.try_recv().is_err());
    ledger.flush().await.unwrap();
    assert_eq!(*tail.recv().await.unwrap(), record(1));
    assert_eq!(*tail.recv().await.unwrap(), record(2));
    assert!(tail.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_directory_belongs_to_one_ledger() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let second = Ledger::open_on(disk.clone(), DIR, options(), books.clone()).await;
    assert!(matches!(second, Err(OpenError::Locked(_))));
    let writer = ledger.writer().unwrap();
    drop(ledger);
    open(&disk, &books, options()).await;
    assert_eq!(writer.admit(), Err(Unavailable::Closed), "a writer of the old ledger writes nothing any more");
}

#[tokio::test]
async fn on_a_real_disk_what_was_not_stored_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let books = FakeBooks::new();
    let ledger = Ledger::open(&journal, Options { flush_interval: NEVER, ..options() }, books.clone()).await.unwrap();
    assert!(matches!(Ledger::open(&journal, options(), books.clone()).await, Err(OpenError::Locked(_))));
    let writer = ledger.writer().unwrap();
    (0..300).for_each(|n| whole_call(&writer, n));
    let running = begin(&writer, 300);
    assert_eq!(books.rows().len(), 0);
    drop(ledger);
    drop(running);
    let ledger = Ledger::open(&journal, options(), books.clone()).await.unwrap();
    assert_eq!((ledger.recovered().records, ledger.recovered().unresolved), (301, 1));
    assert_eq!((books.rows().len(), books.changes()), (301, 301));
    ledger.close(Duration::from_secs(5)).await.unwrap();
    let mut names: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["epoch", "lock"]);
}

#[test]
fn a_new_file_has_its_space() {
    use crate::fs::{Disk, FileSystem};
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    drop(Disk.create(&path, 1 << 20).unwrap());
    let made = std::fs::metadata(&path).unwrap();
    assert_eq!(made.len(), 1 << 20);
    assert!(made.blocks() * 512 >= 1 << 20, "{} blocks", made.blocks());
    assert!(Disk.create(&path, 1 << 20).is_err(), "it never takes a file that is there");
}
