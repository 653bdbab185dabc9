//! What the operating system says of this process, from `/proc`. What cannot be read is left out.

use rustix::process::{Resource, getrlimit};

#[derive(Debug, Default)]
pub struct Process {
    pub cpu_seconds: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub threads: Option<u64>,
    pub open_files: Option<u64>,
    pub max_files: Option<u64>,
    /// Seconds since 1970.
    pub started: Option<f64>,
}

/// Field numbers of `/proc/self/stat` after the program's name, which may hold spaces: see proc(5), less three.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const THREADS: usize = 17;
const START_TIME: usize = 19;
const RESIDENT_PAGES: usize = 21;

impl Process {
    pub fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok());
        let ticks = |n: usize| field(n).map(|t| t as f64 / rustix::param::clock_ticks_per_second() as f64);
        Process {
            cpu_seconds: ticks(USER_TIME).zip(ticks(SYSTEM_TIME)).map(|(user, system)| user + system),
            resident_bytes: field(RESIDENT_PAGES).map(|pages| pages * rustix::param::page_size() as u64),
            threads: field(THREADS),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            max_files: getrlimit(Resource::Nofile).current,
            started: ticks(START_TIME).zip(boot_time()).map(|(since, boot)| boot + since),
        }
    }
}

/// When the machine started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let process = Process::read();
        let now = jiff::Timestamp::now().as_second() as f64;
        assert!(process.resident_bytes.unwrap() > 1_000_000);
        assert!(process.threads.unwrap() >= 1 && process.open_files.unwrap() >= 3);
        assert!(process.started.is_some_and(|at| at <= now + 2.0 && at > now - 3600.0), "{process:?} at {now}");
        assert!(process.cpu_seconds.is_some_and(|s| s < 3600.0));
    }
}
