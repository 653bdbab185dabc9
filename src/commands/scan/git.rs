//! What git keeps: all of a repository's history, or what the next commit would hold.
//!
//! The `git` program is asked, by its plumbing, and not a library: it alone reads every repository that it wrote (packs,
//! alternates, worktrees, SHA-256, what the next release brings), and whoever has a repository has it. Three processes
//! and a list of the blobs that were seen: `rev-list` names the commits, oldest first, `diff-tree` what each of them
//! brought, `cat-file` gives each blob once.

use super::finding::Finding;
use super::look::{Look, Looker, Tally};
use crate::cli::Failure;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// A blob to look through, and where it stands.
struct Wanted {
    path: String,
    commit: Option<String>,
}

/// The hash of an object, in half the bytes of its text.
#[derive(PartialEq, Eq, Hash)]
struct Oid(Box<[u8]>);

impl Oid {
    fn read(text: &[u8]) -> Option<Oid> {
        let digit = |b: u8| char::from(b).to_digit(16);
        let byte = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
        (text.len() >= 40).then(|| text.chunks(2).map(byte).collect::<Option<Box<[u8]>>>())?.map(Oid)
    }
}

/// Starts a command line of git that nothing in the environment or the settings can bend.
pub fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["--no-pager", "--no-replace-objects"]);
    // A partial clone would fetch what is missing, blob by blob; what is not here is said to be missing.
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null());
    command
}

/// Runs git to its end and gives what it printed.
pub fn ask<S: AsRef<OsStr>>(repository: &Path, args: &[S]) -> Result<Vec<u8>, Failure> {
    let output = git(repository).args(args).output().map_err(not_started)?;
    if output.status.success() { Ok(output.stdout) } else { Err(complained(&output.stderr)) }
}

fn not_started(error: io::Error) -> Failure {
    Failure::failed(format!("the program git could not be started: {error}")).hint("install git, or scan a folder")
}

fn complained(stderr: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(stderr);
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    Failure::failed(format!("git: {}", crate::cli::table::plain(first.trim_start_matches("fatal: "))))
}

