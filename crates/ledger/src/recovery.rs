//! Reading back what earlier runs left in the journal (rules R1 and R2 of the ledger): first everything is checked and
//! nothing touched; then each record is handed out once, and only when all are stored do the files go.

use crate::codec::{self, AttemptId, Kind};
use crate::fs::FileSystem;
use crate::segment::{self, Damage, End, Header, SegmentName};
use anykey_core::Nanos;
use anykey_core::lease::ReplicaId;
use anykey_core::record::AttemptRecord;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// Holds the number of the newest run, so that it never goes back, also when the journal is empty.
const EPOCH_FILE: &str = "epoch";

/// Holds what this process calls itself towards others. It lives and is lost with the journal: only who has that knows what
/// its leases were spent on.
const REPLICA_FILE: &str = "replica";

/// Why the ledger does not open. Nothing on the disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal in {dir}: {why}")]
    Io { dir: PathBuf, why: io::Error },
    #[error("the journal in {0} is in use by another process")]
    Locked(PathBuf),
    #[error("the journal's segment {file} cannot be read: {damage}. No record was changed. Keep the file")]
    Damaged { file: String, damage: Damage },
    #[error("the journal's folder holds a file that this program did not write: {0}")]
    Foreign(String),
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records handed to the books; most were there already.
    pub records: u64,
    /// Of these, attempts whose end is unknown, charged with their hold.
    pub unresolved: u64,
    /// Segments whose tail was torn by a power cut; what could not be read is kept under the name `*.cut`.
    pub cut: u64,
}

/// The journal of earlier runs, checked.
pub(crate) struct Survey {
    /// The newest run that left anything.
    pub epoch: u32,
    pub segments: Vec<Old>,
    found: Found,
}

/// What all segments together say of attempts.
#[derive(Default)]
struct Found {
    settled: HashSet<AttemptId>,
    /// What was held for each, at most: an attempt that outgrew its first hold has several entries.
    held: HashMap<AttemptId, Nanos>,
}

pub(crate) struct Old {
    pub name: SegmentName,
    header: Header,
    end: End,
    entries: u64,
}

impl Old {
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.end, End::Torn(_))
    }

    /// Whether anything was ever appended. The next segment of a writer is made ahead and stays unused at first.
    fn is_used(&self) -> bool {
        self.entries > 0 || self.end != End::Open
    }
}

/// Reads all segments and says which attempts have ended, or why the journal cannot be trusted.
pub(crate) fn survey(fs: &dyn FileSystem, dir: &Path) -> Result<Survey, OpenError> {
    let io = |why| OpenError::Io { dir: dir.to_owned(), why };
    let names = fs.list(dir).map_err(io)?;
    let mut epoch = if names.iter().any(|n| n == EPOCH_FILE) {
        read_epoch(&fs.read(&dir.join(EPOCH_FILE)).map_err(io)?)?
    } else {
        0
    };
    let mut found = Found::default();
    let mut writers: BTreeMap<(u32, u32), Vec<Old>> = BTreeMap::new();
    for text in names.into_iter().filter(|n| n.ends_with(".log")) {
        let name = SegmentName::parse(&text).ok_or(OpenError::Foreign(text))?;
        let bytes = fs.read(&dir.join(name.to_string())).map_err(io)?;
        let old = check(name, &bytes, &mut found).map_err(|damage| damaged(name, damage))?;
        epoch = epoch.max(name.epoch);
        writers.entry((name.epoch, name.writer)).or_default().push(old);
    }
    for segments in writers.values_mut() {
        segments.sort_by_key(|s| s.name);
        check_tails(segments)?;
    }
    Ok(Survey { epoch, segments: writers.into_values().flatten().collect(), found })
}

fn damaged(name: SegmentName, damage: Damage) -> OpenError {
    OpenError::Damaged { file: name.to_string(), damage }
}

fn read_epoch(bytes: &[u8]) -> Result<u32, OpenError> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.trim().parse().map_err(|_| OpenError::Foreign(EPOCH_FILE.into()))
}

pub(crate) fn write_epoch(fs: &dyn FileSystem, dir: &Path, epoch: u32) -> io::Result<()> {
    fs.replace(&dir.join(EPOCH_FILE), epoch.to_string().as_bytes())
}

