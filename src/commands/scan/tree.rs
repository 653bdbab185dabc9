//! Files in folders, looked through by a few threads that take folders and files from one list.

use super::finding::Finding;
use super::look::{Look, Looker, Tally};
use crate::cli::Failure;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// More threads than this wait for the disk.
const MOST_THREADS: usize = 8;

/// What is still to be looked at.
#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    /// Threads that may still add to it.
    busy: usize,
}

struct Item {
    path: PathBuf,
    folder: bool,
}

#[derive(Default)]
struct Work {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A thread that panicked left the list whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item; `None` when nothing is left and nobody can find more.
    fn take(&self) -> Option<Item> {
        let mut queue = self.lock();
        loop {
            if let Some(item) = queue.items.pop() {
                queue.busy += 1;
                return Some(item);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An item is done, and this is what was in it.
    fn done(&self, more: Vec<Item>) {
        let mut queue = self.lock();
        queue.busy -= 1;
        queue.items.extend(more);
        drop(queue);
        self.changed.notify_all();
    }
}

/// Looks through files and all that is in folders. Links are not followed, except where one was named.
pub fn files(look: &Look, paths: Vec<PathBuf>, threads: Option<usize>) -> Result<(Vec<Finding>, Tally), Failure> {
    let work = Work::default();
    for path in paths {
        let meta = fs::metadata(&path)
            .map_err(|error| Failure::failed(format!("{} could not be read: {error}", path.display())))?;
        work.lock().items.push(Item { folder: meta.is_dir(), path });
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or(cores.min(MOST_THREADS));
    let parts: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| worker(look, &work))).collect();
        running.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let (mut findings, mut tally) = (Vec::new(), Tally::default());
    for part in parts {
        let (found, counted) = part.map_err(|_| Failure::failed("a thread of the scan broke off"))?;
        findings.extend(found);
        tally.add(counted);
    }
    findings.sort_by(|a, b| (&a.path, a.line, a.column).cmp(&(&b.path, b.line, b.column)));
    tally.unreadable.sort();
    Ok((findings, tally))
}

fn worker(look: &Look, work: &Work) -> (Vec<Finding>, Tally) {
    let mut looker = Looker::new(look);
    while let Some(item) = work.take() {
        let mut more = Vec::new();
        let outcome = match item.folder {
            true => open_folder(&item.path, &mut more),
            false => open_file(&item.path, &mut looker),
        };
        if let Err(error) = outcome {
            looker.tally.could_not_read(shown(&item.path), error);
        }
        work.done(more);
    }
    (looker.findings, looker.tally)
}

fn open_folder(path: &Path, more: &mut Vec<Item>) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A link's target is looked at where it stands, if it stands here at all; sockets and pipes hold nothing.
        if kind.is_dir() && !is_object_store(path, &entry.file_name()) || kind.is_file() {
            more.push(Item { path: entry.path(), folder: kind.is_dir() });
        }
    }
    Ok(())
}

/// Git's compressed objects, in which nothing can be found this way; `--git` looks into them.
fn is_object_store(parent: &Path, name: &std::ffi::OsStr) -> bool {
    name == "objects" && (parent.file_name().is_some_and(|p| p == ".git") || parent.join("HEAD").is_file())
}

fn open_file(path: &Path, looker: &mut Looker<'_>) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.len() > looker.look.max_size {
        looker.tally.large += 1;
        return Ok(());
    }
    looker.read(file, &shown(path), None)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
