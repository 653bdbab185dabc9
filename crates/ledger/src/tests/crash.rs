//! The process dies, the power goes, bytes rot: what was appended is in the books exactly once, or the ledger refuses to
//! open and says why.

use super::books::Fate;
use super::*;
use crate::segment::{HEADER_LEN, SegmentName};
use crate::{Damage, Durability, Intent, OpenError, Recovered, Writer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

type Rows = BTreeMap<(RequestId, u8), AttemptRecord>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(u64),
    End(u64),
    Refuse(u64),
}

/// Calls that overlap; every fourth never ends.
fn script() -> Vec<Step> {
    let mut steps = Vec::new();
    for n in 0..70 {
        steps.push(Step::Begin(n));
        if n % 5 == 0 {
            steps.push(Step::Refuse(1_000 + n));
        }
        if n >= 3 && n % 4 != 0 {
            steps.push(Step::End(n - 3));
        }
    }
    steps
}

fn call(n: u64) -> AttemptRecord {
    AttemptRecord { provider: "z".repeat(500).into(), ..long_record(n) }
}

fn refusal(n: u64) -> AttemptRecord {
    AttemptRecord {
        attempt: 0,
        outcome: Outcome::Refused,
        code: "rate_limited",
        status: 429,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost: Some(Nanos::ZERO),
        ..record(n)
    }
}

/// Takes steps and knows what the books must say after a crash.
struct Calls {
    writers: [Writer; 2],
    running: BTreeMap<u64, Intent>,
    expected: Rows,
}

impl Calls {
    fn new(ledger: &Ledger) -> Self {
        let writers = [ledger.writer().unwrap(), ledger.writer().unwrap()];
        Calls { writers, running: BTreeMap::new(), expected: Rows::new() }
    }

    fn expect(&mut self, row: AttemptRecord) {
        self.expected.insert((row.request, row.attempt), row);
    }

