//! The real binary as a process of its own, on a free port, with a folder that outlives its restarts.

use crate::http::{Connection, Reply, Request};
use crate::postgres::ScratchDatabase;
use crate::prices::catalogue;
use crate::remains::{self, ScratchFolder};
use crate::sim::TestSim;
use crate::wait::{DEADLINE, until_some};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// Where a gateway keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Sqlite,
    /// Only where `ANYKEY_TEST_POSTGRES` names a server.
    Postgres,
}

/// What a gateway is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    config: String,
    /// Settings that stand before all tables.
    top: String,
    environment: Vec<(String, String)>,
    cores: bool,
}

impl Setup {
    /// `binary` is `env!("CARGO_BIN_EXE_anykey")` in a test of the binary's own package.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Setup {
            binary: binary.into(),
            config: String::new(),
            top: String::new(),
            environment: Vec::new(),
            cores: false,
        }
    }

    /// A provider on this machine.
    #[must_use]
    pub fn provider(mut self, name: &str, kind: &str, base_url: &str, credential: &str) -> Self {
        remains::canary("the credential of a provider", credential);
        self.config += &format!(
            "[[providers]]\nname = {name:?}\nkind = {kind:?}\nbase_url = {base_url:?}\napi_key = {credential:?}\n\
             allow_private_network = true\n\n"
        );
        self
    }

    /// The practice provider as `openai`, `anthropic` and `gemini`, each with its own credential.
    #[must_use]
    pub fn sim(self, sim: &TestSim) -> Self {
        self.upstream("", &sim.url())
    }

    /// Any upstream as `{prefix}openai`, `{prefix}anthropic` and `{prefix}gemini`.
    #[must_use]
    pub fn upstream(self, prefix: &str, url: &str) -> Self {
        self.provider(&format!("{prefix}openai"), "openai", &format!("{url}/v1"), Setup::credential("openai"))
            .provider(&format!("{prefix}anthropic"), "anthropic", url, Setup::credential("anthropic"))
            .provider(&format!("{prefix}gemini"), "gemini", url, Setup::credential("gemini"))
    }

    /// What the gateway presents to a kind of provider: a canary that may reach that provider and nobody else.
    pub fn credential(kind: &str) -> &'static str {
        match kind {
            "openai" => "sk-proj-CANARYopenai7d1f03b2",
            "anthropic" => "sk-ant-CANARYanthropic5c9e41",
            "gemini" => "AIzaCANARYgemini2a86f0d3",
            other => panic!("no canary for {other}"),
        }
    }

    #[must_use]
    pub fn alias(mut self, name: &str, target: &str) -> Self {
        self.config += &format!("[[models]]\nname = {name:?}\ntarget = {target:?}\n\n");
        self
    }

    /// A setting outside of all tables, as a line of the file.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.top += line;
        self.top.push('\n');
        self
    }

    /// Whole tables of the settings file.
    #[must_use]
    pub fn table(mut self, text: &str) -> Self {
        self.config += text;
        self.config.push('\n');
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Core files of any size are allowed to the process by whoever starts it.
    #[must_use]
    pub fn cores(self) -> Self {
        Setup { cores: true, ..self }
    }

    /// Starts on a fresh SQLite database.
    pub fn start(self) -> TestGateway {
        self.start_on(Storage::Sqlite).expect("SQLite is always there")
    }

    /// Starts on a fresh database of this kind; `None`, said loudly, where there is no server for it.
    pub fn start_on(self, storage: Storage) -> Option<TestGateway> {
        let database = match storage {
            Storage::Sqlite => None,
            Storage::Postgres => Some(Arc::new(ScratchDatabase::make()?)),
        };
        let folder = ScratchFolder::make();
        std::fs::write(folder.path().join("anykey.toml"), format!("{}\n{}", self.top, self.config)).unwrap();
        let mut gateway = TestGateway { setup: self, process: None, database, folder };
        gateway.start();
        gateway.post("/prices/update", &serde_json::from_str(&catalogue()).unwrap());
        Some(gateway)
    }
}

/// A process that did not start, or ended.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    pub log: String,
}

#[derive(Debug)]
struct Process {
    child: Child,
    address: SocketAddr,
    admin_key: String,
}

/// A gateway. Its process is killed and its data removed when this is dropped.
#[derive(Debug)]
pub struct TestGateway {
    setup: Setup,
    process: Option<Process>,
    database: Option<Arc<ScratchDatabase>>,
    folder: ScratchFolder,
}

impl TestGateway {
    pub fn binary(&self) -> &Path {
        &self.setup.binary
    }

    /// The folder around the data folder: settings and log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its database, where that is PostgreSQL.
    pub fn database(&self) -> &ScratchDatabase {
        self.database.as_ref().expect("it runs on PostgreSQL")
    }

    /// Everything that its processes have written to stdout and stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }

    /// Starts the process on the data that is there, and waits until it serves.
    pub fn start(&mut self) {
        if let Err(exit) = self.try_start() {
            panic!("the gateway did not start: {}\n{}", exit.status, exit.log);
        }
    }

    /// The same for a start that may be refused.
    pub fn try_start(&mut self) -> Result<(), Exit> {
        assert!(self.process.is_none(), "it is running");
        let mut child = self.spawn();
        let address = match until_some("the gateway serves or ends", || self.look(&mut child).transpose()) {
            Ok(address) => address,
            Err(status) => return Err(Exit { status, log: self.log() }),
        };
        let admin_key = std::fs::read_to_string(self.data_dir().join("admin.key")).unwrap().trim().to_owned();
        self.process = Some(Process { child, address, admin_key });
        Ok(())
    }

