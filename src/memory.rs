//! Keeps what the server has in memory, credentials and what callers say among it, out of core files and from the other
//! processes of its user. Done before anything secret is read.

use rustix::process::{Resource, Rlimit, setrlimit};

/// `1` leaves the memory open to core files, debuggers and profilers.
const OPEN: &str = "ANYKEY_CORE_DUMPS";

/// Closes the memory of this process, unless the environment asks otherwise.
pub fn close() {
    if std::env::var_os(OPEN).is_some_and(|asked| asked == "1") {
        eprintln!("warning: {OPEN}=1: a core file of this server holds its secrets; treat it like the data folder.");
        return;
    }
    if let Err(error) = shut() {
        // What serves well enough on a machine that forbids this should not stay down for it.
        eprintln!("warning: core files of this server could not be forbidden ({error}); one would hold its secrets.");
    }
}

fn shut() -> rustix::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // Where cores go to a program instead of a file, that limit is not asked; this is. It also keeps debuggers of the same
    // user away, and `/proc/PID/mem`.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    #[test]
    fn the_memory_is_closed() {
        shut().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