    /// A call may end through another writer than it began with.
    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(n) => {
                let intent = self.writers[n as usize % 2].intent(&call(n), None).unwrap();
                self.running.insert(n, intent);
                self.expect(unresolved(&call(n)));
            }
            Step::End(n) => {
                let intent = self.running.remove(&n).unwrap();
                self.writers[n as usize / 2 % 2].settle(intent, call(n)).unwrap();
                self.expect(call(n));
            }
            Step::Refuse(n) => {
                self.writers[0].record(refusal(n)).unwrap();
                self.expect(refusal(n));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_append_everything_is_in_the_books_once() {
    let steps = script();
    let mut rotated = false;
    for killed_at in 0..=steps.len() {
        let (disk, books) = (SimDisk::new(), FakeBooks::new());
        books.will([Fate::FailsBefore, Fate::Stored, Fate::FailsAfter, Fate::FailsAfter]);
        let ledger = open(&disk, &books, options()).await;
        let mut calls = Calls::new(&ledger);
        for (i, step) in steps[..killed_at].iter().enumerate() {
            calls.take(*step);
            if i % 37 == 36 {
                ledger.flush().await.unwrap();
            }
        }
        rotated |= disk.segments().len() > 4;
        let left = disk.after_kill();
        drop(ledger);
        books.will([Fate::FailsAfter, Fate::FailsBefore]);
        let ledger = open(&left, &books, options()).await;
        assert_eq!(books.rows(), calls.expected, "killed at {killed_at}");
        assert_eq!(books.changes(), calls.expected.len(), "killed at {killed_at}");
        books.assert_balanced();
        assert_eq!(left.names(), ["epoch"], "stored, so gone");
        drop(ledger);
        let ledger = open(&left, &books, options()).await;
        assert_eq!((ledger.recovered(), books.changes()), (Recovered::default(), calls.expected.len()));
    }
    assert!(rotated, "the script must fill more than one segment");
}

#[tokio::test(start_paused = true)]
async fn killed_while_it_recovers_nothing_is_lost_or_doubled() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    let mut calls = Calls::new(&ledger);
    script().into_iter().for_each(|step| calls.take(step));
    let left = disk.after_kill();
    drop(ledger);
    for stored in 0..12 {
        // So many batches get through, then the books are away and the process is killed.
        books.will((0..stored).map(|_| Fate::Stored));
        books.will((0..100).map(|_| Fate::FailsBefore));
        let opening = Ledger::open_on(left.after_kill(), DIR, options(), books.clone());
        let opened = tokio::time::timeout(Duration::from_secs(20), opening).await;
        assert!(opened.is_err(), "it does not open before the books are complete");
        books.will_only_store();
    }
    let ledger = open(&left, &books, options()).await;
    assert_eq!(books.rows(), calls.expected);
    assert_eq!(books.changes(), calls.expected.len());
    books.assert_balanced();
    drop(ledger);
}

/// A journal of one writer with several complete segments, all marked as synced, and nothing of it stored.
async fn long_journal() -> (Arc<SimDisk>, Vec<AttemptRecord>) {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    books.away.store(true, SeqCst);
    let writer = ledger.writer().unwrap();
    let records: Vec<_> = (0..150).map(call).collect();
    for record in &records {
        writer.record(record.clone()).unwrap();
        tokio::task::yield_now().await;
    }
    let last_used = used(&disk).len() - 1;
    until("complete segments are marked", || {
        used(&disk)[..last_used].iter().all(|p| disk.content(p)[..HEADER_LEN] == name_of(p).header(true))
    })
    .await;
    let left = disk.after_kill();
    drop(ledger);
    (left, records)
}

fn name_of(path: &Path) -> SegmentName {
    SegmentName::parse(&path.file_name().unwrap().to_string_lossy()).unwrap()
}

fn used(disk: &SimDisk) -> Vec<PathBuf> {
    disk.segments().into_iter().filter(|p| disk.content(p)[HEADER_LEN..].iter().any(|b| *b != 0)).collect()
}

fn used_bytes(content: &[u8]) -> usize {
    content.iter().rposition(|b| *b != 0).unwrap() + 1
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_cut_at_the_end_and_refused_before() {
    let (journal, records) = long_journal().await;
    let segments = used(&journal);
    assert!(segments.len() >= 3);
    for (i, path) in segments.iter().enumerate() {
        let content = journal.content(path);
        for at in (HEADER_LEN..used_bytes(&content)).step_by(997) {
            let (disk, books) = (journal.after_kill(), FakeBooks::new());
            let mut bad = content.clone();
            bad[at] ^= 0x10;
            disk.put(path, bad);
            let opened = Ledger::open_on(disk.clone(), DIR, options(), books.clone()).await;
            if i + 1 == segments.len() {
                let ledger = opened.unwrap();
                assert_eq!(ledger.recovered().cut, 1);
                let stored = books.rows().into_values().collect::<Vec<_>>();
                assert_eq!(stored, records[..stored.len()], "a prefix");
                assert!(stored.len() < records.len());
                assert!(disk.names().iter().any(|n| n.ends_with(".cut")), "the evidence is kept");
            } else {
                let Err(OpenError::Damaged { file, damage: Damage::Entry(_) }) = opened else { panic!("opened") };
                assert_eq!(file, name_of(path).to_string());
                assert_eq!((books.rows().len(), disk.segments()), (0, journal.segments()), "nothing was touched");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_end_is_cut() {
    let (journal, records) = long_journal().await;
    let last = used(&journal).pop().unwrap();
    let content = journal.content(&last);
    let mut fewest = records.len();
    for keep in (0..used_bytes(&content)).step_by(509) {
        let (disk, books) = (journal.after_kill(), FakeBooks::new());
        disk.put(&last, content[..keep].to_vec());
        match Ledger::open_on(disk, DIR, options(), books.clone()).await {
            Ok(_) => {
                let stored = books.rows().into_values().collect::<Vec<_>>();
                assert_eq!(stored, records[..stored.len()], "a prefix");
                fewest = fewest.min(stored.len());
            }
            Err(e) => panic!("{keep}: {e}"),
        }
    }
    assert!(fewest > 0 && fewest < records.len(), "earlier segments are read whole");
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_may_tear_the_segment_before_the_last_while_it_is_not_synced() {
    let (journal, records) = long_journal().await;
    let segments = used(&journal);
    let before_last = &segments[segments.len() - 2];
    let mut torn = journal.content(before_last);
    let end = used_bytes(&torn);
    torn[end - 3_000..].fill(0);
    torn[..HEADER_LEN].copy_from_slice(&name_of(before_last).header(false));
    let (disk, books) = (journal.after_kill(), FakeBooks::new());
    disk.put(before_last, torn.clone());
    let ledger = open(&disk, &books, options()).await;
    assert_eq!(ledger.recovered().cut, 1);
    let missing = records.len() - books.rows().len();
    assert!((1..=3).contains(&missing), "{missing}");
    // The same, but its header says that it was on the disk: then it is damage.
    torn[..HEADER_LEN].copy_from_slice(&name_of(before_last).header(true));
    let disk = journal.after_kill();
    disk.put(before_last, torn);
    let opened = Ledger::open_on(disk, DIR, options(), FakeBooks::new()).await;
    assert!(matches!(opened, Err(OpenError::Damaged { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_segment_of_another_version_is_refused_and_kept() {
    let (journal, _) = long_journal().await;
    for path in journal.segments() {
        let mut newer = journal.content(&path);
        newer[8..10].copy_from_slice(&99u16.to_le_bytes());
        let (disk, books) = (journal.after_kill(), FakeBooks::new());
        disk.put(&path, newer.clone());
        let opened = Ledger::open_on(disk.clone(), DIR, options(), books.clone()).await;
        assert!(matches!(opened, Err(OpenError::Damaged { damage: Damage::Version(99), .. })));
        assert_eq!((disk.content(&path), books.rows().len()), (newer, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_log_file_is_refused() {
    let disk = SimDisk::new();
    disk.put(&Path::new(DIR).join("notes.log"), b"hello".to_vec());
    let opened = Ledger::open_on(disk, DIR, options(), FakeBooks::new()).await;
    assert!(matches!(opened, Err(OpenError::Foreign(name)) if name == "notes.log"));
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_loses_nothing_that_strict_mode_called_durable() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let strict = Options { durability: Durability::Strict, ..options() };
    let ledger = open(&disk, &books, strict.clone()).await;
    books.away.store(true, SeqCst);
    let mut calls = Calls::new(&ledger);
    for (i, step) in script().into_iter().enumerate() {
        calls.take(step);
        for writer in &calls.writers {
            writer.durable().await.unwrap();
        }
        if i % 9 == 0 {
            let after = FakeBooks::new();
            open(&disk.after_power_cut(), &after, strict.clone()).await;
            assert_eq!(after.rows(), calls.expected, "power cut after step {i}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_power_cut_fast_mode_opens_and_invents_nothing() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    let ledger = open(&disk, &books, options()).await;
    books.away.store(true, SeqCst);
    let mut calls = Calls::new(&ledger);
    for step in script() {
        calls.take(step);
        tokio::task::yield_now().await;
        let after = FakeBooks::new();
        open(&disk.after_power_cut(), &after, options()).await;
        // A lost settle leaves its intent, which is charged with the hold.
        for (id, row) in after.rows() {
            assert!(calls.expected.contains_key(&id));
            assert!(row == calls.expected[&id] || row.outcome == Outcome::Unresolved);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn epochs_never_go_back() {
    let (disk, books) = (SimDisk::new(), FakeBooks::new());
    for epoch in 1..4 {
        let ledger = open(&disk, &books, options()).await;
        ledger.writer().unwrap();
        assert_eq!(name_of(&disk.segments()[0]).epoch, epoch);
        ledger.close(Duration::from_secs(1)).await.unwrap();
        assert_eq!(disk.names(), ["epoch"]);
    }
}