    /// Another process on the same PostgreSQL, with a folder of its own and the same secrets. It goes before this one does.
    #[must_use]
    pub fn replica(&self) -> TestGateway {
        assert!(self.database.is_some(), "SQLite is one process's");
        let folder = ScratchFolder::make();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        for name in ["anykey.toml", "data/pepper", "data/kek"] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let setup = self.setup.clone();
        let mut replica = TestGateway { setup, process: None, database: self.database.clone(), folder };
        replica.start();
        replica
    }

    /// A second process on the same data; it is expected to be refused.
    pub fn try_second(&self) -> Exit {
        let mut child = self.spawn();
        let status = wait(&mut child);
        Exit { status, log: self.log() }
    }

    fn spawn(&self) -> Child {
        let log = || -> Stdio { self.open_log().into() };
        let mut command = if self.setup.cores {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""]).arg(&self.setup.binary);
            shell
        } else {
            Command::new(&self.setup.binary)
        };
        clean(&mut command);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config", "anykey.toml", "--data-dir", "data"]);
        if let Some(database) = &self.database {
            // Not as an argument: it holds a password.
            command.env("ANYKEY_DATABASE", database.url());
        }
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(log()).stderr(log());
        command.spawn().unwrap()
    }

    fn open_log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap()
    }

    /// Where the child serves, once it says so; an error when it has ended. A killed process leaves its file behind, so
    /// the file must name this child.
    fn look(&self, child: &mut Child) -> Result<Option<SocketAddr>, ExitStatus> {
        if let Some(status) = child.try_wait().unwrap() {
            return Err(status);
        }
        let Ok(text) = std::fs::read_to_string(self.data_dir().join("server.json")) else { return Ok(None) };
        let said: Value = serde_json::from_str(&text).unwrap();
        if said["pid"] != child.id() {
            return Ok(None);
        }
        let url = said["url"].as_str().unwrap();
        Ok(Some(url.strip_prefix("http://").unwrap().parse().unwrap()))
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it is not running")
    }

    pub fn address(&self) -> SocketAddr {
        self.process().address
    }

    pub fn admin_key(&self) -> String {
        self.process().admin_key.clone()
    }

    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it is not running");
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    /// Sends SIGTERM and returns at once.
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Ends the process as a fault of its own would, and says how it ended.
    pub fn abort(&mut self) -> ExitStatus {
        self.signal("ABRT");
        self.stopped()
    }

    fn signal(&self, name: &str) {
        // The standard library knows SIGKILL only; a shell has `kill` built in, whatever else is installed.
        let kill = ["-c", "kill -\"$1\" \"$2\"", "sh", name, &self.pid().to_string()].map(str::to_owned);
        assert!(Command::new("sh").args(kill).status().unwrap().success());
    }

    /// Waits for the end of a process that was asked to stop.
    pub fn stopped(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it is not running");
        wait(&mut process.child)
    }

    /// A statement on its SQLite database, past a process that does not run.
    pub fn sqlite(&self, statement: &str) {
        assert!(self.process.is_none(), "it is running");
        crate::postgres::run_on_sqlite(&self.data_dir().join("anykey.db"), statement);
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.ask_to_stop();
        self.stopped().code()
    }

    /// Stops cleanly and starts again on the same data.
    pub fn restart(&mut self) {
        assert_eq!(self.stop(), Some(0), "{}", self.log());
        self.start();
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address()).unwrap()
    }

    /// What can only be asked of a process that runs is put with the files that it leaves: its metrics, and the audit
    /// log as it is exported. One that no longer answers has nothing to say.
    fn say_farewell(&self) {
        let Some(process) = &self.process else { return };
        let admin = Request::get("/admin/v1/audit/export").bearer(&process.admin_key);
        let state = std::fs::read_to_string(self.data_dir().join("server.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        let metrics = state["metrics_url"].as_str().and_then(|url| url.strip_prefix("http://")?.split('/').next());
        let asked = [
            ("audit", Some(process.address), admin),
            ("metrics", metrics.and_then(|at| at.parse().ok()), Request::get("/metrics")),
        ];
        for (name, address, request) in asked {
            let reply = address.and_then(|address| Connection::briefly(address).ok()?.request(&request).ok());
            if let Some(reply) = reply {
                let _ = std::fs::write(self.folder().join(format!("{name}.said")), &reply.body);
            }
        }
    }

    /// One call on a connection of its own.
    pub fn call(&self, request: &Request) -> Reply {
        let answered = self.connect().request(request);
        let reply =
            answered.unwrap_or_else(|no| panic!("{} {}: {:?}\n{}", request.method, request.target, no, self.log()));
        remains::heard(&request.method, request.body.as_deref(), reply.status, &reply.body);
        reply.headers.iter().filter(|(name, _)| name == "set-cookie").for_each(|(_, line)| remains::cookie(line));
        reply
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if remains::are_wanted() && !std::thread::panicking() {
            self.say_farewell();
        }
        if let Some(process) = &mut self.process {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log());
        }
    }
}

/// Waits for a process that is about to end.
fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    until_some("the process ends", || {
        let status = child.try_wait().unwrap();
        if status.is_none() && start.elapsed() > DEADLINE - DEADLINE / 10 {
            let _ = child.kill();
        }
        status
    })
}

/// Takes the caller's proxies, credentials and settings of anykey away, which would change what is tested.
pub(crate) fn clean(command: &mut Command) {
    const OTHERS: [&str; 5] = ["ANYKEY_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OTHERS.iter().any(|start| text.starts_with(start)) || text.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
}
