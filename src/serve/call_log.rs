//! The log of calls: a thread of its own writes the lines that the calls' threads have gathered, several times a second
//! and at the end, so that a slow reader of stderr holds up the log and nothing else.

use anykey_gateway::Gateway;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::Thread;
use std::time::Duration;

/// How old a line may be when it is written.
const EVERY: Duration = Duration::from_millis(200);

/// How its lines are called in `ANYKEY_LOG`.
const TARGET: &str = "anykey::call";

/// Whether calls are logged: where the log is read by programs, unless `ANYKEY_LOG` says otherwise. On a terminal each
/// call is shown in its own way.
pub fn is_wanted() -> bool {
    !std::io::stderr().is_terminal() && tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

pub struct CallLog {
    stop: Arc<AtomicBool>,
    thread: Thread,
    /// Disconnected when the thread is done.
    done: Receiver<()>,
}

impl CallLog {
    pub fn start(gateway: Arc<Gateway>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let (running, done) = mpsc::channel();
        let builder = std::thread::Builder::new().name("call-log".to_owned()).stack_size(128 * 1024);
        let thread = builder.spawn(move || {
            let _running = running;
            gateway.observed.lines_are_written_by(std::thread::current());
            let mut buffer = Vec::new();
            loop {
                let last = stopping.load(Ordering::Acquire);
                gateway.observed.write_lines(&mut buffer, |lines| {
                    // Nobody reads it, then: not a reason to stop serving.
                    let _ = std::io::stderr().write_all(lines);
                });
                if last {
                    return;
                }
                std::thread::park_timeout(EVERY);
            }
        })?;
        Ok(CallLog { stop, thread: thread.thread().clone(), done })
    }

    /// Writes what is left; waits for a reader who does not read no longer than `patience`.
    pub fn stop(self, patience: Duration) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
        let _ = self.done.recv_timeout(patience);
    }
}
