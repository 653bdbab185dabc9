//! A file system in memory that tears, loses and fails writes, and forgets what was not synced when the power goes.

use crate::fs::{File, FileSystem};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[derive(Default)]
pub(crate) struct SimDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<Mutex<Content>>>>,
    locked: Arc<AtomicBool>,
    faults: Arc<Faults>,
    /// Whether file work is done where it is asked for, so that a run is the same each time.
    instant: bool,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What a power cut leaves.
    synced: Vec<u8>,
}

/// What goes wrong, until it is switched off.
#[derive(Default)]
pub(crate) struct Faults {
    pub full: AtomicBool,
    pub write_fails: AtomicBool,
    pub sync_fails: AtomicBool,
    /// Writes take at most seven bytes.
    pub short_writes: AtomicBool,
    pub syncs: AtomicUsize,
    creates_held: Mutex<bool>,
    creates_go_on: Condvar,
}

impl Faults {
    fn wait_to_create(&self) {
        self.creates_go_on.wait_while(&mut self.creates_held.lock(), |held| *held);
    }
}

/// As long as it lives whoever makes a file waits, as on a slow disk.
pub(crate) struct HeldCreates(Arc<Faults>);

impl Drop for HeldCreates {
    fn drop(&mut self) {
        *self.0.creates_held.lock() = false;
        self.0.creates_go_on.notify_all();
    }
}

impl SimDisk {
    pub(crate) fn hold_creates(&self) -> HeldCreates {
        *self.faults.creates_held.lock() = true;
        HeldCreates(self.faults.clone())
    }

    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn instant() -> Arc<Self> {
        Arc::new(SimDisk { instant: true, ..SimDisk::default() })
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The disk as another process finds it after this one died: everything written is there.
    pub(crate) fn after_kill(&self) -> Arc<Self> {
        self.copy(|c| c.bytes.clone())
    }

    /// The disk after a power cut: of each file only what was synced.
    pub(crate) fn after_power_cut(&self) -> Arc<Self> {
        self.copy(|c| c.synced.clone())
    }

    fn copy(&self, keep: impl Fn(&Content) -> Vec<u8>) -> Arc<Self> {
        let disk = if self.instant { SimDisk::instant() } else { SimDisk::new() };
        for (path, content) in self.files.lock().iter() {
            let bytes = keep(&content.lock());
            disk.put(path, bytes);
        }
        disk
    }

    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { synced: bytes.clone(), bytes };
        self.files.lock().insert(path.to_owned(), Arc::new(Mutex::new(content)));
    }

    /// The journal's segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        self.files.lock().keys().filter(|p| p.extension().is_some_and(|e| e == "log")).cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.lock().keys().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.files.lock()[path].lock().bytes.clone()
    }
}

struct SimFile {
    content: Arc<Mutex<Content>>,
    faults: Arc<Faults>,
}

struct Locked(Arc<AtomicBool>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

fn missing() -> io::Error {
    ErrorKind::NotFound.into()
}

fn eio() -> io::Error {
    io::Error::other("input/output error")
}

impl FileSystem for SimDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if self.locked.swap(true, SeqCst) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Locked(self.locked.clone())))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.lock().get(path).map(|c| c.lock().bytes.clone()).ok_or_else(missing)
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn File>> {
        self.faults.wait_to_create();
        if self.faults.full.load(SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        let mut files = self.files.lock();
        if files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let bytes = vec![0; size as usize];
        let content = Arc::new(Mutex::new(Content { synced: bytes.clone(), bytes }));
        files.insert(path.to_owned(), content.clone());
        Ok(Box::new(SimFile { content, faults: self.faults.clone() }))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.put(path, content.to_vec());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let content = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(|_| ()).ok_or_else(missing)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_instant(&self) -> bool {
        self.instant
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.faults.write_fails.load(SeqCst) {
            return Err(eio());
        }
        let n = if self.faults.short_writes.load(SeqCst) { bytes.len().min(7) } else { bytes.len() };
        let at = offset as usize;
        let mut content = self.content.lock();
        assert!(at + n <= content.bytes.len(), "a write past the allocated end");
        content.bytes[at..at + n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let from = content.bytes.get(offset as usize..offset as usize + bytes.len());
        bytes.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, SeqCst);
        if self.faults.sync_fails.load(SeqCst) {
            return Err(eio());
        }
        let mut content = self.content.lock();
        content.synced = content.bytes.clone();
        Ok(())
    }
}
