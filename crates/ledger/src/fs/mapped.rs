//! A journal file as memory: an entry goes into the kernel's page cache by a copy instead of a system call, which for two
//! entries a call took 7 percent of the calling thread's time. What is there survives the process as a `pwrite` does.
//!
//! Touching mapped memory for which the disk has no block kills the process, so only files whose blocks were reserved on
//! a file system that keeps its word are mapped; see [`keeps_reservations`].

use super::File;
use memmap2::{Advice, MmapRaw};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How much is made writable at once, ahead of what is written.
const AHEAD: usize = 64 * 1024;

pub(super) struct MappedFile {
    file: std::fs::File,
    memory: MmapRaw,
    /// Up to where pages were made writable.
    ready: AtomicUsize,
}

impl MappedFile {
    /// `file` has its final size, and all of it is reserved.
    pub fn new(file: std::fs::File) -> Result<Self, std::fs::File> {
        match MmapRaw::map_raw(&file) {
            Ok(memory) => Ok(MappedFile { file, memory, ready: AtomicUsize::new(0) }),
            Err(_) => Err(file),
        }
    }

    /// Has the kernel make pages writable a stretch at a time: one by one, each is a fault in the middle of a call.
    fn make_writable(&self, end: usize) {
        let ready = self.ready.load(Relaxed);
        if end > ready {
            let next = (end + AHEAD).min(self.memory.len());
            // A kernel that does not know how (before 5.14) makes them one by one.
            let _ = self.memory.advise_range(Advice::PopulateWrite, ready, next - ready);
            self.ready.store(next, Relaxed);
        }
    }
}

/// Whether blocks that `fallocate` reserved are there when they are written to. Copy-on-write, compressing and network
/// file systems take new blocks at the write, and may have none.
pub(super) fn keeps_reservations(file: &std::fs::File) -> bool {
    const EXT: i128 = 0xEF53;
    const XFS: i128 = 0x5846_5342;
    const TMPFS: i128 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|fs| [EXT, XFS, TMPFS].contains(&i128::from(fs.f_type)))
}

impl File for MappedFile {
    #[expect(unsafe_code, reason = "the only way to write into a mapping that other processes may map too")]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).ok().filter(|start| *start <= self.memory.len());
        let start = start.ok_or(io::ErrorKind::InvalidInput)?;
        let len = bytes.len().min(self.memory.len() - start);
        self.make_writable(start + len);
        // SAFETY: `start + len` is within the mapping, which lives as long as `self`. `bytes` cannot overlap it, since no
        // reference into the mapping is ever made: it is written here only and read through the file. Writers of one
        // file do not write the same place at once (they hold its lane); if they did, bytes would be torn, and the
        // entry's checksum would say so.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.as_mut_ptr().add(start), len) };
        Ok(len)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Writes back the pages that were written through the mapping as well.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(size: u64) -> MappedFile {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        MappedFile::new(file).ok().unwrap()
    }

    #[test]
    fn what_is_written_is_read_through_the_file() {
        let file = mapped(8192);
        assert_eq!(file.write_at(b"entry", 4094).unwrap(), 5);
        let mut read = [0; 7];
        file.read_exact_at(&mut read, 4093).unwrap();
        assert_eq!(&read, b"\0entry\0");
        file.sync().unwrap();
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let file = mapped(4096);
        assert_eq!(file.write_at(b"entry", 4094).unwrap(), 2);
        assert_eq!(file.write_at(b"entry", 4096).unwrap(), 0);
        assert!(file.write_at(b"entry", 4097).is_err());
        assert!(file.write_at(b"entry", u64::MAX).is_err());
    }
}
