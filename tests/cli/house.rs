//! A server of the real binary in a folder of its own, and commands that speak to it.

use anykey_testkit::ScratchFolder;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// How a command ended and what it said.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A command that knows of no server, whatever the environment of the tests says.
pub fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anykey"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANYKEY_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Starts a process and reads its first line, which says that it is ready. What it says later is read and dropped.
fn start(mut command: Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    (child, line)
}

pub struct House {
    folder: ScratchFolder,
    server: Child,
}

impl House {
    pub fn open() -> House {
        House::with_settings("")
    }

    /// A server with a settings file of its own.
    pub fn with_settings(settings: &str) -> House {
        let folder = ScratchFolder::make();
        std::fs::write(folder.path().join("anykey.toml"), settings).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = bare(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
        command.current_dir(folder.path()).stderr(log);
        let (server, line) = start(command);
        let house = House { folder, server };
        assert!(house.data().join("server.json").exists(), "{line}{}", house.log());
        house
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The address that the server left in its folder.
    pub fn url(&self) -> String {
        read_url(&self.data())
    }

    /// A command that finds the server by its folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("ANYKEY_DATA_DIR", self.data());
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Done {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Asks the server to end, and waits until it has.
    pub fn terminate(&mut self) {
        terminate(&mut self.server);
    }

    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn read_url(data: &Path) -> String {
    let text = std::fs::read_to_string(data.join("server.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["url"].as_str().unwrap().to_string()
}

fn terminate(child: &mut Child) {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    child.wait().unwrap();
}

/// A practice provider of its own process, that wants a credential.
pub struct Sim {
    pub address: String,
    process: Child,
}

impl Sim {
    pub fn start(key: &str) -> Sim {
        let mut command = bare(&["sim", "--listen", "127.0.0.1:0", "--key-env", "SIM_KEY"]);
        command.env("SIM_KEY", key);
        let (process, line) = start(command);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        Sim { address: line["listen"].as_str().unwrap().to_string(), process }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
