//! The few things the journal asks of a file system, as a trait, and the real one.

mod mapped;

use mapped::{MappedFile, keeps_reservations};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file system as the journal needs it. A simulation implements it to tear, lose and fail writes.
pub trait FileSystem: Send + Sync + 'static {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Takes a directory for this process alone, until the returned guard is dropped.
    /// `ErrorKind::WouldBlock` says that another one has it.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// The names of the files in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Makes a new file of `size` zero bytes whose space is really allocated, so that later writes into it cannot find
    /// the disk full. Leaves no file behind where it fails.
    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn File>>;

    /// Replaces a small file as a whole, durably: after a crash it has either the old or the new content.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether nothing of it ever waits, so that no thread is needed for it.
    fn is_instant(&self) -> bool {
        false
    }
}

/// An open file of fixed size.
pub trait File: Send + Sync + 'static {
    /// May write less than it was given, as `pwrite` may.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far durable. After an error the file is in an unknown state for good: the kernel may
    /// have dropped the pages and will not report them twice, so it must not be called again.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of `bytes`, going on after short writes.
pub(crate) fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether an error says that there is no room, which may pass, and not that the device is at fault.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

const LOCK: &str = "lock";

impl FileSystem for Disk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Box::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
        let file = match allocate(&file, size) {
            Ok(Space::Reserved) if keeps_reservations(&file) => match MappedFile::new(file) {
                Ok(mapped) => return Ok(Box::new(mapped)),
                Err(file) => file,
            },
            Ok(_) => file,
            Err(e) => {
                // Without its space the file is of no use, and its name must be free for the next try.
                let _ = std::fs::remove_file(path);
                return Err(e);
            }
        };
        Ok(Box::new(DiskFile(file)))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let draft = path.with_extension("new");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&draft)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |dir| self.sync_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }
}

/// How a file got its space.
enum Space {
    Reserved,
    Written,
}

/// `fallocate` reserves the blocks at once without writing them; the standard library can only set a length, which
/// reserves nothing. Where the file system has no `fallocate`, zeros are written.
fn allocate(file: &std::fs::File, size: u64) -> io::Result<Space> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(Space::Reserved),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => write_zeros(file, size).map(|()| Space::Written),
        Err(e) => Err(e.into()),
    }
}

fn write_zeros(file: &std::fs::File, size: u64) -> io::Result<()> {
    let zeros = vec![0u8; 256 * 1024];
    let mut offset = 0;
    while offset < size {
        let n = (size - offset).min(zeros.len() as u64);
        file.write_all_at(&zeros[..n as usize], offset)?;
        offset += n;
    }
    Ok(())
}

struct DiskFile(std::fs::File);

impl File for DiskFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
