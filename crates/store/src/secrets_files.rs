//! The two secrets that are kept outside the database: the pepper of key digests and the key that seals credentials.
//!
//! Each is 32 random bytes, as hexadecimal text in a file that only its owner can read. A start with a file that cannot
//! be right is refused before it does harm: with a wrong pepper every key would be unknown, with a wrong key every
//! credential would be lost.

use crate::error::{Result, StoreError};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Which secret, where it is, and whether anykey may make it.
pub(crate) struct SecretFile {
    /// `pepper` or `kek`; also the start of its setting's name.
    pub name: &'static str,
    pub path: PathBuf,
    /// A path that the operator named is never written to.
    pub ours: bool,
}

impl SecretFile {
    pub fn new(name: &'static str, data_dir: &Path, named: Option<&Path>) -> Self {
        SecretFile { name, path: named.map_or_else(|| data_dir.join(name), Path::to_owned), ours: named.is_none() }
    }

    /// Reads the secret; makes it where it is missing and nothing in the database depends on one yet.
    /// `fingerprint` is what the database says of the right one.
    pub fn load(&self, fingerprint: Option<&str>) -> Result<Secret> {
        let secret = match self.read()? {
            Some(secret) => secret,
            None if !self.ours => return Err(self.refuse("does not exist, although the settings name it")),
            None if fingerprint.is_some() => {
                return Err(self.refuse(
                    "is missing, but the database was made with one: restore it from the backup, or copy it from \
                     another replica",
                ));
            }
            None => self.make()?,
        };
        match fingerprint {
            Some(known) if known != self.fingerprint(&secret) => {
                Err(self.refuse("is not the one that the database was made with"))
            }
            _ => Ok(secret),
        }
    }

    /// What the database keeps of the secret, to know it again.
    pub fn fingerprint(&self, secret: &Secret) -> String {
        let mut hash = Sha256::new();
        hash.update(b"anykey fingerprint of the ");
        hash.update(self.name);
        hash.update(b": ");
        hash.update(secret.as_slice());
        hex(&hash.finalize()[..16])
    }

    fn read(&self) -> Result<Option<Secret>> {
        let meta = match fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.refuse(&format!("cannot be read: {}", error.kind()))),
        };
        if meta.permissions().mode() & 0o007 != 0 {
            return Err(self.refuse("can be read by every user of this machine: run chmod 600 on it"));
        }
        let text = Zeroizing::new(
            fs::read_to_string(&self.path)
                .map_err(|error| self.refuse(&format!("cannot be read: {}", error.kind())))?,
        );
        let text = text.trim();
        if text.is_empty() {
            return Err(self.refuse("is empty"));
        }
        let secret = unhex(text).ok_or_else(|| self.refuse("does not hold 64 hexadecimal digits"))?;
        if is_placeholder(&secret) {
            return Err(self.refuse("holds a placeholder, not random bytes"));
        }
        Ok(Some(secret))
    }

    /// Written aside and moved into place, so that a crash leaves no half of it.
    fn make(&self) -> Result<Secret> {
        let mut secret = Secret::default();
        getrandom::fill(secret.as_mut_slice())?;
        let aside = self.path.with_extension("new");
        let text = Zeroizing::new(hex(secret.as_slice()) + "\n");
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&aside);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &self.path)?;
            self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().map_err(|error| self.refuse(&format!("cannot be written: {}", error.kind())))?;
        Ok(secret)
    }

    fn refuse(&self, why: &str) -> StoreError {
        StoreError::Refused(format!("the {} file {} {why}", self.name, self.path.display()))
    }
}

/// Text such as `0000...` or `deadbeefdeadbeef...`: 32 random bytes have about 30 different values.
fn is_placeholder(secret: &Secret) -> bool {
    let mut seen = [false; 256];
    secret.iter().for_each(|b| seen[usize::from(*b)] = true);
    seen.iter().filter(|s| **s).count() < 16
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

fn unhex(text: &str) -> Option<Secret> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut secret = Secret::default();
    for (slot, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        *slot = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path) -> SecretFile {
        SecretFile::new("pepper", dir, None)
    }

    fn put(dir: &Path, text: &str, mode: u32) {
        let path = dir.join("pepper");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn why(file: &SecretFile, fingerprint: Option<&str>) -> String {
        match file.load(fingerprint) {
            Err(error @ StoreError::Refused(_)) => {
                assert_eq!(error.exit_code(), 78);
                error.to_string()
            }
            other => panic!("not refused: {:?}", other.map(|_| "a secret")),
        }
    }

    #[test]
    fn it_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = file(dir.path()).load(None).unwrap();
        let again = file(dir.path()).load(None).unwrap();
        assert_eq!(*made, *again);
        assert_eq!(fs::metadata(dir.path().join("pepper")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(*file(other.path()).load(None).unwrap(), *made);
    }

    #[test]
    fn what_cannot_be_right_is_refused_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let good = "00112233445566778899aabbccddeeff102132435465768798a9babbdcddfeef";
        for (text, mode, expected) in [
            ("", 0o600, "is empty"),
            ("\n", 0o600, "is empty"),
            (&good[1..], 0o600, "64 hexadecimal digits"),
            (&good.replace('a', "g"), 0o600, "64 hexadecimal digits"),
            (&"0".repeat(64), 0o600, "placeholder"),
            (&"0123456789abcdef".repeat(4), 0o600, "placeholder"),
            (good, 0o644, "chmod 600"),
        ] {
            put(dir.path(), text, mode);
            let why = why(&file(dir.path()), None);
            assert!(why.contains(expected), "{why}");
            assert!(!why.contains(good));
        }
    }

    #[test]
    fn it_must_be_the_one_that_the_database_knows() {
        let dir = tempfile::tempdir().unwrap();
        assert!(why(&file(dir.path()), Some("abc")).contains("is missing"));
        let secret = file(dir.path()).load(None).unwrap();
        let fingerprint = file(dir.path()).fingerprint(&secret);
        assert_eq!(*file(dir.path()).load(Some(&fingerprint)).unwrap(), *secret);
        assert!(why(&file(dir.path()), Some("abc")).contains("is not the one"));
        assert_ne!(fingerprint, SecretFile::new("kek", dir.path(), None).fingerprint(&secret));
    }

    #[test]
    fn a_file_that_the_operator_named_is_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("elsewhere");
        assert!(why(&SecretFile::new("kek", dir.path(), Some(&named)), None).contains("settings name it"));
        assert!(!named.exists());
    }
}
