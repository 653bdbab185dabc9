//! One run of a command: its flags, its environment, its streams and its clock, so that a test can give it others.

use crate::cli::server::Server;
use crate::cli::terminal::{Streams, Terminal};
use crate::cli::{Client, Failure, Globals};
use jiff::Timestamp;

pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

pub struct Session {
    pub globals: Globals,
    pub environment: Environment,
    pub terminal: Terminal,
    pub now: Timestamp,
}

impl Session {
    pub fn new(globals: Globals, environment: Environment, streams: Streams, now: Timestamp) -> Self {
        let terminal = Terminal::new(streams, &globals, &*environment);
        Self { globals, environment, terminal, now }
    }

    pub fn of_process(globals: Globals) -> Self {
        // An empty variable is one that is not set, as everywhere in shells.
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::new(globals, Box::new(environment), Streams::of_process(), Timestamp::now())
    }

    pub fn env(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    pub fn json(&self) -> bool {
        self.globals.json
    }

    /// Finds the server and the credential that may manage it.
    pub fn client(&mut self) -> Result<Client, Failure> {
        let server = Server::find(self)?;
        let credential = server.admin_key(self)?;
        if server.in_the_clear() {
            self.terminal
                .note(&format!("warning: {} is not encrypted; the admin key can be read on the way", server.url()));
        }
        Ok(Client::new(server, credential, self.globals.debug))
    }
}
