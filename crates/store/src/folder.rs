//! The data folder: made for its owner alone, and held by one process at a time.

use crate::error::{Result, StoreError};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the folder where it is missing.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| cannot("be made", dir, &error))?;
    let meta = std::fs::metadata(dir).map_err(|error| cannot("be read", dir, &error))?;
    if meta.permissions().mode() & 0o007 != 0 {
        tracing::warn!(folder = %dir.display(), "every user of this machine can look into the data folder; run chmod 700 on it");
    }
    Ok(())
}

/// Takes a lock that the operating system gives back when the process ends, however it ends.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot("be opened", path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.parent().unwrap_or(path).to_owned())),
        Err(TryLockError::Error(error)) => Err(cannot("be locked", path, &error)),
    }
}

/// SQLite gives the files that it makes beside a database the mode of the database.
pub(crate) fn create_database(file: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot("be made", file, &error)),
    }
}

pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    file.with_file_name(name)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Refused(format!("{} cannot {what}: {}", path.display(), error.kind()))
}