/// Everything that a ref reaches: the blobs of all commits, the commits' messages and the tags'.
pub fn history(look: &Look, repository: &Path) -> Result<(Vec<Finding>, Tally), Failure> {
    ask(repository, &["rev-parse", "--git-dir"])?;
    let tags = tags(&ask(repository, &["for-each-ref", "--format=%(objecttype) %(objectname) %(refname)"])?);
    let mut commits = git(repository)
        .args(["rev-list", "--all", "--topo-order", "--reverse"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let mut changes = git(repository)
        // Of a merge only what differs from all of its parents; the rest was there before.
        .args(["diff-tree", "--stdin", "-r", "-c", "--root", "--raw", "-z", "--always"])
        .args(["--no-abbrev", "--no-renames", "--no-relative"])
        .stdin(commits.stdout.take().map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let listed = changes.stdout.take();
    let found = each(look, repository, |sink| {
        for (oid, name) in &tags {
            sink.want(oid.as_bytes(), name.clone(), None)?;
        }
        listed.map_or(Ok(()), |listed| read_changes(BufReader::new(listed), sink))
    })?;
    ended(commits)?;
    ended(changes)?;
    Ok(found)
}

/// What is in the index and not in the last commit.
pub fn staged(look: &Look) -> Result<(Vec<Finding>, Tally), Failure> {
    let here = Path::new(".");
    let diff = ["diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-relative"];
    let listed = ask(here, &diff)?;
    each(look, here, |sink| read_changes(listed.as_slice(), sink))
}

fn ended(mut child: Child) -> Result<(), Failure> {
    let status = child.wait().map_err(|error| Failure::failed(error.to_string()))?;
    // Why, git said on stderr, which is ours.
    if status.success() { Ok(()) } else { Err(Failure::failed(format!("git could not read the history ({status})"))) }
}

fn tags(refs: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(refs);
    let tag = |line: &str| {
        let (oid, name) = line.strip_prefix("tag ")?.split_once(' ')?;
        Some((oid.to_owned(), name.to_owned()))
    };
    text.lines().filter_map(tag).collect()
}

/// Reads `diff-tree -z`: a commit's hash, then for each file that it changed the modes and hashes, then the path.
fn read_changes(mut from: impl BufRead, sink: &mut Asked) -> io::Result<()> {
    let mut commit: Option<String> = None;
    let mut record = Vec::new();
    while next_record(&mut from, &mut record)? {
        if record.first() != Some(&b':') {
            let oid = String::from_utf8_lossy(&record).trim().to_owned();
            sink.want(oid.as_bytes(), "(commit message)".into(), Some(oid.clone()))?;
            commit = Some(oid);
            continue;
        }
        let blob = new_blob(&record).map(<[u8]>::to_vec);
        if !next_record(&mut from, &mut record)? {
            break;
        }
        if let Some(blob) = blob {
            sink.want(&blob, String::from_utf8_lossy(&record).into_owned(), commit.clone())?;
        }
    }
    Ok(())
}

fn next_record(from: &mut impl BufRead, record: &mut Vec<u8>) -> io::Result<bool> {
    record.clear();
    let read = from.read_until(0, record)?;
    record.pop_if(|last| *last == 0);
    Ok(read > 0)
}

/// The blob of a line such as `:100644 100644 OLD NEW M`; a merge has a colon, a mode and a hash more for each parent.
fn new_blob(record: &[u8]) -> Option<&[u8]> {
    let parents = record.iter().take_while(|b| **b == b':').count();
    let mut fields = record[parents..].split(|b| *b == b' ');
    let mode = fields.nth(parents)?;
    let blob = fields.nth(parents)?;
    // A submodule's commit is in another repository, and a file that went away is nothing.
    (mode != b"160000" && mode != b"000000").then_some(blob)
}

/// The side of the conversation that asks `cat-file` for objects, each once.
struct Asked {
    seen: HashSet<Oid>,
    to: BufWriter<std::process::ChildStdin>,
    places: Sender<Wanted>,
}

impl Asked {
    fn want(&mut self, oid: &[u8], path: String, commit: Option<String>) -> io::Result<()> {
        let Some(key) = Oid::read(oid) else { return Ok(()) };
        if !self.seen.insert(key) {
            return Ok(());
        }
        // Where the other side is gone, writing will fail too, and say so better.
        let _ = self.places.send(Wanted { path, commit });
        self.to.write_all(oid)?;
        self.to.write_all(b"\n")
    }
}

/// Has `ask` name objects and looks through each of them. `cat-file` answers in the order of the questions; asking on
/// another thread keeps both its pipes moving.
fn each(
    look: &Look,
    repository: &Path,
    ask: impl FnOnce(&mut Asked) -> io::Result<()> + Send,
) -> Result<(Vec<Finding>, Tally), Failure> {
    let mut cat = git(repository)
        .args(["cat-file", "--batch", "--buffer"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let (Some(to), Some(from)) = (cat.stdin.take(), cat.stdout.take()) else {
        return Err(Failure::failed("git's pipes could not be opened"));
    };
    let (places, told) = channel();
    let mut asked = Asked { seen: HashSet::new(), to: BufWriter::new(to), places };
    let mut looker = Looker::new(look);
    let (asking, reading) = thread::scope(|scope| {
        let asking = scope.spawn(move || {
            ask(&mut asked)?;
            asked.to.flush()
        });
        let reading = read_objects(BufReader::with_capacity(256 << 10, from), &told, &mut looker);
        (asking.join(), reading)
    });
    let broke = |error: io::Error| Failure::failed(format!("git's answer broke off: {error}"));
    reading.map_err(broke)?;
    asking.map_err(|_| Failure::failed("a thread of the scan broke off"))?.map_err(broke)?;
    ended(cat)?;
    Ok((in_order(looker.findings), looker.tally))
}

fn read_objects(mut from: BufReader<ChildStdout>, told: &Receiver<Wanted>, looker: &mut Looker<'_>) -> io::Result<()> {
    let mut header = String::new();
    loop {
        header.clear();
        if from.read_line(&mut header)? == 0 {
            return Ok(());
        }
        let Ok(place) = told.recv() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        // `HASH TYPE SIZE`, or `HASH missing`.
        let Some(size) = header.trim_end().split(' ').nth(2).and_then(|size| size.parse::<u64>().ok()) else {
            looker.tally.could_not_read(place.path, "its content is not in this repository");
            continue;
        };
        let mut content = (&mut from).take(size);
        if size > looker.look.max_size {
            looker.tally.large += 1;
        } else {
            looker.read(&mut content, &place.path, place.commit.as_deref())?;
        }
        // What was passed over, and the line break after the content.
        io::copy(&mut content, &mut io::sink())?;
        from.read_exact(&mut [0])?;
    }
}

/// The same key at the same place in many versions of a file is one finding: the first.
fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut first: HashMap<(String, String), usize> = HashMap::new();
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let place = (format!("{}-{}-{}", finding.brand, finding.kind, finding.public_id), finding.path.clone());
        if let std::collections::hash_map::Entry::Vacant(entry) = first.entry(place) {
            entry.insert(kept.len());
            kept.push(finding);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_blob_of_a_change_is_the_last_hash() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        assert_eq!(new_blob(format!(":100644 100644 {a} {b} M").as_bytes()), Some(b.as_bytes()));
        assert_eq!(
            new_blob(format!("::100644 100644 100755 {a} {b} {c} MM").as_bytes()),
            Some(c.as_bytes()),
            "of a merge"
        );
        assert_eq!(new_blob(format!(":100644 000000 {a} {b} D").as_bytes()), None);
        assert_eq!(new_blob(format!(":000000 160000 {a} {b} A").as_bytes()), None);
        assert_eq!(new_blob(b":"), None);
    }

    #[test]
    fn hashes_of_both_lengths_are_read() {
        assert!(Oid::read("0f".repeat(20).as_bytes()).is_some());
        assert!(Oid::read("0f".repeat(32).as_bytes()).is_some());
        for text in ["", "0f", &"0g".repeat(20), &"0".repeat(41)] {
            assert!(Oid::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn only_annotated_tags_have_words_of_their_own() {
        let listed = b"commit aa refs/heads/main\ntag bb refs/tags/v1\ncommit cc refs/tags/v2\n";
        assert_eq!(tags(listed), [("bb".to_owned(), "refs/tags/v1".to_owned())]);
    }
}
