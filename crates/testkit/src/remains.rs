//! What a test run leaves behind, for `scripts/leaks` to look through at its end: the folders of all gateways, what they
//! answered, and a list of the secrets that must be in none of it. Does nothing unless `ANYKEY_TEST_REMAINS` names a folder.

use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

static PLACE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("ANYKEY_TEST_REMAINS").filter(|name| !name.is_empty()).map(PathBuf::from));

/// Files that hold a credential because that is what they are for; what is in them must be nowhere else.
const OWN: [&str; 4] = ["admin.key", "anykey.toml", "pepper", "kek"];
/// Shorter texts are found everywhere.
const SHORTEST: usize = 12;
/// Fields of an answer that show a secret, once.
const SHOWN: [&str; 5] = ["secret", "token", "signing_secret", "recovery_codes", "value"];
/// Fields of a request that bring one.
const BROUGHT: [&str; 5] = ["password", "api_key", "client_secret", "signing_secret", "smtp_password"];
/// Answers are kept up to here; a longer one says nothing new.
const MOST: usize = 1 << 20;
const BLOCK: usize = 4096;

/// A folder for as long as this lives. What is in it at the end is looked through with the rest of the run.
#[derive(Debug)]
pub struct ScratchFolder(TempDir);

impl ScratchFolder {
    pub fn make() -> Self {
        ScratchFolder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // What a failed test leaves is for whoever looks into the failure.
        if let Some(place) = PLACE.as_deref().filter(|_| !std::thread::panicking()) {
            keep(place, self.path());
        }
    }
}

/// Whether anybody will look.
pub fn are_wanted() -> bool {
    PLACE.is_some()
}

/// Something that must be found nowhere.
pub fn canary(what: &str, secret: &str) {
    let Some(place) = PLACE.as_deref().filter(|_| secret.len() >= SHORTEST) else { return };
    let line = serde_json::json!({ "what": what, "secret": secret });
    append(&place.join("canaries"), "jsonl", &[line.to_string().as_bytes(), b"\n"].concat());
}

/// What was said to a gateway, and what it answered: secrets that came or went are canaries from now on, and refusals and
/// what was merely looked at are kept.
pub fn heard(method: &str, brought: Option<&[u8]>, status: u16, answer: &[u8]) {
    let Some(place) = PLACE.as_deref() else { return };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    if let Some(body) = brought.filter(|_| status < 400).and_then(json) {
        secrets(&body, &BROUGHT, &mut |field, secret| canary(&format!("`{field}` of a request"), secret));
    }
    if status >= 400 || method == "GET" {
        let answer = &answer[..answer.len().min(MOST)];
        append(&place.join("left").join("answers"), "log", &[answer, b"\n"].concat());
    } else if let Some(body) = json(answer) {
        secrets(&body, &SHOWN, &mut |field, secret| shown(field, secret));
    }
}

/// What a `Set-Cookie` sets.
pub fn cookie(line: &str) {
    if let Some((_, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) {
        canary("a cookie", value);
    }
}

/// A secret that was shown. Of a key, also the part that only its owner knows.
fn shown(field: &str, secret: &str) {
    canary(&format!("`{field}` of an answer"), secret);
    if let [.., _kind, rest] = secret.split('-').collect::<Vec<_>>()[..]
        && rest.len() == 46
    {
        canary("the secret part of a key", &rest[8..]);
    }
}

fn secrets(value: &Value, names: &[&str], found: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if names.contains(&name.as_str()) => found(name, text),
                    Value::Array(items) if names.contains(&name.as_str()) => {
                        items.iter().filter_map(Value::as_str).for_each(|text| found(name, text));
                    }
                    value => secrets(value, names, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secrets(item, names, found)),
        _ => {}
    }
}

/// Each process writes to a file of its own.
fn append(folder: &Path, extension: &str, bytes: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    let file = folder.join(format!("{}.{extension}", std::process::id()));
    OpenOptions::new().create(true).append(true).open(file).unwrap().write_all(bytes).unwrap();
}

fn keep(place: &Path, folder: &Path) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    keep_files(folder, &place.join("left").join(name));
}

fn keep_files(from: &Path, to: &Path) {
    // A file that goes away meanwhile, as those of a database do, is no loss.
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            keep_files(&path, &to.join(name));
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(&path)
        {
            match OWN.iter().find(|own| **own == name) {
                Some(&"anykey.toml") => {}
                Some(own) => canary(&format!("the file `{own}`"), String::from_utf8_lossy(&bytes).trim()),
                None => fs::write(to.join(name), without_holes(&bytes)).unwrap(),
            }
        }
    }
}

/// Journals are laid out beforehand, so most of them is zeros, which say nothing.
fn without_holes(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(BLOCK).filter(|block| **block != [0; BLOCK][..block.len()]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_all_but_holes_and_the_files_of_secrets() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("data")).unwrap();
        let journal = [&[0; BLOCK][..], b"begin", &[0; 3 * BLOCK], b"end"].concat();
        fs::write(from.path().join("data/journal"), journal).unwrap();
        fs::write(from.path().join("data/admin.key"), "a secret").unwrap();
        keep(to.path(), from.path());
        let left = fs::read_dir(to.path().join("left")).unwrap().next().unwrap().unwrap().path();
        let kept = fs::read(left.join("data/journal")).unwrap();
        assert!(kept.starts_with(b"begin") && kept.ends_with(b"end") && kept.len() <= 2 * BLOCK, "{}", kept.len());
        assert!(!left.join("data/admin.key").exists());
    }

    #[test]
    fn secrets_are_seen_wherever_they_stand_in_a_body() {
        let body =
            serde_json::json!({ "data": [{ "secret": "one", "name": "no" }], "recovery_codes": ["two", "three"] });
        let mut seen = Vec::new();
        secrets(&body, &SHOWN, &mut |field, secret| seen.push(format!("{field}={secret}")));
        seen.sort();
        assert_eq!(seen, ["recovery_codes=three", "recovery_codes=two", "secret=one"]);
    }
}
