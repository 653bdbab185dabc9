//! The pre-commit hook: a commit that holds a key is refused before it exists.

use super::git;
use crate::cli::{Exit, Failure, Session};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const MARK: &str = "anykey scan --staged";

pub fn install(brands: &[String], any_brand: bool, session: &mut Session) -> Result<(), Failure> {
    let folder = hooks_folder()?;
    fs::create_dir_all(&folder).map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    let path = folder.join("pre-commit");
    let script = script(brands, any_brand);
    match write_new(&path, &script) {
        Ok(()) => session.terminal.note(&format!("git runs `{MARK}` before each commit: {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => already_there(&path, session)?,
        Err(error) => return Err(Failure::failed(format!("{} could not be written: {error}", path.display()))),
    }
    Ok(())
}

/// Where git looks for hooks, wherever its settings say that is.
fn hooks_folder() -> Result<PathBuf, Failure> {
    let mut answer = git::ask(Path::new("."), &["rev-parse", "--git-path", "hooks"])?;
    answer.pop_if(|last| *last == b'\n');
    Ok(PathBuf::from(OsString::from_vec(answer)))
}

/// A hook of somebody else is not ours to change.
fn already_there(path: &Path, session: &mut Session) -> Result<(), Failure> {
    let text = fs::read_to_string(path).unwrap_or_default();
    if text.contains(MARK) {
        session.terminal.note(&format!("The hook is there already: {}", path.display()));
        return Ok(());
    }
    Err(Failure::new(Exit::Conflict, format!("there is another hook in {}", path.display()))
        .detail("It was left as it is.")
        .hint(format!("add this line to it: {MARK} || exit 1")))
}

fn script(brands: &[String], any_brand: bool) -> String {
    // Brands are letters and digits, so they need no quotes.
    let mut flags: String = brands.iter().map(|brand| format!(" --brand {brand}")).collect();
    if any_brand {
        flags.push_str(" --any-brand");
    }
    format!(
        "#!/bin/sh\n\
         # Refuses a commit that holds an anykey API key. Made by `anykey scan --install-hook`.\n\
         command -v anykey >/dev/null 2>&1 || {{\n\
         \x20   echo 'pre-commit: anykey is not on the PATH, so the commit was not looked through' >&2\n\
         \x20   exit 1\n\
         }}\n\
         exec {MARK}{flags}\n"
    )
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(text.as_bytes())
}