/// Who this journal is of; somebody new where nothing says so.
pub(crate) fn replica(fs: &dyn FileSystem, dir: &Path) -> Result<ReplicaId, OpenError> {
    let io = |why| OpenError::Io { dir: dir.to_owned(), why };
    let path = dir.join(REPLICA_FILE);
    if fs.list(dir).map_err(io)?.iter().any(|n| n == REPLICA_FILE) {
        let bytes = fs.read(&path).map_err(io)?;
        let read = std::str::from_utf8(&bytes).ok().and_then(|text| u128::from_str_radix(text.trim(), 16).ok());
        return read.map(|id| ReplicaId(id.to_be_bytes())).ok_or_else(|| OpenError::Foreign(REPLICA_FILE.into()));
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|why| io(io::Error::other(why)))?;
    fs.replace(&path, format!("{:032x}", u128::from_be_bytes(id)).as_bytes()).map_err(io)?;
    Ok(ReplicaId(id))
}

fn check(name: SegmentName, bytes: &[u8], found: &mut Found) -> Result<Old, Damage> {
    let header = segment::read_header(name, bytes)?;
    if header == Header::Blank {
        return Ok(Old { name, header, end: End::Open, entries: 0 });
    }
    let mut entries = 0;
    let end = segment::scan(name, bytes, |frame| {
        entries += 1;
        let Some(id) = codec::attempt_id(frame.body) else {
            return false;
        };
        match frame.kind {
            Kind::Settle => {
                found.settled.insert(id);
            }
            Kind::Intent => {
                let Some(record) = codec::decode_intent(frame.body) else { return false };
                let held = found.held.entry(id).or_default();
                *held = record.hold.max(*held);
            }
            Kind::Seal => {}
        }
        true
    })?;
    Ok(Old { name, header, end, entries })
}

/// Only a writer's last segment may end in the middle of an entry; its segments come in order.
///
/// One case more: a power cut soon after the writer went on to a new segment may tear the one before, which was not on
/// the disk yet as a whole. Its header says so.
fn check_tails(segments: &[Old]) -> Result<(), OpenError> {
    let used: Vec<_> = segments.iter().filter(|s| s.is_used()).collect();
    for (i, old) in used.iter().enumerate() {
        let after = used.len() - 1 - i;
        let synced = matches!(old.header, Header::Good { synced: true });
        let may_be_torn = after == 0 || (after == 1 && !synced);
        let at = match old.end {
            End::Sealed => continue,
            End::Torn(at) => at,
            End::Open => segment::HEADER_LEN,
        };
        if synced || !may_be_torn {
            return Err(damaged(old.name, Damage::Entry(at)));
        }
    }
    Ok(())
}

impl Found {
    /// An attempt whose end is unknown, charged with all that was held for it.
    fn at_most(&self, record: AttemptRecord) -> AttemptRecord {
        match self.held.get(&(record.request, record.attempt)) {
            Some(held) if *held > record.hold => AttemptRecord { hold: *held, cost: Some(*held), ..record },
            _ => record,
        }
    }
}

impl Survey {
    /// Reads one segment's records: of attempts that ended as they ended, of the others as unresolved.
    pub(crate) fn records(&self, fs: &dyn FileSystem, dir: &Path, old: &Old) -> Result<Vec<AttemptRecord>, OpenError> {
        if old.entries == 0 {
            return Ok(Vec::new());
        }
        let bytes = fs.read(&dir.join(old.name.to_string())).map_err(|why| OpenError::Io { dir: dir.into(), why })?;
        let mut records = Vec::new();
        let read = segment::scan(old.name, &bytes, |frame| {
            let record = match frame.kind {
                Kind::Settle => codec::decode_settle(frame.body),
                Kind::Intent if codec::attempt_id(frame.body).is_some_and(|id| self.found.settled.contains(&id)) => {
                    return true;
                }
                Kind::Intent => codec::decode_intent(frame.body).map(|record| self.found.at_most(record)),
                Kind::Seal => None,
            };
            record.map(|r| records.push(r)).is_some()
        });
        read.map_err(|damage| damaged(old.name, damage))?;
        Ok(records)
    }
}

/// Removes a segment whose records are all stored. A torn one is kept under another name, as evidence.
pub(crate) fn retire(fs: &dyn FileSystem, dir: &Path, old: &Old) -> io::Result<()> {
    let path = dir.join(old.name.to_string());
    match old.end {
        End::Torn(at) => {
            tracing::warn!(segment = %old.name, at, "the end of the journal was torn and is cut; the file is kept as .cut");
            fs.rename(&path, &path.with_extension("cut"))
        }
        End::Sealed | End::Open => fs.remove(&path),
    }
}
